//! What people ask of one webhook's actor: how it fares, a test, to take up what was put back.

use crate::EngineError;
use crate::vitals::{LastFailure, Latency, Vitals, WINDOW_SECONDS};
use fanfare_core::event::{Event, EventKind};
use fanfare_core::outcome::{AttemptReport, Outcome};
use fanfare_core::policy::delivery::Memory;
use fanfare_core::policy::gate::{Gate, GateState};
use fanfare_core::ports::history::Backlog;
use fanfare_core::webhook::WebhookStatus;
use fanfare_core::{Now, delivery::Rendered};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a sleeping actor leaves behind, when it is worth keeping.
#[derive(Debug)]
pub(crate) struct Asleep {
    pub(crate) memory: Memory,
    pub(crate) last_failure: Option<LastFailure>,
}

/// One question; its answer goes to whoever asked. A question to an actor that dies is answered by the sender's end.
#[derive(Debug)]
pub(crate) enum Question {
    Health(oneshot::Sender<ActorHealth>),
    Test(Arc<Event>, oneshot::Sender<Result<TestOutcome, EngineError>>),
    /// The same, rendered.
    TestReady(Arc<Event>, Arc<Rendered>, oneshot::Sender<Result<TestOutcome, EngineError>>),
    /// Deliveries were put back, due then (Unix ms).
    Redriven(u64),
}

/// `gate` of a webhook's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateHealth {
    /// `OPEN`, `SHUT` or `PROBING`.
    pub state: &'static str,
    /// When the next probe may begin, Unix ms, while it is shut.
    pub until_ms: Option<u64>,
    /// Failures in a row while it is open.
    pub failures_in_a_row: u32,
    /// Since when there was no success but failures, Unix ms.
    pub failing_since_ms: Option<u64>,
}

impl GateHealth {
    pub(crate) fn of(gate: &Gate, now: Now) -> Self {
        let (state, until_ms, failures_in_a_row) = match gate.state() {
            GateState::Open { failures } => ("OPEN", None, failures),
            GateState::Shut { until_ns, .. } => {
                let wait_ms = until_ns.saturating_sub(now.mono_ns).div_ceil(1_000_000);
                ("SHUT", Some(now.unix_ms + wait_ms), 0)
            }
            GateState::Probing { .. } => ("PROBING", None, 0),
        };
        GateHealth { state, until_ms, failures_in_a_row, failing_since_ms: gate.failing_since_ms() }
    }
}

/// What a webhook's actor knows of its health.
#[derive(Clone, Debug)]
pub(crate) struct ActorHealth {
    pub(crate) gate: GateHealth,
    pub(crate) in_flight: usize,
    pub(crate) delivered: u32,
    pub(crate) failed: u32,
    pub(crate) latency: Option<Latency>,
    pub(crate) last_failure: Option<LastFailure>,
}

impl ActorHealth {
    pub(crate) fn of(gate: &Gate, in_flight: usize, vitals: &mut Vitals, now: Now) -> Self {
        let (delivered, failed) = vitals.counts(now);
        ActorHealth {
            gate: GateHealth::of(gate, now),
            in_flight,
            delivered,
            failed,
            latency: vitals.latency(),
            last_failure: vitals.last_failure.clone(),
        }
    }

    /// Of one whose actor sleeps.
    pub(crate) fn asleep(asleep: Option<&Asleep>, now: Now) -> Self {
        let at_rest = Gate::default();
        let gate = asleep.map_or(&at_rest, |asleep| asleep.memory.gate());
        let last_failure = asleep.and_then(|asleep| asleep.last_failure.clone());
        let mut vitals = Vitals::default();
        vitals.last_failure = last_failure;
        Self::of(gate, 0, &mut vitals, now)
    }
}

/// Health of a webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookHealth {
    /// Whether it gets events.
    pub status: WebhookStatus,
    /// Why the engine disabled it.
    pub disabled_reason: Option<String>,
    /// Its gate.
    pub gate: GateHealth,
    /// What it is owed.
    pub backlog: Backlog,
    /// Attempts in flight.
    pub in_flight: usize,
    /// Attempts that succeeded, a second, over the last [`WebhookHealth::window_seconds`].
    pub delivered_per_second: f64,
    /// Attempts that failed, likewise.
    pub failed_per_second: f64,
    /// The span of the rates.
    pub window_seconds: u32,
    /// How long its receiver took lately; `None` when it was not called since its actor woke.
    pub latency: Option<Latency>,
    /// The last attempt that failed since the engine started.
    pub last_failure: Option<LastFailure>,
}

impl WebhookHealth {
    pub(crate) fn new(
        status: WebhookStatus,
        disabled_reason: Option<String>,
        backlog: Backlog,
        actor: ActorHealth,
    ) -> Self {
        let per_second = |count: u32| f64::from(count) / f64::from(WINDOW_SECONDS);
        WebhookHealth {
            status,
            disabled_reason,
            gate: actor.gate,
            backlog,
            in_flight: actor.in_flight,
            delivered_per_second: per_second(actor.delivered),
            failed_per_second: per_second(actor.failed),
            window_seconds: WINDOW_SECONDS,
            latency: actor.latency,
            last_failure: actor.last_failure,
        }
    }
}

/// What a test attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// Kind of the sample event.
    pub kind: EventKind,
    /// `webhook-id` of the request.
    pub delivery_id: String,
    /// Bodies the sample has in the webhook's format; the first was sent. 0: it has none, and nothing was sent.
    pub body_count: usize,
    /// Reason code when nothing was sent.
    pub skipped: Option<String>,
    /// The attempt, when one was made.
    pub report: Option<AttemptReport>,
    /// How long it took, ms.
    pub duration_ms: u32,
}

impl TestOutcome {
    /// Whether the receiver took it.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.outcome == Outcome::Delivered)
    }
}
