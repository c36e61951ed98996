//! What does a durable commit cost by the size of its group: 1, 8, 64 and 512 events, and one event owed to 1,000 webhooks?
//! And one in which a webhook lets go of its memory, as one of a hundred in turn, while 50,000 deliveries wait beside?
//!
//! The store as it is, in a temporary directory (`TMPDIR` says on which disk). Unit: time from handing over a group of 1.2 KB
//! events until it is on stable storage, in one commit with the endings of the group before; elements a second are
//! events. Before it stands how many commits a group took.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::{MachineClock, message_received};
use fanfare_core::delivery::{Ending, Origin, Settlement};
use fanfare_core::event::{Event, EventKind, Subscription};
use fanfare_core::ports::{CatalogChange, Clock, IngestEvent, IngestVerdict, SettleBatch, Store as _};
use fanfare_core::webhook::{Auth, Channel, DeliverySettings, FormatName, Webhook, WebhookStatus};
use fanfare_core::{AccountId, ChannelNo, EventId, WebhookId, WebhookNo};
use fanfare_store::{LmdbStore, StoreOptions};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

const EVENT_BYTES: usize = 1200;
const CHANNEL: ChannelNo = ChannelNo(1);

struct Journal {
    store: Arc<LmdbStore>,
    clock: MachineClock,
    runtime: Runtime,
    event: Event,
    fan_out: u32,
    group: usize,
    /// Events so far, for ids that are never known before.
    pushed: u64,
    /// Removed last.
    _folder: tempfile::TempDir,
}

impl Journal {
    fn open(group: usize, fan_out: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = MachineClock::default();
        let options = StoreOptions::new(folder.path(), [1; 32], Arc::new(clock));
        let store = LmdbStore::open(options).expect("the store opens");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let event = message_received(0, EVENT_BYTES);
        runtime.block_on(store.change(configuration(&event, fan_out))).expect("it is configured");
        Journal { store, clock, runtime, event, fan_out, group, pushed: 0, _folder: folder }
    }

    fn next_group(&mut self) -> Vec<IngestEvent> {
        self.next_events(self.group, 1..=self.fan_out)
    }

    fn next_events(&mut self, count: usize, webhooks: RangeInclusive<u32>) -> Vec<IngestEvent> {
        let owed: Vec<(WebhookNo, bool)> = webhooks.map(|no| (WebhookNo(no), true)).collect();
        let events = (0..count).map(|_| {
            self.pushed += 1;
            let id = EventId::parse(&format!("event-{:012}", self.pushed)).expect("an id");
            // Bytes of its own, as each request has.
            let envelope = Bytes::copy_from_slice(&self.event.envelope);
            IngestEvent {
                event: Event { id, envelope, ..self.event.clone() },
                channel_no: CHANNEL,
                is_deduplicated: true,
                owed: owed.clone(),
                new_phone: None,
            }
        });
        events.collect()
    }

    /// Commits groups, each after the one before is settled; the time that the commits took.
    fn commit(&mut self, groups: u64) -> Duration {
        let mut took_ns = 0;
        for _ in 0..groups {
            let group = self.next_group();
            let ids: Vec<EventId> = group.iter().map(|item| item.event.id.clone()).collect();
            let began_ns = self.clock.now().mono_ns;
            let receipt = self.runtime.block_on(self.store.ingest(group)).expect("it is stored");
            took_ns += self.clock.now().mono_ns - began_ns;
            let settlements =
                receipt.verdicts.iter().zip(&ids).flat_map(|(verdict, id)| {
                    (0..self.fan_out).map(|index| ending(*verdict, id.clone(), index))
                });
            let batch = SettleBatch { settlements: settlements.collect(), ..SettleBatch::default() };
            assert!(self.store.settle(batch).is_ok(), "it is settled");
        }
        Duration::from_nanos(took_ns)
    }

    /// All but the first webhook let go of eight deliveries each, one after the other; the time that it took.
    fn let_go(&mut self, rounds: u64) -> Duration {
        let mut took_ns = 0;
        for _ in 0..rounds {
            let events = self.next_events(8, 2..=self.fan_out);
            self.runtime.block_on(self.store.ingest(events)).expect("they are stored");
            let began_ns = self.clock.now().mono_ns;
            for no in 2..=self.fan_out {
                self.runtime.block_on(self.store.park_all(WebhookNo(no))).expect("they are listed");
            }
            took_ns += self.clock.now().mono_ns - began_ns;
        }
        Duration::from_nanos(took_ns)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
    }
}

fn ending(verdict: IngestVerdict, event_id: EventId, index: u32) -> Settlement {
    let IngestVerdict::Accepted(seq) = verdict else { panic!("taken for a duplicate") };
    Settlement {
        webhook: WebhookNo(index + 1),
        seq,
        event_id,
        kind: EventKind::MessageReceived,
        accepted_ms: 1,
        key: None,
        index,
        part: 0,
        part_count: 1,
        origin: Origin::Direct,
        ending: Ending::Delivered,
        at_ms: 2,
        attempt: None,
    }
}

fn configuration(event: &Event, webhooks: u32) -> Vec<CatalogChange> {
    let id = event.channel.clone();
    let account = AccountId::parse("acme").expect("an id");
    let channel = Channel { no: CHANNEL, id: id.clone(), account, phone: None };
    let webhooks = (1..=webhooks).map(|no| {
        CatalogChange::PutWebhook(Box::new(Webhook {
            no: WebhookNo(no),
            id: WebhookId(u128::from(no)),
            channel: id.clone(),
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
            created_at_ms: 0,
            updated_at_ms: 0,
        }))
    });
    [CatalogChange::PutChannel(channel)].into_iter().chain(webhooks).collect()
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal_commit");
    for (label, events, fan_out) in [
        ("group_of_1", 1, 1),
        ("group_of_8", 8, 1),
        ("group_of_64", 64, 1),
        ("group_of_512", 512, 1),
        ("group_of_1_owed_to_1000", 1, 1000),
    ] {
        let mut journal = Journal::open(events, fan_out);
        let before = journal.store.stats().commits;
        journal.commit(20);
        println!("journal_commit/{label}: {} commits for 20 groups", journal.store.stats().commits - before);
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(label, |bencher| bencher.iter_custom(|groups| journal.commit(groups)));
    }
    let (waiting, webhooks) = (50_000, 101);
    let mut journal = Journal::open(1, webhooks);
    for _ in 0..waiting / 1000 {
        let events = journal.next_events(1000, 1..=1);
        journal.runtime.block_on(journal.store.ingest(events)).expect("they are stored");
    }
    group.throughput(Throughput::Elements(u64::from(webhooks - 1)));
    group.bench_function("100_let_go", |bencher| bencher.iter_custom(|rounds| journal.let_go(rounds)));
    group.finish();
}

criterion_group! {
    name = journal_commit;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = benches
}
criterion_main!(journal_commit);
