//! Order within a key (D5): of one key at most one delivery is in flight; a later one waits until the earlier is
//! delivered or dead; other keys flow.
//!
//! A key is known here only while it has something waiting or in flight. Of its deliveries one is the *head*, which may
//! be attempted. When the head must wait for a retry it goes to disk, and everything behind it goes there too, due at
//! the same time: the store reads due rows by (time, event), so the head comes back first. So memory holds nothing of
//! a key that waits for a retry but one small record.

use crate::delivery::DeliveryKey;
use std::collections::{BTreeMap, HashMap};

/// Where a delivery stands among those of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// Hash of the ordering key.
    pub key: u64,
    /// Which delivery.
    pub id: DeliveryKey,
    /// When its row of the retry table was due, Unix ms; `None`: it has none, and comes in the order of events.
    pub row_due_ms: Option<u64>,
    /// When it is handed in, Unix ms.
    pub at_ms: u64,
    /// Number of the read of the retry table that brought it ([`Machine::begin_read`]); it tells what was read together, and
    /// what had begun by then.
    ///
    /// [`Machine::begin_read`]: crate::policy::delivery::Machine::begin_read
    pub read_no: u64,
}

/// Of one key so many wait in memory behind the head; further ones wait in the retry table, so that a key with much to
/// deliver leaves the window to others.
const WAITING_MAX: usize = 64;
/// For so long.
const SPILL_MS: u64 = 50;

/// What is to be done with a delivery that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may be attempted.
    Head,
    /// It stays in memory behind the head.
    Waits,
    /// It goes (back) to disk until then, Unix ms.
    Back {
        /// When the head is due.
        due_ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Head {
    /// In the machine, ready or in flight.
    Here,
    /// In the retry table. `None`: the first of this key that is read from there.
    OnDisk { id: Option<DeliveryKey> },
}

#[derive(Debug)]
struct KeyState {
    head: Head,
    /// In memory behind the head, in order of events.
    waiting: BTreeMap<DeliveryKey, u32>,
    /// The last in the retry table, as far as is known: what is newer must queue up there behind it. A name and not a
    /// count, so that a row learnt twice, or gone without a word, puts nothing out of step.
    on_disk: Option<DeliveryKey>,
    /// When the head is due, or was, Unix ms: no row with an earlier date comes in the order of events.
    due_ms: u64,
    /// When the last of those on disk are due, Unix ms: later than the head, when the head was put back. What goes there
    /// is given this date, so that it is not read before one that is older.
    last_due_ms: u64,
    /// Rows that were sent back, with the last read of the retry table that had begun by then: what it brings does not tell of
    /// their new dates, so what is newer must go back too. Only while such a read is not through.
    sent_back: BTreeMap<DeliveryKey, u64>,
    /// The last read of the retry table that began before the head went there: it says nothing of where the head is.
    head_unseen_by: u64,
}

impl KeyState {
    fn new(head: Head, on_disk: Option<DeliveryKey>, due_ms: u64, read_no: u64) -> Self {
        KeyState {
            head,
            waiting: BTreeMap::new(),
            on_disk,
            due_ms,
            last_due_ms: due_ms,
            sent_back: BTreeMap::new(),
            head_unseen_by: read_no,
        }
    }

    /// What the reads before this row's brought is through. Only the oldest counts, so those behind it are looked at when
    /// they are.
    fn forget_sent_back(&mut self, place: KeyPlace) {
        if place.row_due_ms.is_none() {
            return;
        }
        while let Some(oldest) = self.sent_back.first_entry()
            && *oldest.get() < place.read_no
        {
            oldest.remove();
        }
    }

    fn is_read_too_early(&self, place: KeyPlace) -> bool {
        place.row_due_ms.is_some() && self.sent_back.first_key_value().is_some_and(|(id, _)| *id < place.id)
    }

    /// The date that what goes (back) to disk is given.
    fn back_ms(&self) -> u64 {
        self.due_ms.max(self.last_due_ms)
    }

    /// `known`: `on_disk` and `last_due_ms` as they were before `place` was taken for the last on disk. `read_no`: the last
    /// read that began.
    fn back(&mut self, place: KeyPlace, known: (Option<DeliveryKey>, u64), read_no: u64) -> Turn {
        self.on_disk = known.0.max(Some(place.id));
        self.last_due_ms = known.1;
        if place.row_due_ms.is_some() {
            self.sent_back.insert(place.id, read_no);
        }
        Turn::Back { due_ms: self.back_ms() }
    }
}

/// The keys of one webhook that have something waiting.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    keys: HashMap<u64, KeyState>,
    /// Number of the last read of the retry table that began.
    read_no: u64,
}

impl KeyOrder {
    pub(crate) fn begin_read(&mut self) {
        self.read_no += 1;
    }

    pub(crate) fn read_no(&self) -> u64 {
        self.read_no
    }

