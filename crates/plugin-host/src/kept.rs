//! Plugins that came by API, on disk; `design/0001-keeping-plugins.md` says why it is laid out so.
//!
//! ```text
//! kept/index.json              which version of each format is in use and which was before, and the counters
//! kept/<sha256>.wasm           a component, named by its bytes
//! kept/*.part                  being written; nothing reads it
//! kept/damaged-<unix seconds>/ what was set aside
//! ```
//!
//! A component is written whole before the index names it, and removed after the index has ceased to. Each file is
//! written beside its name, synced and renamed, and the folder is synced: at every point in between the index is the old
//! one or the new one, and all that it names is there.

use crate::error::{FormatError, internal};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Version of the index.
const VERSION: u32 = 1;
const INDEX: &str = "index.json";

/// The index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Index {
    version: u32,
    /// Where counters of formats that are not here begin: 0, or the time at which a damaged index was set aside, so that
    /// no counter falls.
    first_generation: u64,
    pub(crate) formats: BTreeMap<String, Entry>,
}

/// One format, also one that is gone or was never put by API: its counter goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) generation: u64,
    /// SHA-256 of what was in use last, wherever it came from; empty: nothing.
    pub(crate) in_use: String,
    /// Put by API and in use.
    pub(crate) current: Option<Stored>,
    /// The one before.
    pub(crate) former: Option<Stored>,
}

/// A component that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) sha256: String,
    /// The plugin's own version.
    pub(crate) version: String,
    /// Detached signature, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<String>,
}

/// Name of a component by its bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Index {
    fn new(first_generation: u64) -> Self {
        Index { version: VERSION, first_generation, formats: BTreeMap::new() }
    }

    pub(crate) fn entry(&mut self, name: &str) -> &mut Entry {
        let generation = self.first_generation;
        self.formats.entry(name.to_owned()).or_insert_with(|| Entry { generation, ..Entry::default() })
    }

    fn files(&self) -> BTreeSet<String> {
        let stored = self.formats.values().flat_map(|entry| entry.current.iter().chain(&entry.former));
        stored.map(|stored| format!("{}.wasm", stored.sha256)).collect()
    }
}

/// See the module.
pub(crate) struct Kept {
    folder: PathBuf,
    index: Index,
    /// Called between every two changes of the folder.
    #[cfg(test)]
    on_step: Box<dyn FnMut() + Send>,
}

