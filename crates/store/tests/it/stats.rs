//! What the store counts for operators.

use crate::support::{START_MS, Site, dead, event, retry, settlement, settlement_of, wait};
use fanfare_core::Seq;
use fanfare_core::WebhookNo;
use fanfare_core::delivery::Ending;
use fanfare_core::ports::{COMMIT_US_BOUNDS, IngestEvent, Store};

/// An event of webhook 1 accepted so many ms after the start.
fn at(ms: u64) -> IngestEvent {
    let mut item = event("e", &[(1, true)]);
    item.event.accepted_at_ms = START_MS + ms;
    item
}

/// When the oldest was accepted, ms after the start.
fn oldest(site: &Site) -> Option<u64> {
    site.store().stats().oldest_pending_ms.map(|at_ms| at_ms - START_MS)
}

fn end(site: &Site, seq: u64, ending: Ending) {
    site.settle(vec![settlement(1, Seq(seq), 0, ending)]);
}

#[test]
fn the_oldest_pending_event_is_told_wherever_it_stands() {
    let mut site = Site::new(1);
    assert_eq!(oldest(&site), None);
    site.ingest((1..=6).map(|n| at(n * 100)).collect());
    assert_eq!(oldest(&site), Some(100));
    end(&site, 2, Ending::Delivered);
    assert_eq!(oldest(&site), Some(100));
    end(&site, 1, Ending::Delivered);
    assert_eq!(oldest(&site), Some(300));
    // A retry is pending, a dead letter is not.
    end(&site, 3, retry(START_MS + 9));
    assert_eq!(oldest(&site), Some(300));
    end(&site, 4, dead());
    site.reopen();
    assert_eq!(oldest(&site), Some(300));
    let (due, _) = site.due(1, u64::MAX);
    site.settle(vec![settlement_of(1, &due[0], Ending::Delivered)]);
    assert_eq!(oldest(&site), Some(500));
    // One that is put back is pending again.
    assert_eq!(site.redrive_dead(1, START_MS + 9).count, 1);
    assert_eq!(oldest(&site), Some(400));
    let (due, _) = site.due(1, u64::MAX);
    site.settle(vec![settlement_of(1, &due[0], dead())]);
    assert_eq!(oldest(&site), Some(500));
    let owed = site.parked(1);
    site.settle(owed.iter().map(|owed| settlement_of(1, owed, Ending::Delivered)).collect());
    assert_eq!((oldest(&site), site.store().stats().dead_letters), (None, 1));
}

#[test]
fn an_event_some_of_whose_deliveries_are_dead_is_pending_until_the_last_is() {
    let mut site = Site::new(2);
    site.ingest(vec![event("a", &[(1, true), (2, true)]), at(700)]);
    let part = |part, ending| fanfare_core::delivery::Settlement {
        part,
        part_count: 3,
        ..settlement(1, Seq(1), 0, ending)
    };
    site.settle(vec![part(0, dead()), part(1, dead()), part(2, retry(START_MS + 5))]);
    site.settle(vec![settlement(2, Seq(1), 1, dead())]);
    for _ in 0..2 {
        assert_eq!(oldest(&site), Some(0));
        site.reopen();
    }
    let (due, _) = site.due(1, u64::MAX);
    let last = fanfare_core::delivery::Settlement { part_count: 3, ..settlement_of(1, &due[0], dead()) };
    site.settle(vec![last]);
    assert_eq!((oldest(&site), site.store().stats().dead_letters), (Some(700), 4));
}

/// Many dead letters in front: each commit passes some of them, and until then an older time is told, never a younger.
#[test]
fn old_dead_letters_are_passed_in_bounded_steps() {
    let mut site = Site::new(1);
    site.ingest((1..=2000).map(at).collect());
    site.settle((1..2000).map(|seq| settlement(1, Seq(seq), 0, dead())).collect());
    site.reopen();
    let first = oldest(&site).unwrap();
    assert!((500..1000).contains(&first), "{first}");
    for _ in 0..4 {
        wait(site.store().park_all(WebhookNo(0))).unwrap();
    }
    assert_eq!(oldest(&site), Some(2000));
}

#[test]
fn every_commit_is_counted_by_its_time() {
    let site = Site::new(1);
    let before = site.store().stats();
    site.ingest(vec![at(0)]);
    end(&site, 1, Ending::Delivered);
    let stats = site.store().stats();
    assert_eq!(stats.commits, before.commits + 2);
    assert_eq!(stats.commit_us_counts.iter().sum::<u64>(), stats.commits);
    // The clock of tests stands still.
    assert_eq!((stats.commit_us_counts[0], stats.commit_us_sum), (stats.commits, 0));
    assert!(COMMIT_US_BOUNDS.is_sorted());
}
