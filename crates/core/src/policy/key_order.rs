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
    /// Number of the read of the retry table that brought it; it tells what was read together.
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
    /// The last read of the retry table of which a row was sent back, and the oldest such row: newer ones read together with
    /// it must go back too, for they were read before it had its new date.
    sent_back: Option<(u64, DeliveryKey)>,
}

impl KeyState {
    fn new(head: Head, on_disk: Option<DeliveryKey>, due_ms: u64) -> Self {
        KeyState { head, waiting: BTreeMap::new(), on_disk, due_ms, last_due_ms: due_ms, sent_back: None }
    }

    fn is_read_too_early(&self, place: KeyPlace) -> bool {
        place.row_due_ms.is_some()
            && self.sent_back.is_some_and(|(read_no, id)| read_no == place.read_no && place.id > id)
    }

    /// The date that what goes (back) to disk is given.
    fn back_ms(&self) -> u64 {
        self.due_ms.max(self.last_due_ms)
    }

    fn back(&mut self, place: KeyPlace) -> Turn {
        self.on_disk = self.on_disk.max(Some(place.id));
        if place.row_due_ms.is_some() {
            let first = self.sent_back.filter(|(read_no, _)| *read_no == place.read_no).map(|(_, id)| id);
            self.sent_back = Some((place.read_no, first.map_or(place.id, |first| first.min(place.id))));
        }
        Turn::Back { due_ms: self.back_ms() }
    }
}

/// The keys of one webhook that have something waiting.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    keys: HashMap<u64, KeyState>,
}

impl KeyOrder {
    /// Learns of a row of the retry table, in any order, also more than once.
    pub(crate) fn learn(&mut self, key: u64, id: DeliveryKey, due_ms: u64) {
        match self.keys.get_mut(&key) {
            None => {
                let state = KeyState::new(Head::OnDisk { id: Some(id) }, Some(id), due_ms);
                self.keys.insert(key, state);
            }
            Some(state) => {
                state.on_disk = state.on_disk.max(Some(id));
                state.last_due_ms = state.last_due_ms.max(due_ms);
                if let Head::OnDisk { id: Some(head) } = state.head
                    && id < head
                {
                    state.head = Head::OnDisk { id: Some(id) };
                    state.due_ms = due_ms;
                }
            }
        }
    }

    /// A delivery came in as slot `slot`.
    pub(crate) fn admit(&mut self, place: KeyPlace, slot: u32) -> Turn {
        let Some(state) = self.keys.get_mut(&place.key) else {
            self.keys.insert(place.key, KeyState::new(Head::Here, None, 0));
            return Turn::Head;
        };
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
                    Some(head) => place.id <= head || (row_due_ms, place.id) > (state.due_ms, head),
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
                state.back(place)
            }
            // After a restart: older than all on disk, it was in memory when they went there.
            (Head::OnDisk { id: Some(head) }, None) if place.id < head => {
                state.head = Head::Here;
                Turn::Head
            }
            (Head::OnDisk { .. }, None) => state.back(place),
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
                state.back(place)
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
mod tests {
    use super::*;
    use crate::Seq;

    fn id(seq: u64) -> DeliveryKey {
        DeliveryKey { seq: Seq(seq), part: 0 }
    }

    fn fresh(seq: u64) -> KeyPlace {
        KeyPlace { key: 1, id: id(seq), row_due_ms: None, at_ms: 40, read_no: 0 }
    }

    fn read(seq: u64, due_ms: u64) -> KeyPlace {
        KeyPlace { key: 1, id: id(seq), row_due_ms: Some(due_ms), at_ms: due_ms, read_no: due_ms }
    }

    #[test]
    fn the_next_begins_when_the_head_ends() {
        let mut order = KeyOrder::default();
        assert_eq!(order.admit(fresh(1), 10), Turn::Head);
        assert_eq!(order.admit(fresh(2), 20), Turn::Waits);
        assert_eq!(order.admit(KeyPlace { key: 2, ..fresh(3) }, 30), Turn::Head, "other keys flow");
        assert_eq!(order.end_head(1), Some(20));
        assert_eq!(order.end_head(1), None);
        assert_eq!(order.end_head(2), None);
        assert_eq!(order.len(), 0, "nothing waits, nothing is kept");
    }

