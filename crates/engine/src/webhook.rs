//! The actor of one webhook: a shell around `fanfare_core::policy::delivery::Machine`.
//!
//! Owns: the webhook's window of deliveries, its connections, its machine (gate, limiter), the books of its rows on
//! disk. Written by: mail in its inbox only. Survives its death: nothing here; what is owed is in the store, the gate
//! and limiter of a sleeping one are kept beside the registry.
//!
//! Each wake-up does the same things in the same order (`pump`): read the inbox, settle what ended, begin what may
//! begin, ask the store for more if there is room, plan the next wake-up. One clock reading serves all of it.

use crate::attempt::{self, Attempt, AttemptEnd, Connections};
use crate::catalog::WebhookShared;
use crate::destination::destination;
use crate::held::HeldBooks;
use crate::inbox::{Inbox, RenderedNews, Wake};
use crate::live::LiveEvent;
use crate::metrics::FormatMetrics;
use crate::vitals::Vitals;
use crate::worker::{Successes, WorkerShared};
use actix::prelude::*;
use bytes::Bytes;
use fanfare_core::Now;
use fanfare_core::delivery::{
    AttemptRecord, Body, DeliveryKey, Ending, Origin, Owed, Progress, Rendered, Settlement, reason,
};
use fanfare_core::event::Event;
use fanfare_core::outcome::{AttemptReport, FailureClass, Outcome};
use fanfare_core::policy::delivery::{Fate, Machine, Memory, Slot, Step, WebhookNews};
use fanfare_core::policy::gate::GateState;
use fanfare_core::ports::{AttemptRequest, PageRequest, StoreError};
use fanfare_core::webhook::{Webhook, WebhookStatus};
use fanfare_signing::SigningKeys;
use ordering::Learning;
use rand::RngExt;
use rendering::Rendering;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

mod answering;
mod attempting;
mod configuring;
mod ordering;
mod reading_on;
mod rendering;
mod resting;
mod taking_in;

/// Places in the mailbox: one wake-up waits at most (see `inbox`), the rest is slack.
const MAILBOX: usize = 4;
/// Bytes of events read from disk at once, at most.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// And no fewer, however few deliveries are asked for.
const PAGE_BYTES_MIN: usize = 64 * 1024;
/// Deliveries read from disk at once.
const PAGE_DELIVERIES: usize = 1024;
/// Retries read from disk at once.
const DUE_COUNT: usize = 64;
/// No further retries are read while so many read ones have not ended.
const DUE_HELD: usize = 16;
/// The same with `ordering: KEY`, where those of one key wait for each other and must not hold up the other keys.
const DUE_HELD_ORDERED: usize = 512;
/// Connections unused for so long are closed.
const IDLE_CONNECTIONS: Duration = Duration::from_secs(30);
/// After a failed read of the store, or when a plugin's or our own fault stopped the start.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// A delivery in memory, before its bodies are known.
#[derive(Debug)]
struct Incoming {
    live: Arc<LiveEvent>,
    index: u32,
    retried_part: Option<u16>,
    /// The retried body stands for all of its event.
    is_alone: bool,
    settled_parts: Vec<u16>,
    progress: Progress,
    origin: Origin,
    /// Number of the read of the retry table that brought it.
    read_no: u64,
}

/// One body owed, as it travels through the machine.
#[derive(Debug)]
struct Payload {
    live: Arc<LiveEvent>,
    index: u32,
    retried_part: Option<u16>,
    part: u16,
    part_count: u16,
    rendered: Arc<Rendered>,
}

impl Payload {
    fn body(&self) -> Option<&Body> {
        match &*self.rendered {
            Rendered::Bodies(bodies) => bodies.get(usize::from(self.part)),
            _ => None,
        }
    }
}

/// What the actor knows of its webhook's settings; replaced whole on a change.
struct Config {
    webhook: Webhook,
    id_text: String,
    keys: Option<SigningKeys>,
    /// When the previous key stops being valid, Unix ms.
    overlap_until_ms: Option<u64>,
    connections: Rc<Connections>,
    timeout: Duration,
    format: Arc<FormatMetrics>,
}

