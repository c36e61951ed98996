//! Applying what became of deliveries.

use crate::ledger::{Found, Group, Ledger};
use crate::record::chunk;
use crate::record::dead::DeadRow;
use crate::record::event::EventView;
use crate::record::retry::RetryRow;
use crate::standing::Standing;
use crate::tables::{parked_key, timed_key};
use fanfare_core::delivery::{Ending, Origin, Progress, Settlement, reason};
use fanfare_core::event::EventKind;
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::SettleBatch;
use fanfare_core::{EventId, WebhookNo};
use heed::RwTxn;

/// Which delivery ends, and how the store knows of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Which {
    pub(crate) webhook: u32,
    pub(crate) seq: u64,
    pub(crate) index: u32,
    pub(crate) part: u16,
    pub(crate) part_count: u16,
    pub(crate) origin: Origin,
}

/// What a row of its own remembers of the last attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastAttempt {
    pub(crate) at_ms: u64,
    pub(crate) event_id: Option<EventId>,
    pub(crate) kind: Option<EventKind>,
    pub(crate) accepted_ms: u64,
    /// Its number, when a request was made.
    pub(crate) attempt_number: Option<u32>,
    pub(crate) failure: Option<FailureClass>,
    pub(crate) status: Option<u16>,
    pub(crate) key: Option<u64>,
}

impl LastAttempt {
    /// Attempts made of a delivery that stood here when it ended: an attempt that just failed is counted by its own
    /// number, one that is not made any more is not.
    fn attempt_count(&self, progress: Progress) -> u32 {
        self.attempt_number.unwrap_or(progress.attempt_number.saturating_sub(1))
    }
}

/// A delivery whose event a reader found damaged.
#[derive(Clone, Debug)]
pub(crate) struct DamagedDelivery {
    pub(crate) which: Which,
    pub(crate) event_id: Option<EventId>,
    pub(crate) kind: Option<EventKind>,
    pub(crate) accepted_ms: Option<u64>,
    pub(crate) progress: Progress,
}

impl DamagedDelivery {
    /// With what the event's header tells, if it can be read.
    pub(crate) fn of(which: Which, view: Option<EventView<'_>>, progress: Progress) -> Self {
        DamagedDelivery {
            which,
            event_id: view.and_then(|view| view.id()),
            kind: view.map(|view| view.kind),
            accepted_ms: view.map(|view| view.accepted_at_ms),
            progress,
        }
    }
}

