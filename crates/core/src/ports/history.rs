//! The store's second face, for people: what became of deliveries, and putting dead ones back. Nothing here is on the
//! way of a delivery.

use super::{SendFuture, StoreError};
use crate::delivery::{AttemptRecord, DeliveryKey, DeliveryStatus};
use crate::event::EventKind;
use crate::outcome::FailureClass;
use crate::{EventId, WebhookNo};

/// Which deliveries of a webhook: of a status, of events accepted in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// `None`: every status.
    pub status: Option<DeliveryStatus>,
    /// Events accepted at or after, Unix ms.
    pub from_ms: Option<u64>,
    /// Events accepted before, Unix ms.
    pub to_ms: Option<u64>,
}

impl DeliveryFilter {
    /// Whether a delivery of an event accepted then is meant.
    #[must_use]
    pub fn spans(&self, accepted_ms: u64) -> bool {
        self.from_ms.is_none_or(|from| accepted_ms >= from) && self.to_ms.is_none_or(|to| accepted_ms < to)
    }
}

/// Part of the list of a webhook's deliveries.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Whose.
    pub webhook: WebhookNo,
    /// Which.
    pub filter: DeliveryFilter,
    /// Where to go on: a [`DeliveryPage::next`] of the same list; empty: at its start.
    pub cursor: Vec<u8>,
    /// Items at most, at least 1.
    pub count_max: usize,
}

/// One delivery, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// Its place among those of the webhook.
    pub key: DeliveryKey,
    /// The event's id; with the webhook's and the part it makes the delivery's. `None` when its record was too
    /// damaged to tell.
    pub event_id: Option<EventId>,
    /// The event's kind, where it is known.
    pub kind: Option<EventKind>,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Reason code, when dead or skipped.
    pub reason: Option<String>,
    /// When its event was accepted, Unix ms.
    pub accepted_ms: u64,
    /// When it ended, Unix ms.
    pub ended_ms: Option<u64>,
    /// Attempts made.
    pub attempt_count: u32,
    /// When the next attempt is due, Unix ms; `None` when it has ended, or waits for nothing but its turn.
    pub next_attempt_ms: Option<u64>,
    /// What the last attempt failed of.
    pub last_failure: Option<FailureClass>,
    /// Status of the last answer.
    pub last_status: Option<u16>,
}

/// Part of a list.
///
/// The order is stable: what is owed first (retries by when they are due, then what was not attempted yet, newest
/// event first), then dead ones, then delivered and skipped ones, the latest end first. A delivery that ends while a
/// list is being read may be seen twice, never not at all; one that fails and waits again, or is put back, moves to the
/// front and may be missed by that reading. One put back after it was delivered is listed with each of its ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryPage {
    /// In order; may be fewer than asked for although more follow, when much had to be passed over.
    pub items: Vec<DeliveryView>,
    /// Where to go on; `None`: nothing follows.
    pub next: Option<Vec<u8>>,
}

/// One delivery with everything that is recorded of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryDetail {
    /// Where it stands.
    pub delivery: DeliveryView,
    /// Its recorded attempts, in order.
    pub attempts: Vec<AttemptRecord>,
}

/// What to put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedriveRequest {
    /// One delivery.
    One {
        /// The event.
        event_id: EventId,
        /// Which body.
        part: u16,
    },
    /// All that fit. `status` is [`DeliveryStatus::Dead`] or, as long as bodies are kept, `Delivered` or `Skipped`.
    Many(DeliveryFilter),
}

/// What a redrive came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Deliveries put back: pending again, due at once, their schedule begun anew, the attempt number going on.
    pub count: u64,
    /// Deliveries that fit, but whose body is no longer kept.
    pub without_body: u64,
}

/// What a webhook is owed, for its health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries owed.
    pub deliveries: u64,
    /// Whether counting stopped before the end, so that there are more.
    pub is_at_least: bool,
    /// When the oldest event among them was accepted, Unix ms, as far as was counted.
    pub oldest_accepted_ms: Option<u64>,
}

/// See the module. Everything sees what was settled before it was asked.
pub trait History: Send + Sync {
    /// Part of the list of a webhook's deliveries.
    ///
    /// The future fails with [`StoreError::Cursor`] when the cursor is not of this list.
    fn list(&self, request: ListRequest) -> SendFuture<Result<DeliveryPage, StoreError>>;

    /// One delivery with its attempts; `None`: it is not known, or no longer. With several ends recorded (it was
    /// redriven) the latest counts.
    fn find(
        &self,
        webhook: WebhookNo,
        event_id: EventId,
        part: u16,
    ) -> SendFuture<Result<Option<DeliveryDetail>, StoreError>>;

    /// Puts deliveries back, durably when it completes; due at `now_ms`. In slices, so that no commit grows long: a
    /// process that dies meanwhile has put back some of them. The webhook's actor must then be told.
    fn redrive(
        &self,
        webhook: WebhookNo,
        request: RedriveRequest,
        now_ms: u64,
    ) -> SendFuture<Result<Redriven, StoreError>>;

    /// What a webhook is owed. Counts `count_max` deliveries at most.
    fn backlog(&self, webhook: WebhookNo, count_max: u64) -> SendFuture<Result<Backlog, StoreError>>;
}
