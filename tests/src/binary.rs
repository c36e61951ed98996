//! Where the binary under test is.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Names a binary to test instead of the one built here.
pub const VARIABLE: &str = "TEST_BIN";

/// The binary, built in this test's own profile and target directory the first time it is asked for.
///
/// # Panics
/// When it cannot be built.
pub fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os(VARIABLE).map_or_else(build, PathBuf::from))
}

/// Cargo does not build another package's binary for a test; where `cargo xtask test` has, this finds it fresh.
fn build() -> PathBuf {
    // `.../target/<profile>/deps/<this test>`
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("a test lies in the deps folder of its profile");
    let profile = folder.file_name().and_then(|name| name.to_str()).expect("a folder named by its profile");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let profile = if profile == "debug" { "dev" } else { profile };
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "fanfare", "--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().expect("a profile's folder lies in the target directory"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the binary does not build; or name a built one in {VARIABLE}");
    folder.join("fanfare")
}
