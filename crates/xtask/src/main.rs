//! Project chores: check, test set-up, golden update, tidy.
//!
//! What it is: the one command that checks everything, the same on a laptop and in the pipeline: `cargo xtask check`.
//!
//! What it is not: part of the product. It has no dependency, so that it builds in a second.
//!
//! Where to start: [`COMMANDS`]; each step is a process run at the top of the repository ([`steps`]) or code of its own
//! ([`tidy`]).

mod fuzz;
mod guests;
mod plugins;
mod setup;
mod sim;
mod steps;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a command does at the top of the repository; `Err` says what failed.
type Chore = fn(&Path) -> Result<(), String>;

const COMMANDS: &[(&str, &str, Chore)] = &[
    ("check", "everything the pipeline checks: format, tidy, clippy, docs, deny, tests", steps::check),
    ("test", "sets up what tests need (python venv, openssl) and runs all tests", steps::test),
    ("fuzz", "fuzzes every target for FUZZ_SECONDS (60) each; needs cargo-fuzz", fuzz::run_all),
    ("golden", "rewrites the expected files of tests/golden; review the difference like code", steps::golden),
    (
        "plugins",
        "builds all plugins; --check: those that ship are what their sources give; --others: the rest only",
        plugins::run_all,
    ),
    ("sim", "lives many simulated worlds in a release build: --seeds N [--from S]", sim::run),
    (
        "tidy",
        "what no compiler checks: arrows between crates, owners of dependencies, sizes, words",
        tidy::run,
    ),
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, _, chore)) = COMMANDS.iter().find(|(command, _, _)| *command == name) else {
        eprintln!("usage: cargo xtask COMMAND\n");
        for (command, about, _) in COMMANDS {
            eprintln!("  {command:8} {about}");
        }
        return ExitCode::from(2);
    };
    match chore(&top()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask {name}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the repository: two above this crate.
fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
