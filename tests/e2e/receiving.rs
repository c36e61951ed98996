//! What a receiver may do to an attempt, and what becomes of the delivery.

use crate::{CHANNEL, attempts, delivery_id, ids, path, receiver, subscribed, text, webhook};
use fanfare_testkit::receiver::{Answer, Gate, ReceiverOptions, Reply, ScriptedReceiver};
use fanfare_tests::{Node, events};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// When requests came, as the receiver saw it.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<Vec<Instant>>>);

impl Times {
    fn note(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn between(&self, first: usize, second: usize) -> Duration {
        let times = self.0.lock().unwrap();
        times[second] - times[first]
    }
}

/// Fails one attempt in some way and sees the next succeed; the metric says how the first failed.
async fn fails_once(reply: Reply, class: &str, members: Value) {
    let target = receiver();
    target.push(reply);
    let (node, made) = subscribed(&target, members).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let requests = target.requests_at_least(2).await;
    node.api().until_settled().await;
    assert_eq!(target.counts().requests, 2);
    assert_eq!(attempts(&requests), ["1", "2"]);
    assert_eq!(ids(&requests), vec![delivery_id("e1", &made); 2]);
    // A receiver that resets before it reads has seen no body.
    assert!(requests[0].body.is_empty() || requests[0].body == requests[1].body);
    let failed = format!("fanfare_attempts_failed_total{{class=\"{class}\"}}");
    assert_eq!(node.api().metric(&failed).await, 1);
    assert_eq!(node.api().metric("fanfare_deliveries_delivered_total").await, 1);
}

/// Time for an attempt that is to run out of it.
fn short() -> Value {
    json!({"delivery": {"timeoutMs": 1000}})
}

#[tokio::test]
async fn failing_statuses_are_retried_by_the_schedule() {
    let (target, times) = (receiver(), Times::default());
    let noted = times.clone();
    target.script(move |request| {
        noted.note();
        Reply::status(if request.order < 2 { 500 } else { 204 })
    });
    let (node, _) = subscribed(&target, json!({"delivery": {"retry": {"scheduleSeconds": [1, 2]}}})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let requests = target.requests_at_least(3).await;
    node.api().until_settled().await;
    assert_eq!(attempts(&requests), ["1", "2", "3"]);
    // 1 and 2 seconds, each less at most a fifth.
    assert!(times.between(0, 1) >= Duration::from_millis(800), "{:?}", times.between(0, 1));
    assert!(times.between(1, 2) >= Duration::from_millis(1600), "{:?}", times.between(1, 2));
}

#[tokio::test]
async fn no_answer_in_time_is_retried() {
    fails_once(Reply::NeverAnswer, "timeout", short()).await;
}

#[tokio::test]
async fn the_time_covers_the_head_of_the_answer() {
    fails_once(Reply::HeaderDrip(Duration::from_millis(100)), "timeout", short()).await;
}

#[tokio::test]
async fn the_time_covers_the_body_of_the_answer() {
    fails_once(Reply::BodyDrip(Duration::from_millis(100)), "timeout", short()).await;
}

#[tokio::test]
async fn a_flood_of_informational_answers_is_cut_off() {
    fails_once(Reply::EndlessInformational, "protocol", json!({})).await;
}

#[tokio::test]
async fn a_reset_before_an_answer_is_retried() {
    fails_once(Reply::ResetBeforeAnswer, "reset", json!({})).await;
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_retried() {
    fails_once(Reply::ResetAfterRequest, "reset", json!({})).await;
}

#[tokio::test]
async fn half_an_answer_is_retried() {
    fails_once(Reply::HalfBody, "reset", json!({})).await;
}

#[tokio::test]
async fn endless_headers_are_cut_off_and_retried() {
    fails_once(Reply::EndlessHeaders, "protocol", json!({})).await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_retried() {
    fails_once(Reply::Raw("220 smtp.test ESMTP\r\n".into()), "protocol", json!({})).await;
}

#[tokio::test]
async fn a_failing_status_with_an_endless_body_is_cut_off_and_retried() {
    fails_once(Reply::EndlessBody(500), "status", json!({})).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = receiver();
    fails_once(Reply::Redirect(elsewhere.url("/")), "status", json!({})).await;
    assert_eq!(elsewhere.counts().connections_accepted, 0);
}

/// A success with a body longer than is read: the attempt succeeds, the connection is not used again.
#[tokio::test]
async fn a_success_with_an_endless_body_is_a_success() {
    let target = receiver();
    target.push(Reply::EndlessBody(200));
    let (node, _) = subscribed(&target, json!({})).await;
    for id in ["e1", "e2"] {
        node.api().push(&[events::block(CHANNEL, id)]).await;
        node.api().until_settled().await;
    }
    let requests = target.requests();
    assert_eq!(attempts(&requests), ["1", "1"]);
    assert_ne!(requests[0].connection, requests[1].connection);
}

#[tokio::test]
async fn a_receiver_that_is_away_is_retried() {
    let address = receiver().addr();
    let node = Node::dev().await;
    let body = json!({
        "url": format!("http://{address}/"), "events": ["BLOCK"],
        "delivery": {"retry": {"scheduleSeconds": [1]}},
    });
    let _made = node.api().webhook(CHANNEL, &body).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    node.api().until_settled().await;
    assert_eq!(node.api().metric("fanfare_attempts_failed_total{class=\"connect\"}").await, 2);
    assert_eq!(node.api().metric("fanfare_deliveries_dead_total").await, 1);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_retried() {
    let node = Node::dev().await;
    let body = json!({
        "url": "http://no-such-host.invalid/", "events": ["BLOCK"],
        "delivery": {"retry": {"scheduleSeconds": [1]}},
    });
    let _made = node.api().webhook(CHANNEL, &body).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    node.api().until_settled().await;
    assert_eq!(node.api().metric("fanfare_attempts_failed_total{class=\"dns\"}").await, 2);
}

#[tokio::test]
async fn a_delivery_is_dead_after_its_schedule_and_stays_so() {
    let target = receiver();
    target.script(|_| Reply::status(500));
    let (mut node, made) =
        subscribed(&target, json!({"delivery": {"retry": {"scheduleSeconds": [1, 1]}}})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    node.api().until_settled().await;
    let requests = target.requests();
    assert_eq!(attempts(&requests), ["1", "2", "3"]);
    assert_eq!(ids(&requests), vec![delivery_id("e1", &made); 3]);
    assert_eq!(node.api().metric("fanfare_deliveries_dead_total").await, 1);
    assert_eq!(node.api().metric("fanfare_dead_letters").await, 1);
    node.restart().await;
    assert_eq!(node.api().metric("fanfare_dead_letters").await, 1, "kept");
    assert_eq!(target.counts().requests, 3);
}

#[tokio::test]
async fn a_delivery_past_its_age_is_dead_before_its_schedule_is_over() {
    let target = receiver();
    target.script(|_| Reply::status(500));
    let retry = json!({"scheduleSeconds": [1, 3, 3, 3, 3, 3], "maxAgeSeconds": 3});
    let (node, _) = subscribed(&target, json!({"delivery": {"retry": retry}})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    node.api().until_settled().await;
    assert_eq!(node.api().metric("fanfare_dead_letters").await, 1);
    assert!((1..=3).contains(&target.counts().requests), "{:?}", target.counts());
}

#[tokio::test]
async fn gone_disables_the_webhook_and_ends_what_it_was_owed() {
    let (target, held) = (receiver(), Gate::new());
    target.push(Reply::status(410).held_by(&held));
    let (node, made) = subscribed(&target, json!({"delivery": {"maxInFlight": 1}})).await;
    let api = node.api();
    api.push(&[events::block(CHANNEL, "e1"), events::block(CHANNEL, "e2"), events::block(CHANNEL, "e3")])
        .await;
    target.requests_at_least(1).await;
    held.open();
    api.until_settled().await;
    assert_eq!(target.counts().requests, 1);
    assert_eq!(api.metric("fanfare_dead_letters").await, 3);
    let shown = api.get(&path(&made)).await.expect(200);
    assert_eq!((text(&shown, "status"), text(&shown, "disabledReason")), ("DISABLED", "gone"));
    assert_eq!(api.metric("fanfare_webhooks_disabled_total{reason=\"gone\"}").await, 1);
    assert!(node.log().contains("webhook disabled"), "operators are told");

    let enabled = api.patch(&path(&made), &json!({"status": "ENABLED"})).await.expect(200);
    assert_eq!(enabled.get("disabledReason"), None);
    api.push(&[events::block(CHANNEL, "e4")]).await;
    api.until_settled().await;
    assert_eq!(target.counts().requests, 2);
}

/// `Retry-After` in seconds and as a date, with both statuses that honour it: nothing is sent before it is over.
async fn waits_as_told(status: u16, retry_after: &str, at_least: Duration) {
    let (target, times) = (receiver(), Times::default());
    let (noted, retry_after) = (times.clone(), retry_after.to_owned());
    target.script(move |request| {
        noted.note();
        if request.order == 0 {
            Reply::Answer(Answer::new(status).header("retry-after", &retry_after))
        } else {
            Reply::status(200)
        }
    });
    let (node, _) = subscribed(&target, json!({})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    target.requests_at_least(1).await;
    node.api().until_metric("fanfare_attempts_failed_total{class=\"throttled\"}", 1).await;
    // The gate is shut for all of the webhook's deliveries.
    node.api().push(&[events::block(CHANNEL, "e2")]).await;
    target.requests_at_least(3).await;
    node.api().until_settled().await;
    assert!(times.between(0, 1) >= at_least, "{:?}", times.between(0, 1));
    assert_eq!(target.counts().requests, 3);
}

#[tokio::test]
async fn too_many_requests_shuts_the_gate_for_its_seconds() {
    waits_as_told(429, "3", Duration::from_secs(3)).await;
}

#[tokio::test]
async fn unavailable_shuts_the_gate_until_its_date() {
    let date = httpdate_in(4);
    // The date has whole seconds, and some time passed before it was sent.
    waits_as_told(503, &date, Duration::from_secs(2)).await;
}

/// An HTTP date so many seconds from now.
fn httpdate_in(seconds: u64) -> String {
    let at_s = i64::try_from(fanfare_tests::unix_ms() / 1000 + seconds).unwrap();
    let at = time::OffsetDateTime::from_unix_timestamp(at_s).unwrap();
    let form = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at.format(form).unwrap()
}

/// The receiver closes a kept-alive connection: at once, a new one, not an attempt of its own.
#[tokio::test]
async fn a_stale_connection_is_no_attempt() {
    let target = receiver();
    target.push(Reply::status(200));
    target.push(Reply::ResetAfterRequest);
    let (node, made) = subscribed(&target, json!({"delivery": {"retry": {"scheduleSeconds": [600]}}})).await;
    for id in ["e1", "e2"] {
        node.api().push(&[events::block(CHANNEL, id)]).await;
        node.api().until_settled().await;
    }
    let requests = target.requests_at_least(3).await;
    assert_eq!(attempts(&requests), ["1", "1", "1"]);
    assert_eq!(ids(&requests)[1..], vec![delivery_id("e2", &made); 2]);
    assert_eq!((requests[0].connection, requests[1].connection), (0, 0), "it was kept alive");
    assert_ne!(requests[2].connection, 0);
    assert_eq!(node.api().metric("fanfare_deliveries_delivered_total").await, 2);
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nothing() {
    let target = receiver();
    target.push(Reply::CloseAfterKeepAlive(Answer::new(200)));
    let (node, _) = subscribed(&target, json!({"delivery": {"retry": {"scheduleSeconds": [600]}}})).await;
    for id in ["e1", "e2"] {
        node.api().push(&[events::block(CHANNEL, id)]).await;
        node.api().until_settled().await;
    }
    assert_eq!(attempts(&target.requests()), ["1", "1"]);
}

#[tokio::test]
async fn http2_by_prior_knowledge_carries_several_attempts_on_one_connection() {
    let target = ScriptedReceiver::start(ReceiverOptions::h2());
    let held = Gate::new();
    let gate = held.clone();
    target.script(move |_| Reply::status(200).held_by(&gate));
    let (node, _) = subscribed(&target, json!({"delivery": {"protocol": "HTTP2"}, "signing": true})).await;
    let pushed: Vec<Value> = (0..8).map(|n| events::block(CHANNEL, &format!("e{n}"))).collect();
    node.api().push(&pushed).await;
    let requests = target.requests_at_least(8).await;
    held.open();
    node.api().until_settled().await;
    assert!(requests.iter().all(|request| request.http_version == 2));
    assert_eq!(target.counts().connections_accepted, 1);
}

#[tokio::test]
async fn http1_is_spoken_where_nothing_else_was_asked_for() {
    let target = ScriptedReceiver::start(ReceiverOptions {
        spoken: fanfare_testkit::receiver::Spoken::Both,
        ..ReceiverOptions::default()
    });
    let (node, _) = subscribed(&target, json!({})).await;
    let _made = webhook(node.api(), &target, json!({"delivery": {"protocol": "HTTP1"}})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let requests = target.requests_at_least(2).await;
    assert!(requests.iter().all(|request| request.http_version == 1));
}
