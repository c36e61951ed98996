//! The process's cap on connections: who may open one, and which idle one closes for it.
//!
//! A new connection takes a permit, which its socket holds. With none left, the connection that has been idle the
//! longest, whoever's it is, is closed for it; with none idle, the first that comes to rest. See
//! `design/0001-connection-cap.md`.
//!
//! Expected cost: while permits are left, of a connection two locks at its begin and one at its end; of an attempt two
//! atomic exchanges of a word nobody else touches, and a look at one that nobody writes. At the cap, of every new
//! connection a look at one in [`CANDIDATES`] of all entries.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// State of an entry: in use, or not used yet. Everything between this and `CLOSING`: idle, since a time.
const BUSY: u64 = 0;
/// State of an entry: told to close. Final.
const CLOSING: u64 = u64::MAX;

/// Idle connections found by one look over all of them: those that waited longest, closed one after the other before
/// there is another look.
const CANDIDATES: usize = 32;

/// One connection, as the rest of the process sees it.
#[derive(Debug)]
struct Entry {
    state: AtomicU64,
    /// Tasks of the connection; the first owns the socket.
    tasks: (AbortHandle, Option<AbortHandle>),
}

impl Entry {
    /// Closes it if it has been idle since `since`. From any thread: its own event loop drops the socket.
    fn close(&self, since: u64) -> bool {
        // One that ended by itself has given its permit back already.
        if self.tasks.0.is_finished() {
            return false;
        }
        let is_taken =
            self.state.compare_exchange(since, CLOSING, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if is_taken {
            self.tasks.0.abort();
            if let Some(other) = &self.tasks.1 {
                other.abort();
            }
        }
        is_taken
    }
}

#[derive(Debug, Default)]
struct Registry {
    /// Every open connection, in the place its member knows; `None` is free.
    entries: Vec<Option<Arc<Entry>>>,
    free: Vec<usize>,
    /// Found by the last look, longest idle last, with what their state was.
    candidates: Vec<(u64, Arc<Entry>)>,
    /// New connections that wait for a permit.
    waiting: usize,
    /// Connections closed for them whose permits nobody has taken yet; of them at most as many.
    ///
    /// Whose permit is whose is not known: whoever takes one, waiting or not, is taken to have got one of these, and
    /// whoever gives up too. That errs to the side of closing one more, never to that of leaving someone to wait for
    /// nothing.
    closing: usize,
    closed: u64,
}

impl Registry {
    /// Closes the connection that has been idle longest; `false`: none is idle.
    fn close_longest_idle(&mut self) -> bool {
        for is_second_look in [false, true] {
            if is_second_look {
                self.look();
            }
            while let Some((since, entry)) = self.candidates.pop() {
                if entry.close(since) {
                    self.closed += 1;
                    return true;
                }
            }
        }
        false
    }

    fn look(&mut self) {
        let idle = self.entries.iter().flatten().filter_map(|entry| {
            let since = entry.state.load(Ordering::SeqCst);
            (since != BUSY && since != CLOSING).then_some((since, entry))
        });
        let mut idle: Vec<_> = idle.collect();
        if idle.len() > CANDIDATES {
            idle.select_nth_unstable_by_key(CANDIDATES, |(since, _)| *since);
            idle.truncate(CANDIDATES);
        }
        idle.sort_unstable_by_key(|(since, _)| *since);
        self.candidates = idle.into_iter().rev().map(|(since, entry)| (since, Arc::clone(entry))).collect();
    }
}

/// The cap. One per transport.
#[derive(Debug)]
pub(crate) struct Cap {
    permits: Arc<Semaphore>,
    max: usize,
    registry: Mutex<Registry>,
    /// How many of those that wait nothing was closed for, to be looked at without the lock.
    wish_count: AtomicUsize,
}

impl Cap {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = max.min(Semaphore::MAX_PERMITS);
        Arc::new(Cap {
            permits: Arc::new(Semaphore::new(max)),
            max,
            registry: Mutex::default(),
            wish_count: AtomicUsize::new(0),
        })
    }

    /// Connections open or being opened.
    pub(crate) fn open(&self) -> usize {
        self.max.saturating_sub(self.permits.available_permits())
    }

