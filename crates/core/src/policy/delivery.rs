//! The delivery machine of one webhook: what may be attempted now, and what an attempt's outcome means.
//!
//! How to drive it: hand in what is owed ([`Machine::handle_owed`]); [`Machine::ask_to_grow`], then ask
//! [`Machine::next_step`] until it says `None` and carry out each step; report every started attempt once
//! ([`Machine::handle_outcome`]); sleep until [`Machine::next_wakeup`]. A delivery that must wait for a retry leaves the
//! machine with its verdict: it waits in the store, and is handed in again when due. So the machine holds only what is
//! ready or in flight, which the caller bounds by what it hands in (D9).

use crate::Now;
use crate::delivery::{DeliveryKey, Progress, reason};
use crate::outcome::{FailureClass, Outcome};
use crate::policy::backoff::{self, Next};
use crate::policy::gate::{Admission, Gate, GatePolicy, GateState};
use crate::policy::growth_ration::GrowthRation;
use crate::policy::key_order::{KeyOrder, Turn};
use crate::policy::rate_limit::Limiter;
use crate::webhook::DeliveryPolicy;
use allowance::{ALLOWANCE_AFTER_GATE, ALLOWANCE_FIRST, Allowance};
use rand::Rng;
use std::collections::VecDeque;
use std::time::Duration;

mod allowance;
mod answers;
mod looking;

pub use crate::policy::key_order::KeyPlace;
pub use answers::{Fate, Leaving, Slot, Step, Taken, Verdict, WebhookNews};

/// What survives an actor's sleep.
#[derive(Debug, Default)]
pub struct Memory {
    gate: Gate,
    limiter: Option<Limiter>,
    /// Another process may have used up the limit a moment ago.
    is_limit_spent: bool,
}

impl Memory {
    /// Of a webhook that another process drove before: it may have used up the rate limit a moment ago, and known the
    /// webhook to be failing since then (Unix ms).
    #[must_use]
    pub fn after_restart(failing_since_ms: Option<u64>) -> Self {
        Memory { gate: Gate::failing_since(failing_since_ms), limiter: None, is_limit_spent: true }
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether forgetting it would change nothing.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.limiter.is_none() && self.gate == Gate::default() && !self.is_limit_spent
    }
}

#[derive(Debug)]
enum State {
    Ready,
    /// Behind an earlier one of its key.
    BehindKey,
    InFlight {
        is_probe: bool,
    },
}

#[derive(Debug)]
struct Entry<T> {
    payload: T,
    progress: Progress,
    state: State,
    /// With `ordering: KEY`.
    place: Option<KeyPlace>,
}

/// The machine. `T` is whatever the caller wants to get back with a delivery.
#[derive(Debug)]
pub struct Machine<T> {
    policy: DeliveryPolicy,
    gate_policy: GatePolicy,
    gate: Gate,
    limiter: Option<Limiter>,
    is_paused: bool,
    allowance: Allowance,
    in_flight: u16,
    entries: Vec<Option<Entry<T>>>,
    free: Vec<u32>,
    /// Never attempted, in order of arrival.
    fresh: VecDeque<u32>,
    /// Attempted before, in order of arrival.
    retries: VecDeque<u32>,
    /// Whose turn it is when both wait, so that neither starves.
    is_retry_next: bool,
    /// Since the limiter was asked in vain: do not ask before.
    limited_until_ns: u64,
    order: KeyOrder,
    behind_key: usize,
}

impl<T> Machine<T> {
    /// A machine with what it remembers from before its sleep.
    #[must_use]
    pub fn new(policy: DeliveryPolicy, gate_policy: GatePolicy, memory: Memory, now: Now) -> Self {
        let mut machine = Machine {
            allowance: Allowance::new(&policy, now),
            policy,
            gate_policy,
            gate: memory.gate,
            limiter: memory.limiter,
            is_paused: false,
            in_flight: 0,
            entries: Vec::new(),
            free: Vec::new(),
            fresh: VecDeque::new(),
            retries: VecDeque::new(),
            is_retry_next: false,
            limited_until_ns: 0,
            order: KeyOrder::default(),
            behind_key: 0,
        };
        machine.fit_limiter(now, memory.is_limit_spent);
        machine
    }

    /// What must survive a sleep.
    #[must_use]
    pub fn into_memory(self) -> Memory {
        Memory { gate: self.gate, limiter: self.limiter, is_limit_spent: false }
    }

