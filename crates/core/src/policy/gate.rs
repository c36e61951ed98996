//! May this webhook be attempted now? `Open`, `Shut`, `Probing`.

use std::time::Duration;

/// Settings of the gate (`gate.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// Failures in a row that shut it.
    pub failures_max: u32,
    /// First time it stays shut; doubles each time a probe fails.
    pub shut_first: Duration,
    /// Longest time it stays shut.
    pub shut_max: Duration,
    /// Failing for so long without a success disables the webhook.
    pub disable_after: Duration,
}

impl Default for GatePolicy {
    fn default() -> Self {
        GatePolicy {
            failures_max: 5,
            shut_first: Duration::from_secs(1),
            shut_max: Duration::from_secs(300),
            disable_after: Duration::from_secs(5 * 24 * 3600),
        }
    }
}

/// State of the gate; data valid in one state lives inside it. Times are monotonic nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// Attempts flow.
    Open {
        /// Failures since the last success.
        failures: u32,
    },
    /// No attempt begins before `until_ns`.
    Shut {
        /// When a probe may begin.
        until_ns: u64,
        /// How long it was shut this time; the next is twice that.
        shut_for: Duration,
        /// Whether the receiver itself asked for the wait (`Retry-After`): then a late success does not open it.
        is_hint: bool,
    },
    /// One real delivery is under way to find out.
    Probing {
        /// How long it had been shut.
        shut_for: Duration,
    },
}

/// A gate, driven by what attempts come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    state: GateState,
    /// Since when there was no success but failures, Unix ms.
    failing_since_ms: Option<u64>,
}

/// What a gate says of the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go.
    Free,
    /// Go, as the one probe: call [`Gate::handle_probe_started`].
    Probe,
    /// Not before this monotonic time.
    Wait {
        /// Nanoseconds.
        until_ns: u64,
    },
    /// Not before the probe under way has ended.
    WaitForProbe,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { state: GateState::Open { failures: 0 }, failing_since_ms: None }
    }
}

impl Gate {
    /// An open gate of a webhook that was failing before a restart, since then (Unix ms).
    #[must_use]
    pub fn failing_since(since_ms: Option<u64>) -> Self {
        Gate { failing_since_ms: since_ms, ..Gate::default() }
    }

    /// The state, for health and tests.
    #[must_use]
    pub fn state(&self) -> GateState {
        self.state
    }

    /// Since when it has been failing without a success, Unix ms.
    #[must_use]
    pub fn failing_since_ms(&self) -> Option<u64> {
        self.failing_since_ms
    }

    /// May an attempt begin at `now_ns`?
    #[must_use]
    pub fn admission(&self, now_ns: u64) -> Admission {
        match self.state {
            GateState::Open { .. } => Admission::Free,
            GateState::Shut { until_ns, .. } if now_ns < until_ns => Admission::Wait { until_ns },
            GateState::Shut { .. } => Admission::Probe,
            GateState::Probing { .. } => Admission::WaitForProbe,
        }
    }

    /// The probe that [`Admission::Probe`] allowed has begun.
    pub fn handle_probe_started(&mut self) {
        if let GateState::Shut { shut_for, .. } = self.state {
            self.state = GateState::Probing { shut_for };
        }
    }

    /// An attempt succeeded. Returns whether this opened a gate that was not open.
    pub fn handle_success(&mut self) -> bool {
        self.failing_since_ms = None;
        match self.state {
            // A straggler's success does not overrule the receiver's own wish.
            GateState::Shut { is_hint: true, .. } => false,
            GateState::Open { .. } => {
                self.state = GateState::Open { failures: 0 };
                false
            }
            GateState::Shut { .. } | GateState::Probing { .. } => {
                self.state = GateState::Open { failures: 0 };
                true
            }
        }
    }

    /// An attempt failed by the receiver's fault. `is_probe`: it was the probe. `hint`: its `Retry-After`.
    pub fn handle_failure(
        &mut self,
        policy: &GatePolicy,
        now: crate::Now,
        is_probe: bool,
        hint: Option<Duration>,
    ) {
        self.failing_since_ms.get_or_insert(now.unix_ms);
        self.state = match (self.state, is_probe) {
            (GateState::Open { failures }, _) if failures + 1 < policy.failures_max => {
                GateState::Open { failures: failures + 1 }
            }
            (GateState::Open { .. }, _) => Self::shut(now, policy.shut_first),
            (GateState::Probing { shut_for }, true) => {
                Self::shut(now, (shut_for * 2).min(policy.shut_max).max(policy.shut_first))
            }
            // Stragglers that were in flight when it shut say nothing new.
            (state @ (GateState::Shut { .. } | GateState::Probing { .. }), _) => state,
        };
        if let Some(hint) = hint {
            self.shut_by_hint(now, policy, hint);
        }
    }

