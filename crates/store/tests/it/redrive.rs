//! Putting dead letters back.

use crate::support::{START_MS, Site, dead, edit, event, settlement, settlement_of, wait};
use bytes::Bytes;
use fanfare_core::delivery::{AttemptRecord, DeliveryStatus, Ending, Progress, Settlement};
use fanfare_core::event::key_hash;
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::history::{DeliveryFilter, RedriveRequest, Redriven};
use fanfare_core::ports::{CatalogChange, Store};
use fanfare_core::{EventId, Seq, WebhookNo};

const COUNT_ONE: Redriven = Redriven { count: 1, without_body: 0 };

fn given_up(progress: Progress) -> Ending {
    Ending::Dead { reason: "exhausted".into(), progress }
}

fn failed(number: u32) -> AttemptRecord {
    AttemptRecord {
        attempt_number: number,
        started_ms: START_MS,
        duration_ms: 9,
        status: Some(500),
        failure: Some(FailureClass::Status),
        snippet: Bytes::new(),
        detail: None,
    }
}

/// Dead letters of webhook 1: of events d1, d2, …, dead one second after the other.
fn dead_letters(site: &Site, count: u64) -> Vec<Seq> {
    let seqs = site.ingest((1..=count).map(|n| event(&format!("d{n}"), &[(1, true)])).collect());
    let settlements = (1..).zip(&seqs).map(|(n, seq)| Settlement {
        event_id: EventId::parse(&format!("d{n}")).unwrap(),
        accepted_ms: START_MS + n,
        at_ms: START_MS + n * 1000,
        ..settlement(1, *seq, 0, dead())
    });
    site.settle(settlements.collect());
    seqs
}

#[test]
fn a_dead_letter_put_back_is_due_at_once_with_a_new_schedule_and_the_next_number() {
    let mut site = Site::new(1);
    let seq = site.ingest(vec![event("a", &[(1, true)])])[0];
    let last = Progress { attempt_number: 12, schedule_step: 11, owed_since_ms: START_MS };
    site.settle(vec![Settlement {
        event_id: EventId::parse("a").unwrap(),
        attempt: Some(failed(12)),
        key: Some(key_hash("k")),
        ..settlement(1, seq, 0, given_up(last))
    }]);
    let now_ms = START_MS + 5000;
    assert_eq!(site.redrive_one(1, "a", 0, now_ms), COUNT_ONE);
    let stats = site.store().stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters), (1, 0));
    for _ in 0..2 {
        let (due, _) = site.due(1, now_ms);
        assert_eq!(due.len(), 1);
        let expected = Progress { attempt_number: 13, schedule_step: 0, owed_since_ms: now_ms };
        assert_eq!((due[0].progress, due[0].part), (expected, Some(0)));
        let (keys, _) = wait(site.store().waiting_keys(WebhookNo(1), None, 9)).unwrap();
        assert_eq!(keys[0].key, Some(key_hash("k")));
        let found = site.find(1, "a", 0).unwrap();
        assert_eq!((found.delivery.status, found.delivery.attempt_count), (DeliveryStatus::Pending, 12));
        assert_eq!((found.delivery.last_status, found.attempts.len()), (Some(500), 1));
        site.reopen();
    }
    // It is pending now, so there is nothing to put back.
    assert_eq!(site.redrive_one(1, "a", 0, now_ms), Redriven::default());
    assert_eq!(site.redrive_dead(1, now_ms), Redriven::default());
    let (due, _) = site.due(1, now_ms);
    let delivered = AttemptRecord { status: Some(200), failure: None, ..failed(13) };
    site.settle(vec![Settlement {
        attempt: Some(delivered),
        at_ms: now_ms + 1,
        ..settlement_of(1, &due[0], Ending::Delivered)
    }]);
    let found = site.find(1, "a", 0).unwrap();
    let numbers: Vec<u32> = found.attempts.iter().map(|attempt| attempt.attempt_number).collect();
    assert_eq!((found.delivery.status, numbers), (DeliveryStatus::Delivered, vec![12, 13]));
    assert_eq!(site.rows().keys().copied().collect::<Vec<_>>(), ["attempts"]);
    assert_eq!(site.redrive_one(1, "a", 0, now_ms), Redriven { count: 0, without_body: 1 });
}

/// The number of an attempt that was never made is given to the next one.
#[test]
fn a_delivery_dead_before_its_attempt_begins_with_that_number() {
    let site = Site::new(1);
    let seqs = site.ingest(["a", "b", "c"].map(|id| event(id, &[(1, true)])).into());
    let id = |id: &str| EventId::parse(id).unwrap();
    let expired = Progress { attempt_number: 3, schedule_step: 2, owed_since_ms: START_MS };
    // A record of an event that cannot be rendered is no attempt.
    let invalid = AttemptRecord { status: None, failure: Some(FailureClass::Render), ..failed(0) };
    site.settle(vec![
        Settlement { event_id: id("a"), ..settlement(1, seqs[0], 0, dead()) },
        Settlement { event_id: id("b"), ..settlement(1, seqs[1], 0, given_up(expired)) },
        Settlement { event_id: id("c"), attempt: Some(invalid), ..settlement(1, seqs[2], 0, dead()) },
    ]);
    assert_eq!(site.redrive_dead(1, START_MS + 5).count, 3);
    let (due, _) = site.due(1, u64::MAX);
    let numbers: Vec<u32> = due.iter().map(|owed| owed.progress.attempt_number).collect();
    assert_eq!(numbers, [1, 3, 1]);
}

