//! How many attempts of one webhook may be in flight: few at first, one more with each success up to `maxInFlight`, one
//! fewer with each time-out.
//!
//! A thousand receivers that never answer so cost a few connections each, not all that every one of them may have, and
//! those not over and over.

use crate::Now;
use crate::policy::growth_ration::GrowthRation;
use crate::webhook::DeliveryPolicy;
use std::time::Duration;

/// For a receiver of which nothing is known yet.
pub(super) const ALLOWANCE_FIRST: u16 = 4;
/// For one whose gate just opened.
pub(super) const ALLOWANCE_AFTER_GATE: u16 = 2;
/// An allowance that has been used up for so long without a success asks to grow by one, so that a few requests that hang
/// do not stand in the way of those that would not.
const GROWS_AFTER_NS: u64 = 500_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Allowance {
    count: u16,
    max: u16,
    /// When it began or last grew, monotonic nanoseconds.
    since_ns: u64,
    /// When its turn to grow comes, given by the [`GrowthRation`]; `None`: it has not asked.
    turn_ns: Option<u64>,
}

impl Allowance {
    /// At a machine's start.
    pub(super) fn new(policy: &DeliveryPolicy, now: Now) -> Self {
        let max = policy.max_in_flight;
        Allowance { count: ALLOWANCE_FIRST.min(max), max, since_ns: now.mono_ns, turn_ns: None }
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// New settings: a growth under way goes on, a full allowance follows at once.
    pub(super) fn handle_policy(&mut self, policy: &DeliveryPolicy) {
        let max = policy.max_in_flight;
        if self.count >= self.max || self.count > max {
            self.count = max;
        }
        self.max = max;
    }

    /// Begins again with `count`.
    pub(super) fn restart(&mut self, count: u16, now: Now) {
        self.count = count.min(self.max);
        self.count_from(now);
    }

    /// An attempt succeeded.
    pub(super) fn grow_by_success(&mut self, now: Now) {
        self.count = self.count.saturating_add(1).min(self.max);
        self.count_from(now);
    }

    /// An attempt timed out: its place is not filled again before a success or a turn, but for the last one.
    pub(super) fn shrink_by_timeout(&mut self, now: Now) {
        self.count = self.count.saturating_sub(1).max(1);
        self.count_from(now);
    }

    fn count_from(&mut self, now: Now) {
        self.since_ns = now.mono_ns;
        self.turn_ns = None;
    }

    /// Asks for its turn once it has been used up for long enough. Any outcome comes within `timeout`: a turn much later
    /// would be of no use.
    pub(super) fn ask(&mut self, ration: &mut GrowthRation, timeout: Duration, now: Now) {
        if self.turn_ns.is_none() && self.grows_at_ns().is_some_and(|at_ns| now.mono_ns >= at_ns) {
            self.turn_ns = Some(ration.next_turn(now, now.after(timeout / 2).mono_ns));
        }
    }

    /// Grows if its turn has come. Returns whether it did.
    pub(super) fn grow_by_turn(&mut self, now: Now) -> bool {
        let is_due = self.count < self.max && self.turn_ns.is_some_and(|turn_ns| now.mono_ns >= turn_ns);
        if is_due {
            self.count += 1;
            self.count_from(now);
        }
        is_due
    }

    /// When it may ask to grow without a success, or grow, monotonic nanoseconds; `None`: it is full.
    pub(super) fn grows_at_ns(&self) -> Option<u64> {
        let at_ns = self.turn_ns.unwrap_or(self.since_ns.saturating_add(GROWS_AFTER_NS));
        (self.count < self.max).then_some(at_ns)
    }
}
