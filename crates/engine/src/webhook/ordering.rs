//! `ordering: KEY`: before anything is read, the actor learns which keys wait in the retry table; what must wait behind
//! one of them goes back there.
//!
//! A webhook with this setting gets nothing handed over in memory (see `WebhookShared::reserve`): everything comes from
//! the backlog index, whose rows are in the order of events. So there is one order, whatever the ingest calls, commits
//! and event loops do at the same time.

use super::*;
use fanfare_core::policy::delivery::Leaving;
use fanfare_core::ports::{StoreError, WaitingKeys};

/// Rows of the retry table read at once.
const LEARN_COUNT: usize = 4096;

/// How far the actor knows which keys wait on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learning {
    /// Read up to here; `None`: nothing yet.
    From(Option<(u64, DeliveryKey)>),
    /// Everything; what comes later it sees itself.
    Done,
}

impl Learning {
    pub(super) fn begin(&mut self) {
        *self = Learning::From(None);
    }

    pub(super) fn is_done(self) -> bool {
        self == Learning::Done
    }
}

impl WebhookActor {
    /// Reads the next part of the retry table.
    pub(super) fn learn_on(&mut self) {
        let Learning::From(from) = self.learning else { return };
        self.worker.outbox.flush();
        if !self.worker.outbox.is_empty() {
            return;
        }
        self.books.begin_read();
        let keys = self.worker.store.waiting_keys(self.shared.no, from, LEARN_COUNT);
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let keys = keys.await;
            inbox.write(|unread| unread.learnt.push(keys));
        });
    }

    pub(super) fn handle_learnt(&mut self, learnt: Result<WaitingKeys, StoreError>, now: Now) {
        self.books.end_learning();
        match learnt {
            Ok((rows, next)) => {
                let Some(machine) = &mut self.machine else { return };
                for row in rows {
                    if let Some(key) = row.key {
                        machine.learn_key(key, row.id, row.due_ms);
                    }
                }
                self.learning = next.map_or(Learning::Done, |next| Learning::From(Some(next)));
            }
            Err(error) => {
                tracing::error!(webhook = %self.shared.id, %error, "cannot read which keys wait; tried again");
                self.not_before_ns = now.after(STORE_RETRY).mono_ns;
            }
        }
    }

    /// Puts a delivery that was not attempted (back) into the retry table, behind an earlier one of its key.
    pub(super) fn send_back(&mut self, leaving: &Leaving<Payload>, due_ms: u64, now: Now) {
        self.next_due_ms = self.next_due_ms.min(due_ms);
        let ending = Ending::Retry { due_ms, progress: leaving.progress };
        self.settle(&leaving.payload, ending, None, now);
    }

    pub(super) fn due_held_max(&self) -> usize {
        let is_ordered = self.machine.as_ref().is_some_and(|machine| machine.policy().ordering.is_key());
        if is_ordered { DUE_HELD_ORDERED } else { DUE_HELD }
    }
}
