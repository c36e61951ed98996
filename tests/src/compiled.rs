//! Compiled plugins, kept from one node's start to the next: in a debug build compiling those in the binary takes seconds,
//! and hundreds of nodes start in a fresh directory each. The engine looks at each file's owner, version and settings
//! itself, as it does with its own.

use crate::binary;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Copies made, so that none has the name of another.
static COPIES: AtomicU64 = AtomicU64::new(0);

fn shared() -> PathBuf {
    binary::path().with_file_name("compiled-plugins")
}

fn own(data_dir: &Path) -> PathBuf {
    data_dir.join("formats").join("compiled")
}

fn make(folder: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).expect("a folder for compiled plugins");
}

/// What is new in `from` goes to `to`, each file whole.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().extension().is_none_or(|extension| extension != "cwasm") || target.exists() {
            continue;
        }
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let part = target.with_extension(format!("part-{}-{number}", std::process::id()));
        fs::copy(entry.path(), &part).expect("a compiled plugin can be copied");
        fs::rename(part, target).expect("a compiled plugin can be renamed");
    }
}

/// Gives a node that starts what others compiled.
pub(crate) fn give(data_dir: &Path) {
    make(data_dir);
    make(&own(data_dir));
    copy(&shared(), &own(data_dir));
}

/// Keeps what a node that came up compiled.
pub(crate) fn keep(data_dir: &Path) {
    make(&shared());
    copy(&own(data_dir), &shared());
}
