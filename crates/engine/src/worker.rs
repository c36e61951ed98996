//! An event loop that delivers, and the actor on it that starts the webhooks' actors and hands them their mail.
//!
//! Owns: who is awake on this loop, who sleeps with a retry due, the outbox to the store. Written by: the handle (mail
//! after each ingest commit or change). Survives its death: nothing; the store knows all that is owed.

use crate::asking::{ActorHealth, Question};
use crate::catalog::WebhookShared;
use crate::inbox::{DirectOwed, Inbox};
use crate::live::{LiveEvent, WindowBudget};
use crate::manage::Registry;
use crate::metrics::WorkerMetrics;
use crate::outbox::Outbox;
use crate::webhook::WebhookActor;
use actix::prelude::*;
use fanfare_core::WebhookNo;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::policy::growth_ration::GrowthRation;
use fanfare_core::ports::{Clock, Formatter, Store, Transport};
use fanfare_core::webhook::DeliveryPolicy;
use rand::rngs::SmallRng;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Mails that may wait for the worker; each carries what a whole ingest batch owes. Ingest waits for room.
pub(crate) const MAILBOX: usize = 64;
/// Webhooks with a backlog that are started in one turn of the loop after a restart.
const STARTS_PER_TURN: usize = 64;

/// Attempts that timed out and end in one turn of the loop; each costs 0.1 to 0.2 ms.
const TIMEOUTS_PER_TURN: usize = 2;
/// How often those that wait for room in the budget are thought of.
const ROOM_TICK: Duration = Duration::from_millis(10);
/// What one of them is thought to ask for, bytes.
const ROOM_BYTES: u64 = 512 * 1024;

/// Which successes are recorded as attempts (`attempts.successes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Successes {
    /// Every one.
    #[default]
    All,
    /// One in a hundred.
    Sampled,
    /// None.
    None,
}

/// What all actors of one loop share.
pub(crate) struct WorkerShared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) formatter: Arc<dyn Formatter>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) budget: Arc<WindowBudget>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) defaults: DeliveryPolicy,
    pub(crate) gate_policy: GatePolicy,
    pub(crate) hub_signature_name: String,
    pub(crate) successes: Successes,
    pub(crate) idle_sleep: Duration,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) rng: RefCell<SmallRng>,
    /// Of further connections to receivers that have not answered.
    pub(crate) growth_ration: RefCell<GrowthRation>,
    /// Of attempts that timed out: so many end in one turn of the loop.
    pub(crate) timeout_turns: Semaphore,
    is_draining: Arc<AtomicBool>,
    awake: RefCell<HashMap<WebhookNo, Rc<Inbox>>>,
    /// Sleeping webhooks by when their first retry is due.
    due: RefCell<BTreeSet<(u64, WebhookNo)>>,
    /// Webhooks to be started, a few each turn.
    to_start: RefCell<VecDeque<Arc<WebhookShared>>>,
    is_due_timer_set: Cell<bool>,
    /// Actors that found no room in the budget for a read, in order; each once.
    waiting_for_room: RefCell<VecDeque<Rc<Inbox>>>,
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) formatter: Arc<dyn Formatter>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) budget: Arc<WindowBudget>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) defaults: DeliveryPolicy,
    pub(crate) gate_policy: GatePolicy,
    pub(crate) hub_signature_name: String,
    pub(crate) successes: Successes,
    pub(crate) idle_sleep: Duration,
    pub(crate) rng: SmallRng,
    pub(crate) is_draining: Arc<AtomicBool>,
}

impl WorkerShared {
    /// The inbox of a webhook, its actor started if it sleeps, or again if it died.
    pub(crate) fn inbox(self: &Rc<Self>, shared: &Arc<WebhookShared>) -> Rc<Inbox> {
        if let Some(inbox) = self.awake.borrow().get(&shared.no)
            && inbox.is_read()
        {
            return Rc::clone(inbox);
        }
        self.start(shared)
    }

    fn start(self: &Rc<Self>, shared: &Arc<WebhookShared>) -> Rc<Inbox> {
        let inbox = Inbox::new();
        let former = self.awake.borrow_mut().insert(shared.no, Rc::clone(&inbox));
        if shared.next_due_ms.load(Ordering::Relaxed) != u64::MAX {
            self.due.borrow_mut().remove(&(shared.next_due_ms.load(Ordering::Relaxed), shared.no));
        }
        let has_lost_memory = former.is_some();
        if let Some(former) = former {
            // It died with its memory: places it had reserved are free, and the store tells what it held.
            shared.release(former.places());
            self.metrics.actor_panics.add(1);
            tracing::error!(webhook = %shared.id, "a webhook's actor panicked and is started again from the store");
        } else {
            self.metrics.awake.add(1);
        }
        WebhookActor::start_new(Rc::clone(self), Arc::clone(shared), Rc::clone(&inbox), has_lost_memory);
        inbox
    }

