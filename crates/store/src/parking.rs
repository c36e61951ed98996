//! Builds chunks of the backlog index for one transaction.
//!
//! Invariant: in key order, the chunks of a webhook list its events in order. So a chunk is closed whenever an event of
//! its webhook that it does not list stands between two that it would.

use crate::record::chunk::{self, CHUNK_EVENT_BYTES_MAX, CHUNK_EVENTS_MAX, Listed};
use crate::tables::{Table, Txn, key_no, parked_key, parked_seq};
use heed::RwTxn;
use std::collections::HashMap;

#[derive(Default)]
struct Open {
    entries: Vec<Listed>,
    event_bytes: usize,
}

/// Chunks not written yet.
#[derive(Default)]
pub(crate) struct Parking {
    open: HashMap<u32, Open>,
    closed: Vec<(u32, Vec<Listed>)>,
}

impl Parking {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }

    /// Lists an event. Events of one webhook come in rising order.
    pub(crate) fn add(&mut self, webhook: u32, seq: u64, index: u32, event_bytes: u32) {
        let open = self.open.entry(webhook).or_default();
        let event_bytes = event_bytes as usize;
        if !open.entries.is_empty()
            && (open.entries.len() >= CHUNK_EVENTS_MAX
                || open.event_bytes + event_bytes > CHUNK_EVENT_BYTES_MAX)
        {
            self.closed.push((webhook, std::mem::take(&mut open.entries)));
            open.event_bytes = 0;
        }
        open.entries.push(Listed { seq, index });
        open.event_bytes += event_bytes;
    }

    /// Lists an event, closing the webhook's chunk first when a chunk on disk begins between it and this event.
    pub(crate) fn add_between(
        &mut self,
        table: Table,
        txn: &Txn<'_>,
        webhook: u32,
        listed: Listed,
        event_bytes: u32,
    ) -> heed::Result<()> {
        if let Some(last) = self.open.get(&webhook).and_then(|open| open.entries.last())
            && let Some((key, _)) = table.get_greater_than(txn, &parked_key(webhook, last.seq))?
            && key_no(key) == webhook
            && parked_seq(key) < listed.seq
        {
            self.cut(webhook);
        }
        self.add(webhook, listed.seq, listed.index, event_bytes);
        Ok(())
    }

    /// Closes the webhook's chunk: an event of its own stands elsewhere.
    pub(crate) fn cut(&mut self, webhook: u32) {
        if let Some(open) = self.open.remove(&webhook) {
            self.closed.push((webhook, open.entries));
        }
    }

    /// Writes everything, in key order.
    pub(crate) fn flush(&mut self, table: Table, txn: &mut RwTxn<'_>) -> heed::Result<()> {
        self.closed.extend(self.open.drain().map(|(webhook, open)| (webhook, open.entries)));
        self.closed
            .sort_unstable_by_key(|(webhook, entries)| (*webhook, entries.first().map(|first| first.seq)));
        for (webhook, mut entries) in self.closed.drain(..) {
            let Some(first) = entries.first() else { continue };
            let (first_seq, key) = (first.seq, parked_key(webhook, first.seq));
            let row = chunk::encode(&key, first_seq, &entries);
            let existing = table.get_or_put(txn, &key, &row)?.map(|row| chunk::decode(&key, first_seq, row));
            // Only after damage to a progress row can an event be listed a second time; what stood there stays.
            if let Some(Ok(listed)) = existing {
                entries.extend(listed);
                entries.sort_unstable_by_key(|entry| (entry.seq, entry.index));
                entries.dedup();
                table.put(txn, &key, &chunk::encode(&key, first_seq, &entries))?;
            } else if existing.is_some() {
                table.put(txn, &key, &row)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(parking: &Parking) -> Vec<(u32, Vec<u64>)> {
        parking.closed.iter().map(|(w, entries)| (*w, entries.iter().map(|e| e.seq).collect())).collect()
    }

    #[test]
    fn chunks_are_bounded_by_events_and_by_bytes() {
        let mut parking = Parking::default();
        for seq in 0..=CHUNK_EVENTS_MAX as u64 {
            parking.add(1, seq, 0, 10);
        }
        assert_eq!(closed(&parking)[0].1.len(), CHUNK_EVENTS_MAX);
        let mut parking = Parking::default();
        parking.add(1, 1, 0, 600_000);
        parking.add(1, 2, 0, 600_000);
        parking.add(1, 3, 0, 2_000_000);
        parking.add(1, 4, 0, 1);
        assert_eq!(closed(&parking), [(1, vec![1]), (1, vec![2]), (1, vec![3])]);
    }

    #[test]
    fn a_cut_ends_the_chunk_of_that_webhook_only() {
        let mut parking = Parking::default();
        parking.add(1, 1, 0, 10);
        parking.add(2, 1, 1, 10);
        parking.cut(1);
        parking.add(1, 3, 0, 10);
        parking.add(2, 3, 1, 10);
        assert_eq!(closed(&parking), [(1, vec![1])]);
        assert_eq!(parking.open[&2].entries.len(), 2);
    }
}
