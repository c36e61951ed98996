//! Putting deliveries back, in slices, so that no commit grows long.

mod ended;

pub(crate) use self::ended::EndedOne;
use self::ended::EndedSpan;
use crate::ledger::{Found, Group, Ledger};
use crate::record::dead::DeadRow;
use crate::record::event::EventView;
use crate::record::frame::Damaged;
use crate::record::retry::RetryRow;
use crate::tables::{seq_key, timed_key, timed_parts};
use fanfare_core::delivery::{DeliveryStatus, Progress};
use fanfare_core::event::key_hash;
use fanfare_core::ports::StoreError;
use fanfare_core::ports::history::{DeliveryFilter, Redriven};
use heed::RwTxn;
use std::ops::Bound;
use tokio::sync::oneshot;

/// Deliveries put back in one commit.
const SLICE_COUNT_MAX: usize = 512;
/// Rows looked at in one commit.
const SLICE_ROWS_MAX: usize = 4096;
/// Bytes of events checked in one commit.
const SLICE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What is still to be looked at.
#[derive(Clone, Copy, Debug)]
enum Span {
    /// Dead letters.
    Dead {
        /// The first row to look at.
        from: [u8; 22],
        /// The last one: what dies while this goes on is not put back again. `None`: not looked up yet.
        to: Option<[u8; 22]>,
    },
    /// Delivered and skipped ones.
    Ended(EndedSpan),
    /// One of these.
    One(EndedOne),
}

/// What is still to be put back, and what came of it so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redriving {
    webhook: u32,
    filter: DeliveryFilter,
    now_ms: u64,
    span: Span,
    pub(crate) is_done: bool,
    pub(crate) sum: Redriven,
}

/// A redrive and who waits for it.
pub(crate) struct Redrive {
    pub(crate) state: Redriving,
    pub(crate) reply: Reply<Redriven>,
}

impl Redrive {
    /// Of one dead letter, if it still is one.
    pub(crate) fn dead(webhook: u32, key: [u8; 22], now_ms: u64, reply: Reply<Redriven>) -> Self {
        let span = Span::Dead { from: key, to: Some(key) };
        Self::new(webhook, DeliveryFilter::default(), now_ms, span, reply)
    }

    /// Of one that was delivered or skipped, if its body is still kept.
    pub(crate) fn ended(webhook: u32, one: EndedOne, now_ms: u64, reply: Reply<Redriven>) -> Self {
        Self::new(webhook, DeliveryFilter::default(), now_ms, Span::One(one), reply)
    }

    /// Of all that fit; without a status, of dead ones.
    pub(crate) fn many(webhook: u32, filter: DeliveryFilter, now_ms: u64, reply: Reply<Redriven>) -> Self {
        let span = match filter.status {
            Some(DeliveryStatus::Delivered | DeliveryStatus::Skipped) => Span::Ended(EndedSpan::all()),
            None | Some(DeliveryStatus::Dead | DeliveryStatus::Pending) => {
                Span::Dead { from: timed_key(webhook, 0, 0, 0), to: None }
            }
        };
        let mut redrive = Self::new(webhook, filter, now_ms, span, reply);
        // What is pending need not be put back.
        redrive.state.is_done = filter.status == Some(DeliveryStatus::Pending);
        redrive
    }

    fn new(webhook: u32, filter: DeliveryFilter, now_ms: u64, span: Span, reply: Reply<Redriven>) -> Self {
        let state = Redriving { webhook, filter, now_ms, span, is_done: false, sum: Redriven::default() };
        Redrive { state, reply }
    }
}

impl Redriving {
    /// Where a delivery stands that is put back: its schedule begins anew.
    fn progress(&self, attempt_number: u32) -> Progress {
        Progress { attempt_number, schedule_step: 0, owed_since_ms: self.now_ms }
    }
}

