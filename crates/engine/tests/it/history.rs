//! What people ask about deliveries, and putting them back.

use crate::bench::{Bench, SECOND, run};
use fanfare_core::delivery::DeliveryStatus;
use fanfare_core::event::EventKind;
use fanfare_core::ports::history::{DeliveryFilter, Redriven};
use fanfare_core::webhook::{DeliverySettings, FormatName, RateLimit, Webhook, WebhookStatus};
use fanfare_engine::{EngineError, SigningChange};
use fanfare_testkit::transport::Answer;
use std::time::Duration;

fn once() -> DeliverySettings {
    DeliverySettings { retry_schedule_seconds: Some(vec![1]), ..Default::default() }
}

async fn statuses(bench: &Bench, webhook: &Webhook) -> Vec<DeliveryStatus> {
    let page = bench
        .engine
        .deliveries(&bench.hub, &bench.channel, webhook.id, DeliveryFilter::default(), Vec::new(), 100)
        .await
        .expect("list");
    page.items.iter().map(|item| item.status).collect()
}

#[test]
fn dead_letters_are_put_back_with_their_id_and_the_next_number() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, Duration::ZERO)).await;
        let webhook = bench.webhook(once()).await;
        bench.push(3).await;
        bench.pass(10 * SECOND).await;
        assert_eq!(statuses(&bench, &webhook).await, [DeliveryStatus::Dead; 3]);
        bench.transport.set(|_| Answer::OK);
        let before = bench.sent().len();
        let first = String::from_utf8(bench.sent()[0].request.delivery_id.to_vec()).expect("text");
        let (hub, channel) = (&bench.hub, &bench.channel);
        let one = bench.engine.redrive_delivery(hub, channel, webhook.id, &first).await;
        assert_eq!(one, Ok(Redriven { count: 1, without_body: 0 }));
        bench.pass(SECOND).await;
        let sent = bench.sent();
        assert_eq!(sent.len(), before + 1);
        assert_eq!(
            (&sent[before].request.delivery_id[..], sent[before].request.attempt_number),
            (first.as_bytes(), 3)
        );
        let again = bench.engine.redrive_delivery(hub, channel, webhook.id, &first).await;
        assert!(matches!(again, Err(EngineError::Conflict(_))), "{again:?}");
        let many = bench.engine.redrive(hub, channel, webhook.id, DeliveryFilter::default()).await;
        assert_eq!(many, Ok(Redriven { count: 2, without_body: 0 }));
        bench.pass(SECOND).await;
        assert_eq!(statuses(&bench, &webhook).await, [DeliveryStatus::Delivered; 3]);
        let detail = bench.engine.delivery(hub, channel, webhook.id, &first).await.expect("known");
        let numbers: Vec<u32> = detail.attempts.iter().map(|attempt| attempt.attempt_number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(bench.store.event_count(), 0);
        let unknown = bench.engine.delivery(hub, channel, webhook.id, "nothing").await;
        assert_eq!(unknown.expect_err("unknown"), EngineError::UnknownDelivery);
        let pending = DeliveryFilter { status: Some(DeliveryStatus::Pending), ..Default::default() };
        let refused = bench.engine.redrive(hub, channel, webhook.id, pending).await;
        assert!(matches!(refused, Err(EngineError::Invalid(_))));
    });
}

#[test]
fn what_is_put_back_to_a_disabled_webhook_goes_when_it_is_enabled() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(410, Duration::ZERO)).await;
        let webhook = bench.webhook(DeliverySettings::default()).await;
        bench.push(4).await;
        bench.pass(5 * SECOND).await;
        assert_eq!(bench.store.dead().len(), 4, "gone");
        bench.transport.set(|_| Answer::OK);
        let (hub, channel) = (&bench.hub, &bench.channel);
        let many = bench.engine.redrive(hub, channel, webhook.id, DeliveryFilter::default()).await;
        assert_eq!(many.expect("redriven").count, 4);
        bench.pass(600 * SECOND).await;
        assert_eq!(statuses(&bench, &webhook).await, [DeliveryStatus::Pending; 4]);
        let before = bench.sent().len();
        let enable = Box::new(|webhook: &mut Webhook| {
            webhook.status = WebhookStatus::Enabled;
            webhook.disabled_reason = None;
            Ok(())
        });
        let enabled =
            bench.engine.update_webhook(hub, channel, webhook.id, SigningChange::Keep, enable).await;
        enabled.expect("enabled");
        bench.pass(5 * SECOND).await;
        assert_eq!(bench.sent().len(), before + 4);
        assert_eq!(bench.store.event_count(), 0);
    });
}

