//! D8: a gate worked out from how attempts ended. After a change that opens the gate it is not known when the engine
//! heard of it, and so nothing is claimed until the gate is known again; but a receiver's own wish holds.

use crate::journal::{AttemptNo, Ended, WorldNs};
use fanfare_core::outcome::FailureClass;
use fanfare_core::policy::gate::GatePolicy;

#[derive(Clone, Copy, Debug)]
enum State {
    /// Somewhere around a change.
    Unknown,
    Open {
        failures: u32,
    },
    Shut {
        since: WorldNs,
        until: WorldNs,
        shut_for: WorldNs,
        is_wish: bool,
    },
    Probing {
        probe: AttemptNo,
        shut_for: WorldNs,
    },
}

pub(super) struct GateView {
    policy: GatePolicy,
    state: State,
    /// The receiver asked for quiet from, until.
    quiet: Option<(WorldNs, WorldNs)>,
    /// The last change that opens the gate.
    reset_at: WorldNs,
    /// The last attempt that was delivered ended then.
    succeeded_at: Option<WorldNs>,
}

impl Default for GateView {
    fn default() -> Self {
        GateView::open(GatePolicy::default())
    }
}

fn ns(duration: std::time::Duration) -> WorldNs {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl GateView {
    pub(super) fn open(policy: GatePolicy) -> Self {
        GateView { policy, state: State::Open { failures: 0 }, quiet: None, reset_at: 0, succeeded_at: None }
    }

    /// A change that opens the gate is stored: in force at some time in the next 100 ms after its answer.
    pub(super) fn reset(&mut self, at: WorldNs) {
        self.state = State::Unknown;
        self.quiet = None;
        self.reset_at = at;
    }

    /// An attempt begins. What ended at this very moment may not have been heard of yet.
    pub(super) fn begin(&mut self, at: WorldNs, attempt: AttemptNo) -> Result<(), String> {
        if let Some((from, until)) = self.quiet
            && at > from
            && at < until
        {
            let left_ms = (until - at) / 1_000_000;
            return Err(format!("the receiver asked for {left_ms} ms more, but attempt {attempt} begins"));
        }
        match self.state {
            State::Unknown | State::Open { .. } => Ok(()),
            State::Shut { since, .. } if at == since => Ok(()),
            State::Shut { until, shut_for, .. } if at >= until => {
                self.state = State::Probing { probe: attempt, shut_for };
                Ok(())
            }
            State::Shut { until, .. } => {
                let left_ms = (until - at) / 1_000_000;
                Err(format!("its gate is shut for {left_ms} ms more, but attempt {attempt} begins"))
            }
            // The success was heard of after the probe began, and opened the gate.
            State::Probing { .. } if self.succeeded_at == Some(at) => {
                self.state = State::Open { failures: 0 };
                Ok(())
            }
            State::Probing { probe, .. } => {
                Err(format!("attempt {attempt} begins beside the probe, attempt {probe}"))
            }
        }
    }

    /// An attempt ended that had begun at `begun`.
    pub(super) fn end(&mut self, at: WorldNs, attempt: AttemptNo, begun: WorldNs, ended: Ended) {
        match ended {
            Ended::Delivered => {
                self.succeeded_at = Some(at);
                self.succeed(begun);
            }
            Ended::Abandoned => self.fail(at, attempt, None),
            Ended::Failed { class: FailureClass::Gone, .. } => {}
            Ended::Failed { class, hint_ns } if class.is_receivers_fault() => self.fail(at, attempt, hint_ns),
            Ended::Failed { .. } => {
                // It says nothing of the receiver: the probe is made again after the first wait.
                if let State::Probing { probe, shut_for } = self.state
                    && probe == attempt
                {
                    self.shut(at, ns(self.policy.shut_first), shut_for, false);
                }
            }
        }
    }

    fn shut(&mut self, at: WorldNs, wait: WorldNs, shut_for: WorldNs, is_wish: bool) {
        self.state = State::Shut { since: at, until: at.saturating_add(wait), shut_for, is_wish };
    }

    fn succeed(&mut self, begun: WorldNs) {
        match self.state {
            // One that began after the change was in force tells that the gate let it through; unless the receiver
            // asked for quiet since, it is open now.
            State::Unknown => {
                let is_heard = begun > self.reset_at.saturating_add(super::CHANGE_NS * 20);
                if is_heard && self.quiet.is_none() {
                    self.state = State::Open { failures: 0 };
                }
            }
            State::Shut { is_wish: true, .. } => {}
            State::Open { .. } | State::Shut { .. } | State::Probing { .. } => {
                self.state = State::Open { failures: 0 };
            }
        }
    }

    fn fail(&mut self, at: WorldNs, attempt: AttemptNo, hint: Option<WorldNs>) {
        let first = ns(self.policy.shut_first);
        match self.state {
            State::Open { failures } if failures + 1 < self.policy.failures_max => {
                self.state = State::Open { failures: failures + 1 };
            }
            State::Open { .. } => self.shut(at, first, first, false),
            State::Probing { probe, shut_for } if probe == attempt => {
                let next = shut_for.saturating_mul(2).min(ns(self.policy.shut_max)).max(first);
                self.shut(at, next, next, false);
            }
            State::Unknown | State::Shut { .. } | State::Probing { .. } => {}
        }
        let Some(hint) = hint.filter(|hint| *hint > 0) else { return };
        let hinted = at.saturating_add(hint);
        match self.state {
            State::Unknown => {
                // Perhaps heard before the change, and forgotten with it.
                let is_heard = at > self.reset_at.saturating_add(super::CHANGE_NS * 20);
                if is_heard {
                    self.wish(at, hinted);
                }
                return;
            }
            State::Open { .. } => self.shut(at, hint, first / 2, true),
            State::Shut { since, until, shut_for, .. } => {
                let until = until.max(hinted);
                self.state = State::Shut { since: since.max(at), until, shut_for, is_wish: true };
            }
            State::Probing { shut_for, .. } => self.shut(at, hint, shut_for, true),
        }
        self.wish(at, hinted);
    }

    /// The latest wish counts, and an earlier one that lasts longer.
    fn wish(&mut self, at: WorldNs, until: WorldNs) {
        self.quiet = match self.quiet {
            Some((from, other)) if other >= until => Some((from, other)),
            _ => Some((at, until)),
        };
    }
}
