//! An event in memory: rendered once per format however many webhooks use it, and counted against the process's
//! window while it is there.

use crate::metrics::FormatMetrics;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::{Event, key_hash};
use fanfare_core::ports::Clock;
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes of events in memory over all webhooks (D9). What is handed over after an ingest commit may use three quarters
/// of it, above that it waits on disk; what is read back from there asks before it is read. So those that are behind
/// always find room, however fast events come in.
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

    /// Whether an event that was just accepted may be handed over in memory.
    pub(crate) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.limit / 4 * 3
    }

    /// Whether a read of so many bytes is likely to find room, with `asked` bytes of others before it.
    pub(crate) fn has_room_to_read(&self, asked: u64, bytes: u64) -> bool {
        let before = self.used.load(Ordering::Relaxed).saturating_add(asked);
        before == 0 || before.saturating_add(bytes) <= self.limit
    }

    /// Reserves room for a read of up to `count_max` things of `bytes` each, fewer when there is not room for all, but
    /// at least `count_min`. `None`: not now. With nothing in memory at all the fewest are granted whatever the limit,
    /// so that there is always progress.
    pub(crate) fn set_aside(
        self: &Arc<Self>,
        count_max: usize,
        count_min: usize,
        bytes: u64,
    ) -> Option<(SetAside, usize)> {
        let mut count = count_max.max(count_min);
        loop {
            let bytes = (count as u64).saturating_mul(bytes);
            let before = self.used.fetch_add(bytes, Ordering::Relaxed);
            // Dropped, it gives back what was added.
            let aside = SetAside { budget: Arc::clone(self), bytes };
            let is_fewest = count <= count_min;
            if before.saturating_add(bytes) <= self.limit || (before == 0 && is_fewest) {
                return Some((aside, count));
            }
            if is_fewest {
                return None;
            }
            count = (count / 4).max(count_min);
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Room reserved for a read, until what it brought counts itself.
#[derive(Debug)]
pub(crate) struct SetAside {
    budget: Arc<WindowBudget>,
    bytes: u64,
}

impl Drop for SetAside {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
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

    /// What `format` gives, when it is built in, or a plugin gave it already; rendered at most once. The lock is held
    /// meanwhile (3 µs for a Z_API body), so that a second event loop waits instead of rendering again.
    pub(crate) fn rendered(
        &self,
        format: &FormatName,
        metrics: &FormatMetrics,
        clock: &dyn Clock,
    ) -> Option<Arc<Rendered>> {
        let mut cache = self.rendered.lock();
        if let Some((_, rendered)) = cache.iter().find(|(name, _)| name == format) {
            return Some(Arc::clone(rendered));
        }
        if !format.is_builtin() {
            return None;
        }
        let started = metrics.begin().then(|| clock.now());
        let rendered = Arc::new(fanfare_render::render_builtin(format, &self.event)?);
        if let Some(started) = started {
            metrics.end(clock.now().mono_ns.saturating_sub(started.mono_ns));
        }
        cache.push((format.clone(), Arc::clone(&rendered)));
        Some(rendered)
    }

    /// Keeps what a plugin gave for the other webhooks; `false`: it is there already, or is none to keep.
    pub(crate) fn keep(&self, format: &FormatName, rendered: &Arc<Rendered>) -> bool {
        if matches!(**rendered, Rendered::Fault { .. } | Rendered::Later { .. }) {
            return false;
        }
        let mut cache = self.rendered.lock();
        if cache.iter().any(|(name, _)| name == format) {
            return false;
        }
        cache.push((format.clone(), Arc::clone(rendered)));
        true
    }
}

impl Drop for LiveEvent {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.cost, Ordering::Relaxed);
    }
}
