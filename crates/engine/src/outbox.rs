//! What an event loop owes the store: settlements gathered for a few milliseconds, so that one message and one commit
//! serve many. Persist, then act, then report: an attempt's outcome is here before anyone else is told.

use fanfare_core::delivery::Settlement;
use fanfare_core::ports::{SettleBatch, Store};
use fanfare_core::{Seq, WebhookNo};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Longest a settlement waits here; with the store's own wait it stays far below 100 ms (D4).
const GATHER: Duration = Duration::from_millis(5);
/// Hand over at once when so many have gathered.
const BATCH: usize = 256;
/// With so many waiting (the store is stuck) no attempt begins, so that the outbox stays bounded.
const FULL: usize = 4096;

pub(crate) struct Outbox {
    store: Arc<dyn Store>,
    batch: RefCell<SettleBatch>,
    is_timer_set: Cell<bool>,
}

impl Outbox {
    pub(crate) fn new(store: Arc<dyn Store>) -> Rc<Self> {
        Rc::new(Outbox { store, batch: RefCell::default(), is_timer_set: Cell::new(false) })
    }

    pub(crate) fn settle(self: &Rc<Self>, settlement: Settlement) {
        let count = {
            let mut batch = self.batch.borrow_mut();
            batch.settlements.push(settlement);
            batch.settlements.len()
        };
        if count >= BATCH { self.flush() } else { self.set_timer() }
    }

    pub(crate) fn drop_chunks(self: &Rc<Self>, webhook: WebhookNo, chunks: Vec<Seq>) {
        if chunks.is_empty() {
            return;
        }
        self.batch.borrow_mut().dropped_chunks.extend(chunks.into_iter().map(|chunk| (webhook, chunk)));
        self.set_timer();
    }

    /// Hands everything over now, so that a read asked for next sees it. When the store is busy it stays here and is
    /// offered again soon; `false` then.
    pub(crate) fn flush(self: &Rc<Self>) {
        let batch = self.batch.take();
        if batch.settlements.is_empty() && batch.dropped_chunks.is_empty() {
            return;
        }
        if let Err(refused) = self.store.settle(batch) {
            *self.batch.borrow_mut() = refused;
            self.set_timer();
        }
    }

    /// Whether everything was handed over.
    pub(crate) fn is_empty(&self) -> bool {
        let batch = self.batch.borrow();
        batch.settlements.is_empty() && batch.dropped_chunks.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.batch.borrow().settlements.len() >= FULL
    }

    fn set_timer(self: &Rc<Self>) {
        if self.is_timer_set.replace(true) {
            return;
        }
        let outbox = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(GATHER).await;
            outbox.is_timer_set.set(false);
            outbox.flush();
        });
    }
}
