//! The memory store behind a slow, failing and mortal writer: requests queue up, are committed in groups as the disk
//! allows, may be refused, and the process may die at any of them.
//!
//! What it keeps of the port's promises: requests are carried out in the order they were made, a commit is whole or not
//! at all, nothing is answered before it is committed. What it takes away: everything is slow, anything may be
//! refused, and what was handed over but not committed is gone with the process.

use super::MemoryStore;
use fanfare_core::delivery::DeliveryKey;
use fanfare_core::ports::history::{
    Backlog, DeliveryDetail, DeliveryPage, History, ListRequest, RedriveRequest, Redriven,
};
use fanfare_core::ports::{
    CatalogChange, CatalogEntry, DueRetries, IngestEvent, IngestReceipt, Page, PageRequest, SendFuture,
    SettleBatch, Store, StoreError, StoreStats, WaitingKeys,
};
use fanfare_core::webhook::Webhook;
use fanfare_core::{ChannelNo, EventId, Secret, WebhookNo};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Jobs that wait for the writer at most; beyond it events and settlements are refused.
const WAITING_MAX: usize = 256;

/// What is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `Store::ingest`.
    Ingest,
    /// `Store::settle`.
    Settle,
    /// `Store::page`.
    Page,
    /// `Store::due`.
    Due,
    /// `Store::waiting_keys`.
    WaitingKeys,
    /// `Store::park_all`.
    ParkAll,
    /// `Store::change`.
    Change,
    /// `Store::webhook`.
    Webhook,
    /// `History::redrive`.
    Redrive,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Take,
    /// It fails so; of a settlement: it is given back.
    Refuse(StoreError),
    /// The process dies here.
    Crash,
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFate {
    /// It is made and answered.
    Go,
    /// The process dies before it is made.
    CrashBefore,
    /// The process dies when it is made, before anyone is told.
    CrashAfter,
}

