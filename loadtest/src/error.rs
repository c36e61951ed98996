//! Why a run could not be made. A delivery that is missing is no error: it is a finding of the report.

use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scenario, a flag or a file that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// A part of the run did not do its work.
    #[error("{0}")]
    Work(String),
    /// The operating system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Error::Usage(text.into())
    }

    pub(crate) fn work(text: impl Into<String>) -> Self {
        Error::Work(text.into())
    }
}

/// Names what was tried when the operating system refuses.
pub(crate) trait Trying<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::System { what: what(), source })
    }
}
