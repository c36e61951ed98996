//! Our work checked by programs that are not ours: signatures by `openssl` and by the library from PyPI that receivers
//! use, the API by a tool from there.

use crate::program::Program;
use std::path::PathBuf;
use tokio::process::Command;

/// HMAC-SHA256 by `openssl`, as lower-case hex.
///
/// # Panics
/// When there is no `openssl`, or it fails.
pub async fn openssl_hmac(key_hex: &str, message: &[u8]) -> String {
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{key_hex}")]);
    let ended = Program::new(command).input(message).run().await;
    let output = ended.expect(0);
    output.trim().rsplit(' ').next().expect("openssl prints the digest last").to_owned()
}

/// Python with what tests need from PyPI, where `cargo xtask test` puts it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn python() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("a test lies two below the target directory");
    let python = target.join("test-venv/bin/python");
    assert!(
        python.exists(),
        "there is no python with the libraries that tests need in {}: run `cargo xtask test`, which puts it there",
        python.display()
    );
    python
}

/// Runs a Python script with arguments, its standard input being `input`.
pub async fn run_python(script: &str, arguments: &[&str], input: &[u8]) -> crate::program::Ended {
    let mut command = Command::new(python());
    command.args(["-c", script]).args(arguments);
    Program::new(command).input(input).run().await
}