impl Ledger {
    /// Applies one event loop's batch: settlements in order, then the chunks it dropped.
    pub(crate) fn settle_batch(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        batch: &SettleBatch,
    ) -> heed::Result<()> {
        for settlement in &batch.settlements {
            self.settle(txn, group, settlement)?;
        }
        for (webhook, chunk) in &batch.dropped_chunks {
            self.drop_chunk(txn, group, *webhook, chunk.0)?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        settlement: &Settlement,
    ) -> heed::Result<()> {
        let which = Which {
            webhook: settlement.webhook.0,
            seq: settlement.seq.0,
            index: settlement.index,
            part: settlement.part,
            part_count: settlement.part_count,
            origin: settlement.origin,
        };
        // What ends after its webhook was deleted leaves nothing behind.
        let ending = if self.live.contains(which.webhook) { &settlement.ending } else { &Ending::Dropped };
        let attempt = settlement.attempt.as_ref();
        let last = LastAttempt {
            at_ms: settlement.at_ms,
            event_id: Some(settlement.event_id.clone()),
            kind: Some(settlement.kind),
            accepted_ms: settlement.accepted_ms,
            // 0: a record of what went wrong before any request was made.
            attempt_number: attempt.map(|attempt| attempt.attempt_number).filter(|number| *number > 0),
            failure: attempt.and_then(|attempt| attempt.failure),
            status: attempt.and_then(|attempt| attempt.status),
            key: settlement.key,
        };
        if let Some(part) = self.end(txn, group, which, ending, last)?
            && (attempt.is_some() || matches!(ending, Ending::Skipped { .. }))
        {
            group.record(settlement, part);
        }
        Ok(())
    }

    /// Settles a delivery that cannot be made because its event is damaged.
    pub(crate) fn settle_damaged(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        damaged: &DamagedDelivery,
    ) -> heed::Result<()> {
        let ending = if self.live.contains(damaged.which.webhook) {
            Ending::Dead { reason: reason::DAMAGED.to_owned(), progress: damaged.progress }
        } else {
            Ending::Dropped
        };
        let last = LastAttempt {
            at_ms: group.now_ms,
            event_id: damaged.event_id.clone(),
            kind: damaged.kind,
            accepted_ms: damaged.accepted_ms.unwrap_or(group.now_ms),
            ..LastAttempt::default()
        };
        self.end(txn, group, damaged.which, &ending, last)?;
        Ok(())
    }

    /// Ends one delivery, or gives it a row of its own; tells which body took the ending. `None`: it had ended before, and
    /// nothing changed.
    pub(crate) fn end(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        which: Which,
        ending: &Ending,
        mut last: LastAttempt,
    ) -> heed::Result<Option<u16>> {
        let Which { webhook, seq, index, mut part, mut part_count, origin } = which;
        if let Origin::Retry { due_ms } = origin {
            if part_count > 1 && self.live.contains(webhook) {
                self.take_apart(txn, group, which, due_ms)?;
            }
            let key = timed_key(webhook, due_ms, seq, part);
            if last.attempt_number.is_none()
                && matches!(ending, Ending::Retry { .. } | Ending::Dead { .. })
                && let Some(row) = self.tables.retries.get(txn, &key)?
                && let Ok(row) = RetryRow::decode(&key, row)
            {
                // Not attempted this time: what the attempt before failed of stays known.
                last.failure = last.failure.or(row.failure);
                last.status = last.status.or(row.status);
                last.key = last.key.or(row.key);
            }
            if !self.tables.retries.delete(txn, &key)? {
                return Ok(None);
            }
        }
        let to = match ending {
            Ending::Delivered | Ending::Skipped { .. } | Ending::Dropped => Standing::Done,
            Ending::Dead { .. } | Ending::Retry { .. } => Standing::OwnRow,
        };
        let mut event_bytes = 0;
        match self.find(txn, &mut group.loaded, seq)? {
            Found::Gone => {
                if let Origin::Retry { .. } = origin {
                    // A row that outlived its event can only come from damage; it is gone now, and so is its count.
                    tracing::error!(webhook, seq, "retry of an event that is gone");
                    self.end_deliveries(1);
                }
                return Ok(None);
            }
            Found::SetAside => {
                let was_listed = match origin {
                    Origin::Retry { .. } => true,
                    Origin::Parked { chunk } => self.unlist(txn, webhook, chunk.0, seq, index)?,
                    Origin::Direct => false,
                };
                if !was_listed {
                    return Ok(None);
                }
            }
            Found::Present(state) => {
                if state.webhook(index) != Some(webhook) {
                    tracing::error!(
                        webhook,
                        seq,
                        index,
                        "settlement names a place that another webhook holds"
                    );
                    return Ok(None);
                }
                let applied = match origin {
                    Origin::Retry { .. } => state.settle_own_row(index, part, part_count, to),
                    Origin::Direct | Origin::Parked { .. } => state.settle_open(index, part, part_count, to),
                };
                let Some(applied) = applied else { return Ok(None) };
                part = applied.part;
                // What its row tells must not say less than is known.
                part_count = part_count.max(state.part_count(index));
                event_bytes = state.bytes;
                state.dead += u32::from(matches!(ending, Ending::Dead { .. }));
                Group::touch(&mut group.dirty, seq, state);
                self.state.backlog = self.state.backlog.saturating_add_signed(applied.deliveries_delta);
            }
        }
        match ending {
            Ending::Retry { due_ms, progress } => {
                let key = timed_key(webhook, *due_ms, seq, part);
                let row = RetryRow {
                    index,
                    part_count,
                    progress: *progress,
                    failure: last.failure,
                    status: last.status,
                    key: last.key,
                };
                self.tables.retries.put(txn, &key, &row.encode(&key))?;
            }
            Ending::Dead { reason, progress } => {
                let row = DeadRow {
                    index,
                    part_count,
                    attempt_count: last.attempt_count(*progress),
                    failure: last.failure,
                    status: last.status,
                    key: last.key,
                    kind: last.kind,
                    accepted_ms: last.accepted_ms,
                    event_bytes,
                    event_id: last.event_id,
                    reason: reason.clone(),
                };
                self.put_dead(txn, webhook, (last.at_ms, seq, part), &row)?;
                self.end_deliveries(1);
            }
            Ending::Delivered | Ending::Skipped { .. } | Ending::Dropped => self.end_deliveries(1),
        }
        Ok(Some(part))
    }

    /// A retry that stood for all bodies of its event, because none was known beside it, was rendered and has several:
    /// each of the others gets a row like its own, due when it was.
    fn take_apart(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        which: Which,
        due_ms: u64,
    ) -> heed::Result<()> {
        let Which { webhook, seq, index, part_count, .. } = which;
        let key = timed_key(webhook, due_ms, seq, 0);
        let Some(row) = self.tables.retries.get(txn, &key)? else { return Ok(()) };
        let Some(row) = RetryRow::decode(&key, row).ok().filter(|row| row.part_count <= 1) else {
            return Ok(());
        };
        let Found::Present(state) = self.find(txn, &mut group.loaded, seq)? else { return Ok(()) };
        if state.webhook(index) != Some(webhook) || !state.take_apart(index, part_count) {
            return Ok(());
        }
        Group::touch(&mut group.dirty, seq, state);
        self.state.backlog += u64::from(part_count) - 1;
        let row = RetryRow { part_count, ..row };
        for part in 0..part_count {
            let key = timed_key(webhook, due_ms, seq, part);
            self.tables.retries.put(txn, &key, &row.encode(&key))?;
        }
        Ok(())
    }

    /// Takes one event out of a chunk. Returns whether it was there.
    fn unlist(
        &mut self,
        txn: &mut RwTxn<'_>,
        webhook: u32,
        first_seq: u64,
        seq: u64,
        index: u32,
    ) -> heed::Result<bool> {
        let key = parked_key(webhook, first_seq);
        let Some(row) = self.tables.parked.get(txn, &key)? else { return Ok(false) };
        let Ok(mut listed) = chunk::decode(&key, first_seq, row) else { return Ok(false) };
        let before = listed.len();
        listed.retain(|entry| (entry.seq, entry.index) != (seq, index));
        if listed.len() == before {
            return Ok(false);
        }
        if listed.is_empty() {
            self.tables.parked.delete(txn, &key)?;
        } else {
            self.tables.parked.put(txn, &key, &chunk::encode(&key, first_seq, &listed))?;
        }
        Ok(true)
    }

    /// Removes a chunk, after checking that nothing in it is owed any more: what is stays listed, because a chunk
    /// dropped too early would be the one way to lose deliveries silently. Costs a look-up per event, mostly of
    /// events that are gone.
    fn drop_chunk(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        webhook: WebhookNo,
        first_seq: u64,
    ) -> heed::Result<()> {
        let key = parked_key(webhook.0, first_seq);
        let Some(row) = self.tables.parked.get(txn, &key)? else { return Ok(()) };
        let mut listed = match chunk::decode(&key, first_seq, row) {
            Ok(listed) => listed,
            Err(damaged) => {
                // It is rebuilt when it is read next.
                self.damage.report(damaged, first_seq);
                return Ok(());
            }
        };
        let mut kept = Vec::new();
        for entry in listed.drain(..) {
            let is_owed = match self.find(txn, &mut group.loaded, entry.seq)? {
                Found::Gone => false,
                Found::SetAside => self.is_open_aside(txn, entry.seq, entry.index)?,
                Found::Present(state) => state.entry(entry.index).is_some_and(Standing::is_open),
            };
            if is_owed {
                kept.push(entry);
            }
        }
        if kept.is_empty() {
            self.tables.parked.delete(txn, &key)?;
            return Ok(());
        }
        if self.live.contains(webhook.0) {
            let count = kept.len();
            tracing::warn!(
                webhook = webhook.0,
                first_seq,
                count,
                "dropped chunk still lists deliveries owed: kept"
            );
        }
        self.tables.parked.put(txn, &key, &chunk::encode(&key, first_seq, &kept))
    }
}
