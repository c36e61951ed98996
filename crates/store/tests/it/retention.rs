//! What is too old or too much goes, and nothing else does.

use crate::support::{START_MS, Site, dead, event, settlement, settlement_of, sized_event};
use bytes::Bytes;
use fanfare_core::delivery::{AttemptRecord, DeliveryStatus, Ending, Settlement};
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::Store;
use fanfare_core::ports::history::{DeliveryFilter, RedriveRequest, Redriven};
use fanfare_core::{EventId, Seq};
use std::collections::BTreeMap;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn id(seq: Seq) -> EventId {
    EventId::parse(&format!("e{}", seq.0)).unwrap()
}

/// Webhook 1's delivery of an event skipped at that time: an item of attempts and nothing else is left.
fn skip(site: &Site, at_ms: u64) -> Seq {
    let seq = site.ingest(vec![event("e", &[(1, true)])])[0];
    let ending = Ending::Skipped { reason: "r".into() };
    site.settle(vec![Settlement { event_id: id(seq), at_ms, ..settlement(1, seq, 0, ending) }]);
    seq
}

/// A delivery of a webhook given up at that time.
fn give_up(site: &Site, webhook: u32, at_ms: u64) -> Seq {
    let seq = site.ingest(vec![event("e", &[(webhook, true)])])[0];
    site.settle(vec![Settlement { event_id: id(seq), at_ms, ..settlement(webhook, seq, 0, dead()) }]);
    seq
}

fn seqs(site: &Site, webhook: u32) -> Vec<u64> {
    site.list(webhook, DeliveryFilter::default(), 100).iter().map(|item| item.key.seq.0).collect()
}

#[test]
fn attempts_go_by_the_hour_when_they_are_too_old() {
    let mut site = Site::with(1, |options| options.retention.attempts_seconds = 3600);
    // START_MS lies 800 s into its hour.
    for minutes in [0, 30, 60, 119, 170] {
        skip(&site, START_MS + minutes * 60_000);
    }
    assert_eq!(seqs(&site, 1), [5, 4, 3, 2, 1]);
    let second_hour_ends_ms = 2 * HOUR_MS - START_MS % HOUR_MS;
    site.pass_ms(second_hour_ends_ms - 1);
    assert_eq!(seqs(&site, 1), [5, 4, 3, 2, 1], "kept to the last moment");
    site.pass_ms(60_001);
    assert_eq!(seqs(&site, 1), [5, 4, 3]);
    site.reopen();
    site.pass_ms(HOUR_MS);
    assert_eq!(seqs(&site, 1), [5, 4]);
    site.pass_ms(HOUR_MS);
    assert_eq!(seqs(&site, 1), [5]);
    site.pass_ms(HOUR_MS);
    assert!(site.rows().is_empty(), "{:?}", site.rows());
}

#[test]
fn attempts_over_their_bytes_go_oldest_hour_first_and_the_rest_stays() {
    let site = Site::with(1, |options| options.retention.attempts_bytes = 100_000);
    let seqs = site.ingest((0..300).map(|_| event("e", &[(1, true)])).collect());
    let settled = |(n, seq): (u64, Seq)| {
        let attempt = AttemptRecord {
            attempt_number: 1,
            started_ms: START_MS,
            duration_ms: 1,
            status: Some(200),
            failure: None::<FailureClass>,
            snippet: Bytes::from(vec![b'x'; 1000]),
            detail: None,
        };
        let at_ms = START_MS + n * HOUR_MS / 10;
        let delivered = settlement(1, seq, 0, Ending::Delivered);
        Settlement { event_id: id(seq), at_ms, attempt: Some(attempt), ..delivered }
    };
    site.settle((0..).zip(seqs).map(settled).collect());
    site.pass_ms(60_000);
    let left = seqs_all(&site);
    assert!((30..100).contains(&left.len()), "{} of 300 are left", left.len());
    // The latest ones, without a gap.
    let expected: Vec<u64> = (0..left.len() as u64).map(|n| 300 - n).collect();
    assert_eq!(left, expected);
}

fn seqs_all(site: &Site) -> Vec<u64> {
    site.list(1, DeliveryFilter::default(), 1000).iter().map(|item| item.key.seq.0).collect()
}

