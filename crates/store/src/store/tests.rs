//! A store whose sync fails.

use super::*;
use crate::testing::{self, StillClock};
use fanfare_core::delivery::{Ending, Origin, Settlement};
use fanfare_core::event::{Event, EventKind};
use fanfare_core::ports::IngestVerdict;
use fanfare_core::ports::history::{History, RedriveRequest};
use fanfare_core::webhook::Channel;
use fanfare_core::{AccountId, ChannelId, EventId, Seq};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

fn batch(id: &str) -> Vec<IngestEvent> {
    let event = Event {
        seq: Seq(0),
        id: EventId::parse(id).unwrap(),
        kind: EventKind::Block,
        channel: ChannelId::parse("channel").unwrap(),
        channel_phone: None,
        key: None,
        occurred_at_ms: None,
        accepted_at_ms: 1,
        envelope: bytes::Bytes::from_static(b"{}"),
        payload: 0..2,
    };
    let owed = vec![(WebhookNo(1), true)];
    vec![IngestEvent { event, channel_no: ChannelNo(1), is_deduplicated: true, owed, new_phone: None }]
}

fn delivered(seq: Seq) -> SettleBatch {
    let settlement = Settlement {
        webhook: WebhookNo(1),
        seq,
        event_id: EventId::parse("E").unwrap(),
        kind: EventKind::Block,
        accepted_ms: 1,
        key: None,
        index: 0,
        part: 0,
        part_count: 1,
        origin: Origin::Direct,
        ending: Ending::Delivered,
        at_ms: 1,
        attempt: None,
    };
    SettleBatch { settlements: vec![settlement], dropped_chunks: Vec::new() }
}

fn catalog() -> Vec<CatalogChange> {
    let id = ChannelId::parse("channel").unwrap();
    let account = AccountId::parse("account").unwrap();
    let channel = Channel { no: ChannelNo(1), id, account, phone: None };
    vec![CatalogChange::PutChannel(channel), CatalogChange::PutWebhook(Box::new(testing::webhook(1)))]
}

/// After a failed sync nobody knows what is on the disk, so nothing is written any more, and everyone is told.
#[test]
fn a_failed_sync_poisons_the_store_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let tries = Arc::new(AtomicUsize::new(0));
    let (told, counted) = (Arc::clone(&fails), Arc::clone(&tries));
    let sync: CommitFn = Box::new(move |txn| {
        counted.fetch_add(1, Ordering::Relaxed);
        if told.load(Ordering::Relaxed) {
            return Err(heed::Error::Io(std::io::Error::from_raw_os_error(libc::EIO)));
        }
        txn.commit()
    });
    let options = || StoreOptions::new(dir.path(), [7; 32], Arc::new(StillClock));
    let store = LmdbStore::open_with(options(), sync).unwrap();
    wait(store.change(catalog())).unwrap();
    assert_eq!(wait(store.ingest(batch("a"))).unwrap().verdicts, [IngestVerdict::Accepted(Seq(1))]);
    assert_eq!(store.health(), Ok(()));

    fails.store(true, Ordering::Relaxed);
    let poisoned = |error: StoreError| match error {
        StoreError::Poisoned(text) => assert!(text.contains("os error 5"), "{text}"),
        other => panic!("{other}"),
    };
    poisoned(wait(store.ingest(batch("b"))).unwrap_err());
    // A disk that works again changes nothing: what it lost is not known.
    fails.store(false, Ordering::Relaxed);
    let tried = tries.load(Ordering::Relaxed);
    poisoned(store.health().unwrap_err());
    poisoned(wait(store.ingest(batch("c"))).unwrap_err());
    poisoned(wait(store.change(catalog())).unwrap_err());
    poisoned(wait(store.park_all(WebhookNo(1))).unwrap_err());
    poisoned(wait(store.due(WebhookNo(1), u64::MAX, 1)).unwrap_err());
    poisoned(wait(store.find(WebhookNo(1), EventId::parse("a").unwrap(), 0)).unwrap_err());
    let many = RedriveRequest::Many(Default::default());
    poisoned(wait(store.redrive(WebhookNo(1), many, 1)).unwrap_err());
    store.settle(delivered(Seq(1))).unwrap();
    wait(store.close());
    assert_eq!(tries.load(Ordering::Relaxed), tried, "nothing was written");
    poisoned(store.health().unwrap_err());
    drop(store);

    // What was acknowledged is owed; what was refused was never there, not even its id.
    let store = LmdbStore::open(options()).unwrap();
    assert_eq!(store.health(), Ok(()));
    assert_eq!(store.stats().backlog_deliveries, 1);
    assert_eq!(wait(store.ingest(batch("b"))).unwrap().verdicts, [IngestVerdict::Accepted(Seq(2))]);
    assert_eq!(wait(store.ingest(batch("a"))).unwrap().verdicts, [IngestVerdict::Duplicate]);
}
