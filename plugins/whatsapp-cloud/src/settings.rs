//! What the operator says of numbers that the hub's events do not tell.

use serde::Deserialize;
use std::collections::BTreeMap;

/// See the manifest's schema.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) echoes: bool,
    pub(crate) business_account_id: Option<String>,
    pub(crate) channels: BTreeMap<String, Channel>,
}

/// What Meta calls a channel.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Channel {
    pub(crate) phone_number_id: Option<String>,
    pub(crate) display_phone_number: Option<String>,
    pub(crate) business_account_id: Option<String>,
}

impl Settings {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}
