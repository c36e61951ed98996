//! What no compiler checks, as code: [`manifests`] holds the arrows between crates and who owns which dependency,
//! [`sources`] the size of files, their maps and their words.

mod manifests;
mod sources;

use std::path::Path;
use std::process::Command;

/// One text file of the repository.
pub(crate) struct File {
    /// From the top, with `/`.
    pub(crate) path: String,
    /// Content.
    pub(crate) text: String,
}

/// Runs every check and lists everything that is wrong.
pub(crate) fn run(top: &Path) -> Result<(), String> {
    let files = files(top)?;
    let mut found = manifests::check(&files);
    found.extend(sources::check(&files));
    for line in &found {
        eprintln!("tidy: {line}");
    }
    if found.is_empty() {
        println!("tidy: {} files are in order", files.len());
        return Ok(());
    }
    Err(format!("{} things are not tidy", found.len()))
}

/// Everything git knows or would take, but for what is not text.
fn files(top: &Path) -> Result<Vec<File>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(top)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8(output.stdout).map_err(|_| "a file's name is not UTF-8".to_owned())?;
    let paths = names.split('\0').filter(|path| !path.is_empty());
    // A file that git knows and that is gone, or that is not UTF-8, is not ours to read.
    Ok(paths
        .filter_map(|path| {
            let text = std::fs::read_to_string(top.join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        })
        .collect())
}
