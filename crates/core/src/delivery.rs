//! Deliveries: what is owed, where it stands, how it ends.

use crate::event::{Event, EventKind};
use crate::{EventId, Seq, WebhookId};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

/// Names one delivery within one webhook: the event's place and which of its bodies (0 for the first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The event.
    pub seq: Seq,
    /// The body, counted from 0.
    pub part: u16,
}

/// `webhook-id`: `<eventId>-<webhookId>`, further bodies `-1`, `-2`, ….
#[must_use]
pub fn delivery_id(event: &EventId, webhook: WebhookId, part: u16) -> String {
    if part == 0 { format!("{event}-{webhook}") } else { format!("{event}-{webhook}-{part}") }
}

/// One body of an event in one format, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The exact bytes to sign and send.
    pub bytes: Bytes,
    /// `Content-Type`; `None`: `application/json`.
    pub content_type: Option<Arc<str>>,
    /// Further headers a plugin asked for, already filtered.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
}

impl Body {
    /// A JSON body without further headers.
    #[must_use]
    pub fn json(bytes: Bytes) -> Self {
        Body { bytes, content_type: None, headers: Vec::new() }
    }
}

/// What rendering one event in one format gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// One body or more.
    Bodies(Vec<Body>),
    /// The event has no form in this format: settled without sending, with a reason code.
    Skipped {
        /// E.g. `no_z_api_counterpart`.
        reason: Cow<'static, str>,
    },
    /// The event can never be rendered: dead at once.
    Invalid {
        /// For the operator.
        message: String,
    },
    /// Rendering failed this time: an attempt that fails, tried again by the schedule.
    Fault {
        /// For the operator.
        message: String,
    },
    /// The format cannot be rendered at all now (its plugin is left alone after faults, or is not loaded): the delivery
    /// waits without using an attempt.
    Later {
        /// For the operator.
        message: String,
    },
}

/// Why a delivery ended without success. Reason codes of the API.
pub mod reason {
    /// The address may not be called.
    pub const BLOCKED_ADDRESS: &str = "blocked_address";
    /// The receiver answered 410.
    pub const GONE: &str = "gone";
    /// The retry schedule is used up.
    pub const EXHAUSTED: &str = "exhausted";
    /// Older than `retry.maxAgeSeconds`.
    pub const EXPIRED: &str = "expired";
    /// The event can never be rendered in the webhook's format.
    pub const INVALID_EVENT: &str = "invalid_event";
    /// Its record in the store is damaged.
    pub const DAMAGED: &str = "damaged_record";
    /// Skipped: the webhook's format was changed, and gives fewer bodies of the event now.
    pub const FORMAT_CHANGED: &str = "format_changed";
    /// The webhook was deleted.
    pub const DELETED: &str = "webhook_deleted";
}

/// Status of a delivery in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// Owed.
    Pending,
    /// Success.
    Delivered,
    /// Given up, kept with its reason.
    Dead,
    /// Not sent, for a stated reason.
    Skipped,
}

impl DeliveryStatus {
    /// All, in the order of lists.
    pub const ALL: [DeliveryStatus; 4] =
        [DeliveryStatus::Pending, DeliveryStatus::Dead, DeliveryStatus::Delivered, DeliveryStatus::Skipped];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "PENDING",
            DeliveryStatus::Delivered => "DELIVERED",
            DeliveryStatus::Dead => "DEAD",
            DeliveryStatus::Skipped => "SKIPPED",
        }
    }

    /// Reads [`DeliveryStatus::name`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// Reads [`delivery_id`] of a known webhook: the event's id and the part.
#[must_use]
pub fn parse_delivery_id(text: &str, webhook: WebhookId) -> Option<(EventId, u16)> {
    let middle = format!("-{webhook}");
    // From the end: an event's id may itself hold the webhook's.
    let at = text.rfind(&middle)?;
    let (event, tail) = (text.get(..at)?, text.get(at + middle.len()..)?);
    let part = match tail.strip_prefix('-') {
        None if tail.is_empty() => 0,
        None => return None,
        Some(digits) => {
            let part: u16 = digits.parse().ok().filter(|part| *part > 0)?;
            (part.to_string() == digits).then_some(part)?
        }
    };
    Some((EventId::parse(event).ok()?, part))
}

/// Where a delivery stands in its retry schedule; kept with it on disk between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of the next attempt, from 1; goes on after a redrive.
    pub attempt_number: u32,
    /// Next step of the schedule; 0 again after a redrive.
    pub schedule_step: u16,
    /// Since when the present schedule runs, Unix ms (accepted or redriven).
    pub owed_since_ms: u64,
}

