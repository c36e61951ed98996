//! Counting what a webhook is owed.

use super::{Historian, Order};
use crate::ledger::look_at_state;
use crate::record::event::{EventView, PARKED_BIT};
use crate::tables::{key_seq, parked_key, parked_seq, seq_key, timed_key, timed_parts};
use fanfare_core::ports::history::Backlog;
use std::ops::ControlFlow;

/// Chunks whose deliveries are looked at one by one. Only at the front of a backlog is anything worked on; what later
/// chunks list is owed.
const CHUNKS_READ: usize = 64;

/// A count in the making.
struct Count {
    deliveries: u64,
    count_max: u64,
    is_at_least: bool,
    /// The first event counted.
    oldest_seq: Option<u64>,
}

impl Count {
    /// Counts some of one event. Breaks when there are more than may be counted.
    fn add(&mut self, seq: u64, deliveries: u64) -> ControlFlow<()> {
        let left = self.count_max - self.deliveries;
        if deliveries > 0 && left > 0 {
            self.oldest_seq = Some(self.oldest_seq.map_or(seq, |oldest| oldest.min(seq)));
        }
        self.deliveries += deliveries.min(left);
        if deliveries > left {
            self.is_at_least = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl Historian {
    pub(super) fn backlog(&self, webhook: u32, count_max: u64) -> heed::Result<Backlog> {
        let mut count = Count { deliveries: 0, count_max, is_at_least: false, oldest_seq: None };
        if !self.count_waiting(webhook, &mut count)? {
            let span = (
                timed_key(webhook, 0, 0, 0).to_vec(),
                timed_key(webhook, u64::MAX, u64::MAX, u16::MAX).to_vec(),
            );
            self.walk(
                self.tables.retries,
                span,
                Order::Up,
                |_, key, _| Ok(count.add(timed_parts(key).1, 1)),
            )?;
        }
        let oldest_accepted_ms = match count.oldest_seq {
            Some(seq) => self.facts(&*self.env.read_txn()?, seq)?.accepted_ms,
            None => None,
        };
        Ok(Backlog { deliveries: count.deliveries, is_at_least: count.is_at_least, oldest_accepted_ms })
    }

    /// Counts what waits, oldest first. Returns whether there is more than may be counted.
    fn count_waiting(&self, webhook: u32, count: &mut Count) -> heed::Result<bool> {
        let tail_start = self.tail_start(&*self.env.read_txn()?)?;
        let mut chunk_count = 0;
        let span =
            (parked_key(webhook, 0).to_vec(), parked_key(webhook, tail_start.saturating_sub(1)).to_vec());
        let is_full = self.walk(self.tables.parked, span, Order::Up, |txn, key, row| {
            let first_seq = parked_seq(key);
            let listed = self.listed(txn, webhook, first_seq, row)?;
            chunk_count += 1;
            for entry in listed.into_iter().filter(|entry| entry.seq < tail_start) {
                let open = if chunk_count > CHUNKS_READ {
                    1
                } else {
                    let Some(row) = self.tables.events.get(txn, &seq_key(entry.seq))? else { continue };
                    self.open_deliveries(txn, webhook, entry.seq, row)?
                };
                if count.add(entry.seq, open).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if is_full {
            return Ok(true);
        }
        let span = (seq_key(tail_start).to_vec(), seq_key(u64::MAX).to_vec());
        self.walk(self.tables.events, span, Order::Up, |txn, key, row| {
            let seq = key_seq(key);
            let open = self.open_deliveries(txn, webhook, seq, row)?;
            Ok(count.add(seq, open))
        })
    }

    /// Deliveries of one event that wait for their turn.
    fn open_deliveries(
        &self,
        txn: &crate::tables::Txn<'_>,
        webhook: u32,
        seq: u64,
        row: &[u8],
    ) -> heed::Result<u64> {
        let Ok(view) = EventView::parse(&seq_key(seq), row) else { return Ok(0) };
        let Some((index, _)) = (0..).zip(view.owed()).find(|(_, owed)| owed & !PARKED_BIT == webhook) else {
            return Ok(0);
        };
        let state = look_at_state(&self.tables, txn, seq, row)?;
        Ok(state.map_or(0, |(state, _)| u64::from(state.open_deliveries(index))))
    }
}
