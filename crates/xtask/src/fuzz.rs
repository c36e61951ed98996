//! Fuzzes every target of every crate (`crates/*/fuzz`) with libfuzzer, where `cargo fuzz` is installed. What needs no
//! fuzzer, the committed corpus and mutations of it, runs with the tests everywhere.

use crate::steps::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How long each target runs, unless `FUZZ_SECONDS` says otherwise.
const SECONDS: &str = "60";

/// Runs each target for a while. What is found stays in `crates/*/fuzz/found` (inputs that lead somewhere new; not
/// committed) and `artifacts` (inputs that break a promise): move those that tell something into `corpus`.
pub(crate) fn run_all(top: &Path) -> Result<(), String> {
    if !answers("cargo", &["fuzz", "--version"]) {
        return Err("cargo-fuzz is not installed here: cargo install cargo-fuzz --locked\n\
             (without it, the committed corpus is run by: cargo test --workspace --test fuzz_corpus)"
            .into());
    }
    let seconds = std::env::var("FUZZ_SECONDS").unwrap_or_else(|_| SECONDS.into());
    if !seconds.bytes().all(|byte| byte.is_ascii_digit()) || seconds.is_empty() {
        return Err(format!("FUZZ_SECONDS must be a number of seconds, not {seconds:?}"));
    }
    // The address sanitizer needs the nightly compiler; without it libfuzzer still steers by coverage.
    let has_nightly = answers("cargo", &["+nightly", "--version"]);
    let limit = format!("-max_total_time={seconds}");
    for folder in folders(top)? {
        for target in targets(&folder)? {
            let place = |kind: &str| folder.join(kind).join(&target);
            let found = place("found");
            std::fs::create_dir_all(&found)
                .map_err(|error| format!("cannot make {}: {error}", found.display()))?;
            let (dir, found, corpus) = (folder.to_string_lossy(), found.to_string_lossy(), place("corpus"));
            let corpus = corpus.to_string_lossy();
            let mut arguments = if has_nightly { vec!["+nightly"] } else { vec![] };
            arguments.extend(["fuzz", "run", "--fuzz-dir", &dir]);
            arguments.extend(if has_nightly { &[][..] } else { &["--sanitizer", "none"] });
            arguments.extend([&*target, &*found, &*corpus, "--", &*limit, "-print_final_stats=1"]);
            run(top, "cargo", &arguments, &[])?;
        }
    }
    Ok(())
}

/// `cargo` by name, not the one that runs us: only rustup's knows `+nightly`.
fn answers(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn folders(top: &Path) -> Result<Vec<PathBuf>, String> {
    let crates =
        names(&top.join("crates"))?.into_iter().map(|name| top.join("crates").join(name).join("fuzz"));
    Ok(crates.filter(|folder| folder.join("Cargo.toml").is_file()).collect())
}

fn targets(folder: &Path) -> Result<Vec<String>, String> {
    let files = names(&folder.join("fuzz_targets"))?;
    Ok(files.iter().filter_map(|file| file.strip_suffix(".rs")).map(ToOwned::to_owned).collect())
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A target without a corpus would be run by no test; one without a manifest entry would be run by no fuzzer.
    #[test]
    fn every_target_is_declared_and_has_a_corpus() {
        let folders = folders(&crate::top()).unwrap();
        assert!(!folders.is_empty());
        for folder in folders {
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let tests = std::fs::read_to_string(folder.join("../tests/fuzz_corpus.rs")).unwrap();
            for target in targets(&folder).unwrap() {
                assert!(
                    manifest.contains(&format!("name = \"{target}\"")),
                    "{target} is not in {}",
                    folder.display()
                );
                assert!(!names(&folder.join("corpus").join(&target)).unwrap().is_empty(), "{target}");
                assert!(tests.contains(&format!("\"{target}\"")), "no test runs the corpus of {target}");
            }
        }
    }
}
