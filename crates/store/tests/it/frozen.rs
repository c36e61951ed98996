//! Directories that earlier versions wrote: each still opens, holds everything, and is worked off.

#[path = "../frozen/content.rs"]
mod content;

use content::{START_MS, wait};
use fanfare_core::delivery::{DeliveryStatus, Ending, Origin, Owed, Settlement};
use fanfare_core::event::{EventKind, key_hash};
use fanfare_core::ports::history::{DeliveryFilter, History, ListRequest, RedriveRequest};
use fanfare_core::ports::{CatalogEntry, IngestVerdict, PageRequest, SettleBatch, Store};
use fanfare_core::{EventId, Secret, Seq, WebhookNo};
use fanfare_store::LmdbStore;
use std::sync::Arc;

/// A copy of a frozen directory, opened.
fn opened(version: &str) -> (Arc<LmdbStore>, tempfile::TempDir) {
    let frozen = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen").join(version);
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(frozen.join("data.mdb"), dir.path().join("data.mdb")).unwrap();
    (LmdbStore::open(content::options(dir.path())).unwrap(), dir)
}

fn list(store: &LmdbStore, webhook: u32) -> Vec<(u64, u16, &'static str, Option<String>, u32)> {
    let webhook = WebhookNo(webhook);
    let request =
        ListRequest { webhook, filter: DeliveryFilter::default(), cursor: Vec::new(), count_max: 100 };
    let page = wait(store.list(request)).unwrap();
    assert_eq!(page.next, None);
    let told = page.items.into_iter().map(|item| {
        assert_eq!(item.event_id, Some(EventId::parse(&format!("e{}", item.key.seq.0)).unwrap()));
        assert_eq!((item.kind, item.accepted_ms), (Some(EventKind::MessageReceived), START_MS));
        (item.key.seq.0, item.key.part, item.status.name(), item.reason, item.attempt_count)
    });
    told.collect()
}

fn check_configuration(store: &LmdbStore) {
    let (mut accounts, mut keys, mut channels) = (Vec::new(), Vec::new(), Vec::new());
    let (mut routes, mut backlogs, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    let mut sink = |entry| match entry {
        CatalogEntry::Account(account) => accounts.push(account),
        CatalogEntry::Key(key) => keys.push(key),
        CatalogEntry::Channel(channel) => channels.push(channel),
        CatalogEntry::Webhook(route) => routes.push((route.no, route.id, route.is_enabled, route.is_ordered)),
        CatalogEntry::Backlog(no) => backlogs.push(no.0),
        CatalogEntry::Retries(no, due_ms) => retries.push((no.0, due_ms)),
    };
    store.load(&mut sink).unwrap();
    assert_eq!(accounts, content::accounts());
    assert_eq!(keys, [content::api_key(store.key_hash(&Secret::new(content::API_KEY)))]);
    assert_eq!(channels, [content::channel()]);
    let expected = content::webhooks();
    let told = expected.iter().map(|w| (w.no, w.id, w.no.0 == 1, w.no.0 == 1));
    assert_eq!(routes, told.collect::<Vec<_>>());
    for webhook in expected {
        assert_eq!(store.webhook(webhook.no).unwrap().as_ref(), Some(&webhook));
    }
    assert_eq!((backlogs, retries), (vec![1, 2], vec![(1, START_MS + 400)]));
    assert!(store.next_webhook_no().0 >= 4 && store.next_channel_no().0 >= 2);
}

fn check_deliveries(store: &LmdbStore) {
    let (pending, skip) = ("PENDING", || Some("no_z_api_counterpart".to_owned()));
    assert_eq!(
        list(store, 1),
        [
            (5, 1, pending, None, 1),
            (3, 0, pending, None, 1),
            (5, 2, pending, None, 0),
            (2, 0, pending, None, 0),
            (1, 0, pending, None, 0),
            (4, 0, "DEAD", Some("exhausted".into()), 2),
            (5, 0, "DELIVERED", None, 1),
        ]
    );
    assert_eq!(
        list(store, 2),
        [(2, 0, pending, None, 0), (6, 0, "SKIPPED", skip(), 0), (4, 0, "DELIVERED", None, 1)]
    );
    assert_eq!(list(store, 3), [(7, 0, "DELIVERED", None, 1)]);
    let found = wait(store.find(WebhookNo(1), EventId::parse("e4").unwrap(), 0)).unwrap().unwrap();
    assert_eq!(
        (found.delivery.status, found.attempts),
        (DeliveryStatus::Dead, vec![content::attempt(2, 404)])
    );
    let (keys, next) = wait(store.waiting_keys(WebhookNo(1), None, 9)).unwrap();
    assert_eq!((keys.len(), next), (2, None));
    assert!(keys.iter().all(|waiting| waiting.key == Some(key_hash("customer"))));
    let stats = store.stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters, stats.damaged_records), (6, 1, 0));
    assert_eq!(stats.oldest_pending_ms, Some(START_MS));
}

