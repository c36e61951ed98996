//! `plugins.*`: which payload formats are loaded and how they run.

use crate::exit::Failure;
use fanfare_core::webhook::FormatName;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Payload formats that are plugins.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PluginSettings {
    /// Folder of components (`*.wasm`) to load at start.
    pub(crate) dir: Option<PathBuf>,
    /// Whether a plugin without a valid signature is refused. What is in the binary needs none.
    pub(crate) require_signed: bool,
    /// Ed25519 public keys whose signatures count, 64 hex digits each.
    pub(crate) signing_keys: Vec<String>,
    /// Threads that render, beside the event loops.
    pub(crate) threads: usize,
    /// Formats that get a fresh instance for each event.
    pub(crate) fresh: Vec<String>,
    /// What each format is told at its start.
    pub(crate) settings: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
}

impl Default for PluginSettings {
    fn default() -> Self {
        PluginSettings {
            dir: None,
            require_signed: false,
            signing_keys: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            fresh: Vec::new(),
            settings: BTreeMap::new(),
        }
    }
}

fn format_name(path: &str, text: &str) -> Result<FormatName, Failure> {
    let name = FormatName::parse(text).filter(|name| !name.is_builtin());
    name.ok_or_else(|| Failure::usage(format!("{path}: {text:?} is not the name of a plugin format")))
}

impl PluginSettings {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.keys()?;
        self.fresh_formats()?;
        self.format_settings().map(drop)
    }

    /// The keys whose signatures count.
    pub(crate) fn keys(&self) -> Result<Vec<[u8; 32]>, Failure> {
        let key = |text: &String| {
            let mut key = [0; 32];
            hex::decode_to_slice(text, &mut key).map(|()| key).map_err(|_| {
                Failure::usage(
                    "a key of plugins.signing_keys must be 64 hex digits; `fanfare plugin sign` prints it",
                )
            })
        };
        self.signing_keys.iter().map(key).collect()
    }

    /// Formats that get a fresh instance for each event.
    pub(crate) fn fresh_formats(&self) -> Result<BTreeSet<FormatName>, Failure> {
        self.fresh.iter().map(|text| format_name("plugins.fresh", text)).collect()
    }

    /// What each format is told.
    pub(crate) fn format_settings(&self) -> Result<BTreeMap<FormatName, serde_json::Value>, Failure> {
        let one = |(text, table): (&String, &serde_json::Map<_, _>)| {
            Ok((format_name("plugins.settings", text)?, serde_json::Value::Object(table.clone())))
        };
        self.settings.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(edit: impl FnOnce(&mut PluginSettings)) -> String {
        let mut settings = PluginSettings::default();
        edit(&mut settings);
        settings.check().expect_err("refused").message
    }

    #[test]
    fn what_cannot_be_used_names_its_setting() {
        assert!(refused(|s| s.signing_keys = vec!["abc".into()]).contains("plugins.signing_keys"));
        assert_eq!(
            refused(|s| s.fresh = vec!["Z_API".into()]),
            "plugins.fresh: \"Z_API\" is not the name of a plugin format"
        );
        let settings = BTreeMap::from([("slack".to_owned(), serde_json::Map::new())]);
        assert!(refused(|s| s.settings = settings).starts_with("plugins.settings: \"slack\" is not"));
    }
}
