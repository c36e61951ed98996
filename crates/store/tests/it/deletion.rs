//! A deleted webhook is owed nothing, and what it was owed is freed.

use crate::support::{START_MS, Site, dead, event, retry, settlement, wait, webhook};
use fanfare_core::delivery::Ending;
use fanfare_core::ports::{CatalogChange, CatalogEntry, Store};
use fanfare_core::{Seq, WebhookNo};

fn delete(site: &Site, no: u32) {
    wait(site.store().change(vec![CatalogChange::DeleteWebhook(WebhookNo(no))])).unwrap();
}

/// Fills a store so that webhook 1 has deliveries in every place there is, most of them shared with webhook 2.
fn filled() -> Site {
    let site = Site::new(2);
    site.ingest((0..1500).map(|n| event(&format!("p{n}"), &[(1, false), (2, false)])).collect());
    site.ingest((0..900).map(|n| event(&format!("m{n}"), &[(2, true), (1, true)])).collect());
    site.ingest(vec![event("retried", &[(1, true)]), event("dead", &[(1, true)])]);
    site.settle(vec![
        settlement(1, Seq(2401), 0, retry(START_MS + 1)),
        settlement(1, Seq(2402), 0, dead()),
        settlement(1, Seq(1), 0, retry(START_MS + 2)),
        settlement(1, Seq(1501), 1, dead()),
    ]);
    site
}

fn check_only_webhook_2_is_left(site: &Site) {
    assert_eq!(site.backlog(), 2400);
    assert_eq!(site.store().stats().dead_letters, 0);
    assert!(site.parked(1).is_empty() && site.due(1, u64::MAX).0.is_empty());
    let rows = site.rows();
    assert_eq!(rows["events"], 2400);
    assert!(!rows.contains_key("retries") && !rows.contains_key("dead"), "{rows:?}");
    wait(site.store().park_all(WebhookNo(2))).unwrap();
    let owed = site.parked_seqs(2);
    assert_eq!(owed, (1..=2400).map(Seq).collect::<Vec<_>>());
    for owed in site.parked(2).chunks(500) {
        site.settle(
            owed.iter().map(|owed| crate::support::settlement_of(2, owed, Ending::Delivered)).collect(),
        );
    }
    let chunks = site.page(2, Seq(0), usize::MAX).chunks;
    site.settle_and_drop(Vec::new(), chunks.into_iter().map(|chunk| (2, chunk)).collect());
    assert_eq!((site.rows().len(), site.backlog()), (0, 0), "{:?}", site.rows());
}

#[test]
fn deleting_a_webhook_frees_what_only_it_was_owed() {
    let site = filled();
    assert_eq!((site.backlog(), site.store().stats().dead_letters), (4800, 2));
    delete(&site, 1);
    site.finish_reaping();
    check_only_webhook_2_is_left(&site);
    assert_eq!(site.store().webhook(WebhookNo(1)).unwrap(), None);
}

#[test]
fn a_deletion_goes_on_after_a_restart() {
    let mut site = filled();
    delete(&site, 1);
    site.reopen();
    let mut with_rows = Vec::new();
    site.store()
        .load(&mut |entry| match entry {
            CatalogEntry::Backlog(no) | CatalogEntry::Retries(no, _) => with_rows.push(no),
            CatalogEntry::Webhook(route) => assert_eq!(route.no, WebhookNo(2)),
            _ => {}
        })
        .unwrap();
    assert_eq!(with_rows, [WebhookNo(2)], "no actor is started for a deleted webhook");
    site.finish_reaping();
    check_only_webhook_2_is_left(&site);
}

#[test]
fn events_on_their_way_to_a_deleted_webhook_are_not_owed() {
    let site = Site::new(2);
    delete(&site, 1);
    site.ingest(vec![event("a", &[(1, true), (2, true)]), event("b", &[(1, false)])]);
    assert_eq!(site.backlog(), 1);
    site.settle(vec![settlement(2, Seq(1), 1, Ending::Delivered)]);
    site.finish_reaping();
    assert_eq!((site.rows().len(), site.backlog()), (0, 0), "{:?}", site.rows());
}

#[test]
fn what_ends_after_the_deletion_leaves_nothing_behind() {
    let site = Site::new(1);
    site.ingest(vec![event("a", &[(1, true)]), event("b", &[(1, true)])]);
    delete(&site, 1);
    site.settle(vec![settlement(1, Seq(1), 0, retry(START_MS + 1)), settlement(1, Seq(2), 0, dead())]);
    site.finish_reaping();
    assert_eq!((site.rows().len(), site.backlog()), (0, 0), "{:?}", site.rows());
    assert_eq!(site.store().stats().dead_letters, 0);
}

#[test]
fn numbers_are_never_given_again() {
    let mut site = Site::new(3);
    let first = site.store().next_webhook_no();
    assert!(first > WebhookNo(3));
    wait(site.store().change(vec![CatalogChange::PutWebhook(Box::new(webhook(first.0)))])).unwrap();
    delete(&site, first.0);
    let channel = site.store().next_channel_no();
    site.reopen();
    assert!(site.store().next_webhook_no() > first);
    assert!(site.store().next_channel_no() > channel);
}
