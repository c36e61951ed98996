//! Lists, look-ups and counts of deliveries.

use crate::support::{START_MS, Site, dead, event, retry, settlement, settlement_of, wait};
use bytes::Bytes;
use fanfare_core::delivery::{AttemptRecord, DeliveryStatus, Ending, Progress, Settlement};
use fanfare_core::event::EventKind;
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::history::{Backlog, DeliveryFilter, DeliveryView, History};
use fanfare_core::ports::{IngestEvent, Store, StoreError};
use fanfare_core::{EventId, Seq, WebhookNo};

const HOUR_MS: u64 = 3_600_000;

fn attempt(number: u32, status: u16) -> AttemptRecord {
    AttemptRecord {
        attempt_number: number,
        started_ms: START_MS,
        duration_ms: 9,
        status: Some(status),
        failure: (status >= 300).then_some(FailureClass::Status),
        snippet: Bytes::from_static(b"answer"),
        detail: None,
    }
}

/// An attempt of webhook 1 that ended so, at that time.
fn attempted(seq: u64, number: u32, status: u16, ending: Ending, at_ms: u64) -> Settlement {
    Settlement {
        event_id: EventId::parse(&format!("e{seq}")).unwrap(),
        at_ms,
        attempt: Some(attempt(number, status)),
        ..settlement(1, Seq(seq), 0, ending)
    }
}

fn skip() -> Ending {
    Ending::Skipped { reason: "no_z_api_counterpart".into() }
}

/// Events e1, e2, … of webhook 1 and of another one, all handed over in memory, one minute apart.
fn ingest(site: &Site, count: u64) {
    let events = (1..=count).map(|n| {
        let mut item = event(&format!("e{n}"), &[(2, true), (1, true)]);
        item.event.accepted_at_ms = START_MS + n * 60_000;
        item
    });
    site.ingest(events.collect());
}

fn settle(site: &Site, settlements: Vec<Settlement>) {
    let of_one = |mut s: Settlement| {
        s.index = 1;
        s.accepted_ms = START_MS + s.seq.0 * 60_000;
        s
    };
    site.settle(settlements.into_iter().map(of_one).collect());
}

/// A webhook with deliveries of every kind, spread over hours.
fn mixed() -> Site {
    let mut site = Site::new(2);
    ingest(&site, 12);
    let progress = Progress { attempt_number: 2, schedule_step: 1, owed_since_ms: START_MS };
    let later = |due_ms| Ending::Retry { due_ms, progress };
    let hour = |n: u64| START_MS + n * HOUR_MS;
    settle(
        &site,
        vec![
            attempted(1, 1, 500, later(hour(9)), hour(1)),
            attempted(2, 1, 503, later(hour(8)), hour(1)),
            attempted(3, 1, 200, Ending::Delivered, hour(1)),
        ],
    );
    settle(&site, vec![attempted(4, 1, 200, Ending::Delivered, hour(1) + 5)]);
    settle(
        &site,
        vec![
            Settlement { at_ms: hour(3), ..settlement(1, Seq(5), 0, skip()) },
            attempted(
                6,
                1,
                400,
                Ending::Dead { reason: "exhausted".into(), progress: Progress::first(1) },
                hour(4),
            ),
            attempted(7, 1, 200, Ending::Delivered, hour(60)),
        ],
    );
    settle(&site, vec![Settlement { at_ms: hour(2), ..settlement(1, Seq(8), 0, dead()) }]);
    // 9 and 10 wait in the backlog index, 11 and 12 in memory.
    site.reopen();
    site.ingest(vec![event("e13", &[(1, false)]), event("e14", &[(1, true)]), event("e15", &[(1, false)])]);
    site
}

fn seqs(items: &[DeliveryView]) -> Vec<u64> {
    items.iter().map(|item| item.key.seq.0).collect()
}

fn of_status(status: DeliveryStatus) -> DeliveryFilter {
    DeliveryFilter { status: Some(status), ..Default::default() }
}

#[test]
fn a_list_has_what_is_owed_then_dead_ones_then_ends_each_in_its_order() {
    let mut site = mixed();
    for _ in 0..2 {
        let all = site.list(1, DeliveryFilter::default(), 100);
        assert_eq!(seqs(&all), [2, 1, 15, 14, 13, 12, 11, 10, 9, 6, 8, 7, 5, 4, 3]);
        for count_max in 1..all.len() {
            assert_eq!(site.list(1, DeliveryFilter::default(), count_max), all, "in pages of {count_max}");
        }
        for (status, expected) in [
            (DeliveryStatus::Pending, &[2, 1, 15, 14, 13, 12, 11, 10, 9][..]),
            (DeliveryStatus::Dead, &[6, 8]),
            (DeliveryStatus::Delivered, &[7, 4, 3]),
            (DeliveryStatus::Skipped, &[5]),
        ] {
            let some = site.list(1, of_status(status), 2);
            assert_eq!(seqs(&some), expected);
            assert!(some.iter().all(|item| item.status == status));
        }
        let minute = |n: u64| START_MS + n * 60_000;
        let span = DeliveryFilter { from_ms: Some(minute(4)), to_ms: Some(minute(9)), ..Default::default() };
        assert_eq!(seqs(&site.list(1, span, 1)), [6, 8, 7, 5, 4]);
        site.reopen();
    }
}

