//! Plugins built of C, JavaScript and Rust by `cargo xtask plugins`: put into a running engine, which runs their vectors,
//! and delivered with. The project in Python is tested by its own last command: its engine takes a debug build half a
//! minute to compile.

use crate::{CHANNEL, header, receiver, webhook};
use fanfare_testkit::receiver::ScriptedReceiver;
use fanfare_tests::node::BOOTSTRAP_KEY;
use fanfare_tests::{Node, NodeOptions, events};
use http::Method;
use serde_json::{Value, json};
use std::path::Path;

/// Puts a component that was built.
async fn put(node: &Node, name: &str, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/target/others").join(file);
    let component = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{file}: {error}: run `cargo xtask plugins --others` first"));
    let operator = node.api().with_key(BOOTSTRAP_KEY);
    let headers = [("content-type", "application/wasm")];
    let answer = operator.call(Method::PUT, &format!("/v1/formats/{name}"), &headers, component).await;
    assert_eq!(answer.expect(201)["name"], name);
}

async fn subscribe(node: &Node, target: &ScriptedReceiver, format: &str) {
    let members = json!({"payloadFormat": format, "events": ["MESSAGE_RECEIVED", "PRESENCE_CHAT", "BLOCK"]});
    webhook(node.api(), target, members).await;
}

/// What the only request was.
async fn only(node: &Node, target: &ScriptedReceiver) -> (String, Value) {
    node.api().until_settled().await;
    let mut requests = target.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let request = requests.remove(0);
    (header(&request, "content-type").to_owned(), serde_json::from_slice(&request.body).unwrap())
}

#[tokio::test]
async fn minimal_in_c_passes_the_payload_on_as_it_came() {
    let (target, node) = (receiver(), Node::dev().await);
    put(&node, "MINIMAL", "minimal.wasm").await;
    subscribe(&node, &target, "MINIMAL").await;
    let payload = r#"{ "event" : {"number": 1.50, "text": "\u00e9\"📦"} }"#;
    let event = format!(r#"{{"type":"BLOCK", "payload": {payload}, "id":"e1","channelId":"{CHANNEL}"}}"#);
    let json = [("content-type", "application/json")];
    assert_eq!(node.api().call(Method::POST, "/v1/events", &json, event).await.status, 202);
    node.api().until_settled().await;
    let request = target.requests().remove(0);
    let expected = format!(r#"{{"id":"e1","type":"BLOCK","channel":"{CHANNEL}","payload":{payload}}}"#);
    assert_eq!(str::from_utf8(&request.body).unwrap(), expected, "byte for byte");
}

#[tokio::test]
async fn slack_in_javascript_tells_a_team_what_its_settings_ask_for() {
    let settings = r#"{"SLACK":{"kinds":["MESSAGE_RECEIVED"],"channels":{"c1":"Loja & Cia"}}}"#;
    let node = Node::start(NodeOptions::dev().set("plugins.settings", settings)).await;
    let target = receiver();
    put(&node, "SLACK", "slack.wasm").await;
    subscribe(&node, &target, "SLACK").await;
    let message = events::message(CHANNEL, "e1", &["<!channel> oi"]);
    node.api().push(&[events::block(CHANNEL, "e0"), message]).await;
    let (content_type, body) = only(&node, &target).await;
    assert_eq!(content_type, "application/json");
    assert_eq!(body["blocks"][1]["text"], json!({"type": "mrkdwn", "text": ">&lt;!channel&gt; oi"}));
    let last = body["blocks"].as_array().unwrap().last().unwrap();
    assert!(last["elements"][0]["text"].as_str().unwrap().starts_with("Loja &amp; Cia"), "{body}");
}

#[tokio::test]
async fn a_starter_project_delivers_in_every_language() {
    let settings =
        r#"{"START_C":{"source":"acme"},"START_JS":{"source":"acme"},"START_RUST":{"source":"acme"}}"#;
    let node = Node::start(NodeOptions::dev().set("plugins.settings", settings)).await;
    let mut targets = Vec::new();
    for (format, file) in
        [("START_C", "start-c.wasm"), ("START_JS", "start-js.wasm"), ("START_RUST", "start-rust.wasm")]
    {
        let target = receiver();
        put(&node, format, file).await;
        subscribe(&node, &target, format).await;
        targets.push((format, target));
    }
    let presence = json!({"messageEventType": "PRESENCE_CHAT", "event": {"identifier": "5531977110099"}});
    let message = events::message(CHANNEL, "e2", &["oi"]);
    let skipped = json!({"type": "PRESENCE_CHAT", "id": "e1", "channelId": CHANNEL, "payload": presence});
    node.api().push(&[skipped, message.clone()]).await;
    for (format, target) in &targets {
        let (_, body) = only(&node, target).await;
        let expected = json!({
            "id": "e2", "source": "acme", "kind": "MESSAGE_RECEIVED", "channel": CHANNEL, "data": message["payload"],
        });
        assert_eq!(body, expected, "{format}");
    }
}
