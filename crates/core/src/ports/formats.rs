//! Formats that are not built in: rendering them, and, for operators, which there are and changing them while everything
//! runs.

use super::SendFuture;
use crate::delivery::Rendered;
use crate::event::Event;
use crate::webhook::FormatName;
use bytes::Bytes;
use std::sync::Arc;

/// Renders formats that are not built in.
pub trait Formatter: Send + Sync {
    /// The names it knows now.
    fn names(&self) -> Vec<FormatName>;

    /// Whether a render would be tried now: the format is there and is not left alone. Cheap.
    fn is_ready(&self, format: &FormatName) -> bool;

    /// Renders one event; one render per event and format, whoever asks. An unknown format is [`Rendered::Later`].
    fn render(&self, format: &FormatName, event: Arc<Event>) -> SendFuture<Rendered>;
}

/// Where a plugin came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatSource {
    /// It is in the binary.
    Shipped,
    /// A file of `plugins.dir`.
    Folder,
    /// Put by API.
    Api,
}

impl FormatSource {
    /// The word in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FormatSource::Shipped => "shipped",
            FormatSource::Folder => "folder",
            FormatSource::Api => "api",
        }
    }
}

/// One plugin format, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatStanding {
    /// Its name.
    pub name: FormatName,
    /// Where the version in use came from.
    pub source: FormatSource,
    /// The plugin's own version.
    pub version: String,
    /// Rises with each change of the format, over restarts too.
    pub generation: u64,
    /// Whether it is left alone after faults, its deliveries waiting.
    pub is_quarantined: bool,
    /// Version of the one before, to go back to.
    pub former_version: Option<String>,
    /// What it did since the start.
    pub meters: FormatMeters,
}

/// Bounds of [`FormatMeters::render_us_counts`], microseconds.
pub const RENDER_US_BOUNDS: [u64; 12] = [8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384, 65_536, 262_144];

/// What one format did since the start, all its generations together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormatMeters {
    /// Events rendered: one for each event and format, whatever came of it.
    pub renders: u64,
    /// Of them by their time in the guest: as many as took up to each of [`RENDER_US_BOUNDS`] but more than the one
    /// before; the last one counts all that took longer.
    pub render_us_counts: [u64; RENDER_US_BOUNDS.len() + 1],
    /// Their times together, microseconds.
    pub render_us_sum: u64,
    /// Faults by kind: every kind there is, also those that never happened.
    pub faults: Vec<(&'static str, u64)>,
    /// Instances made anew, the first ones included.
    pub instances: u64,
    /// The most linear memory an instance had after a call, bytes.
    pub memory_bytes_max: u64,
}

/// Why a format was not changed. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The component itself: why it is not admitted.
    #[error("{0}")]
    Refused(String),
    /// The name is built in, or is not the manifest's.
    #[error("{0}")]
    Name(String),
    /// There is no such format.
    #[error("no plugin format named {0}")]
    Unknown(String),
    /// It cannot be done as things stand (in use, no former version, not put by API); the text says what to do.
    #[error("{0}")]
    Conflict(String),
    /// Something on our side; the text is for the log.
    #[error("plugins: {0}")]
    Internal(String),
}

/// Changes plugin formats. All of it is durable when it is answered.
pub trait Formats: Send + Sync {
    /// All plugin formats, by name.
    fn list(&self) -> Vec<FormatStanding>;

    /// Whether something of this name would stay if what was put by API were gone: in the binary or in `plugins.dir`.
    /// Where that is not known, the answer is no.
    fn remains_without_api(&self, _name: &FormatName) -> bool {
        false
    }

    /// Admits a component, stores it, and swaps it in: events rendered from then on use it, renders under way end with
    /// the one before, which is kept for [`Formats::rollback`]. `signature`: 64 bytes, Ed25519 over the component.
    fn put(
        &self,
        name: FormatName,
        component: Bytes,
        signature: Option<Bytes>,
    ) -> SendFuture<Result<FormatStanding, FormatError>>;

    /// Puts the version before in the place of the present one, which is then the one before.
    fn rollback(&self, name: FormatName) -> SendFuture<Result<FormatStanding, FormatError>>;

    /// Removes what was put by API. What the binary or `plugins.dir` has under the name is used again. The caller has
    /// made sure that no webhook uses the format, if it would be gone.
    fn delete(&self, name: FormatName) -> SendFuture<Result<(), FormatError>>;

    /// Tries a plugin again that is left alone after faults.
    ///
    /// # Errors
    /// [`FormatError::Unknown`].
    fn lift(&self, name: &FormatName) -> Result<FormatStanding, FormatError>;
}

/// Without any format.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFormats;

impl Formatter for NoFormats {
    fn names(&self) -> Vec<FormatName> {
        Vec::new()
    }

    fn is_ready(&self, _format: &FormatName) -> bool {
        false
    }

    fn render(&self, format: &FormatName, _event: Arc<Event>) -> SendFuture<Rendered> {
        let message = format!("no plugin format named {} is loaded", format.as_str());
        Box::pin(async move { Rendered::Later { message } })
    }
}

impl NoFormats {
    fn refuse<T: Send + 'static>() -> SendFuture<Result<T, FormatError>> {
        Box::pin(async { Err(FormatError::Conflict("this engine takes no plugins".to_owned())) })
    }
}

impl Formats for NoFormats {
    fn list(&self) -> Vec<FormatStanding> {
        Vec::new()
    }

    fn put(
        &self,
        _name: FormatName,
        _component: Bytes,
        _signature: Option<Bytes>,
    ) -> SendFuture<Result<FormatStanding, FormatError>> {
        Self::refuse()
    }

    fn rollback(&self, _name: FormatName) -> SendFuture<Result<FormatStanding, FormatError>> {
        Self::refuse()
    }

    fn delete(&self, _name: FormatName) -> SendFuture<Result<(), FormatError>> {
        Self::refuse()
    }

    fn lift(&self, name: &FormatName) -> Result<FormatStanding, FormatError> {
        Err(FormatError::Unknown(name.as_str().to_owned()))
    }
}