impl Progress {
    /// Of a delivery never attempted.
    #[must_use]
    pub fn first(owed_since_ms: u64) -> Self {
        Progress { attempt_number: 1, schedule_step: 0, owed_since_ms }
    }
}

/// How the store knows that a delivery in memory is owed; what must be removed when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the event's own record.
    Direct,
    /// By a row of the backlog index, named by its first event.
    Parked {
        /// Key of the row.
        chunk: Seq,
    },
    /// By a row of its own in the retry table.
    Retry {
        /// Key of the row, Unix ms.
        due_ms: u64,
    },
}

/// A delivery (or, before rendering, all bodies of one event for one webhook) as handed to a webhook's actor.
#[derive(Clone, Debug)]
pub struct Owed {
    /// The event.
    pub event: Arc<Event>,
    /// The webhook's place in the event's list of who is owed.
    pub index: u32,
    /// `None`: all bodies that are not in `settled_parts`. `Some`: just this one (a retry).
    pub part: Option<u16>,
    /// With `part: Some(0)`: no other body of this event is known, so that this one stands for all there may be. A first
    /// rendering that fails does not tell how many there are.
    pub is_alone: bool,
    /// Bodies of this event that have ended or have a retry row of their own already.
    pub settled_parts: Vec<u16>,
    /// Where it stands.
    pub progress: Progress,
    /// How the store knows of it.
    pub origin: Origin,
}

/// How an entry changes in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Success.
    Delivered,
    /// Not sent.
    Skipped {
        /// Reason code.
        reason: String,
    },
    /// Given up; becomes a dead letter and keeps its event.
    Dead {
        /// Reason code.
        reason: String,
        /// Where it stood, for a redrive.
        progress: Progress,
    },
    /// To be attempted again; gets a row in the retry table.
    Retry {
        /// When, Unix ms.
        due_ms: u64,
        /// Where it stands.
        progress: Progress,
    },
    /// Dropped without a trace but the reason in the log (webhook deleted).
    Dropped,
}

/// One attempt, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// From 1.
    pub attempt_number: u32,
    /// When it began, Unix ms.
    pub started_ms: u64,
    /// How long it took, ms.
    pub duration_ms: u32,
    /// Status of the answer, if one was read.
    pub status: Option<u16>,
    /// `None`: success.
    pub failure: Option<crate::outcome::FailureClass>,
    /// First bytes of the answer.
    pub snippet: Bytes,
    /// What failed, for the operator.
    pub detail: Option<String>,
}

/// One change handed to the store: the end of an attempt, or an end without one.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The webhook.
    pub webhook: crate::WebhookNo,
    /// The event.
    pub seq: Seq,
    /// Its id, for records that outlive the event.
    pub event_id: EventId,
    /// Its kind, likewise.
    pub kind: EventKind,
    /// When it was accepted, Unix ms, likewise.
    pub accepted_ms: u64,
    /// Hash of its ordering key, for a retry row or a dead letter; `None` with every other ending.
    pub key: Option<u64>,
    /// The webhook's place in the event's list.
    pub index: u32,
    /// Which body.
    pub part: u16,
    /// How many bodies the event has for this webhook, as far as is known (1 for nearly all). More than one for a retry
    /// that stood for all ([`Owed::is_alone`]): it is taken apart, each of the others gets a row like its own.
    pub part_count: u16,
    /// How the store knew of it.
    pub origin: Origin,
    /// What becomes of it.
    pub ending: Ending,
    /// When it was settled, Unix ms.
    pub at_ms: u64,
    /// The attempt behind it, when it is to be recorded.
    pub attempt: Option<AttemptRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_ids_are_read_back_and_nothing_else_is() {
        let webhook = WebhookId(7);
        for (event, part) in [("E-1", 0), ("A", 1), ("7-7", 65535)] {
            let event = EventId::parse(event).unwrap();
            let text = delivery_id(&event, webhook, part);
            assert_eq!(parse_delivery_id(&text, webhook), Some((event, part)));
            assert_eq!(parse_delivery_id(&text, WebhookId(8)), None);
        }
        let base = delivery_id(&EventId::parse("E").unwrap(), webhook, 0);
        for tail in ["-0", "-01", "-", "-65536", "x", "-+1", "-1-1"] {
            assert_eq!(parse_delivery_id(&format!("{base}{tail}"), webhook), None, "{tail}");
        }
        let twice = EventId::parse(&delivery_id(&EventId::parse("E").unwrap(), webhook, 0)).unwrap();
        assert_eq!(parse_delivery_id(&delivery_id(&twice, webhook, 0), webhook), Some((twice, 0)));
    }
}
