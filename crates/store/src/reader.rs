//! The reader: pages of the backlog index and due retries, on a thread of its own, so that a cold disk never holds up
//! commits. The writer hands it each request after committing what was queued before it.

use crate::ledger::DamageCount;
use crate::record::chunk::{self, Listed};
use crate::record::event::{EventView, PARKED_BIT};
use crate::record::frame::Damaged;
use crate::record::progress;
use crate::record::retry::RetryRow;
use crate::record::state::{self, StateRow};
use crate::settle::{DamagedDelivery, Which};
use crate::standing::Standing;
use crate::tables::{
    StoreEnv, Tables, Txn, key_seq, parked_key, parked_seq, seq_key, timed_key, timed_parts,
};
use crate::writer::{Command, Fix};
use fanfare_core::delivery::{DeliveryKey, Origin, Owed, Progress};
use fanfare_core::event::Event;
use fanfare_core::ports::{Page, PageRequest, StoreError, WaitingKey, WaitingKeys};
use fanfare_core::{Seq, WebhookNo};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// Bytes of events that one answer about retries holds, but for the last: bounds memory whatever `count_max` is.
const DUE_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) type Due = (Vec<Owed>, Option<u64>);

/// What can be read.
pub(crate) enum ReadRequest {
    Page(PageRequest, oneshot::Sender<Result<Page, StoreError>>),
    Due {
        webhook: WebhookNo,
        until_ms: u64,
        count_max: usize,
        reply: oneshot::Sender<Result<Due, StoreError>>,
    },
    WaitingKeys {
        webhook: WebhookNo,
        from: Option<(u64, DeliveryKey)>,
        count_max: usize,
        reply: oneshot::Sender<Result<WaitingKeys, StoreError>>,
    },
}