#[test]
fn dead_letters_go_by_the_hour_and_free_their_events() {
    let mut site = Site::with(3, |options| options.retention.dead_letters_seconds = 10 * 24 * 3600);
    let shared = site.ingest(vec![event("s", &[(1, true), (2, true), (3, true)])])[0];
    let ended =
        |webhook, index, at_ms, ending| Settlement { at_ms, ..settlement(webhook, shared, index, ending) };
    site.settle(vec![
        ended(1, 0, START_MS, dead()),
        ended(2, 1, START_MS + 3 * HOUR_MS, dead()),
        ended(3, 2, START_MS, Ending::Delivered),
    ]);
    give_up(&site, 3, START_MS + 5);
    give_up(&site, 3, START_MS + 3 * HOUR_MS);
    assert_eq!((site.rows()["events"], site.store().stats().dead_letters), (3, 4));
    site.pass_ms(10 * DAY_MS);
    assert_eq!(site.store().stats().dead_letters, 4);
    site.pass_ms(HOUR_MS);
    assert_eq!((seqs(&site, 1), seqs(&site, 2), seqs(&site, 3)), (vec![], vec![1], vec![3]));
    assert_eq!((site.rows()["events"], site.store().stats().dead_letters), (2, 2));
    site.reopen();
    // One put back in time stays owed, however old its event grows.
    assert_eq!(site.redrive_one(3, "e3", 0, START_MS + 11 * DAY_MS).count, 1);
    site.pass_ms(3 * HOUR_MS);
    assert_eq!((seqs(&site, 2), site.backlog(), site.store().stats().dead_letters), (vec![], 1, 0));
    let (due, _) = site.due(3, u64::MAX);
    site.settle(vec![settlement_of(3, &due[0], Ending::Delivered)]);
    let none: BTreeMap<&str, u64> = BTreeMap::new();
    assert_eq!(site.rows(), none);
}

#[test]
fn dead_letters_over_their_bytes_go_oldest_first() {
    let mut site = Site::with(1, |options| options.retention.dead_letters_bytes = 500_000);
    let events = (0..40).map(|n| sized_event(&format!("e{n}"), &[(1, true)], 20_000)).collect();
    let places = site.ingest(events);
    let given_up = (0..).zip(&places).map(|(n, seq)| Settlement {
        event_id: id(*seq),
        at_ms: START_MS + n * HOUR_MS,
        ..settlement(1, *seq, 0, dead())
    });
    site.settle(given_up.collect());
    for _ in 0..2 {
        site.pass_ms(60_000);
        // 24 × 20 KB fit.
        assert_eq!(seqs(&site, 1), (17..=40).rev().collect::<Vec<_>>());
        assert_eq!(site.rows()["events"], 24);
        site.reopen();
    }
    // What is put back no longer counts.
    assert_eq!(site.redrive_dead(1, START_MS).count, 24);
    site.pass_ms(60_000);
    assert_eq!((site.backlog(), site.rows()["events"]), (24, 24));
}

#[test]
fn a_long_sweep_goes_on_by_itself_while_events_come_and_go() {
    let site = Site::with(2, |options| options.retention.dead_letters_seconds = 60);
    let places = site.ingest((0..3000).map(|n| event(&format!("e{n}"), &[(1, true)])).collect());
    site.settle(places.iter().map(|seq| settlement(1, *seq, 0, dead())).collect());
    site.clock.advance_ms(2 * HOUR_MS);
    let (mut left, mut commits) = (3000, site.store().stats().commits);
    for n in 0.. {
        assert!(n < 10_000, "{left} are never swept");
        let seq = site.ingest(vec![event("between", &[(2, true)])])[0];
        site.settle(vec![settlement(2, seq, 0, Ending::Delivered)]);
        let (now, commits_now) = (site.store().stats().dead_letters, site.store().stats().commits);
        let slices = commits_now - commits + 1;
        assert!(left - now <= slices * 512, "{} in {slices} commits", left - now);
        (left, commits) = (now, commits_now);
        if left == 0 {
            break;
        }
    }
    assert_eq!((site.rows().len(), site.backlog()), (0, 0));
}

/// Webhook 1's delivery of an event of that time, delivered at once with a record of it.
fn deliver(site: &Site, accepted_ms: u64, padding: usize) -> Seq {
    deliver_all(site, &[accepted_ms], padding)[0]
}

