//! The idempotency window: which producer-given ids were seen lately, over all channels.
//!
//! In memory: a set of hashes and, per commit, a count. On disk: one row of hashes per commit (`ids`), from which the
//! oldest are read when they leave the window and from which the set is rebuilt when the store opens.

use crate::record::frame::Damaged;
use crate::record::ids;
use crate::tables::{Table, Txn, key_seq, seq_key};
use heed::RwTxn;
use std::collections::{HashSet, VecDeque};

/// One commit's ids.
struct Batch {
    commit: u64,
    at_ms: u64,
    /// Those still in the window: the last so many of the row.
    left: usize,
}

/// See the module.
pub(crate) struct Window {
    known: HashSet<u128>,
    /// Commits with ids in the window, oldest first.
    batches: VecDeque<Batch>,
    /// Hashes of the oldest batch that are still in the window; empty: not read yet.
    oldest: VecDeque<u128>,
    /// Ids of the running commit.
    pending: VecDeque<u128>,
    count: usize,
    count_max: usize,
    age_ms_max: u64,
}

impl Window {
    pub(crate) fn new(count_max: usize, age_ms_max: u64) -> Self {
        Window {
            known: HashSet::new(),
            batches: VecDeque::new(),
            oldest: VecDeque::new(),
            pending: VecDeque::new(),
            count: 0,
            count_max,
            age_ms_max,
        }
    }

    /// Rebuilds the set from disk. Returns the damaged rows met: their ids are no longer known.
    pub(crate) fn load(
        &mut self,
        table: Table,
        txn: &Txn<'_>,
        now_ms: u64,
    ) -> heed::Result<Vec<(u64, Damaged)>> {
        *self = Window::new(self.count_max, self.age_ms_max);
        let mut damaged = Vec::new();
        let mut rows = Vec::new();
        for row in table.iter(txn)? {
            let (key, row) = row?;
            let commit = key_seq(key);
            match ids::decode(&seq_key(commit), row) {
                Ok((at_ms, hashes)) => {
                    self.count += hashes.len();
                    rows.push((commit, at_ms, hashes));
                }
                Err(error) => damaged.push((commit, error)),
            }
        }
        // Where the window begins inside its oldest row is not written down: it follows from the count.
        let mut excess = self.count.saturating_sub(self.count_max);
        self.count -= excess;
        for (commit, at_ms, mut hashes) in rows {
            let gone = if at_ms.saturating_add(self.age_ms_max) <= now_ms {
                let gone = hashes.len();
                self.count -= gone - excess.min(gone);
                excess -= excess.min(gone);
                gone
            } else {
                let gone = excess.min(hashes.len());
                excess -= gone;
                gone
            };
            hashes.drain(..gone);
            self.batches.push_back(Batch { commit, at_ms, left: hashes.len() });
            self.known.extend(hashes);
        }
        Ok(damaged)
    }

    /// Whether an id is in the window.
    pub(crate) fn contains(&self, hash: u128) -> bool {
        self.known.contains(&hash)
    }

    /// Takes an id in unless it is known. Returns whether it was new.
    pub(crate) fn remember(&mut self, table: Table, txn: &mut RwTxn<'_>, hash: u128) -> heed::Result<bool> {
        if !self.known.insert(hash) {
            return Ok(false);
        }
        self.pending.push_back(hash);
        self.count += 1;
        while self.count > self.count_max {
            self.forget_oldest(table, txn)?;
        }
        Ok(true)
    }

    fn forget(&mut self, hash: u128) {
        self.known.remove(&hash);
        self.count -= 1;
    }

    fn forget_oldest(&mut self, table: Table, txn: &mut RwTxn<'_>) -> heed::Result<()> {
        let Some(batch) = self.batches.front_mut() else {
            if let Some(hash) = self.pending.pop_front() {
                self.forget(hash);
            }
            return Ok(());
        };
        if self.oldest.is_empty() && batch.left > 0 {
            let key = seq_key(batch.commit);
            let hashes = table.get(txn, &key)?.and_then(|row| ids::decode(&key, row).ok());
            match hashes {
                Some((_, hashes)) => {
                    self.oldest = hashes.into_iter().collect();
                    self.oldest.drain(..self.oldest.len().saturating_sub(batch.left));
                }
                None => {
                    // Damaged since it was loaded: its hashes cannot be told from the others, so start over without it.
                    tracing::error!(
                        commit = batch.commit,
                        "damaged idempotency record: its ids are forgotten"
                    );
                    table.delete(txn, &key)?;
                    let pending = std::mem::take(&mut self.pending);
                    self.load(table, txn, 0)?;
                    self.count += pending.len();
                    self.known.extend(&pending);
                    self.pending = pending;
                    return Ok(());
                }
            }
        }
        if let Some(hash) = self.oldest.pop_front() {
            batch.left -= 1;
            self.forget(hash);
        }
        if let Some(batch) = self.batches.front()
            && batch.left == 0
        {
            table.delete(txn, &seq_key(batch.commit))?;
            self.batches.pop_front();
            self.oldest.clear();
        }
        Ok(())
    }

    /// Lets go of ids older than the window.
    pub(crate) fn age(&mut self, table: Table, txn: &mut RwTxn<'_>, now_ms: u64) -> heed::Result<()> {
        while let Some(batch) = self.batches.front()
            && (batch.left == 0 || batch.at_ms.saturating_add(self.age_ms_max) <= now_ms)
        {
            self.forget_oldest(table, txn)?;
        }
        Ok(())
    }

    /// Writes the running commit's ids.
    pub(crate) fn flush(
        &mut self,
        table: Table,
        txn: &mut RwTxn<'_>,
        commit: u64,
        now_ms: u64,
    ) -> heed::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let key = seq_key(commit);
        table.put(txn, &key, &ids::encode(&key, now_ms, self.pending.make_contiguous()))?;
        self.batches.push_back(Batch { commit, at_ms: now_ms, left: self.pending.len() });
        self.pending.clear();
        Ok(())
    }
}