    /// The probe came to nothing that tells about the receiver (our own fault): probe again after the first wait.
    pub fn handle_probe_void(&mut self, policy: &GatePolicy, now: crate::Now) {
        if let GateState::Probing { shut_for } = self.state {
            self.state =
                GateState::Shut { until_ns: now.after(policy.shut_first).mono_ns, shut_for, is_hint: false };
        }
    }

    /// A changed URL, or `ENABLED`: what was known of the receiver no longer counts.
    pub fn open(&mut self) {
        *self = Gate::default();
    }

    fn shut(now: crate::Now, shut_for: Duration) -> GateState {
        GateState::Shut { until_ns: now.after(shut_for).mono_ns, shut_for, is_hint: false }
    }

    fn shut_by_hint(&mut self, now: crate::Now, policy: &GatePolicy, hint: Duration) {
        let hinted_ns = now.after(hint).mono_ns;
        let (until_ns, shut_for) = match self.state {
            GateState::Shut { until_ns, shut_for, .. } => (until_ns.max(hinted_ns), shut_for),
            // Half of the first wait: should the probe after the hint fail, the gate shuts for the first wait.
            GateState::Open { .. } => (hinted_ns, policy.shut_first / 2),
            GateState::Probing { shut_for } => (hinted_ns, shut_for),
        };
        if hint > Duration::ZERO {
            self.state = GateState::Shut { until_ns, shut_for, is_hint: true };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Now;

    const T0: Now = Now { mono_ns: 1_000_000_000, unix_ms: 1_790_000_000_000 };

    fn at(seconds: u64) -> Now {
        T0.after(Duration::from_secs(seconds))
    }

    fn failed(gate: &mut Gate, times: u32, now: Now) {
        for _ in 0..times {
            gate.handle_failure(&GatePolicy::default(), now, false, None);
        }
    }

    #[test]
    fn five_failures_in_a_row_shut_it_and_four_do_not() {
        let mut gate = Gate::default();
        failed(&mut gate, 4, T0);
        assert_eq!(gate.admission(T0.mono_ns), Admission::Free);
        gate.handle_success();
        failed(&mut gate, 4, T0);
        assert_eq!(gate.admission(T0.mono_ns), Admission::Free);
        failed(&mut gate, 1, T0);
        assert_eq!(gate.admission(T0.mono_ns), Admission::Wait { until_ns: at(1).mono_ns });
        assert_eq!(gate.admission(at(1).mono_ns), Admission::Probe);
    }

    #[test]
    fn each_failed_probe_doubles_up_to_five_minutes() {
        let mut gate = Gate::default();
        failed(&mut gate, 5, T0);
        let mut now = at(1);
        for expected_s in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(gate.admission(now.mono_ns), Admission::Probe);
            gate.handle_probe_started();
            assert_eq!(gate.admission(now.mono_ns), Admission::WaitForProbe);
            gate.handle_failure(&GatePolicy::default(), now, true, None);
            let until = now.after(Duration::from_secs(expected_s));
            assert_eq!(gate.admission(now.mono_ns), Admission::Wait { until_ns: until.mono_ns });
            now = until;
        }
        gate.handle_probe_started();
        assert!(gate.handle_success());
        assert_eq!(gate.admission(now.mono_ns), Admission::Free);
        assert_eq!(gate.failing_since_ms(), None);
    }

    #[test]
    fn stragglers_do_not_lengthen_a_shut_gate() {
        let mut gate = Gate::default();
        failed(&mut gate, 5, T0);
        let before = gate;
        failed(&mut gate, 11, T0);
        assert_eq!(gate, before);
    }

    #[test]
    fn a_hint_shuts_at_once_and_a_straggler_does_not_open_it() {
        let mut gate = Gate::default();
        gate.handle_failure(&GatePolicy::default(), T0, false, Some(Duration::from_secs(90)));
        assert!(!gate.handle_success());
        assert_eq!(gate.admission(T0.mono_ns), Admission::Wait { until_ns: at(90).mono_ns });
        assert_eq!(gate.admission(at(90).mono_ns), Admission::Probe);
        gate.handle_probe_started();
        gate.handle_failure(&GatePolicy::default(), at(90), true, None);
        assert_eq!(gate.admission(at(90).mono_ns), Admission::Wait { until_ns: at(91).mono_ns });
    }

    #[test]
    fn failing_since_is_the_first_failure_after_a_success() {
        let mut gate = Gate::default();
        failed(&mut gate, 1, T0);
        failed(&mut gate, 3, at(50));
        assert_eq!(gate.failing_since_ms(), Some(T0.unix_ms));
        gate.handle_success();
        failed(&mut gate, 1, at(60));
        assert_eq!(gate.failing_since_ms(), Some(at(60).unix_ms));
    }
}
