//! Moving what waits in memory into the backlog index: at a checkpoint, when an actor lost its memory, and when a store
//! is opened (recovery).

use crate::ledger::{Group, Ledger};
use crate::record::chunk::Listed;
use crate::standing::Standing;
use fanfare_core::WebhookNo;
use heed::RwTxn;

impl Ledger {
    /// When the tail is over its limits: lists what waits in its older part in chunks and moves C. Comes first in a
    /// transaction, so that it never concerns events of the same one. The webhooks concerned wait in `unreported`.
    ///
    /// No progress rows are written: below C, waiting reads as parked.
    pub(crate) fn checkpoint(&mut self, txn: &mut RwTxn<'_>, group: &mut Group) -> heed::Result<()> {
        let Some(before) = self.tail.checkpoint_before(self.state.next_seq) else { return Ok(()) };
        let taken = self.tail.take_before(before);
        tracing::debug!(events = taken.len(), "tail is full: its older part goes to the backlog index");
        for (seq, state) in &taken {
            for (index, webhook, standing) in state.iter() {
                if standing == Standing::Waiting {
                    let listed = Listed { seq: *seq, index };
                    group.parking.add_between(self.tables.parked, txn, webhook, listed, state.bytes)?;
                    self.unreported.insert(WebhookNo(webhook));
                }
            }
        }
        // Closed here: an event parked later in this transaction must not share a row with these, because events of
        // the same webhook that stay in the tail stand between them.
        group.parking.flush(self.tables.parked, txn)
    }

    /// Lists everything that waits in memory for some webhooks.
    pub(crate) fn park_all(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        webhooks: &[u32],
    ) -> heed::Result<()> {
        let asked = webhooks.iter().copied().filter(|no| self.live.contains(*no)).collect();
        group.parking.flush(self.tables.parked, txn)?;
        for (webhook, listed) in self.waiting.find(&self.tail, &asked, group.now_ms) {
            let Some(state) = self.tail.get_mut(listed.seq) else { continue };
            if state.entry(listed.index) != Some(Standing::Waiting) {
                continue;
            }
            group.parking.add_between(self.tables.parked, txn, webhook, listed, state.bytes)?;
            state.set_entry(listed.index, Standing::Parked);
            Group::touch(&mut group.dirty, listed.seq, state);
        }
        group.parking.flush(self.tables.parked, txn)
    }

    /// Recovery: whatever waited in memory when the process ended goes to the backlog index, or ends when its webhook
    /// is gone; events that cannot be read are set aside. Afterwards the tail is empty and C is the next event's place.
    pub(crate) fn recover(&mut self, txn: &mut RwTxn<'_>, group: &mut Group) -> heed::Result<()> {
        self.set_unreadable_aside(txn, group)?;
        for (seq, mut state) in self.tail.take_before(u64::MAX) {
            for index in 0..state.count() {
                let Some(webhook) = state.webhook(index) else { continue };
                if state.entry(index) != Some(Standing::Waiting) {
                    continue;
                }
                if self.live.contains(webhook) {
                    let listed = Listed { seq, index };
                    group.parking.add_between(self.tables.parked, txn, webhook, listed, state.bytes)?;
                } else {
                    let dropped = state.drop_open(index);
                    self.end_deliveries(u64::from(dropped));
                    Group::touch(&mut group.dirty, seq, &mut state);
                }
            }
            if state.is_dirty {
                group.loaded.insert(seq, state);
            }
        }
        Ok(())
    }
}
