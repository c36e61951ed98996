//! The 32 bytes that seal secrets at rest: where they come from, and how they are made at the first start.

use crate::config::Settings;
use crate::exit::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::TryRng as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The key itself, from the environment.
pub(crate) const VARIABLE: &str = "FANFARE_MASTER_KEY";
/// Name of the key made at the first start, in the data directory.
pub(crate) const FILE: &str = "master.key";
/// Name of the store's file: while it is there, a missing key is a lost key, not a first start.
const STORE_FILE: &str = "data.mdb";
/// Longest file that can be a key, bytes.
const FILE_BYTES_MAX: u64 = 256;

/// A key and where it was found.
pub(crate) struct MasterKey {
    /// 32 random bytes.
    pub(crate) bytes: [u8; 32],
    /// Set when the key was made now; where it is.
    pub(crate) is_new: bool,
    /// Whether it lies beside what it seals.
    pub(crate) is_beside_data: bool,
}

/// Finds the key: the file named in the settings, the environment, or the data directory's own, which is made at the
/// first start.
///
/// # Errors
/// [`crate::exit::Exit::Store`] when there is none or it cannot be used; the key is never shown.
pub(crate) fn find(settings: &Settings, variable: Option<String>) -> Result<MasterKey, Failure> {
    let elsewhere = |bytes| MasterKey { bytes, is_new: false, is_beside_data: false };
    match (&settings.master_key_file, variable) {
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("master_key_file and {VARIABLE} are both set; give one of them")))
        }
        (Some(path), None) => read(path).map(elsewhere),
        (None, Some(text)) => parse(&text)
            .map(elsewhere)
            .ok_or_else(|| Failure::store(format!("{VARIABLE} must be 32 bytes as 64 hex digits or base64"))),
        (None, None) => beside_data(&settings.data_dir),
    }
}

fn beside_data(folder: &Path) -> Result<MasterKey, Failure> {
    let path = folder.join(FILE);
    let found = |bytes, is_new| MasterKey { bytes, is_new, is_beside_data: true };
    if path.exists() {
        return read(&path).map(|bytes| found(bytes, false));
    }
    if has_store(folder) {
        return Err(Failure::store(format!(
            "{} holds a store and its {FILE} is missing; put it back, or give the key with master_key_file or {VARIABLE}",
            folder.display()
        )));
    }
    let mut bytes = [0_u8; 32];
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::store(format!("the operating system gives no randomness: {error}")))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| cannot("make", folder, &error))?;
    match write_new(&path, hex::encode(bytes).as_bytes()) {
        Ok(()) => Ok(found(bytes, true)),
        // Another process made one at the same moment: it is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path).map(|bytes| found(bytes, false))
        }
        Err(error) => Err(cannot("write", &path, &error)),
    }
}

/// Writes a file that only its owner may read and that was not there before, whole or not at all: a key half written
/// would be taken for the key.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let whole = path.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&whole)?;
        file.write_all(text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces what is there.
        std::fs::hard_link(&whole, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    })();
    std::fs::remove_file(&whole).or(written)
}

/// Whether a directory holds a store.
pub(crate) fn has_store(folder: &Path) -> bool {
    folder.join(STORE_FILE).exists()
}

