//! Formats that are not built in: one render for all, faults, and a format that cannot be rendered for a while.

use crate::bench::{Bench, SECOND, received, run};
use bytes::Bytes;
use fanfare_core::delivery::{Body, Rendered};
use fanfare_core::event::Event;
use fanfare_core::webhook::{DeliverySettings, Ordering};
use fanfare_testkit::formatter::ScriptedFormatter;
use fanfare_testkit::transport::{Answer, Sent};
use std::sync::Arc;
use std::time::Duration;

fn bodies(event: &Event, count: usize) -> Rendered {
    let body = |part| Body::json(Bytes::from(format!("{}/{part}", event.id)));
    Rendered::Bodies((0..count).map(body).collect())
}

fn fault() -> Rendered {
    Rendered::Fault { message: "trap: unreachable".to_owned() }
}

async fn bench(
    formatter: &Arc<ScriptedFormatter>,
    script: impl FnMut(&Sent) -> Answer + Send + 'static,
) -> Bench {
    Bench::with(script, |options| options.formatter = Arc::clone(formatter) as _).await
}

async fn scripted_webhook(bench: &Bench, ordering: Ordering) {
    bench
        .webhook_with(|new| {
            new.payload_format = ScriptedFormatter::name();
            new.delivery = DeliverySettings { ordering: Some(ordering), ..Default::default() };
        })
        .await;
}

fn named(id: &str) -> String {
    received(id).replacen('{', &format!(r#"{{"id":"{id}","key":"k","#), 1)
}

fn sent(bench: &Bench) -> Vec<String> {
    bench.sent().iter().map(|s| String::from_utf8(s.request.body.bytes.to_vec()).expect("text")).collect()
}

#[test]
fn a_first_render_that_fails_loses_none_of_the_bodies() {
    run(async {
        let mut faults = 2;
        let formatter = ScriptedFormatter::new(move |event| {
            faults -= 1;
            (Duration::ZERO, if faults >= 0 { fault() } else { bodies(event, 3) })
        });
        let mut failures = 1;
        let bench = bench(&formatter, move |sent| {
            // The second body fails once more, and goes its own way.
            let is_second = sent.request.delivery_id.ends_with(b"-1");
            failures -= i32::from(is_second);
            if is_second && failures >= 0 { Answer::Status(500, Duration::ZERO) } else { Answer::OK }
        })
        .await;
        scripted_webhook(&bench, Ordering::None).await;
        bench.push_lines(vec![named("a")]).await;
        bench.pass(SECOND).await;
        assert_eq!((bench.sent().len(), bench.store.retry_row_count()), (0, 1));
        bench.pass(300 * SECOND).await;
        let mut all = sent(&bench);
        all.sort();
        assert_eq!(all, ["a/0", "a/1", "a/1", "a/2"]);
        let numbers: Vec<u32> = bench.sent().iter().map(|s| s.request.attempt_number).collect();
        assert_eq!(numbers, [3, 3, 3, 4], "each fault was an attempt");
        assert_eq!((bench.store.event_count(), bench.store.retry_row_count()), (0, 0));
    });
}

#[test]
fn a_format_that_cannot_be_rendered_costs_no_attempt_and_no_memory_and_nothing_is_lost() {
    run(async {
        let formatter = ScriptedFormatter::new(|event| (Duration::ZERO, bodies(event, 1)));
        let mut failures = 1;
        let bench = bench(&formatter, move |_| {
            failures -= 1;
            if failures >= 0 { Answer::Status(500, Duration::ZERO) } else { Answer::OK }
        })
        .await;
        scripted_webhook(&bench, Ordering::None).await;
        // One waits for its second attempt when the format goes away.
        bench.push_lines(vec![named("r")]).await;
        bench.pass(SECOND / 10).await;
        formatter.set_ready(false);
        for at in 0..50 {
            bench.push_lines(vec![named(&format!("e{at}"))]).await;
            bench.pass(SECOND / 10).await;
        }
        bench.pass(3600 * SECOND).await;
        assert_eq!(sent(&bench), ["r/0"]);
        assert_eq!(bench.window_bytes(), 0, "all of it waits on disk");
        assert!(formatter.renders() < 200, "{} renders in an hour without a format", formatter.renders());
        formatter.set_ready(true);
        bench.pass(30 * SECOND).await;
        let numbers: Vec<u32> = bench.sent().iter().skip(1).map(|s| s.request.attempt_number).collect();
        let mut expected = vec![1; 50];
        let retry = sent(&bench).iter().skip(1).position(|body| body == "r/0").expect("it is made");
        expected.insert(retry, 2);
        assert_eq!(numbers, expected, "waiting uses up no attempt");
        assert_eq!((bench.store.event_count(), bench.store.retry_row_count()), (0, 0));
    });
}

#[test]
fn one_in_another_format_does_not_wait() {
    run(async {
        let formatter = ScriptedFormatter::new(|event| (Duration::ZERO, bodies(event, 1)));
        formatter.set_ready(false);
        let bench = bench(&formatter, |_| Answer::OK).await;
        scripted_webhook(&bench, Ordering::None).await;
        bench.webhook(DeliverySettings::default()).await;
        bench.push(20).await;
        bench.pass(SECOND).await;
        assert_eq!(bench.sent().len(), 20);
    });
}

#[test]
fn renders_that_end_in_any_order_keep_the_order_of_a_key() {
    run(async {
        // The first takes longest, and one in the middle meets a format that is away.
        let mut wait = 50;
        let formatter = ScriptedFormatter::new(move |event| {
            wait -= 1;
            (Duration::from_millis(wait), bodies(event, 1))
        });
        let bench = bench(&formatter, |_| Answer::OK).await;
        scripted_webhook(&bench, Ordering::Key).await;
        let lines: Vec<String> = (10..40).map(|at| named(&format!("e{at}"))).collect();
        bench.push_lines(lines[..10].to_vec()).await;
        bench.pass(SECOND / 10).await;
        formatter.set_ready(false);
        bench.push_lines(lines[10..20].to_vec()).await;
        bench.pass(SECOND).await;
        formatter.set_ready(true);
        bench.push_lines(lines[20..].to_vec()).await;
        bench.pass(60 * SECOND).await;
        let expected: Vec<String> = (10..40).map(|at| format!("e{at}/0")).collect();
        assert_eq!(sent(&bench), expected);
    });
}

#[test]
fn one_render_serves_all_webhooks_that_hold_the_event() {
    run(async {
        let formatter = ScriptedFormatter::new(|event| (Duration::ZERO, bodies(event, 1)));
        let bench = bench(&formatter, |_| Answer::OK).await;
        scripted_webhook(&bench, Ordering::None).await;
        bench.push_lines(vec![named("a")]).await;
        bench.pass(SECOND).await;
        assert_eq!(formatter.renders(), 1);
        assert_eq!(bench.sent().len(), 1);
        let text = bench.engine.metrics_text();
        assert!(text.contains(r#"fanfare_renders_total{format="SCRIPTED"} 1"#), "{text}");
    });
}
