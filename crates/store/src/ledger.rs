//! What the writer knows and the rules by which a transaction changes it: the heart of the store.
//!
//! A [`Ledger`] is a function of what is on disk: after an aborted transaction it is rebuilt by [`Ledger::load`], so no
//! rule here needs an undo. A [`Group`] is the scratch of one transaction.

use crate::dead_letters::hour_of;
use crate::number_set::NumberSet;
use crate::options::Retention;
use crate::parking::Parking;
use crate::record::event::{EventView, OwedList};
use crate::record::frame::Damaged;
use crate::record::state::StateRow;
use crate::record::{attempt, progress, state};
use crate::standing::{EventState, Standing};
use crate::tables::{Tables, Txn, attempts_key, key_no, key_seq, seq_key};
use crate::tail::Tail;
use crate::waiting::Waiting;
use crate::window::Window;
use fanfare_core::WebhookNo;
use fanfare_core::delivery::Settlement;
use heed::RwTxn;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const MS_PER_HOUR: u64 = 3_600_000;

/// Events without anything owed that one commit passes in search of the oldest that is owed.
const PASSED_MAX: usize = 512;

/// Counts damaged records, for the metrics; every one is also logged where it is found.
#[derive(Clone, Default)]
pub(crate) struct DamageCount(Arc<AtomicU64>);

