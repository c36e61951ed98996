//! What a receiver gets.

use crate::{CHANNEL, attempts, header, ids, receiver, subscribed, text, webhook};
use fanfare_testkit::receiver::Received;
use fanfare_tests::{Node, NodeOptions, events, unix_ms};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn verify(request: &Received, webhook: &Value) {
    let (secret, standard) = (text(webhook, "secret"), text(webhook, "standardSecret"));
    let hub = header(request, "x-hub-signature-256");
    fanfare_signing::verify_hub(secret, hub, &request.body).unwrap();
    let now_s = unix_ms() / 1000;
    fanfare_signing::verify_standard(
        standard,
        header(request, "webhook-id"),
        header(request, "webhook-timestamp"),
        header(request, "webhook-signature"),
        &request.body,
        now_s,
        fanfare_signing::TOLERANCE_S,
    )
    .unwrap();
}

#[tokio::test]
async fn a_request_has_every_header_of_the_contract_and_no_other() {
    let target = receiver();
    let auth = json!({"type": "API_KEY", "key": "api-key-31cc40d2"});
    let (node, made) = subscribed(&target, json!({"signing": true, "auth": auth})).await;
    let before_s = unix_ms() / 1000;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let request = target.requests_at_least(1).await.remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/in?token=query-marker-e07b"));
    let id = text(&made, "id");
    let body_bytes = request.body.len().to_string();
    for (name, value) in [
        ("host", target.addr().to_string().as_str()),
        ("content-type", "application/json"),
        ("content-length", &body_bytes),
        ("user-agent", concat!("fanfare/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", &format!("e1-{id}")),
        ("x-hub-event", "BLOCK"),
        ("x-hub-channel", CHANNEL),
        ("x-hub-webhook", id),
        ("x-hub-attempt", "1"),
        ("x-api-key", "api-key-31cc40d2"),
    ] {
        assert_eq!(header(&request, name), value, "{name}");
    }
    let timestamp_s: u64 = header(&request, "webhook-timestamp").parse().unwrap();
    assert!((before_s..=unix_ms() / 1000).contains(&timestamp_s), "{timestamp_s}");
    verify(&request, &made);
    let names: BTreeSet<String> = request.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    let expected = [
        "host",
        "content-type",
        "content-length",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "x-hub-event",
        "x-hub-channel",
        "x-hub-webhook",
        "x-hub-attempt",
        "x-hub-signature-256",
        "x-api-key",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn each_kind_of_auth_is_what_the_receiver_sees() {
    let node = Node::dev().await;
    let api = node.api();
    let cases = [
        (json!({"type": "NONE"}), None),
        (json!({"type": "BEARER", "token": "token-5dd0a1"}), Some(("authorization", "Bearer token-5dd0a1"))),
        (json!({"type": "API_KEY", "key": "api-key-8be7"}), Some(("x-api-key", "api-key-8be7"))),
        (
            json!({"type": "BASIC", "username": "Aladdin", "password": "open sesame"}),
            Some(("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ),
        (
            json!({"type": "CUSTOM_HEADER", "headerName": "X-Shop-Secret", "headerValue": "value with, signs=;"}),
            Some(("x-shop-secret", "value with, signs=;")),
        ),
    ];
    let mut expected = Vec::new();
    for (auth, seen) in cases {
        let target = receiver();
        let made = webhook(api, &target, json!({"auth": auth})).await;
        assert_eq!(made["auth"], json!({"type": auth["type"], "configured": seen.is_some()}));
        expected.push((target, seen));
    }
    api.push(&[events::block(CHANNEL, "e1")]).await;
    for (target, seen) in expected {
        let request = target.requests_at_least(1).await.remove(0);
        for name in ["authorization", "x-api-key", "x-shop-secret"] {
            let value = seen.filter(|(expected, _)| *expected == name).map(|(_, value)| value);
            assert_eq!(request.header(name), value, "{name}");
        }
        assert_eq!(
            (request.header("x-hub-signature-256"), request.header("webhook-signature")),
            (None, None)
        );
    }
}

/// No number re-typed, no member moved or dropped, no escape or white space changed.
#[tokio::test]
async fn default_sends_the_payloads_own_bytes() {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({"signing": true})).await;
    let payload = concat!(
        "{ \"z\":1.50,\"a\" : 1e3 ,\"big\":12345678901234567890123, \"n\":null,\t\"z\":-0.0,",
        "\"text\":\"\\u00e9 \\/ \u{00e9} \u{1f600} \\ud83d\\ude00\", \"list\":[ ], \"o\":{ } }"
    );
    let line = format!("{{\"payload\": {payload} , \"id\":\"e1\",\"channelId\":\"c1\",\"type\":\"BLOCK\"}}");
    assert_eq!(node.api().ingest_lines(line.clone()).await.status, 202);
    assert_eq!(node.api().ingest(format!("[{}]", line.replace("e1", "e2"))).await.status, 202);
    let requests = target.requests_at_least(2).await;
    for request in &requests {
        assert_eq!(str::from_utf8(&request.body).unwrap(), payload);
        verify(request, &made);
    }
}

#[tokio::test]
async fn several_bodies_of_one_event_are_deliveries_of_their_own() {
    let target = receiver();
    let (node, made) = subscribed(
        &target,
        json!({"events": ["MESSAGE_RECEIVED"], "payloadFormat": "Z_API", "signing": true}),
    )
    .await;
    // The second body fails once: the others are not sent again.
    target.script({
        let id = format!("e1-{}-1", text(&made, "id"));
        move |request| {
            let is_failed = header(request, "webhook-id") == id && header(request, "x-hub-attempt") == "1";
            fanfare_testkit::receiver::Reply::status(if is_failed { 500 } else { 200 })
        }
    });
    node.api().push(&[events::message(CHANNEL, "e1", &["one", "two", "three"])]).await;
    let requests = target.requests_at_least(4).await;
    node.api().until_settled().await;
    assert_eq!(target.counts().requests, 4);
    let id = |part: &str| format!("e1-{}{part}", text(&made, "id"));
    let mut sent: Vec<(String, String)> = requests
        .iter()
        .map(|request| {
            (header(request, "webhook-id").to_owned(), header(request, "x-hub-attempt").to_owned())
        })
        .collect();
    sent.sort();
    let one = |part: &str, attempt: &str| (id(part), attempt.to_owned());
    assert_eq!(sent, [one("", "1"), one("-1", "1"), one("-1", "2"), one("-2", "1")]);
    for request in &requests {
        verify(request, &made);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let text = match header(request, "webhook-id").strip_prefix(&id("")).unwrap() {
            "" => "one",
            "-1" => "two",
            _ => "three",
        };
        assert_eq!(body["text"]["message"], text, "{body}");
        assert_eq!((&body["type"], &body["phone"]), (&json!("ReceivedCallback"), &json!("5531977110099")));
    }
}

/// Some of `tests/golden/z_api` through the whole program: what is checked there offline arrives.
#[tokio::test]
async fn z_api_bodies_arrive_byte_for_byte_and_skipped_ones_not_at_all() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/z_api");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let cases =
        ["contact_array_of_two", "image", "button_reply", "block", "document_without_url", "items_none"];
    let node = Node::dev().await;
    for case in cases {
        let target = receiver();
        let mut event: Value = serde_json::from_str(&read(&format!("{case}.event.json"))).unwrap();
        // Case by case on a channel of its own; its id stays where the body takes it from the payload.
        event["channelId"] = json!(case);
        event["id"] = json!("e1");
        let body = json!({"url": target.url("/"), "events": [event["type"]], "payloadFormat": "Z_API"});
        let _made = node.api().webhook(case, &body).await;
        node.api().push(&[event]).await;
        node.api().until_settled().await;
        let mut requests = target.requests();
        requests.sort_by_key(|request| header(request, "webhook-id").len());
        let bodies: String =
            requests.iter().map(|request| format!("{}\n", str::from_utf8(&request.body).unwrap())).collect();
        assert_eq!(bodies, read(&format!("{case}.bodies.ndjson")), "{case}");
    }
    assert_eq!(node.api().metric("fanfare_deliveries_skipped_total").await, 2);
}

#[tokio::test]
async fn the_same_delivery_is_the_same_to_the_byte_on_every_attempt() {
    use fanfare_testkit::receiver::Reply;
    let target = receiver();
    target.push(Reply::status(500));
    target.push(Reply::status(404));
    let (node, made) = subscribed(&target, json!({"signing": true})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let requests = target.requests_at_least(3).await;
    node.api().until_settled().await;
    assert_eq!(attempts(&requests), ["1", "2", "3"]);
    assert_eq!(ids(&requests), vec![format!("e1-{}", text(&made, "id")); 3]);
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    requests.iter().for_each(|request| verify(request, &made));
    assert_eq!(target.counts().requests, 3);
}

#[tokio::test]
async fn the_hubs_signature_header_may_have_another_name() {
    let target = receiver();
    let node = Node::start(NodeOptions::dev().set("signing.header", "X-Shop-Signature")).await;
    let api = node.api();
    let made = webhook(api, &target, json!({"signing": true})).await;
    api.push(&[events::block(CHANNEL, "e1")]).await;
    let request = target.requests_at_least(1).await.remove(0);
    let hub = header(&request, "x-shop-signature");
    fanfare_signing::verify_hub(text(&made, "secret"), hub, &request.body).unwrap();
    assert_eq!(request.header("x-hub-signature-256"), None);
    let auth = json!({"type": "CUSTOM_HEADER", "headerName": "x-shop-signature", "headerValue": "v"});
    let message = api.patch(&crate::path(&made), &json!({"auth": auth})).await.expect_error(400);
    assert!(message.contains("headerName"), "{message}");
}

/// From the channel's last CONNECTED event that told it, kept over a restart, for events that do not.
#[tokio::test]
async fn a_channels_phone_is_known_from_an_earlier_event() {
    let target = receiver();
    let (mut node, _) = subscribed(&target, json!({"events": ["CONNECTED"], "payloadFormat": "Z_API"})).await;
    let phones = async |count: usize| -> Vec<Value> {
        let requests = target.requests_at_least(count).await;
        requests
            .iter()
            .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["phone"].clone())
            .collect()
    };
    let connected = |id: &str, members: Value| events::event(CHANNEL, id, "CONNECTED", &members);
    node.api().push(&[connected("e1", json!({"connected": true, "phone": "5521988110022"}))]).await;
    assert_eq!(phones(1).await, ["5521988110022"]);
    node.restart().await;
    node.api().push(&[connected("e2", json!({"connected": true}))]).await;
    assert_eq!(phones(2).await, ["5521988110022", "5521988110022"]);
}
