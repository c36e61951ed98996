//! The engine's start: the registry read, event loops running, what was waiting taken up.

use crate::EngineError;
use crate::catalog::{Catalog, Waiting};
use crate::formats::FormatChanges;
use crate::handle::{EngineOptions, Inner, WorkerHandle};
use crate::live::WindowBudget;
use crate::manage::Registry;
use crate::metrics::{IngestMetrics, WorkerMetrics};
use crate::worker::{Recovered, Worker, WorkerParts};
use fanfare_core::WebhookNo;
use parking_lot::Mutex;
use rand::rngs::{SmallRng, StdRng};
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the event loops run.
pub(crate) enum Loops {
    /// A thread each.
    Threads,
    /// All on the caller's `LocalSet`: for tests on paused time and simulation.
    Here,
}

/// Reads the store, starts the event loops, and takes up what was waiting.
pub(crate) async fn start(options: EngineOptions, loops: &Loops) -> Result<Arc<Inner>, EngineError> {
    let (catalog, waiting) =
        Catalog::load(&*options.store).map_err(|e| EngineError::Internal(e.to_string()))?;
    let mut rng = StdRng::from_seed(options.seed);
    let worker_seeds: Vec<u64> = (0..options.workers.max(1)).map(|_| rng.random()).collect();
    let registry = Arc::new(Registry {
        catalog,
        store: Arc::clone(&options.store),
        clock: Arc::clone(&options.clock),
        rng: Mutex::new(rng),
        making_channel: tokio::sync::Mutex::new(()),
    });
    let budget = WindowBudget::new(options.window_bytes_max);
    let is_draining = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::with_capacity(worker_seeds.len());
    for (index, seed) in worker_seeds.into_iter().enumerate() {
        let metrics = Arc::new(WorkerMetrics::default());
        let parts = WorkerParts {
            clock: Arc::clone(&options.clock),
            store: Arc::clone(&options.store),
            transport: Arc::clone(&options.transport),
            formatter: Arc::clone(&options.formatter),
            registry: Arc::clone(&registry),
            budget: Arc::clone(&budget),
            metrics: Arc::clone(&metrics),
            defaults: options.defaults.clone(),
            gate_policy: options.gate,
            hub_signature_name: options.hub_signature_name.clone(),
            successes: options.successes,
            idle_sleep: options.idle_sleep,
            rng: SmallRng::seed_from_u64(seed),
            is_draining: Arc::clone(&is_draining),
        };
        workers.push(match loops {
            Loops::Here => WorkerHandle {
                addr: Worker::start_here(parts),
                metrics,
                stop: Mutex::new(None),
                thread: Mutex::new(None),
            },
            Loops::Threads => start_thread(index, parts, metrics).await?,
        });
    }
    let bootstrap_hash = options.bootstrap_key.as_ref().map(|key| options.store.key_hash(key));
    let inner = Arc::new(Inner {
        options,
        registry,
        budget,
        workers,
        ingest: IngestMetrics::default(),
        bootstrap_hash,
        is_draining,
        is_refusing: AtomicBool::new(false),
        format_changes: FormatChanges::default(),
    });
    take_up(&inner, waiting).await;
    Ok(inner)
}

/// An event loop on a thread of its own.
async fn start_thread(
    index: usize,
    parts: WorkerParts,
    metrics: Arc<WorkerMetrics>,
) -> Result<WorkerHandle, EngineError> {
    let (addr_tx, addr_rx) = tokio::sync::oneshot::channel();
    let (stop_tx, stop_rx) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name(format!("deliver-{index}"))
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "cannot make an event loop");
                    return;
                }
            };
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async move {
                let _ = addr_tx.send(Worker::start_here(parts));
                let _ = stop_rx.await;
            });
        })
        .map_err(|error| EngineError::Internal(format!("cannot start a thread: {error}")))?;
    let addr = addr_rx.await.map_err(|_| EngineError::Internal("an event loop did not start".into()))?;
    Ok(WorkerHandle { addr, metrics, stop: Mutex::new(Some(stop_tx)), thread: Mutex::new(Some(thread)) })
}

/// Hands what was waiting on disk to the event loops.
async fn take_up(inner: &Arc<Inner>, waiting: Waiting) {
    let mut mails: Vec<Recovered> =
        inner.workers.iter().map(|_| Recovered { backlog: Vec::new(), retries: Vec::new() }).collect();
    let find = |no: WebhookNo| inner.registry.catalog.webhooks.get(&no).map(|shared| Arc::clone(&shared));
    for no in waiting.backlog {
        if let (Some(shared), Some(mail)) = (find(no), mails.get_mut(inner.worker_of(no))) {
            shared.set_behind(true);
            mail.backlog.push(shared);
        }
    }
    for (no, due_ms) in waiting.retries {
        if let (Some(shared), Some(mail)) = (find(no), mails.get_mut(inner.worker_of(no))) {
            shared.next_due_ms.store(due_ms, Ordering::Relaxed);
            mail.retries.push((no, due_ms));
        }
    }
    for (worker, mail) in inner.workers.iter().zip(mails) {
        let _ = worker.addr.send(mail).await;
    }
}