impl DamageCount {
    /// Logs and counts one.
    pub(crate) fn report(&self, damage: Damaged, place: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
        tracing::error!(place, "{damage}: set aside");
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The scratch of one transaction.
#[derive(Default)]
pub(crate) struct Group {
    /// States of events that are not in the tail, read in this transaction.
    pub(crate) loaded: HashMap<u64, EventState>,
    /// Events changed in this transaction.
    pub(crate) dirty: Vec<u64>,
    pub(crate) parking: Parking,
    /// Rows of attempts by hour and webhook; the finished ones, then the open one.
    attempts: BTreeMap<(u32, u32), Vec<Vec<u8>>>,
    /// Unix ms of the transaction.
    pub(crate) now_ms: u64,
}

impl Group {
    pub(crate) fn at(now_ms: u64) -> Self {
        Group { now_ms, ..Group::default() }
    }

    /// Records an attempt, or an end without one, of the body that it turned out to be.
    pub(crate) fn record(&mut self, settlement: &Settlement, part: u16) {
        let hour = hour_of(settlement.at_ms);
        let rows = self.attempts.entry((hour, settlement.webhook.0)).or_default();
        if rows.last().is_none_or(|row| row.len() >= attempt::ROW_BYTES_MAX) {
            rows.push(attempt::begin());
        }
        if let Some(row) = rows.last_mut() {
            attempt::push(row, settlement, part);
        }
    }

    /// Notes that an event changed.
    pub(crate) fn touch(dirty: &mut Vec<u64>, seq: u64, state: &mut EventState) {
        if !state.is_dirty {
            state.is_dirty = true;
            dirty.push(seq);
        }
    }
}

/// What is known of an event.
pub(crate) enum Found<'s> {
    /// It is there.
    Present(&'s mut EventState),
    /// Everything owed of it has ended.
    Gone,
    /// Its header is damaged; it stands in `damaged`.
    SetAside,
}

/// What bounds a ledger.
pub(crate) struct Limits {
    pub(crate) tail_events_max: usize,
    pub(crate) window: Window,
    pub(crate) backlog_max: u64,
    pub(crate) retention: Retention,
}

/// See the module.
pub(crate) struct Ledger {
    pub(crate) tables: Tables,
    pub(crate) state: StateRow,
    pub(crate) tail: Tail,
    pub(crate) waiting: Waiting,
    pub(crate) window: Window,
    /// Webhooks that exist.
    pub(crate) live: NumberSet,
    /// Deleted webhooks whose rows are being removed, and how far the tail has been searched for each.
    pub(crate) reaping: VecDeque<(u32, u64)>,
    /// Webhooks moved to the backlog index by a checkpoint, not yet told to anyone.
    pub(crate) unreported: BTreeSet<WebhookNo>,
    /// Rows in `damaged`.
    set_aside: u64,
    /// Events whose headers the last scan from C could not read.
    unreadable: Vec<u64>,
    pub(crate) backlog_max: u64,
    pub(crate) retention: Retention,
    /// Place of the next event when the store was opened: where events end that an earlier setting may have kept.
    pub(crate) kept_before: u64,
    /// Nothing is owed of events before it, as far as is known.
    oldest_pending: u64,
    /// When the event there was accepted, Unix ms.
    pub(crate) oldest_pending_ms: Option<u64>,
    pub(crate) damage: DamageCount,
}

impl Ledger {
    /// Reads what is on disk. `None`: the state row is damaged.
    pub(crate) fn load(
        tables: Tables,
        txn: &Txn<'_>,
        limits: Limits,
        damage: DamageCount,
        now_ms: u64,
    ) -> heed::Result<Result<Self, Damaged>> {
        let Limits { tail_events_max, window, backlog_max, retention } = limits;
        let mut ledger = Ledger {
            tables,
            state: StateRow::default(),
            tail: Tail::new(tail_events_max),
            waiting: Waiting::default(),
            window,
            live: NumberSet::default(),
            reaping: VecDeque::new(),
            unreported: BTreeSet::new(),
            set_aside: 0,
            unreadable: Vec::new(),
            backlog_max,
            retention,
            kept_before: 0,
            oldest_pending: 0,
            oldest_pending_ms: None,
            damage,
        };
        let loaded = ledger.reload(txn, now_ms)?;
        ledger.kept_before = ledger.state.next_seq;
        Ok(loaded.map(|()| ledger))
    }

    /// Puts what is on disk in place of what is in memory, after a transaction was given up.
    pub(crate) fn reload(&mut self, txn: &Txn<'_>, now_ms: u64) -> heed::Result<Result<(), Damaged>> {
        self.state = match self.tables.state.get(txn, state::KEY)?.map(StateRow::decode) {
            None => StateRow::default(),
            Some(Ok(row)) => row,
            Some(Err(damaged)) => return Ok(Err(damaged)),
        };
        for (commit, damaged) in self.window.load(self.tables.ids, txn, now_ms)? {
            self.damage.report(damaged, commit);
        }
        self.set_aside = self.tables.damaged.len(txn)?;
        self.live = NumberSet::default();
        for row in self.tables.routes.iter(txn)? {
            self.live.insert(key_no(row?.0));
        }
        self.reaping.clear();
        for row in self.tables.reaping.iter(txn)? {
            self.reaping.push_back((key_no(row?.0), 0));
        }
        // What was given up may have passed events that are owed again.
        self.oldest_pending = 0;
        self.tail = Tail::new(self.tail.events_max());
        self.waiting = Waiting::default();
        self.unreadable.clear();
        let from = seq_key(self.state.tail_start);
        for row in self.tables.events.range(txn, &(Bound::Included(from.as_slice()), Bound::Unbounded))? {
            let (key, row) = row?;
            let seq = key_seq(key);
            let Ok(state) = read_state(&self.tables, txn, seq, row, &self.damage)? else {
                // Recovery lists what waited of it; chunks and retries that name it become dead letters when they are
                // read.
                self.unreadable.push(seq);
                continue;
            };
            if state.has_waiting() {
                self.tail.insert(seq, state);
            } else {
                self.tail.count_stray(seq + 1);
            }
        }
        Ok(Ok(()))
    }

    /// Finds an event's state: in the tail, among those read in this transaction, or on disk.
    pub(crate) fn find<'a>(
        &'a mut self,
        txn: &mut RwTxn<'_>,
        loaded: &'a mut HashMap<u64, EventState>,
        seq: u64,
    ) -> heed::Result<Found<'a>> {
        let Ledger { tail, tables, damage, set_aside, .. } = self;
        if let Some(state) = tail.get_mut(seq) {
            return Ok(Found::Present(state));
        }
        let vacant = match loaded.entry(seq) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                return Ok(Found::Present(entry.into_mut()));
            }
            std::collections::hash_map::Entry::Vacant(entry) => entry,
        };
        let key = seq_key(seq);
        let Some(row) = tables.events.get(txn, &key)? else {
            let is_set_aside = *set_aside > 0 && tables.damaged.get(txn, &key)?.is_some();
            return Ok(if is_set_aside { Found::SetAside } else { Found::Gone });
        };
        match read_state(tables, txn, seq, row, damage)? {
            Ok(state) => Ok(Found::Present(vacant.insert(state))),
            Err(_) => {
                *set_aside += move_aside(tables, txn, seq, damage)?;
                Ok(Found::SetAside)
            }
        }
    }

    /// Whether an entry of an event that was set aside is owed by way of a chunk.
    pub(crate) fn is_open_aside(&self, txn: &Txn<'_>, seq: u64, index: u32) -> heed::Result<bool> {
        let key = seq_key(seq);
        let row = self.tables.progress.get(txn, &key)?;
        Ok(match row.map(|row| progress::look_up(&key, row, index)) {
            Some(Ok((standing, _))) => standing.is_open(),
            None | Some(Err(_)) => true,
        })
    }

    /// Moves the events that the last scan could not read out of the way. What waited of them is known from their
    /// lists alone, so these are read as they are and what they name is listed in chunks, to become dead letters.
    pub(crate) fn set_unreadable_aside(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
    ) -> heed::Result<()> {
        for seq in std::mem::take(&mut self.unreadable) {
            let key = seq_key(seq);
            let row = self.tables.events.get(txn, &key)?;
            let guess = row.and_then(EventView::guess_owed).unwrap_or_default();
            if guess.is_empty() {
                tracing::error!(seq, "the list of who was owed a damaged event is lost with it");
            }
            let mut state = EventState::new(guess, 0);
            if let Some(row) = self.tables.progress.get(txn, &key)? {
                // One that does not fit the guess tells nothing.
                let _ = progress::restore(&key, row, &mut state);
            }
            for (index, webhook, standing) in state.iter() {
                if standing == Standing::Waiting && self.live.contains(webhook) {
                    group.parking.add(webhook, seq, index, 0);
                }
            }
            self.set_aside += move_aside(&self.tables, txn, seq, &self.damage)?;
        }
        group.parking.flush(self.tables.parked, txn)
    }

    /// Counts a delivery that ended.
    pub(crate) fn end_deliveries(&mut self, count: u64) {
        self.state.backlog = self.state.backlog.saturating_sub(count);
    }

    /// Writes everything the transaction changed but has not put down yet. The last step before the commit.
    pub(crate) fn flush(&mut self, txn: &mut RwTxn<'_>, group: &mut Group) -> heed::Result<()> {
        group.parking.flush(self.tables.parked, txn)?;
        group.dirty.sort_unstable();
        for seq in group.dirty.drain(..) {
            let (state, is_in_tail) = match self.tail.get_mut(seq) {
                Some(state) => (state, true),
                None => match group.loaded.get_mut(&seq) {
                    Some(state) => (state, false),
                    None => continue,
                },
            };
            state.is_dirty = false;
            let key = seq_key(seq);
            let is_kept = self.retention.bodies_seconds > 0 && seq >= self.state.swept;
            if state.is_finished() && !is_kept {
                self.tables.events.delete(txn, &key)?;
                if state.has_row {
                    self.tables.progress.delete(txn, &key)?;
                }
                self.tail.remove(seq);
                group.loaded.remove(&seq);
                continue;
            }
            self.tables.progress.put(txn, &key, &progress::encode(&key, state))?;
            state.has_row = true;
            if is_in_tail && !state.has_waiting() {
                self.tail.remove(seq);
                self.tail.count_stray(self.state.next_seq);
            }
        }
        self.state.commit += 1;
        let commit = self.state.commit;
        for ((hour, webhook), rows) in std::mem::take(&mut group.attempts) {
            for (n, mut row) in (0..).zip(rows) {
                let key = attempts_key(hour, webhook, commit, n);
                attempt::finish(&mut row, &key);
                self.tables.attempts.put(txn, &key, &row)?;
            }
        }
        self.window.flush(self.tables.ids, txn, commit, group.now_ms)?;
        if self.retention.bodies_seconds == 0 && self.state.swept >= self.kept_before {
            self.state.swept = self.state.next_seq;
        }
        self.state.tail_start = self.tail.start(self.state.next_seq);
        self.find_oldest_pending(txn)?;
        self.tables.state.put(txn, state::KEY, &self.state.encode())
    }
}

