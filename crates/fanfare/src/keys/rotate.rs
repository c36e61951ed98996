//! `fanfare keys rotate-master`: another master key for a data directory that no server uses.
//!
//! Order matters when the key lies beside the data: the store is committed under the new key first, then the file is
//! replaced. Killed in between, the directory waits under a key that its own file does not hold; the same command again
//! finds that and replaces the file.

use crate::config::Settings;
use crate::config::merge::{Sources, load};
use crate::exit::{Exit, Failure};
use crate::manage::table::counted;
use crate::master_key;
use clap::Args;
use fanfare_store::{OpenError, Rotated, rotate_master_key};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Flags of `fanfare keys rotate-master`.
#[derive(Args, Debug)]
pub(super) struct RotateArgs {
    /// File with the new key: 32 bytes as 64 hex digits or base64
    #[arg(long, value_name = "FILE")]
    new_key_file: PathBuf,
    /// The data directory; no server may be using it [default: ./fanfare-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file (TOML), when it names the data directory or the master key's file
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    config: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 for the settings and for a new key that is the old one, 4 for the data directory and the keys. Then nothing
/// was changed.
pub(super) fn run(args: &RotateArgs, output: &mut dyn Write) -> Result<(), Failure> {
    let settings = settings(args, std::env::vars_os().collect())?;
    let text = rotate(&settings, std::env::var(master_key::VARIABLE).ok(), &args.new_key_file)?;
    // A reader that closed the output does not want it.
    let _closed = output.write_all(text.as_bytes());
    Ok(())
}

fn settings(
    args: &RotateArgs,
    environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
) -> Result<Settings, Failure> {
    let file = match &args.config {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
            Some((path.display().to_string(), text))
        }
    };
    let mut settings = load(Sources { file, environment, flags: Vec::new() })?;
    if let Some(data_dir) = &args.data_dir {
        settings.data_dir.clone_from(data_dir);
    }
    Ok(settings)
}

fn rotate(settings: &Settings, variable: Option<String>, new_key_file: &Path) -> Result<String, Failure> {
    let dir = settings.data_dir.as_path();
    let new = master_key::read(new_key_file)?;
    // Looked for before the old key: finding that makes one where there is no store yet.
    if !master_key::has_store(dir) {
        let refused = OpenError::NoStore { dir: dir.to_owned() };
        return Err(Failure::store(refused.to_string()));
    }
    let old = master_key::find(settings, variable)?;
    if old.bytes == new {
        return Err(Failure::usage(format!(
            "{} holds the present master key; nothing was changed",
            new_key_file.display()
        )));
    }
    let mut text = match rotate_master_key(dir, old.bytes, new) {
        Ok(rotated) => told(&rotated),
        // Cut off between the store and the file last time? Then the new key is the directory's already.
        Err(error @ OpenError::WrongMasterKey { .. }) if old.is_beside_data => {
            match rotate_master_key(dir, new, new) {
                Ok(_) => "everything secret was sealed under the new master key already\n".to_owned(),
                Err(_) => return Err(Failure::store(error.to_string())),
            }
        }
        Err(error) => return Err(Failure::store(error.to_string())),
    };
    text.push_str(&if old.is_beside_data {
        let kept = master_key::replace_beside_data(dir, &new).map_err(|failure| not_replaced(&failure))?;
        format!(
            "the new key is in {} now; the old one is kept in {} for backups made before: move it elsewhere\n",
            dir.join(master_key::FILE).display(),
            kept.display()
        )
    } else {
        format!(
            "start the server with the new key from now on, such as master_key_file = \"{}\"; \
             keep the old one for backups made before\n",
            new_key_file.display()
        )
    });
    Ok(text)
}

fn not_replaced(failure: &Failure) -> Failure {
    Failure::new(
        Exit::Store,
        format!("the data is under the new master key, but {failure}; run the same command again"),
    )
}

fn webhooks(count: u64) -> String {
    counted(count, "webhook", "webhooks")
}

