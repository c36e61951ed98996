//! Files that the commands read and write, with bounds and errors that name them.

use crate::exit::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Largest component a server takes, bytes, and one more so that it can say so.
const COMPONENT_BYTES_MAX: u64 = 32 * 1024 * 1024 + 1;
/// Largest key or signature file, bytes.
const SMALL_BYTES_MAX: u64 = 16 * 1024;

fn read(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn cannot(what: &str, file: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot {what} {}: {error}", file.display()))
}

/// A component or a core module.
pub(super) fn read_plugin(file: &Path) -> Result<Vec<u8>, Failure> {
    read(file, COMPONENT_BYTES_MAX).map_err(|error| cannot("read", file, &error))
}

/// A key.
pub(super) fn read_key(file: &Path) -> Result<Vec<u8>, Failure> {
    read(file, SMALL_BYTES_MAX).map_err(|error| cannot("read", file, &error))
}

/// Where the detached signature of a plugin is.
pub(super) fn signature_file(plugin: &Path) -> PathBuf {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// The signature beside a plugin; `None`: there is no file.
pub(super) fn read_signature(plugin: &Path) -> Result<Option<[u8; 64]>, Failure> {
    let file = signature_file(plugin);
    let bytes = match read(&file, SMALL_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot("read", &file, &error)),
    };
    let mut signature = [0; 64];
    hex::decode_to_slice(bytes.trim_ascii(), &mut signature)
        .map_err(|_| Failure::usage(format!("{} is not a signature: 128 hex digits", file.display())))?;
    Ok(Some(signature))
}

/// Whole or not at all: a temporary file, then a rename.
pub(super) fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| cannot("write", file, &error);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = tempfile::Builder::new().permissions(permissions()).tempfile_in(folder).map_err(failed)?;
    part.write_all(bytes).map_err(failed)?;
    part.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    // What the umask leaves of it.
    fs::Permissions::from_mode(0o666)
}

/// A file for this user only, which must not be there yet.
pub(super) fn write_secret(file: &Path, text: &str) -> Result<(), Failure> {
    let mut open = OpenOptions::new();
    let mut made = open.write(true).create_new(true).mode(0o600).open(file).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            Failure::usage(format!("{} is there already, and a key is never overwritten", file.display()))
        } else {
            cannot("write", file, &error)
        }
    })?;
    made.write_all(text.as_bytes())
        .and_then(|()| made.sync_all())
        .map_err(|error| cannot("write", file, &error))
}
