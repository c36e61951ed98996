//! Errors are core's: short ways to make them.

pub(crate) use fanfare_core::ports::formats::FormatError;

/// The component itself is not what it must be.
pub(crate) fn refused(text: impl Into<String>) -> FormatError {
    FormatError::Refused(text.into())
}

/// Something on our side: a folder that cannot be written, a thread that cannot be started.
pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> FormatError {
    FormatError::Internal(format!("{what}: {error}"))
}
