//! Looking one delivery up. There is no index by event id: see `design/0002-history.md`.

use super::cursor::Timed;
use super::view::{self, EventFacts};
use super::{Historian, Order};
use crate::dead_letters::hour_of;
use crate::ledger::look_at_state;
use crate::record::attempt::{self, Ended, Item, Request};
use crate::record::dead::DeadRow;
use crate::record::event::{EventView, PARKED_BIT};
use crate::record::retry::RetryRow;
use crate::redrive::EndedOne;
use crate::standing::Standing;
use crate::tables::{
    Txn, attempts_key, key_no, key_seq, parked_key, parked_seq, seq_key, timed_key, timed_parts,
};
use fanfare_core::EventId;
use fanfare_core::delivery::{AttemptRecord, DeliveryStatus};
use fanfare_core::ports::history::{DeliveryDetail, DeliveryView};
use std::ops::{Bound, ControlFlow};

/// How far apart the time in an id of ours and the event's acceptance may be, and how far the order of events may
/// stray from the order of acceptance.
const ACCEPTANCE_SLACK_MS: u64 = 10_000;
/// Times a look-up begins anew because the delivery moved while it was looked for.
const TRIES: usize = 4;

/// An event, found by its id.
#[derive(Clone, Copy, Debug)]
struct Located {
    seq: u64,
    accepted_ms: u64,
}

/// Where a delivery stands, as its event tells.
enum Stands {
    Open(EventFacts),
    /// In a row of its own.
    OwnRow(EventFacts),
    Ended,
}

/// What is recorded of a delivery.
#[derive(Default)]
struct Recorded {
    attempts: Vec<AttemptRecord>,
    /// Its end, when that was the last.
    end: Option<DeliveryView>,
    /// When it was given up, when that was the last.
    died_ms: Option<u64>,
}

/// A delivery that can be put back.
pub(super) enum ToPutBack {
    /// The key of its row.
    Dead([u8; 22]),
    Ended(EndedOne),
}

/// A row of its own.
enum OwnRow {
    Retry(Timed, Option<RetryRow>),
    Dead(Timed, Option<DeadRow>),
}

impl Historian {
    pub(super) fn find(
        &self,
        webhook: u32,
        event_id: &EventId,
        part: u16,
    ) -> heed::Result<Option<DeliveryDetail>> {
        for _ in 0..TRIES {
            let Some(located) = self.locate(webhook, event_id)? else { return Ok(None) };
            // Before the attempts: if it has ended by now, its end is among them.
            let stands = self.stands(webhook, located.seq, part)?;
            let Recorded { attempts, end, died_ms } = self.attempts(webhook, located, part)?;
            let delivery = match stands {
                Stands::Open(facts) => Some(view::waiting(located.seq, part, facts)),
                Stands::Ended => end,
                Stands::OwnRow(facts) => match self.own_row(webhook, located.seq, part, died_ms)? {
                    Some(OwnRow::Retry(at, row)) => Some(view::retry(at, row, facts)),
                    Some(OwnRow::Dead(at, row)) => Some(view::dead(at, row, || Ok(facts))?),
                    None => continue,
                },
            };
            return Ok(delivery.map(|delivery| DeliveryDetail { delivery, attempts }));
        }
        Ok(None)
    }

    /// What must be told to the writer so that it puts a delivery back. `None`: it is not known, or it is pending.
    pub(super) fn find_to_put_back(
        &self,
        webhook: u32,
        event_id: &EventId,
        part: u16,
    ) -> heed::Result<Option<ToPutBack>> {
        let Some(DeliveryDetail { delivery, attempts }) = self.find(webhook, event_id, part)? else {
            return Ok(None);
        };
        let seq = delivery.key.seq.0;
        Ok(match delivery.status {
            DeliveryStatus::Pending => None,
            DeliveryStatus::Dead => {
                Some(ToPutBack::Dead(timed_key(webhook, delivery.ended_ms.unwrap_or_default(), seq, part)))
            }
            DeliveryStatus::Delivered | DeliveryStatus::Skipped => Some(ToPutBack::Ended(EndedOne {
                seq,
                part,
                attempt_number: attempts.last().map_or(0, |attempt| attempt.attempt_number),
                failure: delivery.last_failure,
                status: delivery.last_status,
            })),
        })
    }

