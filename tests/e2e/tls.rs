//! Receivers with TLS.

use crate::{CHANNEL, attempts, header, url};
use fanfare_testkit::receiver::{ReceiverOptions, ScriptedReceiver, Spoken};
use fanfare_tests::{Node, NodeOptions, events};
use serde_json::{Value, json};

fn tls(spoken: Spoken) -> ScriptedReceiver {
    ScriptedReceiver::start(ReceiverOptions { spoken, ..ReceiverOptions::tls() })
}

/// An engine that trusts the authority of `trusted`, with a webhook at `url`, to which an event was pushed.
async fn pushed(trusted: &ScriptedReceiver, url: &str, members: Value) -> Node {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), trusted.ca_pem().unwrap()).unwrap();
    let options = NodeOptions::default()
        .set("egress.ca_file", file.path().to_str().unwrap())
        .set("egress.allow", "127.0.0.0/8,::1");
    let node = Node::start(options).await;
    let api = node.api();
    let _account = api.put("/v1/accounts/a", &json!({"role": "ENTERPRISE"})).await.expect(200);
    let _channel = api.put("/v1/channels/c1", &json!({"accountId": "a"})).await.expect(200);
    let mut body = json!({"url": url, "events": ["BLOCK"], "delivery": {"retry": {"scheduleSeconds": [1]}}});
    crate::merge(&mut body, members);
    let _made = api.webhook(CHANNEL, &body).await;
    api.push(&[events::block(CHANNEL, "e1")]).await;
    node
}

#[tokio::test]
async fn a_receiver_whose_authority_is_trusted_is_served() {
    let target = tls(Spoken::Http1);
    let node = pushed(&target, &url(&target), json!({})).await;
    let request = target.requests_at_least(1).await.remove(0);
    assert_eq!((request.http_version, header(&request, "x-hub-attempt")), (1, "1"));
    node.api().until_settled().await;
}

#[tokio::test]
async fn http2_is_spoken_where_alpn_agrees_on_it() {
    let target = tls(Spoken::Both);
    let node = pushed(&target, &url(&target), json!({})).await;
    let requests = target.requests_at_least(1).await;
    assert_eq!(requests[0].http_version, 2);
    node.api().until_settled().await;
    let only = tls(Spoken::Http2);
    let node = pushed(&only, &url(&only), json!({"delivery": {"protocol": "HTTP2"}})).await;
    assert_eq!(only.requests_at_least(1).await[0].http_version, 2);
    node.api().until_settled().await;
}

#[tokio::test]
async fn http1_is_spoken_where_it_was_asked_for_although_both_are() {
    let target = tls(Spoken::Both);
    let node = pushed(&target, &url(&target), json!({"delivery": {"protocol": "HTTP1"}})).await;
    let requests = target.requests_at_least(1).await;
    assert_eq!((requests[0].http_version, attempts(&requests)), (1, vec!["1"]));
    node.api().until_settled().await;
}

/// No request leaves; both attempts fail in the handshake.
async fn is_refused(node: &Node, target: &ScriptedReceiver) {
    node.api().until_settled().await;
    assert_eq!(node.api().metric("fanfare_attempts_failed_total{class=\"tls\"}").await, 2);
    assert_eq!(target.counts().requests, 0);
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let names = Some(vec!["receiver.test".to_owned()]);
    let target = ScriptedReceiver::start(ReceiverOptions { tls_names: names, ..ReceiverOptions::tls() });
    let node = pushed(&target, &url(&target), json!({})).await;
    is_refused(&node, &target).await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (target, other) = (tls(Spoken::Http1), tls(Spoken::Http1));
    let node = pushed(&other, &url(&target), json!({})).await;
    is_refused(&node, &target).await;
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls_is_refused() {
    let (target, authority) = (crate::receiver(), tls(Spoken::Http1));
    let node = pushed(&authority, &format!("https://{}/", target.addr()), json!({})).await;
    node.api().until_settled().await;
    assert_eq!(node.api().metric("fanfare_deliveries_dead_total").await, 1);
    assert_eq!(target.counts().requests, 0);
}
