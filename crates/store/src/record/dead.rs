//! `dead`: one row per dead letter; its event row stays for a redrive.
//!
//! ```text
//! key    = webhook u32, ended_ms u64, seq u64, part u16
//! body   = index u32, part_count u16, attempt_number u32, schedule_step u16, owed_since u64, failure u8 (255: none),
//!          status u16 (0: none), event id text (empty: unknown), reason text
//! ```

use super::frame::{self, Damaged, Put};
use super::retry::{put_failure, put_progress, read_failure, read_progress};
use fanfare_core::EventId;
use fanfare_core::delivery::Progress;
use fanfare_core::outcome::FailureClass;

const VERSION: u8 = 1;
const WHAT: &str = "dead letter";

/// What a dead letter's row holds beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadRow {
    pub(crate) index: u32,
    pub(crate) part_count: u16,
    pub(crate) progress: Progress,
    pub(crate) failure: Option<FailureClass>,
    pub(crate) status: Option<u16>,
    /// `None` when the event's own record was too damaged to tell.
    pub(crate) event_id: Option<EventId>,
    pub(crate) reason: String,
}

impl DeadRow {
    pub(crate) fn encode(&self, key: &[u8; 22]) -> Vec<u8> {
        let mut row = frame::begin(VERSION);
        row.put_u32(self.index);
        row.put_u16(self.part_count);
        put_progress(&mut row, self.progress);
        put_failure(&mut row, self.failure);
        row.put_u16(self.status.unwrap_or_default());
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
            progress: read_progress(&mut body)?,
            failure: read_failure(&mut body)?,
            status: Some(body.u16()?).filter(|status| *status != 0),
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
                progress: Progress { attempt_number: 12, schedule_step: 11, owed_since_ms: 99 },
                failure: Some(FailureClass::Status),
                status: Some(500),
                event_id,
                reason: "exhausted".into(),
            };
            let row = dead.encode(&key);
            assert_eq!(DeadRow::decode(&key, &row), Ok(dead));
            frame::check_every_damage(&row, |row| DeadRow::decode(&key, row).is_ok());
        }
    }
}
