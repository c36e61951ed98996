//! The end of a process, asked for, and the next start.

use crate::{CHANNEL, attempts, receiver, subscribed};
use fanfare_testkit::receiver::{Gate, Reply};
use fanfare_tests::{events, until};
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_in_flight_is_finished_and_the_rest_is_there_at_the_next_start() {
    let (target, held) = (receiver(), Gate::new());
    let gate = held.clone();
    target.script(move |_| Reply::status(200).held_by(&gate));
    let (mut node, _) = subscribed(&target, json!({"delivery": {"maxInFlight": 4}})).await;
    let api = node.api().clone();
    let pushed: Vec<Value> = (0..20).map(|n| events::block(CHANNEL, &format!("e{n}"))).collect();
    api.push(&pushed).await;
    target.requests_at_least(4).await;
    node.terminate();
    // It takes no more: 503, or the face is closed.
    until("events to be refused", || async {
        let answer = api.ingest(events::block(CHANNEL, "late").to_string()).await;
        assert!([202, 503].contains(&answer.status), "{}", answer.text());
        (answer.status == 503).then_some(())
    })
    .await;
    held.open();
    let status = node.ended().await;
    assert_eq!(status.code(), Some(0), "{}", node.log());
    let sent = target.counts();
    assert_eq!((sent.requests, sent.abandoned), (4, 0), "those in flight were finished, no other begun");
    assert!(!node.data_dir().join("listen").exists(), "the file that tells the address goes with it");

    node.start_again().await;
    node.api().until_settled().await;
    let requests = target.requests();
    let mut ids = crate::ids(&requests);
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() >= 20, "{ids:?}");
    assert_eq!(requests.len(), ids.len(), "nothing was sent twice");
    assert!(attempts(&requests).iter().all(|attempt| *attempt == "1"));
}

/// A retry that waits is not lost, and its attempt number goes on.
#[tokio::test]
async fn a_waiting_retry_goes_on_after_a_clean_end_and_after_a_kill() {
    let target = receiver();
    target.script(|request| Reply::status(if request.order < 2 { 500 } else { 200 }));
    let schedule = json!({"delivery": {"retry": {"scheduleSeconds": [2, 2]}}});
    let (mut node, made) = subscribed(&target, schedule).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let failed = "fanfare_attempts_failed_total{class=\"status\"}";
    node.api().until_metric(failed, 1).await;
    node.restart().await;
    node.api().until_metric(failed, 1).await;
    // What is durable is a commit later than what was counted: the receiver may see this attempt again.
    let path = format!("/v1/channels/{CHANNEL}/webhooks/{}/deliveries", made["id"].as_str().unwrap());
    until("the second failure to be durable", || async {
        let list = node.api().get(&path).await.expect(200);
        (list["items"][0]["attemptCount"] == 2).then_some(())
    })
    .await;
    node.kill().await;
    node.start_again().await;
    node.api().until_settled().await;
    let requests = target.requests();
    let numbers = attempts(&requests);
    assert_eq!(numbers.first().zip(numbers.last()), Some((&"1", &"3")), "{numbers:?}");
    assert_eq!(node.api().metric("fanfare_deliveries_delivered_total").await, 1);
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    let target = receiver();
    target.push(Reply::NeverAnswer);
    let (mut node, _) = subscribed(&target, json!({"delivery": {"timeoutMs": 30000}})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    target.requests_at_least(1).await;
    node.terminate();
    until("the drain to begin", || async { node.log().contains("draining").then_some(()) }).await;
    node.terminate();
    assert_eq!(node.ended().await.code(), Some(1));
    node.start_again().await;
    node.api().until_settled().await;
    assert_eq!(attempts(&target.requests()), ["1", "1"], "delivered again, as the same attempt");
}
