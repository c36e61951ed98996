//! What receivers see.

use crate::bench::{Bench, SECOND, message, received, run};
use fanfare_core::delivery::Ending;
use fanfare_core::outcome::FailureClass;
use fanfare_core::webhook::{DeliverySettings, FormatName, RateLimit};
use fanfare_testkit::transport::Answer;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

#[test]
fn an_event_reaches_each_matching_webhook_once_and_leaves_nothing() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let one = bench.webhook(DeliverySettings::default()).await;
        let subscriptions = ["MESSAGE_RECEIVED", "RECEIVED_STATUS", "RECEIVED_AND_DELIVERY"];
        let two = bench
            .webhook_with(|new| {
                new.events = subscriptions
                    .iter()
                    .map(|name| fanfare_core::event::Subscription::parse(name).expect("name"))
                    .collect();
            })
            .await;
        bench
            .webhook_with(|new| {
                new.events = vec![fanfare_core::event::Subscription::parse("BLOCK").expect("name")];
            })
            .await;
        let answer = bench.push(3).await;
        assert_eq!((answer.accepted, answer.duplicates, answer.rejected.len()), (3, 0, 0));
        bench.pass(SECOND).await;
        let mut counts: HashMap<String, usize> = HashMap::new();
        for sent in bench.sent() {
            let id = String::from_utf8(sent.request.delivery_id.to_vec()).expect("text");
            let webhook = id.split('-').next_back().expect("id").to_owned();
            *counts.entry(webhook).or_default() += 1;
            assert_eq!((sent.request.event_name, sent.request.attempt_number), ("MESSAGE_RECEIVED", 1));
            assert_eq!(sent.request.timestamp_s, 1_790_000_000);
            assert!(sent.request.hub_signature.is_none());
        }
        assert_eq!(counts, HashMap::from([(one.id.to_string(), 3), (two.id.to_string(), 3)]));
        assert_eq!(bench.store.event_count(), 0, "D10");
    });
}

#[test]
fn the_default_body_is_the_payload_as_it_came() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        bench.webhook(DeliverySettings::default()).await;
        let payload = "{ \"a\" : 1e3,\t\"a\":null }";
        let line = format!("{{\"payload\":{payload} ,\"channelId\":\"C1\",\"type\":\"MESSAGE_RECEIVED\"}}");
        bench.push_lines(vec![line]).await;
        bench.pass(SECOND).await;
        assert_eq!(bench.sent()[0].request.body.bytes, payload.as_bytes());
    });
}

#[test]
fn failures_are_retried_by_schedule_with_the_same_id_and_body() {
    run(async {
        let mut left = 2;
        let bench = Bench::new(move |_| {
            left -= 1;
            if left >= 0 { Answer::Status(500, Duration::ZERO) } else { Answer::OK }
        })
        .await;
        bench.webhook_with(|new| new.signing = true).await;
        bench.push(1).await;
        bench.pass(60 * SECOND).await;
        let sent = bench.sent();
        let attempts: Vec<u32> = sent.iter().map(|s| s.request.attempt_number).collect();
        assert_eq!(attempts, [1, 2, 3]);
        let ids: HashSet<_> = sent.iter().map(|s| s.request.delivery_id.clone()).collect();
        let bodies: HashSet<_> = sent.iter().map(|s| s.request.body.bytes.clone()).collect();
        let hub: HashSet<_> = sent.iter().map(|s| s.request.hub_signature.clone()).collect();
        assert_eq!((ids.len(), bodies.len(), hub.len()), (1, 1, 1), "D3");
        let first_wait = sent[1].at - sent[0].at;
        assert!(first_wait >= 4 * SECOND && first_wait <= 6 * SECOND + SECOND, "{first_wait:?}");
        let stamps: HashSet<_> = sent.iter().map(|s| s.request.timestamp_s).collect();
        assert_eq!(stamps.len(), 3, "webhook-timestamp is the attempt's");
        assert_eq!((bench.store.event_count(), bench.store.retry_row_count()), (0, 0));
    });
}