    /// No attempt begins any more.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// An actor stopped for good or fell asleep.
    pub(crate) fn forget(&self, no: WebhookNo) {
        if self.awake.borrow_mut().remove(&no).is_some() {
            self.metrics.awake.sub(1);
        }
    }

    /// An actor died: start it again.
    pub(crate) fn handle_death(self: &Rc<Self>, shared: &Arc<WebhookShared>) {
        if !self.is_draining() {
            self.inbox(shared).wake();
        }
    }

    /// A sleeping webhook's first retry is due then.
    pub(crate) fn wake_at(self: &Rc<Self>, due_ms: u64, no: WebhookNo) {
        self.due.borrow_mut().insert((due_ms, no));
        self.set_due_timer();
    }

    fn set_due_timer(self: &Rc<Self>) {
        let Some((due_ms, _)) = self.due.borrow().first().copied() else { return };
        if self.is_due_timer_set.replace(true) {
            return;
        }
        let worker = Rc::clone(self);
        // At most a second, so that an earlier time that comes meanwhile, or a stepping wall clock, is seen soon.
        let wait = Duration::from_millis(due_ms.saturating_sub(self.clock.now().unix_ms).clamp(1, 1000));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            worker.is_due_timer_set.set(false);
            worker.wake_due();
        });
    }

    fn wake_due(self: &Rc<Self>) {
        let now_ms = self.clock.now().unix_ms;
        for _ in 0..STARTS_PER_TURN {
            let Some(first) = self.due.borrow().first().copied() else { return };
            if first.0 > now_ms || self.is_draining() {
                break;
            }
            self.due.borrow_mut().remove(&first);
            if let Some(shared) = self.registry.catalog.webhooks.get(&first.1).map(|s| Arc::clone(&s))
                && shared.is_enabled()
            {
                self.inbox(&shared).wake();
            }
        }
        self.set_due_timer();
    }

    /// Starts waiting webhooks, a few each turn, so that a start with very many does not stall the loop.
    fn start_some(self: &Rc<Self>) {
        for _ in 0..STARTS_PER_TURN {
            let Some(shared) = self.to_start.borrow_mut().pop_front() else { return };
            self.inbox(&shared).write(|unread| unread.is_parked_before = true);
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::task::yield_now().await;
            worker.start_some();
        });
    }

    /// Wakes an actor when there is room for a read in the budget; first come, first served.
    pub(crate) fn wait_for_room(self: &Rc<Self>, inbox: &Rc<Inbox>) {
        let is_first = {
            let mut waiting = self.waiting_for_room.borrow_mut();
            waiting.push_back(Rc::clone(inbox));
            waiting.len() == 1
        };
        if is_first {
            let worker = Rc::clone(self);
            tokio::task::spawn_local(async move {
                while !worker.waiting_for_room.borrow().is_empty() {
                    tokio::time::sleep(ROOM_TICK).await;
                    worker.give_room();
                }
            });
        }
    }

    fn give_room(&self) {
        let mut asked = 0;
        while self.budget.has_room_to_read(asked, ROOM_BYTES) {
            let Some(inbox) = self.waiting_for_room.borrow_mut().pop_front() else { return };
            inbox.write(|unread| unread.is_room = true);
            asked += ROOM_BYTES;
        }
    }

    fn wake_all(&self) {
        let inboxes: Vec<Rc<Inbox>> = self.awake.borrow().values().cloned().collect();
        for inbox in inboxes {
            inbox.wake();
        }
    }
}

/// One delivery of an ingest batch, handed over in memory.
#[derive(Debug)]
pub(crate) struct OwedFor {
    pub(crate) webhook: Arc<WebhookShared>,
    pub(crate) live: Arc<LiveEvent>,
    pub(crate) index: u32,
}

/// Everything one ingest commit or one change means for this loop's webhooks.
#[derive(Debug, Default)]
pub(crate) struct WorkerMail {
    pub(crate) owed: Vec<OwedFor>,
    /// Webhooks with something new in their backlog index, after what they read.
    pub(crate) parked_after: Vec<Arc<WebhookShared>>,
    /// The same, perhaps before what they read.
    pub(crate) parked_before: Vec<Arc<WebhookShared>>,
    /// Webhooks that were changed or deleted.
    pub(crate) reconfigured: Vec<Arc<WebhookShared>>,
}

impl Message for WorkerMail {
    type Result = ();
}

impl WorkerMail {
    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
            && self.parked_after.is_empty()
            && self.parked_before.is_empty()
            && self.reconfigured.is_empty()
    }
}

/// A question to one webhook's actor.
pub(crate) struct Ask {
    pub(crate) webhook: Arc<WebhookShared>,
    pub(crate) question: Question,
}

