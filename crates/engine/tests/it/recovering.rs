//! Crashes, drains and full stores.

use crate::bench::{Bench, SECOND, run};
use fanfare_core::ports::StoreError;
use fanfare_core::webhook::{DeliverySettings, RateLimit, WebhookStatus};
use fanfare_engine::EngineError;
use fanfare_testkit::transport::Answer;
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn everything_accepted_before_a_crash_arrives_after_it() {
    run(async {
        let bench = Bench::new(|_| Answer::Never).await;
        bench.webhook(DeliverySettings { max_in_flight: Some(3), ..Default::default() }).await;
        bench.push(700).await;
        bench.pass(SECOND).await;
        // The process dies: what the actors held is gone, what was committed is there.
        let again = Bench::open(bench.store.reopen(), |_| Answer::OK).await;
        again.pass(60 * SECOND).await;
        let ids: HashSet<_> = again.sent().iter().map(|s| s.request.delivery_id.clone()).collect();
        assert_eq!((again.sent().len(), ids.len()), (700, 700));
        assert_eq!((again.store.event_count(), again.store.parked_row_count()), (0, 0));
    });
}

#[test]
fn a_retry_survives_a_crash_with_its_attempt_number() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, Duration::ZERO)).await;
        bench.webhook(DeliverySettings::default()).await;
        bench.push(2).await;
        bench.pass(SECOND).await;
        let again = Bench::open(bench.store.reopen(), |_| Answer::OK).await;
        again.clock.step_wall(1000);
        again.pass(20 * SECOND).await;
        let attempts: Vec<u32> = again.sent().iter().map(|s| s.request.attempt_number).collect();
        assert_eq!(attempts, [2, 2]);
        assert_eq!(again.store.event_count(), 0);
    });
}

#[test]
fn draining_finishes_what_is_in_flight_and_takes_nothing_more() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(200, 2 * SECOND)).await;
        bench.webhook(DeliverySettings { max_in_flight: Some(4), ..Default::default() }).await;
        bench.push(10).await;
        bench.pass(SECOND / 10).await;
        bench.engine.drain(30 * SECOND).await;
        assert_eq!(bench.sent().len(), 4);
        assert_eq!(bench.store.settled().len(), 4);
        let refused = bench.engine.ingest(&bench.hub, Vec::new()).await;
        assert!(matches!(refused, Err(EngineError::Unavailable { .. })));
        assert!(bench.engine.readiness().is_err());
        let again = Bench::open(bench.store.reopen(), |_| Answer::OK).await;
        again.pass(5 * SECOND).await;
        assert_eq!(again.sent().len(), 6);
    });
}

#[test]
fn a_refused_batch_leaves_no_place_reserved() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        bench.webhook(DeliverySettings::default()).await;
        bench.store.refuse_events(Some(StoreError::Full("disk".into())));
        for _ in 0..20 {
            let events = vec![fanfare_render::parse_event(crate::bench::received("x").into()); 100];
            let refused = bench.engine.ingest(&bench.hub, events).await;
            assert!(matches!(refused, Err(EngineError::Unavailable { retry_after_s: 30, .. })));
        }
        bench.store.refuse_events(None);
        bench.push(100).await;
        bench.pass(SECOND).await;
        assert_eq!(bench.sent().len(), 100);
        assert_eq!(bench.store.event_count(), 0);
    });
}

#[test]
fn after_sleep_a_due_retry_wakes_the_actor() {
    run(async {
        let mut first = true;
        let bench = Bench::new(move |_| {
            if std::mem::take(&mut first) { Answer::Status(500, Duration::ZERO) } else { Answer::OK }
        })
        .await;
        let retry = Some(vec![600]);
        bench.webhook(DeliverySettings { retry_schedule_seconds: retry, ..Default::default() }).await;
        bench.push(1).await;
        bench.pass(400 * SECOND).await;
        assert!(bench.engine.metrics_text().contains("fanfare_webhooks_awake 0"), "asleep");
        bench.pass(400 * SECOND).await;
        assert_eq!(bench.sent().len(), 2);
    });
}

#[test]
fn known_ids_are_duplicates_and_free_their_places() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        bench.webhook(DeliverySettings::default()).await;
        let line = crate::bench::received("x").replacen('{', "{\"id\":\"E-1\",", 1);
        let first = bench.push_lines(vec![line.clone(), line.clone()]).await;
        assert_eq!((first.accepted, first.duplicates), (1, 1));
        for _ in 0..5 {
            let again = bench.push_lines(vec![line.clone(); 100]).await;
            assert_eq!((again.accepted, again.duplicates), (0, 100));
        }
        bench.push(200).await;
        bench.pass(SECOND).await;
        assert_eq!(bench.sent().len(), 201);
    });
}

#[test]
fn a_panicking_actor_is_started_again_and_loses_nothing() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let webhook = bench.webhook(DeliverySettings::default()).await;
        let other = bench.webhook(DeliverySettings::default()).await;
        bench.transport.panic_next(3);
        bench.push(400).await;
        bench.pass(10 * SECOND).await;
        let mut by_webhook = std::collections::HashMap::new();
        for sent in bench.sent() {
            let id = String::from_utf8(sent.request.delivery_id.to_vec()).expect("text");
            let (_, webhook) = id.split_once('-').expect("event and webhook");
            by_webhook.entry(webhook.to_owned()).or_insert_with(HashSet::new).insert(id.clone());
        }
        assert_eq!(by_webhook[&webhook.id.to_string()].len(), 400);
        assert_eq!(by_webhook[&other.id.to_string()].len(), 400);
        assert!(bench.engine.metrics_text().contains("fanfare_actor_panics_total 3"));
        // Places reserved by the dead were freed: the window is whole again, and nothing is left on disk.
        bench.push(200).await;
        bench.pass(10 * SECOND).await;
        assert_eq!((bench.store.event_count(), bench.store.parked_row_count()), (0, 0));
    });
}

#[test]
fn five_days_of_failing_count_across_a_restart() {
    run(async {
        let day = 24 * 3600 * SECOND;
        let bench = Bench::new(|_| Answer::Status(500, Duration::ZERO)).await;
        let webhook = bench.webhook(DeliverySettings::default()).await;
        let status = |bench: &Bench| {
            let webhook = bench.engine.webhook(&bench.hub, &bench.channel, webhook.id).expect("there");
            (webhook.status, webhook.disabled_reason)
        };
        for _ in 0..3 {
            bench.push(1).await;
            bench.pass(day).await;
        }
        assert_eq!(status(&bench), (WebhookStatus::Enabled, None));
        let again = Bench::open(bench.store.reopen(), |_| Answer::Status(500, Duration::ZERO)).await;
        again.clock.step_wall(3 * 24 * 3_600_000);
        for _ in 0..2 {
            again.push(1).await;
            again.pass(day + SECOND).await;
        }
        again.push(1).await;
        again.pass(day).await;
        assert_eq!(status(&again), (WebhookStatus::Disabled, Some("failing".into())));
    });
}

#[test]
fn a_restart_gives_no_second_burst() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let rate = RateLimit { per_second: 1.0, burst: 5 };
        bench.webhook(DeliverySettings { rate_limit: Some(rate), ..Default::default() }).await;
        bench.push(20).await;
        bench.pass(SECOND / 10).await;
        assert_eq!(bench.sent().len(), 5);
        let again = Bench::open(bench.store.reopen(), |_| Answer::OK).await;
        again.pass(SECOND * 9 / 10).await;
        assert_eq!(again.sent().len(), 0, "D6: the burst was used before");
        again.pass(5 * SECOND).await;
        assert_eq!(again.sent().len(), 5);
    });
}
