//! One event's way from ingest to its last ending, and what is left of it at each step.

use crate::support::{START_MS, Site, dead, event, retry, settlement, settlement_of};
use bytes::Bytes;
use fanfare_core::delivery::{AttemptRecord, Ending, Origin, Settlement};
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::{Store, StoreError};
use fanfare_core::{Seq, WebhookNo};
use std::collections::BTreeMap;

fn rows(expected: &[(&'static str, u64)]) -> BTreeMap<&'static str, u64> {
    expected.iter().copied().collect()
}

#[test]
fn a_first_attempt_success_leaves_no_row() {
    let site = Site::new(1);
    let seqs = site.ingest(vec![event("a", &[(1, true)]), event("b", &[(1, true)])]);
    assert_eq!(seqs, [Seq(1), Seq(2)]);
    assert_eq!((site.rows(), site.backlog()), (rows(&[("events", 2)]), 2));
    site.settle(vec![settlement(1, Seq(1), 0, Ending::Delivered)]);
    assert_eq!((site.rows(), site.backlog()), (rows(&[("events", 1)]), 1));
    site.settle(vec![settlement(1, Seq(2), 0, Ending::Skipped { reason: "r".into() })]);
    // The skip is recorded as an attempt, so that it can be listed.
    assert_eq!((site.rows(), site.backlog()), (rows(&[("attempts", 1)]), 0));
}

#[test]
fn an_event_without_webhooks_takes_a_place_and_no_row() {
    let site = Site::new(1);
    assert_eq!(site.ingest(vec![event("a", &[]), event("b", &[(1, true)])]), [Seq(1), Seq(2)]);
    assert_eq!(site.rows(), rows(&[("events", 1)]));
}

#[test]
fn what_was_not_settled_is_owed_after_a_restart_and_nothing_else() {
    let mut site = Site::new(3);
    let seq = site.ingest(vec![event("a", &[(1, true), (2, true), (3, true)])])[0];
    site.settle(vec![settlement(2, seq, 1, Ending::Delivered)]);
    assert_eq!(site.rows(), rows(&[("events", 1), ("progress", 1)]));
    site.reopen();
    assert_eq!(site.backlog(), 2, "counted at once");
    for (webhook, index) in [(1, 0), (3, 2)] {
        let owed = site.parked(webhook);
        assert_eq!(owed.len(), 1, "webhook {webhook}");
        assert_eq!((owed[0].index, owed[0].part, owed[0].event.id.as_str()), (index, None, "a"));
        assert_eq!(&owed[0].event.payload()[..], br#"{"text":"of a"}"#);
        assert_eq!(owed[0].origin, Origin::Parked { chunk: seq });
        site.settle_and_drop(vec![settlement_of(webhook, &owed[0], Ending::Delivered)], vec![(webhook, seq)]);
    }
    assert!(site.parked(2).is_empty());
    assert_eq!((site.rows(), site.backlog()), (rows(&[]), 0));
}

#[test]
fn a_repeated_settlement_changes_nothing() {
    let site = Site::new(2);
    let seq = site.ingest(vec![event("a", &[(1, true), (2, true)])])[0];
    let ended = settlement(1, seq, 0, Ending::Delivered);
    site.settle(vec![ended.clone(), ended.clone()]);
    site.settle(vec![ended, settlement(1, seq, 0, retry(START_MS + 5)), settlement(1, seq, 0, dead())]);
    assert_eq!((site.rows(), site.backlog()), (rows(&[("events", 1), ("progress", 1)]), 1));
    // A settlement for another's place does not end that one's delivery.
    site.settle(vec![settlement(1, seq, 1, Ending::Delivered)]);
    assert_eq!(site.backlog(), 1);
}

#[test]
fn retries_come_by_time_and_survive_a_restart() {
    let mut site = Site::new(2);
    let seqs = site.ingest((0..4).map(|n| event(&format!("e{n}"), &[(1, true), (2, true)])).collect());
    let times = [40, 10, 30, 20];
    let settled =
        seqs.iter().zip(times).map(|(seq, at)| settlement(1, *seq, 0, retry(START_MS + at))).collect();
    site.settle(settled);
    site.settle(seqs.iter().map(|seq| settlement(2, *seq, 1, Ending::Delivered)).collect());
    assert_eq!(site.backlog(), 4);
    for _ in 0..2 {
        let (due, next) = site.due(1, START_MS + 30);
        let order: Vec<_> = due.iter().map(|owed| owed.event.seq).collect();
        assert_eq!(order, [seqs[1], seqs[3], seqs[2]]);
        assert_eq!(next, Some(START_MS + 40));
        assert_eq!(due[0].progress.attempt_number, 2);
        assert_eq!((due[0].part, due[0].origin), (Some(0), Origin::Retry { due_ms: START_MS + 10 }));
        assert!(site.parked(1).is_empty(), "a delivery with a retry row is not in the backlog index");
        site.reopen();
    }
    // The second failure moves the row; success removes it and the event.
    let (due, _) = site.due(1, START_MS + 10);
    site.settle(vec![settlement_of(1, &due[0], retry(START_MS + 99))]);
    assert_eq!(site.rows()["retries"], 4);
    let (due, next) = site.due(1, u64::MAX);
    assert_eq!((due.len(), next), (4, None));
    site.settle(due.iter().map(|owed| settlement_of(1, owed, Ending::Delivered)).collect());
    assert_eq!((site.rows(), site.backlog()), (rows(&[]), 0));
}

#[test]
fn bounded_reads_of_retries_tell_where_to_go_on() {
    let site = Site::new(1);
    let seqs = site.ingest((0..3).map(|n| event(&format!("e{n}"), &[(1, true)])).collect());
    site.settle((1..).zip(&seqs).map(|(at, seq)| settlement(1, *seq, 0, retry(START_MS + at))).collect());
    let read = site.store().due(WebhookNo(1), u64::MAX, 2);
    let (due, next) = crate::support::wait(read).unwrap();
    assert_eq!((due.len(), next), (2, Some(START_MS + 3)));
}

#[test]
fn each_body_of_an_event_ends_on_its_own() {
    let mut site = Site::new(1);
    let seq = site.ingest(vec![event("a", &[(1, true)])])[0];
    let part = |part, ending| Settlement { part, part_count: 3, ..settlement(1, seq, 0, ending) };
    site.settle(vec![part(1, Ending::Delivered), part(2, retry(START_MS + 5))]);
    assert_eq!(site.backlog(), 2);
    site.reopen();
    assert_eq!(site.backlog(), 2);
    let owed = site.parked(1);
    assert_eq!(owed.len(), 1);
    assert_eq!((owed[0].part, owed[0].settled_parts.as_slice()), (None, &[1, 2][..]));
    let rest = Settlement { part_count: 3, ..settlement_of(1, &owed[0], Ending::Delivered) };
    site.settle_and_drop(vec![rest], vec![(1, seq)]);
    assert!(site.parked(1).is_empty());
    let (due, _) = site.due(1, u64::MAX);
    assert_eq!((due.len(), due[0].part), (1, Some(2)));
    site.settle(vec![Settlement { part_count: 3, ..settlement_of(1, &due[0], Ending::Delivered) }]);
    assert_eq!((site.rows(), site.backlog()), (rows(&[]), 0));
}

#[test]
fn a_retry_that_stood_for_all_bodies_gives_each_of_them_a_row() {
    let mut site = Site::new(1);
    let seq = site.ingest(vec![event("a", &[(1, true)])])[0];
    site.settle(vec![settlement(1, seq, 0, retry(START_MS + 5))]);
    let (due, _) = site.due(1, u64::MAX);
    assert!(due[0].is_alone, "a rendering that failed told of one body");
    // Dead and put back, it still stands for all.
    site.settle(vec![settlement_of(1, &due[0], dead())]);
    assert_eq!(site.redrive_dead(1, START_MS).count, 1);
    let (due, _) = site.due(1, u64::MAX);
    assert!(due[0].is_alone);
    // The second of three is settled first.
    let second = Settlement { part: 1, part_count: 3, ..settlement_of(1, &due[0], Ending::Delivered) };
    site.settle(vec![second]);
    site.reopen();
    assert_eq!(site.backlog(), 2);
    let (due, _) = site.due(1, u64::MAX);
    let rest: Vec<_> = due.iter().map(|owed| (owed.part, owed.is_alone)).collect();
    assert_eq!(rest, [(Some(0), false), (Some(2), false)]);
    for owed in &due {
        site.settle(vec![Settlement { part_count: 3, ..settlement_of(1, owed, Ending::Delivered) }]);
    }
    assert_eq!((site.rows(), site.backlog()), (rows(&[]), 0));
}

#[test]
fn a_dead_letter_keeps_its_event_and_is_no_longer_owed() {
    let mut site = Site::new(2);
    let seq = site.ingest(vec![event("a", &[(1, true), (2, true)])])[0];
    let attempt = AttemptRecord {
        attempt_number: 12,
        started_ms: START_MS,
        duration_ms: 9,
        status: Some(500),
        failure: Some(FailureClass::Status),
        snippet: Bytes::from_static(b"oops"),
        detail: Some("answered 500".into()),
    };
    let given_up = Settlement { attempt: Some(attempt.clone()), ..settlement(1, seq, 0, dead()) };
    site.settle(vec![given_up, settlement(2, seq, 1, Ending::Delivered)]);
    site.reopen();
    assert!(site.parked(1).is_empty());
    assert_eq!(site.rows(), rows(&[("events", 1), ("progress", 1), ("dead", 1), ("attempts", 1)]));
    let stats = site.store().stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters), (0, 1));
    let letters = site.dead(1);
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].key.seq, letters[0].reason.as_deref()), (seq, Some("exhausted")));
    assert_eq!((letters[0].last_status, letters[0].last_failure), (Some(500), Some(FailureClass::Status)));
    assert_eq!((letters[0].attempt_count, letters[0].accepted_ms), (12, START_MS));
    let detail = site.find(1, "E", 0).unwrap();
    assert_eq!((&detail.delivery, detail.attempts.as_slice()), (&letters[0], &[attempt][..]));
}