fn deliver_all(site: &Site, accepted_ms: &[u64], padding: usize) -> Vec<Seq> {
    let events = accepted_ms.iter().map(|accepted_ms| {
        let mut item = sized_event("e", &[(1, true)], padding);
        item.event.accepted_at_ms = *accepted_ms;
        item
    });
    let seqs = site.ingest(events.collect());
    site.settle(
        seqs.iter().zip(accepted_ms).map(|(seq, accepted_ms)| delivered(*seq, *accepted_ms)).collect(),
    );
    seqs
}

fn delivered(seq: Seq, accepted_ms: u64) -> Settlement {
    let attempt = AttemptRecord {
        attempt_number: 1,
        started_ms: accepted_ms,
        duration_ms: 1,
        status: Some(200),
        failure: None,
        snippet: Bytes::new(),
        detail: None,
    };
    Settlement {
        event_id: id(seq),
        accepted_ms,
        at_ms: accepted_ms + 1,
        attempt: Some(attempt),
        ..settlement(1, seq, 0, Ending::Delivered)
    }
}

fn event_rows(site: &Site) -> u64 {
    site.rows().get("events").copied().unwrap_or(0)
}

#[test]
fn bodies_of_what_has_ended_are_kept_for_their_time_and_owed_to_nobody() {
    let mut site = Site::with(1, |options| options.retention.bodies_seconds = 3600);
    for minutes in [0, 10, 20] {
        deliver(&site, START_MS + minutes * 60_000, 0);
    }
    let waiting = site.ingest(vec![event("w", &[(1, true)])])[0];
    for _ in 0..2 {
        assert_eq!((event_rows(&site), site.backlog()), (4, 1));
        site.reopen();
        assert_eq!(site.parked_seqs(1), [waiting]);
    }
    site.pass_ms(HOUR_MS + 10 * 60_000 - 1);
    assert_eq!(event_rows(&site), 3);
    site.pass_ms(60_001);
    assert_eq!(event_rows(&site), 2);
    site.pass_ms(HOUR_MS);
    // Only what is owed is left; the mark has passed it, so it goes at once when it ends.
    assert_eq!((event_rows(&site), site.backlog()), (1, 1));
    let owed = site.parked(1);
    site.settle_and_drop(vec![settlement_of(1, &owed[0], Ending::Delivered)], vec![(1, waiting)]);
    assert_eq!((event_rows(&site), site.backlog()), (0, 0));
    assert!(!site.rows().contains_key("progress"));
    // The next one is behind the mark again.
    deliver(&site, START_MS + 3 * HOUR_MS, 0);
    site.reopen();
    assert_eq!((event_rows(&site), site.parked_seqs(1)), (1, vec![]));
}

#[test]
fn bodies_over_their_bytes_go_oldest_first() {
    let site = Site::with(1, |options| {
        options.retention.bodies_seconds = 1_000_000;
        options.retention.bodies_bytes = 1_000_000;
    });
    deliver_all(&site, &(0..100).map(|n| START_MS + n).collect::<Vec<_>>(), 20_000);
    site.pass_ms(60_000);
    let left = event_rows(&site);
    assert!((30..50).contains(&left), "{left} are left");
    // The latest ones can still be put back, older ones cannot.
    assert_eq!(site.redrive_one(1, "e100", 0, START_MS + 500).count, 1);
    assert_eq!(site.redrive_one(1, "e1", 0, START_MS + 500).without_body, 1);
}

#[test]
fn bodies_kept_by_an_earlier_setting_go_when_it_is_taken_back() {
    let mut site = Site::with(1, |options| options.retention.bodies_seconds = 1_000_000);
    deliver_all(&site, &(0..700).map(|n| START_MS + n).collect::<Vec<_>>(), 0);
    let waiting = site.ingest(vec![event("w", &[(1, true)])])[0];
    assert_eq!(event_rows(&site), 701);
    site.tweak = |_| {};
    site.reopen();
    site.pass_ms(1);
    assert_eq!((event_rows(&site), site.parked_seqs(1)), (1, vec![waiting]));
    deliver(&site, START_MS, 0);
    assert_eq!(event_rows(&site), 1, "what ends now goes at once");
    // And the other way round: only what ends from now on is kept.
    site.tweak = |options| options.retention.bodies_seconds = 1_000_000;
    site.reopen();
    let owed = site.parked(1);
    site.settle_and_drop(vec![settlement_of(1, &owed[0], Ending::Delivered)], vec![(1, waiting)]);
    deliver(&site, START_MS, 0);
    assert_eq!(event_rows(&site), 1);
}

