//! The registry: accounts, keys, channels and what routing needs of webhooks, in memory; everything else of a
//! webhook is read from the store when its actor starts, so that a registered webhook costs little.

use crate::asking::Asleep;
use arc_swap::ArcSwap;
use dashmap::DashMap;
use fanfare_core::event::KindSet;
use fanfare_core::ports::{CatalogEntry, Store, StoreError};
use fanfare_core::webhook::{Account, ApiKey, Channel};
use fanfare_core::{AccountId, ChannelId, ChannelNo, KeyId, WebhookId, WebhookNo};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Deliveries handed over in memory before a webhook has shown what it can take.
pub(crate) const WINDOW_FIRST: u32 = 256;
/// And at most, once it has.
pub(crate) const WINDOW_MAX: u32 = 8192;
/// And at least, when its gate shuts.
pub(crate) const WINDOW_MIN: u32 = 64;

/// What routing and sleep need of a webhook; about 100 B. Written by the handle (kinds, enabled), by routing (queued,
/// behind) and by its actor (window, behind, memory).
#[derive(Debug)]
pub(crate) struct WebhookShared {
    pub(crate) no: WebhookNo,
    pub(crate) id: WebhookId,
    kinds: AtomicU8,
    is_enabled: AtomicBool,
    /// `ordering: KEY`: everything takes the way over the backlog index, whose rows are in the order of events.
    is_ordered: AtomicBool,
    /// Deliveries reserved in memory: mailed, or held by the actor.
    queued: AtomicU32,
    /// How many may be.
    window: AtomicU32,
    /// Whether the backlog index holds something of it, so that new deliveries queue up behind it on disk.
    is_behind: AtomicBool,
    /// When its first retry on disk is due, Unix ms; `u64::MAX`: none known. Read when it is asleep.
    pub(crate) next_due_ms: AtomicU64,
    /// A former process drove it, and no actor of this one has yet.
    was_driven_before: AtomicBool,
    /// It was enabled, or its URL changed: what its actor knows of the receiver no longer counts. Kept here, for the
    /// actor may sleep.
    is_gate_reset: AtomicBool,
    /// What a sleeping actor left behind.
    pub(crate) asleep: Mutex<Option<Box<Asleep>>>,
}

impl WebhookShared {
    pub(crate) fn new(
        no: WebhookNo,
        id: WebhookId,
        kinds: KindSet,
        is_enabled: bool,
        is_ordered: bool,
    ) -> Arc<Self> {
        Arc::new(WebhookShared {
            no,
            id,
            kinds: AtomicU8::new(kinds.0),
            is_enabled: AtomicBool::new(is_enabled),
            is_ordered: AtomicBool::new(is_ordered),
            queued: AtomicU32::new(0),
            window: AtomicU32::new(WINDOW_FIRST),
            is_behind: AtomicBool::new(false),
            next_due_ms: AtomicU64::new(u64::MAX),
            was_driven_before: AtomicBool::new(false),
            is_gate_reset: AtomicBool::new(false),
            asleep: Mutex::new(None),
        })
    }