#[test]
fn a_backlog_at_its_limit_refuses_events_and_takes_endings() {
    let site = Site::with(2, |options| options.backlog_deliveries_max = 3);
    let seq = site.ingest(vec![event("a", &[(1, true), (2, true)])])[0];
    let refused = site.try_ingest(vec![event("b", &[(1, true), (2, true)])]).unwrap_err();
    assert_eq!(refused, StoreError::Backlog { waiting: 2, limit: 3 });
    assert_eq!(site.rows(), rows(&[("events", 1)]));
    site.settle(vec![settlement(1, seq, 0, Ending::Delivered)]);
    site.ingest(vec![event("b", &[(1, true), (2, true)])]);
}

#[test]
fn what_is_too_large_or_out_of_bounds_is_refused() {
    let site = Site::new(1);
    let mut outside = event("a", &[(1, true)]);
    outside.event.payload = 0..10_000;
    assert!(
        matches!(site.try_ingest(vec![outside]), Err(StoreError::Other(text)) if text.contains("payload"))
    );
    let large = crate::support::sized_event("a", &[(1, true)], fanfare_core::limits::EVENT_BYTES_MAX);
    assert!(matches!(site.try_ingest(vec![large]), Err(StoreError::Other(text)) if text.contains("exceeds")));
    assert_eq!(site.rows(), rows(&[]));
}

#[test]
fn a_closed_store_says_so() {
    let site = Site::new(1);
    assert_eq!(site.store().health(), Ok(()));
    crate::support::wait(site.store().close());
    assert!(matches!(site.store().health(), Err(StoreError::Other(text)) if text.contains("closed")));
    assert!(site.try_ingest(vec![event("a", &[(1, true)])]).is_err());
    let batch = fanfare_core::ports::SettleBatch::default();
    assert!(site.store().settle(batch).is_err(), "given back");
}
