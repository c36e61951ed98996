//! `attempts`: what was tried (and what was skipped), in rows that retention drops by the hour.
//!
//! ```text
//! key    = hour u32 (Unix hours), webhook u32, commit u64, n u16
//! body   = item × m, at most 64 KiB
//! item   = item_bytes u32, seq u64, part u16, ending u8, kind u8, accepted u64, at u64, event id text, reason text,
//!          has_attempt u8, [attempt_number u32, started u64, duration u32, status u16 (0: none), failure u8 (255: none),
//!           snippet_bytes u16, snippet, has_detail u8, detail text]
//! ending = 0 delivered, 1 retry, 2 dead, 3 skipped, 4 dropped
//! ```

use super::frame::{self, Damaged, Put, Reader};
use super::retry::{put_failure, read_failure};
use bytes::Bytes;
use fanfare_core::delivery::{AttemptRecord, DeliveryKey, Ending, Settlement};
use fanfare_core::event::EventKind;
use fanfare_core::outcome::FailureClass;
use fanfare_core::{EventId, Seq};

const VERSION: u8 = 1;
const WHAT: &str = "attempt";
/// A row is closed when it reaches this.
pub(crate) const ROW_BYTES_MAX: usize = 64 * 1024;

/// One recorded attempt, or a delivery that ended without one, as it stands in its row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'r> {
    /// Which delivery of the webhook.
    pub(crate) key: DeliveryKey,
    /// What became of the delivery.
    pub(crate) ended: Ended,
    /// The event's kind.
    pub(crate) kind: EventKind,
    /// When the event was accepted, Unix ms.
    pub(crate) accepted_ms: u64,
    /// When it was settled, Unix ms.
    pub(crate) at_ms: u64,
    /// The event's id.
    pub(crate) event_id: &'r str,
    /// Reason code of a dead or skipped delivery, else empty.
    pub(crate) reason: &'r str,
    /// The request made; `None` for an end without one.
    pub(crate) attempt: Option<Request<'r>>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'r> {
    pub(crate) attempt_number: u32,
    started_ms: u64,
    duration_ms: u32,
    pub(crate) status: Option<u16>,
    pub(crate) failure: Option<FailureClass>,
    snippet: &'r [u8],
    detail: Option<&'r str>,
}

impl Request<'_> {
    /// As core has it.
    pub(crate) fn to_record(self) -> AttemptRecord {
        AttemptRecord {
            attempt_number: self.attempt_number,
            started_ms: self.started_ms,
            duration_ms: self.duration_ms,
            status: self.status,
            failure: self.failure,
            snippet: Bytes::copy_from_slice(self.snippet),
            detail: self.detail.map(str::to_owned),
        }
    }
}

impl Item<'_> {
    /// The event's id.
    pub(crate) fn event_id(&self) -> Option<EventId> {
        EventId::parse(self.event_id).ok()
    }
}

/// What became of a delivery after a recorded attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Ended {
    /// Success.
    Delivered = 0,
    /// To be attempted again.
    Retry = 1,
    /// Given up.
    Dead = 2,
    /// Not sent.
    Skipped = 3,
    /// Dropped with its webhook.
    Dropped = 4,
}

impl Ended {
    fn from_number(number: u8) -> Option<Self> {
        [Ended::Delivered, Ended::Retry, Ended::Dead, Ended::Skipped, Ended::Dropped]
            .into_iter()
            .find(|ended| *ended as u8 == number)
    }
}

/// Starts a row.
pub(crate) fn begin() -> Vec<u8> {
    frame::begin(VERSION)
}

/// Appends one settlement of a body to a row.
pub(crate) fn push(row: &mut Vec<u8>, settlement: &Settlement, part: u16) {
    let size_at = row.len();
    row.put_u32(0);
    row.put_u64(settlement.seq.0);
    row.put_u16(part);
    let (ended, reason) = match &settlement.ending {
        Ending::Delivered => (Ended::Delivered, ""),
        Ending::Retry { .. } => (Ended::Retry, ""),
        Ending::Dead { reason, .. } => (Ended::Dead, reason.as_str()),
        Ending::Skipped { reason } => (Ended::Skipped, reason.as_str()),
        Ending::Dropped => (Ended::Dropped, ""),
    };
    row.put_u8(ended as u8);
    row.put_u8(settlement.kind as u8);
    row.put_u64(settlement.accepted_ms);
    row.put_u64(settlement.at_ms);
    row.put_text(settlement.event_id.as_str());
    row.put_text(reason);
    row.put_u8(u8::from(settlement.attempt.is_some()));
    if let Some(attempt) = &settlement.attempt {
        row.put_u32(attempt.attempt_number);
        row.put_u64(attempt.started_ms);
        row.put_u32(attempt.duration_ms);
        row.put_u16(attempt.status.unwrap_or_default());
        put_failure(row, attempt.failure);
        let snippet = attempt.snippet.slice(..attempt.snippet.len().min(usize::from(u16::MAX)));
        row.put_u16(u16::try_from(snippet.len()).unwrap_or(u16::MAX));
        row.extend_from_slice(&snippet);
        row.put_u8(u8::from(attempt.detail.is_some()));
        row.put_text(attempt.detail.as_deref().unwrap_or_default());
    }
    let item_bytes = u32::try_from(row.len().saturating_sub(size_at + 4)).unwrap_or(u32::MAX);
    if let Some(place) = row.get_mut(size_at..size_at + 4) {
        place.copy_from_slice(&item_bytes.to_le_bytes());
    }
}

