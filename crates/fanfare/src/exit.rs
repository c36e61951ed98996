//! How a command ends: one code per kind of failure, and the text that goes with it.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of every command, as `fanfare --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The work itself failed: a signature did not verify, an event was rejected, a delivery is missing.
    Work = 1,
    /// Flags, settings or input that cannot be used.
    Usage = 2,
    /// A server could not be reached, or it refused the call.
    Server = 3,
    /// The data directory, the store or the master key cannot be used.
    Store = 4,
    /// The address to listen on cannot be had.
    Listen = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed. The text is lower case, names the thing and says what to do next; it never holds a secret, a
/// payload or a URL with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Kind, as the shell sees it.
    pub(crate) exit: Exit,
    /// For the person at the terminal.
    pub(crate) message: String,
}

impl Failure {
    /// Of any kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }

    /// [`Exit::Usage`].
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure::new(Exit::Usage, message)
    }

    /// [`Exit::Work`].
    pub(crate) fn work(message: impl Into<String>) -> Self {
        Failure::new(Exit::Work, message)
    }

    /// [`Exit::Server`].
    pub(crate) fn server(message: impl Into<String>) -> Self {
        Failure::new(Exit::Server, message)
    }

    /// [`Exit::Store`].
    pub(crate) fn store(message: impl Into<String>) -> Self {
        Failure::new(Exit::Store, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
