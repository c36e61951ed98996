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
    /// Whether it was read from the retry table (else it comes in the order of events).
    pub is_from_disk: bool,
}

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
    OnDisk { id: Option<DeliveryKey>, due_ms: u64 },
}

#[derive(Debug)]
struct KeyState {
    head: Head,
    /// In memory behind the head, in order of events.
    waiting: BTreeMap<DeliveryKey, u32>,
    /// In the retry table behind the head.
    on_disk: u32,
    /// When those on disk are due at the latest, Unix ms.
    due_ms: u64,
}

/// The keys of one webhook that have something waiting.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    keys: HashMap<u64, KeyState>,
}

impl KeyOrder {
    /// Learns at start of a row of the retry table. Rows come in any order.
    pub(crate) fn learn(&mut self, key: u64, id: DeliveryKey, due_ms: u64) {
        match self.keys.get_mut(&key) {
            None => {
                let head = Head::OnDisk { id: Some(id), due_ms };
                self.keys.insert(key, KeyState { head, waiting: BTreeMap::new(), on_disk: 0, due_ms });
            }
            Some(state) => {
                state.on_disk += 1;
                if let Head::OnDisk { id: Some(head), .. } = state.head
                    && id < head
                {
                    state.head = Head::OnDisk { id: Some(id), due_ms };
                    state.due_ms = due_ms;
                }
            }
        }
    }

    /// A delivery came in as slot `slot`.
    pub(crate) fn admit(&mut self, place: KeyPlace, slot: u32) -> Turn {
        let Some(state) = self.keys.get_mut(&place.key) else {
            let state = KeyState { head: Head::Here, waiting: BTreeMap::new(), on_disk: 0, due_ms: 0 };
            self.keys.insert(place.key, state);
            return Turn::Head;
        };
        match (state.head, place.is_from_disk) {
            (Head::OnDisk { id, .. }, true) if id.is_none_or(|id| id == place.id) => {
                if id.is_none() {
                    state.on_disk = state.on_disk.saturating_sub(1);
                }
                state.head = Head::Here;
                Turn::Head
            }
            // Was counted when it went there.
            (Head::OnDisk { due_ms, .. }, true) => Turn::Back { due_ms },
            (Head::OnDisk { due_ms, .. }, false) => {
                state.on_disk += 1;
                Turn::Back { due_ms }
            }
            (Head::Here, true) => {
                state.on_disk = state.on_disk.saturating_sub(1);
                state.waiting.insert(place.id, slot);
                Turn::Waits
            }
            (Head::Here, false) if state.on_disk > 0 => {
                state.on_disk += 1;
                Turn::Back { due_ms: state.due_ms }
            }
            (Head::Here, false) => {
                state.waiting.insert(place.id, slot);
                Turn::Waits
            }
        }
    }

    /// The head is delivered or dead: the next one in memory, which is the head now.
    pub(crate) fn end_head(&mut self, key: u64) -> Option<u32> {
        let state = self.keys.get_mut(&key)?;
        if let Some((_, slot)) = state.waiting.pop_first() {
            return Some(slot);
        }
        if state.on_disk > 0 {
            state.head = Head::OnDisk { id: None, due_ms: state.due_ms };
        } else {
            self.keys.remove(&key);
        }
        None
    }

    /// The head waits on disk until `due_ms`: everything behind it in memory goes there too, in order.
    pub(crate) fn park_head(&mut self, key: u64, id: DeliveryKey, due_ms: u64) -> Vec<u32> {
        let Some(state) = self.keys.get_mut(&key) else { return Vec::new() };
        state.head = Head::OnDisk { id: Some(id), due_ms };
        state.due_ms = due_ms;
        let behind: Vec<u32> = std::mem::take(&mut state.waiting).into_values().collect();
        state.on_disk += u32::try_from(behind.len()).unwrap_or(u32::MAX);
        behind
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
        KeyPlace { key: 1, id: id(seq), is_from_disk: false }
    }

    fn read(seq: u64) -> KeyPlace {
        KeyPlace { key: 1, id: id(seq), is_from_disk: true }
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
        assert_eq!(order.admit(read(2), 20), Turn::Back { due_ms: 5000 }, "read before its head");
        assert_eq!(order.admit(read(1), 10), Turn::Head);
        assert_eq!(order.admit(fresh(4), 40), Turn::Back { due_ms: 5000 }, "2 and 3 are still on disk");
        for (seq, slot) in [(2, 20), (3, 30), (4, 40)] {
            assert_eq!(order.admit(read(seq), slot), Turn::Waits);
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
        assert_eq!(order.admit(read(1), 10), Turn::Head);
        assert_eq!(order.end_head(1), None);
        assert_eq!(order.len(), 1, "2 is on disk");
        assert_eq!(order.admit(fresh(3), 30), Turn::Back { due_ms: 100 });
        assert_eq!(order.admit(read(2), 20), Turn::Head);
        assert_eq!(order.admit(read(3), 30), Turn::Waits);
    }

    #[test]
    fn after_a_restart_the_oldest_row_is_the_head() {
        let mut order = KeyOrder::default();
        order.learn(1, id(5), 300);
        order.learn(1, id(4), 900);
        order.learn(1, id(6), 300);
        assert_eq!(order.admit(read(5), 50), Turn::Back { due_ms: 900 });
        assert_eq!(order.admit(fresh(7), 70), Turn::Back { due_ms: 900 });
        assert_eq!(order.admit(read(4), 40), Turn::Head);
        for seq in 5..=7 {
            assert_eq!(order.admit(read(seq), 0), Turn::Waits);
        }
        for _ in 0..3 {
            assert!(order.end_head(1).is_some());
        }
        assert_eq!((order.end_head(1), order.len()), (None, 0));
    }
}
