//! What the engine needs from outside, as traits. The binary brings the parts and the engine together; a simulation
//! swaps them all at once. Nothing here assumes that the store is local.

use crate::delivery::{Body, DeliveryKey, Owed, Settlement};
use crate::event::Event;
use crate::outcome::AttemptReport;
use crate::secret::Secret;
use crate::webhook::{Account, ApiKey, Channel, Protocol, Webhook};
use crate::{ChannelNo, KeyId, Now, Seq, WebhookId, WebhookNo};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub mod formats;
pub mod history;

pub use formats::{Formatter, NoFormats};

/// A boxed future that stays on its thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T> + 'static>>;
/// A boxed future that may move between threads.
pub type SendFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Now;
}

// ---------------------------------------------------------------------------------------------------------------
// Store

/// Why the store refused. Callers match on the kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting in front of the writer; try again soon. Nothing was written.
    #[error("the store is busy")]
    Busy,
    /// The disk (or its limit) is full: events are refused, deliveries go on. Nothing was written.
    #[error("the store is full: {0}")]
    Full(String),
    /// `limits.backlog_deliveries` is reached. Nothing was written.
    #[error("backlog of {waiting} deliveries reaches the limit of {limit}")]
    Backlog {
        /// Deliveries waiting.
        waiting: u64,
        /// The limit.
        limit: u64,
    },
    /// A sync failed: no more writes until a restart.
    #[error("the store is poisoned after a failed sync; restart to recover: {0}")]
    Poisoned(String),
    /// A cursor that no list gave.
    #[error("cursor is not one that this list gave")]
    Cursor,
    /// Something else; the text is for the log.
    #[error("store: {0}")]
    Other(String),
}

/// One event of an ingest batch and who is owed it.
#[derive(Clone, Debug)]
pub struct IngestEvent {
    /// The event; its `seq` is assigned by the store.
    pub event: Event,
    /// The channel's number.
    pub channel_no: ChannelNo,
    /// Whether the producer gave the id, so that the idempotency window applies.
    pub is_deduplicated: bool,
    /// The webhooks owed, with whether each is handed over in memory after the commit (`true`) or waits on disk, in
    /// the backlog index, until it is paged in (`false`). Empty: nobody subscribed; only the id is remembered.
    pub owed: Vec<(WebhookNo, bool)>,
    /// The channel's new phone, when the event (CONNECTED) tells one: stored in the same commit.
    pub new_phone: Option<String>,
}

/// What became of one event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestVerdict {
    /// Stored at this place.
    Accepted(Seq),
    /// Its id is known: nothing stored, nothing owed.
    Duplicate,
}

/// The answer to an ingest batch, after its commit is on stable storage.
#[derive(Clone, Debug, Default)]
pub struct IngestReceipt {
    /// One per event, in order.
    pub verdicts: Vec<IngestVerdict>,
    /// Webhooks for which this commit moved deliveries into the backlog index although they had been handed over in
    /// memory (they waited too long for the bounded tail): their actors must read the index.
    pub also_parked: Vec<WebhookNo>,
}

/// What an actor asks of the backlog index.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// Whose.
    pub webhook: WebhookNo,
    /// Rows whose first event is at or after this place.
    pub from: Seq,
    /// Stop after the row that reaches this many deliveries.
    pub deliveries_max: usize,
    /// Stop after the row that reaches this many bytes of events.
    pub bytes_max: usize,
}

/// Part of the backlog index, whole rows in order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Everything in the rows read that has not ended and has no retry row, in order of events. `origin` names the
    /// row. A delivery whose event record is damaged is not among them: the store reports it, settles it as dead and
    /// counts it.
    pub owed: Vec<Owed>,
    /// The rows read (their first events), in order; also those with nothing left in `owed`.
    pub chunks: Vec<Seq>,
    /// Where to go on; `None`: the index held no more when it was read.
    pub next: Option<Seq>,
}

/// What one event loop hands to the store at once.
#[derive(Clone, Debug, Default)]
pub struct SettleBatch {
    /// Ended attempts and deliveries, in order.
    pub settlements: Vec<Settlement>,
    /// Rows of backlog indexes all of whose deliveries have ended or have rows of their own; removed after the
    /// settlements are applied.
    pub dropped_chunks: Vec<(WebhookNo, Seq)>,
}

/// Retries that are due, and when (Unix ms) the first that is not among them is.
pub type DueRetries = (Vec<Owed>, Option<u64>);

