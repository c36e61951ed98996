//! What an actor knows of its deliveries' rows on disk: which it holds already, which rows of the backlog index are
//! used up, and what ended while a read was under way (so that an older picture of the disk is not believed).
//!
//! Pure bookkeeping; the actor carries out what it says.

use fanfare_core::Seq;
use fanfare_core::delivery::{Origin, Owed};
use fanfare_core::ports::Page;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is held: all bodies of an event, or one retried body of it.
type HeldKey = (Seq, Option<u16>);

#[derive(Debug)]
struct Held {
    /// Bodies that have not ended.
    parts_left: u16,
    is_multipart: bool,
    origin: Origin,
}

/// The books of one actor.
#[derive(Debug, Default)]
pub(crate) struct HeldBooks {
    held: HashMap<HeldKey, Held>,
    retries_held: usize,
    /// Rows of the backlog index that were read, with the number of their deliveries that have not ended.
    chunks: BTreeMap<Seq, u32>,
    used_up: Vec<Seq>,
    reads: usize,
    /// Single bodies (of several, or retried) that ended during a read.
    parts_ended_during_read: HashMap<Seq, Vec<u16>>,
    /// Events whose whole entry ended during a read.
    gone_during_read: HashSet<Seq>,
    /// Where to go on reading the index; `None`: at its end, as far as is known.
    cursor: Option<Seq>,
    /// The index was read up to here.
    read_to: Seq,
    /// News of the index arrived while a page was being read.
    is_stale: bool,
    /// Rows were written before what was read: begin again.
    is_restart_wanted: bool,
}

impl HeldBooks {
    /// How a delivery that is being settled is known to the store now: a row may have been written since it was
    /// handed over.
    pub(crate) fn origin(&self, seq: Seq, retried_part: Option<u16>) -> Option<Origin> {
        self.held.get(&(seq, retried_part)).map(|held| held.origin)
    }

    /// Notes a delivery of `parts` bodies; one of a page is counted for its row already. `false`: it is held already.
    pub(crate) fn take_in(
        &mut self,
        seq: Seq,
        retried_part: Option<u16>,
        origin: Origin,
        parts: u16,
    ) -> bool {
        let key = (seq, retried_part);
        if parts == 0 || self.held.contains_key(&key) {
            if let Origin::Parked { chunk } = origin {
                self.leave_chunk(chunk);
            }
            return false;
        }
        if retried_part.is_some() {
            self.retries_held += 1;
        }
        self.held.insert(key, Held { parts_left: parts, is_multipart: parts > 1, origin });
        true
    }

    /// Rendering told how many bodies a delivery taken in as one has.
    pub(crate) fn set_parts(&mut self, seq: Seq, parts: u16) {
        if let Some(held) = self.held.get_mut(&(seq, None)) {
            held.parts_left = parts;
            held.is_multipart = parts > 1;
        }
    }

    /// One body ended. `true`: it was the last of its entry, whose place in memory is free now.
    pub(crate) fn end(&mut self, seq: Seq, retried_part: Option<u16>, part: u16) -> bool {
        let key = (seq, retried_part);
        let Some(held) = self.held.get_mut(&key) else { return false };
        if self.reads > 0 && (retried_part.is_some() || held.is_multipart) {
            self.parts_ended_during_read.entry(seq).or_default().push(part);
        }
        held.parts_left -= 1;
        if held.parts_left > 0 {
            return false;
        }
        let origin = held.origin;
        self.held.remove(&key);
        if retried_part.is_some() {
            self.retries_held -= 1;
        } else if self.reads > 0 {
            self.gone_during_read.insert(seq);
        }
        if let Origin::Parked { chunk } = origin {
            self.leave_chunk(chunk);
        }
        true
    }

