//! Builds the guests that the binary does not carry: MINIMAL in C, SLACK in JavaScript, and for each language a project of
//! `fanfare plugin new`, by the very commands that it prints. Each is then held against `fanfare plugin test`, and
//! end-to-end tests (`tests/e2e/guests.rs`) deliver with them.
//!
//! Nothing is skipped: a tool that is missing is an error that says what to install. Everything lies in `plugins/target`
//! and, of SLACK, in its ignored `node_modules`.

use crate::plugins;
use crate::steps::{self, binaries};
use std::path::Path;
use std::process::Command;

/// Where the components come to lie.
const BUILT: &str = "plugins/target/others";
/// Where the projects are made.
const PROJECTS: &str = "plugins/target/projects";
const LANGUAGES: [&str; 4] = ["c", "js", "python", "rust"];
/// The compiler that the project in C has installed, with the flags its commands show.
const MINIMAL: &str = "../target/projects/c/venv/bin/python -m ziglang cc -target wasm32-freestanding -O2 -nostdlib -s \
                       -Wall -Wextra -Werror -Wl,--no-entry,-z,stack-size=65536 -I ../templates/c \
                       -o ../target/others/minimal.core.wasm plugin.c";

/// Builds all. Needs python3 with venv, npm, and what `plugins` needs for Rust.
pub(crate) fn build_all(top: &Path) -> Result<(), String> {
    let npm = Command::new("npm").arg("--version").output();
    if !npm.is_ok_and(|output| output.status.success()) {
        return Err(
            "npm is not there: install node 18 or later (Debian: `apt-get install nodejs npm`)".into()
        );
    }
    steps::build(top)?;
    let built = top.join(BUILT);
    std::fs::create_dir_all(&built).map_err(|error| format!("cannot make {}: {error}", built.display()))?;
    for language in LANGUAGES {
        project(top, language)?;
    }
    let pack =
        "fanfare plugin pack CORE --manifest manifest.json --vectors vectors -o ../target/others/NAME.wasm";
    let test = "fanfare plugin test ../target/others/NAME.wasm";
    let sources = [
        ("plugins/minimal-c", "minimal", "../target/others/minimal.core.wasm", [MINIMAL].as_slice()),
        ("plugins/slack", "slack", "core.wasm", &["npm ci --no-audit --no-fund", "npm run build"]),
    ];
    for (folder, name, core, commands) in sources {
        for line in commands.iter().chain(&[pack, test]) {
            shell(top, &top.join(folder), &line.replace("NAME", name).replace("CORE", core))?;
        }
    }
    Ok(())
}

/// Makes a project and runs the commands that are printed for it.
fn project(top: &Path, language: &str) -> Result<(), String> {
    let (name, folder) = (format!("start-{language}"), top.join(PROJECTS).join(language));
    // The command writes into no folder that has something in it.
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot remove {}: {error}", folder.display()));
        }
        _ => {}
    }
    let made = Command::new(binaries(top).join("fanfare"))
        .args(["plugin", "new", "--lang", language, &name, "--dir"])
        .arg(&folder)
        .output()
        .map_err(|error| format!("cannot run fanfare: {error}"))?;
    if !made.status.success() {
        return Err(format!("fanfare plugin new failed: {}", String::from_utf8_lossy(&made.stderr).trim()));
    }
    let printed = String::from_utf8_lossy(&made.stdout).into_owned();
    let lines: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    if lines.last() != Some(&&*format!("fanfare plugin test {name}.wasm")) {
        return Err(format!("fanfare plugin new --lang {language} printed no test at the end:\n{printed}"));
    }
    for line in lines {
        if line.starts_with("cargo build ") {
            plugins::build_project(top, &folder, &name)?;
        } else if !line.starts_with("cd ") && !line.starts_with("rustup ") {
            // Those two are done: the folder is known, and the line after `rustup` takes the compiler that is there.
            shell(top, &folder, line)?;
        }
    }
    let (made, place) = (folder.join(format!("{name}.wasm")), top.join(BUILT).join(format!("{name}.wasm")));
    std::fs::copy(&made, &place).map(drop).map_err(|error| format!("{}: {error}", made.display()))
}

/// A line as a person types it, with our binary found first.
fn shell(top: &Path, folder: &Path, line: &str) -> Result<(), String> {
    println!("{}$ {line}", folder.strip_prefix(top).unwrap_or(folder).display());
    let mut paths = vec![binaries(top)];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(paths).map_err(|error| format!("PATH: {error}"))?;
    let status = Command::new("sh")
        .args(["-ec", line])
        .current_dir(folder)
        .env("PATH", path)
        .status()
        .map_err(|error| format!("cannot run sh: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed ({status})")) }
}