impl Ledger {
    /// Notes that something is owed of an event again.
    pub(crate) fn note_pending(&mut self, seq: u64) {
        self.oldest_pending = self.oldest_pending.min(seq);
    }

    /// Moves on to the oldest event of which anything is owed: past dead letters and kept bodies, so many in a commit.
    fn find_oldest_pending(&mut self, txn: &Txn<'_>) -> heed::Result<()> {
        if self.state.backlog == 0 {
            self.oldest_pending = self.state.next_seq;
        }
        let from = seq_key(self.oldest_pending);
        let range = (Bound::Included(from.as_slice()), Bound::Unbounded);
        self.oldest_pending_ms = None;
        for (passed, row) in self.tables.events.range(txn, &range)?.enumerate() {
            let (key, row) = row?;
            let seq = key_seq(key);
            self.oldest_pending = seq;
            let is_pending = self.tail.contains(seq)
                || look_at_state(&self.tables, txn, seq, row)?.is_ok_and(|(state, _)| state.has_pending());
            // One whose header is damaged tells nothing; what was owed of it becomes dead letters.
            if is_pending || passed >= PASSED_MAX {
                let view = EventView::parse(&seq_key(seq), row);
                self.oldest_pending_ms = view.ok().map(|view| view.accepted_at_ms);
                return Ok(());
            }
            self.oldest_pending = seq + 1;
        }
        Ok(())
    }
}

