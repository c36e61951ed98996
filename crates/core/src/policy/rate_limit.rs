//! The exact limiter: in any window of w seconds at most `burst + per_second × w` attempts begin (D6).
//!
//! The arithmetic is `governor`'s (GCRA); its clock is set from `now` before each question.

use crate::webhook::RateLimit;
use governor::clock::{Clock as _, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;

/// A limiter of one webhook.
#[derive(Debug)]
pub struct Limiter {
    settings: RateLimit,
    clock: FakeRelativeClock,
    clock_ns: u64,
    cells: RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<governor::nanos::Nanos>>,
}

impl Limiter {
    /// A rested limiter. Values outside the API's ranges are moved into them.
    #[must_use]
    pub fn new(settings: RateLimit, now_ns: u64) -> Self {
        let clock = FakeRelativeClock::default();
        let per_second = if settings.per_second.is_finite() { settings.per_second } else { 1.0 };
        // Rounded up to a whole nanosecond, so that rounding never admits more than the limit.
        let period_ns = (1e9 / per_second.clamp(1e-6, 1e6)).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 1000..=1e15")]
        let period = Duration::from_nanos(period_ns as u64);
        let burst = NonZeroU32::new(settings.burst).unwrap_or(NonZeroU32::MIN);
        let quota =
            Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let cells = RateLimiter::direct_with_clock(quota, clock.clone());
        Limiter { settings, clock, clock_ns: now_ns, cells }
    }

    /// One whose burst is used up: for a limit that may have been used a moment ago by a former process, or under
    /// former settings, so that no window that spans the change holds more than one burst.
    #[must_use]
    pub fn spent(settings: RateLimit, now_ns: u64) -> Self {
        let limiter = Self::new(settings, now_ns);
        let burst = NonZeroU32::new(settings.burst).unwrap_or(NonZeroU32::MIN);
        // A rested limiter holds just that many.
        let taken = limiter.cells.check_n(burst);
        debug_assert!(matches!(taken, Ok(Ok(()))), "a rested limiter admits its burst");
        limiter
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> RateLimit {
        self.settings
    }

    /// Takes one attempt if it may begin now, else says at which monotonic nanosecond to ask again.
    ///
    /// # Errors
    /// The time to wait for.
    pub fn take(&mut self, now_ns: u64) -> Result<(), u64> {
        if now_ns > self.clock_ns {
            self.clock.advance(Duration::from_nanos(now_ns - self.clock_ns));
            self.clock_ns = now_ns;
        }
        self.cells.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            self.clock_ns.saturating_add(wait_ns.max(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_spent_one_admits_by_the_rate_only() {
        let mut limiter = Limiter::spent(RateLimit { per_second: 10.0, burst: 3 }, 500);
        assert_eq!(limiter.take(500), Err(100_000_500));
        assert!(limiter.take(100_000_500).is_ok());
        assert!(limiter.take(100_000_500).is_err());
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut limiter = Limiter::new(RateLimit { per_second: 10.0, burst: 3 }, 500);
        assert!((0..3).all(|_| limiter.take(500).is_ok()));
        assert_eq!(limiter.take(500), Err(100_000_500));
        assert!(limiter.take(100_000_499).is_err());
        assert!(limiter.take(100_000_500).is_ok());
        assert!(limiter.take(100_000_500).is_err());
    }

    proptest! {
        /// D6 against a naive count over every window, with attempts asked for at arbitrary times.
        #[test]
        fn no_window_holds_more(
            per_second in prop_oneof![0.5_f64..5.0, 5.0_f64..2000.0],
            burst in 1_u32..20,
            waits in proptest::collection::vec(0_u64..400_000_000, 1..200),
        ) {
            let mut limiter = Limiter::new(RateLimit { per_second, burst }, 0);
            let mut now_ns = 0;
            let mut begun: Vec<u64> = Vec::new();
            for wait in waits {
                now_ns += wait;
                while limiter.take(now_ns).is_ok() {
                    begun.push(now_ns);
                    prop_assert!(begun.len() < 100_000);
                }
            }
            for (first, from) in begun.iter().enumerate() {
                for (last, to) in begun.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as f64;
                    let seconds = (to - from) as f64 / 1e9;
                    prop_assert!(count <= f64::from(burst) + per_second * seconds + 1e-6);
                }
            }
        }

        /// Asking at the time it names is always granted: nobody waits longer than need be.
        #[test]
        fn the_named_time_is_enough(per_second in 0.5_f64..5000.0, burst in 1_u32..5) {
            let mut limiter = Limiter::new(RateLimit { per_second, burst }, 0);
            let mut now_ns = 0;
            for _ in 0..50 {
                if let Err(at) = limiter.take(now_ns) {
                    prop_assert!(at > now_ns);
                    now_ns = at;
                    prop_assert!(limiter.take(now_ns).is_ok());
                }
            }
        }
    }
}
