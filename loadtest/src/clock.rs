//! The clocks of the harness: the one place of it that looks at one. Processes of one machine share the wall clock, so
//! a stamp made by the generator can be held against the receiver's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Unix time, microseconds.
#[expect(clippy::disallowed_methods, reason = "this is the harness's clock")]
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A stopwatch on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the harness's clock")]
    pub(crate) fn start() -> Self {
        Watch(Instant::now())
    }

    /// Since it was started.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The same in seconds.
    pub(crate) fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}