/// What a commit (or an answer) was about.
#[derive(Debug)]
pub enum Done<'a> {
    /// Events, with what they came to.
    Ingest(&'a [IngestEvent], &'a IngestReceipt),
    /// Settlements.
    Settle(&'a SettleBatch),
    /// Configuration.
    Change(&'a [CatalogChange]),
    /// Deliveries put back.
    Redrive(WebhookNo, &'a [DeliveryKey]),
}

/// Who decides what goes wrong, and hears of everything.
pub trait Faults: Send + Sync {
    /// A call arrives.
    fn at_call(&self, call: Call) -> Verdict;
    /// A commit begins; it takes so long.
    fn commit_time(&self) -> Duration;
    /// A commit is about to be made.
    fn at_commit(&self) -> CommitFate;
    /// How long a read's answer takes after it was read.
    fn answer_time(&self, call: Call) -> Duration;
    /// A settlement was taken, though not committed.
    fn handed(&self, batch: &SettleBatch);
    /// Committed.
    fn committed(&self, done: &Done<'_>);
    /// A change of configuration is about to be answered.
    fn change_answered(&self, changes: &[CatalogChange]);
    /// The process dies: from now on nothing is carried out or answered.
    fn crashed(&self);
}

/// A request with where its answer goes.
enum Job {
    Ingest(Vec<IngestEvent>, oneshot::Sender<Result<IngestReceipt, StoreError>>),
    Settle(SettleBatch),
    Page(PageRequest, oneshot::Sender<Result<Page, StoreError>>),
    Due(WebhookNo, u64, usize, oneshot::Sender<Result<DueRetries, StoreError>>),
    WaitingKeys(
        WebhookNo,
        Option<(u64, DeliveryKey)>,
        usize,
        oneshot::Sender<Result<WaitingKeys, StoreError>>,
    ),
    ParkAll(WebhookNo, oneshot::Sender<Result<(), StoreError>>),
    Change(Vec<CatalogChange>, oneshot::Sender<Result<(), StoreError>>),
    Redrive(WebhookNo, RedriveRequest, u64, oneshot::Sender<Result<Redriven, StoreError>>),
    Close(oneshot::Sender<()>),
}

struct Shared {
    memory: Arc<MemoryStore>,
    faults: Arc<dyn Faults>,
    waiting: Mutex<VecDeque<Job>>,
    bell: Notify,
    is_dead: AtomicBool,
}

/// The store. Call [`FaultyStore::start`] inside the runtime that it lives and dies with.
pub struct FaultyStore {
    shared: Arc<Shared>,
}

impl FaultyStore {
    /// Puts a writer before `memory`, on the present runtime.
    #[must_use]
    pub fn start(memory: Arc<MemoryStore>, faults: Arc<dyn Faults>) -> Arc<Self> {
        let shared = Arc::new(Shared {
            memory,
            faults,
            waiting: Mutex::new(VecDeque::new()),
            bell: Notify::new(),
            is_dead: AtomicBool::new(false),
        });
        tokio::spawn(write(Arc::clone(&shared)));
        Arc::new(FaultyStore { shared })
    }

    /// The process dies now.
    pub fn crash(&self) {
        self.shared.crash();
    }

    /// Asks; the answer never comes if the process dies.
    fn ask<T: Send + 'static>(
        &self,
        call: Call,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> SendFuture<Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let verdict = self.shared.verdict(call);
        if verdict == Verdict::Take {
            self.shared.push(job(reply));
        }
        Box::pin(async move {
            match verdict {
                Verdict::Refuse(error) => Err(error),
                Verdict::Take | Verdict::Crash => match answer.await {
                    Ok(answer) => answer,
                    Err(_) => std::future::pending().await,
                },
            }
        })
    }
}

impl Shared {
    fn crash(&self) {
        if !self.is_dead.swap(true, Ordering::SeqCst) {
            self.waiting.lock().clear();
            self.faults.crashed();
        }
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    fn verdict(&self, call: Call) -> Verdict {
        if self.is_dead() {
            return Verdict::Crash;
        }
        let is_crowded =
            matches!(call, Call::Ingest | Call::Settle) && self.waiting.lock().len() >= WAITING_MAX;
        if is_crowded {
            return Verdict::Refuse(StoreError::Busy);
        }
        let verdict = self.faults.at_call(call);
        if verdict == Verdict::Crash {
            self.crash();
        }
        verdict
    }

    fn push(&self, job: Job) {
        self.waiting.lock().push_back(job);
        self.bell.notify_one();
    }
}

/// The writer: takes everything that waits, commits it in order, answers.
async fn write(shared: Arc<Shared>) {
    loop {
        let jobs = std::mem::take(&mut *shared.waiting.lock());
        if jobs.is_empty() {
            shared.bell.notified().await;
            continue;
        }
        tokio::time::sleep(shared.faults.commit_time()).await;
        if shared.is_dead() {
            return;
        }
        let fate = shared.faults.at_commit();
        if fate == CommitFate::CrashBefore {
            return shared.crash();
        }
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.extend(carry_out(&shared, job).await);
        }
        if fate == CommitFate::CrashAfter {
            return shared.crash();
        }
        answers.into_iter().for_each(|answer| answer());
    }
}

type Answer = Box<dyn FnOnce() + Send>;

/// Applies one job to the memory store; what is returned tells whoever asked.
async fn carry_out(shared: &Arc<Shared>, job: Job) -> Option<Answer> {
    let Shared { memory, faults, .. } = &**shared;
    match job {
        Job::Ingest(batch, reply) => {
            let receipt = memory.ingest(batch.clone()).await;
            if let Ok(receipt) = &receipt {
                faults.committed(&Done::Ingest(&batch, receipt));
            }
            Some(Box::new(move || drop(reply.send(receipt))))
        }
        Job::Settle(batch) => {
            faults.committed(&Done::Settle(&batch));
            // It never refuses.
            drop(memory.settle(batch));
            None
        }
        Job::Page(request, reply) => {
            let page = memory.page(request).await;
            Some(late(shared, Call::Page, reply, page))
        }
        Job::Due(no, until_ms, count_max, reply) => {
            let due = memory.due(no, until_ms, count_max).await;
            Some(late(shared, Call::Due, reply, due))
        }
        Job::WaitingKeys(no, from, count_max, reply) => {
            let keys = memory.waiting_keys(no, from, count_max).await;
            Some(late(shared, Call::WaitingKeys, reply, keys))
        }
        Job::ParkAll(no, reply) => {
            let parked = memory.park_all(no).await;
            Some(Box::new(move || drop(reply.send(parked))))
        }
        Job::Change(changes, reply) => {
            let changed = memory.change(changes.clone()).await;
            faults.committed(&Done::Change(&changes));
            let faults = Arc::clone(faults);
            Some(Box::new(move || {
                faults.change_answered(&changes);
                drop(reply.send(changed));
            }))
        }
        Job::Redrive(no, request, now_ms, reply) => {
            let before = memory.dead_keys();
            let redriven = memory.redrive(no, request, now_ms).await;
            let after = memory.dead_keys();
            let put_back: Vec<DeliveryKey> = before.difference(&after).map(|(_, key)| *key).collect();
            faults.committed(&Done::Redrive(no, &put_back));
            Some(Box::new(move || drop(reply.send(redriven))))
        }
        Job::Close(reply) => Some(Box::new(move || {
            let _ = reply.send(());
        })),
    }
}

/// A read's answer, which may take a while and is then a picture of the past.
fn late<T: Send + 'static>(
    shared: &Arc<Shared>,
    call: Call,
    reply: oneshot::Sender<Result<T, StoreError>>,
    answer: Result<T, StoreError>,
) -> Answer {
    let wait = shared.faults.answer_time(call);
    Box::new(move || {
        if wait.is_zero() {
            return drop(reply.send(answer));
        }
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            drop(reply.send(answer));
        });
    })
}