    #[test]
    fn behind_a_parked_head_all_go_to_disk_and_come_back_in_order() {
        let mut order = KeyOrder::default();
        order.admit(fresh(1), 10);
        order.admit(fresh(2), 20);
        assert_eq!(order.park_head(1, id(1), 5000), [20]);
        assert_eq!(order.admit(fresh(3), 30), Turn::Back { due_ms: 5000 });
        assert_eq!(order.admit(read(2, 100), 20), Turn::Back { due_ms: 5000 }, "read before its head");
        assert_eq!(order.admit(read(1, 5000), 10), Turn::Head);
        assert_eq!(order.admit(fresh(4), 40), Turn::Back { due_ms: 5000 }, "2 and 3 are still on disk");
        for (seq, slot) in [(2, 20), (3, 30), (4, 40)] {
            assert_eq!(order.admit(read(seq, 5000), slot), Turn::Waits);
        }
        assert_eq!(order.admit(fresh(5), 50), Turn::Waits);
        let next: Vec<_> = std::iter::from_fn(|| order.end_head(1)).collect();
        assert_eq!(next, [20, 30, 40, 50]);
        assert_eq!(order.len(), 0);
    }

    #[test]
    fn with_the_rest_on_disk_the_first_read_is_the_head() {
        let mut order = KeyOrder::default();
        order.admit(fresh(1), 10);
        order.park_head(1, id(1), 100);
        order.admit(fresh(2), 20);
        assert_eq!(order.admit(read(1, 100), 10), Turn::Head);
        assert_eq!(order.end_head(1), None);
        assert_eq!(order.len(), 1, "2 is on disk");
        assert_eq!(order.admit(fresh(3), 30), Turn::Back { due_ms: 100 });
        assert_eq!(order.admit(read(2, 100), 20), Turn::Head);
        assert_eq!(order.admit(read(3, 100), 30), Turn::Waits);
    }

    #[test]
    fn after_a_restart_the_oldest_row_is_the_head() {
        let mut order = KeyOrder::default();
        order.learn(1, id(5), 300);
        order.learn(1, id(4), 900);
        order.learn(1, id(6), 300);
        assert_eq!(order.admit(read(5, 300), 50), Turn::Back { due_ms: 900 });
        assert_eq!(order.admit(fresh(7), 70), Turn::Back { due_ms: 900 });
        assert_eq!(order.admit(read(4, 900), 40), Turn::Head);
        for seq in 5..=7 {
            assert_eq!(order.admit(read(seq, 900), 0), Turn::Waits);
        }
        for _ in 0..3 {
            assert!(order.end_head(1).is_some());
        }
        assert_eq!((order.end_head(1), order.len()), (None, 0));
    }

    #[test]
    fn a_head_whose_row_is_gone_holds_nobody_up() {
        let mut order = KeyOrder::default();
        order.admit(fresh(1), 10);
        order.park_head(1, id(1), 100);
        assert_eq!(order.admit(fresh(2), 20), Turn::Back { due_ms: 100 });
        assert_eq!(order.admit(read(2, 100), 20), Turn::Head, "1 would have been read before it");
        assert_eq!((order.end_head(1), order.len()), (None, 0));
    }

    #[test]
    fn an_older_one_put_back_goes_first_and_a_younger_one_waits() {
        let mut order = KeyOrder::default();
        order.admit(fresh(5), 50);
        order.park_head(1, id(5), 900);
        order.learn(1, id(3), 200);
        order.learn(1, id(7), 200);
        assert_eq!(order.admit(read(3, 200), 30), Turn::Head);
        assert_eq!(order.admit(read(7, 200), 70), Turn::Waits);
        assert_eq!(order.end_head(1), Some(70), "one that was put back has lost its place");
        assert_eq!(order.admit(read(5, 900), 50), Turn::Waits);
        assert_eq!((order.end_head(1), order.end_head(1), order.len()), (Some(50), None, 0));
    }

    #[test]
    fn behind_a_head_that_was_put_back_new_ones_queue_up_after_all_on_disk() {
        for is_head_there in [true, false] {
            let mut order = KeyOrder::default();
            order.admit(fresh(5), 50);
            order.admit(fresh(6), 60);
            assert_eq!(order.park_head(1, id(5), 900), [60]);
            for (seq, due_ms) in [(3, 200), (5, 900), (6, 900)] {
                order.learn(1, id(seq), due_ms);
            }
            assert_eq!(order.admit(fresh(7), 70), Turn::Back { due_ms: 900 }, "not before 5 and 6");
            if is_head_there {
                assert_eq!(order.admit(read(3, 200), 30), Turn::Head);
                assert_eq!(order.admit(fresh(8), 80), Turn::Back { due_ms: 900 });
                assert_eq!(order.end_head(1), None);
            }
            assert_eq!(order.admit(read(5, 900), 50), Turn::Head);
            assert_eq!(order.admit(read(6, 900), 60), Turn::Waits);
        }
    }