#[test]
fn a_listed_delivery_tells_what_is_known_of_it() {
    let site = mixed();
    let all = site.list(1, DeliveryFilter::default(), 100);
    let view = |seq: u64| all.iter().find(|item| item.key.seq.0 == seq).unwrap();
    let id = |seq: u64| Some(EventId::parse(&format!("e{seq}")).unwrap());
    let retried = view(2);
    assert_eq!((&retried.event_id, retried.kind), (&id(2), Some(EventKind::MessageReceived)));
    assert_eq!((retried.status, retried.attempt_count), (DeliveryStatus::Pending, 1));
    assert_eq!(retried.next_attempt_ms, Some(START_MS + 8 * HOUR_MS));
    assert_eq!((retried.last_status, retried.last_failure), (Some(503), Some(FailureClass::Status)));
    assert_eq!((retried.accepted_ms, retried.ended_ms), (START_MS + 120_000, None));
    let waiting = view(12);
    assert_eq!((&waiting.event_id, waiting.attempt_count, waiting.next_attempt_ms), (&id(12), 0, None));
    let dead = view(6);
    assert_eq!((&dead.event_id, dead.reason.as_deref()), (&id(6), Some("exhausted")));
    assert_eq!((dead.attempt_count, dead.last_status), (1, Some(400)));
    assert_eq!((dead.accepted_ms, dead.ended_ms), (START_MS + 360_000, Some(START_MS + 4 * HOUR_MS)));
    let never_attempted = view(8);
    assert_eq!((never_attempted.attempt_count, never_attempted.last_status), (0, None));
    let delivered = view(7);
    assert_eq!((&delivered.event_id, delivered.kind), (&id(7), Some(EventKind::Block)));
    assert_eq!((delivered.attempt_count, delivered.last_status), (1, Some(200)));
    assert_eq!(delivered.ended_ms, Some(START_MS + 60 * HOUR_MS));
    let skipped = view(5);
    assert_eq!((skipped.status, skipped.attempt_count), (DeliveryStatus::Skipped, 0));
    assert_eq!(skipped.reason.as_deref(), Some("no_z_api_counterpart"));
}

#[test]
fn bodies_of_one_event_are_listed_each_on_its_own() {
    let mut site = Site::new(1);
    let seq = site.ingest(vec![event("a", &[(1, true)]), event("b", &[(1, true)])])[0];
    let part = |part, ending| Settlement { part, part_count: 5, ..settlement(1, seq, 0, ending) };
    site.settle(vec![part(1, skip()), part(3, retry(START_MS + 5))]);
    for _ in 0..2 {
        for count_max in 1..8 {
            let all = site.list(1, DeliveryFilter::default(), count_max);
            let keys: Vec<_> = all.iter().map(|item| (item.key.seq.0, item.key.part, item.status)).collect();
            let (pending, skipped) = (DeliveryStatus::Pending, DeliveryStatus::Skipped);
            let expected = [(1, 3, pending), (2, 0, pending), (1, 0, pending), (1, 2, pending)];
            assert_eq!(keys[..4], expected, "in pages of {count_max}");
            assert_eq!(keys[4..], [(1, 4, pending), (1, 1, skipped)]);
        }
        let status = |part| site.find(1, "a", part).map(|found| found.delivery.status);
        assert_eq!(status(0), Some(DeliveryStatus::Pending));
        assert_eq!(status(3), Some(DeliveryStatus::Pending));
        assert_eq!(status(5), None);
        // The helper settles under another id; what has ended is found by the one it was recorded with.
        let skipped = site.find(1, "E", 1).map(|found| found.delivery.status);
        assert_eq!(skipped, Some(DeliveryStatus::Skipped));
        site.reopen();
    }
}

#[test]
fn ends_of_one_commit_are_listed_latest_first_in_pages_of_any_size() {
    let site = Site::new(2);
    ingest(&site, 20);
    let ended = (1..=20).map(|n| match n % 3 {
        0 => attempted(n, 1, 500, retry(START_MS + n), START_MS + n),
        1 => attempted(n, 1, 200, Ending::Delivered, START_MS + n),
        _ => Settlement { at_ms: START_MS + n, ..settlement(1, Seq(n), 0, skip()) },
    });
    settle(&site, ended.collect());
    let expected: Vec<u64> = (1..=20).rev().filter(|n| n % 3 != 0).collect();
    let retried: Vec<u64> = (1..=20).filter(|n| n % 3 == 0).collect();
    for count_max in 1..=21 {
        let all = seqs(&site.list(1, DeliveryFilter::default(), count_max));
        assert_eq!(all, [retried.clone(), expected.clone()].concat(), "in pages of {count_max}");
    }
}

