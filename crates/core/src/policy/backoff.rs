//! When a failed delivery is attempted again, and when it is given up.

use crate::delivery::{Progress, reason};
use crate::webhook::RetryPolicy;
use rand::{Rng, RngExt};
use std::time::Duration;

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Attempt again.
    RetryAt {
        /// Unix ms.
        due_ms: u64,
        /// Where it will stand then.
        progress: Progress,
    },
    /// Give up.
    Dead {
        /// Reason code.
        reason: &'static str,
    },
}

/// Jitter either way, of the planned wait.
pub const JITTER: f64 = 0.2;

/// Plans the wait after attempt `progress.attempt_number` failed: the schedule's step ± 20 %, not before the
/// receiver's hint. A delivery that would be older than `max_age_seconds` by then is dead.
#[must_use]
pub fn next_after_failure(
    policy: &RetryPolicy,
    progress: Progress,
    now_ms: u64,
    hint: Option<Duration>,
    rng: &mut dyn Rng,
) -> Next {
    let Some(step_seconds) = policy.schedule_seconds.get(usize::from(progress.schedule_step)) else {
        return Next::Dead { reason: reason::EXHAUSTED };
    };
    let planned_ms = f64::from(*step_seconds) * 1000.0;
    let factor = 1.0 + JITTER * (2.0 * rng.random::<f64>() - 1.0);
    // At most 604800 s × 1.2: far below 2^53, so the conversion is exact enough and never saturates.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..=725_760_000")]
    let wait_ms = (planned_ms * factor) as u64;
    let hint_ms = hint.map_or(0, |h| u64::try_from(h.as_millis()).unwrap_or(u64::MAX));
    let due_ms = now_ms.saturating_add(wait_ms.max(hint_ms));
    if is_expired(policy, progress, due_ms) {
        return Next::Dead { reason: reason::EXPIRED };
    }
    Next::RetryAt {
        due_ms,
        progress: Progress {
            attempt_number: progress.attempt_number.saturating_add(1),
            schedule_step: progress.schedule_step.saturating_add(1),
            owed_since_ms: progress.owed_since_ms,
        },
    }
}

/// Whether a delivery is older than the policy allows at `at_ms`.
#[must_use]
pub fn is_expired(policy: &RetryPolicy, progress: Progress, at_ms: u64) -> bool {
    at_ms.saturating_sub(progress.owed_since_ms) > u64::from(policy.max_age_seconds) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::{DEFAULT_SCHEDULE_SECONDS, DeliveryPolicy};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn step(progress: Progress, now_ms: u64, hint: Option<Duration>, seed: u64) -> Next {
        let policy = DeliveryPolicy::default().retry;
        next_after_failure(&policy, progress, now_ms, hint, &mut SmallRng::seed_from_u64(seed))
    }

    #[test]
    fn the_default_schedule_ends_after_twelve_attempts() {
        let mut progress = Progress::first(0);
        let mut now_ms = 0;
        for (index, seconds) in DEFAULT_SCHEDULE_SECONDS.into_iter().enumerate() {
            let Next::RetryAt { due_ms, progress: next } = step(progress, now_ms, None, 7) else {
                panic!("attempt {index} must be retried");
            };
            let wait = (due_ms - now_ms) as f64 / 1000.0;
            assert!((wait / f64::from(seconds) - 1.0).abs() <= JITTER + 1e-9, "step {index}: {wait} s");
            assert_eq!(usize::try_from(next.attempt_number), Ok(index + 2));
            (progress, now_ms) = (next, due_ms);
        }
        assert_eq!(step(progress, now_ms, None, 7), Next::Dead { reason: reason::EXHAUSTED });
    }

    #[test]
    fn a_hint_delays_and_age_ends() {
        let hint = Some(Duration::from_secs(3600));
        assert!(matches!(step(Progress::first(0), 10, hint, 1), Next::RetryAt { due_ms: 3_600_010, .. }));
        let old = Progress { attempt_number: 3, schedule_step: 2, owed_since_ms: 0 };
        assert_eq!(step(old, 432_000_000, None, 1), Next::Dead { reason: reason::EXPIRED });
    }

    proptest! {
        /// Backoff stays in its window whatever the random draw.
        #[test]
        fn waits_stay_within_a_fifth(seed: u64, index in 0_u16..11) {
            let progress = Progress { attempt_number: 1, schedule_step: index, owed_since_ms: 0 };
            let Next::RetryAt { due_ms, .. } = step(progress, 0, None, seed) else {
                return Err(TestCaseError::fail("must be retried"));
            };
            let planned = u64::from(DEFAULT_SCHEDULE_SECONDS[usize::from(index)]) * 1000;
            prop_assert!(due_ms >= planned * 8 / 10 - 1 && due_ms <= planned * 12 / 10 + 1);
        }
    }
}
