//! `retries`: one row per delivery that waits for its next attempt, ordered by when it is due.
//!
//! ```text
//! key    = webhook u32, due_ms u64, seq u64, part u16
//! body   = index u32, part_count u16, attempt_number u32, schedule_step u16, owed_since u64, failure u8 (255: none),
//!          status u16 (0: none), has_key u8, key u64 (hash of the ordering key)
//! ```

use super::frame::{self, Damaged, Put, Reader};
use fanfare_core::delivery::Progress;
use fanfare_core::outcome::FailureClass;

const VERSION: u8 = 1;
const WHAT: &str = "retry";
const NO_FAILURE: u8 = u8::MAX;

/// What a retry row holds beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryRow {
    pub(crate) index: u32,
    pub(crate) part_count: u16,
    pub(crate) progress: Progress,
    /// Why the last attempt failed, when it was recorded.
    pub(crate) failure: Option<FailureClass>,
    /// Status of the last answer, likewise.
    pub(crate) status: Option<u16>,
    /// Hash of the ordering key.
    pub(crate) key: Option<u64>,
}

fn put_progress(row: &mut Vec<u8>, progress: Progress) {
    row.put_u32(progress.attempt_number);
    row.put_u16(progress.schedule_step);
    row.put_u64(progress.owed_since_ms);
}

fn read_progress(body: &mut Reader<'_>) -> Result<Progress, Damaged> {
    Ok(Progress { attempt_number: body.u32()?, schedule_step: body.u16()?, owed_since_ms: body.u64()? })
}

pub(crate) fn put_failure(row: &mut Vec<u8>, failure: Option<FailureClass>) {
    row.put_u8(failure.map_or(NO_FAILURE, |class| class as u8));
}

pub(crate) fn read_failure(body: &mut Reader<'_>) -> Result<Option<FailureClass>, Damaged> {
    match body.u8()? {
        NO_FAILURE => Ok(None),
        number => FailureClass::from_number(number).map(Some).ok_or(body.damaged()),
    }
}

pub(crate) fn put_key(row: &mut Vec<u8>, key: Option<u64>) {
    row.put_u8(u8::from(key.is_some()));
    row.put_u64(key.unwrap_or_default());
}

pub(crate) fn read_key(body: &mut Reader<'_>) -> Result<Option<u64>, Damaged> {
    let has_key = body.u8()? != 0;
    let key = body.u64()?;
    Ok(has_key.then_some(key))
}

impl RetryRow {
    pub(crate) fn encode(&self, key: &[u8; 22]) -> Vec<u8> {
        let mut row = frame::begin(VERSION);
        row.put_u32(self.index);
        row.put_u16(self.part_count);
        put_progress(&mut row, self.progress);
        put_failure(&mut row, self.failure);
        row.put_u16(self.status.unwrap_or_default());
        put_key(&mut row, self.key);
        frame::finish(&mut row, key);
        row
    }

    pub(crate) fn decode(key: &[u8], row: &[u8]) -> Result<Self, Damaged> {
        let mut body = frame::open(row, key, VERSION, WHAT)?;
        let retry = RetryRow {
            index: body.u32()?,
            part_count: body.u16()?,
            progress: read_progress(&mut body)?,
            failure: read_failure(&mut body)?,
            status: Some(body.u16()?).filter(|status| *status != 0),
            key: read_key(&mut body)?,
        };
        body.end()?;
        Ok(retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_round_trip_and_every_damage_is_noticed() {
        let key = [3; 22];
        for failure in [None, Some(FailureClass::Status), Some(FailureClass::Internal)] {
            let retry = RetryRow {
                index: 70_000,
                part_count: 3,
                progress: Progress { attempt_number: 4, schedule_step: 3, owed_since_ms: 99 },
                failure,
                status: failure.map(|_| 503),
                key: failure.map(|_| 77),
            };
            let row = retry.encode(&key);
            assert_eq!(RetryRow::decode(&key, &row), Ok(retry));
            frame::check_every_damage(&row, |row| RetryRow::decode(&key, row).is_ok());
        }
    }
}