/// Closes a row.
pub(crate) fn finish(row: &mut [u8], key: &[u8; 18]) {
    frame::finish(row, key);
}

fn read_item<'r>(item: &mut Reader<'r>) -> Result<Item<'r>, Damaged> {
    let key = DeliveryKey { seq: Seq(item.u64()?), part: item.u16()? };
    let ended = Ended::from_number(item.u8()?).ok_or(Damaged(WHAT))?;
    let kind = EventKind::from_number(item.u8()?).ok_or(Damaged(WHAT))?;
    let (accepted_ms, at_ms) = (item.u64()?, item.u64()?);
    let (event_id, reason) = (item.text()?, item.text()?);
    let attempt = match item.u8()? {
        0 => None,
        _ => Some(Request {
            attempt_number: item.u32()?,
            started_ms: item.u64()?,
            duration_ms: item.u32()?,
            status: Some(item.u16()?).filter(|status| *status != 0),
            failure: read_failure(item)?,
            snippet: {
                let count = usize::from(item.u16()?);
                item.bytes(count)?
            },
            detail: {
                let has_detail = item.u8()? != 0;
                Some(item.text()?).filter(|_| has_detail)
            },
        }),
    };
    Ok(Item { key, ended, kind, accepted_ms, at_ms, event_id, reason, attempt })
}

/// Reads a row: its items in the order they were recorded.
pub(crate) fn items<'r>(key: &[u8], row: &'r [u8]) -> Result<Vec<Item<'r>>, Damaged> {
    let mut body = frame::open(row, key, VERSION, WHAT)?;
    let mut items = Vec::new();
    while !body.is_empty() {
        body.u32()?;
        items.push(read_item(&mut body)?);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::WebhookNo;
    use fanfare_core::delivery::{Origin, Progress};

    fn settlement(ending: Ending, attempt: Option<AttemptRecord>) -> Settlement {
        Settlement {
            webhook: WebhookNo(1),
            seq: Seq(7),
            event_id: EventId::parse("E").unwrap(),
            kind: EventKind::Block,
            accepted_ms: 44,
            key: None,
            index: 0,
            part: 2,
            part_count: 3,
            origin: Origin::Direct,
            ending,
            at_ms: 55,
            attempt,
        }
    }

    #[test]
    fn attempts_round_trip_and_every_damage_is_noticed() {
        let attempt = AttemptRecord {
            attempt_number: 3,
            started_ms: 44,
            duration_ms: 11,
            status: Some(500),
            failure: Some(FailureClass::Status),
            snippet: Bytes::from_static(b"oops"),
            detail: Some("answered 500".into()),
        };
        let plain = AttemptRecord { status: None, failure: None, detail: None, ..attempt.clone() };
        let progress = Progress::first(1);
        let all = [
            settlement(Ending::Delivered, Some(plain.clone())),
            settlement(Ending::Retry { due_ms: 9, progress }, Some(attempt.clone())),
            settlement(Ending::Dead { reason: "exhausted".into(), progress }, Some(attempt)),
            settlement(Ending::Skipped { reason: "no_z_api_counterpart".into() }, None),
            settlement(Ending::Dropped, Some(plain)),
        ];
        let key = [4; 18];
        let mut row = begin();
        for settlement in &all {
            push(&mut row, settlement, 2);
        }
        finish(&mut row, &key);
        let back = items(&key, &row).unwrap();
        let kinds: Vec<_> = back.iter().map(|item| (item.ended, item.reason)).collect();
        assert_eq!(
            kinds,
            [
                (Ended::Delivered, ""),
                (Ended::Retry, ""),
                (Ended::Dead, "exhausted"),
                (Ended::Skipped, "no_z_api_counterpart"),
                (Ended::Dropped, "")
            ]
        );
        for (item, settlement) in back.iter().zip(&all) {
            assert_eq!(item.attempt.map(Request::to_record), settlement.attempt);
            assert_eq!((item.key.seq, item.key.part), (Seq(7), 2));
            assert_eq!((item.kind, item.accepted_ms, item.at_ms), (EventKind::Block, 44, 55));
            assert_eq!(item.event_id(), Some(settlement.event_id.clone()));
        }
        frame::check_every_damage(&row, |row| items(&key, row).is_ok());
    }
}
