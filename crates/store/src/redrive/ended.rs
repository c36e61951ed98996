//! Putting back what was delivered or skipped, as long as its body is kept. The webhook's `attempts` items tell which.

use super::{Redriving, SLICE_BYTES_MAX, SLICE_COUNT_MAX, Span};
use crate::ledger::{Found, Group, Ledger};
use crate::record::attempt::{self, Ended, Item};
use crate::record::event::EventView;
use crate::record::retry::RetryRow;
use crate::tables::{attempts_key, attempts_parts, key_no, seq_key, timed_key};
use fanfare_core::delivery::DeliveryStatus;
use fanfare_core::event::key_hash;
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::history::Redriven;
use heed::RwTxn;
use std::ops::Bound;

/// Rows of attempts still to be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedSpan {
    /// The first row, and how many of its items were looked at.
    hour: u32,
    commit: u64,
    n: u16,
    items: usize,
    /// What is recorded later is not put back. `None`: not looked up yet.
    commit_max: Option<u64>,
}

impl EndedSpan {
    pub(super) fn all() -> Self {
        EndedSpan { hour: 0, commit: 0, n: 0, items: 0, commit_max: None }
    }
}

/// One delivery that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedOne {
    pub(crate) seq: u64,
    pub(crate) part: u16,
    /// Number of the last attempt known.
    pub(crate) attempt_number: u32,
    pub(crate) failure: Option<FailureClass>,
    pub(crate) status: Option<u16>,
}

impl EndedOne {
    fn of(item: &Item<'_>) -> Self {
        EndedOne {
            seq: item.key.seq.0,
            part: item.key.part,
            attempt_number: item.attempt.map_or(0, |attempt| attempt.attempt_number),
            failure: item.attempt.and_then(|attempt| attempt.failure),
            status: item.attempt.and_then(|attempt| attempt.status),
        }
    }
}

impl Ledger {
    pub(super) fn redrive_ended(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        mut state: Redriving,
        mut span: EndedSpan,
    ) -> heed::Result<Redriving> {
        let commit_max = *span.commit_max.get_or_insert(self.state.commit);
        let wanted = if state.filter.status == Some(DeliveryStatus::Skipped) {
            Ended::Skipped
        } else {
            Ended::Delivered
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        state.is_done = true;
        'hours: loop {
            let low = attempts_key(span.hour, state.webhook, span.commit, span.n);
            let high = attempts_key(span.hour, state.webhook, u64::MAX, u16::MAX);
            let range = (Bound::Included(low.as_slice()), Bound::Included(high.as_slice()));
            for row in self.tables.attempts.range(txn, &range)? {
                let (key, row) = row?;
                let (commit, n) = attempts_parts(key);
                if commit > commit_max {
                    continue;
                }
                if (commit, n) != (span.commit, span.n) {
                    span = EndedSpan { commit, n, items: 0, ..span };
                }
                bytes += row.len();
                // A damaged row is reported where it is listed.
                for item in attempt::items(key, row).unwrap_or_default().iter().skip(span.items) {
                    if found.len() >= SLICE_COUNT_MAX || bytes >= SLICE_BYTES_MAX {
                        state.is_done = false;
                        break 'hours;
                    }
                    span.items += 1;
                    if item.ended == wanted && state.filter.spans(item.accepted_ms) {
                        bytes +=
                            self.tables.events.get(txn, &seq_key(item.key.seq.0))?.map_or(0, <[u8]>::len);
                        found.push(EndedOne::of(item));
                    }
                }
            }
            let next = match span.hour.checked_add(1) {
                Some(next) => self.tables.attempts.get_greater_than_or_equal_to(txn, &next.to_be_bytes())?,
                None => None,
            };
            match next.map(|(key, _)| key_no(key)) {
                Some(hour) => span = EndedSpan { hour, commit: 0, n: 0, items: 0, ..span },
                None => break,
            }
        }
        state.span = Span::Ended(span);
        for one in found {
            state.sum = self.redrive_ended_one(txn, group, &state, one)?;
        }
        Ok(state)
    }

    /// Puts one back, unless it is owed or dead again already. Gives the new sum.
    pub(super) fn redrive_ended_one(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        state: &Redriving,
        one: EndedOne,
    ) -> heed::Result<Redriven> {
        let EndedOne { seq, part, attempt_number, failure, status } = one;
        let mut sum = state.sum;
        let event_key = seq_key(seq);
        let view = self.tables.events.get(txn, &event_key)?;
        let view = view.and_then(|row| EventView::parse(&event_key, row).ok());
        let Some(view) = view.filter(EventView::is_whole) else {
            sum.without_body += 1;
            return Ok(sum);
        };
        let key = view.key().map(key_hash);
        let Some(index) = self.index_of(txn, group, seq, state.webhook)? else { return Ok(sum) };
        let Found::Present(event) = self.find(txn, &mut group.loaded, seq)? else { return Ok(sum) };
        if !event.revive(index, part) {
            return Ok(sum);
        }
        let part_count = event.part_count(index);
        Group::touch(&mut group.dirty, seq, event);
        self.note_pending(seq);
        let progress = state.progress(attempt_number.saturating_add(1));
        let row = RetryRow { index, part_count, progress, failure, status, key };
        let key = timed_key(state.webhook, state.now_ms, seq, part);
        self.tables.retries.put(txn, &key, &row.encode(&key))?;
        self.state.backlog += 1;
        sum.count += 1;
        Ok(sum)
    }
}
