//! `dead`: one row per dead letter; its event row stays for a redrive.
//!
//! ```text
//! key    = webhook u32, ended_ms u64, seq u64, part u16
//! body   = index u32, part_count u16, attempt_count u32, failure u8 (255: none), status u16 (0: none),
//!          has_key u8, key u64 (hash of the ordering key), kind u8 (255: unknown), accepted u64,
//!          event_bytes u32, event id text (empty: unknown), reason text
//! ```

use super::frame::{self, Damaged, Put};
use super::retry::{put_failure, put_key, read_failure, read_key};
use fanfare_core::EventId;
use fanfare_core::event::EventKind;
use fanfare_core::outcome::FailureClass;

const VERSION: u8 = 1;
const WHAT: &str = "dead letter";
const NO_KIND: u8 = u8::MAX;

/// What a dead letter's row holds beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadRow {
    pub(crate) index: u32,
    pub(crate) part_count: u16,
    /// Attempts made: a redrive goes on with the next number.
    pub(crate) attempt_count: u32,
    pub(crate) failure: Option<FailureClass>,
    pub(crate) status: Option<u16>,
    /// Hash of the ordering key.
    pub(crate) key: Option<u64>,
    /// `None`, like `event_id`, when the event's own record was too damaged to tell.
    pub(crate) kind: Option<EventKind>,
    /// When the event was accepted, Unix ms; when it ended, if that is not known.
    pub(crate) accepted_ms: u64,
    /// Size of the event's row, which it keeps.
    pub(crate) event_bytes: u32,
    pub(crate) event_id: Option<EventId>,
    pub(crate) reason: String,
}

impl DeadRow {
    pub(crate) fn encode(&self, key: &[u8; 22]) -> Vec<u8> {
        let mut row = frame::begin(VERSION);
        row.put_u32(self.index);
        row.put_u16(self.part_count);
        row.put_u32(self.attempt_count);
        put_failure(&mut row, self.failure);
        row.put_u16(self.status.unwrap_or_default());
        put_key(&mut row, self.key);
        row.put_u8(self.kind.map_or(NO_KIND, |kind| kind as u8));
        row.put_u64(self.accepted_ms);
        row.put_u32(self.event_bytes);
        row.put_text(self.event_id.as_ref().map_or("", EventId::as_str));
        row.put_text(&self.reason);
        frame::finish(&mut row, key);
        row
    }

    pub(crate) fn decode(key: &[u8], row: &[u8]) -> Result<Self, Damaged> {
        let mut body = frame::open(row, key, VERSION, WHAT)?;
        let dead = DeadRow {
            index: body.u32()?,
            part_count: body.u16()?,
            attempt_count: body.u32()?,
            failure: read_failure(&mut body)?,
            status: Some(body.u16()?).filter(|status| *status != 0),
            key: read_key(&mut body)?,
            kind: match body.u8()? {
                NO_KIND => None,
                number => Some(EventKind::from_number(number).ok_or(Damaged(WHAT))?),
            },
            accepted_ms: body.u64()?,
            event_bytes: body.u32()?,
            event_id: match body.text()? {
                "" => None,
                text => Some(EventId::parse(text).map_err(|_| Damaged(WHAT))?),
            },
            reason: body.text()?.to_owned(),
        };
        body.end()?;
        Ok(dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_round_trip_and_every_damage_is_noticed() {
        let key = [3; 22];
        for event_id in [None, Some(EventId::parse("E1").unwrap())] {
            let dead = DeadRow {
                index: 1,
                part_count: 1,
                attempt_count: 12,
                failure: Some(FailureClass::Status),
                status: Some(500),
                key: event_id.as_ref().map(|_| 77),
                kind: event_id.as_ref().map(|_| EventKind::Block),
                accepted_ms: 99,
                event_bytes: 1200,
                event_id,
                reason: "exhausted".into(),
            };
            let row = dead.encode(&key);
            assert_eq!(DeadRow::decode(&key, &row), Ok(dead));
            frame::check_every_damage(&row, |row| DeadRow::decode(&key, row).is_ok());
        }
    }
}
