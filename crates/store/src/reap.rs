//! Removing what a deleted webhook was owed, in slices, so that no commit waits for a long backlog. The `reaping` row
//! stays until nothing is left; a crash merely starts the search again.

use crate::ledger::{Found, Group, Ledger};
use crate::record::chunk;
use crate::record::retry::RetryRow;
use crate::settle::{LastAttempt, Which};
use crate::standing::Standing;
use crate::tables::{Table, Txn, no_key, parked_key, parked_seq, timed_key, timed_parts};
use fanfare_core::delivery::{Ending, Origin};
use heed::RwTxn;

/// Entries one slice ends at most (a chunk is taken whole).
const SLICE_ENTRIES_MAX: usize = 512;

impl Ledger {
    /// Whether deleted webhooks still have rows.
    pub(crate) fn has_reaping(&self) -> bool {
        !self.reaping.is_empty()
    }

    /// Does one slice.
    pub(crate) fn reap(&mut self, txn: &mut RwTxn<'_>, group: &mut Group) -> heed::Result<()> {
        let Some((webhook, from)) = self.reaping.front().copied() else { return Ok(()) };
        let mut budget = SLICE_ENTRIES_MAX;
        let next = self.reap_tail(group, webhook, from, &mut budget);
        if let Some(front) = self.reaping.front_mut() {
            front.1 = next;
        }
        while budget > 0 && self.reap_chunk(txn, group, webhook, &mut budget)? {}
        while budget > 0 && self.reap_retry(txn, group, webhook, &mut budget)? {}
        while budget > 0 && self.reap_dead(txn, group, webhook, &mut budget)? {}
        if budget > 0 {
            self.tables.reaping.delete(txn, &no_key(webhook))?;
            self.reaping.pop_front();
            tracing::debug!(webhook, "everything owed to a deleted webhook is removed");
        }
        Ok(())
    }

    /// Ends what waits in memory; returns where to go on.
    fn reap_tail(&mut self, group: &mut Group, webhook: u32, from: u64, budget: &mut usize) -> u64 {
        let mut found = Vec::new();
        let mut next = self.state.next_seq;
        for (seq, state) in self.tail.from(from) {
            if found.len() >= *budget {
                next = seq;
                break;
            }
            let is_its = |(_, owed, standing): &(u32, u32, Standing)| {
                *owed == webhook && *standing == Standing::Waiting
            };
            found.extend(state.iter().filter(is_its).map(|(index, ..)| (seq, index)));
        }
        *budget = budget.saturating_sub(found.len());
        for (seq, index) in found {
            let Some(state) = self.tail.get_mut(seq) else { continue };
            let dropped = state.drop_open(index);
            Group::touch(&mut group.dirty, seq, state);
            self.end_deliveries(u64::from(dropped));
        }
        next
    }

    fn reap_chunk(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        webhook: u32,
        budget: &mut usize,
    ) -> heed::Result<bool> {
        let Some((key, row)) = first_of(self.tables.parked, txn, webhook)? else { return Ok(false) };
        let first_seq = parked_seq(&key);
        let listed = chunk::decode(&parked_key(webhook, first_seq), first_seq, &row);
        self.tables.parked.delete(txn, &key)?;
        let listed = match listed {
            Ok(listed) => listed,
            Err(damaged) => {
                self.damage.report(damaged, first_seq);
                Vec::new()
            }
        };
        *budget = budget.saturating_sub(listed.len().max(1));
        for entry in listed {
            match self.find(txn, &mut group.loaded, entry.seq)? {
                Found::Present(state) if state.webhook(entry.index) == Some(webhook) => {
                    let dropped = state.drop_open(entry.index);
                    if dropped > 0 {
                        Group::touch(&mut group.dirty, entry.seq, state);
                        self.end_deliveries(u64::from(dropped));
                    }
                }
                Found::SetAside => {
                    if self.is_open_aside(txn, entry.seq, entry.index)? {
                        self.end_deliveries(1);
                    }
                }
                Found::Present(_) | Found::Gone => {}
            }
        }
        Ok(true)
    }

    fn reap_retry(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        webhook: u32,
        budget: &mut usize,
    ) -> heed::Result<bool> {
        let Some((key, row)) = first_of(self.tables.retries, txn, webhook)? else { return Ok(false) };
        *budget -= 1;
        let (due_ms, seq, part) = timed_parts(&key);
        let retry = RetryRow::decode(&key, &row).ok();
        let index = match retry {
            Some(retry) => Some(retry.index),
            None => self.index_of(txn, group, seq, webhook)?,
        };
        let Some(index) = index else {
            self.tables.retries.delete(txn, &key)?;
            self.end_deliveries(1);
            return Ok(true);
        };
        let part_count = retry.map_or(1, |retry| retry.part_count);
        let which = Which { webhook, seq, index, part, part_count, origin: Origin::Retry { due_ms } };
        self.end(txn, group, which, &Ending::Dropped, LastAttempt::default())?;
        Ok(true)
    }

    fn reap_dead(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        webhook: u32,
        budget: &mut usize,
    ) -> heed::Result<bool> {
        let Some((key, row)) = first_of(self.tables.dead, txn, webhook)? else { return Ok(false) };
        *budget -= 1;
        let (ended_ms, seq, part) = timed_parts(&key);
        self.drop_dead(txn, group, webhook, &timed_key(webhook, ended_ms, seq, part), &row)?;
        Ok(true)
    }

    /// The webhook's place in an event's list, when a row that should tell is damaged.
    pub(crate) fn index_of(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        seq: u64,
        webhook: u32,
    ) -> heed::Result<Option<u32>> {
        Ok(match self.find(txn, &mut group.loaded, seq)? {
            Found::Present(state) => {
                state.iter().find(|(_, owed, _)| *owed == webhook).map(|(index, ..)| index)
            }
            Found::Gone | Found::SetAside => None,
        })
    }
}

/// A webhook's first row in a table keyed by webhook first.
fn first_of(table: Table, txn: &Txn<'_>, webhook: u32) -> heed::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let prefix = webhook.to_be_bytes();
    Ok(table
        .get_greater_than_or_equal_to(txn, &prefix)?
        .filter(|(key, _)| key.starts_with(&prefix))
        .map(|(key, row)| (key.to_vec(), row.to_vec())))
}