/// One row of the retry table, for the order of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingKey {
    /// Hash of the ordering key; `None` when the row does not tell.
    pub key: Option<u64>,
    /// Which delivery.
    pub id: DeliveryKey,
    /// When it is due, Unix ms.
    pub due_ms: u64,
}

/// Part of what [`Store::waiting_keys`] reads, and where to go on (`None`: at the end).
pub type WaitingKeys = (Vec<WaitingKey>, Option<(u64, DeliveryKey)>);

/// A change of configuration. A list of them is applied whole or not at all.
#[derive(Clone, Debug)]
pub enum CatalogChange {
    /// Makes or replaces.
    PutAccount(Account),
    /// Makes or replaces.
    PutKey(ApiKey),
    /// Removes.
    DeleteKey(KeyId),
    /// Makes or replaces, by `no`.
    PutChannel(Channel),
    /// Makes or replaces, by `no`.
    PutWebhook(Box<Webhook>),
    /// Removes; what it was owed is dropped, in the background.
    DeleteWebhook(WebhookNo),
}

/// A webhook as routing needs it; the rest is read when its actor starts.
#[derive(Clone, Debug)]
pub struct WebhookRoute {
    /// Short name.
    pub no: WebhookNo,
    /// Id.
    pub id: WebhookId,
    /// Its channel.
    pub channel_no: ChannelNo,
    /// Kinds it gets.
    pub kinds: crate::event::KindSet,
    /// Whether it gets events now.
    pub is_enabled: bool,
    /// Whether it has `ordering: KEY`.
    pub is_ordered: bool,
}

/// One thing found when the store is opened.
#[derive(Clone, Debug)]
pub enum CatalogEntry {
    /// An account.
    Account(Account),
    /// A key.
    Key(ApiKey),
    /// A channel.
    Channel(Channel),
    /// A webhook, after its channel.
    Webhook(WebhookRoute),
    /// A webhook that has rows in the backlog index: its actor must be started.
    Backlog(WebhookNo),
    /// A webhook that has retries, and when the first is due, Unix ms.
    Retries(WebhookNo, u64),
}

/// Bounds of [`StoreStats::commit_us_counts`], microseconds.
pub const COMMIT_US_BOUNDS: [u64; 15] =
    [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576];

/// Numbers the store counts, for metrics and limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreStats {
    /// Deliveries owed: not delivered, skipped, dead or dropped.
    pub backlog_deliveries: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// Commits made.
    pub commits: u64,
    /// Last commit's time, from begin to synced, microseconds.
    pub commit_us_last: u64,
    /// Commits since the start by their time: as many as took up to each of [`COMMIT_US_BOUNDS`] but more than the one
    /// before; the last one counts all that took longer.
    pub commit_us_counts: [u64; COMMIT_US_BOUNDS.len() + 1],
    /// Their times together, microseconds.
    pub commit_us_sum: u64,
    /// When the oldest event that is still owed to someone was accepted, Unix ms. Moves on by a bounded number of
    /// events in each commit, so after a start, or a redrive of old dead letters, it may for a while tell the time of an
    /// older one that no longer is; never of a younger one.
    pub oldest_pending_ms: Option<u64>,
    /// Bytes of the data file in use.
    pub used_bytes: u64,
    /// Records set aside because their checksum did not fit.
    pub damaged_records: u64,
}

/// Durable events, deliveries, attempts and configuration.
///
/// Order of calls: [`Store::load`] once, before anything else; then everything in any order from any thread. Requests
/// of one caller are carried out in the order they were made: a page sees every settlement handed over before it.
pub trait Store: Send + Sync {
    /// Streams the configuration and what is owed, at start: accounts and keys, then each channel before its
    /// webhooks, then backlog and retries.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&self, sink: &mut dyn FnMut(CatalogEntry)) -> Result<(), StoreError>;

    /// Appends a batch with all that is owed of it; completes when it is on stable storage, whole or not at all.
    fn ingest(&self, batch: Vec<IngestEvent>) -> SendFuture<Result<IngestReceipt, StoreError>>;

    /// Takes settlements to be committed within 100 ms. Does not block.
    ///
    /// # Errors
    /// Gives the batch back when too much is waiting in front of the writer: offer it again later.
    fn settle(&self, batch: SettleBatch) -> Result<(), SettleBatch>;

    /// Reads part of a webhook's backlog index.
    fn page(&self, request: PageRequest) -> SendFuture<Result<Page, StoreError>>;