#[test]
fn what_was_delivered_or_skipped_is_put_back_while_its_body_is_kept() {
    let mut site = Site::with(2, |options| options.retention.bodies_seconds = 1_000_000);
    let gone = deliver(&site, START_MS, 0);
    deliver_all(&site, &(1..=1200).map(|n| START_MS + n * 1000).collect::<Vec<_>>(), 0);
    let skipped = skip(&site, START_MS + 5);
    site.reopen_after(|dir| crate::support::edit(dir, "events", |rows| drop(rows.remove(0))));
    let now_ms = START_MS + 5_000_000;
    let of =
        |status, from_ms| RedriveRequest::Many(DeliveryFilter { status: Some(status), from_ms, to_ms: None });
    let count = |redriven: Redriven| (redriven.count, redriven.without_body);
    assert_eq!(count(site.redrive(1, of(DeliveryStatus::Skipped, None), now_ms)), (1, 0));
    assert_eq!(
        count(site.redrive(1, of(DeliveryStatus::Delivered, Some(START_MS + 1_150_000)), now_ms)),
        (51, 0)
    );
    assert_eq!(count(site.redrive(1, of(DeliveryStatus::Delivered, None), now_ms + 1)), (1149, 1));
    assert_eq!(count(site.redrive(1, of(DeliveryStatus::Delivered, None), now_ms + 2)), (0, 1));
    assert_eq!(count(site.redrive_one(1, id(gone).as_str(), 0, now_ms)), (0, 1));
    assert_eq!(count(site.redrive(1, of(DeliveryStatus::Pending, None), now_ms)), (0, 0));
    assert_eq!(site.backlog(), 1201);
    for _ in 0..2 {
        let (due, _) = site.due(1, now_ms);
        assert_eq!(due.len(), 52);
        let numbers =
            |seq: Seq| due.iter().find(|owed| owed.event.seq == seq).map(|owed| owed.progress.attempt_number);
        assert_eq!((numbers(skipped), numbers(Seq(1201))), (Some(1), Some(2)));
        // Each is listed once, as what it is now.
        let all: Vec<u64> =
            site.list(1, DeliveryFilter::default(), 500).iter().map(|item| item.key.seq.0).collect();
        assert_eq!((all.len(), all[1201]), (1202, gone.0));
        site.reopen();
    }
    // Delivered again, it has two ends and both attempts.
    let (due, _) = site.due(1, u64::MAX);
    let again: Vec<Settlement> = due
        .iter()
        .map(|owed| Settlement {
            origin: owed.origin,
            at_ms: now_ms + 9,
            ..delivered(owed.event.seq, START_MS)
        })
        .collect();
    site.settle(again);
    let found = site.find(1, "e77", 0).unwrap();
    assert_eq!((found.delivery.status, found.attempts.len()), (DeliveryStatus::Delivered, 2));
    assert_eq!((found.delivery.ended_ms, site.backlog()), (Some(now_ms + 9), 0));
}

/// Without the setting, what others still need can be put back all the same.
#[test]
fn a_body_that_is_owed_to_others_can_be_put_back_too() {
    let site = Site::new(2);
    let seq = site.ingest(vec![event("e", &[(1, true), (2, true)])])[0];
    site.settle(vec![delivered(seq, START_MS)]);
    assert_eq!(site.redrive_one(1, "e1", 0, START_MS + 5).count, 1);
    assert_eq!(site.redrive_one(1, "e1", 0, START_MS + 5).count, 0);
    let (due, _) = site.due(1, u64::MAX);
    site.settle(vec![settlement_of(1, &due[0], Ending::Delivered), settlement(2, seq, 1, Ending::Delivered)]);
    assert_eq!((event_rows(&site), site.backlog()), (0, 0));
}

/// Once, a clock set back would have put the next look off by as much.
#[test]
fn a_clock_that_is_set_back_does_not_put_retention_off() {
    let site = Site::with(1, |options| options.retention.attempts_seconds = 0);
    site.pass_ms(100 * DAY_MS);
    site.clock.set_ms(START_MS);
    skip(&site, START_MS - 2 * HOUR_MS);
    site.pass_ms(60_000);
    assert!(site.rows().is_empty(), "{:?}", site.rows());
}
