//! What waits for a webhook's actor to be read, as one list; its mailbox carries only the word that there is something.
//!
//! Bounded without a capacity of its own: deliveries by the webhook's window (reserved before they are sent), ended
//! attempts by `maxInFlight`, reads by the one or two under way, everything else by being a flag. So one wake-up
//! serves all that arrived meanwhile, and nothing can be dropped for a full mailbox.

use crate::asking::Question;
use crate::attempt::AttemptEnd;
use crate::live::{LiveEvent, SetAside};
use actix::prelude::*;
use fanfare_core::delivery::Rendered;
use fanfare_core::ports::{DueRetries, Page, StoreError, WaitingKeys};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// There is something in the inbox.
pub(crate) struct Wake;

impl Message for Wake {
    type Result = ();
}

/// A delivery handed over in memory after its ingest commit.
#[derive(Debug)]
pub(crate) struct DirectOwed {
    pub(crate) live: Arc<LiveEvent>,
    pub(crate) index: u32,
}

/// A plugin's rendering, arrived.
#[derive(Debug)]
pub(crate) struct RenderedNews {
    pub(crate) ticket: u64,
    pub(crate) rendered: Arc<Rendered>,
}

/// Everything unread.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    pub(crate) owed: Vec<DirectOwed>,
    pub(crate) ended: Vec<AttemptEnd>,
    pub(crate) pages: Vec<(Result<Page, StoreError>, SetAside)>,
    pub(crate) due: Vec<(Result<DueRetries, StoreError>, SetAside)>,
    pub(crate) learnt: Vec<Result<WaitingKeys, StoreError>>,
    pub(crate) rendered: Vec<RenderedNews>,
    /// One per call of the API that waits for an answer, which bounds them.
    pub(crate) questions: Vec<Question>,
    /// The backlog index holds something new: after what was read, or perhaps before it.
    pub(crate) is_parked_after: bool,
    pub(crate) is_parked_before: bool,
    /// There may be room in the budget now.
    pub(crate) is_room: bool,
    /// The webhook was changed or deleted.
    pub(crate) is_reconfigured: bool,
}

impl Unread {
    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
            && self.ended.is_empty()
            && self.pages.is_empty()
            && self.due.is_empty()
            && self.learnt.is_empty()
            && self.rendered.is_empty()
            && self.questions.is_empty()
            && !self.is_parked_after
            && !self.is_parked_before
            && !self.is_room
            && !self.is_reconfigured
    }
}

/// The inbox of one actor; lives as long as anyone may write to it.
#[derive(Default)]
pub(crate) struct Inbox {
    unread: RefCell<Unread>,
    addr: RefCell<Option<Recipient<Wake>>>,
    is_woken: Cell<bool>,
    /// Places in the webhook's window that this actor has reserved, so that they can be freed if it dies.
    places: Cell<u32>,
}

impl Inbox {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Inbox::default())
    }

    /// The actor runs and reads.
    pub(crate) fn connect(&self, addr: Recipient<Wake>) {
        *self.addr.borrow_mut() = Some(addr);
        self.is_woken.set(false);
    }

    /// Whether an actor still reads it.
    pub(crate) fn is_read(&self) -> bool {
        self.addr.borrow().as_ref().is_none_or(Recipient::connected)
    }

    /// Writes something and wakes the actor.
    pub(crate) fn write(&self, write: impl FnOnce(&mut Unread)) {
        write(&mut self.unread.borrow_mut());
        self.wake();
    }

    /// Writes a delivery whose place was reserved by routing.
    pub(crate) fn write_owed(&self, owed: DirectOwed) {
        self.add_places(1);
        self.write(|unread| unread.owed.push(owed));
    }

    pub(crate) fn places(&self) -> u32 {
        self.places.get()
    }

    pub(crate) fn add_places(&self, count: u32) {
        self.places.set(self.places.get() + count);
    }

    pub(crate) fn free_places(&self, count: u32) {
        self.places.set(self.places.get().saturating_sub(count));
    }

    pub(crate) fn push_end(&self, end: AttemptEnd) {
        self.write(|unread| unread.ended.push(end));
    }

    /// Wakes the actor, at most once until it reads: so one place in its mailbox is enough.
    pub(crate) fn wake(&self) {
        if self.is_woken.replace(true) {
            return;
        }
        if let Some(addr) = self.addr.borrow().as_ref()
            && addr.try_send(Wake).is_err()
        {
            // Closed: the actor is gone; the worker finds out by `is_read`.
            self.is_woken.set(false);
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        !self.unread.borrow().ended.is_empty()
    }

    pub(crate) fn is_reconfigured(&self) -> bool {
        self.unread.borrow().is_reconfigured
    }

    pub(crate) fn clear_reconfigured(&self) {
        self.unread.borrow_mut().is_reconfigured = false;
    }

    /// Everything unread, for the actor.
    pub(crate) fn read(&self) -> Unread {
        self.is_woken.set(false);
        self.unread.take()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unread.borrow().is_empty()
    }
}
