//! What the machine says: steps to take, fates of deliveries, news of the webhook.

use crate::delivery::Progress;
use std::time::Duration;

/// Names a delivery inside the machine while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub(super) u32);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin this attempt.
    Start {
        /// Which.
        slot: Slot,
        /// From 1.
        attempt_number: u32,
    },
    /// It grew too old while it waited: call [`Machine::expire`](super::Machine::expire).
    Expire {
        /// Which.
        slot: Slot,
    },
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Done.
    Delivered,
    /// Waits in the store.
    Retry {
        /// Unix ms.
        due_ms: u64,
        /// Where it will stand.
        progress: Progress,
    },
    /// Given up.
    Dead {
        /// Reason code.
        reason: &'static str,
    },
}

/// What an outcome says of the webhook as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookNews {
    /// Nothing new.
    None,
    /// The gate shut, for so long.
    GateShut(Duration),
    /// The gate opened.
    GateOpened,
    /// 410: disable it and give up what it is owed.
    Gone,
    /// Failing without a success for longer than the setting: disable it.
    FailingTooLong,
}

/// A delivery on its way out of the machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaving<T> {
    /// What was handed in with it.
    pub payload: T,
    /// Where it stands.
    pub progress: Progress,
}

/// The machine's answer to an outcome.
#[derive(Debug)]
pub struct Verdict<T> {
    /// What was handed in with the delivery.
    pub payload: T,
    /// Where it stood when the attempt began.
    pub progress: Progress,
    /// What becomes of it.
    pub fate: Fate,
    /// What it says of the webhook.
    pub news: WebhookNews,
    /// Deliveries of the same key that were behind it and must wait in the store as long as it does: none of them
    /// was attempted, so each keeps its progress.
    pub behind: Vec<Leaving<T>>,
}

/// What becomes of a delivery handed in.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The machine has it.
    In(Slot),
    /// An earlier one of its key waits in the store until then: it must wait there too.
    Back {
        /// The delivery.
        leaving: Leaving<T>,
        /// Unix ms.
        due_ms: u64,
    },
}
