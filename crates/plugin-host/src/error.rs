//! Why a plugin was refused, or a change of formats.

/// For whoever brings a plugin: what is wrong and what to do. Callers match on the kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The file itself: not a component, too large, imports something, an unknown interface, a manifest that does not
    /// fit, no valid signature, vectors that fail.
    #[error("{0}")]
    Refused(String),
    /// The name is taken by a built-in format, or not the manifest's.
    #[error("{0}")]
    Name(String),
    /// There is no such format.
    #[error("no plugin format named {0}")]
    Unknown(String),
    /// Something on our side: a folder that cannot be written, a thread that cannot be started.
    #[error("plugins: {0}")]
    Internal(String),
}

impl PluginError {
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        PluginError::Refused(text.into())
    }

    pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> Self {
        PluginError::Internal(format!("{what}: {error}"))
    }
}