    /// New settings; in force from the next attempt on.
    pub fn handle_policy(&mut self, policy: DeliveryPolicy, now: Now) {
        self.allowance.handle_policy(&policy);
        self.policy = policy;
        self.limited_until_ns = 0;
        self.fit_limiter(now, self.limiter.is_some());
    }

    fn fit_limiter(&mut self, now: Now, is_spent: bool) {
        match (self.policy.rate_limit, &self.limiter) {
            (None, _) => self.limiter = None,
            (Some(settings), Some(limiter)) if limiter.settings() == settings => {}
            (Some(settings), _) => {
                let make = if is_spent { Limiter::spent } else { Limiter::new };
                self.limiter = Some(make(settings, now.mono_ns));
            }
        }
    }

    /// Disabled (or enabled again): nothing begins while paused; what is in flight ends as usual.
    pub fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// A changed URL, or `ENABLED`: opens the gate.
    pub fn open_gate(&mut self, now: Now) {
        self.gate.open();
        self.allowance.restart(ALLOWANCE_FIRST, now);
    }

    /// With `ordering: KEY`: a delivery of this key waits in the retry table. At start, and after a redrive.
    pub fn learn_key(&mut self, key: u64, id: DeliveryKey, due_ms: u64) {
        self.order.learn(key, id, due_ms);
    }

    /// A read of the retry table begins: before it is asked for, and after what was settled was handed over. One at a time.
    pub fn begin_read(&mut self) {
        self.order.begin_read();
    }

    /// Takes a delivery in. `place`: its key, with `ordering: KEY`; those of one key must come in the order of events.
    pub fn handle_owed(&mut self, payload: T, progress: Progress, place: Option<KeyPlace>) -> Taken<T> {
        let index = self.insert(Entry { payload, progress, state: State::Ready, place });
        let Some(place) = place else {
            self.make_ready(index);
            return Taken::In(Slot(index));
        };
        match self.order.admit(place, index) {
            Turn::Head => self.make_ready(index),
            Turn::Waits => {
                self.behind_key += 1;
                if let Some(Some(entry)) = self.entries.get_mut(index as usize) {
                    entry.state = State::BehindKey;
                }
            }
            Turn::Back { due_ms } => {
                if let Some(entry) = self.remove(Slot(index)) {
                    let leaving = Leaving { payload: entry.payload, progress: entry.progress };
                    return Taken::Back { leaving, due_ms };
                }
            }
        }
        Taken::In(Slot(index))
    }

    fn insert(&mut self, entry: Entry<T>) -> u32 {
        if let Some(index) = self.free.pop() {
            if let Some(place) = self.entries.get_mut(index as usize) {
                *place = Some(entry);
            }
            return index;
        }
        self.entries.push(Some(entry));
        u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
    }

    fn make_ready(&mut self, index: u32) {
        let Some(Some(entry)) = self.entries.get_mut(index as usize) else { return };
        entry.state = State::Ready;
        if entry.progress.schedule_step == 0 { &mut self.fresh } else { &mut self.retries }.push_back(index);
    }

    /// What was the head of its key is delivered or dead: the next one's turn.
    fn end_of_key(&mut self, place: Option<KeyPlace>) {
        if let Some(place) = place
            && let Some(next) = self.order.end_head(place.key)
        {
            self.behind_key -= 1;
            self.make_ready(next);
        }
    }

    /// The next thing to do, or `None` when nothing can begin now.
    pub fn next_step(&mut self, now: Now) -> Option<Step> {
        if self.is_paused || (self.fresh.is_empty() && self.retries.is_empty()) {
            return None;
        }
        if self.in_flight >= self.allowance.count() {
            let may_grow = matches!(self.gate.state(), GateState::Open { .. });
            if !may_grow || !self.allowance.grow_by_turn(now) || self.in_flight >= self.allowance.count() {
                return None;
            }
        }
        if now.mono_ns < self.limited_until_ns {
            return None;
        }
        let is_probe = match self.gate.admission(now.mono_ns) {
            Admission::Free => false,
            Admission::Probe => true,
            Admission::Wait { .. } | Admission::WaitForProbe => return None,
        };
        let index = self.pop_ready()?;
        let is_expired = {
            let entry = self.entries.get(index as usize)?.as_ref()?;
            backoff::is_expired(&self.policy.retry, entry.progress, now.unix_ms)
        };
        if is_expired {
            return Some(Step::Expire { slot: Slot(index) });
        }
        if let Some(limiter) = &mut self.limiter
            && let Err(until_ns) = limiter.take(now.mono_ns)
        {
            self.limited_until_ns = until_ns;
            self.push_front(index);
            return None;
        }
        if is_probe {
            self.gate.handle_probe_started();
            self.forget_former_probe();
        }
        let entry = self.entries.get_mut(index as usize)?.as_mut()?;
        entry.state = State::InFlight { is_probe };
        self.in_flight += 1;
        Some(Step::Start { slot: Slot(index), attempt_number: entry.progress.attempt_number })
    }

