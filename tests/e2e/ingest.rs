//! Events in: every form, duplicates, fan-out.

use crate::{CHANNEL, delivery_id, header, ids, receiver, subscribed, text, webhook};
use fanfare_tests::{Answer, Api, Node, NodeOptions, events};
use http::Method;
use serde_json::{Value, json};

fn counts(answer: &Answer) -> (u64, u64, usize) {
    let body = answer.json();
    let count = |name: &str| body[name].as_u64().unwrap_or_else(|| panic!("{name} in {body}"));
    (count("accepted"), count("duplicates"), body["rejected"].as_array().map_or(0, Vec::len))
}

async fn bare(api: &Api, key: Option<&str>, payload: &str) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    api.call(Method::POST, "/v1/channels/c1/events/BLOCK", &headers, payload.to_owned()).await
}

#[tokio::test]
async fn an_object_an_array_and_lines_are_taken() {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({})).await;
    let api = node.api();
    let one = events::block(CHANNEL, "e1");
    let answer = api.ingest(one.to_string()).await;
    assert_eq!(answer.expect(202), json!({"accepted": 1, "duplicates": 0, "rejected": []}));
    let two = json!([events::block(CHANNEL, "e2"), events::block(CHANNEL, "e3")]);
    assert_eq!(counts(&api.ingest(format!(" \n{two}")).await), (2, 0, 0));
    let lines = events::lines(&[events::block(CHANNEL, "e4"), events::block(CHANNEL, "e5")]);
    let answer = api.ingest_lines(format!("\r\n{}\n", lines.replace('\n', "\r\n\n"))).await;
    assert_eq!((answer.status, counts(&answer)), (202, (2, 0, 0)));
    // Without a content type it is JSON; an empty array is no event at all.
    let message = api.call(Method::POST, "/v1/events", &[], "[]").await.expect_error(400);
    assert_eq!(message, "no event in the request");

    let requests = target.requests_at_least(5).await;
    api.until_settled().await;
    let mut sent = ids(&requests);
    sent.sort_unstable();
    let expected: Vec<String> = (1..=5).map(|n| delivery_id(&format!("e{n}"), &made)).collect();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_bare_body_is_an_event_with_its_id_in_the_idempotency_key() {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({})).await;
    let payload = events::block(CHANNEL, "x")["payload"].to_string();
    assert_eq!(counts(&bare(node.api(), Some("order-7"), &payload).await), (1, 0, 0));
    assert_eq!(counts(&bare(node.api(), Some("order-7"), &payload).await), (0, 1, 0));
    let request = target.requests_at_least(1).await.remove(0);
    assert_eq!(header(&request, "webhook-id"), delivery_id("order-7", &made));
    assert_eq!(request.body, payload, "the payload's own bytes");

    assert_eq!(counts(&bare(node.api(), None, &payload).await), (1, 0, 0));
    assert_eq!(counts(&bare(node.api(), None, &payload).await), (1, 0, 0));
    node.api().until_settled().await;
    let requests = target.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests[1..] {
        let id = header(request, "webhook-id");
        let (event, hook) = id.split_once('-').unwrap();
        assert_eq!(hook, text(&made, "id"));
        let is_uuid_v7 = event.len() == 32
            && event.as_bytes()[12] == b'7'
            && event.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
        assert!(is_uuid_v7, "{event}");
    }
    assert_ne!(ids(&requests)[1], ids(&requests)[2]);
}

