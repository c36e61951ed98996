//! A store on a directory of its own, with a clock that stands still, and short ways to say what happens to it.

use bytes::Bytes;
use fanfare_core::delivery::{DeliveryStatus, Ending, Origin, Owed, Progress, Settlement};
use fanfare_core::event::{Event, EventKind, Subscription};
use fanfare_core::ports::history::{
    DeliveryDetail, DeliveryFilter, DeliveryPage, DeliveryView, History, ListRequest, RedriveRequest,
    Redriven,
};
use fanfare_core::ports::{
    CatalogChange, Clock, DueRetries, IngestEvent, IngestReceipt, IngestVerdict, Page, PageRequest,
    SettleBatch, Store, StoreError,
};
use fanfare_core::webhook::{Auth, Channel, DeliverySettings, FormatName, Webhook, WebhookStatus};
use fanfare_core::{AccountId, ChannelId, ChannelNo, EventId, Now, Seq, WebhookId, WebhookNo};
use fanfare_store::{LmdbStore, OpenError, StoreOptions};
use heed::types::Bytes as RawBytes;
use heed::{Database, EnvOpenOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The master key of every test that does not want another.
pub(crate) const MASTER_KEY: [u8; 32] = [7; 32];
/// When tests begin, Unix ms.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// Moves when it is told to.
pub(crate) struct ManualClock(AtomicU64);

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock(AtomicU64::new(START_MS))
    }
}

impl ManualClock {
    pub(crate) fn set_ms(&self, unix_ms: u64) {
        self.0.store(unix_ms, Ordering::Relaxed);
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        let unix_ms = self.0.load(Ordering::Relaxed);
        Now { mono_ns: (unix_ms - START_MS) * 1_000_000, unix_ms }
    }
}

/// Waits for an answer of the store.
pub(crate) fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

/// A webhook of the one channel there is.
pub(crate) fn webhook(no: u32) -> Webhook {
    Webhook {
        no: WebhookNo(no),
        id: WebhookId(u128::from(no)),
        channel: ChannelId::parse("channel").unwrap(),
        url: "https://receiver.example/in".into(),
        description: None,
        events: vec![Subscription::Kind(EventKind::MessageReceived)],
        status: WebhookStatus::Enabled,
        disabled_reason: None,
        is_given_up: false,
        failing_since_ms: None,
        signing: None,
        auth: Auth::None,
        payload_format: FormatName::default(),
        custom_attributes: "{}".into(),
        delivery: DeliverySettings::default(),
        created_at_ms: START_MS,
        updated_at_ms: START_MS,
    }
}

/// The changes that make the channel and webhooks `1..=count`.
pub(crate) fn configuration(count: u32) -> Vec<CatalogChange> {
    let channel = Channel {
        no: ChannelNo(1),
        id: ChannelId::parse("channel").unwrap(),
        account: AccountId::parse("account").unwrap(),
        phone: None,
    };
    let webhooks = (1..=count).map(|no| CatalogChange::PutWebhook(Box::new(webhook(no))));
    std::iter::once(CatalogChange::PutChannel(channel)).chain(webhooks).collect()
}

/// An event owed to webhooks, each with whether it is handed over in memory.
pub(crate) fn event(id: &str, owed: &[(u32, bool)]) -> IngestEvent {
    sized_event(id, owed, 0)
}

