//! What tests need beside the toolchain: the `openssl` program, and Python with the libraries that receivers use to
//! verify Standard Webhooks and to read CloudEvents, and the tool that holds an API against its OpenAPI document (which
//! brings a validator of JSON Schema). None of them is ours.

use crate::steps::{run, target};
use std::path::Path;
use std::process::Command;

/// From PyPI, pinned: a new one is a change of its own.
const PACKAGES: [&str; 3] = ["standardwebhooks==1.1.0", "cloudevents==2.2.0", "schemathesis==4.32.5"];

/// Makes everything ready; does nothing that was done before.
pub(crate) fn run_all(top: &Path) -> Result<(), String> {
    openssl(top)?;
    python(top)
}

fn is_there(program: &Path, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn openssl(top: &Path) -> Result<(), String> {
    let program = Path::new("openssl");
    if is_there(program, &["version"]) {
        return Ok(());
    }
    apt(top, "openssl")?;
    if is_there(program, &["version"]) { Ok(()) } else { Err("openssl is not there: install it".into()) }
}

/// `target/test-venv`, where tests look for it.
fn python(top: &Path) -> Result<(), String> {
    let folder = target(top).join("test-venv");
    let python = folder.join("bin/python");
    let ask = "import sys, importlib, importlib.metadata as m\n\
               for name in sys.argv[1:]:\n  importlib.import_module(name); print(name + '==' + m.version(name))";
    let names = PACKAGES.map(|package| package.split('=').next().unwrap_or(package));
    let has_packages = |python: &Path| {
        Command::new(python)
            .args(["-c", ask])
            .args(names)
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().eq(PACKAGES))
    };
    if has_packages(&python) {
        return Ok(());
    }
    let folder_text = folder.to_string_lossy();
    if run(top, "python3", &["-m", "venv", "--clear", &folder_text], &[]).is_err() {
        apt(top, "python3-venv")?;
        run(top, "python3", &["-m", "venv", "--clear", &folder_text], &[])?;
    }
    let python_text = python.to_string_lossy();
    let mut install = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    install.extend(PACKAGES);
    run(top, &python_text, &install, &[])?;
    if has_packages(&python) {
        Ok(())
    } else {
        Err(format!("{} are not usable after their install", PACKAGES.join(", ")))
    }
}

/// Installs a Debian package where that is possible; elsewhere says what to install.
fn apt(top: &Path, package: &str) -> Result<(), String> {
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    run(top, "apt-get", &["update", "-q"], &quiet)
        .and_then(|()| run(top, "apt-get", &["install", "-qy", package], &quiet))
        .map_err(|why| format!("{package} is needed and could not be installed: {why}"))
}