    fn stands(&self, webhook: u32, seq: u64, part: u16) -> heed::Result<Stands> {
        let txn = self.env.read_txn()?;
        let key = seq_key(seq);
        let Some(row) = self.tables.events.get(&txn, &key)? else {
            let is_set_aside = self.tables.damaged.get(&txn, &key)?.is_some();
            return Ok(if is_set_aside { Stands::OwnRow(EventFacts::default()) } else { Stands::Ended });
        };
        let Ok((state, _)) = look_at_state(&self.tables, &txn, seq, row)? else {
            return Ok(Stands::OwnRow(EventFacts::default()));
        };
        let index = state.iter().find(|(_, owed, _)| *owed == webhook).map(|(index, ..)| index);
        let facts = EventFacts::of(EventView::parse(&key, row).ok());
        Ok(match index.and_then(|index| state.part(index, part)) {
            Some(Standing::Waiting | Standing::Parked) => Stands::Open(facts),
            Some(Standing::OwnRow) => Stands::OwnRow(facts),
            Some(Standing::Done) | None => Stands::Ended,
        })
    }

    /// A delivery's row: where its last record says that it died, if it says so, then among the retries and only then
    /// among dead letters, because that is the way it goes.
    fn own_row(
        &self,
        webhook: u32,
        seq: u64,
        part: u16,
        died_ms: Option<u64>,
    ) -> heed::Result<Option<OwnRow>> {
        if let Some(ended_ms) = died_ms {
            let txn = self.env.read_txn()?;
            let key = timed_key(webhook, ended_ms, seq, part);
            if let Some(row) = self.tables.dead.get(&txn, &key)? {
                return Ok(Some(OwnRow::Dead((ended_ms, seq, part), DeadRow::decode(&key, row).ok())));
            }
        }
        let mut found = None;
        self.walk(self.tables.retries, all_of(webhook), Order::Up, |_, key, row| {
            let at = timed_parts(key);
            if (at.1, at.2) != (seq, part) {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(OwnRow::Retry(at, RetryRow::decode(key, row).ok()));
            Ok(ControlFlow::Break(()))
        })?;
        if found.is_none() {
            found = self.dead_at(webhook, seq, part)?.map(|(at, row)| OwnRow::Dead(at, row));
        }
        Ok(found)
    }

    fn dead_at(&self, webhook: u32, seq: u64, part: u16) -> heed::Result<Option<(Timed, Option<DeadRow>)>> {
        let mut found = None;
        self.walk(self.tables.dead, all_of(webhook), Order::Down, |_, key, row| {
            let at = timed_parts(key);
            if (at.1, at.2) != (seq, part) {
                return Ok(ControlFlow::Continue(()));
            }
            let row = DeadRow::decode(key, row).inspect_err(|damaged| self.report(*damaged, key, at.1));
            found = Some((at, row.ok()));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// What is recorded of a delivery.
    fn attempts(&self, webhook: u32, located: Located, part: u16) -> heed::Result<Recorded> {
        let mut recorded = Recorded::default();
        let from = hour_of(located.accepted_ms).saturating_sub(1);
        self.visit_items(webhook, from..=u32::MAX, Order::Up, |item| {
            if (item.key.seq.0, item.key.part) == (located.seq, part) {
                recorded.attempts.extend(item.attempt.map(Request::to_record));
                recorded.end = view::ended_status(item).map(|status| view::ended(item, status));
                recorded.died_ms = (item.ended == Ended::Dead).then_some(item.at_ms);
            }
            ControlFlow::Continue(())
        })?;
        Ok(recorded)
    }

    /// Visits the items of one webhook in a span of hours, until told to stop. Returns whether it was.
    fn visit_items(
        &self,
        webhook: u32,
        hours: std::ops::RangeInclusive<u32>,
        order: Order,
        mut visit: impl FnMut(&Item<'_>) -> ControlFlow<()>,
    ) -> heed::Result<bool> {
        let table = self.tables.attempts;
        let mut hour = if order == Order::Up { *hours.start() } else { *hours.end() };
        loop {
            let span = (
                attempts_key(hour, webhook, 0, 0).to_vec(),
                attempts_key(hour, webhook, u64::MAX, u16::MAX).to_vec(),
            );
            let is_stopped = self.walk(table, span, order, |_, key, row| {
                let items = match attempt::items(key, row) {
                    Ok(items) => items,
                    Err(damaged) => {
                        self.report(damaged, key, u64::from(hour));
                        return Ok(ControlFlow::Continue(()));
                    }
                };
                let flow = match order {
                    Order::Up => items.iter().try_for_each(&mut visit),
                    Order::Down => items.iter().rev().try_for_each(&mut visit),
                };
                Ok(flow)
            })?;
            if is_stopped {
                return Ok(true);
            }
            // The next hour that has rows of anyone, so that a wide span costs no seek for each empty one.
            let txn = self.env.read_txn()?;
            let next = match order {
                Order::Up => match hour.checked_add(1) {
                    Some(next) => table.get_greater_than_or_equal_to(&txn, &next.to_be_bytes())?,
                    None => None,
                },
                Order::Down => table.get_lower_than(&txn, &attempts_key(hour, 0, 0, 0))?,
            };
            match next.map(|(key, _)| key_no(key)).filter(|hour| hours.contains(hour)) {
                Some(next) => hour = next,
                None => return Ok(false),
            }
        }
    }

    /// Finds the newest event of this id that was owed to the webhook, as far as anything of it is kept.
    fn locate(&self, webhook: u32, id: &EventId) -> heed::Result<Option<Located>> {
        let made_ms = made_ms(id);
        if let Some(made_ms) = made_ms
            && let Some(located) = self.locate_by_time(webhook, id, made_ms)?
        {
            return Ok(Some(located));
        }
        if let Some(located) = self.locate_in_attempts(webhook, id, made_ms)? {
            return Ok(Some(located));
        }
        if let Some(located) = self.locate_in_dead(webhook, id)? {
            return Ok(Some(located));
        }
        if let Some(located) = self.locate_in_retries(webhook, id)? {
            return Ok(Some(located));
        }
        self.locate_in_waiting(webhook, id)
    }

    /// Events stand in the order of acceptance, nearly: a binary search for the time in the id.
    fn locate_by_time(&self, webhook: u32, id: &EventId, made_ms: u64) -> heed::Result<Option<Located>> {
        let (from_ms, to_ms) =
            (made_ms.saturating_sub(ACCEPTANCE_SLACK_MS), made_ms.saturating_add(ACCEPTANCE_SLACK_MS));
        let events = self.tables.events;
        let mut low = 0;
        let mut high = {
            let txn = self.env.read_txn()?;
            let Some((key, _)) = events.last(&txn)? else { return Ok(None) };
            key_seq(key)
        };
        while low < high {
            let txn = self.env.read_txn()?;
            let middle = low + (high - low) / 2;
            let found = events.get_greater_than_or_equal_to(&txn, &seq_key(middle))?;
            let is_before = found.is_some_and(|(key, row)| {
                let seq = key_seq(key);
                EventView::parse(&seq_key(seq), row).is_ok_and(|view| view.accepted_at_ms < from_ms)
            });
            if is_before { low = middle + 1 } else { high = middle }
        }
        let mut found = None;
        let span = (seq_key(low).to_vec(), seq_key(u64::MAX).to_vec());
        self.walk(events, span, Order::Up, |_, key, row| {
            let seq = key_seq(key);
            let Ok(view) = EventView::parse(&seq_key(seq), row) else { return Ok(ControlFlow::Continue(())) };
            if view.accepted_at_ms > to_ms {
                return Ok(ControlFlow::Break(()));
            }
            if is_owed(&view, webhook, id) {
                found = Some(Located { seq, accepted_ms: view.accepted_at_ms });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn locate_in_attempts(
        &self,
        webhook: u32,
        id: &EventId,
        made_ms: Option<u64>,
    ) -> heed::Result<Option<Located>> {
        let mut found = None;
        let mut visit = |item: &Item<'_>| {
            if item.event_id != id.as_str() {
                return ControlFlow::Continue(());
            }
            found = Some(Located { seq: item.key.seq.0, accepted_ms: item.accepted_ms });
            ControlFlow::Break(())
        };
        let Some(hour) = made_ms.map(|made_ms| hour_of(made_ms).saturating_sub(1)) else {
            self.visit_items(webhook, 0..=u32::MAX, Order::Down, &mut visit)?;
            return Ok(found);
        };
        // Most end soon after they began. The rest is searched too: a producer may give an id of any time.
        if !self.visit_items(webhook, hour..=u32::MAX, Order::Up, &mut visit)?
            && let Some(before) = hour.checked_sub(1)
        {
            self.visit_items(webhook, 0..=before, Order::Down, &mut visit)?;
        }
        Ok(found)
    }

    fn locate_in_dead(&self, webhook: u32, id: &EventId) -> heed::Result<Option<Located>> {
        let mut found = None;
        self.walk(self.tables.dead, all_of(webhook), Order::Down, |txn, key, row| {
            let (_, seq, _) = timed_parts(key);
            match DeadRow::decode(key, row) {
                Ok(row) if row.event_id.as_ref() == Some(id) => {
                    found = Some(Located { seq, accepted_ms: row.accepted_ms });
                }
                Ok(_) => {}
                Err(_) => found = self.located(txn, webhook, id, seq)?,
            }
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    fn locate_in_retries(&self, webhook: u32, id: &EventId) -> heed::Result<Option<Located>> {
        let mut found = None;
        self.walk(self.tables.retries, all_of(webhook), Order::Down, |txn, key, _| {
            found = self.located(txn, webhook, id, timed_parts(key).1)?;
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }

    /// Events from C on, then the webhook's chunks.
    fn locate_in_waiting(&self, webhook: u32, id: &EventId) -> heed::Result<Option<Located>> {
        let mut found = None;
        let tail_start = self.tail_start(&*self.env.read_txn()?)?;
        let span = (seq_key(tail_start).to_vec(), seq_key(u64::MAX).to_vec());
        self.walk(self.tables.events, span, Order::Down, |_, key, row| {
            let seq = key_seq(key);
            if let Ok(view) = EventView::parse(&seq_key(seq), row)
                && is_owed(&view, webhook, id)
            {
                found = Some(Located { seq, accepted_ms: view.accepted_at_ms });
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if found.is_some() {
            return Ok(found);
        }
        // Chunk by chunk, for each stands for many events.
        let mut before = parked_key(webhook, u64::MAX);
        loop {
            let txn = self.env.read_txn()?;
            let low = parked_key(webhook, 0);
            let range = (Bound::Included(low.as_slice()), Bound::Excluded(before.as_slice()));
            let Some(row) = self.tables.parked.rev_range(&txn, &range)?.next() else { return Ok(None) };
            let (key, row) = row?;
            let first_seq = parked_seq(key);
            for listed in self.listed(&txn, webhook, first_seq, row)?.into_iter().rev() {
                found = self.located(&txn, webhook, id, listed.seq)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            before = parked_key(webhook, first_seq);
        }
    }

    /// An event, if it has this id and was owed to the webhook.
    fn located(&self, txn: &Txn<'_>, webhook: u32, id: &EventId, seq: u64) -> heed::Result<Option<Located>> {
        let key = seq_key(seq);
        let view = self.tables.events.get(txn, &key)?.and_then(|row| EventView::parse(&key, row).ok());
        let view = view.filter(|view| is_owed(view, webhook, id));
        Ok(view.map(|view| Located { seq, accepted_ms: view.accepted_at_ms }))
    }
}

fn is_owed(view: &EventView<'_>, webhook: u32, id: &EventId) -> bool {
    view.has_id(id) && view.owed().any(|owed| owed & !PARKED_BIT == webhook)
}

/// All rows of a webhook in a table of timed rows.
fn all_of(webhook: u32) -> (Vec<u8>, Vec<u8>) {
    (timed_key(webhook, 0, 0, 0).to_vec(), timed_key(webhook, u64::MAX, u64::MAX, u16::MAX).to_vec())
}

/// When an id of the shape that we make was made, Unix ms.
fn made_ms(id: &EventId) -> Option<u64> {
    let text = id.as_str();
    let is_upper_hex =
        text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    let has_version = text.get(12..13) == Some("7");
    if !is_upper_hex || !has_version {
        return None;
    }
    u64::from_str_radix(text.get(..12)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_we_make_tell_their_time_and_others_do_not() {
        let id = EventId::generate(1_700_000_000_123, 77);
        assert_eq!(made_ms(&id), Some(1_700_000_000_123));
        for other in ["E1", &id.as_str().to_lowercase(), &id.as_str()[1..], &format!("{id}0")] {
            assert_eq!(made_ms(&EventId::parse(other).unwrap()), None, "{other}");
        }
        let version_4 = format!("{}4{}", &id.as_str()[..12], &id.as_str()[13..]);
        assert_eq!(made_ms(&EventId::parse(&version_4).unwrap()), None);
    }
}