fn told(rotated: &Rotated) -> String {
    let resealed = webhooks(rotated.webhooks_resealed);
    let mut text = format!("the secrets of {resealed} are sealed under the new master key\n");
    let damaged = rotated.webhooks_damaged.len() as u64;
    if damaged > 0 {
        let damaged = webhooks(damaged);
        text.push_str(&format!(
            "{damaged} could not be read before either: the record is damaged, and left as it is\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use fanfare_core::Secret;
    use fanfare_core::ports::Store as _;
    use fanfare_store::{LmdbStore, StoreOptions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    const NEW: [u8; 32] = [8; 32];

    struct Site {
        settings: Settings,
        new_key_file: PathBuf,
        folder: tempfile::TempDir,
    }

    fn site() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let new_key_file = folder.path().join("new.key");
        std::fs::write(&new_key_file, hex::encode(NEW)).unwrap();
        let settings = Settings { data_dir: folder.path().join("data"), ..Settings::default() };
        Site { settings, new_key_file, folder }
    }

    impl Site {
        fn open(&self, key: [u8; 32]) -> Result<Arc<LmdbStore>, OpenError> {
            LmdbStore::open(StoreOptions::new(&self.settings.data_dir, key, Arc::new(SystemClock::new())))
        }

        fn key_file(&self) -> String {
            std::fs::read_to_string(self.settings.data_dir.join(master_key::FILE)).unwrap()
        }

        fn rotate(&self) -> Result<String, Failure> {
            rotate(&self.settings, None, &self.new_key_file)
        }
    }

    #[test]
    fn a_key_beside_the_data_is_replaced_and_kept() {
        let site = site();
        let old = master_key::find(&site.settings, None).unwrap().bytes;
        let hash = site.open(old).unwrap().key_hash(&Secret::new("an api key"));
        let text = site.rotate().unwrap();
        assert!(
            text.starts_with("the secrets of 0 webhooks are sealed under the new master key\n"),
            "{text}"
        );
        assert_eq!(master_key::find(&site.settings, None).unwrap().bytes, NEW);
        let kept = site.settings.data_dir.join("master.key.old-1");
        assert_eq!(std::fs::read_to_string(&kept).unwrap().trim(), hex::encode(old));
        assert!(text.contains(kept.to_str().unwrap()), "{text}");
        let mode = site.settings.data_dir.join(master_key::FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(site.open(old), Err(OpenError::WrongMasterKey { .. })));
        assert_eq!(site.open(NEW).unwrap().key_hash(&Secret::new("an api key")), hash);
        // To and fro: no kept key is written over.
        std::fs::write(&site.new_key_file, hex::encode(old)).unwrap();
        let text = site.rotate().unwrap();
        assert!(text.contains("master.key.old-2"), "{text}");
        for key in [old, NEW] {
            assert!(!text.contains(&hex::encode(key)), "{text}");
        }
    }

    #[test]
    fn the_same_command_finishes_what_a_kill_cut_off() {
        let site = site();
        let old = master_key::find(&site.settings, None).unwrap().bytes;
        drop(site.open(old).unwrap());
        rotate_master_key(&site.settings.data_dir, old, NEW).unwrap();
        assert_eq!(site.key_file().trim(), hex::encode(old), "as the kill left it");
        let text = site.rotate().unwrap();
        assert!(text.contains("already"), "{text}");
        assert_eq!(site.key_file().trim(), hex::encode(NEW));
        drop(site.open(NEW).unwrap());
    }

    #[test]
    fn a_key_from_elsewhere_is_left_to_its_owner() {
        let site = site();
        drop(site.open([7; 32]).unwrap());
        let text = rotate(&site.settings, Some(hex::encode([7; 32])), &site.new_key_file).unwrap();
        assert!(text.contains(&format!("master_key_file = \"{}\"", site.new_key_file.display())), "{text}");
        assert!(!site.settings.data_dir.join(master_key::FILE).exists());
        drop(site.open(NEW).unwrap());
    }

    #[test]
    fn whatever_is_wrong_is_told_and_nothing_is_changed() {
        let site = site();
        let failure = site.rotate().unwrap_err();
        assert!(failure.exit == Exit::Store && failure.message.contains("holds no store"), "{failure}");
        assert!(!site.settings.data_dir.exists(), "no directory and no key are made");

        let old = master_key::find(&site.settings, None).unwrap().bytes;
        let store = site.open(old).unwrap();
        let failure = site.rotate().unwrap_err();
        assert!(
            failure.exit == Exit::Store && failure.message.contains("in use by another process"),
            "{failure}"
        );
        drop(store);
        let failure = rotate(&site.settings, Some(hex::encode([9; 32])), &site.new_key_file).unwrap_err();
        assert!(failure.exit == Exit::Store && failure.message.contains("another master key"), "{failure}");
        std::fs::write(&site.new_key_file, hex::encode(old)).unwrap();
        let failure = site.rotate().unwrap_err();
        assert!(failure.exit == Exit::Usage && failure.message.contains("present master key"), "{failure}");
        std::fs::write(&site.new_key_file, "hunter2").unwrap();
        let failure = site.rotate().unwrap_err();
        assert!(failure.exit == Exit::Store && !failure.message.contains("hunter2"), "{failure}");
        std::fs::remove_file(&site.new_key_file).unwrap();
        let failure = site.rotate().unwrap_err();
        assert!(failure.message.contains("new.key"), "{failure}");
        drop(site.open(old).unwrap());
        assert_eq!(site.key_file().trim(), hex::encode(old));
    }

    #[test]
    fn what_could_not_be_read_is_told() {
        let rotated = Rotated { webhooks_resealed: 1, webhooks_damaged: vec![fanfare_core::WebhookNo(7); 2] };
        assert_eq!(
            told(&rotated),
            "the secrets of 1 webhook are sealed under the new master key\n\
             2 webhooks could not be read before either: the record is damaged, and left as it is\n"
        );
    }

    #[test]
    fn settings_are_found_as_the_server_finds_them() {
        let site = site();
        let file = site.folder.path().join("fanfare.toml");
        std::fs::write(&file, "data_dir = \"from-file\"\nmaster_key_file = \"k\"").unwrap();
        let args = |data_dir: Option<&str>| RotateArgs {
            new_key_file: PathBuf::new(),
            data_dir: data_dir.map(PathBuf::from),
            config: Some(file.clone()),
        };
        let read = settings(&args(None), Vec::new()).unwrap();
        assert_eq!((read.data_dir, read.master_key_file), ("from-file".into(), Some("k".into())));
        let environment = vec![("FANFARE_DATA_DIR".into(), "from-environment".into())];
        assert_eq!(settings(&args(None), environment).unwrap().data_dir, Path::new("from-environment"));
        assert_eq!(settings(&args(Some("flag")), Vec::new()).unwrap().data_dir, Path::new("flag"));
    }
}
