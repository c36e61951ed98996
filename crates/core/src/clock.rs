//! A reading of both clocks, taken once per batch of work and passed down.

use std::time::Duration;

/// One reading of the monotonic and the wall clock.
///
/// Waits inside a process (gate, rate limit, time-outs) use `mono_ns`, which never steps; what is persisted or shown
/// (retry times, timestamps) uses `unix_ms`, which may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since an arbitrary start of this process; never goes back.
    pub mono_ns: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Now {
    /// The reading `wait` later, both clocks moved alike. For tests and for planning.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Now { mono_ns: self.mono_ns.saturating_add(ns), unix_ms: self.unix_ms.saturating_add(ns / 1_000_000) }
    }

    /// Whole Unix seconds, as `webhook-timestamp` carries them.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        self.unix_ms / 1000
    }
}