/// Moves an event whose header is damaged to `damaged`, as it was found. Returns how many rows that were.
fn move_aside(tables: &Tables, txn: &mut RwTxn<'_>, seq: u64, damage: &DamageCount) -> heed::Result<u64> {
    let key = seq_key(seq);
    let Some(row) = tables.events.get(txn, &key)?.map(<[u8]>::to_vec) else { return Ok(0) };
    damage.report(Damaged("event"), seq);
    tables.damaged.put(txn, &key, &row)?;
    tables.events.delete(txn, &key)?;
    // The progress row stays: it tells which entries a chunk lists although they ended or wait for a retry.
    Ok(1)
}

/// Reads an event's state from its row and its progress row. `Err`: the header is damaged.
pub(crate) fn read_state(
    tables: &Tables,
    txn: &Txn<'_>,
    seq: u64,
    row: &[u8],
    damage: &DamageCount,
) -> heed::Result<Result<EventState, Damaged>> {
    let read = look_at_state(tables, txn, seq, row)?;
    Ok(read.map(|(state, damaged)| {
        if let Some(damaged) = damaged {
            damage.report(damaged, seq);
        }
        state
    }))
}

/// The same without reporting a damaged progress row, for those who only look: also gives the damage.
pub(crate) fn look_at_state(
    tables: &Tables,
    txn: &Txn<'_>,
    seq: u64,
    row: &[u8],
) -> heed::Result<Result<(EventState, Option<Damaged>), Damaged>> {
    let key = seq_key(seq);
    let view = match EventView::parse(&key, row) {
        Ok(view) => view,
        Err(damaged) => return Ok(Err(damaged)),
    };
    let owed: OwedList = view.owed().collect();
    let mut state = EventState::new(owed, u32::try_from(row.len()).unwrap_or(u32::MAX));
    let mut found = None;
    if let Some(row) = tables.progress.get(txn, &key)?
        && let Err(damaged) = progress::restore(&key, row, &mut state)
    {
        found = Some(damaged);
        state.has_row = true;
    }
    Ok(Ok((state, found)))
}

#[cfg(test)]
mod tests {
    use crate::ledger::Group;
    use crate::tables::no_key;
    use crate::testing;

    /// What an aborted transaction deleted once stayed deleted in memory, and its deliveries were dropped.
    #[test]
    fn an_aborted_transaction_leaves_no_trace_in_memory() {
        let (mut opened, _dir) = testing::opened(|_| {});
        let mut txn = opened.env.write_txn().unwrap();
        opened.tables.routes.put(&mut txn, &no_key(1), b"row").unwrap();
        txn.commit().unwrap();
        let txn = opened.env.read_txn().unwrap();
        opened.ledger.reload(&txn, 0).unwrap().unwrap();
        drop(txn);

        let mut txn = opened.env.write_txn().unwrap();
        let mut group = Group::at(0);
        let deletion = crate::change::PreparedChange::DeleteWebhook(fanfare_core::WebhookNo(1));
        opened.ledger.change(&mut txn, &mut group, vec![deletion]).unwrap().unwrap();
        assert!(!opened.ledger.live.contains(1) && opened.ledger.has_reaping());
        txn.abort();
        let txn = opened.env.read_txn().unwrap();
        opened.ledger.reload(&txn, 0).unwrap().unwrap();
        assert!(opened.ledger.live.contains(1) && !opened.ledger.has_reaping());
    }
}
