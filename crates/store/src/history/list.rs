//! Lists: four phases, each a range of rows in the order that core's `DeliveryPage` names.

use super::cursor::{self, EndedPlace, Place, Timed};
use super::view::{self, EventFacts};
use super::{Historian, other};
use crate::ledger::{MS_PER_HOUR, look_at_state};
use crate::reader;
use crate::record::attempt;
use crate::record::chunk::{self, Listed};
use crate::record::dead::DeadRow;
use crate::record::event::{EventView, PARKED_BIT};
use crate::record::retry::RetryRow;
use crate::record::state::{self, StateRow};
use crate::standing::Standing;
use crate::tables::{
    Txn, attempts_key, attempts_parts, key_no, key_seq, parked_key, parked_seq, seq_key, timed_key,
    timed_parts,
};
use fanfare_core::delivery::DeliveryKey;
use fanfare_core::ports::StoreError;
use fanfare_core::ports::history::{DeliveryFilter, DeliveryPage, DeliveryView, ListRequest};
use std::ops::Bound;

/// Work of one call: rows looked at, a long row counting for several. About 20 ms.
const WORK_MAX: usize = 20_000;
/// Bytes of a row that count as one more row.
const BYTES_PER_ROW: usize = 512;
/// How far the clock may have been set back between an event's acceptance and its end for a filter to find it still.
const CLOCK_SLACK_MS: u64 = MS_PER_HOUR;

/// A page in the making.
struct Work {
    items: Vec<DeliveryView>,
    count_max: usize,
    left: usize,
    filter: DeliveryFilter,
}

impl Work {
    /// Pays for a row. `false`: the page is full or enough was looked at, so this row is where the list goes on.
    fn take(&mut self, row_bytes: usize) -> bool {
        if self.items.len() >= self.count_max || self.left == 0 {
            return false;
        }
        self.left = self.left.saturating_sub(1 + row_bytes / BYTES_PER_ROW);
        true
    }

    fn push(&mut self, view: DeliveryView) {
        let has_status = self.filter.status.is_none_or(|status| status == view.status);
        if has_status && self.filter.spans(view.accepted_ms) {
            self.items.push(view);
        }
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.count_max
    }

    /// Whether what ended then can be of an event the filter wants.
    fn is_too_early(&self, ended_ms: u64) -> bool {
        self.filter.from_ms.is_some_and(|from| ended_ms.saturating_add(CLOCK_SLACK_MS) < from)
    }
}

impl Historian {
    pub(super) fn list(&self, request: &ListRequest) -> Result<DeliveryPage, StoreError> {
        let mut place = cursor::decode(request)?;
        let mut work = Work {
            items: Vec::new(),
            count_max: request.count_max.max(1),
            left: WORK_MAX,
            filter: request.filter,
        };
        let txn = self.env.read_txn().map_err(other)?;
        loop {
            let stopped = self.list_phase(&txn, request.webhook.0, place, &mut work).map_err(other)?;
            if let Some(place) = stopped {
                let next = Some(cursor::encode(request, place));
                return Ok(DeliveryPage { items: work.items, next });
            }
            match place.next_phase(request.filter.status) {
                Some(next) => place = next,
                None => return Ok(DeliveryPage { items: work.items, next: None }),
            }
        }
    }

    /// Lists on from a place to the end of its phase. `Some`: stopped before, here.
    fn list_phase(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        place: Place,
        work: &mut Work,
    ) -> heed::Result<Option<Place>> {
        match place {
            Place::Retries(from) => self.list_retries(txn, webhook, from, work),
            Place::Waiting { seq, part } => self.list_waiting(txn, webhook, (seq, part), work),
            Place::Dead(to) => self.list_dead(txn, webhook, to, work),
            Place::Ended(to) => self.list_ended(txn, webhook, to, work),
        }
    }

    fn list_retries(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        from: Timed,
        work: &mut Work,
    ) -> heed::Result<Option<Place>> {
        let (from, to) =
            (timed_key(webhook, from.0, from.1, from.2), timed_key(webhook, u64::MAX, u64::MAX, u16::MAX));
        for row in self
            .tables
            .retries
            .range(txn, &(Bound::Included(from.as_slice()), Bound::Included(to.as_slice())))?
        {
            let (key, row) = row?;
            let at = timed_parts(key);
            if !work.take(row.len()) {
                return Ok(Some(Place::Retries(at)));
            }
            // A damaged row is reported when it is read to be attempted.
            let row = RetryRow::decode(key, row).ok();
            work.push(view::retry(at, row, self.facts(txn, at.1)?));
        }
        Ok(None)
    }

