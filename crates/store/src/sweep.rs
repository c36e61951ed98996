//! Retention: what is too old, or too much, goes in slices. See `design/0003-retention.md`.

use crate::ledger::{Found, Group, Ledger, MS_PER_HOUR};
use crate::options::Retention;
use crate::record::event::EventView;
use crate::tables::{
    Txn, hour_key, hour_key_parts, key_no, key_seq, seq_key, table_bytes, timed_key, timed_parts,
};
use heed::RwTxn;
use std::ops::Bound;

/// Rows one slice removes at most.
const SLICE_ROWS_MAX: usize = 512;
/// Bytes of attempts one slice removes at most, but for the last row.
const SLICE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What one slice may still do.
struct Budget {
    rows: usize,
    bytes: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn spend(&mut self, bytes: usize) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Whether everything in an hour is older than that.
fn is_hour_over(hour: u32, seconds: u64, now_ms: u64) -> bool {
    let end_ms = (u64::from(hour) + 1) * MS_PER_HOUR;
    end_ms.saturating_add(seconds.saturating_mul(1000)) <= now_ms
}

impl Ledger {
    /// Whether a sweep would find something.
    pub(crate) fn has_expired(&self, txn: &Txn<'_>, now_ms: u64) -> heed::Result<bool> {
        Ok(self.expired_attempts(txn, now_ms)?.is_some()
            || self.expired_dead(txn, now_ms)?.is_some()
            || self.expired_body(txn, now_ms)?.is_some())
    }

    /// Does one slice. Returns whether more is left.
    pub(crate) fn sweep(&mut self, txn: &mut RwTxn<'_>, group: &mut Group) -> heed::Result<bool> {
        let mut budget = Budget { rows: SLICE_ROWS_MAX, bytes: SLICE_BYTES_MAX };
        Ok(self.sweep_attempts(txn, group, &mut budget)?
            || self.sweep_dead(txn, group, &mut budget)?
            || self.sweep_bodies(txn, group, &mut budget)?)
    }

    /// The first row of attempts, if it is to go, and its size.
    fn expired_attempts(&self, txn: &Txn<'_>, now_ms: u64) -> heed::Result<Option<(Vec<u8>, usize)>> {
        let Retention { attempts_seconds, attempts_bytes, .. } = self.retention;
        let Some((key, row)) = self.tables.attempts.first(txn)? else { return Ok(None) };
        let is_over = is_hour_over(key_no(key), attempts_seconds, now_ms)
            || table_bytes(self.tables.attempts, txn)? > attempts_bytes;
        Ok(is_over.then(|| (key.to_vec(), row.len())))
    }

    fn sweep_attempts(&self, txn: &mut RwTxn<'_>, group: &Group, budget: &mut Budget) -> heed::Result<bool> {
        while let Some((key, bytes)) = self.expired_attempts(txn, group.now_ms)? {
            if budget.is_spent() {
                return Ok(true);
            }
            self.tables.attempts.delete(txn, &key)?;
            budget.spend(bytes);
        }
        Ok(false)
    }

    /// The first hour and webhook with dead letters that are to go.
    fn expired_dead(&self, txn: &Txn<'_>, now_ms: u64) -> heed::Result<Option<(u32, u32)>> {
        let Retention { dead_letters_seconds, dead_letters_bytes, .. } = self.retention;
        let Some((key, _)) = self.tables.dead_hours.first(txn)? else { return Ok(None) };
        let (hour, webhook) = hour_key_parts(key);
        let is_over =
            is_hour_over(hour, dead_letters_seconds, now_ms) || self.state.dead_bytes > dead_letters_bytes;
        Ok(is_over.then_some((hour, webhook)))
    }

    fn sweep_dead(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        budget: &mut Budget,
    ) -> heed::Result<bool> {
        while let Some((hour, webhook)) = self.expired_dead(txn, group.now_ms)? {
            if budget.is_spent() {
                return Ok(true);
            }
            let from_ms = u64::from(hour) * MS_PER_HOUR;
            let low = timed_key(webhook, from_ms, 0, 0);
            let high = timed_key(webhook, from_ms + MS_PER_HOUR - 1, u64::MAX, u16::MAX);
            let range = (Bound::Included(low.as_slice()), Bound::Included(high.as_slice()));
            let first = self.tables.dead.range(txn, &range)?.next().transpose()?;
            match first.map(|(key, row)| (timed_parts(key), row.to_vec())) {
                Some(((ended_ms, seq, part), row)) => {
                    let key = timed_key(webhook, ended_ms, seq, part);
                    self.drop_dead(txn, group, webhook, &key, &row)?;
                }
                None => {
                    self.tables.dead_hours.delete(txn, &hour_key(hour, webhook))?;
                }
            }
            budget.spend(0);
        }
        Ok(false)
    }

    /// The place behind the next event that the low-water mark may pass. While bodies are not kept: behind the last
    /// that an earlier setting may have kept.
    fn expired_body(&self, txn: &Txn<'_>, now_ms: u64) -> heed::Result<Option<Passing>> {
        let Retention { bodies_seconds, bodies_bytes, .. } = self.retention;
        let swept = self.state.swept;
        let row = self.tables.events.get_greater_than_or_equal_to(txn, &seq_key(swept))?;
        let row = row.map(|(key, row)| (key_seq(key), row));
        if bodies_seconds == 0 {
            let seq = row.map(|(seq, _)| seq).filter(|seq| *seq < self.kept_before);
            return Ok((swept < self.kept_before).then(|| match seq {
                Some(seq) => Passing { seq: Some(seq), swept: seq + 1 },
                None => Passing { seq: None, swept: self.kept_before },
            }));
        }
        let Some((seq, row)) = row else { return Ok(None) };
        // One whose header is damaged tells no time; it is set aside when someone needs it.
        let is_over = EventView::parse(&seq_key(seq), row).map_or(true, |view| {
            view.accepted_at_ms.saturating_add(bodies_seconds.saturating_mul(1000)) <= now_ms
        });
        let is_over = is_over || table_bytes(self.tables.events, txn)? > bodies_bytes;
        Ok(is_over.then_some(Passing { seq: Some(seq), swept: seq + 1 }))
    }

    fn sweep_bodies(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        budget: &mut Budget,
    ) -> heed::Result<bool> {
        while let Some(passing) = self.expired_body(txn, group.now_ms)? {
            if budget.is_spent() {
                return Ok(true);
            }
            self.state.swept = passing.swept;
            budget.spend(0);
            let Some(seq) = passing.seq else { continue };
            if let Found::Present(state) = self.find(txn, &mut group.loaded, seq)?
                && state.is_finished()
            {
                group.loaded.remove(&seq);
                self.tables.events.delete(txn, &seq_key(seq))?;
                self.tables.progress.delete(txn, &seq_key(seq))?;
            }
        }
        Ok(false)
    }
}

/// A step of the low-water mark.
struct Passing {
    /// The event passed, if there is one.
    seq: Option<u64>,
    swept: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_goes_when_its_last_moment_is_old_enough() {
        let (hour, end_ms) = (10, 11 * MS_PER_HOUR);
        assert!(!is_hour_over(hour, 60, end_ms + 59_999));
        assert!(is_hour_over(hour, 60, end_ms + 60_000));
        assert!(is_hour_over(hour, 0, end_ms) && !is_hour_over(hour, u64::MAX, u64::MAX - 1));
    }
}