#[test]
fn a_used_up_schedule_makes_a_dead_letter() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(404, Duration::ZERO)).await;
        let retry = Some(vec![1, 1]);
        bench.webhook(DeliverySettings { retry_schedule_seconds: retry, ..Default::default() }).await;
        bench.push(1).await;
        bench.pass(30 * SECOND).await;
        assert_eq!(bench.sent().len(), 3);
        let reasons: Vec<String> = bench.store.dead().into_iter().map(|(_, _, reason)| reason).collect();
        assert_eq!(reasons, ["exhausted"]);
        bench.pass(600 * SECOND).await;
        assert_eq!(bench.sent().len(), 3, "D2");
        assert_eq!(bench.store.event_count(), 1, "kept for a redrive");
    });
}

#[test]
fn a_receiver_that_never_answers_is_timed_out_and_costs_its_in_flight_only() {
    run(async {
        let bench =
            Bench::new(|sent| if sent.url.contains("dead") { Answer::Never } else { Answer::OK }).await;
        let settings =
            DeliverySettings { timeout_ms: Some(2000), max_in_flight: Some(4), ..Default::default() };
        bench.webhook_with(|new| (new.url, new.delivery) = ("https://dead.test/".into(), settings)).await;
        bench.webhook(DeliverySettings::default()).await;
        bench.push(100).await;
        bench.pass(SECOND).await;
        let healthy = bench.sent().iter().filter(|s| !s.url.contains("dead")).count();
        let dead = bench.sent().iter().filter(|s| s.url.contains("dead")).count();
        assert_eq!((healthy, dead), (100, 4), "D7");
        bench.pass(SECOND + Duration::from_millis(100)).await;
        let failed: Vec<_> = bench.store.settled().into_iter().filter_map(|s| s.attempt?.failure).collect();
        assert_eq!(failed, [FailureClass::Timeout; 4]);
    });
}

/// Attempts that began together time out together; what they cost does not stand before the answers of others.
#[test]
fn a_healthy_receiver_does_not_wait_for_a_hundred_time_outs() {
    run(async {
        let mut healthy = 0;
        let bench = Bench::new(move |sent| {
            if sent.url.contains("dead") {
                return Answer::Never;
            }
            // The first answer comes when the others time out, the rest at once.
            healthy += 1;
            Answer::Status(200, if healthy == 1 { 2 * SECOND } else { Duration::ZERO })
        })
        .await;
        let settings =
            DeliverySettings { timeout_ms: Some(2000), max_in_flight: Some(1), ..Default::default() };
        for _ in 0..100 {
            let settings = settings.clone();
            bench.webhook_with(|new| (new.url, new.delivery) = ("https://dead.test/".into(), settings)).await;
        }
        bench.webhook(DeliverySettings { timeout_ms: Some(9000), ..settings }).await;
        bench.push(10).await;
        bench.pass(2 * SECOND + Duration::from_millis(100)).await;
        let failed: Vec<_> = bench.store.settled().iter().map(|s| s.ending != Ending::Delivered).collect();
        assert_eq!((failed.iter().filter(|failed| !**failed).count(), failed.len()), (10, 110), "D7");
        let last = failed.iter().rposition(|failed| !failed).expect("delivered");
        // Half of the others live on the other event loop.
        assert!(last < 30, "it was through only after {} time-outs", last - 9);
    });
}

#[test]
fn a_stale_connection_is_not_an_attempt_of_its_own() {
    run(async {
        let mut count = 0;
        let bench = Bench::new(move |_| {
            count += 1;
            if count == 2 { Answer::Fail(FailureClass::StaleConnection, Duration::ZERO) } else { Answer::OK }
        })
        .await;
        bench.webhook(DeliverySettings { max_in_flight: Some(1), ..Default::default() }).await;
        bench.push(2).await;
        bench.pass(SECOND).await;
        let sent: Vec<_> = bench.sent().iter().map(|s| (s.request.attempt_number, s.connection)).collect();
        assert_eq!(sent, [(1, 1), (1, 1), (1, 2)]);
        assert!(bench.store.settled().iter().all(|s| s.ending == Ending::Delivered));
    });
}

#[test]
fn connections_are_kept_and_no_more_than_in_flight() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(200, Duration::from_millis(10))).await;
        bench.webhook(DeliverySettings { max_in_flight: Some(8), ..Default::default() }).await;
        bench.push(200).await;
        bench.pass(5 * SECOND).await;
        assert_eq!(bench.sent().len(), 200);
        assert_eq!((bench.transport.connections(), bench.transport.in_flight_max()), (8, 8));
    });
}