    /// Asks for a turn to grow beyond what hangs, if it is time to. Before [`Machine::next_step`], with what all machines
    /// of one event loop share.
    pub fn ask_to_grow(&mut self, ration: &mut GrowthRation, now: Now) {
        let is_stuck = self.in_flight >= self.allowance.count() && self.ready() > 0 && !self.is_paused;
        if is_stuck && matches!(self.gate.state(), GateState::Open { .. }) {
            let timeout = Duration::from_millis(u64::from(self.policy.timeout_ms));
            self.allowance.ask(ration, timeout, now);
        }
    }

    /// A probe that outlived its gate (another attempt's success opened it, a wish shut it anew) says nothing of the one
    /// that begins now.
    fn forget_former_probe(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            if let State::InFlight { is_probe } = &mut entry.state {
                *is_probe = false;
            }
        }
    }

    /// Takes one attempt from the rate limit, for one that is made beside the deliveries.
    ///
    /// # Errors
    /// When the next may begin, monotonic nanoseconds.
    pub fn take_from_limit(&mut self, now: Now) -> Result<(), u64> {
        self.limiter.as_mut().map_or(Ok(()), |limiter| limiter.take(now.mono_ns))
    }

    fn pop_ready(&mut self) -> Option<u32> {
        let is_retry_turn = self.is_retry_next;
        self.is_retry_next = !self.is_retry_next;
        if is_retry_turn {
            self.retries.pop_front().or_else(|| self.fresh.pop_front())
        } else {
            self.fresh.pop_front().or_else(|| self.retries.pop_front())
        }
    }

    fn push_front(&mut self, index: u32) {
        let is_fresh = self
            .entries
            .get(index as usize)
            .and_then(Option::as_ref)
            .is_some_and(|entry| entry.progress.schedule_step == 0);
        if is_fresh { &mut self.fresh } else { &mut self.retries }.push_front(index);
    }

    /// When to ask again although no outcome arrived: the wait for the gate or the limiter, if one of them is what
    /// holds things up.
    #[must_use]
    pub fn next_wakeup(&self, now: Now) -> Option<Duration> {
        if self.is_paused || (self.fresh.is_empty() && self.retries.is_empty()) {
            return None;
        }
        let gate_ns = match self.gate.admission(now.mono_ns) {
            Admission::Free | Admission::Probe => 0,
            Admission::Wait { until_ns } => until_ns,
            Admission::WaitForProbe => return None,
        };
        let grows_ns = match self.gate.state() {
            _ if self.in_flight < self.allowance.count() => 0,
            GateState::Open { .. } => self.allowance.grows_at_ns()?,
            // What is in flight wakes when it ends.
            GateState::Shut { .. } | GateState::Probing { .. } => return None,
        };
        let at_ns = gate_ns.max(self.limited_until_ns).max(grows_ns);
        Some(Duration::from_nanos(at_ns.saturating_sub(now.mono_ns)))
    }

    /// An attempt ended. Call once for each [`Step::Start`]; `None` when the slot holds no attempt in flight (a
    /// caller's mistake, ignored).
    pub fn handle_outcome(
        &mut self,
        slot: Slot,
        outcome: Outcome,
        now: Now,
        rng: &mut dyn Rng,
    ) -> Option<Verdict<T>> {
        let is_probe = match self.entries.get(slot.0 as usize)?.as_ref()?.state {
            State::InFlight { is_probe } => is_probe,
            State::Ready | State::BehindKey => {
                debug_assert!(false, "an outcome of an attempt that never began");
                return None;
            }
        };
        let entry = self.remove(slot)?;
        self.in_flight -= 1;
        let (fate, news) = match outcome {
            Outcome::Delivered => (Fate::Delivered, self.note_success(now)),
            Outcome::Permanent { class } => {
                let reason = match class {
                    FailureClass::Gone => reason::GONE,
                    FailureClass::BlockedAddress => reason::BLOCKED_ADDRESS,
                    _ => class.name(),
                };
                let news = if class == FailureClass::Gone {
                    WebhookNews::Gone
                } else {
                    self.note_void(is_probe, now)
                };
                (Fate::Dead { reason }, news)
            }
            Outcome::Retryable { class, not_before } => {
                if class == FailureClass::Timeout {
                    self.allowance.shrink_by_timeout(now);
                }
                let news = if class.is_receivers_fault() {
                    self.note_failure(is_probe, not_before, now)
                } else {
                    self.note_void(is_probe, now)
                };
                let next = backoff::next_after_failure(
                    &self.policy.retry,
                    entry.progress,
                    now.unix_ms,
                    not_before,
                    rng,
                );
                let fate = match next {
                    Next::RetryAt { due_ms, progress } => Fate::Retry { due_ms, progress },
                    Next::Dead { reason } => Fate::Dead { reason },
                };
                (fate, news)
            }
        };
        let behind = match (fate, entry.place) {
            (Fate::Retry { due_ms, .. }, Some(place)) => self.park_key(place, due_ms),
            (_, place) => {
                self.end_of_key(place);
                Vec::new()
            }
        };
        Some(Verdict { payload: entry.payload, progress: entry.progress, fate, news, behind })
    }

    fn park_key(&mut self, place: KeyPlace, due_ms: u64) -> Vec<Leaving<T>> {
        let slots = self.order.park_head(place.key, place.id, due_ms);
        self.behind_key -= slots.len();
        let entries = slots.into_iter().filter_map(|index| self.remove(Slot(index)));
        entries.map(|entry| Leaving { payload: entry.payload, progress: entry.progress }).collect()
    }

    fn note_success(&mut self, now: Now) -> WebhookNews {
        if self.gate.handle_success() {
            // Not with a burst on a receiver just back. What hangs since before the gate shut does not count.
            self.allowance.restart(ALLOWANCE_AFTER_GATE.saturating_add(self.in_flight), now);
            return WebhookNews::GateOpened;
        }
        self.allowance.grow_by_success(now);
        WebhookNews::None
    }

    fn note_failure(&mut self, is_probe: bool, hint: Option<Duration>, now: Now) -> WebhookNews {
        let was_shut = matches!(self.gate.state(), GateState::Shut { .. });
        self.gate.handle_failure(&self.gate_policy, now, is_probe, hint);
        let failing_for_ms =
            self.gate.failing_since_ms().map_or(0, |since| now.unix_ms.saturating_sub(since));
        if u128::from(failing_for_ms) >= self.gate_policy.disable_after.as_millis() {
            return WebhookNews::FailingTooLong;
        }
        match self.gate.state() {
            GateState::Shut { until_ns, .. } if !was_shut => {
                WebhookNews::GateShut(Duration::from_nanos(until_ns.saturating_sub(now.mono_ns)))
            }
            _ => WebhookNews::None,
        }
    }

    fn note_void(&mut self, is_probe: bool, now: Now) -> WebhookNews {
        if is_probe {
            self.gate.handle_probe_void(&self.gate_policy, now);
        }
        WebhookNews::None
    }

    /// Takes an expired delivery out; `None` when it is in flight or gone.
    pub fn expire(&mut self, slot: Slot) -> Option<Leaving<T>> {
        match self.entries.get(slot.0 as usize)?.as_ref()?.state {
            State::Ready => {
                let entry = self.remove(slot)?;
                self.end_of_key(entry.place);
                Some(Leaving { payload: entry.payload, progress: entry.progress })
            }
            State::BehindKey | State::InFlight { .. } => None,
        }
    }

    /// Takes out everything that is not in flight, for a webhook that is deleted or gone.
    pub fn drain_ready(&mut self) -> Vec<Leaving<T>> {
        self.fresh.clear();
        self.retries.clear();
        self.order.clear();
        self.behind_key = 0;
        let mut drained = Vec::new();
        for (index, place) in (0_u32..).zip(&mut self.entries) {
            if place.as_ref().is_some_and(|entry| !matches!(entry.state, State::InFlight { .. }))
                && let Some(entry) = place.take()
            {
                self.free.push(index);
                drained.push(Leaving { payload: entry.payload, progress: entry.progress });
            }
        }
        drained
    }

    fn remove(&mut self, slot: Slot) -> Option<Entry<T>> {
        let entry = self.entries.get_mut(slot.0 as usize)?.take();
        if entry.is_some() {
            self.free.push(slot.0);
        }
        entry
    }
}

#[cfg(test)]
mod tests;