impl Kept {
    /// Reads the index; one that is damaged is set aside with all that it may have named. Removes what is not named.
    pub(crate) fn open(folder: &Path, unix_seconds: u64) -> Result<Self, FormatError> {
        let failed = |error| internal("the folder of kept plugins", error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let index = match std::fs::read(folder.join(INDEX)) {
            Ok(bytes) => match read_index(&bytes) {
                Ok(index) => index,
                Err(why) => {
                    let aside = folder.join(format!("damaged-{unix_seconds}"));
                    tracing::error!(
                        file = %folder.join(INDEX).display(), why, moved_to = %aside.display(),
                        "the index of kept plugins is damaged: plugins that came by API must be put again"
                    );
                    set_aside(folder, &aside).map_err(failed)?;
                    Index::new(unix_seconds)
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Index::new(0),
            Err(error) => return Err(failed(error)),
        };
        let mut kept = Kept {
            folder: folder.to_owned(),
            index,
            #[cfg(test)]
            on_step: Box::new(|| {}),
        };
        kept.remove_unnamed();
        Ok(kept)
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// A component's bytes and signature. One that is damaged is set aside; the text names the file.
    pub(crate) fn read(&self, stored: &Stored) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
        let file = self.folder.join(format!("{}.wasm", stored.sha256));
        let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        if sha256(&bytes) != stored.sha256 {
            let aside = file.with_extension("wasm.damaged");
            let moved = std::fs::rename(&file, &aside).map_or_else(
                |error| format!("and cannot be set aside: {error}"),
                |()| format!("and was set aside as {}", aside.display()),
            );
            return Err(format!("{} is not what its name says, {moved}", file.display()));
        }
        let signature = stored.signature.as_deref().map(hex::decode).transpose();
        let signature = signature.map_err(|_| format!("the signature of {} is damaged", file.display()))?;
        Ok((bytes, signature))
    }

    /// Keeps a component; until the index names it, it is nothing.
    pub(crate) fn store(
        &mut self,
        bytes: &[u8],
        version: &str,
        signature: Option<&[u8]>,
    ) -> Result<Stored, FormatError> {
        let sha256 = sha256(bytes);
        let name = format!("{sha256}.wasm");
        // Written again even if a file of the name is there: that one may be damaged.
        self.write(&name, bytes).map_err(|error| internal("cannot keep the plugin", error))?;
        Ok(Stored { sha256, version: version.to_owned(), signature: signature.map(hex::encode) })
    }

    /// Makes `index` the one that counts, then removes what it does not name. Durable when it returns.
    pub(crate) fn commit(&mut self, index: Index) -> Result<(), FormatError> {
        let json = serde_json::to_vec_pretty(&index).map_err(|error| internal("index of plugins", error))?;
        self.write(INDEX, &json).map_err(|error| internal("cannot write the index of plugins", error))?;
        self.index = index;
        self.remove_unnamed();
        Ok(())
    }

    /// Whole or not at all.
    fn write(&mut self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let part = self.folder.join(format!("{name}.part"));
        let mut written = std::fs::File::create(&part)?;
        self.step();
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        written.write_all(half)?;
        self.step();
        written.write_all(rest)?;
        written.sync_all()?;
        self.step();
        std::fs::rename(&part, self.folder.join(name))?;
        self.step();
        std::fs::File::open(&self.folder)?.sync_all()
    }

    fn remove_unnamed(&mut self) {
        let named = self.index.files();
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => return tracing::warn!(%error, "cannot look for plugins that are not needed"),
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_old = name.ends_with(".wasm") && !named.contains(&name);
            if is_old || name.ends_with(".part") {
                if let Err(error) = std::fs::remove_file(entry.path()) {
                    tracing::warn!(file = name, %error, "cannot remove a plugin that is not needed");
                }
                self.step();
            }
        }
    }

    #[cfg(test)]
    fn step(&mut self) {
        (self.on_step)();
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        reason = "what tests put between two changes of the folder is nothing here"
    )]
    fn step(&mut self) {}
}

fn read_index(bytes: &[u8]) -> Result<Index, String> {
    let index: Index = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if index.version == VERSION {
        return Ok(index);
    }
    Err(format!("version {} is not {VERSION}", index.version))
}

fn set_aside(folder: &Path, aside: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(aside)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::rename(entry.path(), aside.join(entry.file_name()))?;
        }
    }
    std::fs::File::open(aside)?.sync_all()?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// As `put` and `rollback` do it.
    fn put(kept: &mut Kept, bytes: &[u8]) {
        let stored = kept.store(bytes, "1", None).expect("stored");
        let mut index = kept.index().clone();
        let entry = index.entry("A");
        entry.former = entry.current.take();
        entry.in_use.clone_from(&stored.sha256);
        entry.current = Some(stored);
        entry.generation += 1;
        kept.commit(index).expect("committed");
    }

    fn back(kept: &mut Kept) {
        let mut index = kept.index().clone();
        let entry = index.entry("A");
        std::mem::swap(&mut entry.current, &mut entry.former);
        entry.generation += 1;
        kept.commit(index).expect("committed");
    }

    fn gone(kept: &mut Kept) {
        let mut index = kept.index().clone();
        let entry = index.entry("A");
        (entry.current, entry.former) = (None, None);
        entry.generation += 1;
        kept.commit(index).expect("committed");
    }

    /// What there is: generation, current, former. Everything named must be readable.
    fn state(folder: &Path) -> (u64, Option<Vec<u8>>, Option<Vec<u8>>) {
        let kept = Kept::open(folder, 9).expect("opens");
        let entry = kept.index().formats.get("A").cloned().unwrap_or_default();
        let read = |stored: &Stored| kept.read(stored).expect("all that is named is there").0;
        let files = std::fs::read_dir(folder).expect("folder").count();
        let named = kept.index().files().len();
        assert!(files <= named + 1, "nothing that is not named stays");
        (entry.generation, entry.current.as_ref().map(read), entry.former.as_ref().map(read))
    }

    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).expect("folder") {
            let entry = entry.expect("entry");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }

    /// Ends the process, so to speak, between every two changes of the folder.
    #[test]
    fn whenever_it_ends_what_is_found_is_the_old_or_the_new() {
        type Change = fn(&mut Kept);
        let changes: [Change; 6] = [
            |kept| put(kept, b"one"),
            |kept| put(kept, b"two"),
            |kept| put(kept, b"three"),
            back,
            |kept| put(kept, b"four"),
            gone,
        ];
        let folder = tempfile::tempdir().expect("folder");
        let mut steps_seen = 0;
        for change in changes {
            let before = state(folder.path());
            let copies = Arc::new(Mutex::new(Vec::new()));
            let mut kept = Kept::open(folder.path(), 9).expect("opens");
            let (source, taken) = (folder.path().to_owned(), Arc::clone(&copies));
            kept.on_step = Box::new(move || {
                let target = tempfile::tempdir().expect("folder");
                copy(&source, target.path());
                taken.lock().expect("lock").push(target);
            });
            change(&mut kept);
            drop(kept);
            let after = state(folder.path());
            assert_ne!(before, after);
            let mut is_new = false;
            for copy in copies.lock().expect("lock").iter() {
                let found = state(copy.path());
                assert!(found == before || found == after, "{found:?}");
                assert!(found == after || !is_new, "it never goes back");
                is_new = found == after;
                steps_seen += 1;
            }
            assert!(is_new);
        }
        assert!(steps_seen >= 40, "{steps_seen} points were tried");
    }

    #[test]
    fn a_damaged_component_is_named_and_set_aside_and_the_rest_goes_on() {
        let folder = tempfile::tempdir().expect("folder");
        let mut kept = Kept::open(folder.path(), 9).expect("opens");
        put(&mut kept, b"one");
        put(&mut kept, b"two");
        let entry = kept.index().formats.get("A").cloned().expect("entry");
        let (current, former) = (entry.current.expect("one"), entry.former.expect("one"));
        let file = folder.path().join(format!("{}.wasm", current.sha256));
        std::fs::write(&file, b"twO").expect("written");
        let text = kept.read(&current).expect_err("damaged");
        assert!(text.contains(&current.sha256) && text.contains("set aside"), "{text}");
        assert!(!file.exists() && file.with_extension("wasm.damaged").exists());
        assert!(kept.read(&former).is_ok());
        // Put again, it is whole again.
        put(&mut kept, b"two");
        assert!(kept.read(&current).is_ok());
    }

    #[test]
    fn a_damaged_index_is_set_aside_with_all_it_named_and_counters_do_not_fall() {
        let folder = tempfile::tempdir().expect("folder");
        let mut kept = Kept::open(folder.path(), 9).expect("opens");
        put(&mut kept, b"one");
        for damage in [&b"{"[..], br#"{"version":2,"firstGeneration":0,"formats":{}}"#, b""] {
            std::fs::write(folder.path().join(INDEX), damage).expect("written");
            let mut again = Kept::open(folder.path(), 1_700_000_000).expect("opens");
            assert!(again.index().formats.is_empty());
            assert_eq!(again.index.entry("A").generation, 1_700_000_000);
        }
        let aside = folder.path().join("damaged-1700000000");
        assert!(aside.join(INDEX).exists());
        assert!(aside.join(format!("{}.wasm", sha256(b"one"))).exists());
    }
}