#[tokio::test]
async fn a_known_id_of_the_channel_is_a_duplicate_even_after_a_restart() {
    let target = receiver();
    let (mut node, _) = subscribed(&target, json!({})).await;
    let known = events::block(CHANNEL, "e1");
    let batch = json!([known, known, events::block(CHANNEL, "e2"), events::block("c2", "e1")]);
    assert_eq!(counts(&node.api().ingest(batch.to_string()).await), (3, 1, 0));
    let answer = node.api().ingest(known.to_string()).await;
    assert_eq!(answer.expect(202), json!({"accepted": 0, "duplicates": 1, "rejected": []}));
    node.restart().await;
    assert_eq!(counts(&node.api().ingest(batch.to_string()).await), (0, 4, 0));
    node.kill().await;
    node.start_again().await;
    let batch = json!([known, events::block(CHANNEL, "e3")]);
    assert_eq!(counts(&node.api().ingest(batch.to_string()).await), (1, 1, 0));
    node.api().until_settled().await;
    let requests = target.requests();
    let mut events: Vec<&str> = ids(&requests).into_iter().map(|id| &id[..2]).collect();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events, ["e1", "e2", "e3"]);
}

#[tokio::test]
async fn the_window_of_known_ids_is_as_long_as_its_setting() {
    let node = Node::start(NodeOptions::dev().set("limits.idempotency_ids", "2")).await;
    let push = |id: &'static str| {
        let api = node.api().clone();
        async move { counts(&api.ingest(events::block(CHANNEL, id).to_string()).await) }
    };
    for id in ["e1", "e2", "e3"] {
        assert_eq!(push(id).await, (1, 0, 0), "{id}");
    }
    assert_eq!(push("e3").await, (0, 1, 0));
    assert_eq!(push("e2").await, (0, 1, 0));
    assert_eq!(push("e1").await, (1, 0, 0), "the window had moved on");
}

/// The combined names select events of two kinds; an event reaches a webhook once however many of its names fit.
#[tokio::test]
async fn one_event_reaches_one_webhook_once() {
    let node = Node::dev().await;
    let api = node.api();
    let cases: [(&[&str], &[&str]); 4] = [
        (
            &["MESSAGE_RECEIVED", "RECEIVED_STATUS", "RECEIVED_AND_DELIVERY"],
            &["MESSAGE_RECEIVED", "MESSAGE_DELIVERY", "MESSAGE_STATUS"],
        ),
        (&["RECEIVED_STATUS"], &["MESSAGE_RECEIVED", "MESSAGE_STATUS"]),
        (&["RECEIVED_AND_DELIVERY"], &["MESSAGE_RECEIVED", "MESSAGE_DELIVERY"]),
        (&["CONNECTED", "INITIAL_DATA"], &["CONNECTED", "INITIAL_DATA"]),
    ];
    let mut targets = Vec::new();
    for (names, kinds) in cases {
        let target = receiver();
        let _made = webhook(api, &target, json!({"events": names})).await;
        targets.push((target, kinds));
    }
    let kinds = [
        "MESSAGE_RECEIVED",
        "MESSAGE_DELIVERY",
        "MESSAGE_STATUS",
        "CONNECTED",
        "DISCONNECTED",
        "PRESENCE_CHAT",
        "INITIAL_DATA",
        "BLOCK",
    ];
    let pushed: Vec<Value> = kinds
        .iter()
        .map(|kind| match *kind {
            message if message.starts_with("MESSAGE") => {
                events::message_of_kind(CHANNEL, kind, message, &["hi"])
            }
            other => events::event(CHANNEL, kind, other, &json!({})),
        })
        .collect();
    api.push(&pushed).await;
    api.until_settled().await;
    for (target, kinds) in targets {
        let requests = target.requests();
        let mut got: Vec<&str> = requests.iter().map(|request| header(request, "x-hub-event")).collect();
        got.sort_unstable();
        let mut expected = kinds.to_vec();
        expected.sort_unstable();
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn an_event_nobody_asked_for_is_accepted_and_owed_to_nobody() {
    let target = receiver();
    let (node, _) = subscribed(&target, json!({})).await;
    node.api().push(&[events::event(CHANNEL, "e1", "CONNECTED", &json!({}))]).await;
    assert_eq!(node.api().metric("fanfare_backlog_deliveries").await, 0);
    assert_eq!(node.api().metric("fanfare_attempts_total").await, 0);
}
