//! Where every entry of one event stands: the two bits of the design note, in memory and on disk alike.
//!
//! An *entry* is one webhook in the event's owed list; it has *parts* only once a settlement told that it rendered to
//! several bodies. The deliveries of an entry are its parts, or the entry itself.

use crate::record::event::{OwedList, PARKED_BIT};
use smallvec::SmallVec;

/// Two bits about one entry or one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Standing {
    /// Owed; found by scanning events from C on.
    Waiting = 0,
    /// Owed; a chunk of the backlog index lists it.
    Parked = 1,
    /// Has a row of its own: a retry or a dead letter.
    OwnRow = 2,
    /// Ended without leaving a row.
    Done = 3,
}

impl Standing {
    pub(crate) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Standing::Waiting,
            1 => Standing::Parked,
            2 => Standing::OwnRow,
            _ => Standing::Done,
        }
    }

    /// Owed, and not in a row of its own.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Standing::Waiting | Standing::Parked)
    }
}

/// Standings packed four to a byte; inline up to 32 of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    bytes: SmallVec<[u8; 8]>,
    count: u32,
}

impl Packed {
    pub(crate) fn filled(count: u32, standing: Standing) -> Self {
        let mut packed = Packed { bytes: SmallVec::new(), count: 0 };
        packed.resize(count, standing);
        packed
    }

    pub(crate) fn from_bytes(count: u32, bytes: &[u8]) -> Self {
        Packed { bytes: SmallVec::from_slice(bytes), count }
    }

    /// Bytes that `count` standings take.
    pub(crate) fn bytes_of(count: u32) -> usize {
        (count as usize).div_ceil(4)
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn get(&self, at: u32) -> Option<Standing> {
        (at < self.count)
            .then(|| self.bytes.get(at as usize / 4).map(|byte| Standing::from_bits(byte >> (2 * (at % 4)))))
            .flatten()
    }

    pub(crate) fn set(&mut self, at: u32, standing: Standing) {
        if at < self.count
            && let Some(byte) = self.bytes.get_mut(at as usize / 4)
        {
            let shift = 2 * (at % 4);
            *byte = (*byte & !(3 << shift)) | ((standing as u8) << shift);
        }
    }

    /// Grows; new places hold `standing`.
    pub(crate) fn resize(&mut self, count: u32, standing: Standing) {
        let first = self.count;
        self.bytes.resize(Self::bytes_of(count), 0);
        self.count = count;
        for at in first..count {
            self.set(at, standing);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Standing> + '_ {
        (0..self.count).filter_map(|at| self.get(at))
    }
}

/// What a settlement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The part that took the ending: the one named, or the first open one when rendering changed meanwhile.
    pub(crate) part: u16,
    /// Deliveries that became known or ceased to be (a rendering with more or fewer bodies), not counting the ending.
    pub(crate) deliveries_delta: i64,
}

/// One event's owed list and where each entry stands.
#[derive(Clone, Debug)]
pub(crate) struct EventState {
    owed: OwedList,
    entries: Packed,
    /// Entries that rendered to several bodies, by place.
    #[expect(clippy::box_collection, reason = "absent for nearly every event in the tail, so one word")]
    parts: Option<Box<Vec<(u32, Packed)>>>,
    /// Entries in [`Standing::Waiting`].
    waiting: u32,
    /// Entries not in [`Standing::Done`].
    unfinished: u32,
    /// Dead letters among what has a row of its own; the others are retries.
    pub(crate) dead: u32,
    /// Size of the event row, bytes: what a page will read.
    pub(crate) bytes: u32,
    /// Whether a progress row is on disk.
    pub(crate) has_row: bool,
    /// Whether it changed in this commit.
    pub(crate) is_dirty: bool,
}

impl EventState {
    /// As the event's own list gives it. `owed` may carry [`PARKED_BIT`]s.
    pub(crate) fn new(mut owed: OwedList, bytes: u32) -> Self {
        let count = u32::try_from(owed.len()).unwrap_or(u32::MAX);
        let mut entries = Packed::filled(count, Standing::Waiting);
        let mut waiting = count;
        for (at, entry) in (0..).zip(owed.iter_mut()) {
            if *entry & PARKED_BIT != 0 {
                *entry &= !PARKED_BIT;
                entries.set(at, Standing::Parked);
                waiting -= 1;
            }
        }
        EventState {
            owed,
            entries,
            parts: None,
            waiting,
            unfinished: count,
            dead: 0,
            bytes,
            has_row: false,
            is_dirty: false,
        }
    }

    /// Puts what a progress row says in place of the list's own standings.
    pub(crate) fn restore(&mut self, entries: Packed, parts: Vec<(u32, Packed)>, dead: u32) {
        self.waiting = entries.iter().map(|s| u32::from(s == Standing::Waiting)).sum();
        self.unfinished = entries.iter().map(|s| u32::from(s != Standing::Done)).sum();
        self.entries = entries;
        self.dead = dead;
        self.parts = (!parts.is_empty()).then(|| Box::new(parts));
        self.has_row = true;
    }

