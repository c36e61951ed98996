//! The real clock: the one place of the product that looks at one.

use fanfare_core::Now;
use fanfare_core::ports::Clock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the operating system's clocks.
///
/// A reading costs two vDSO calls, about 50 ns; callers take one per batch of work, not one per step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic reading starts at 0 now.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port's real implementation")]
    pub(crate) fn new() -> Self {
        SystemClock { start: Instant::now() }
    }

    /// Time since the clock was made.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now().mono_ns)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port's real implementation")]
    fn now(&self) -> Now {
        let mono = Instant::now().saturating_duration_since(self.start);
        // A wall clock set before 1970 reads as 0: signatures would be refused, but nothing panics.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono_ns: u64::try_from(mono.as_nanos()).unwrap_or(u64::MAX),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_reading_starts_near_zero_and_never_goes_back() {
        let clock = SystemClock::new();
        let first = clock.now();
        let second = clock.now();
        assert!(second.mono_ns >= first.mono_ns);
        assert!(first.unix_ms > 1_700_000_000_000, "the wall clock is in milliseconds of this century");
    }
}
