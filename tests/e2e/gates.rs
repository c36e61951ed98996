//! What keeps one webhook from hurting its receiver, and others.

use crate::{CHANNEL, attempts, receiver, subscribed, webhook};
use fanfare_testkit::receiver::{Gate, Reply};
use fanfare_tests::{Node, NodeOptions, events};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

fn blocks(count: usize) -> Vec<Value> {
    (0..count).map(|n| events::block(CHANNEL, &format!("e{n}"))).collect()
}

#[tokio::test]
async fn no_more_attempts_are_in_flight_than_asked_for() {
    let (target, held) = (receiver(), Gate::new());
    let gate = held.clone();
    target.script(move |_| Reply::status(200).held_by(&gate));
    let (node, _) = subscribed(&target, json!({"delivery": {"maxInFlight": 3}})).await;
    node.api().push(&blocks(10)).await;
    for answered in 0..=7 {
        // Each answer lets one in; were there more, they would be seen by the time that one has come.
        target.requests_at_least(3 + answered).await;
        assert_eq!(node.api().metric("fanfare_attempts_in_flight").await, 3);
        assert_eq!(target.counts().requests, 3 + answered);
        if answered < 7 {
            held.release(1);
        }
    }
    held.open();
    node.api().until_settled().await;
    assert_eq!(target.counts().requests, 10);
    assert!(target.counts().connections_accepted <= 3, "{:?}", target.counts());
}

#[tokio::test]
async fn after_failures_in_a_row_one_delivery_probes_and_the_others_wait() {
    let target = receiver();
    target.script(|_| Reply::status(500));
    let node = Node::start(
        NodeOptions::dev()
            .set("gate.failures", "3")
            .set("gate.shut_ms_first", "2000")
            .set("gate.shut_ms_max", "2000"),
    )
    .await;
    let api = node.api();
    let members = json!({"delivery": {"maxInFlight": 1, "retry": {"scheduleSeconds": [600]}}});
    let _made = webhook(api, &target, members).await;
    api.push(&blocks(10)).await;
    target.requests_at_least(3).await;
    api.until_metric("fanfare_gates_shut_total", 1).await;
    assert_eq!(target.counts().requests, 3, "seven wait, and use no attempt");
    // The one probe fails: shut again.
    target.requests_at_least(4).await;
    api.until_metric("fanfare_gates_shut_total", 2).await;
    assert_eq!(target.counts().requests, 4);
    target.script(|_| Reply::status(200));
    // The next one succeeds and opens it for the rest; the four that failed wait for their retry.
    let requests = target.requests_at_least(10).await;
    assert!(attempts(&requests).iter().all(|attempt| *attempt == "1"));
    api.until_metric("fanfare_backlog_deliveries", 4).await;
}

/// In any window of w seconds at most `burst + perSecond × w`: seven at two per half second need a second and more.
#[tokio::test]
async fn the_rate_limit_is_kept_and_nothing_fails_by_it() {
    let target = receiver();
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&times);
    target.script(move |_| {
        noted.lock().unwrap().push(Instant::now());
        Reply::status(200)
    });
    let members = json!({"delivery": {"rateLimit": {"perSecond": 4, "burst": 2}}});
    let (node, _) = subscribed(&target, members).await;
    node.api().push(&blocks(7)).await;
    let requests = target.requests_at_least(7).await;
    node.api().until_settled().await;
    assert_eq!(attempts(&requests), ["1"; 7]);
    let times = times.lock().unwrap().clone();
    let took = times[6] - times[0];
    // (7 - 2) / 4 s, less what the first request took longer on its way than the last.
    assert!(took >= Duration::from_millis(1100), "{took:?}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_nobody_else() {
    let (dead, healthy) = (receiver(), receiver());
    dead.script(|_| Reply::NeverAnswer);
    let (node, _) = subscribed(&healthy, json!({})).await;
    for _ in 0..4 {
        let _made = webhook(node.api(), &dead, json!({"delivery": {"timeoutMs": 30000}})).await;
    }
    for batch in 0..4 {
        let pushed: Vec<Value> = (0..100).map(|n| events::block(CHANNEL, &format!("e{batch}-{n}"))).collect();
        node.api().push(&pushed).await;
    }
    // All of it, while the others' first attempts have most of their time to go.
    let requests = healthy.requests_at_least(400).await;
    assert_eq!(attempts(&requests), vec!["1"; 400]);
    assert_eq!(node.api().metric("fanfare_attempts_failed_total{class=\"timeout\"}").await, 0);
    assert!(dead.counts().requests <= 4 * 16, "each is kept to its own limit");
}

/// Of one key none overtakes a failed one; other keys flow.
#[tokio::test]
async fn the_order_of_a_key_is_kept_across_a_failure() {
    let target = receiver();
    let failed = Arc::new(Mutex::new(false));
    target.script(move |request| {
        let is_first = request.header("webhook-id").is_some_and(|id| id.starts_with("a1-"));
        let status =
            if is_first && !std::mem::replace(&mut *failed.lock().unwrap(), true) { 500 } else { 200 };
        Reply::status(status)
    });
    let (node, _) = subscribed(&target, json!({"delivery": {"ordering": "KEY"}})).await;
    let keyed = |id: &str, key: &str| {
        let mut event = events::block(CHANNEL, id);
        event["key"] = json!(key);
        event
    };
    node.api().push(&[keyed("a1", "a"), keyed("a2", "a"), keyed("b1", "b"), keyed("a3", "a")]).await;
    let requests = target.requests_at_least(5).await;
    node.api().until_settled().await;
    let ids: Vec<String> = requests
        .iter()
        .map(|request| request.header("webhook-id").unwrap().split('-').next().unwrap().to_owned())
        .collect();
    let of_a: Vec<&str> = ids.iter().filter(|id| id.starts_with('a')).map(String::as_str).collect();
    assert_eq!(of_a, ["a1", "a1", "a2", "a3"]);
    let place = |id: &str| ids.iter().position(|known| known == id).unwrap();
    assert!(place("b1") < place("a2"), "{ids:?}");
}

/// `ENABLED` opens the gate, also of a webhook that is enabled already: an operator who knows better need not wait.
#[tokio::test]
async fn enabling_an_enabled_webhook_opens_its_gate() {
    let target = receiver();
    target.script(|_| Reply::status(500));
    let node =
        Node::start(NodeOptions::dev().set("gate.failures", "1").set("gate.shut_ms_first", "300000")).await;
    let api = node.api();
    let made = webhook(api, &target, json!({"delivery": {"maxInFlight": 1}})).await;
    api.push(&blocks(3)).await;
    api.until_metric("fanfare_gates_shut_total", 1).await;
    target.script(|_| Reply::status(200));
    let path = format!("/v1/channels/{CHANNEL}/webhooks/{}", made["id"].as_str().unwrap());
    let enabled = api.patch(&path, &json!({"status": "ENABLED"})).await.expect(200);
    assert_eq!(enabled["status"], "ENABLED");
    api.until_settled().await;
    assert_eq!(target.counts().requests, 4, "the failed one was made again");
}