    pub(crate) fn entries(&self) -> &Packed {
        &self.entries
    }

    pub(crate) fn parts(&self) -> &[(u32, Packed)] {
        self.parts.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Number of entries.
    pub(crate) fn count(&self) -> u32 {
        self.entries.count()
    }

    /// The webhook at a place.
    pub(crate) fn webhook(&self, index: u32) -> Option<u32> {
        self.owed.get(index as usize).copied()
    }

    /// Places, webhooks and standings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, Standing)> + '_ {
        (0..).zip(&self.owed).filter_map(|(at, webhook)| Some((at, *webhook, self.entries.get(at)?)))
    }

    /// Whether an entry would only be found by the scan from C.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Whether nothing needs the event any more.
    pub(crate) fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    /// Whether anything of the event is still to be delivered.
    pub(crate) fn has_pending(&self) -> bool {
        if self.is_finished() {
            return false;
        }
        let mut own_rows = 0;
        for (index, standing) in (0..).zip(self.entries.iter()) {
            match (standing, self.parts_of(index)) {
                (Standing::Waiting | Standing::Parked, _) => return true,
                (Standing::OwnRow, None) => own_rows += 1,
                (Standing::OwnRow, Some(parts)) => {
                    own_rows += parts.iter().map(|part| u32::from(part == Standing::OwnRow)).sum::<u32>();
                }
                (Standing::Done, _) => {}
            }
        }
        own_rows > self.dead
    }

    pub(crate) fn entry(&self, index: u32) -> Option<Standing> {
        self.entries.get(index)
    }

    pub(crate) fn set_entry(&mut self, index: u32, to: Standing) {
        let Some(from) = self.entries.get(index) else { return };
        self.waiting =
            self.waiting + u32::from(to == Standing::Waiting) - u32::from(from == Standing::Waiting);
        self.unfinished =
            self.unfinished + u32::from(to != Standing::Done) - u32::from(from != Standing::Done);
        self.entries.set(index, to);
        if to == Standing::Done
            && let Some(parts) = &mut self.parts
        {
            parts.retain(|(at, _)| *at != index);
        }
    }

    fn parts_mut(&mut self, index: u32) -> Option<&mut Packed> {
        self.parts.as_mut()?.iter_mut().find(|(at, _)| *at == index).map(|(_, parts)| parts)
    }

    fn parts_of(&self, index: u32) -> Option<&Packed> {
        self.parts().iter().find(|(at, _)| *at == index).map(|(_, parts)| parts)
    }

    /// Where one body of an entry stands; `None`: there is no such body, as far as is known.
    pub(crate) fn part(&self, index: u32, part: u16) -> Option<Standing> {
        match self.parts_of(index) {
            Some(parts) => parts.get(u32::from(part)),
            None => self.entry(index).filter(|_| part == 0),
        }
    }

    /// How many bodies an entry has, as far as is known.
    pub(crate) fn part_count(&self, index: u32) -> u16 {
        self.parts_of(index).map_or(1, |parts| u16::try_from(parts.count()).unwrap_or(u16::MAX))
    }

    /// Bodies of an entry that are open; just the first while it is not known how many there are.
    pub(crate) fn open_parts(&self, index: u32) -> Vec<u16> {
        match self.parts_of(index) {
            Some(parts) => {
                let open = (0..).zip(parts.iter()).filter(|(_, standing)| standing.is_open());
                open.map(|(part, _)| part).collect()
            }
            None if self.entry(index).is_some_and(Standing::is_open) => vec![0],
            None => Vec::new(),
        }
    }

    /// Parts that have ended or have a row of their own.
    #[cfg(test)]
    pub(crate) fn settled_parts(&self, index: u32) -> Vec<u16> {
        let Some(parts) = self.parts_of(index) else { return Vec::new() };
        (0..).zip(parts.iter()).filter(|(_, standing)| !standing.is_open()).map(|(part, _)| part).collect()
    }

    /// Deliveries of an entry that are open.
    pub(crate) fn open_deliveries(&self, index: u32) -> u32 {
        match self.parts_of(index) {
            Some(parts) => parts.iter().map(|standing| u32::from(standing.is_open())).sum(),
            None => u32::from(self.entry(index).is_some_and(Standing::is_open)),
        }
    }

    /// An entry with parts stays open while one of them is; then it has a row while one has; then it is done.
    fn derive(&mut self, index: u32) {
        let Some(parts) = self.parts_of(index) else { return };
        let standing = if parts.iter().any(Standing::is_open) {
            return;
        } else if parts.iter().any(|standing| standing == Standing::OwnRow) {
            Standing::OwnRow
        } else {
            Standing::Done
        };
        self.set_entry(index, standing);
    }