    pub(crate) fn kinds(&self) -> KindSet {
        KindSet(self.kinds.load(Ordering::Relaxed))
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// The gate is to be opened, after what was changed is stored.
    pub(crate) fn reset_gate(&self) {
        self.is_gate_reset.store(true, Ordering::Release);
    }

    /// Whether the gate is to be opened; `true` once.
    pub(crate) fn takes_gate_reset(&self) -> bool {
        self.is_gate_reset.swap(false, Ordering::AcqRel)
    }

    /// Whether an actor that starts now takes over from a former process; `true` once.
    pub(crate) fn takes_over(&self) -> bool {
        self.was_driven_before.swap(false, Ordering::Relaxed)
    }

    /// As a changed webhook says.
    pub(crate) fn set_route(&self, kinds: KindSet, is_enabled: bool, is_ordered: bool) {
        self.kinds.store(kinds.0, Ordering::Relaxed);
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
        self.is_ordered.store(is_ordered, Ordering::Release);
    }

    /// Deleted: gets nothing any more.
    pub(crate) fn close_route(&self) {
        self.set_route(KindSet::default(), false, false);
    }

    /// Reserves a place in memory for one delivery; `false`: it must wait on disk, and everything after it too until
    /// the actor has read the backlog index to its end.
    pub(crate) fn reserve(&self) -> bool {
        if self.is_behind.load(Ordering::Acquire) {
            return false;
        }
        if self.is_ordered.load(Ordering::Acquire) {
            self.is_behind.store(true, Ordering::Release);
            return false;
        }
        if self.queued.fetch_add(1, Ordering::AcqRel) < self.window.load(Ordering::Relaxed) {
            return true;
        }
        self.queued.fetch_sub(1, Ordering::AcqRel);
        self.is_behind.store(true, Ordering::Release);
        false
    }

    /// Counts deliveries that the actor read from disk itself.
    pub(crate) fn add_queued(&self, count: u32) {
        self.queued.fetch_add(count, Ordering::AcqRel);
    }

    pub(crate) fn release(&self, count: u32) {
        let before = self.queued.fetch_sub(count, Ordering::AcqRel);
        debug_assert!(before >= count, "more released than reserved");
    }

    pub(crate) fn queued(&self) -> u32 {
        self.queued.load(Ordering::Acquire)
    }

    pub(crate) fn window(&self) -> u32 {
        self.window.load(Ordering::Relaxed)
    }

    pub(crate) fn widen_window(&self, count: u32) {
        let window = self.window();
        if window < WINDOW_MAX {
            self.window.store((window + count).min(WINDOW_MAX), Ordering::Relaxed);
        }
    }

    pub(crate) fn narrow_window(&self) {
        self.window.store(WINDOW_MIN, Ordering::Relaxed);
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    pub(crate) fn set_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Release);
    }
}