/// Puts another key into the data directory's own file; readers see the old one or the new one. Gives where the old one
/// is kept: backups are sealed under it.
///
/// # Errors
/// [`crate::exit::Exit::Store`] when a file cannot be made; then the old key is in its place still.
pub(crate) fn replace_beside_data(folder: &Path, bytes: &[u8; 32]) -> Result<PathBuf, Failure> {
    let path = folder.join(FILE);
    let kept = keep(folder, &path)?;
    let whole = folder.join(format!("{FILE}.new"));
    let written = (|| {
        // Left by a run that was cut off.
        if whole.exists() {
            std::fs::remove_file(&whole)?;
        }
        write_new(&whole, hex::encode(bytes).as_bytes())?;
        std::fs::rename(&whole, &path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|error| cannot("write", &path, &error))?;
    Ok(kept)
}

/// A second name for the key, one that nothing has yet.
fn keep(folder: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let mut n = 1_u32;
    loop {
        let kept = folder.join(format!("{FILE}.old-{n}"));
        match std::fs::hard_link(path, &kept) {
            Ok(()) => return Ok(kept),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < u32::MAX => n += 1,
            Err(error) => return Err(cannot("keep the old key as", &kept, &error)),
        }
    }
}

/// Reads a file that holds a key.
///
/// # Errors
/// [`crate::exit::Exit::Store`]; what it holds is not shown.
pub(crate) fn read(path: &Path) -> Result<[u8; 32], Failure> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
    let mode = file.metadata().map_err(|error| cannot("read", path, &error))?.mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            file = %path.display(),
            mode = format!("{:o}", mode & 0o777),
            "the master key can be read by others; chmod 600 it"
        );
    }
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| cannot("read", path, &error))?;
    parse(&text).ok_or_else(|| {
        Failure::store(format!("{} must hold 32 bytes as 64 hex digits or base64", path.display()))
    })
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let bytes = if text.len() == 64 { hex::decode(text).ok()? } else { BASE64.decode(text).ok()? };
    bytes.try_into().ok()
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::store(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn settings(folder: &Path) -> Settings {
        Settings { data_dir: folder.join("data"), ..Settings::default() }
    }

    #[test]
    fn the_first_start_makes_a_key_only_its_owner_can_read_and_the_next_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let first = find(&settings, None).unwrap();
        assert!(first.is_new && first.is_beside_data);
        let second = find(&settings, None).unwrap();
        assert!(!second.is_new);
        assert_eq!(first.bytes, second.bytes);
        assert_ne!(first.bytes, [0; 32]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&settings.data_dir.join(FILE)), 0o600);
        assert_eq!(mode(&settings.data_dir), 0o700);
        assert_eq!(std::fs::read_dir(&settings.data_dir).unwrap().count(), 1, "nothing half written is left");
    }

    #[test]
    fn a_key_file_may_be_hex_or_base64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let settings = Settings { master_key_file: Some(path.clone()), ..settings(folder.path()) };
        for text in [hex::encode([7; 32]), hex::encode_upper([7; 32]) + "\n", BASE64.encode([7; 32])] {
            std::fs::write(&path, text).unwrap();
            let key = find(&settings, None).unwrap();
            assert_eq!((key.bytes, key.is_beside_data), ([7; 32], false));
        }
        assert_eq!(find(&Settings::default(), Some(hex::encode([7; 32]))).unwrap().bytes, [7; 32]);
    }

    #[test]
    fn keys_that_are_none_are_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let settings = Settings { master_key_file: Some(path.clone()), ..settings(folder.path()) };
        assert_eq!(find(&settings, None).err().unwrap().exit, Exit::Store, "no such file");
        for bad in ["", "hunter2", &hex::encode([7; 31]), &BASE64.encode([7; 33]), &"g".repeat(64)] {
            std::fs::write(&path, bad).unwrap();
            let failure = find(&settings, None).err().unwrap();
            assert_eq!(failure.exit, Exit::Store, "{bad}");
            assert!(!failure.message.contains("hunter2"), "{failure}");
        }
        assert_eq!(find(&Settings::default(), Some("x".into())).err().unwrap().exit, Exit::Store);
        assert_eq!(find(&settings, Some("x".into())).err().unwrap().exit, Exit::Usage, "both are given");
    }

    #[test]
    fn a_store_without_its_key_is_not_given_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        std::fs::create_dir(&settings.data_dir).unwrap();
        std::fs::write(settings.data_dir.join(STORE_FILE), "x").unwrap();
        let failure = find(&settings, None).err().unwrap();
        assert_eq!(failure.exit, Exit::Store);
        assert!(failure.message.contains("put it back"), "{failure}");
        assert!(!settings.data_dir.join(FILE).exists());
    }
}
