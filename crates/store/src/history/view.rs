//! Deliveries as people see them, made from rows.

use super::cursor::Timed;
use crate::record::attempt::{Ended, Item};
use crate::record::dead::DeadRow;
use crate::record::event::EventView;
use crate::record::retry::RetryRow;
use fanfare_core::delivery::{DeliveryKey, DeliveryStatus, reason};
use fanfare_core::event::EventKind;
use fanfare_core::ports::history::DeliveryView;
use fanfare_core::{EventId, Seq};

/// What is known of a delivery's event.
#[derive(Clone, Debug, Default)]
pub(super) struct EventFacts {
    pub(super) id: Option<EventId>,
    pub(super) kind: Option<EventKind>,
    pub(super) accepted_ms: Option<u64>,
}

impl EventFacts {
    pub(super) fn of(view: Option<EventView<'_>>) -> Self {
        EventFacts {
            id: view.and_then(|view| view.id()),
            kind: view.map(|view| view.kind),
            accepted_ms: view.map(|view| view.accepted_at_ms),
        }
    }
}

fn plain(key: DeliveryKey, status: DeliveryStatus, event: EventFacts, accepted_ms: u64) -> DeliveryView {
    DeliveryView {
        key,
        event_id: event.id,
        kind: event.kind,
        status,
        reason: None,
        accepted_ms: event.accepted_ms.unwrap_or(accepted_ms),
        ended_ms: None,
        attempt_count: 0,
        next_attempt_ms: None,
        last_failure: None,
        last_status: None,
    }
}

fn delivery_key(seq: u64, part: u16) -> DeliveryKey {
    DeliveryKey { seq: Seq(seq), part }
}

/// One that waits for its turn.
pub(super) fn waiting(seq: u64, part: u16, event: EventFacts) -> DeliveryView {
    plain(delivery_key(seq, part), DeliveryStatus::Pending, event, 0)
}

/// One that waits for its next attempt. `None`: the row is damaged, and its schedule begins anew.
pub(super) fn retry((due_ms, seq, part): Timed, row: Option<RetryRow>, event: EventFacts) -> DeliveryView {
    let owed_since_ms = row.map_or(0, |row| row.progress.owed_since_ms);
    DeliveryView {
        attempt_count: row.map_or(0, |row| row.progress.attempt_number.saturating_sub(1)),
        next_attempt_ms: Some(due_ms),
        last_failure: row.and_then(|row| row.failure),
        last_status: row.and_then(|row| row.status),
        ..plain(delivery_key(seq, part), DeliveryStatus::Pending, event, owed_since_ms)
    }
}

/// One that was given up. `None`: the row is damaged; its key and the event tell the rest.
pub(super) fn dead(
    (ended_ms, seq, part): Timed,
    row: Option<DeadRow>,
    event: impl FnOnce() -> heed::Result<EventFacts>,
) -> heed::Result<DeliveryView> {
    let key = delivery_key(seq, part);
    let Some(row) = row else {
        return Ok(DeliveryView {
            reason: Some(reason::DAMAGED.to_owned()),
            ended_ms: Some(ended_ms),
            ..plain(key, DeliveryStatus::Dead, event()?, ended_ms)
        });
    };
    let facts = EventFacts { id: row.event_id, kind: row.kind, accepted_ms: Some(row.accepted_ms) };
    Ok(DeliveryView {
        reason: Some(row.reason),
        ended_ms: Some(ended_ms),
        attempt_count: row.attempt_count,
        last_failure: row.failure,
        last_status: row.status,
        ..plain(key, DeliveryStatus::Dead, facts, ended_ms)
    })
}

/// How an item ended its delivery for good; `None`: it did not, or left a row of its own that tells.
pub(super) fn ended_status(item: &Item<'_>) -> Option<DeliveryStatus> {
    match item.ended {
        Ended::Delivered => Some(DeliveryStatus::Delivered),
        Ended::Skipped => Some(DeliveryStatus::Skipped),
        Ended::Retry | Ended::Dead | Ended::Dropped => None,
    }
}

/// One that was delivered or skipped.
pub(super) fn ended(item: &Item<'_>, status: DeliveryStatus) -> DeliveryView {
    let event =
        EventFacts { id: item.event_id(), kind: Some(item.kind), accepted_ms: Some(item.accepted_ms) };
    DeliveryView {
        reason: (!item.reason.is_empty()).then(|| item.reason.to_owned()),
        ended_ms: Some(item.at_ms),
        attempt_count: item.attempt.map_or(0, |attempt| attempt.attempt_number),
        last_failure: item.attempt.and_then(|attempt| attempt.failure),
        last_status: item.attempt.and_then(|attempt| attempt.status),
        ..plain(item.key, status, event, item.accepted_ms)
    }
}
