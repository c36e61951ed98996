//! Rows of `dead`, with the index of hours that retention goes by and the counts in the state row.

use crate::ledger::{Found, Group, Ledger, MS_PER_HOUR};
use crate::record::dead::DeadRow;
use crate::standing::Standing;
use crate::tables::{hour_key, seq_key, timed_key, timed_parts};
use heed::RwTxn;

/// The hour a time lies in.
pub(crate) fn hour_of(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / MS_PER_HOUR).unwrap_or(u32::MAX)
}

impl Ledger {
    /// Keeps a dead letter.
    pub(crate) fn put_dead(
        &mut self,
        txn: &mut RwTxn<'_>,
        webhook: u32,
        (ended_ms, seq, part): (u64, u64, u16),
        row: &DeadRow,
    ) -> heed::Result<()> {
        let key = timed_key(webhook, ended_ms, seq, part);
        self.tables.dead.put(txn, &key, &row.encode(&key))?;
        self.tables.dead_hours.get_or_put(txn, &hour_key(hour_of(ended_ms), webhook), &[])?;
        self.state.dead += 1;
        self.state.dead_bytes += u64::from(row.event_bytes);
        Ok(())
    }

    /// Removes a dead letter's row; where its delivery stands is left to the caller. The index of its hour stays: it merely leads to nothing.
    pub(crate) fn take_dead(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        key: &[u8; 22],
        row: Option<&DeadRow>,
    ) -> heed::Result<()> {
        let (_, seq, _) = timed_parts(key);
        let event_bytes = match row {
            Some(row) => u64::from(row.event_bytes),
            // Damaged: an event's row never changes its size.
            None => self.tables.events.get(txn, &seq_key(seq))?.map_or(0, |row| row.len() as u64),
        };
        self.tables.dead.delete(txn, key)?;
        self.state.dead = self.state.dead.saturating_sub(1);
        self.state.dead_bytes =
            if self.state.dead == 0 { 0 } else { self.state.dead_bytes.saturating_sub(event_bytes) };
        if let Found::Present(event) = self.find(txn, &mut group.loaded, seq)? {
            event.dead = event.dead.saturating_sub(1);
            Group::touch(&mut group.dirty, seq, event);
        }
        Ok(())
    }

    /// Removes a dead letter for good: its event goes with the last one that needs it.
    pub(crate) fn drop_dead(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        webhook: u32,
        key: &[u8; 22],
        row: &[u8],
    ) -> heed::Result<()> {
        let (_, seq, part) = timed_parts(key);
        let row = DeadRow::decode(key, row).ok();
        self.take_dead(txn, group, key, row.as_ref())?;
        let index = match row {
            Some(row) => Some(row.index),
            None => self.index_of(txn, group, seq, webhook)?,
        };
        if let (Some(index), Found::Present(state)) = (index, self.find(txn, &mut group.loaded, seq)?)
            && state.webhook(index) == Some(webhook)
            && state.settle_own_row(index, part, 1, Standing::Done).is_some()
        {
            Group::touch(&mut group.dirty, seq, state);
        }
        Ok(())
    }
}