impl Config {
    /// One request, signed now.
    fn request(
        &self,
        event: &Event,
        delivery_id: Bytes,
        attempt_number: u32,
        body: &Body,
        now: Now,
    ) -> AttemptRequest {
        let timestamp_s = now.unix_seconds();
        let signatures = self.keys.as_ref().map(|keys| keys.sign(&delivery_id, timestamp_s, &body.bytes));
        let (hub_signature, standard_signature) = match signatures {
            Some(s) => (Some(Bytes::from(s.hub)), Some(Bytes::from(s.standard))),
            None => (None, None),
        };
        AttemptRequest {
            delivery_id,
            timestamp_s,
            event_name: event.kind.name(),
            attempt_number,
            hub_signature,
            standard_signature,
            body: body.clone(),
        }
    }
}

/// What is done with what is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Deliver,
    /// Everything owed ends so, without an attempt: the webhook is gone (dead letters) or deleted (dropped).
    GiveUp(GiveUp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GiveUp {
    Gone,
    Deleted,
}

/// The actor.
pub(crate) struct WebhookActor {
    worker: Rc<WorkerShared>,
    shared: Arc<WebhookShared>,
    inbox: Rc<Inbox>,
    config: Option<Config>,
    mode: Mode,
    machine: Option<Machine<Payload>>,
    books: HeldBooks,
    rendering: Rendering,
    /// When the first retry on disk is due, Unix ms.
    next_due_ms: u64,
    learning: Learning,
    vitals: Vitals,
    last_active_ns: u64,
    /// After a failed read: not before.
    not_before_ns: u64,
    /// The webhook was changed and could not be read yet: nothing begins as it was before.
    is_config_stale: bool,
    /// It is being disabled: a change that is read meanwhile does not let it go on.
    is_disabling: Rc<Cell<bool>>,
    timer: Option<(SpawnHandle, u64)>,
    has_lost_memory: bool,
    /// What it had held is being put into the backlog index.
    is_recovering: bool,
    /// `ordering: KEY`: due rows wait until more of the index is read (see `is_behind_index`).
    is_index_first: bool,
    /// In the queue for room in the budget.
    is_waiting_for_room: bool,
    is_noting_given_up: bool,
    is_stopping: bool,
}

impl WebhookActor {
    pub(crate) fn start_new(
        worker: Rc<WorkerShared>,
        shared: Arc<WebhookShared>,
        inbox: Rc<Inbox>,
        has_lost_memory: bool,
    ) {
        let now = worker.clock.now();
        let mut books = HeldBooks::default();
        if shared.is_behind() {
            books.handle_news(true);
        }
        let actor = WebhookActor {
            next_due_ms: shared.next_due_ms.load(Ordering::Relaxed),
            worker,
            shared,
            inbox: Rc::clone(&inbox),
            config: None,
            mode: Mode::Deliver,
            machine: None,
            books,
            rendering: Rendering::default(),
            learning: Learning::Done,
            vitals: Vitals::default(),
            last_active_ns: now.mono_ns,
            not_before_ns: 0,
            is_config_stale: false,
            is_disabling: Rc::default(),
            timer: None,
            has_lost_memory,
            is_recovering: false,
            is_index_first: false,
            is_waiting_for_room: false,
            is_noting_given_up: false,
            is_stopping: false,
        };
        let addr = actor.start();
        inbox.connect(addr.recipient());
        inbox.wake();
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let now = self.worker.clock.now();
        let is_unread = self.config.is_none() && self.mode == Mode::Deliver;
        let is_news = self.inbox.is_reconfigured();
        if is_news {
            self.inbox.clear_reconfigured();
            self.is_config_stale = true;
        }
        // News is read at once, whatever failed before: a change is in force within 100 ms.
        let may_read = is_news || now.mono_ns >= self.not_before_ns;
        if (is_unread || self.is_config_stale) && may_read && self.load(now) {
            self.is_config_stale = false;
        }
        if self.config.is_none() && self.mode == Mode::Deliver {
            // What is unread stays in the inbox, bounded by the window, until the webhook can be read.
            return self.set_timer(self.not_before_ns, now, ctx);
        }
        if std::mem::take(&mut self.has_lost_memory) {
            self.recover_memory();
        }
        let unread = self.inbox.read();
        if !unread.is_empty() {
            self.last_active_ns = now.mono_ns;
        }
        if unread.is_room {
            self.is_waiting_for_room = false;
        }
        if unread.is_parked_after {
            self.books.handle_news(false);
        }
        if unread.is_parked_before {
            self.is_recovering = false;
            self.books.handle_news(true);
        }
        for end in unread.ended {
            self.handle_end(end, now);
        }
        for owed in unread.owed {
            let progress = Progress::first(owed.live.event().accepted_at_ms);
            self.take_in(
                Incoming {
                    live: owed.live,
                    index: owed.index,
                    retried_part: None,
                    is_alone: false,
                    settled_parts: Vec::new(),
                    progress,
                    origin: Origin::Direct,
                    read_no: 0,
                },
                now,
            );
        }
        for learnt in unread.learnt {
            self.handle_learnt(learnt, now);
        }
        for (page, aside) in unread.pages {
            self.handle_page(page, now);
            drop(aside);
        }
        for (due, aside) in unread.due {
            self.handle_due(due, now);
            drop(aside);
        }
        for news in unread.rendered {
            self.handle_rendered(news, now);
        }
        for question in unread.questions {
            self.answer(question, now);
        }
        if let Mode::GiveUp(why) = self.mode {
            self.give_up(why, now);
        }
        self.begin_attempts(now);
        self.let_go(now);
        self.read_on(now);
        if self.books.has_used_up() {
            let used_up = self.books.take_used_up();
            self.worker.outbox.drop_chunks(self.shared.no, used_up);
        }
        self.plan(now, ctx);
    }

    /// What had been handed over in memory and is held no more (the actor before this one panicked, or this one let
    /// go) is put into the backlog index, and read from there.
    fn recover_memory(&mut self) {
        self.is_recovering = true;
        self.shared.set_behind(true);
        let (no, id) = (self.shared.no, self.shared.id);
        let mut parked = self.worker.store.park_all(no);
        let (worker, inbox) = (Rc::clone(&self.worker), Rc::clone(&self.inbox));
        tokio::task::spawn_local(async move {
            while let Err(error) = parked.await {
                if matches!(error, StoreError::Poisoned(_)) {
                    // Nothing is written any more: the restart that it takes recovers this too.
                    return tracing::error!(webhook = %id, %error, "cannot recover what a webhook was owed");
                }
                tracing::error!(webhook = %id, %error, "cannot recover what a webhook was owed; tried again");
                tokio::time::sleep(STORE_RETRY).await;
                parked = worker.store.park_all(no);
            }
            inbox.write(|unread| unread.is_parked_before = true);
        });
    }
}

/// `<eventId>-<webhookId>[-part]` without the formatting machinery: this runs once per attempt.
fn delivery_id_bytes(event_id: &str, webhook_id: &str, part: u16) -> Bytes {
    let mut id = Vec::with_capacity(event_id.len() + webhook_id.len() + 7);
    id.extend_from_slice(event_id.as_bytes());
    id.push(b'-');
    id.extend_from_slice(webhook_id.as_bytes());
    if part > 0 {
        id.push(b'-');
        id.extend_from_slice(part.to_string().as_bytes());
    }
    Bytes::from(id)
}

impl Actor for WebhookActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Wake> for WebhookActor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.pump(ctx);
    }
}

impl Drop for WebhookActor {
    fn drop(&mut self) {
        if !self.is_stopping && std::thread::panicking() {
            let (worker, shared) = (Rc::clone(&self.worker), Arc::clone(&self.shared));
            tokio::task::spawn_local(async move { worker.handle_death(&shared) });
        }
    }
}
