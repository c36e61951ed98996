//! Bad input: the answers of the contract, and never a partial write.

use crate::{CHANNEL, receiver, subscribed};
use fanfare_tests::{Answer, Node, NodeOptions, events};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type Headers<'a> = &'a [(&'a str, &'a str)];

const MIB: usize = 1024 * 1024;

fn rejections(answer: &Answer) -> Vec<(u64, String)> {
    let body = answer.json();
    let rejected = body["rejected"].as_array().unwrap_or_else(|| panic!("{body}"));
    rejected
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), crate::text(one, "error").to_owned()))
        .collect()
}

fn sized(id: &str, bytes: usize) -> String {
    let mut event = events::block(CHANNEL, id);
    let base = event.to_string().len();
    event["payload"]["event"]["filler"] = Value::from("");
    let filler = bytes - event.to_string().len();
    event["payload"]["event"]["filler"] = Value::from("x".repeat(filler));
    assert!(base < bytes && event.to_string().len() == bytes);
    event.to_string()
}

#[tokio::test]
async fn bad_events_of_a_batch_are_rejected_by_their_index_and_the_others_taken() {
    let target = receiver();
    let (node, _) = subscribed(&target, json!({})).await;
    let good = |id: &str| events::block(CHANNEL, id).to_string();
    let payload = json!({"messageEventType": "BLOCK"});
    let bad = [
        ("{\"id\": \"x\"".to_owned(), "json"),
        ("7".to_owned(), "object"),
        (json!({"channelId": "c1", "payload": payload}).to_string(), "type"),
        (json!({"type": "BLOCK", "payload": payload}).to_string(), "channelId"),
        (json!({"type": "BLOCK", "channelId": "c1"}).to_string(), "payload"),
        (json!({"type": "NOPE", "channelId": "c1", "payload": payload}).to_string(), "NOPE"),
        (
            json!({"type": "RECEIVED_STATUS", "channelId": "c1", "payload": payload}).to_string(),
            "subscription",
        ),
        (json!({"type": 7, "channelId": "c1", "payload": payload}).to_string(), "type"),
        (json!({"type": "BLOCK", "channelId": "a b", "payload": payload}).to_string(), "channelId"),
        (json!({"type": "BLOCK", "channelId": "c1", "payload": "text"}).to_string(), "payload"),
        (json!({"type": "BLOCK", "channelId": "c1", "payload": payload, "id": "a b"}).to_string(), "id"),
        (
            json!({"type": "BLOCK", "channelId": "c1", "payload": payload, "id": "x".repeat(65)}).to_string(),
            "64",
        ),
        (json!({"type": "BLOCK", "channelId": "c1", "payload": payload, "id": 7}).to_string(), "id"),
        (json!({"type": "BLOCK", "channelId": "c1", "payload": payload, "key": 7}).to_string(), "key"),
        (
            json!({"type": "BLOCK", "channelId": "c1", "payload": payload, "occurredAt": "now"}).to_string(),
            "occurredAt",
        ),
        (
            json!({"type": "BLOCK", "channelId": "c1", "payload": payload, "occurredAt": 1.5}).to_string(),
            "occurredAt",
        ),
        (sized("big", MIB + 1), "1048576"),
    ];
    let mut lines = format!("{}\n\n", good("e0"));
    for (line, _) in &bad {
        lines.push_str(line);
        lines.push('\n');
    }
    lines.push_str(&good("e1"));
    let answer = node.api().ingest_lines(lines).await;
    assert_eq!(answer.expect(202)["accepted"], 2, "{}", answer.text());
    let rejections = rejections(&answer);
    assert_eq!(rejections.len(), bad.len(), "{rejections:?}");
    for ((place, (index, error)), (line, named)) in rejections.iter().enumerate().zip(&bad) {
        assert_eq!(*index, place as u64 + 1, "blank lines do not count");
        let lower = error.to_lowercase();
        assert!(lower.contains(&named.to_lowercase()), "{error:?} for {:.100}", line);
    }
    node.api().until_settled().await;
    assert_eq!(target.counts().requests, 2);
}

#[tokio::test]
async fn when_nothing_is_acceptable_it_is_400_with_the_same_members() {
    let node = Node::start(NodeOptions::default()).await;
    let answer = node.api().ingest(events::block("nowhere", "e1").to_string()).await;
    let body = answer.expect(400);
    assert_eq!((&body["error"], &body["accepted"], &body["duplicates"]), (&json!(400), &json!(0), &json!(0)));
    let rejections = rejections(&answer);
    assert_eq!(rejections.len(), 1);
    assert!(rejections[0].1.contains("unknown channel"), "{rejections:?}");
    let bare = "/v1/channels/nowhere/events/BLOCK";
    let answer = node.api().call(Method::POST, bare, &[], "{\"messageEventType\": \"BLOCK\"}").await;
    assert_eq!(answer.expect_error(404), "Channel not found");
}

