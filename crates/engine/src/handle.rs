//! The handle that the HTTP face and the binary hold.

use crate::EngineError;
use crate::catalog::{ChannelEntry, WebhookShared};
use crate::formats::FormatChanges;
use crate::ingest;
use crate::live::WindowBudget;
use crate::manage::{Change, Registry};
use crate::metrics::{self, IngestMetrics, WorkerMetrics};
use crate::start::{self, Loops};
use crate::worker::{Drain, IsDrained, Successes, Worker, WorkerMail};
use actix::prelude::*;
use fanfare_core::event::Subscription;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::ports::formats::Formats;
use fanfare_core::ports::history::History;
use fanfare_core::ports::{Clock, Formatter, Store, StoreError, Transport};
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::{Auth, DeliveryPolicy, DeliverySettings, FormatName, Scopes, Webhook};
use fanfare_core::{AccountId, ChannelId, Now, Secret, WebhookId};
use fanfare_render::event::{EventError, ParsedEvent};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How an engine is set up.
pub struct EngineOptions {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// The same store's deliveries, for people.
    pub history: Arc<dyn History>,
    /// Sample events, one JSON object per line, for tests of webhooks; the first of a kind counts.
    pub samples: &'static str,
    /// Connections.
    pub transport: Arc<dyn Transport>,
    /// Plugin formats.
    pub formatter: Arc<dyn Formatter>,
    /// The same, for operators.
    pub formats: Arc<dyn Formats>,
    /// Event loops that deliver; at least 1.
    pub workers: usize,
    /// Seed of all randomness (jitter, ids, secrets): 32 bytes from the operating system, or fixed in a simulation.
    pub seed: [u8; 32],
    /// An operator key with every scope; never stored.
    pub bootstrap_key: Option<Secret>,
    /// Unknown channels are made on first use and join the calling key's account.
    pub makes_channels: bool,
    /// Values of the `delivery` object where a webhook sets none.
    pub defaults: DeliveryPolicy,
    /// The gate's settings.
    pub gate: GatePolicy,
    /// Which successes are recorded.
    pub successes: Successes,
    /// Bytes of events held in memory over all webhooks; what is above waits on disk. 256 MiB is ample.
    pub window_bytes_max: u64,
    /// An actor with nothing to do sleeps after this; 60 s.
    pub idle_sleep: Duration,
    /// Name of the hub's signature header.
    pub hub_signature_name: String,
}

/// Who is calling: what a key was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The key's account; `None` for the bootstrap key.
    pub account: Option<AccountId>,
    /// What it may do. With `operate` it reaches every account.
    pub scopes: Scopes,
}

/// The answer to an ingest call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestAnswer {
    /// Events on stable storage.
    pub accepted: usize,
    /// Events whose id was known.
    pub duplicates: usize,
    /// Refused events, by their index from 0, with the reason.
    pub rejected: Vec<(usize, String)>,
}

/// A webhook to be made; every value already checked by the caller.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Absolute URL.
    pub url: String,
    /// At least one; duplicates folded.
    pub events: Vec<Subscription>,
    /// Free text.
    pub description: Option<String>,
    /// Whether to make a signing secret.
    pub signing: bool,
    /// Credential.
    pub auth: Auth,
    /// Known format.
    pub payload_format: FormatName,
    /// JSON object as text.
    pub custom_attributes: String,
    /// The `delivery` object.
    pub delivery: DeliverySettings,
}

/// What a PATCH does to signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningChange {
    /// Nothing.
    Keep,
    /// Turns it off and discards the secret.
    Off,
    /// Makes a new secret; the old one stays valid for so many seconds.
    Rotate {
        /// 0 to 7 days.
        overlap_seconds: u32,
    },
}

/// One event loop, as the handle knows it.
pub(crate) struct WorkerHandle {
    pub(crate) addr: Addr<Worker>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// Ends its thread when dropped; `None` where the loop is the caller's own.
    pub(crate) stop: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
    pub(crate) thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What all clones of the handle share.
pub(crate) struct Inner {
    pub(crate) options: EngineOptions,
    pub(crate) registry: Arc<Registry>,
    pub(crate) budget: Arc<WindowBudget>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) ingest: IngestMetrics,
    pub(crate) bootstrap_hash: Option<[u8; 32]>,
    /// Shared with the event loops: whoever sees a refusal knows that no attempt begins any more.
    pub(crate) is_draining: Arc<AtomicBool>,
    /// Events are being refused for a limit, and the operator was told.
    pub(crate) is_refusing: AtomicBool,
    pub(crate) format_changes: FormatChanges,
}

impl Inner {
    pub(crate) fn refuse_when_draining(&self) -> Result<(), EngineError> {
        if self.is_draining.load(Ordering::Acquire) {
            return Err(EngineError::Unavailable {
                message: "draining: this node takes no more events".into(),
                retry_after_s: 5,
            });
        }
        Ok(())
    }
}