/// A channel with its routes.
#[derive(Debug)]
pub(crate) struct ChannelEntry {
    pub(crate) no: ChannelNo,
    pub(crate) id: ChannelId,
    pub(crate) account: Mutex<AccountId>,
    pub(crate) phone: Mutex<Option<Box<str>>>,
    pub(crate) routes: ArcSwap<Vec<Arc<WebhookShared>>>,
    /// Held while this channel's webhooks are changed: one change at a time, in memory and on disk alike.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl ChannelEntry {
    pub(crate) fn new(channel: Channel) -> Arc<Self> {
        Arc::new(ChannelEntry {
            no: channel.no,
            id: channel.id,
            account: Mutex::new(channel.account),
            phone: Mutex::new(channel.phone.map(String::into_boxed_str)),
            routes: ArcSwap::from_pointee(Vec::new()),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    pub(crate) fn to_channel(&self) -> Channel {
        Channel {
            no: self.no,
            id: self.id.clone(),
            account: self.account.lock().clone(),
            phone: self.phone.lock().as_deref().map(str::to_owned),
        }
    }

    /// Only while `changing` is held, or at start.
    pub(crate) fn add_route(&self, shared: Arc<WebhookShared>) {
        let mut routes = Vec::clone(&self.routes.load());
        routes.push(shared);
        self.routes.store(Arc::new(routes));
    }

    /// Only while `changing` is held.
    pub(crate) fn remove_route(&self, no: WebhookNo) {
        let routes = self.routes.load().iter().filter(|shared| shared.no != no).cloned().collect();
        self.routes.store(Arc::new(routes));
    }
}

/// The registry.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) accounts: DashMap<AccountId, Account>,
    keys_by_hash: DashMap<[u8; 32], ApiKey>,
    keys_by_id: DashMap<KeyId, [u8; 32]>,
    pub(crate) channels: DashMap<ChannelId, Arc<ChannelEntry>>,
    pub(crate) webhooks: DashMap<WebhookNo, Arc<WebhookShared>>,
}

/// What was found waiting when the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) backlog: Vec<WebhookNo>,
    pub(crate) retries: Vec<(WebhookNo, u64)>,
}

impl Catalog {
    /// Reads everything from the store.
    pub(crate) fn load(store: &dyn Store) -> Result<(Catalog, Waiting), StoreError> {
        let catalog = Catalog::default();
        let mut waiting = Waiting::default();
        let mut by_no: HashMap<ChannelNo, (Arc<ChannelEntry>, Vec<Arc<WebhookShared>>)> = HashMap::new();
        store.load(&mut |entry| match entry {
            CatalogEntry::Account(account) => {
                catalog.accounts.insert(account.id.clone(), account);
            }
            CatalogEntry::Key(key) => catalog.put_key(key),
            CatalogEntry::Channel(channel) => {
                let entry = ChannelEntry::new(channel);
                catalog.channels.insert(entry.id.clone(), Arc::clone(&entry));
                by_no.insert(entry.no, (entry, Vec::new()));
            }
            CatalogEntry::Webhook(route) => {
                if let Some((_, routes)) = by_no.get_mut(&route.channel_no) {
                    let shared = WebhookShared::new(
                        route.no,
                        route.id,
                        route.kinds,
                        route.is_enabled,
                        route.is_ordered,
                    );
                    shared.was_driven_before.store(true, Ordering::Relaxed);
                    catalog.webhooks.insert(route.no, Arc::clone(&shared));
                    routes.push(shared);
                } else {
                    tracing::error!(webhook = %route.id, "webhook without a channel is left out");
                }
            }
            CatalogEntry::Backlog(no) => waiting.backlog.push(no),
            CatalogEntry::Retries(no, due_ms) => waiting.retries.push((no, due_ms)),
        })?;
        for (channel, routes) in by_no.into_values() {
            channel.routes.store(Arc::new(routes));
        }
        Ok((catalog, waiting))
    }

    pub(crate) fn put_key(&self, key: ApiKey) {
        self.keys_by_id.insert(key.id.clone(), key.hash);
        self.keys_by_hash.insert(key.hash, key);
    }

    pub(crate) fn key_by_hash(&self, hash: &[u8; 32]) -> Option<ApiKey> {
        self.keys_by_hash.get(hash).map(|key| key.value().clone())
    }

    pub(crate) fn key(&self, account: &AccountId, id: &KeyId) -> Option<ApiKey> {
        let hash = *self.keys_by_id.get(id)?.value();
        self.key_by_hash(&hash).filter(|key| key.account == *account)
    }

    pub(crate) fn keys(&self, account: &AccountId) -> Vec<ApiKey> {
        let mut keys: Vec<ApiKey> =
            self.keys_by_hash.iter().filter(|key| key.account == *account).map(|key| key.clone()).collect();
        keys.sort_by(|a, b| (a.created_at_ms, &a.id).cmp(&(b.created_at_ms, &b.id)));
        keys
    }

    pub(crate) fn remove_key(&self, id: &KeyId) {
        if let Some((_, hash)) = self.keys_by_id.remove(id) {
            self.keys_by_hash.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Arc<WebhookShared> {
        WebhookShared::new(WebhookNo(1), WebhookId(1), KindSet(0xFF), true, false)
    }

    #[test]
    fn the_window_is_a_bound_and_overflow_sticks_until_read() {
        let shared = shared();
        for _ in 0..WINDOW_FIRST {
            assert!(shared.reserve());
        }
        assert!(!shared.reserve());
        assert!(shared.is_behind());
        shared.release(10);
        assert!(!shared.reserve(), "what comes after queues up behind, although there is room");
        shared.set_behind(false);
        assert!(shared.reserve());
        assert_eq!(shared.queued(), WINDOW_FIRST - 9);
    }
}