#[test]
fn all_that_fit_are_put_back_and_no_others() {
    let site = Site::new(2);
    let seqs = dead_letters(&site, 2000);
    let bystander = site.ingest(vec![event("x", &[(2, true)])])[0];
    site.settle(vec![settlement(2, bystander, 0, dead())]);
    let some = DeliveryFilter {
        status: Some(DeliveryStatus::Dead),
        from_ms: Some(START_MS + 101),
        to_ms: Some(START_MS + 1901),
    };
    let now_ms = START_MS + 10_000_000;
    assert_eq!(site.redrive(1, RedriveRequest::Many(some), now_ms).count, 1800);
    let (due, _) = site.due(1, now_ms);
    let found: Vec<Seq> = due.iter().map(|owed| owed.event.seq).collect();
    assert_eq!(found, seqs[100..1900]);
    let stats = site.store().stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters), (1800, 201));
    assert_eq!(site.redrive_dead(1, now_ms + 1).count, 200);
    assert_eq!((site.dead(1).len(), site.dead(2).len()), (0, 1));
    assert_eq!(site.redrive_dead(9, now_ms).count, 0, "unknown webhook");
}

/// Each body is a delivery of its own; the others' endings stay.
#[test]
fn one_body_of_an_event_is_put_back() {
    let mut site = Site::new(1);
    let seq = site.ingest(vec![event("a", &[(1, true)])])[0];
    let part = |part, ending| Settlement {
        event_id: EventId::parse("a").unwrap(),
        part,
        part_count: 3,
        ..settlement(1, seq, 0, ending)
    };
    site.settle(vec![part(0, Ending::Delivered), part(1, dead()), part(2, dead())]);
    assert_eq!(site.redrive_one(1, "a", 2, START_MS + 5), COUNT_ONE);
    assert_eq!(site.redrive_one(1, "a", 0, START_MS + 5), Redriven::default());
    site.reopen();
    let (due, _) = site.due(1, u64::MAX);
    assert_eq!((due.len(), due[0].part), (1, Some(2)));
    site.settle(vec![Settlement { part_count: 3, ..settlement_of(1, &due[0], Ending::Delivered) }]);
    assert_eq!((site.dead(1).len(), site.backlog(), site.rows()["events"]), (1, 0, 1));
    assert_eq!(site.redrive_one(1, "a", 1, START_MS + 6), COUNT_ONE);
    let (due, _) = site.due(1, u64::MAX);
    site.settle(vec![Settlement { part_count: 3, ..settlement_of(1, &due[0], Ending::Delivered) }]);
    assert!(site.rows().is_empty(), "{:?}", site.rows());
}

#[test]
fn a_dead_letter_whose_event_is_damaged_is_counted_and_kept() {
    let mut site = Site::new(1);
    dead_letters(&site, 3);
    site.reopen_after(|dir| {
        edit(dir, "events", |rows| {
            rows[0].1[20] ^= 1;
            *rows[1].1.last_mut().unwrap() ^= 1;
        });
    });
    let expected = Redriven { count: 1, without_body: 2 };
    assert_eq!(site.redrive_dead(1, START_MS + 5), expected);
    assert_eq!((site.dead(1).len(), site.backlog()), (2, 1));
    assert_eq!(site.redrive_one(1, "d2", 0, START_MS + 5), Redriven { count: 0, without_body: 1 });
}

#[test]
fn deleting_a_webhook_ends_its_redrive_and_what_it_put_back() {
    let mut site = Site::new(2);
    dead_letters(&site, 600);
    assert_eq!(site.redrive_one(1, "d7", 0, START_MS + 5), COUNT_ONE);
    wait(site.store().change(vec![CatalogChange::DeleteWebhook(WebhookNo(1))])).unwrap();
    assert_eq!(site.redrive_dead(1, START_MS + 5), Redriven::default());
    site.finish_reaping();
    assert!(site.rows().is_empty(), "{:?}", site.rows());
    site.reopen();
    let stats = site.store().stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters), (0, 0));
}

/// What dies again, or is delivered again, while a redrive goes on is not put back a second time.
#[test]
fn a_redrive_ends_although_what_it_put_back_ends_again_meanwhile() {
    let now_ms = START_MS + 100_000_000;
    for status in [DeliveryStatus::Dead, DeliveryStatus::Delivered] {
        let site = Site::with(1, |options| options.retention.bodies_seconds = 1_000_000);
        let progress = Progress::first(START_MS);
        let ending = || match status {
            DeliveryStatus::Dead => given_up(progress),
            _ => Ending::Delivered,
        };
        let seqs = site.ingest((0..4000).map(|n| event(&format!("e{n}"), &[(1, true)])).collect());
        let end = |at_ms, settled: Settlement| Settlement { at_ms, attempt: Some(failed(1)), ..settled };
        let ended = seqs.iter().map(|seq| end(START_MS + 5, settlement(1, *seq, 0, ending())));
        site.settle(ended.collect());
        let filter = DeliveryFilter { status: Some(status), ..Default::default() };
        let redriven = std::thread::scope(|scope| {
            let redrive = scope.spawn(|| site.redrive(1, RedriveRequest::Many(filter), now_ms));
            while !redrive.is_finished() {
                let (due, _) = site.due(1, u64::MAX);
                let ended = due.iter().map(|owed| end(now_ms + 5, settlement_of(1, owed, ending())));
                site.settle(ended.collect());
            }
            redrive.join().unwrap()
        });
        assert_eq!(redriven, Redriven { count: 4000, without_body: 0 }, "{status:?}");
    }
}