#[test]
fn health_tells_of_gate_backlog_and_the_last_failure_also_while_it_sleeps() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, SECOND / 10)).await;
        let webhook = bench.webhook(DeliverySettings { max_in_flight: Some(5), ..Default::default() }).await;
        let health = || bench.engine.webhook_health(&bench.hub, &bench.channel, webhook.id);
        let fresh = health().await.expect("health");
        assert_eq!((fresh.gate.state, fresh.backlog.deliveries, fresh.in_flight), ("OPEN", 0, 0));
        assert_eq!((fresh.latency, fresh.last_failure), (None, None));
        bench.push(7).await;
        bench.pass(SECOND / 20).await;
        assert_eq!(health().await.expect("health").in_flight, 4, "so many at first");
        bench.pass(SECOND / 2).await;
        let shut = health().await.expect("health");
        assert_eq!((shut.gate.state, shut.backlog.deliveries), ("SHUT", 7));
        assert!(shut.gate.until_ms.is_some() && shut.gate.failing_since_ms.is_some());
        assert_eq!(shut.last_failure.expect("failed").status, Some(500));
        let latency = shut.latency.expect("answers");
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.samples), (100, 100, 7));
        assert!(shut.failed_per_second > 0.0 && shut.delivered_per_second == 0.0);
        bench.transport.set(|_| Answer::OK);
        bench.pass(900 * SECOND).await;
        let asleep = health().await.expect("health");
        assert_eq!((asleep.gate.state, asleep.backlog.deliveries), ("OPEN", 0));
        assert_eq!(asleep.last_failure.expect("remembered").status, Some(500));
    });
}

#[test]
fn a_test_makes_one_attempt_and_leaves_nothing() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(204, SECOND / 5)).await;
        let rate = RateLimit { per_second: 1.0, burst: 1 };
        let webhook = bench.webhook(DeliverySettings { rate_limit: Some(rate), ..Default::default() }).await;
        let test = |kind| bench.engine.test_webhook(&bench.hub, &bench.channel, webhook.id, kind);
        let outcome = test(None).await.expect("tested");
        assert!(outcome.is_delivered());
        assert_eq!(
            (outcome.kind, outcome.body_count, outcome.duration_ms),
            (EventKind::MessageReceived, 1, 200)
        );
        assert_eq!(outcome.report.expect("made").status, Some(204));
        let sent = bench.sent();
        assert_eq!((sent.len(), sent[0].request.attempt_number), (1, 1));
        let body = String::from_utf8(sent[0].request.body.bytes.to_vec()).expect("text");
        assert!(body.contains(r#""channel_id":"C1""#), "the sample speaks of the webhook's channel: {body}");
        assert!(matches!(test(None).await, Err(EngineError::RateLimited { retry_after_s: 1, .. })));
        bench.pass(2 * SECOND).await;
        let unsampled = test(Some(EventKind::Block)).await;
        assert!(matches!(unsampled, Err(EngineError::Internal(_))), "the double has no such sample");
        assert!(bench.store.settled().is_empty());
    });
}

#[test]
fn a_test_of_what_has_no_form_in_the_format_sends_nothing() {
    run(async {
        let bench = Bench::new(|_| Answer::OK).await;
        let webhook = bench
            .webhook_with(|new| new.payload_format = FormatName::parse(FormatName::Z_API).expect("name"))
            .await;
        let outcome =
            bench.engine.test_webhook(&bench.hub, &bench.channel, webhook.id, None).await.expect("tested");
        assert!(!outcome.is_delivered());
        assert!(outcome.skipped.is_some() || outcome.report.is_some(), "{outcome:?}");
        assert!(bench.sent().is_empty());
    });
}