/// The engine. Cheap to clone; dropping the last clone does not stop it, [`Engine::drain`] does.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

impl Engine {
    /// Reads the store, starts the event loops, and takes up what was waiting.
    ///
    /// # Errors
    /// When the store cannot be read or a thread cannot be started.
    pub async fn start(options: EngineOptions) -> Result<Engine, EngineError> {
        start::start(options, &Loops::Threads).await.map(|inner| Engine { inner })
    }

    /// The same with every event loop on the caller's `LocalSet`, so that paused time and a seed decide everything.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start_here(options: EngineOptions) -> Result<Engine, EngineError> {
        start::start(options, &Loops::Here).await.map(|inner| Engine { inner })
    }

    /// Who holds `key`; `None` when nobody does. Only keyed hashes are compared, so that time tells nothing.
    #[must_use]
    pub fn authenticate(&self, key: &Secret) -> Option<Principal> {
        let hash = self.inner.options.store.key_hash(key);
        if self.inner.bootstrap_hash == Some(hash) {
            return Some(Principal { account: None, scopes: Scopes::ALL });
        }
        let key = self.inner.registry.catalog.key_by_hash(&hash)?;
        Some(Principal { account: Some(key.account), scopes: key.scopes })
    }

    /// Takes events: routes them, stores them with all that is owed, hands them to the actors. The answer comes when
    /// they are on stable storage. What was begun is finished even when the future is dropped. Events of channels the
    /// principal does not reach are rejected (`unknown channel`).
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] when nothing could be stored; then nothing was.
    pub async fn ingest(
        &self,
        principal: &Principal,
        events: Vec<Result<ParsedEvent, EventError>>,
    ) -> Result<IngestAnswer, EngineError> {
        ingest::ingest(&self.inner, principal, events).await
    }

    pub(crate) fn reach(
        &self,
        principal: &Principal,
        channel: &ChannelId,
    ) -> Result<Arc<ChannelEntry>, EngineError> {
        let entry = self.inner.registry.channel(channel);
        let owner = entry.as_ref().map(|entry| entry.account.lock().clone());
        // The role asked for is the caller's own; an operator acts for the channel's account.
        let acting = if principal.scopes.operate { owner.as_ref() } else { principal.account.as_ref() };
        let has_role = acting.is_none_or(|account| {
            self.inner.registry.catalog.accounts.get(account).is_some_and(|account| account.is_enterprise())
        });
        if !has_role {
            return Err(EngineError::RoleRequired);
        }
        let is_own = principal.scopes.operate || (owner.is_some() && owner == principal.account);
        entry.filter(|_| is_own).ok_or(EngineError::UnknownChannel)
    }

    /// Whether the principal may manage webhooks of the channel. Where channels are made on first use, one that is
    /// not there yet counts as the principal's own.
    ///
    /// # Errors
    /// In this order: [`EngineError::RoleRequired`] (the principal's own account, or for an operator the channel's,
    /// lacks the role), [`EngineError::UnknownChannel`].
    pub fn authorize_channel(&self, principal: &Principal, channel: &ChannelId) -> Result<(), EngineError> {
        match self.reach(principal, channel) {
            Err(EngineError::UnknownChannel) if self.would_make(principal, channel) => Ok(()),
            reached => reached.map(|_| ()),
        }
    }

    fn would_make(&self, principal: &Principal, channel: &ChannelId) -> bool {
        let inner = &self.inner;
        inner.options.makes_channels
            && principal.account.is_some()
            && inner.registry.channel(channel).is_none()
    }

    /// Makes a webhook; the second value is its new signing secret, shown once. What was begun is finished even when
    /// the future is dropped.
    ///
    /// # Errors
    /// Those of [`Engine::authorize_channel`]; [`EngineError::Invalid`] when the channel holds too many, or there is no
    /// such format.
    pub async fn create_webhook(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        new: NewWebhook,
    ) -> Result<(Webhook, Option<SigningSecret>), EngineError> {
        if self.inner.options.makes_channels
            && let Some(account) = &principal.account
        {
            self.inner.registry.ensure_channel(channel, account).await?;
        }
        let entry = self.reach(principal, channel)?;
        let inner = Arc::clone(&self.inner);
        self.finish(async move {
            let _judged = inner.format_changes.begin_judging().await;
            inner.refuse_unknown_format(&new.payload_format)?;
            inner.registry.create_webhook(&entry, new).await
        })
        .await
    }

    /// All webhooks of a channel, by creation time and id.
    ///
    /// # Errors
    /// Those of [`Engine::authorize_channel`].
    pub fn webhooks(&self, principal: &Principal, channel: &ChannelId) -> Result<Vec<Webhook>, EngineError> {
        let entry = self.reach(principal, channel)?;
        let routes = entry.routes.load();
        let mut webhooks = Vec::with_capacity(routes.len());
        for shared in routes.iter() {
            // One that was deleted since the routes were read is simply not in the list.
            webhooks.extend(self.inner.options.store.webhook(shared.no)?);
        }
        webhooks.sort_by_key(|webhook| (webhook.created_at_ms, webhook.id));
        Ok(webhooks)
    }

    /// One webhook.
    ///
    /// # Errors
    /// Those of [`Engine::authorize_channel`], then [`EngineError::UnknownWebhook`].
    pub fn webhook(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
    ) -> Result<Webhook, EngineError> {
        let entry = self.reach(principal, channel)?;
        let shared = self.inner.registry.find(&entry, id)?;
        self.inner.registry.read(shared.no)
    }

    /// Changes a webhook: `change` sees the stored webhook and edits it, or refuses; nothing else changes it
    /// meanwhile. `updated_at_ms` moves when something changed. The second value is a new signing secret. In force
    /// from the next attempt on. What was begun is finished even when the future is dropped.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`], then whatever `change` says; [`EngineError::Invalid`] for a new format that is not
    /// there.
    pub async fn update_webhook(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
        signing: SigningChange,
        change: Change,
    ) -> Result<(Webhook, Option<SigningSecret>), EngineError> {
        let entry = self.reach(principal, channel)?;
        let engine = self.clone();
        self.finish(async move {
            let inner = &engine.inner;
            let _judged = inner.format_changes.begin_judging().await;
            let judge = Arc::clone(inner);
            let change: Change = Box::new(move |webhook| {
                let before = webhook.payload_format.clone();
                change(webhook)?;
                // One that was taken away keeps nobody from changing the rest.
                if webhook.payload_format == before {
                    return Ok(());
                }
                judge.refuse_unknown_format(&webhook.payload_format)
            });
            let (webhook, secret, shared) =
                inner.registry.update_webhook(&entry, id, signing, change).await?;
            engine.tell(shared).await;
            Ok((webhook, secret))
        })
        .await
    }

    /// Opens a webhook's gate, whatever its receiver did before.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`].
    pub async fn open_gate(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
    ) -> Result<(), EngineError> {
        let entry = self.reach(principal, channel)?;
        let shared = self.inner.registry.find(&entry, id)?;
        shared.reset_gate();
        self.tell(shared).await;
        Ok(())
    }

    /// Removes a webhook; what it was owed is dropped. What was begun is finished even when the future is dropped.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`].
    pub async fn delete_webhook(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
    ) -> Result<(), EngineError> {
        let entry = self.reach(principal, channel)?;
        let engine = self.clone();
        self.finish(async move {
            let shared = engine.inner.registry.delete_webhook(&entry, id).await?;
            engine.tell(shared).await;
            Ok(())
        })
        .await
    }

    /// Tells a webhook's event loop that it was changed.
    async fn tell(&self, shared: Arc<WebhookShared>) {
        if let Some(worker) = self.inner.workers.get(self.inner.worker_of(shared.no)) {
            let mail = WorkerMail { reconfigured: vec![shared], ..WorkerMail::default() };
            let _ = worker.addr.send(mail).await;
        }
    }

    /// The engine's own time, which all it tells of is measured by.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.options.clock.now()
    }

    /// The `delivery` defaults in force.
    #[must_use]
    pub fn delivery_defaults(&self) -> &DeliveryPolicy {
        &self.inner.options.defaults
    }

    /// Whether it takes work: not draining, store not poisoned. The text says why not.
    ///
    /// # Errors
    /// The reason.
    pub fn readiness(&self) -> Result<(), String> {
        self.inner.refuse_when_draining().map_err(|error| error.to_string())?;
        match self.inner.options.store.health() {
            Ok(()) | Err(StoreError::Busy | StoreError::Backlog { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let workers: Vec<Arc<WorkerMetrics>> =
            self.inner.workers.iter().map(|worker| Arc::clone(&worker.metrics)).collect();
        metrics::text(
            &self.inner.ingest,
            &workers,
            self.inner.options.store.stats(),
            self.inner.budget.used(),
            &self.inner.options.formats.list(),
            self.inner.options.clock.now().unix_ms,
        )
    }

    /// Stops taking events, lets what is in flight finish for at most `limit`, persists the rest, stops the event
    /// loops and closes the store.
    pub async fn drain(&self, limit: Duration) {
        self.inner.is_draining.store(true, Ordering::Release);
        for worker in &self.inner.workers {
            let _ = worker.addr.send(Drain).await;
        }
        let _ = tokio::time::timeout(limit, self.wait_until_drained()).await;
        for worker in &self.inner.workers {
            // Dropping the sender ends the loop; attempts still in flight end with it and are made again next time.
            drop(worker.stop.lock().take());
            let thread = worker.thread.lock().take();
            if let Some(thread) = thread {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
        }
        self.inner.options.store.close().await;
    }

    async fn wait_until_drained(&self) {
        for worker in &self.inner.workers {
            while matches!(worker.addr.send(IsDrained).await, Ok(false)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
