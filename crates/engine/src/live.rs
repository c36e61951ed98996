//! An event in memory: rendered once per format however many webhooks use it, and counted against the process's
//! window while it is there.

use fanfare_core::delivery::Rendered;
use fanfare_core::event::{Event, key_hash};
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes of events in memory over all webhooks. Above its limit nothing more is handed over in memory: it waits on
/// disk (D9).
#[derive(Debug)]
pub(crate) struct WindowBudget {
    used: AtomicU64,
    limit: u64,
}

/// What an event costs in memory beside its envelope.
const EVENT_OVERHEAD_BYTES: u64 = 512;

impl WindowBudget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(WindowBudget { used: AtomicU64::new(0), limit })
    }

    pub(crate) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.limit
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Nearly always one format.
type RenderedBy = SmallVec<[(FormatName, Arc<Rendered>); 1]>;

/// An event that some actor holds.
#[derive(Debug)]
pub(crate) struct LiveEvent {
    event: Arc<Event>,
    rendered: Mutex<RenderedBy>,
    /// Hash of the ordering key, once it was asked for.
    key: OnceLock<Option<u64>>,
    budget: Arc<WindowBudget>,
    cost: u64,
}

impl LiveEvent {
    pub(crate) fn new(event: Arc<Event>, budget: &Arc<WindowBudget>) -> Arc<Self> {
        let cost = event.envelope.len() as u64 + EVENT_OVERHEAD_BYTES;
        budget.used.fetch_add(cost, Ordering::Relaxed);
        Arc::new(LiveEvent {
            event,
            rendered: Mutex::new(SmallVec::new()),
            key: OnceLock::new(),
            budget: Arc::clone(budget),
            cost,
        })
    }

    pub(crate) fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Hash of the ordering key: the producer's, else the customer's identifier in the message. `None`: an event that
    /// is about no customer, which waits for none.
    pub(crate) fn key(&self) -> Option<u64> {
        *self.key.get_or_init(|| match &self.event.key {
            Some(key) => Some(key_hash(key)),
            None => fanfare_render::customer_identifier(&self.event.payload()).map(|key| key_hash(&key)),
        })
    }

    /// What `format` gives, when it is built in; rendered at most once. The lock is held meanwhile (3 µs for a
    /// Z_API body), so that a second event loop waits instead of rendering again.
    pub(crate) fn builtin(&self, format: &FormatName) -> Option<Arc<Rendered>> {
        let mut cache = self.rendered.lock();
        if let Some((_, rendered)) = cache.iter().find(|(name, _)| name == format) {
            return Some(Arc::clone(rendered));
        }
        let rendered = Arc::new(fanfare_render::render_builtin(format, &self.event)?);
        cache.push((format.clone(), Arc::clone(&rendered)));
        Some(rendered)
    }
}

impl Drop for LiveEvent {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.cost, Ordering::Relaxed);
    }
}
