//! Addresses that may not be called, without `--dev`.

use crate::{CHANNEL, receiver};
use fanfare_testkit::receiver::ScriptedReceiver;
use fanfare_tests::{Node, NodeOptions, events};
use serde_json::json;

async fn push(options: NodeOptions, url: &str) -> Node {
    let node = Node::start(options).await;
    let api = node.api();
    let _account = api.put("/v1/accounts/a", &json!({"role": "ENTERPRISE"})).await.expect(200);
    let _channel = api.put("/v1/channels/c1", &json!({"accountId": "a"})).await.expect(200);
    let _made = api.webhook(CHANNEL, &json!({"url": url, "events": ["BLOCK"]})).await;
    api.push(&[events::block(CHANNEL, "e1")]).await;
    api.until_settled().await;
    node
}

/// Dead at once, without a connection, although the schedule had eleven more attempts.
async fn is_blocked(node: &Node, target: &ScriptedReceiver) {
    let api = node.api();
    assert_eq!(api.metric("fanfare_attempts_failed_total{class=\"blocked_address\"}").await, 1);
    assert_eq!(api.metric("fanfare_dead_letters").await, 1);
    assert_eq!(target.counts().connections_accepted, 0);
}

#[tokio::test]
async fn a_loopback_receiver_is_never_called_by_address_or_by_name() {
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let target = receiver();
        let url = format!("http://{host}:{}/", target.addr().port());
        let node = push(NodeOptions::default().set("egress.allow_http", "true"), &url).await;
        is_blocked(&node, &target).await;
    }
}

#[tokio::test]
async fn deny_beats_allow() {
    let target = receiver();
    let options = NodeOptions::default()
        .set("egress.allow_http", "true")
        .set("egress.allow", "127.0.0.0/8")
        .set("egress.deny", "127.0.0.1/32");
    let node = push(options, &target.url("/")).await;
    is_blocked(&node, &target).await;
}

#[tokio::test]
async fn an_allowed_network_is_called() {
    let target = receiver();
    let options = NodeOptions::default().set("egress.allow_http", "true").set("egress.allow", "127.0.0.0/8");
    let _node = push(options, &target.url("/")).await;
    assert_eq!(target.counts().requests, 1);
}

#[tokio::test]
async fn plain_http_is_refused_at_create_by_default() {
    let node = Node::start(NodeOptions::default()).await;
    let api = node.api();
    let _account = api.put("/v1/accounts/a", &json!({"role": "ENTERPRISE"})).await.expect(200);
    let _channel = api.put("/v1/channels/c1", &json!({"accountId": "a"})).await.expect(200);
    let body = json!({"url": "http://receiver.test/", "events": ["BLOCK"]});
    let message = api.post("/v1/channels/c1/webhooks", &body).await.expect_error(400);
    assert!(message.contains("url") && message.contains("https"), "{message}");
}