    /// Learns of a row of the retry table, in any order, also more than once.
    pub(crate) fn learn(&mut self, key: u64, id: DeliveryKey, due_ms: u64) {
        match self.keys.get_mut(&key) {
            None => {
                let state = KeyState::new(Head::OnDisk { id: Some(id) }, Some(id), due_ms, self.read_no);
                self.keys.insert(key, state);
            }
            Some(state) => {
                state.on_disk = state.on_disk.max(Some(id));
                state.last_due_ms = state.last_due_ms.max(due_ms);
                if let Head::OnDisk { id: Some(head) } = state.head
                    && id < head
                {
                    // The row of the one that was taken for the head is there still.
                    state.last_due_ms = state.last_due_ms.max(state.due_ms);
                    state.head = Head::OnDisk { id: Some(id) };
                    state.head_unseen_by = self.read_no;
                    state.due_ms = due_ms;
                }
            }
        }
    }

    /// A delivery came in as slot `slot`.
    pub(crate) fn admit(&mut self, place: KeyPlace, slot: u32) -> Turn {
        let Some(state) = self.keys.get_mut(&place.key) else {
            self.keys.insert(place.key, KeyState::new(Head::Here, None, 0, 0));
            return Turn::Head;
        };
        state.forget_sent_back(place);
        state.sent_back.remove(&place.id);
        let known = (state.on_disk, state.last_due_ms);
        // One that was put back is read before older ones with later dates, which are there still.
        if place.row_due_ms >= Some(state.last_due_ms) && state.on_disk == Some(place.id) {
            state.on_disk = None;
            state.last_due_ms = 0;
        }
        match (state.head, place.row_due_ms) {
            (Head::OnDisk { id }, Some(row_due_ms)) => {
                // Rows are read in order of (due, event). One that stands behind the head and is read before it
                // shows that the head's row is gone (damaged, dropped): it must not hold up the others for ever.
                let may_lead = match id {
                    Some(head) => {
                        let is_after = (row_due_ms, place.id) > (state.due_ms, head);
                        place.id <= head || (is_after && place.read_no > state.head_unseen_by)
                    }
                    // Whoever comes with the latest date comes in the order of events; others are given it first.
                    None => row_due_ms >= state.back_ms(),
                };
                if may_lead && !state.is_read_too_early(place) {
                    if let Some(head) = id.filter(|head| *head > place.id) {
                        state.on_disk = state.on_disk.max(Some(head));
                    }
                    state.head = Head::Here;
                    return Turn::Head;
                }
                state.back(place, known, self.read_no)
            }
            // After a restart: older than all on disk, it was in memory when they went there.
            (Head::OnDisk { id: Some(head) }, None) if place.id < head => {
                state.head = Head::Here;
                Turn::Head
            }
            (Head::OnDisk { .. }, None) => state.back(place, known, self.read_no),
            (Head::Here, row_due_ms) => {
                let comes_in_order = match row_due_ms {
                    Some(row_due_ms) => row_due_ms >= state.due_ms && !state.is_read_too_early(place),
                    None => state.on_disk.is_none(),
                };
                let has_room = state.waiting.len() < WAITING_MAX;
                if comes_in_order && has_room {
                    state.waiting.insert(place.id, slot);
                    return Turn::Waits;
                }
                if comes_in_order {
                    state.due_ms = place.at_ms.saturating_add(SPILL_MS);
                }
                state.back(place, known, self.read_no)
            }
        }
    }

    /// The head is delivered or dead: the next one in memory, which is the head now.
    pub(crate) fn end_head(&mut self, key: u64) -> Option<u32> {
        let state = self.keys.get_mut(&key)?;
        if let Some((_, slot)) = state.waiting.pop_first() {
            return Some(slot);
        }
        if state.on_disk.is_some() {
            state.head = Head::OnDisk { id: None };
        } else {
            self.keys.remove(&key);
        }
        None
    }

    /// The head waits on disk until `due_ms`: everything behind it in memory goes there too, in order.
    pub(crate) fn park_head(&mut self, key: u64, id: DeliveryKey, due_ms: u64) -> Vec<u32> {
        let Some(state) = self.keys.get_mut(&key) else { return Vec::new() };
        state.head = Head::OnDisk { id: Some(id) };
        state.head_unseen_by = self.read_no;
        // What was learnt when the former head was put back is still there.
        state.last_due_ms = state.last_due_ms.max(state.due_ms);
        state.due_ms = due_ms;
        let last = state.waiting.last_key_value().map_or(id, |(last, _)| *last);
        state.on_disk = state.on_disk.max(Some(last));
        std::mem::take(&mut state.waiting).into_values().collect()
    }

    /// Forgets everything in memory, for a webhook that is given up.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
    }

    /// Keys that have something waiting or in flight.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests;
