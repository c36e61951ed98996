//! A clock that follows tokio's: paused with it, advanced with it.

use fanfare_core::Now;
use fanfare_core::ports::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::time::Instant;

/// Where wall time stands when a test begins.
pub const TEST_EPOCH_MS: u64 = 1_790_000_000_000;

/// Monotonic time is tokio's, wall time the same from [`TEST_EPOCH_MS`] (or another start) on, plus the steps a test makes.
#[derive(Debug)]
pub struct TestClock {
    start: Instant,
    start_ms: u64,
    step_ms: Mutex<i64>,
}

impl TestClock {
    /// Starts now; call inside a runtime (with time paused, where waiting is to be free).
    #[must_use]
    pub fn start() -> Arc<Self> {
        Self::start_at(TEST_EPOCH_MS)
    }

    /// The same with wall time at `unix_ms`: the next process of a longer story.
    #[must_use]
    pub fn start_at(unix_ms: u64) -> Arc<Self> {
        Arc::new(TestClock { start: Instant::now(), start_ms: unix_ms, step_ms: Mutex::new(0) })
    }

    /// Steps the wall clock, as an administrator or NTP may.
    pub fn step_wall(&self, ms: i64) {
        *self.step_ms.lock() += ms;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let since = self.start.elapsed();
        let mono_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let unix_ms = (self.start_ms + mono_ns / 1_000_000).saturating_add_signed(*self.step_ms.lock());
        Now { mono_ns, unix_ms }
    }
}
