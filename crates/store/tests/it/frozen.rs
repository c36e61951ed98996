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
fn format_2_opens_with_everything_and_is_worked_off() {
    let (store, dir) = opened("v2");
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

fn owed_by_index(store: &LmdbStore, webhook: WebhookNo) -> usize {
    let request = PageRequest { webhook, from: Seq(0), deliveries_max: usize::MAX, bytes_max: usize::MAX };
    wait(store.page(request)).unwrap().owed.len()
}

/// What the version before it wrote: a node that had delivered three events to two webhooks and given them up for two
/// more, and owed two events to the second and third when it was killed. Its master key is 32 bytes 0x42.
#[test]
fn format_1_is_brought_up_to_date_with_all_that_was_owed() {
    let (store, dir) = opened("v1");
    let key = Secret::new("fk_1526546eefc527b1022a279b75861f2b81fb54052b04ac5c4d2470ba322dd709");
    let (mut hashes, mut routes, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    let mut sink = |entry| match entry {
        CatalogEntry::Key(key) => hashes.push(key.hash),
        CatalogEntry::Webhook(route) => routes.push(route.no),
        CatalogEntry::Retries(no, _) => retries.push(no),
        _ => {}
    };
    store.load(&mut sink).unwrap();
    assert_eq!(hashes, [store.key_hash(&key)], "API keys stay valid");
    assert_eq!((routes.len(), retries.len()), (4, 2));
    let secrets: Vec<bool> =
        routes.iter().map(|no| store.webhook(*no).unwrap().unwrap().signing.is_some()).collect();
    assert_eq!(secrets, [true, false, true, false]);
    let stats = store.stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters, stats.damaged_records), (4, 8, 0));
    let mut owed_count = 0;
    for no in &routes {
        let (due, _) = wait(store.due(*no, u64::MAX, 100)).unwrap();
        assert!(due.iter().all(|owed| owed.progress.attempt_number == 2), "{due:?}");
        let (keys, _) = wait(store.waiting_keys(*no, None, 100)).unwrap();
        assert!(keys.iter().all(|waiting| waiting.key == Some(key_hash("k"))));
        // One attempt was in flight when the node was killed.
        owed_count += due.len() + owed_by_index(&store, *no);
    }
    assert_eq!(owed_count, 4);
    let list = |no| {
        let request = ListRequest {
            webhook: no,
            filter: DeliveryFilter::default(),
            cursor: Vec::new(),
            count_max: 100,
        };
        wait(store.list(request)).unwrap().items
    };
    let dead: Vec<_> =
        routes.iter().flat_map(|no| list(*no)).filter(|item| item.ended_ms.is_some()).collect();
    assert_eq!(dead.len(), 8);
    for item in dead {
        assert_eq!((item.status, item.kind), (DeliveryStatus::Dead, Some(EventKind::Block)));
        let expected = if item.reason.as_deref() == Some("exhausted") { 2 } else { 0 };
        assert_eq!(item.attempt_count, expected, "{item:?}");
    }
    let all = || RedriveRequest::Many(DeliveryFilter::default());
    let redriven: u64 =
        routes.iter().map(|no| wait(store.redrive(*no, all(), START_MS)).unwrap().count).sum();
    assert_eq!(redriven, 8);
    assert_eq!((store.stats().backlog_deliveries, store.stats().dead_letters), (12, 0));
    wait(store.close());
    drop(store);
    let again = LmdbStore::open(content::options(dir.path())).unwrap();
    assert_eq!(again.stats().backlog_deliveries, 12);
}