    /// Connections closed so far to make room for others.
    pub(crate) fn closed(&self) -> u64 {
        self.lock().closed
    }

    /// Waits for a permit, closing an idle connection for it when none is left. `None`: never, the semaphore is not
    /// closed while we are here.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            // Perhaps the one of a connection that was closed for someone who is only about to wait.
            self.handle_taken(&mut self.lock());
            return Some(permit);
        }
        let _turn = self.begin_to_wait();
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    fn begin_to_wait(&self) -> Turn<'_> {
        let mut registry = self.lock();
        registry.waiting += 1;
        self.make_room(&mut registry);
        Turn { cap: self }
    }

    /// A permit was taken, or is not wanted any more.
    fn handle_taken(&self, registry: &mut Registry) {
        registry.closing = registry.closing.saturating_sub(1);
        if registry.waiting > 0 {
            self.make_room(registry);
        }
    }

    /// Closes an idle connection for each that waits, and wishes that the next to come to rest be closed for the others.
    fn make_room(&self, registry: &mut Registry) {
        // The wish is made before the look: a connection that comes to rest meanwhile sees the one, or is seen by the
        // other.
        self.tell_wishes(registry);
        while registry.closing < registry.waiting && registry.close_longest_idle() {
            registry.closing += 1;
        }
        self.tell_wishes(registry);
    }

    fn tell_wishes(&self, registry: &Registry) {
        self.wish_count.store(registry.waiting.saturating_sub(registry.closing), Ordering::SeqCst);
    }

    /// Makes an open connection known. It counts as in use until its first request ends.
    pub(crate) fn join(
        self: &Arc<Self>,
        socket_task: AbortHandle,
        other_task: Option<AbortHandle>,
    ) -> Member {
        let entry = Arc::new(Entry { state: AtomicU64::new(BUSY), tasks: (socket_task, other_task) });
        let mut registry = self.lock();
        let known = Some(Arc::clone(&entry));
        let free = registry.free.pop();
        let place = match free.and_then(|place| Some((place, registry.entries.get_mut(place)?))) {
            Some((place, slot)) => {
                *slot = known;
                place
            }
            None => {
                registry.entries.push(known);
                registry.entries.len() - 1
            }
        };
        drop(registry);
        Member { cap: Arc::clone(self), entry, place }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // Every change is complete before anything can panic.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new connection's place among those that wait.
struct Turn<'c> {
    cap: &'c Cap,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut registry = self.cap.lock();
        registry.waiting -= 1;
        self.cap.handle_taken(&mut registry);
        self.cap.tell_wishes(&registry);
    }
}

/// A connection's own end of its entry.
#[derive(Debug)]
pub(crate) struct Member {
    cap: Arc<Cap>,
    entry: Arc<Entry>,
    place: usize,
}

impl Member {
    /// Whether it was told to close: its tasks are ending.
    pub(crate) fn is_closing(&self) -> bool {
        self.entry.state.load(Ordering::Relaxed) == CLOSING
    }

    /// A request begins; `false`: it was told to close, and no request may begin.
    pub(crate) fn begin(&self) -> bool {
        if self.entry.state.swap(BUSY, Ordering::SeqCst) == CLOSING {
            self.entry.state.store(CLOSING, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// The last request in flight ended at about `now_s`; `false`: it was closed on the spot, for someone who waits.
    pub(crate) fn rest(&self, now_s: u64) -> bool {
        let since = now_s.saturating_add(1).min(CLOSING - 1);
        self.entry.state.swap(since, Ordering::SeqCst);
        if self.cap.wish_count.load(Ordering::SeqCst) == 0 {
            return true;
        }
        let mut registry = self.cap.lock();
        if registry.closing >= registry.waiting || !self.entry.close(since) {
            return !self.is_closing();
        }
        registry.closed += 1;
        registry.closing += 1;
        self.cap.tell_wishes(&registry);
        false
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut registry = self.cap.lock();
        if let Some(slot) = registry.entries.get_mut(self.place) {
            *slot = None;
        }
        registry.free.push(self.place);
    }
}

#[cfg(test)]
mod tests;
