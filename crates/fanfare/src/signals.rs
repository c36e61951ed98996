//! SIGTERM and SIGINT, for commands that end in order.

use crate::exit::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals that ask for an end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Watches for both from now on.
    pub(crate) fn new() -> Result<Self, Failure> {
        let watch =
            |kind| signal(kind).map_err(|error| Failure::work(format!("cannot wait for signals: {error}")));
        Ok(Signals { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    /// Waits for the next of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
