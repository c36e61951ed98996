//! What a plugin says of itself, in the custom section `fanfare:manifest` of its component: readable before anything of it
//! runs.

use crate::error::{FormatError, refused};
use crate::limits::Limits;
use fanfare_core::webhook::FormatName;
use serde::{Deserialize, Serialize};

/// Name of the custom section.
pub(crate) const SECTION: &str = "fanfare:manifest";
/// Vectors one manifest may carry.
const VECTORS_MAX: usize = 256;

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The format's name: an upper-case word that is not built in.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// Of bodies that name no other.
    pub content_type: String,
    /// What the plugin asks for.
    #[serde(default)]
    pub limits: Limits,
    /// JSON Schema (the subset of `settings.rs`) that its settings are held against; `None`: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_schema: Option<serde_json::Value>,
    /// Its own test vectors, run at admission.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<Vector>,
}

/// One event and what it must render to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vector {
    /// For messages.
    pub name: String,
    /// The event, as in `POST /v1/events`.
    pub event: serde_json::Value,
    /// What comes of it.
    pub expect: Expect,
}

/// What comes of a vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Expect {
    /// These bodies, compared as JSON.
    Bodies(Vec<serde_json::Value>),
    /// Skipped with this reason code.
    Skip(String),
    /// Refused as never to be rendered, whatever the message.
    Invalid,
}

impl Manifest {
    /// Reads and checks one.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let manifest: Manifest = serde_json::from_slice(bytes)
            .map_err(|error| refused(format!("manifest (custom section {SECTION}): {error}")))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks every member.
    pub(crate) fn check(&self) -> Result<(), FormatError> {
        let name = FormatName::parse(&self.name).ok_or_else(|| {
            FormatError::Name(format!(
                "name {:?} is not an upper-case word of A-Z 0-9 _, at most 64",
                self.name
            ))
        })?;
        if name.is_builtin() {
            return Err(FormatError::Name(format!("name {} is a built-in format", self.name)));
        }
        if self.version.is_empty() || self.version.len() > 64 {
            return Err(refused("version must have 1 to 64 characters"));
        }
        crate::output::check_content_type(&self.content_type)
            .map_err(|why| refused(format!("contentType {why}")))?;
        self.limits.check().map_err(FormatError::Refused)?;
        if self.vectors.len() > VECTORS_MAX {
            let count = self.vectors.len();
            return Err(refused(format!("{count} vectors exceed {VECTORS_MAX}")));
        }
        Ok(())
    }
}