    /// Reads up to `count_max` retries of a webhook that are due at `until_ms`, earliest first, and the time of the
    /// first that is not among them.
    fn due(
        &self,
        webhook: WebhookNo,
        until_ms: u64,
        count_max: usize,
    ) -> SendFuture<Result<DueRetries, StoreError>>;

    /// Reads the keys of a webhook's retry table from a place on (`None`: its start), in order of (due, event, part),
    /// `count_max` rows at most.
    fn waiting_keys(
        &self,
        webhook: WebhookNo,
        from: Option<(u64, DeliveryKey)>,
        count_max: usize,
    ) -> SendFuture<Result<WaitingKeys, StoreError>>;

    /// Moves everything handed over in memory for a webhook and not yet ended into its backlog index, for an actor
    /// that lost its memory. Completes when done; then the index holds all that is owed and not in the retry table.
    fn park_all(&self, webhook: WebhookNo) -> SendFuture<Result<(), StoreError>>;

    /// Applies changes of configuration; completes when they are on stable storage.
    fn change(&self, changes: Vec<CatalogChange>) -> SendFuture<Result<(), StoreError>>;

    /// A number never given before in this store, for a new channel.
    fn next_channel_no(&self) -> ChannelNo;

    /// A number never given before in this store, for a new webhook.
    fn next_webhook_no(&self) -> WebhookNo;

    /// Reads a webhook with its secrets opened.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    fn webhook(&self, no: WebhookNo) -> Result<Option<Webhook>, StoreError>;

    /// Keyed hash under which a key's text is stored.
    fn key_hash(&self, key: &Secret) -> [u8; 32];

    /// Counters.
    fn stats(&self) -> StoreStats;

    /// Whether it takes writes now.
    ///
    /// # Errors
    /// Why not.
    fn health(&self) -> Result<(), StoreError>;

    /// Commits what is waiting and closes; completes when everything is on stable storage.
    fn close(&self) -> SendFuture<()>;
}

// ---------------------------------------------------------------------------------------------------------------
// Transport

/// A receiver as the transport needs it, prepared once per change of a webhook.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Absolute URL.
    pub url: String,
    /// HTTP version asked for.
    pub protocol: Protocol,
    /// Headers that are the same on every attempt (channel, webhook, auth), names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// Name of the hub's signature header, when signing is on.
    pub hub_signature_name: Option<String>,
}

/// One request: everything that differs between attempts.
#[derive(Clone, Debug)]
pub struct AttemptRequest {
    /// `webhook-id`.
    pub delivery_id: Bytes,
    /// `webhook-timestamp`, Unix seconds.
    pub timestamp_s: u64,
    /// `X-Hub-Event`.
    pub event_name: &'static str,
    /// `X-Hub-Attempt`.
    pub attempt_number: u32,
    /// Value of the hub's signature header.
    pub hub_signature: Option<Bytes>,
    /// Value of `webhook-signature`.
    pub standard_signature: Option<Bytes>,
    /// The body and its content type.
    pub body: Body,
}

/// Opens connections to receivers.
pub trait Transport: Send + Sync {
    /// Prepares a destination: parses the URL, builds the constant headers.
    ///
    /// # Errors
    /// A text for the operator when the URL or a header cannot be used.
    fn receiver(&self, destination: &Destination) -> Result<Arc<dyn Receiver>, String>;
}

/// One prepared destination.
pub trait Receiver {
    /// Resolves, checks every address, dials a checked one, and shakes hands. Must be called on the event loop that
    /// will use the connection. Dropping the future gives up.
    fn connect(&self) -> LocalFuture<Result<Box<dyn Connection>, AttemptReport>>;
}

/// One connection, owned by one webhook's actor. Dropping it closes it.
pub trait Connection {
    /// Further requests it can take now; 0 while busy or closed.
    fn free_slots(&self) -> usize;

    /// Whether it can still take requests, now or later.
    fn is_open(&self) -> bool;

    /// Sends one request and reads the answer in bounds. Never fails: a failure is a report. Dropping the future
    /// abandons the request and, on HTTP/1.1, closes the connection. The caller times it out.
    fn send(&self, request: AttemptRequest) -> LocalFuture<AttemptReport>;
}

// ---------------------------------------------------------------------------------------------------------------
// Ownership

/// Says which webhooks this node drives. On one node: all.
pub trait Ownership: Send + Sync {
    /// Whether this node may drive the webhook now.
    fn owns(&self, webhook: WebhookNo) -> bool;
}

/// The only node there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoleOwner;

impl Ownership for SoleOwner {
    fn owns(&self, _webhook: WebhookNo) -> bool {
        true
    }
}