    fn leave_chunk(&mut self, chunk: Seq) {
        if let Some(left) = self.chunks.get_mut(&chunk) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.chunks.remove(&chunk);
                self.used_up.push(chunk);
            }
        }
    }

    /// The index holds something new: after what was read, or (`is_before`) perhaps before it.
    pub(crate) fn handle_news(&mut self, is_before: bool) {
        if self.reads > 0 {
            self.is_stale = true;
            self.is_restart_wanted |= is_before;
        } else if is_before {
            self.cursor = Some(Seq(0));
        } else if self.cursor.is_none() {
            // Rows are written in order of events, so what is new stands after what was read.
            self.cursor = Some(self.read_to);
        }
    }

    /// Where the next page starts, if the index holds something unread.
    pub(crate) fn cursor(&self) -> Option<Seq> {
        self.cursor
    }

    pub(crate) fn begin_read(&mut self) {
        self.reads += 1;
    }

    fn end_read(&mut self) {
        self.reads = self.reads.saturating_sub(1);
        if self.reads == 0 {
            self.parts_ended_during_read.clear();
            self.gone_during_read.clear();
            // News that came while something else than the index was read.
            if std::mem::take(&mut self.is_restart_wanted) {
                self.cursor = Some(Seq(0));
            } else if self.is_stale && self.cursor.is_none() {
                self.cursor = Some(self.read_to);
            }
            self.is_stale = false;
        }
    }

    /// A read that told nothing of what is held came to its end.
    pub(crate) fn end_learning(&mut self) {
        self.end_read();
    }

    /// A read failed: what it would have told is still unknown.
    pub(crate) fn fail_read(&mut self) {
        self.is_stale = true;
        self.end_read();
    }

    /// A page arrived: what of it is to be taken in. The rows of deliveries already held are linked to them.
    pub(crate) fn handle_page(&mut self, page: Page) -> Vec<Owed> {
        let known: HashSet<Seq> =
            page.chunks.iter().copied().filter(|c| self.chunks.contains_key(c)).collect();
        for chunk in page.chunks.iter().filter(|chunk| !known.contains(chunk)) {
            self.chunks.insert(*chunk, 0);
        }
        let mut fresh = Vec::with_capacity(page.owed.len());
        for mut owed in page.owed {
            let Origin::Parked { chunk } = owed.origin else { continue };
            if known.contains(&chunk) || self.gone_during_read.contains(&owed.event.seq) {
                continue;
            }
            if let Some(held) = self.held.get_mut(&(owed.event.seq, None)) {
                if held.origin == Origin::Direct {
                    held.origin = owed.origin;
                    *self.chunks.entry(chunk).or_insert(0) += 1;
                }
                continue;
            }
            if let Some(parts) = self.parts_ended_during_read.get(&owed.event.seq) {
                owed.settled_parts.extend(parts);
            }
            // Counted before any is taken in: the first may end at once (skipped), and must not take the row of the
            // others with it.
            *self.chunks.entry(chunk).or_insert(0) += 1;
            fresh.push(owed);
        }
        if let Some(last) = page.chunks.last() {
            self.read_to = Seq(last.0 + 1);
        }
        self.cursor = match (page.next, self.is_stale) {
            _ if self.is_restart_wanted => Some(Seq(0)),
            (Some(next), _) => Some(next),
            (None, true) => Some(self.read_to),
            (None, false) => None,
        };
        self.is_stale = false;
        self.is_restart_wanted = false;
        // `take_in` follows for each; rows with nothing left are used up after that.
        self.end_read();
        fresh
    }

    /// Due retries arrived: those not held and not ended meanwhile.
    pub(crate) fn handle_due(&mut self, owed: Vec<Owed>) -> Vec<Owed> {
        let fresh = owed
            .into_iter()
            .filter(|owed| {
                let part = owed.part.unwrap_or(0);
                !self.held.contains_key(&(owed.event.seq, owed.part))
                    && !self.parts_ended_during_read.get(&owed.event.seq).is_some_and(|p| p.contains(&part))
            })
            .collect();
        self.end_read();
        fresh
    }

    /// Rows of the index whose deliveries have all ended, to be removed after what was settled.
    pub(crate) fn take_used_up(&mut self) -> Vec<Seq> {
        let empty: Vec<Seq> =
            self.chunks.iter().filter(|(_, left)| **left == 0).map(|(chunk, _)| *chunk).collect();
        for chunk in &empty {
            self.chunks.remove(chunk);
        }
        self.used_up.extend(empty);
        std::mem::take(&mut self.used_up)
    }

    pub(crate) fn has_used_up(&self) -> bool {
        !self.used_up.is_empty()
    }

    /// Whether something held is known to the store by its event's own record only, not by a row of the webhook's.
    pub(crate) fn holds_direct(&self) -> bool {
        self.held.values().any(|held| held.origin == Origin::Direct)
    }

    /// Entries held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn retries_held(&self) -> usize {
        self.retries_held
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reads > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::delivery::Progress;
    use fanfare_core::event::{Event, EventKind};
    use fanfare_core::{ChannelId, EventId};
    use std::sync::Arc;

    fn owed(seq: u64, part: Option<u16>, origin: Origin) -> Owed {
        let event = Event {
            seq: Seq(seq),
            id: EventId::parse("e").expect("id"),
            kind: EventKind::Block,
            channel: ChannelId::parse("c").expect("id"),
            channel_phone: None,
            key: None,
            occurred_at_ms: None,
            accepted_at_ms: 0,
            envelope: bytes::Bytes::from_static(b"{}"),
            payload: 0..2,
        };
        Owed {
            event: Arc::new(event),
            index: 0,
            part,
            is_alone: false,
            settled_parts: Vec::new(),
            progress: Progress::first(0),
            origin,
        }
    }

    fn parked(seq: u64, chunk: u64) -> Owed {
        owed(seq, None, Origin::Parked { chunk: Seq(chunk) })
    }

    fn page(owed: Vec<Owed>, chunks: &[u64], next: Option<u64>) -> Page {
        Page { owed, chunks: chunks.iter().map(|c| Seq(*c)).collect(), next: next.map(Seq) }
    }

    fn read(books: &mut HeldBooks, page: Page) -> Vec<u64> {
        let fresh = books.handle_page(page);
        fresh
            .iter()
            .filter(|owed| books.take_in(owed.event.seq, owed.part, owed.origin, 1))
            .map(|owed| owed.event.seq.0)
            .collect()
    }

    #[test]
    fn a_row_is_used_up_when_its_last_delivery_ends() {
        let mut books = HeldBooks::default();
        books.handle_news(false);
        books.begin_read();
        assert_eq!(read(&mut books, page(vec![parked(5, 5), parked(7, 5)], &[5, 9], None)), [5, 7]);
        assert_eq!(books.take_used_up(), [Seq(9)], "a row with nothing left goes at once");
        assert!(books.end(Seq(5), None, 0));
        assert!(books.take_used_up().is_empty());
        assert!(books.end(Seq(7), None, 0));
        assert_eq!(books.take_used_up(), [Seq(5)]);
        assert_eq!(books.cursor(), None);
    }

    #[test]
    fn the_first_of_a_row_ends_at_once_and_the_row_stays_for_the_others() {
        let mut books = HeldBooks::default();
        books.begin_read();
        let fresh = books.handle_page(page(vec![parked(5, 5), parked(7, 5), parked(8, 5)], &[5], None));
        let origin = fresh[0].origin;
        assert!(books.take_in(Seq(5), None, origin, 1));
        assert!(books.end(Seq(5), None, 0), "skipped");
        assert!(books.take_in(Seq(7), None, origin, 1));
        assert!(books.end(Seq(7), None, 0), "skipped");
        assert!(books.take_in(Seq(8), None, origin, 1));
        assert!(books.take_used_up().is_empty(), "8 is known by this row alone");
        assert!(books.end(Seq(8), None, 0));
        assert_eq!(books.take_used_up(), [Seq(5)]);
    }

    #[test]
    fn what_ended_while_a_page_was_read_does_not_come_back() {
        let mut books = HeldBooks::default();
        assert!(books.take_in(Seq(3), None, Origin::Direct, 1));
        books.begin_read();
        assert!(books.end(Seq(3), None, 0));
        assert!(read(&mut books, page(vec![parked(3, 3)], &[3], None)).is_empty());
        assert_eq!(books.take_used_up(), [Seq(3)]);
    }

    #[test]
    fn a_delivery_held_in_memory_is_linked_to_its_row_and_not_taken_twice() {
        let mut books = HeldBooks::default();
        assert!(books.take_in(Seq(3), None, Origin::Direct, 1));
        books.begin_read();
        assert!(read(&mut books, page(vec![parked(3, 3)], &[3], None)).is_empty());
        assert!(books.take_used_up().is_empty());
        assert_eq!(books.origin(Seq(3), None), Some(Origin::Parked { chunk: Seq(3) }));
        assert!(books.end(Seq(3), None, 0));
        assert_eq!(books.take_used_up(), [Seq(3)]);
    }

    #[test]
    fn news_during_a_read_makes_it_read_on() {
        let mut books = HeldBooks::default();
        books.handle_news(false);
        books.begin_read();
        books.handle_news(false);
        read(&mut books, page(vec![parked(5, 5)], &[5], None));
        assert_eq!(books.cursor(), Some(Seq(6)));
        books.begin_read();
        books.handle_news(true);
        read(&mut books, page(vec![], &[], None));
        assert_eq!(books.cursor(), Some(Seq(0)), "older rows were written: from the start");
    }

    #[test]
    fn news_while_retries_are_read_is_not_forgotten() {
        for is_before in [false, true] {
            let mut books = HeldBooks::default();
            books.begin_read();
            books.handle_news(is_before);
            assert!(books.handle_due(Vec::new()).is_empty());
            assert_eq!(books.cursor(), Some(Seq(0)));
        }
    }

    #[test]
    fn parts_of_an_event_end_one_by_one() {
        let mut books = HeldBooks::default();
        assert!(books.take_in(Seq(4), None, Origin::Direct, 2));
        assert!(!books.end(Seq(4), None, 0));
        assert_eq!(books.len(), 1);
        assert!(books.end(Seq(4), None, 1));
        assert_eq!(books.len(), 0);
    }

    #[test]
    fn a_retry_held_or_just_ended_is_not_read_again() {
        let retry = || owed(8, Some(0), Origin::Retry { due_ms: 10 });
        let mut books = HeldBooks::default();
        books.begin_read();
        let fresh = books.handle_due(vec![retry()]);
        assert_eq!(fresh.len(), 1);
        assert!(books.take_in(Seq(8), Some(0), fresh[0].origin, 1));
        books.begin_read();
        assert!(books.handle_due(vec![retry()]).is_empty(), "held");
        books.begin_read();
        assert!(books.end(Seq(8), Some(0), 0));
        assert!(books.handle_due(vec![retry()]).is_empty(), "ended during the read");
        books.begin_read();
        assert_eq!(books.handle_due(vec![retry()]).len(), 1, "a later read is believed");
    }
}