/// Everything owed to a webhook, read as its actor does, with the events' bytes compared.
fn owed(store: &LmdbStore, webhook: u32) -> Vec<Owed> {
    let webhook = WebhookNo(webhook);
    let request = PageRequest { webhook, from: Seq(0), deliveries_max: usize::MAX, bytes_max: usize::MAX };
    let mut owed = wait(store.page(request)).unwrap().owed;
    owed.extend(wait(store.due(webhook, u64::MAX, 100)).unwrap().0);
    let events = content::events();
    for owed in &owed {
        let mut expected = events[owed.event.seq.0 as usize - 1].event.clone();
        expected.seq = owed.event.seq;
        assert_eq!(format!("{:?}", owed.event), format!("{expected:?}"));
    }
    owed
}

fn deliver(store: &LmdbStore, webhook: u32) {
    let settlements = owed(store, webhook).into_iter().map(|owed| Settlement {
        webhook: WebhookNo(webhook),
        seq: owed.event.seq,
        event_id: owed.event.id.clone(),
        kind: owed.event.kind,
        accepted_ms: owed.event.accepted_at_ms,
        key: None,
        index: owed.index,
        // Of e5 the last body is left, of every other event the only one.
        part: owed.part.unwrap_or(if owed.settled_parts.is_empty() { 0 } else { 2 }),
        part_count: if owed.event.seq == Seq(5) { 3 } else { 1 },
        origin: owed.origin,
        ending: Ending::Delivered,
        at_ms: START_MS + 1000,
        attempt: None,
    });
    store.settle(SettleBatch { settlements: settlements.collect(), dropped_chunks: Vec::new() }).unwrap();
}

#[test]
fn the_first_version_opens_with_everything_and_is_worked_off() {
    let (store, dir) = opened("v1");
    check_configuration(&store);
    check_deliveries(&store);
    let known = wait(store.ingest(content::events())).unwrap();
    assert_eq!(known.verdicts, [IngestVerdict::Duplicate; 8], "ids are remembered");
    let many =
        |status| RedriveRequest::Many(DeliveryFilter { status: Some(status), ..DeliveryFilter::default() });
    // The dead one, and a skipped one whose body is kept.
    assert_eq!(wait(store.redrive(WebhookNo(1), many(DeliveryStatus::Dead), START_MS)).unwrap().count, 1);
    assert_eq!(wait(store.redrive(WebhookNo(2), many(DeliveryStatus::Skipped), START_MS)).unwrap().count, 1);
    let origins: Vec<Origin> = owed(&store, 2).into_iter().map(|owed| owed.origin).collect();
    assert_eq!(origins, [Origin::Parked { chunk: Seq(2) }, Origin::Retry { due_ms: START_MS }]);
    (1..=3).for_each(|webhook| deliver(&store, webhook));
    assert_eq!((1..=3).map(|webhook| owed(&store, webhook).len()).sum::<usize>(), 0);
    let stats = store.stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters, stats.damaged_records), (0, 0, 0));
    wait(store.close());
    drop(store);
    let store = LmdbStore::open(content::options(dir.path())).unwrap();
    assert_eq!(store.stats().backlog_deliveries, 0);
}