    #[test]
    fn the_youngest_put_back_lets_nobody_pass_those_that_wait_longer() {
        let mut order = KeyOrder::default();
        order.admit(fresh(5), 50);
        order.admit(fresh(6), 60);
        assert_eq!(order.park_head(1, id(5), 900), [60]);
        for (seq, due_ms) in [(2, 200), (7, 200), (5, 900), (6, 900)] {
            order.learn(1, id(seq), due_ms);
        }
        assert_eq!(order.admit(read(2, 200), 20), Turn::Head);
        assert_eq!(order.admit(read(7, 200), 70), Turn::Waits);
        assert_eq!(order.admit(fresh(8), 80), Turn::Back { due_ms: 900 });
        assert_eq!((order.end_head(1), order.end_head(1)), (Some(70), None));
        for (seq, turn) in [(5, Turn::Head), (6, Turn::Waits), (8, Turn::Waits)] {
            assert_eq!(order.admit(read(seq, 900), 0), turn);
        }
        for _ in 0..3 {
            order.end_head(1);
        }
        assert_eq!(order.len(), 0);
    }

    #[test]
    fn a_key_with_much_to_deliver_leaves_memory_to_others_and_keeps_its_order() {
        let mut order = KeyOrder::default();
        assert_eq!(order.admit(fresh(0), 0), Turn::Head);
        for seq in 1..=64 {
            assert_eq!(order.admit(fresh(seq), seq as u32), Turn::Waits);
        }
        assert_eq!(order.admit(fresh(65), 65), Turn::Back { due_ms: 90 });
        assert_eq!(order.admit(fresh(66), 66), Turn::Back { due_ms: 90 });
        assert_eq!(order.admit(read(65, 90), 65), Turn::Back { due_ms: 140 }, "still no room");
        assert_eq!(order.end_head(1), Some(1));
        assert_eq!(order.admit(read(66, 90), 66), Turn::Back { due_ms: 140 }, "not before 65");
        assert_eq!(order.admit(fresh(67), 67), Turn::Back { due_ms: 140 });
        for seq in 2..=64 {
            assert_eq!(order.end_head(1), Some(seq as u32));
        }
        for seq in 65..=67 {
            assert_eq!(order.admit(read(seq, 140), seq as u32), Turn::Waits);
            assert_eq!(order.end_head(1), Some(seq as u32));
        }
        assert_eq!((order.end_head(1), order.len()), (None, 0));
    }

    #[test]
    fn after_a_restart_what_was_in_memory_goes_before_what_found_no_room_there() {
        let mut order = KeyOrder::default();
        order.learn(1, id(65), 90);
        order.learn(1, id(66), 50);
        assert_eq!(order.admit(fresh(1), 10), Turn::Head, "older than all on disk");
        assert_eq!(order.admit(fresh(2), 20), Turn::Back { due_ms: 90 });
        assert_eq!(order.end_head(1), None);
        assert_eq!(order.admit(read(66, 50), 66), Turn::Back { due_ms: 90 }, "an early date says nothing");
        for (seq, turn) in [(2, Turn::Head), (65, Turn::Waits), (66, Turn::Waits)] {
            assert_eq!(order.admit(read(seq, 90), seq as u32), turn);
        }
        assert_eq!((order.end_head(1), order.end_head(1), order.end_head(1)), (Some(65), Some(66), None));
    }

    #[test]
    fn rows_read_together_with_an_older_one_that_is_sent_back_go_back_too() {
        let mut order = KeyOrder::default();
        for seq in 1..=3 {
            order.admit(fresh(seq), seq as u32);
        }
        order.park_head(1, id(1), 900);
        let together = |seq, due_ms| KeyPlace { read_no: 7, ..read(seq, due_ms) };
        assert_eq!(order.admit(together(2, 500), 2), Turn::Back { due_ms: 900 });
        assert_eq!(order.admit(together(1, 900), 1), Turn::Head);
        assert_eq!(order.admit(together(3, 900), 3), Turn::Back { due_ms: 900 }, "2 is not here yet");
        assert_eq!(order.end_head(1), None);
        let next = |seq| KeyPlace { read_no: 8, ..read(seq, 900) };
        assert_eq!((order.admit(next(2), 2), order.admit(next(3), 3)), (Turn::Head, Turn::Waits));
    }
}