impl Message for Ask {
    type Result = ();
}

/// What was waiting when the store was opened.
pub(crate) struct Recovered {
    pub(crate) backlog: Vec<Arc<WebhookShared>>,
    pub(crate) retries: Vec<(WebhookNo, u64)>,
}

impl Message for Recovered {
    type Result = ();
}

/// The engine drains: every actor is to see it.
pub(crate) struct Drain;

impl Message for Drain {
    type Result = ();
}

/// Answers whether nothing is in flight and everything settled was handed to the store.
pub(crate) struct IsDrained;

impl Message for IsDrained {
    type Result = bool;
}

/// The actor.
pub(crate) struct Worker {
    shared: Rc<WorkerShared>,
}

impl Worker {
    /// Starts it on the present event loop.
    pub(crate) fn start_here(parts: WorkerParts) -> Addr<Worker> {
        let shared = Rc::new(WorkerShared {
            clock: parts.clock,
            outbox: Outbox::new(Arc::clone(&parts.store)),
            store: parts.store,
            transport: parts.transport,
            formatter: parts.formatter,
            registry: parts.registry,
            budget: parts.budget,
            metrics: parts.metrics,
            defaults: parts.defaults,
            gate_policy: parts.gate_policy,
            hub_signature_name: parts.hub_signature_name,
            successes: parts.successes,
            idle_sleep: parts.idle_sleep,
            rng: RefCell::new(parts.rng),
            growth_ration: RefCell::default(),
            timeout_turns: Semaphore::new(TIMEOUTS_PER_TURN),
            is_draining: parts.is_draining,
            awake: RefCell::default(),
            due: RefCell::default(),
            to_start: RefCell::default(),
            is_due_timer_set: Cell::new(false),
            waiting_for_room: RefCell::default(),
        });
        Worker { shared }.start()
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<WorkerMail> for Worker {
    type Result = ();

    fn handle(&mut self, mail: WorkerMail, _ctx: &mut Self::Context) {
        let worker = &self.shared;
        for OwedFor { webhook, live, index } in mail.owed {
            worker.inbox(&webhook).write_owed(DirectOwed { live, index });
        }
        for webhook in mail.parked_after {
            let is_awake = worker.awake.borrow().contains_key(&webhook.no);
            if is_awake || webhook.is_enabled() {
                worker.inbox(&webhook).write(|unread| unread.is_parked_after = true);
            } else {
                // Disabled since it was routed: whoever enables it finds that there is something.
                webhook.set_behind(true);
            }
        }
        for webhook in mail.parked_before {
            worker.inbox(&webhook).write(|unread| unread.is_parked_before = true);
        }
        for webhook in mail.reconfigured {
            let is_awake = worker.awake.borrow().contains_key(&webhook.no);
            let has_work = webhook.is_behind() || webhook.next_due_ms.load(Ordering::Relaxed) != u64::MAX;
            if is_awake || (webhook.is_enabled() && has_work) {
                worker.inbox(&webhook).write(|unread| {
                    unread.is_reconfigured = true;
                    unread.is_parked_before |= webhook.is_behind();
                });
            }
        }
    }
}

impl Handler<Ask> for Worker {
    type Result = ();

    fn handle(&mut self, ask: Ask, _ctx: &mut Self::Context) {
        let Ask { webhook, question } = ask;
        match question {
            Question::Health(reply) if !self.shared.awake.borrow().contains_key(&webhook.no) => {
                let health = ActorHealth::asleep(webhook.asleep.lock().as_deref(), self.shared.clock.now());
                // Fails when nobody waits for it any more.
                drop(reply.send(health));
            }
            question => self.shared.inbox(&webhook).write(|unread| unread.questions.push(question)),
        }
    }
}

impl Handler<Recovered> for Worker {
    type Result = ();

    fn handle(&mut self, recovered: Recovered, _ctx: &mut Self::Context) {
        self.shared.to_start.borrow_mut().extend(recovered.backlog);
        for (no, due_ms) in recovered.retries {
            self.shared.wake_at(due_ms, no);
        }
        self.shared.start_some();
    }
}

impl Handler<Drain> for Worker {
    type Result = ();

    fn handle(&mut self, _: Drain, _ctx: &mut Self::Context) {
        self.shared.wake_all();
    }
}

impl Handler<IsDrained> for Worker {
    type Result = bool;

    fn handle(&mut self, _: IsDrained, _ctx: &mut Self::Context) -> bool {
        // An attempt that ended is settled when its actor has read of it.
        let is_all_read = self.shared.awake.borrow().values().all(|inbox| !inbox.has_ended());
        self.shared.outbox.flush();
        self.shared.metrics.in_flight.get() == 0 && is_all_read && self.shared.outbox.is_empty()
    }
}