    /// What the event's header tells.
    pub(super) fn facts(&self, txn: &Txn<'_>, seq: u64) -> heed::Result<EventFacts> {
        let key = seq_key(seq);
        let view = self.tables.events.get(txn, &key)?.and_then(|row| EventView::parse(&key, row).ok());
        Ok(EventFacts::of(view))
    }

    /// What is listed nowhere but in the events from C on, and what chunks list below C: one order over both.
    fn list_waiting(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        from: (u64, u16),
        work: &mut Work,
    ) -> heed::Result<Option<Place>> {
        let tail_start = self.tail_start(txn)?;
        if from.0 >= tail_start {
            let (low, high) = (seq_key(tail_start), seq_key(from.0));
            let range = (Bound::Included(low.as_slice()), Bound::Included(high.as_slice()));
            for row in self.tables.events.rev_range(txn, &range)? {
                let (key, row) = row?;
                let seq = key_seq(key);
                if !work.take(0) {
                    return Ok(Some(Place::Waiting { seq, part: 0 }));
                }
                if let Some(part) = self.push_open(txn, webhook, seq, row, from, work)? {
                    return Ok(Some(Place::Waiting { seq, part }));
                }
            }
        }
        // Below C.
        let Some(high) = tail_start.checked_sub(1) else { return Ok(None) };
        let high = high.min(from.0);
        let (low, top) = (parked_key(webhook, 0), parked_key(webhook, high));
        let range = (Bound::Included(low.as_slice()), Bound::Included(top.as_slice()));
        for row in self.tables.parked.rev_range(txn, &range)? {
            let (key, row) = row?;
            let first_seq = parked_seq(key);
            if !work.take(row.len()) {
                // Everything before the last entry that was looked at lies in this row.
                let seq = high.min(self.last_before(txn, webhook, first_seq, high)?);
                return Ok(Some(Place::Waiting { seq, part: 0 }));
            }
            for Listed { seq, .. } in self.listed(txn, webhook, first_seq, row)?.into_iter().rev() {
                if seq > high {
                    continue;
                }
                if !work.take(0) {
                    return Ok(Some(Place::Waiting { seq, part: 0 }));
                }
                let key = seq_key(seq);
                let Some(row) = self.tables.events.get(txn, &key)? else { continue };
                if let Some(part) = self.push_open(txn, webhook, seq, row, from, work)? {
                    return Ok(Some(Place::Waiting { seq, part }));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn tail_start(&self, txn: &Txn<'_>) -> heed::Result<u64> {
        let row = self.tables.state.get(txn, state::KEY)?.and_then(|row| StateRow::decode(row).ok());
        Ok(row.unwrap_or_default().tail_start)
    }

    /// The last event that a chunk can hold: what stands before the webhook's next one.
    fn last_before(&self, txn: &Txn<'_>, webhook: u32, first_seq: u64, high: u64) -> heed::Result<u64> {
        let next = self.tables.parked.get_greater_than(txn, &parked_key(webhook, first_seq))?;
        let next = next.filter(|(key, _)| key_no(key) == webhook).map(|(key, _)| parked_seq(key));
        Ok(next.map_or(high, |next| next.saturating_sub(1)))
    }

    /// What a chunk lists, also when its row is damaged.
    pub(super) fn listed(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        first_seq: u64,
        row: &[u8],
    ) -> heed::Result<Vec<Listed>> {
        let key = parked_key(webhook, first_seq);
        match chunk::decode(&key, first_seq, row) {
            Ok(listed) => Ok(listed),
            // Reported and put right when it is read to be delivered.
            Err(_) => reader::rebuild(&self.tables, txn, &self.damage, webhook, first_seq),
        }
    }

    /// Lists the open bodies of one event. `Some`: the page was full before this body.
    fn push_open(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        seq: u64,
        row: &[u8],
        from: (u64, u16),
        work: &mut Work,
    ) -> heed::Result<Option<u16>> {
        // Damaged events become dead letters when they are read to be delivered.
        let Ok(view) = EventView::parse(&seq_key(seq), row) else { return Ok(None) };
        work.left = work.left.saturating_sub(view.owed().len() * 4 / BYTES_PER_ROW);
        let Some(index) = (0..).zip(view.owed()).find(|(_, owed)| owed & !PARKED_BIT == webhook) else {
            return Ok(None);
        };
        let Ok((state, _)) = look_at_state(&self.tables, txn, seq, row)? else { return Ok(None) };
        for part in state.open_parts(index.0) {
            if seq == from.0 && part < from.1 {
                continue;
            }
            if work.is_full() {
                return Ok(Some(part));
            }
            work.push(view::waiting(seq, part, EventFacts::of(Some(view))));
        }
        Ok(None)
    }

    fn list_dead(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        to: Timed,
        work: &mut Work,
    ) -> heed::Result<Option<Place>> {
        let (from, to) = (timed_key(webhook, 0, 0, 0), timed_key(webhook, to.0, to.1, to.2));
        for row in self
            .tables
            .dead
            .rev_range(txn, &(Bound::Included(from.as_slice()), Bound::Included(to.as_slice())))?
        {
            let (key, row) = row?;
            let at = timed_parts(key);
            if work.is_too_early(at.0) {
                return Ok(None);
            }
            if !work.take(row.len()) {
                return Ok(Some(Place::Dead(at)));
            }
            let row = DeadRow::decode(key, row).inspect_err(|damaged| self.report(*damaged, key, at.1)).ok();
            work.push(view::dead(at, row, || self.facts(txn, at.1))?);
        }
        Ok(None)
    }

    fn list_ended(
        &self,
        txn: &Txn<'_>,
        webhook: u32,
        mut to: EndedPlace,
        work: &mut Work,
    ) -> heed::Result<Option<Place>> {
        let table = self.tables.attempts;
        loop {
            let hour_end_ms = (u64::from(to.hour) + 1) * MS_PER_HOUR;
            if work.is_too_early(hour_end_ms) {
                return Ok(None);
            }
            let (low, high) =
                (attempts_key(to.hour, webhook, 0, 0), attempts_key(to.hour, webhook, to.commit, to.n));
            let range = (Bound::Included(low.as_slice()), Bound::Included(high.as_slice()));
            for row in table.rev_range(txn, &range)? {
                let (key, row) = row?;
                let (commit, n) = attempts_parts(key);
                let is_first = (commit, n) == (to.commit, to.n);
                let limit = if is_first { to.items } else { u32::MAX };
                let here = EndedPlace { commit, n, items: limit, ..to };
                if !work.take(row.len()) {
                    return Ok(Some(Place::Ended(here)));
                }
                let items = match attempt::items(key, row) {
                    Ok(items) => items,
                    Err(damaged) => {
                        self.report(damaged, key, u64::from(to.hour));
                        continue;
                    }
                };
                for (at, item) in (0..limit).zip(&items).rev() {
                    let Some(status) = view::ended_status(item) else { continue };
                    if self.is_kept_for_more(txn, webhook, item.key)? {
                        continue;
                    }
                    if work.is_full() {
                        return Ok(Some(Place::Ended(EndedPlace { items: at + 1, ..here })));
                    }
                    work.push(view::ended(item, status));
                }
            }
            let Some(hour) = self.hour_before(txn, to.hour, webhook)? else { return Ok(None) };
            if !work.take(0) {
                let place = EndedPlace { hour, commit: u64::MAX, n: u16::MAX, items: u32::MAX };
                return Ok(Some(Place::Ended(place)));
            }
            to = EndedPlace { hour, commit: u64::MAX, n: u16::MAX, items: u32::MAX };
        }
    }

    /// Whether a delivery that ended once was put back and is pending or dead now, so that it is listed as that.
    fn is_kept_for_more(&self, txn: &Txn<'_>, webhook: u32, key: DeliveryKey) -> heed::Result<bool> {
        let seq = key.seq.0;
        let Some(row) = self.tables.events.get(txn, &seq_key(seq))? else { return Ok(false) };
        let Ok((state, _)) = look_at_state(&self.tables, txn, seq, row)? else { return Ok(false) };
        let index = state.iter().find(|(_, owed, _)| *owed == webhook).map(|(index, ..)| index);
        let standing = index.and_then(|index| state.part(index, key.part));
        Ok(standing.is_some_and(|standing| standing != Standing::Done))
    }

    /// The last hour before this one that has rows of anyone: two seeks, however many rows it has.
    fn hour_before(&self, txn: &Txn<'_>, hour: u32, webhook: u32) -> heed::Result<Option<u32>> {
        let table = self.tables.attempts;
        let before = |key: [u8; 18]| -> heed::Result<Option<u32>> {
            Ok(table.get_lower_than(txn, &key)?.map(|(key, _)| key_no(key)))
        };
        match before(attempts_key(hour, webhook, 0, 0))? {
            Some(found) if found == hour => before(attempts_key(hour, 0, 0, 0)),
            found => Ok(found),
        }
    }
}