#[test]
fn more_than_the_window_waits_on_disk_and_all_arrives_once() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(200, Duration::from_millis(1))).await;
        bench.webhook(DeliverySettings::default()).await;
        for _ in 0..10 {
            bench.push(500).await;
        }
        assert!(bench.store.parked_row_count() > 0, "the window is smaller than the batch");
        bench.pass(60 * SECOND).await;
        let ids: HashSet<_> = bench.sent().iter().map(|s| s.request.delivery_id.clone()).collect();
        assert_eq!((bench.sent().len(), ids.len()), (5000, 5000));
        bench.pass(SECOND).await;
        assert_eq!((bench.store.event_count(), bench.store.parked_row_count()), (0, 0), "D10");
    });
}

#[test]
fn several_bodies_of_one_event_are_retried_each_on_its_own() {
    run(async {
        let mut failed = false;
        let bench = Bench::new(move |sent| {
            if sent.request.delivery_id.ends_with(b"-1") && !failed {
                failed = true;
                return Answer::Status(500, Duration::ZERO);
            }
            Answer::OK
        })
        .await;
        bench.webhook_with(|new| new.payload_format = FormatName::parse("Z_API").expect("name")).await;
        let items = r#"{"@class":".TextContent","type":"TEXT","message":"a"},{"@class":".TextContent","type":"TEXT","message":"b"},{"@class":".TextContent","type":"TEXT","message":"c"}"#;
        bench.push_lines(vec![message("MESSAGE_RECEIVED", items)]).await;
        bench.pass(60 * SECOND).await;
        let sent = bench.sent();
        let suffixes: Vec<(bool, u32)> =
            sent.iter().map(|s| (s.request.delivery_id.ends_with(b"-1"), s.request.attempt_number)).collect();
        assert_eq!(suffixes, [(false, 1), (true, 1), (false, 1), (true, 2)]);
        assert_eq!((bench.store.event_count(), bench.store.retry_row_count()), (0, 0));
    });
}

#[test]
fn an_event_without_a_form_is_skipped_with_its_reason() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        bench.webhook_with(|new| new.payload_format = FormatName::parse("Z_API").expect("name")).await;
        bench.push_lines(vec![message("MESSAGE_RECEIVED", "")]).await;
        bench.pass(SECOND).await;
        assert!(bench.sent().is_empty());
        let endings: Vec<Ending> = bench.store.settled().into_iter().map(|s| s.ending).collect();
        assert_eq!(endings, [Ending::Skipped { reason: "empty_message".into() }]);
    });
}

#[test]
fn a_dead_receivers_gate_spares_it_and_all_arrives_when_it_is_back() {
    run(async {
        let bench = Bench::new(|_| Answer::Fail(FailureClass::Connect, Duration::ZERO)).await;
        bench.webhook(DeliverySettings { max_in_flight: Some(4), ..Default::default() }).await;
        bench.push(50).await;
        bench.pass(60 * SECOND).await;
        let tried = bench.sent().len();
        assert!(tried < 20, "a shut gate probes once per wait, not {tried} times");
        bench.transport.set(|_| Answer::OK);
        bench.pass(3600 * SECOND).await;
        assert_eq!((bench.store.event_count(), bench.store.retry_row_count()), (0, 0), "D1");
        assert!(bench.store.dead().is_empty());
    });
}

#[test]
fn retry_after_shuts_the_gate_for_as_long() {
    run(async {
        let mut first = true;
        let bench = Bench::new(move |_| {
            if std::mem::take(&mut first) { Answer::RetryAfter(429, 40 * SECOND) } else { Answer::OK }
        })
        .await;
        bench.webhook(DeliverySettings { max_in_flight: Some(1), ..Default::default() }).await;
        bench.push(3).await;
        bench.pass(39 * SECOND).await;
        assert_eq!(bench.sent().len(), 1, "D8");
        bench.pass(20 * SECOND).await;
        assert_eq!(bench.sent().len(), 4);
    });
}