    /// Ends (or gives a row to) a delivery that the event's list or a chunk told of. `None`: it was no longer open, so
    /// this is a repeat.
    pub(crate) fn settle_open(
        &mut self,
        index: u32,
        part: u16,
        part_count: u16,
        to: Standing,
    ) -> Option<Applied> {
        let open = self.entry(index).filter(|standing| standing.is_open())?;
        let count = u32::from(part_count.max(part.saturating_add(1)));
        let Some(parts) = self.parts_mut(index) else {
            if count == 1 {
                self.set_entry(index, to);
                return Some(Applied { part, deliveries_delta: 0 });
            }
            let mut parts = Packed::filled(count, open);
            parts.set(u32::from(part), to);
            self.parts.get_or_insert_default().push((index, parts));
            return Some(Applied { part, deliveries_delta: i64::from(count) - 1 });
        };
        // The webhook's format may have changed since the other parts were settled: more bodies are new deliveries,
        // bodies beyond the new count will never be rendered again and end here.
        let is_open = |parts: &Packed, at: u32| parts.get(at).is_none_or(Standing::is_open);
        let at = if is_open(parts, u32::from(part)) {
            u32::from(part)
        } else {
            (count..parts.count()).find(|at| is_open(parts, *at))?
        };
        let mut deliveries_delta = 0;
        if parts.count() < count {
            deliveries_delta += i64::from(count - parts.count());
            parts.resize(count, open);
        }
        for gone in count..parts.count() {
            if gone != at && is_open(parts, gone) {
                parts.set(gone, Standing::Done);
                deliveries_delta -= 1;
            }
        }
        parts.set(at, to);
        self.derive(index);
        Some(Applied { part: u16::try_from(at).unwrap_or(part), deliveries_delta })
    }

    /// Ends (or gives a new row to) a delivery whose own row was just removed.
    pub(crate) fn settle_own_row(
        &mut self,
        index: u32,
        part: u16,
        part_count: u16,
        to: Standing,
    ) -> Option<Applied> {
        if let Some(parts) = self.parts_mut(index) {
            if parts.get(u32::from(part)) == Some(Standing::OwnRow) {
                parts.set(u32::from(part), to);
                self.derive(index);
                return Some(Applied { part, deliveries_delta: 0 });
            }
        } else if self.entry(index) == Some(Standing::OwnRow) {
            self.set_entry(index, to);
            return Some(Applied { part, deliveries_delta: 0 });
        }
        // The row was there but the progress row was lost to damage: what it says is taken for open again.
        self.settle_open(index, part, part_count, to)
    }

    /// An entry with a row of its own turns out to have several bodies: each has a row now. `false`: it is not so, or its
    /// bodies are known.
    pub(crate) fn take_apart(&mut self, index: u32, part_count: u16) -> bool {
        if self.entry(index) != Some(Standing::OwnRow) || self.parts_of(index).is_some() {
            return false;
        }
        let parts = Packed::filled(u32::from(part_count), Standing::OwnRow);
        self.parts.get_or_insert_default().push((index, parts));
        true
    }

    /// Gives a delivery that has ended a row of its own again. `false`: it has not ended.
    pub(crate) fn revive(&mut self, index: u32, part: u16) -> bool {
        let at = u32::from(part);
        let Some(entry) = self.entry(index) else { return false };
        if self.parts_of(index).is_none() && part > 0 {
            // An entry that is open and has no parts was not rendered yet, so none of its bodies has ended.
            if entry.is_open() {
                return false;
            }
            let mut parts = Packed::filled(at + 1, Standing::Done);
            parts.set(0, entry);
            self.parts.get_or_insert_default().push((index, parts));
        }
        match self.parts_mut(index) {
            None if entry == Standing::Done => self.set_entry(index, Standing::OwnRow),
            None => return false,
            Some(parts) => {
                if parts.count() <= at {
                    parts.resize(at + 1, Standing::Done);
                }
                if parts.get(at) != Some(Standing::Done) {
                    return false;
                }
                parts.set(at, Standing::OwnRow);
                self.derive(index);
            }
        }
        true
    }

    /// Ends everything open of an entry. Returns how many deliveries that were.
    pub(crate) fn drop_open(&mut self, index: u32) -> u32 {
        let dropped = self.open_deliveries(index);
        match self.parts_mut(index) {
            Some(parts) => {
                for at in 0..parts.count() {
                    if parts.get(at).is_some_and(Standing::is_open) {
                        parts.set(at, Standing::Done);
                    }
                }
                self.derive(index);
            }
            None if dropped > 0 => self.set_entry(index, Standing::Done),
            None => {}
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
