//! Pushes events with known ids without an end, and keeps those that an answer confirmed.

use crate::ledger::Ledger;
use crate::{CHANNEL, until};
use fanfare_tests::{Api, events};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// Events in one request.
const BATCH: usize = 20;
/// The producer waits when so many confirmed events have not been seen by the fast webhooks: a standing backlog of
/// theirs would only make the end longer.
const AHEAD_MAX: usize = 400;

static REJECTED: AtomicUsize = AtomicUsize::new(0);

/// Events that were refused, of all producers.
pub(crate) fn rejected_count() -> usize {
    REJECTED.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Shared {
    api: Mutex<Option<Api>>,
    is_stopping: AtomicBool,
    confirmed: Mutex<Vec<String>>,
}

pub(crate) struct Producer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Producer {
    pub(crate) fn start(api: Api, ledger: Arc<Ledger>) -> Self {
        let shared = Arc::new(Shared { api: Mutex::new(Some(api)), ..Shared::default() });
        let task = tokio::spawn(produce(Arc::clone(&shared), ledger));
        Producer { shared, task }
    }

    /// The engine is up again, elsewhere.
    pub(crate) fn goes_on_at(&self, api: Api) {
        *self.shared.api.lock().unwrap() = Some(api);
    }

    pub(crate) fn confirmed_count(&self) -> usize {
        self.shared.confirmed.lock().unwrap().len()
    }

    /// Every event that was confirmed: all that were made, for a batch without an answer is sent until it has one.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        std::mem::take(&mut self.shared.confirmed.lock().unwrap())
    }
}

async fn produce(shared: Arc<Shared>, ledger: Arc<Ledger>) {
    let mut made = 0;
    while !shared.is_stopping.load(Ordering::Relaxed) {
        let ids: Vec<String> = (made..made + BATCH).map(|n| format!("r{n:07}")).collect();
        made += BATCH;
        let batch: Vec<_> = ids.iter().map(|id| events::message(CHANNEL, id, &[id, "second part"])).collect();
        let body = events::lines(&batch);
        until("an answer to a batch", || push(&shared, &body)).await;
        shared.confirmed.lock().unwrap().extend(ids);
        until("the fast webhooks to come near", || async {
            (ledger.events_seen() + AHEAD_MAX > made).then_some(())
        })
        .await;
    }
}

/// `None`: no answer, or one that says "later". The same batch is pushed again; what had been taken of it is a
/// duplicate then, not a second event.
async fn push(shared: &Shared, body: &str) -> Option<()> {
    let api = shared.api.lock().unwrap().clone()?;
    let headers = [("content-type", "application/x-ndjson")];
    let answer = api.try_call(http::Method::POST, "/v1/events", &headers, body.to_owned()).await.ok()?;
    if answer.status == 503 {
        return None;
    }
    let counts = answer.expect(202);
    let rejected = counts["rejected"].as_array().map_or(BATCH, Vec::len);
    REJECTED.fetch_add(rejected, Ordering::Relaxed);
    let known = counts["accepted"].as_u64().unwrap() + counts["duplicates"].as_u64().unwrap();
    assert_eq!(known, BATCH as u64, "{counts}");
    Some(())
}
