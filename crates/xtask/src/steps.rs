//! The steps that are processes: cargo, mostly.

use crate::{guests, plugins, setup, tidy};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything, quickest first; tests last, so that their count closes the output.
pub(crate) fn check(top: &Path) -> Result<(), String> {
    cargo(top, &["fmt", "--all", "--check"], &[])?;
    tidy::run(top)?;
    cargo(top, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    // With examples, so that dependencies have the features that clippy just looked at them with.
    cargo(
        top,
        &["doc", "--workspace", "--lib", "--bins", "--examples", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    deny(top)?;
    plugins::check(top)?;
    test(top)?;
    println!("xtask check: everything passed");
    Ok(())
}

/// Sets up, builds the binary that end-to-end tests start and the plugins they put into it, and runs all tests.
pub(crate) fn test(top: &Path) -> Result<(), String> {
    setup::run_all(top)?;
    guests::build_all(top)?;
    cargo(top, &["test", "--workspace"], &[])
}

/// Builds the binary and the examples. Asked for with the examples of all crates, dependencies get the features that
/// tests have: any other choice of crates would have most of them built once more.
pub(crate) fn build(top: &Path) -> Result<(), String> {
    cargo(top, &["build", "--workspace", "--bins", "--examples"], &[])
}

/// Where that puts binaries; examples lie in `examples` below.
pub(crate) fn binaries(top: &Path) -> PathBuf {
    target(top).join("debug")
}

/// Cargo's target directory.
pub(crate) fn target(top: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), |folder| top.join(folder))
}

/// Rewrites the golden files.
pub(crate) fn golden(top: &Path) -> Result<(), String> {
    cargo(top, &["test", "--package", "fanfare-tests", "--test", "golden"], &[("UPDATE_GOLDEN", "1")])?;
    run(top, "git", &["--no-pager", "diff", "--stat", "--", "tests/golden"], &[])
}

/// Licences, advisories and duplicates of dependencies; needs `cargo install cargo-deny`.
fn deny(top: &Path) -> Result<(), String> {
    let is_there = Command::new("cargo").args(["deny", "--version"]).current_dir(top).output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        println!("xtask: skipped cargo deny: it is not installed here (cargo install cargo-deny --locked)");
        return Ok(());
    }
    // What is built here is not all that the lock names: other systems' crates are looked at too.
    cargo(top, &["fetch", "--locked"], &[])?;
    // Advisories need a database from outside; where there is none, the rest is still checked.
    cargo(top, &["deny", "--offline", "check", "bans", "licenses", "sources"], &[])
}

pub(crate) fn cargo(top: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    run(top, &std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments, environment)
}

/// Runs a program at the top of the repository with its output shown.
pub(crate) fn run(
    top: &Path,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<(), String> {
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    let line = format!("{name} {}", arguments.join(" "));
    println!("$ {line}");
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(top)
        .status()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed ({status})")) }
}
