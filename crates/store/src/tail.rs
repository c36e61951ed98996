//! The tail: events that someone in memory is working on, so that a first-attempt success needs no read.

use crate::standing::EventState;
use std::collections::{BTreeMap, VecDeque};

/// Entries the tail holds at most, over all events.
pub(crate) const TAIL_ENTRIES_MAX: usize = 1024 * 1024;
/// Rows a scan from C may pass that are not in the tail, as a multiple of the tail's events.
const STRAYS_PER_EVENT: usize = 4;

/// Events with at least one waiting entry, by place, and how many other rows stand among them.
pub(crate) struct Tail {
    events: BTreeMap<u64, EventState>,
    entry_count: usize,
    events_max: usize,
    /// Event rows at or after C that are not in `events` (parked, failing, dead), counted in runs: (first place,
    /// rows). They bound the scan of a recovery, so they count towards a checkpoint.
    strays: VecDeque<(u64, usize)>,
}

impl Tail {
    pub(crate) fn new(events_max: usize) -> Self {
        Tail {
            events: BTreeMap::new(),
            entry_count: 0,
            events_max: events_max.max(1),
            strays: VecDeque::new(),
        }
    }

    /// The limit it was made with.
    pub(crate) fn events_max(&self) -> usize {
        self.events_max
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Entries of its events, ended ones too.
    pub(crate) fn entry_count(&self) -> usize {
        self.entry_count
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut EventState> {
        self.events.get_mut(&seq)
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.events.contains_key(&seq)
    }

    pub(crate) fn insert(&mut self, seq: u64, state: EventState) {
        self.entry_count += state.count() as usize;
        self.events.insert(seq, state);
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<EventState> {
        let state = self.events.remove(&seq)?;
        self.entry_count -= state.count() as usize;
        Some(state)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &EventState)> {
        self.from(0)
    }

    pub(crate) fn from(&self, seq: u64) -> impl Iterator<Item = (u64, &EventState)> {
        self.events.range(seq..).map(|(seq, state)| (*seq, state))
    }

    /// C: the first event in it, or `next_seq`. Forgets strays before it.
    pub(crate) fn start(&mut self, next_seq: u64) -> u64 {
        let start = self.events.first_key_value().map_or(next_seq, |(seq, _)| *seq);
        while let Some((_, _)) = self.strays.front()
            && self.strays.get(1).map_or(next_seq, |(from, _)| *from) <= start
        {
            self.strays.pop_front();
        }
        start
    }

    /// Counts an event row at or after C that is not in the tail.
    pub(crate) fn count_stray(&mut self, next_seq: u64) {
        let run_max = self.events_max.div_ceil(STRAYS_PER_EVENT).max(1);
        match self.strays.back_mut() {
            Some((_, rows)) if *rows < run_max => *rows += 1,
            _ => self.strays.push_back((next_seq, 1)),
        }
    }

    fn stray_count(&self) -> usize {
        self.strays.iter().map(|(_, rows)| rows).sum()
    }

    /// Where the tail should begin, when it is over a limit: everything before goes into the backlog index.
    pub(crate) fn checkpoint_before(&self, next_seq: u64) -> Option<u64> {
        if self.events.len() > self.events_max {
            return self.events.keys().nth(self.events.len().div_ceil(2)).copied().or(Some(next_seq));
        }
        if self.entry_count > TAIL_ENTRIES_MAX {
            let mut passed = 0;
            for (seq, state) in &self.events {
                if passed * 2 >= self.entry_count {
                    return Some(*seq);
                }
                passed += state.count() as usize;
            }
            return Some(next_seq);
        }
        let strays = self.stray_count();
        if strays > STRAYS_PER_EVENT * self.events_max && !self.events.is_empty() {
            let mut passed = 0;
            for (at, (_, rows)) in self.strays.iter().enumerate() {
                passed += rows;
                if passed * 2 >= strays {
                    return Some(self.strays.get(at + 1).map_or(next_seq, |(from, _)| *from));
                }
            }
        }
        None
    }

    /// Takes out everything before `seq`.
    pub(crate) fn take_before(&mut self, seq: u64) -> BTreeMap<u64, EventState> {
        let kept = self.events.split_off(&seq);
        let taken = std::mem::replace(&mut self.events, kept);
        self.entry_count -= taken.values().map(|state| state.count() as usize).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::event::OwedList;

    fn state(count: usize) -> EventState {
        EventState::new(OwedList::from_elem(1, count), 10)
    }

    #[test]
    fn too_many_events_move_the_older_half() {
        let mut tail = Tail::new(4);
        for seq in 10..14 {
            tail.insert(seq, state(1));
        }
        assert_eq!(tail.checkpoint_before(14), None);
        tail.insert(14, state(1));
        assert_eq!(tail.checkpoint_before(15), Some(13));
        assert_eq!(tail.take_before(13).len(), 3);
        assert_eq!(tail.start(15), 13);
        assert_eq!(tail.entry_count, 2);
    }

    #[test]
    fn too_many_entries_move_the_older_half() {
        let mut tail = Tail::new(100);
        tail.insert(1, state(TAIL_ENTRIES_MAX));
        assert_eq!(tail.checkpoint_before(2), None);
        tail.insert(2, state(1));
        assert_eq!(tail.checkpoint_before(3), Some(2));
    }

    #[test]
    fn rows_that_are_not_in_the_tail_bound_the_scan_too() {
        let mut tail = Tail::new(4);
        tail.insert(1, state(1));
        for seq in 2..18 {
            tail.count_stray(seq);
        }
        assert_eq!(tail.checkpoint_before(18), None);
        tail.count_stray(18);
        let before = tail.checkpoint_before(19).unwrap();
        assert!(before > 1 && before < 19, "{before}");
        assert_eq!(tail.take_before(before).len(), 1);
        assert_eq!(tail.start(19), 19);
        assert_eq!(tail.stray_count(), 0, "C passed them all");
    }
}