#[tokio::test]
async fn a_body_that_is_no_request_is_refused_as_a_whole() {
    let target = receiver();
    let (node, _) = subscribed(&target, json!({})).await;
    let api = node.api();
    let good = events::block(CHANNEL, "e1").to_string();
    let json = ("content-type", "application/json");
    let cases: [(Headers<'_>, Vec<u8>, u16, &str); 7] = [
        (&[json], b"{".to_vec(), 400, ""),
        (&[json], format!("[{good}, ").into_bytes(), 400, ""),
        (&[json], b"\"text\"".to_vec(), 400, ""),
        (&[json], Vec::new(), 400, ""),
        (&[json], [good.as_bytes(), b"\xff"].concat(), 400, ""),
        (&[("content-type", "text/plain")], good.clone().into_bytes(), 415, "text/plain"),
        (&[json, ("content-encoding", "gzip")], good.clone().into_bytes(), 415, "gzip"),
    ];
    for (headers, body, status, named) in cases {
        let answer = api.call(Method::POST, "/v1/events", headers, body.clone()).await;
        let message = answer.expect_error(status);
        assert!(message.contains(named), "{message}");
    }
    let bare = "/v1/channels/c1/events";
    let answer = api.call(Method::POST, &format!("{bare}/NOPE"), &[json], "{}").await;
    assert!(answer.expect_error(400).contains("NOPE"));
    let answer = api.call(Method::POST, &format!("{bare}/BLOCK"), &[json], "[]").await;
    let _message = answer.expect_error(400);
    let answer =
        api.call(Method::POST, &format!("{bare}/BLOCK"), &[json, ("idempotency-key", "a b")], "{}").await;
    assert!(answer.expect_error(400).contains("Idempotency-Key"));
    assert_eq!(api.metric("fanfare_events_accepted_total").await, 0);
    assert_eq!(target.counts().requests, 0);
}

#[tokio::test]
async fn over_the_limits_it_is_413() {
    let target = receiver();
    let (node, _) = subscribed(&target, json!({})).await;
    let api = node.api();
    let message = api.ingest(sized("e1", MIB + 1)).await.expect_error(413);
    assert!(message.contains("1048576"), "{message}");
    let payload = format!("{{\"a\": \"{}\"}}", "x".repeat(MIB));
    let answer = api.call(Method::POST, "/v1/channels/c1/events/BLOCK", &[], payload).await;
    let _message = answer.expect_error(413);
    let message = api.ingest_lines(vec![b' '; 16 * MIB + 1]).await.expect_error(413);
    assert!(message.contains("16777216"), "{message}");
    // At the limit it is taken.
    let body = format!("{}\n{}", sized("e2", MIB), sized("e3", MIB));
    assert_eq!(api.ingest_lines(body).await.expect(202)["accepted"], 2);
    api.until_settled().await;
    assert_eq!(target.counts().requests, 2);
}

/// Half a request: nothing of a single event is taken.
#[tokio::test]
async fn an_event_cut_off_is_not_taken() {
    let target = receiver();
    let (node, _) = subscribed(&target, json!({})).await;
    let api = node.api();
    let event = events::block(CHANNEL, "e1").to_string();
    for is_chunked in [false, true] {
        let mut stream = TcpStream::connect(api.address()).await.unwrap();
        let head = format!("POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", api.key());
        // The whole event arrives; that nothing follows it does not.
        let rest = if is_chunked {
            format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n", event.len())
        } else {
            format!("content-length: {}\r\n\r\n{event}", event.len() + 1)
        };
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer).await;
        assert!(!answer.contains(" 202 "), "{answer}");
    }
    // A call after it sees what it left behind: nothing, and the id is free.
    api.push(&[events::block(CHANNEL, "e1")]).await;
    api.until_settled().await;
    assert_eq!(api.metric("fanfare_events_accepted_total").await, 1);
    assert_eq!(target.counts().requests, 1);
}

#[tokio::test]
async fn a_full_backlog_refuses_events_until_it_is_worked_off() {
    let held = fanfare_testkit::receiver::Gate::new();
    let target = receiver();
    let gate = held.clone();
    target.script(move |_| fanfare_testkit::receiver::Reply::status(200).held_by(&gate));
    let node = Node::start(NodeOptions::dev().set("limits.backlog_deliveries", "2")).await;
    let _made = crate::webhook(node.api(), &target, json!({})).await;
    node.api().push(&[events::block(CHANNEL, "e1"), events::block(CHANNEL, "e2")]).await;
    let answer = node.api().ingest(events::block(CHANNEL, "e3").to_string()).await;
    let _message = answer.expect_error(503);
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    held.open();
    node.api().until_settled().await;
    node.api().push(&[events::block(CHANNEL, "e3")]).await;
    target.requests_at_least(3).await;
    node.api().until_settled().await;
}

/// The limit of the disk: events are refused, deliveries go on, and what they free takes events again.
#[tokio::test]
async fn a_full_disk_refuses_events_until_deliveries_free_it() {
    let held = fanfare_testkit::receiver::Gate::new();
    let target = receiver();
    let gate = held.clone();
    target.script(move |_| fanfare_testkit::receiver::Reply::status(200).held_by(&gate));
    let node = Node::start(NodeOptions::dev().set("limits.disk_bytes", "16777216")).await;
    let _made = crate::webhook(node.api(), &target, json!({"delivery": {"timeoutMs": 30000}})).await;
    let mut taken = 0;
    let refused = loop {
        let answer = node.api().ingest(sized(&format!("e{taken}"), MIB / 2)).await;
        if answer.status != 202 {
            break answer;
        }
        taken += 1;
        assert!(taken < 64, "32 MiB fit into a store of 16");
    };
    let message = refused.expect_error(503);
    assert!(message.contains("full"), "{message}");
    assert!(refused.header("retry-after").is_some());
    assert!(taken >= 8, "only {taken} events of half a MiB fit into 16 MiB");
    held.open();
    node.api().until_settled().await;
    assert_eq!(target.counts().requests, taken);
    node.api().push(&[events::block(CHANNEL, "after")]).await;
    target.requests_at_least(taken + 1).await;
}