/// The same with so many bytes of padding.
pub(crate) fn sized_event(id: &str, owed: &[(u32, bool)], padding: usize) -> IngestEvent {
    let payload = format!(r#"{{"text":"of {id}{}"}}"#, "x".repeat(padding));
    let before = r#"{"type":"MESSAGE_RECEIVED","payload":"#;
    let envelope = Bytes::from(format!("{before}{payload}}}"));
    IngestEvent {
        event: Event {
            seq: Seq(0),
            id: EventId::parse(id).unwrap(),
            kind: EventKind::MessageReceived,
            channel: ChannelId::parse("channel").unwrap(),
            channel_phone: None,
            key: None,
            occurred_at_ms: None,
            accepted_at_ms: START_MS,
            payload: before.len()..before.len() + payload.len(),
            envelope,
        },
        channel_no: ChannelNo(1),
        is_deduplicated: false,
        owed: owed.iter().map(|(no, in_memory)| (WebhookNo(*no), *in_memory)).collect(),
        new_phone: None,
    }
}

/// The settlement of a delivery known from its receipt.
pub(crate) fn settlement(webhook: u32, seq: Seq, index: u32, ending: Ending) -> Settlement {
    Settlement {
        webhook: WebhookNo(webhook),
        seq,
        event_id: EventId::parse("E").unwrap(),
        kind: EventKind::Block,
        accepted_ms: START_MS,
        key: None,
        index,
        part: 0,
        part_count: 1,
        origin: Origin::Direct,
        ending,
        at_ms: START_MS + 1,
        attempt: None,
    }
}

/// The settlement of a delivery that was read.
pub(crate) fn settlement_of(webhook: u32, owed: &Owed, ending: Ending) -> Settlement {
    Settlement {
        event_id: owed.event.id.clone(),
        part: owed.part.unwrap_or(0),
        origin: owed.origin,
        ..settlement(webhook, owed.event.seq, owed.index, ending)
    }
}

/// To be attempted again.
pub(crate) fn retry(due_ms: u64) -> Ending {
    Ending::Retry {
        due_ms,
        progress: Progress { attempt_number: 2, schedule_step: 1, owed_since_ms: START_MS },
    }
}

/// Given up.
pub(crate) fn dead() -> Ending {
    Ending::Dead { reason: "exhausted".into(), progress: Progress::first(START_MS) }
}

/// Opens a directory as tests do.
pub(crate) fn open(
    dir: &Path,
    clock: Arc<ManualClock>,
    tweak: fn(&mut StoreOptions),
) -> Result<Arc<LmdbStore>, OpenError> {
    let mut options = StoreOptions::new(dir, MASTER_KEY, clock);
    tweak(&mut options);
    LmdbStore::open(options)
}

/// Keys and rows of a table.
pub(crate) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Changes a table behind the store's back, as a failing disk would. The store must be closed.
pub(crate) fn edit(dir: &Path, table: &str, change: impl FnOnce(&mut Rows)) {
    let mut options = EnvOpenOptions::new();
    options.max_dbs(64).map_size(1 << 30);
    #[expect(unsafe_code, reason = "heed leaves to the caller that nobody else changes the mapped file")]
    // SAFETY: the directory is this test's own, and its store is closed.
    let env = unsafe { options.open(dir).unwrap() };
    let mut txn = env.write_txn().unwrap();
    let table: Database<RawBytes, RawBytes> = env.open_database(&txn, Some(table)).unwrap().unwrap();
    let mut rows: Rows =
        table.iter(&txn).unwrap().map(|row| row.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect();
    change(&mut rows);
    table.clear(&mut txn).unwrap();
    for (key, row) in rows {
        table.put(&mut txn, &key, &row).unwrap();
    }
    txn.commit().unwrap();
}

/// See the module.
pub(crate) struct Site {
    pub(crate) clock: Arc<ManualClock>,
    store: Option<Arc<LmdbStore>>,
    /// How the next opening is set up.
    pub(crate) tweak: fn(&mut StoreOptions),
    pub(crate) dir: tempfile::TempDir,
}

impl Site {
    /// With webhooks `1..=count`.
    pub(crate) fn new(count: u32) -> Self {
        Self::with(count, |_| {})
    }

    /// The same with other options.
    pub(crate) fn with(count: u32, tweak: fn(&mut StoreOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let store = open(dir.path(), Arc::clone(&clock), tweak).unwrap();
        wait(store.change(configuration(count))).unwrap();
        Site { clock, store: Some(store), tweak, dir }
    }

    /// On a directory that is there.
    pub(crate) fn at(dir: tempfile::TempDir, clock: Arc<ManualClock>, tweak: fn(&mut StoreOptions)) -> Self {
        let store = open(dir.path(), Arc::clone(&clock), tweak).unwrap();
        Site { clock, store: Some(store), tweak, dir }
    }

    pub(crate) fn store(&self) -> &Arc<LmdbStore> {
        self.store.as_ref().unwrap()
    }

    /// Closes it, does something to the directory, opens it again.
    pub(crate) fn reopen_after(&mut self, change: impl FnOnce(&Path)) {
        let store = self.store.take().unwrap();
        wait(store.close());
        drop(store);
        change(self.dir.path());
        self.store = Some(open(self.dir.path(), Arc::clone(&self.clock), self.tweak).unwrap());
    }

    /// Closes it for good.
    pub(crate) fn close(self) -> tempfile::TempDir {
        let Site { store, dir, .. } = self;
        let store = store.unwrap();
        wait(store.close());
        drop(store);
        dir
    }

    pub(crate) fn reopen(&mut self) {
        self.reopen_after(|_| {});
    }

    pub(crate) fn try_ingest(&self, events: Vec<IngestEvent>) -> Result<IngestReceipt, StoreError> {
        wait(self.store().ingest(events))
    }

    /// Ingests events that must all be new; gives their places.
    pub(crate) fn ingest(&self, events: Vec<IngestEvent>) -> Vec<Seq> {
        let receipt = self.try_ingest(events).unwrap();
        receipt
            .verdicts
            .into_iter()
            .map(|verdict| match verdict {
                IngestVerdict::Accepted(seq) => seq,
                IngestVerdict::Duplicate => panic!("taken for a duplicate"),
            })
            .collect()
    }

    /// Settles and waits for the commit (a read is served after what was queued before it).
    pub(crate) fn settle(&self, settlements: Vec<Settlement>) {
        self.settle_and_drop(settlements, Vec::new());
    }

    pub(crate) fn settle_and_drop(&self, settlements: Vec<Settlement>, dropped: Vec<(u32, Seq)>) {
        let dropped_chunks = dropped.into_iter().map(|(no, seq)| (WebhookNo(no), seq)).collect();
        self.store().settle(SettleBatch { settlements, dropped_chunks }).unwrap();
        self.due(0, u64::MAX);
    }

    pub(crate) fn page(&self, webhook: u32, from: Seq, deliveries_max: usize) -> Page {
        let request =
            PageRequest { webhook: WebhookNo(webhook), from, deliveries_max, bytes_max: usize::MAX };
        wait(self.store().page(request)).unwrap()
    }

    /// Everything the backlog index lists as owed.
    pub(crate) fn parked(&self, webhook: u32) -> Vec<Owed> {
        self.page(webhook, Seq(0), usize::MAX).owed
    }

    /// The places of [`Site::parked`].
    pub(crate) fn parked_seqs(&self, webhook: u32) -> Vec<Seq> {
        self.parked(webhook).iter().map(|owed| owed.event.seq).collect()
    }

    pub(crate) fn due(&self, webhook: u32, until_ms: u64) -> DueRetries {
        wait(self.store().due(WebhookNo(webhook), until_ms, usize::MAX)).unwrap()
    }

    /// One page of a list.
    pub(crate) fn list_page(
        &self,
        webhook: u32,
        filter: DeliveryFilter,
        cursor: Vec<u8>,
        count_max: usize,
    ) -> Result<DeliveryPage, StoreError> {
        let request = ListRequest { webhook: WebhookNo(webhook), filter, cursor, count_max };
        wait(self.store().list(request))
    }

    /// A whole list, read in pages of so many.
    pub(crate) fn list(&self, webhook: u32, filter: DeliveryFilter, count_max: usize) -> Vec<DeliveryView> {
        let (mut all, mut cursor) = (Vec::new(), Vec::new());
        for _ in 0..100_000 {
            let page = self.list_page(webhook, filter, cursor, count_max).unwrap();
            assert!(page.items.len() <= count_max, "{} of {count_max}", page.items.len());
            all.extend(page.items);
            match page.next {
                Some(next) => cursor = next,
                None => return all,
            }
        }
        panic!("a list without an end");
    }

    /// Dead letters, latest first.
    pub(crate) fn dead(&self, webhook: u32) -> Vec<DeliveryView> {
        let filter = DeliveryFilter { status: Some(DeliveryStatus::Dead), ..Default::default() };
        self.list(webhook, filter, 100)
    }

    pub(crate) fn find(&self, webhook: u32, event_id: &str, part: u16) -> Option<DeliveryDetail> {
        let event_id = EventId::parse(event_id).unwrap();
        wait(self.store().find(WebhookNo(webhook), event_id, part)).unwrap()
    }

    /// Puts back what fits, due at `now_ms`.
    pub(crate) fn redrive(&self, webhook: u32, request: RedriveRequest, now_ms: u64) -> Redriven {
        wait(self.store().redrive(WebhookNo(webhook), request, now_ms)).unwrap()
    }

    pub(crate) fn redrive_one(&self, webhook: u32, event_id: &str, part: u16, now_ms: u64) -> Redriven {
        let event_id = EventId::parse(event_id).unwrap();
        self.redrive(webhook, RedriveRequest::One { event_id, part }, now_ms)
    }

    pub(crate) fn redrive_dead(&self, webhook: u32, now_ms: u64) -> Redriven {
        let filter = DeliveryFilter { status: Some(DeliveryStatus::Dead), ..Default::default() };
        self.redrive(webhook, RedriveRequest::Many(filter), now_ms)
    }

    /// Rows of the tables that hold deliveries, where there are any.
    pub(crate) fn rows(&self) -> BTreeMap<&'static str, u64> {
        let watched = ["events", "progress", "parked", "retries", "dead", "attempts", "damaged", "reaping"];
        self.store()
            .row_counts()
            .unwrap()
            .into_iter()
            .filter(|(name, count)| watched.contains(name) && *count > 0)
            .collect()
    }

    pub(crate) fn backlog(&self) -> u64 {
        self.store().stats().backlog_deliveries
    }

    /// Lets time pass, and the writer do what falls due: each command is a transaction with a slice of it.
    pub(crate) fn pass_ms(&self, ms: u64) {
        self.pass_ms_in(ms, 20);
    }

    /// The same in so many transactions.
    pub(crate) fn pass_ms_in(&self, ms: u64, slices: usize) {
        self.clock.advance_ms(ms);
        for _ in 0..slices {
            wait(self.store().park_all(WebhookNo(0))).unwrap();
        }
    }

    /// Lets the writer finish its background work: each command is a transaction with a slice of it.
    pub(crate) fn finish_reaping(&self) {
        for _ in 0..10_000 {
            if !self.rows().contains_key("reaping") {
                return;
            }
            wait(self.store().park_all(WebhookNo(0))).unwrap();
        }
        panic!("a deleted webhook's rows are never gone");
    }
}