impl Ledger {
    /// Does one slice; gives where it then stands.
    pub(crate) fn redrive(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        state: Redriving,
    ) -> heed::Result<Redriving> {
        if state.is_done || !self.live.contains(state.webhook) {
            return Ok(Redriving { is_done: true, ..state });
        }
        match state.span {
            Span::Dead { from, to } => self.redrive_dead(txn, group, state, (from, to)),
            Span::Ended(span) => self.redrive_ended(txn, group, state, span),
            Span::One(one) => {
                let sum = self.redrive_ended_one(txn, group, &state, one)?;
                Ok(Redriving { is_done: true, sum, ..state })
            }
        }
    }

    fn redrive_dead(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        mut state: Redriving,
        (from, to): ([u8; 22], Option<[u8; 22]>),
    ) -> heed::Result<Redriving> {
        let to = match to {
            Some(to) => to,
            None => {
                let top = timed_key(state.webhook, u64::MAX, u64::MAX, u16::MAX);
                let last = self.tables.dead.get_lower_than_or_equal_to(txn, &top)?;
                let (at, seq, part) = last.map(|(key, _)| timed_parts(key)).unwrap_or_default();
                timed_key(state.webhook, at, seq, part)
            }
        };
        let mut fitting = Vec::new();
        let (mut row_count, mut bytes) = (0, 0);
        state.is_done = true;
        for row in self
            .tables
            .dead
            .range(txn, &(Bound::Included(from.as_slice()), Bound::Included(to.as_slice())))?
        {
            let (key, row) = row?;
            let (at, seq, part) = timed_parts(key);
            let key = timed_key(state.webhook, at, seq, part);
            if fitting.len() >= SLICE_COUNT_MAX || row_count >= SLICE_ROWS_MAX || bytes >= SLICE_BYTES_MAX {
                state.span = Span::Dead { from: key, to: Some(to) };
                state.is_done = false;
                break;
            }
            row_count += 1;
            let row = DeadRow::decode(&key, row);
            let event_key = seq_key(seq);
            let view = self.tables.events.get(txn, &event_key)?;
            let view = view.and_then(|row| EventView::parse(&event_key, row).ok());
            let accepted_ms = match (&row, &view) {
                (Ok(row), _) => Some(row.accepted_ms),
                (Err(_), view) => view.map(|view| view.accepted_at_ms),
            };
            if !state.filter.spans(accepted_ms.unwrap_or(at)) {
                continue;
            }
            bytes += view.map_or(0, |view| view.envelope_bytes());
            match view.filter(EventView::is_whole) {
                Some(view) => fitting.push((key, row, view.key().map(key_hash))),
                None => state.sum.without_body += 1,
            }
        }
        for (key, row, event_key) in fitting {
            self.put_back(txn, group, &key, row, event_key, &state)?;
            state.sum.count += 1;
        }
        Ok(state)
    }

    /// Turns a dead letter into a retry. Where it stands does not change: it has a row of its own.
    fn put_back(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        key: &[u8; 22],
        row: Result<DeadRow, Damaged>,
        event_key: Option<u64>,
        state: &Redriving,
    ) -> heed::Result<()> {
        let (_, seq, part) = timed_parts(key);
        let retry = match row {
            Ok(ref row) => RetryRow {
                index: row.index,
                part_count: row.part_count,
                progress: state.progress(row.attempt_count.saturating_add(1)),
                failure: row.failure,
                status: row.status,
                key: row.key.or(event_key),
            },
            Err(damaged) => {
                // Its key and its event tell all but what was tried.
                self.damage.report(damaged, seq);
                let index = self.index_of(txn, group, seq, state.webhook)?.unwrap_or_default();
                let part_count = match self.find(txn, &mut group.loaded, seq)? {
                    Found::Present(event) => event.part_count(index),
                    Found::Gone | Found::SetAside => 1,
                };
                let progress = state.progress(1);
                RetryRow { index, part_count, progress, failure: None, status: None, key: event_key }
            }
        };
        self.take_dead(txn, group, key, row.as_ref().ok())?;
        self.note_pending(seq);
        let key = timed_key(state.webhook, state.now_ms, seq, part);
        self.tables.retries.put(txn, &key, &retry.encode(&key))?;
        self.state.backlog += 1;
        Ok(())
    }
}
