//! How many attempts of one webhook may be in flight: few at first, all of `maxInFlight` once its receiver answers.
//!
//! A thousand receivers that never answer so cost a few connections each, not all that every one of them may have.

use crate::Now;
use crate::webhook::DeliveryPolicy;

/// For a receiver of which nothing is known yet.
pub(super) const ALLOWANCE_FIRST: u16 = 4;
/// For one whose gate just opened.
pub(super) const ALLOWANCE_AFTER_GATE: u16 = 2;
/// While the allowance is used up without a success it still grows by one each time this part of the webhook's time-out
/// has passed, so that a few requests that hang do not stand in the way of those that would not. Each is another
/// connection to a receiver that perhaps never answers, hence no more of them before the first time-out tells. The first
/// time comes up to a step later, so that webhooks that began together do not go on together.
const STEPS_PER_TIMEOUT: u32 = 8;
/// But no more often.
const STEP_MIN_MS: u32 = 500;

/// See the module.
#[derive(Debug)]
pub(super) struct Allowance {
    count: u16,
    max: u16,
    step_ns: u64,
    /// When it began or last grew, monotonic nanoseconds.
    since_ns: u64,
}

impl Allowance {
    /// At a machine's start.
    pub(super) fn new(policy: &DeliveryPolicy, now: Now) -> Self {
        let (max, step_ns) = (policy.max_in_flight, step_ns(policy));
        // Machines are not made in the same nanosecond: its multiplicative hash (Knuth 6.4) spreads them over a step.
        let phase_ns = (now.mono_ns.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % step_ns;
        Allowance {
            count: ALLOWANCE_FIRST.min(max),
            max,
            step_ns,
            since_ns: now.mono_ns.saturating_add(phase_ns),
        }
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// New settings: a growth under way goes on, a full allowance follows at once.
    pub(super) fn handle_policy(&mut self, policy: &DeliveryPolicy) {
        let max = policy.max_in_flight;
        self.step_ns = step_ns(policy);
        if self.count >= self.max || self.count > max {
            self.count = max;
        }
        self.max = max;
    }

    /// Begins again with `count`.
    pub(super) fn restart(&mut self, count: u16, now: Now) {
        self.since_ns = now.mono_ns;
        self.count = count.min(self.max);
    }

    /// An attempt succeeded.
    pub(super) fn grow_by_success(&mut self, now: Now) {
        self.since_ns = now.mono_ns;
        self.count = self.count.saturating_add(1).min(self.max);
    }

    /// Grows if it has been used up for long enough. Returns whether it did.
    pub(super) fn grow_by_time(&mut self, now: Now) -> bool {
        let is_due = self.grows_at_ns().is_some_and(|at_ns| now.mono_ns >= at_ns);
        if is_due {
            self.count += 1;
            self.since_ns = now.mono_ns;
        }
        is_due
    }

    /// When it may grow without a success, monotonic nanoseconds; `None`: it is full.
    pub(super) fn grows_at_ns(&self) -> Option<u64> {
        (self.count < self.max).then(|| self.since_ns.saturating_add(self.step_ns))
    }
}

fn step_ns(policy: &DeliveryPolicy) -> u64 {
    u64::from((policy.timeout_ms / STEPS_PER_TIMEOUT).max(STEP_MIN_MS)) * 1_000_000
}