#[test]
fn gone_disables_the_webhook_and_gives_up_all_it_was_owed() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(410, Duration::ZERO)).await;
        let webhook = bench.webhook(DeliverySettings { max_in_flight: Some(1), ..Default::default() }).await;
        bench.push(600).await;
        bench.pass(10 * SECOND).await;
        assert_eq!(bench.sent().len(), 1);
        let now = bench.engine.webhook(&bench.hub, &bench.channel, webhook.id).expect("webhook");
        assert_eq!(now.status, fanfare_core::webhook::WebhookStatus::Disabled);
        assert_eq!(now.disabled_reason.as_deref(), Some("gone"));
        let dead = bench.store.dead();
        assert_eq!(dead.len(), 600);
        assert!(dead.iter().all(|(_, _, reason)| reason == "gone"));
        assert_eq!(bench.push(1).await.accepted, 1, "accepted, nothing owed");
        bench.pass(SECOND).await;
        assert_eq!(bench.store.dead().len(), 600);
    });
}

#[test]
fn the_rate_limit_holds_across_sleep() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let limit = RateLimit { per_second: 0.01, burst: 2 };
        bench.webhook(DeliverySettings { rate_limit: Some(limit), ..Default::default() }).await;
        bench.push(2).await;
        // Long enough for the actor to fall asleep (60 s), too short for the limiter to have rested.
        bench.pass(90 * SECOND).await;
        assert_eq!(bench.sent().len(), 2);
        bench.push(1).await;
        bench.pass(5 * SECOND).await;
        assert_eq!(bench.sent().len(), 2, "D6");
        bench.pass(6 * SECOND).await;
        assert_eq!(bench.sent().len(), 3);
    });
}

#[test]
fn a_panic_in_an_attempt_is_a_failed_attempt() {
    run(async {
        let mut first = true;
        let bench =
            Bench::new(move |_| if std::mem::take(&mut first) { Answer::Panic } else { Answer::OK }).await;
        bench.webhook(DeliverySettings::default()).await;
        bench.push(5).await;
        bench.pass(30 * SECOND).await;
        assert_eq!(bench.sent().len(), 6);
        assert_eq!(bench.store.event_count(), 0);
    });
}

#[test]
fn auth_and_signatures_go_with_each_request() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let webhook = bench.webhook_with(|new| new.signing = true).await;
        bench.push_lines(vec![received("olá")]).await;
        bench.pass(SECOND).await;
        let request = bench.sent()[0].request.clone();
        let secret = webhook.signing.expect("signing").current;
        let hub = String::from_utf8(request.hub_signature.expect("hub").to_vec()).expect("text");
        let standard =
            String::from_utf8(request.standard_signature.expect("standard").to_vec()).expect("text");
        let text = fanfare_signing::secret_hex(&secret.0);
        fanfare_signing::verify_hub(&text, &hub, &request.body.bytes).expect("hub signature");
        let keys = fanfare_signing::SigningKeys::new(&secret.0, None);
        let again = keys.sign(&request.delivery_id, request.timestamp_s, &request.body.bytes);
        assert_eq!(standard, again.standard);
    });
}

#[test]
fn metrics_count_each_event_once_per_format_and_name_the_reason_of_a_disabling() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        bench.webhook(DeliverySettings::default()).await;
        bench.webhook(DeliverySettings::default()).await;
        let z_api = FormatName::parse(FormatName::Z_API);
        bench.webhook_with(|new| new.payload_format = z_api.expect("name")).await;
        bench.push(5).await;
        bench.pass(SECOND).await;
        bench.transport.set(|_| Answer::Status(410, Duration::ZERO));
        bench.push(1).await;
        bench.pass(SECOND).await;
        let text = bench.engine.metrics_text();
        let lines = [
            "fanfare_renders_total{format=\"DEFAULT\"} 6",
            "fanfare_renders_total{format=\"Z_API\"} 6",
            "fanfare_webhooks_disabled_total{reason=\"gone\"} 3",
            "fanfare_deliveries_delivered_total 15",
            "fanfare_deliveries_dead_total 3",
            "fanfare_attempts_failed_total{class=\"gone\"} 3",
            "fanfare_oldest_pending_age_seconds 0",
            "fanfare_store_commit_seconds_bucket{le=\"+Inf\"} 0",
        ];
        for line in lines {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("fanfare_render_seconds_count{format=\"Z_API\"} 1"), "{text}");
    });
}