impl Store for FaultyStore {
    fn load(&self, sink: &mut dyn FnMut(CatalogEntry)) -> Result<(), StoreError> {
        self.shared.memory.load(sink)
    }

    fn ingest(&self, batch: Vec<IngestEvent>) -> SendFuture<Result<IngestReceipt, StoreError>> {
        self.ask(Call::Ingest, |reply| Job::Ingest(batch, reply))
    }

    fn settle(&self, batch: SettleBatch) -> Result<(), SettleBatch> {
        match self.shared.verdict(Call::Settle) {
            Verdict::Take => {
                self.shared.faults.handed(&batch);
                self.shared.push(Job::Settle(batch));
                Ok(())
            }
            Verdict::Refuse(_) => Err(batch),
            Verdict::Crash => Ok(()),
        }
    }

    fn page(&self, request: PageRequest) -> SendFuture<Result<Page, StoreError>> {
        self.ask(Call::Page, |reply| Job::Page(request, reply))
    }

    fn due(
        &self,
        webhook: WebhookNo,
        until_ms: u64,
        count_max: usize,
    ) -> SendFuture<Result<DueRetries, StoreError>> {
        self.ask(Call::Due, |reply| Job::Due(webhook, until_ms, count_max, reply))
    }

    fn waiting_keys(
        &self,
        webhook: WebhookNo,
        from: Option<(u64, DeliveryKey)>,
        count_max: usize,
    ) -> SendFuture<Result<WaitingKeys, StoreError>> {
        self.ask(Call::WaitingKeys, |reply| Job::WaitingKeys(webhook, from, count_max, reply))
    }

    fn park_all(&self, webhook: WebhookNo) -> SendFuture<Result<(), StoreError>> {
        self.ask(Call::ParkAll, |reply| Job::ParkAll(webhook, reply))
    }

    fn change(&self, changes: Vec<CatalogChange>) -> SendFuture<Result<(), StoreError>> {
        self.ask(Call::Change, |reply| Job::Change(changes, reply))
    }

    fn next_channel_no(&self) -> ChannelNo {
        self.shared.memory.next_channel_no()
    }

    fn next_webhook_no(&self) -> WebhookNo {
        self.shared.memory.next_webhook_no()
    }

    fn webhook(&self, no: WebhookNo) -> Result<Option<Webhook>, StoreError> {
        match self.shared.verdict(Call::Webhook) {
            Verdict::Take => self.shared.memory.webhook(no),
            Verdict::Refuse(error) => Err(error),
            Verdict::Crash => Err(StoreError::Other("the process is dead".into())),
        }
    }

    fn key_hash(&self, key: &Secret) -> [u8; 32] {
        self.shared.memory.key_hash(key)
    }

    fn stats(&self) -> StoreStats {
        self.shared.memory.stats()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.shared.memory.health()
    }

    fn close(&self) -> SendFuture<()> {
        let (reply, answer) = oneshot::channel();
        self.shared.push(Job::Close(reply));
        Box::pin(async move {
            if answer.await.is_err() {
                std::future::pending().await
            }
        })
    }
}

impl History for FaultyStore {
    fn list(&self, request: ListRequest) -> SendFuture<Result<DeliveryPage, StoreError>> {
        self.shared.memory.list(request)
    }

    fn find(
        &self,
        webhook: WebhookNo,
        event_id: EventId,
        part: u16,
    ) -> SendFuture<Result<Option<DeliveryDetail>, StoreError>> {
        self.shared.memory.find(webhook, event_id, part)
    }

    fn redrive(
        &self,
        webhook: WebhookNo,
        request: RedriveRequest,
        now_ms: u64,
    ) -> SendFuture<Result<Redriven, StoreError>> {
        self.ask(Call::Redrive, |reply| Job::Redrive(webhook, request, now_ms, reply))
    }

    fn backlog(&self, webhook: WebhookNo, count_max: u64) -> SendFuture<Result<Backlog, StoreError>> {
        self.shared.memory.backlog(webhook, count_max)
    }
}

#[cfg(test)]
mod tests;