impl ReadRequest {
    /// Answers with an error.
    pub(crate) fn refuse(self, error: StoreError) {
        // A caller that no longer waits needs no answer.
        match self {
            ReadRequest::Page(_, reply) => drop(reply.send(Err(error))),
            ReadRequest::Due { reply, .. } => drop(reply.send(Err(error))),
            ReadRequest::WaitingKeys { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// See the module.
pub(crate) struct Reader {
    pub(crate) env: StoreEnv,
    pub(crate) tables: Tables,
    pub(crate) damage: DamageCount,
    /// Back to the writer, for what reading found to be damaged.
    pub(crate) fixes: SyncSender<Command>,
    pub(crate) recent: Recent,
}

/// Events that someone still holds, so that webhooks which read the same events one after the other share one copy:
/// with a fan-out of 100 behind, that is 1.2 KB instead of 120 KB an event, and 99 checksums and copies less.
#[derive(Default)]
pub(crate) struct Recent(RefCell<HashMap<u64, Weak<Event>>>);

impl Recent {
    /// Names kept; past it those whose event nobody holds any more are dropped. Names of held events are bounded by
    /// what the readers' windows hold.
    const NAMES_KEPT: usize = 16 * 1024;

    fn get(&self, seq: u64) -> Option<Arc<Event>> {
        self.0.borrow().get(&seq).and_then(Weak::upgrade)
    }

    fn keep(&self, event: Event) -> Arc<Event> {
        let event = Arc::new(event);
        let mut events = self.0.borrow_mut();
        if events.len() >= Self::NAMES_KEPT && events.len() == events.capacity() {
            events.retain(|_, event| event.strong_count() > 0);
        }
        events.insert(event.seq.0, Arc::downgrade(&event));
        event
    }
}

/// What one read found to be damaged, to be settled by the writer.
#[derive(Default)]
struct Fixes(Vec<Fix>);

impl Reader {
    /// Serves until the writer is gone.
    pub(crate) fn run(self, requests: &Receiver<ReadRequest>) {
        for request in requests {
            let mut fixes = Fixes::default();
            match request {
                ReadRequest::Page(page, reply) => {
                    let answer = self.page(page, &mut fixes);
                    self.send(fixes);
                    drop(reply.send(answer.map_err(other)));
                }
                ReadRequest::Due { webhook, until_ms, count_max, reply } => {
                    let answer = self.due(webhook.0, until_ms, count_max, &mut fixes);
                    self.send(fixes);
                    drop(reply.send(answer.map_err(other)));
                }
                ReadRequest::WaitingKeys { webhook, from, count_max, reply } => {
                    let answer = self.waiting_keys(webhook.0, from, count_max);
                    drop(reply.send(answer.map_err(other)));
                }
            }
        }
    }

    /// Fixes go before the answer, so that they are applied before anything the answer leads to. One that finds no
    /// room is found again by the next read: a chunk that lists it is not removed.
    fn send(&self, fixes: Fixes) {
        for fix in fixes.0 {
            if self.fixes.try_send(Command::Fix(fix)).is_err() {
                tracing::warn!("no room to settle a damaged record now; it is found again at the next read");
            }
        }
    }

    fn page(&self, request: PageRequest, fixes: &mut Fixes) -> heed::Result<Page> {
        let txn = self.env.read_txn()?;
        let webhook = request.webhook.0;
        let mut page = Page::default();
        let mut bytes = 0;
        let (from, to) = (parked_key(webhook, request.from.0), parked_key(webhook, u64::MAX));
        for row in self
            .tables
            .parked
            .range(&txn, &(Bound::Included(from.as_slice()), Bound::Included(to.as_slice())))?
        {
            let (key, row) = row?;
            let first_seq = parked_seq(key);
            if !page.chunks.is_empty()
                && (page.owed.len() >= request.deliveries_max || bytes >= request.bytes_max)
            {
                page.next = Some(Seq(first_seq));
                break;
            }
            let listed = match chunk::decode(&parked_key(webhook, first_seq), first_seq, row) {
                Ok(listed) => listed,
                Err(damaged) => {
                    self.damage.report(damaged, first_seq);
                    let listed = rebuild(&self.tables, &txn, &self.damage, webhook, first_seq)?;
                    fixes.0.push(Fix::Rebuilt { webhook, first_seq, listed: listed.clone() });
                    listed
                }
            };
            for entry in listed {
                if let Some(owed) = self.owed(&txn, webhook, first_seq, entry, fixes)? {
                    bytes += owed.event.envelope.len();
                    page.owed.push(owed);
                }
            }
            page.chunks.push(Seq(first_seq));
        }
        Ok(page)
    }

    fn is_set_aside(&self, txn: &Txn<'_>, seq: u64) -> heed::Result<bool> {
        Ok(!self.tables.damaged.is_empty(txn)? && self.tables.damaged.get(txn, &seq_key(seq))?.is_some())
    }

    /// What a chunk's entry comes to: `None` when it has ended or has rows of its own.
    fn owed(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        chunk: u64,
        entry: Listed,
        fixes: &mut Fixes,
    ) -> heed::Result<Option<Owed>> {
        let Listed { seq, index } = entry;
        let key = seq_key(seq);
        let origin = Origin::Parked { chunk: Seq(chunk) };
        let which = Which { webhook, seq, index, part: 0, part_count: 1, origin };
        let nowhere = DamagedDelivery::of(which, None, Progress::first(0));
        let row = self.tables.events.get(txn, &key)?;
        if row.is_none() && !self.is_set_aside(txn, seq)? {
            return Ok(None);
        }
        let (standing, settled_parts) = standing(&self.tables, txn, &self.damage, seq, index)?;
        if !standing.is_open() {
            return Ok(None);
        }
        let Some(Ok(view)) = row.map(|row| EventView::parse(&key, row)) else {
            fixes.0.push(Fix::Damaged(nowhere));
            return Ok(None);
        };
        if view.owed_at(index) != Some(webhook) {
            tracing::error!(webhook, seq, index, "backlog index names a place that another webhook holds");
            return Ok(None);
        }
        let progress = Progress::first(view.accepted_at_ms);
        let event = match self.recent.get(seq) {
            Some(event) => event,
            None => {
                let Ok(event) = view.to_event(Seq(seq)) else {
                    self.damage.report(Damaged("event"), seq);
                    fixes.0.push(Fix::Damaged(DamagedDelivery::of(which, Some(view), progress)));
                    return Ok(None);
                };
                self.recent.keep(event)
            }
        };
        Ok(Some(Owed { event, index, part: None, is_alone: false, settled_parts, progress, origin }))
    }

    fn due(&self, webhook: u32, until_ms: u64, count_max: usize, fixes: &mut Fixes) -> heed::Result<Due> {
        let txn = self.env.read_txn()?;
        let (from, to) = (timed_key(webhook, 0, 0, 0), timed_key(webhook, u64::MAX, u64::MAX, u16::MAX));
        let mut due = Vec::new();
        let mut bytes = 0;
        for row in self
            .tables
            .retries
            .range(&txn, &(Bound::Included(from.as_slice()), Bound::Included(to.as_slice())))?
        {
            let (key, row) = row?;
            let (due_ms, seq, part) = timed_parts(key);
            if due_ms > until_ms || due.len() >= count_max || bytes >= DUE_BYTES_MAX {
                return Ok((due, Some(due_ms)));
            }
            let retry = RetryRow::decode(key, row);
            if let Err(damaged) = retry {
                self.damage.report(damaged, seq);
            }
            let retry = retry.ok();
            let event_key = seq_key(seq);
            let view = self.tables.events.get(&txn, &event_key)?.map(|row| EventView::parse(&event_key, row));
            let view = view.and_then(Result::ok);
            // A damaged retry row begins its schedule anew; who it is for stands in its key and the event.
            let index = match (retry, view) {
                (Some(retry), _) => Some(retry.index),
                (None, Some(view)) => {
                    (0..).zip(view.owed()).find(|(_, owed)| owed & !PARKED_BIT == webhook).map(|(at, _)| at)
                }
                (None, None) => None,
            };
            let origin = Origin::Retry { due_ms };
            let part_count = retry.map_or(1, |retry| retry.part_count);
            let which = Which { webhook, seq, index: index.unwrap_or(0), part, part_count, origin };
            let progress = retry.map(|retry| retry.progress);
            let damaged = |view| {
                let progress = progress.unwrap_or(Progress::first(0));
                Fix::Damaged(DamagedDelivery::of(which, view, progress))
            };
            let (Some(view), Some(index)) = (view, index) else {
                fixes.0.push(damaged(view));
                continue;
            };
            let Ok(event) = view.to_event(Seq(seq)) else {
                self.damage.report(Damaged("event"), seq);
                fixes.0.push(damaged(Some(view)));
                continue;
            };
            bytes += event.envelope.len();
            let progress = progress.unwrap_or(Progress::first(event.accepted_at_ms));
            due.push(Owed {
                event: Arc::new(event),
                index,
                part: Some(part),
                is_alone: part == 0 && part_count <= 1,
                settled_parts: Vec::new(),
                progress,
                origin,
            });
        }
        Ok((due, None))
    }

    fn waiting_keys(
        &self,
        webhook: u32,
        from: Option<(u64, DeliveryKey)>,
        count_max: usize,
    ) -> heed::Result<WaitingKeys> {
        let txn = self.env.read_txn()?;
        let from = from.map_or(timed_key(webhook, 0, 0, 0), |(due_ms, id)| {
            timed_key(webhook, due_ms, id.seq.0, id.part)
        });
        let to = timed_key(webhook, u64::MAX, u64::MAX, u16::MAX);
        let mut waiting = Vec::new();
        for row in self
            .tables
            .retries
            .range(&txn, &(Bound::Included(from.as_slice()), Bound::Included(to.as_slice())))?
        {
            let (key, row) = row?;
            let (due_ms, seq, part) = timed_parts(key);
            let id = DeliveryKey { seq: Seq(seq), part };
            if waiting.len() >= count_max.max(1) {
                return Ok((waiting, Some((due_ms, id))));
            }
            // A damaged row is reported when it is read to be attempted.
            let key = RetryRow::decode(key, row).ok().and_then(|row| row.key);
            waiting.push(WaitingKey { key, id, due_ms });
        }
        Ok((waiting, None))
    }
}

/// Where an entry that a chunk lists stands; open when its progress row is damaged.
fn standing(
    tables: &Tables,
    txn: &Txn<'_>,
    damage: &DamageCount,
    seq: u64,
    index: u32,
) -> heed::Result<(Standing, Vec<u16>)> {
    let key = seq_key(seq);
    match tables.progress.get(txn, &key)?.map(|row| progress::look_up(&key, row, index)) {
        None => Ok((Standing::Parked, Vec::new())),
        Some(Ok(found)) => Ok(found),
        Some(Err(damaged)) => {
            damage.report(damaged, seq);
            Ok((Standing::Parked, Vec::new()))
        }
    }
}

/// What a damaged chunk must have listed: between its first event and the webhook's next chunk, every event that
/// is parked for the webhook (chunks of one webhook never overlap).
pub(crate) fn rebuild(
    tables: &Tables,
    txn: &Txn<'_>,
    damage: &DamageCount,
    webhook: u32,
    first_seq: u64,
) -> heed::Result<Vec<Listed>> {
    let state = tables.state.get(txn, state::KEY)?.and_then(|row| StateRow::decode(row).ok());
    let state = state.unwrap_or_default();
    let next = tables
        .parked
        .get_greater_than(txn, &parked_key(webhook, first_seq))?
        .filter(|(key, _)| crate::tables::key_no(key) == webhook)
        .map_or(state.next_seq, |(key, _)| parked_seq(key));
    let (from, to) = (seq_key(first_seq), seq_key(next));
    let mut listed = Vec::new();
    for row in
        tables.events.range(txn, &(Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice())))?
    {
        let (key, row) = row?;
        let seq = key_seq(key);
        let Ok(view) = EventView::parse(&seq_key(seq), row) else { continue };
        for (index, entry) in (0..).zip(view.owed()) {
            if entry & !PARKED_BIT != webhook {
                continue;
            }
            let (standing, _) = match tables.progress.get(txn, key)? {
                Some(_) => standing(tables, txn, damage, seq, index)?,
                None if entry & PARKED_BIT != 0 => (Standing::Parked, Vec::new()),
                None => (Standing::Waiting, Vec::new()),
            };
            if standing == Standing::Parked || (standing == Standing::Waiting && seq < state.tail_start) {
                listed.push(Listed { seq, index });
            }
        }
    }
    Ok(listed)
}

fn other(error: heed::Error) -> StoreError {
    StoreError::Other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::event;
    use crate::testing;
    use bytes::Bytes;
    use fanfare_core::event::EventKind;
    use fanfare_core::{ChannelId, ChannelNo, EventId};

    /// What still waits in memory must not be listed by a row that is rebuilt: it would be delivered twice.
    #[test]
    fn a_rebuilt_row_lists_what_was_parked_and_nothing_else() {
        let (opened, _dir) = testing::opened(|_| {});
        let event = Event {
            seq: Seq(0),
            id: EventId::parse("E").unwrap(),
            kind: EventKind::Block,
            channel: ChannelId::parse("channel").unwrap(),
            channel_phone: None,
            key: None,
            occurred_at_ms: None,
            accepted_at_ms: 1,
            envelope: Bytes::from_static(b"{}"),
            payload: 0..2,
        };
        let mut txn = opened.env.write_txn().unwrap();
        let Tables { events, parked, state: states, .. } = opened.tables;
        // Two before C, waiting in memory once and parked; two after it, parked at ingest and waiting in memory; one
        // of someone else; one behind the next row.
        let owed = [[7], [7 | PARKED_BIT], [7 | PARKED_BIT], [7], [8 | PARKED_BIT], [7 | PARKED_BIT]];
        for (seq, owed) in (10..).zip(owed) {
            let mut row = event::encode_header(&event, ChannelNo(1), &owed);
            event::seal_header(&mut row, &seq_key(seq));
            row.extend_from_slice(&event.envelope);
            events.put(&mut txn, &seq_key(seq), &row).unwrap();
        }
        parked.put(&mut txn, &parked_key(7, 15), &chunk::encode(&parked_key(7, 15), 15, &[])).unwrap();
        let row = StateRow { next_seq: 16, tail_start: 12, ..StateRow::default() };
        states.put(&mut txn, state::KEY, &row.encode()).unwrap();
        txn.commit().unwrap();

        let (fixes, _commands) = std::sync::mpsc::sync_channel(1);
        let damage = DamageCount::default();
        let reader =
            Reader { env: opened.env, tables: opened.tables, damage, fixes, recent: Recent::default() };
        let txn = reader.env.read_txn().unwrap();
        let listed = rebuild(&reader.tables, &txn, &reader.damage, 7, 10).unwrap();
        assert_eq!(listed, [10, 11, 12].map(|seq| Listed { seq, index: 0 }));
    }
}