#[test]
fn a_cursor_of_another_list_is_refused() {
    let site = mixed();
    let filter = DeliveryFilter::default();
    let cursor = site.list_page(1, filter, Vec::new(), 1).unwrap().next.unwrap();
    assert!(site.list_page(1, filter, cursor.clone(), 1).is_ok());
    let other_webhook = site.list_page(2, filter, cursor.clone(), 1);
    let other_filter = site.list_page(1, of_status(DeliveryStatus::Pending), cursor.clone(), 1);
    let cut = site.list_page(1, filter, cursor[1..].to_vec(), 1);
    for refused in [other_webhook, other_filter, cut, site.list_page(1, filter, b"next".to_vec(), 1)] {
        assert_eq!(refused, Err(StoreError::Cursor));
    }
}

/// What ends between two pages moves to a later part of the list, so it is seen there.
#[test]
fn what_ends_while_a_list_is_read_is_not_missed() {
    let mut site = Site::new(2);
    ingest(&site, 40);
    site.reopen();
    let owed = site.parked(1);
    let (mut seen, mut cursor) = (Vec::new(), Vec::new());
    for round in 0.. {
        let page = site.list_page(1, DeliveryFilter::default(), cursor, 3).unwrap();
        seen.extend(seqs(&page.items));
        if let Some(owed) = owed.get(round) {
            let ending = if round % 2 == 0 { skip() } else { dead() };
            site.settle(vec![settlement_of(1, owed, ending)]);
        }
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
}

/// A long way over other webhooks' events ends in an empty page with a cursor, not in a long wait.
#[test]
fn one_call_does_bounded_work() {
    let site = Site::new(2);
    site.ingest(vec![event("first", &[(1, true)])]);
    for _ in 0..6 {
        site.ingest((0..5000).map(|n| event(&format!("e{n}"), &[(2, true)])).collect());
    }
    let page = site.list_page(1, DeliveryFilter::default(), Vec::new(), 10).unwrap();
    assert!(page.items.is_empty() && page.next.is_some());
    assert_eq!(seqs(&site.list(1, DeliveryFilter::default(), 10)), [1]);
}

#[test]
fn a_delivery_is_found_by_its_id_wherever_it_stands() {
    let mut site = mixed();
    for _ in 0..2 {
        for view in site.list(1, DeliveryFilter::default(), 100) {
            let id = view.event_id.clone().unwrap();
            // Ended without an attempt under the helper's id.
            if id.as_str() == "E" {
                continue;
            }
            let found = site.find(1, id.as_str(), 0).unwrap();
            assert_eq!(found.delivery, view);
            let attempt_count = found.attempts.len() as u32;
            assert_eq!(attempt_count, view.attempt_count, "{id}");
        }
        assert_eq!(site.find(1, "e99", 0), None);
        assert_eq!(site.find(1, "e1", 1), None);
        assert_eq!(site.find(2, "e13", 0), None, "another webhook's");
        site.reopen();
    }
}

#[test]
fn ids_that_tell_their_time_are_found_whatever_the_time_is() {
    let site = Site::new(1);
    let made = |accepted_ms: u64, id_ms: u64, n: u128| {
        let id = EventId::generate(id_ms, n);
        let mut item = event(id.as_str(), &[(1, true)]);
        item.event.accepted_at_ms = accepted_ms;
        (id, item)
    };
    let mut ids = Vec::new();
    let mut events: Vec<IngestEvent> = Vec::new();
    for n in 0..50_u64 {
        let at_ms = START_MS + n * HOUR_MS / 2;
        // Every tenth was given by a producer whose clock is far off, this way or that.
        let id_ms = match n % 20 {
            0 => at_ms - 30 * HOUR_MS,
            10 => at_ms + 30 * HOUR_MS,
            _ => at_ms,
        };
        let (id, item) = made(at_ms, id_ms, u128::from(n));
        ids.push(id);
        events.push(item);
    }
    let places = site.ingest(events);
    for (n, (id, seq)) in (0_u64..).zip(ids.iter().zip(&places)) {
        assert_eq!(site.find(1, id.as_str(), 0).unwrap().delivery.key.seq, *seq);
        let accepted_ms = START_MS + n * HOUR_MS / 2;
        site.settle(vec![Settlement {
            event_id: id.clone(),
            accepted_ms,
            at_ms: accepted_ms + n * HOUR_MS / 10,
            ..settlement(1, *seq, 0, skip())
        }]);
        let found = site.find(1, id.as_str(), 0).unwrap().delivery;
        assert_eq!((found.key.seq, found.status), (*seq, DeliveryStatus::Skipped));
    }
    assert!(!site.rows().contains_key("events"));
}

#[test]
fn an_end_that_left_no_record_is_not_known() {
    let site = Site::new(2);
    ingest(&site, 1);
    let failed = attempted(1, 1, 500, retry(START_MS + 5), START_MS + HOUR_MS);
    settle(&site, vec![failed]);
    assert_eq!(site.find(1, "e1", 0).unwrap().delivery.status, DeliveryStatus::Pending);
    let (due, _) = site.due(1, u64::MAX);
    site.settle(vec![settlement_of(1, &due[0], Ending::Delivered)]);
    assert_eq!(site.find(1, "e1", 0), None);
    assert!(site.list(1, DeliveryFilter::default(), 9).is_empty());
}

/// What waits behind a key, or expires, was not attempted this time: what the attempt before failed of stays known.
#[test]
fn the_last_failure_outlives_a_settlement_without_an_attempt() {
    let site = Site::new(2);
    ingest(&site, 1);
    settle(&site, vec![attempted(1, 1, 500, retry(START_MS + 5), START_MS)]);
    let again = |site: &Site, ending| {
        let (due, _) = site.due(1, u64::MAX);
        site.settle(vec![settlement_of(1, &due[0], ending)]);
        site.list(1, DeliveryFilter::default(), 9).remove(0)
    };
    let moved = again(&site, retry(START_MS + 50));
    assert_eq!((moved.next_attempt_ms, moved.last_status), (Some(START_MS + 50), Some(500)));
    let progress = Progress { attempt_number: 2, schedule_step: 1, owed_since_ms: START_MS };
    let dead = again(&site, Ending::Dead { reason: "expired".into(), progress });
    assert_eq!((dead.last_status, dead.last_failure), (Some(500), Some(FailureClass::Status)));
    assert_eq!((dead.status, dead.attempt_count), (DeliveryStatus::Dead, 1));
}

#[test]
fn a_backlog_is_counted_and_its_oldest_event_told() {
    let site = mixed();
    let count = |count_max| wait(site.store().backlog(WebhookNo(1), count_max)).unwrap();
    let oldest_accepted_ms = Some(START_MS + 60_000);
    assert_eq!(count(100), Backlog { deliveries: 9, is_at_least: false, oldest_accepted_ms });
    assert_eq!(count(9), Backlog { deliveries: 9, is_at_least: false, oldest_accepted_ms });
    let counted = count(3);
    assert_eq!((counted.deliveries, counted.is_at_least), (3, true));
    assert_eq!(counted.oldest_accepted_ms, Some(START_MS + 9 * 60_000), "as far as was counted");
    assert_eq!(wait(site.store().backlog(WebhookNo(9), 5)).unwrap(), Backlog::default());
}

#[test]
fn a_long_backlog_is_counted_whole() {
    let mut site = Site::new(1);
    for _ in 0..4 {
        site.ingest((0..5000).map(|n| event(&format!("e{n}"), &[(1, true)])).collect());
    }
    let count = |site: &Site| wait(site.store().backlog(WebhookNo(1), u64::MAX)).unwrap().deliveries;
    assert_eq!(count(&site), 20_000);
    site.reopen();
    let settled = site.parked(1).iter().take(700).map(|owed| settlement_of(1, owed, skip())).collect();
    site.settle(settled);
    assert_eq!(count(&site), 19_300);
}

#[test]
fn questions_to_a_closed_store_are_refused() {
    let site = Site::new(1);
    wait(site.store().close());
    assert!(site.list_page(1, DeliveryFilter::default(), Vec::new(), 1).is_err());
    assert!(wait(site.store().backlog(WebhookNo(1), 1)).is_err());
    assert!(wait(site.store().find(WebhookNo(1), EventId::parse("e").unwrap(), 0)).is_err());
}

/// The format was changed between two attempts and gives fewer bodies now, so an ending lands on another body than it
/// names: it is recorded as that one's.
#[test]
fn an_end_is_told_of_the_body_that_took_it() {
    let site = Site::new(1);
    let seq = site.ingest(vec![event("a", &[(1, true)])])[0];
    let settled = |part_count, ending| Settlement { part_count, ..settlement(1, seq, 0, ending) };
    site.settle(vec![settled(3, retry(START_MS + 5))]);
    site.settle(vec![settled(1, skip())]);
    let all = site.list(1, DeliveryFilter::default(), 9);
    let told: Vec<_> = all.iter().map(|item| (item.key.part, item.status)).collect();
    assert_eq!(told, [(0, DeliveryStatus::Pending), (1, DeliveryStatus::Skipped)]);
}
