//! Changes of a webhook: in force for the next attempt, and there after any end of the process.

use crate::{CHANNEL, attempts, delivery_id, header, ids, merge, path, receiver, subscribed, text, webhook};
use fanfare_testkit::receiver::{Gate, Received, Reply};
use fanfare_tests::{Node, NodeOptions, events, unix_ms};
use serde_json::{Value, json};

fn verifies(request: &Received, secret: &str) -> bool {
    let hub = fanfare_signing::verify_hub(secret, header(request, "x-hub-signature-256"), &request.body);
    hub.is_ok() && verifies_standard(request, secret)
}

fn verifies_standard(request: &Received, secret: &str) -> bool {
    fanfare_signing::verify_standard(
        secret,
        header(request, "webhook-id"),
        header(request, "webhook-timestamp"),
        header(request, "webhook-signature"),
        &request.body,
        unix_ms() / 1000,
        fanfare_signing::TOLERANCE_S,
    )
    .is_ok()
}

/// Accounts, keys, channels, webhooks and their secrets.
#[tokio::test]
async fn everything_made_is_there_after_a_kill_and_a_clean_end() {
    let target = receiver();
    let options = NodeOptions::default().set("egress.allow_http", "true").set("egress.allow", "127.0.0.0/8");
    let mut node = Node::start(options).await;
    let _account = node.api().put("/v1/accounts/a", &json!({"role": "ENTERPRISE"})).await.expect(200);
    let body = json!({"accountId": "a", "phone": "5521988110022"});
    let _channel = node.api().put("/v1/channels/c1", &body).await.expect(200);
    let key =
        node.api().post("/v1/accounts/a/keys", &json!({"scopes": ["manage", "ingest"]})).await.expect(201);
    let key = text(&key, "key").to_owned();
    let auth = json!({"type": "BASIC", "username": "user-name-41", "password": "pass-word-42"});
    let mut made = webhook(&node.api().with_key(&key), &target, json!({"signing": true, "auth": auth})).await;
    let secret = text(&made, "secret").to_owned();
    for name in ["secret", "standardSecret"] {
        made.as_object_mut().unwrap().remove(name);
    }
    for round in 0..2 {
        if round == 0 {
            node.kill().await;
            node.start_again().await;
        } else {
            node.restart().await;
        }
        let api = node.api().with_key(&key);
        assert_eq!(api.get("/v1/channels/c1/webhooks").await.expect(200), json!([made]));
        assert_eq!(node.api().get("/v1/channels/c1").await.expect(200)["phone"], "5521988110022");
        api.push(&[events::block(CHANNEL, &format!("e{round}"))]).await;
        let requests = target.requests_at_least(round + 1).await;
        assert_eq!(header(&requests[round], "authorization"), "Basic dXNlci1uYW1lLTQxOnBhc3Mtd29yZC00Mg==");
        assert!(verifies(&requests[round], &secret), "round {round}");
    }
}

#[tokio::test]
async fn the_attempt_after_a_change_uses_the_new_url_secret_auth_and_format() {
    let (old, new) = (receiver(), receiver());
    old.push(Reply::status(500));
    let auth = json!({"type": "BEARER", "token": "token-old-1"});
    let (node, made) = subscribed(&old, json!({"signing": true, "auth": auth})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let first = old.requests_at_least(1).await;
    let change = json!({
        "url": crate::url(&new), "signing": true, "auth": {"type": "BEARER", "token": "token-new-2"},
    });
    let changed = node.api().patch(&path(&made), &change).await.expect(200);
    let second = new.requests_at_least(1).await;
    node.api().until_settled().await;
    assert_eq!(ids(&first), ids(&second), "the same delivery");
    assert_eq!(attempts(&second), ["2"]);
    assert_eq!(
        (header(&first[0], "authorization"), header(&second[0], "authorization")),
        ("Bearer token-old-1", "Bearer token-new-2")
    );
    assert!(verifies(&first[0], text(&made, "secret")) && verifies(&second[0], text(&changed, "secret")));
    assert!(!verifies_standard(&second[0], text(&made, "secret")), "without an overlap the old one is void");

    let format = json!({"payloadFormat": "Z_API", "signing": false});
    let _changed = node.api().patch(&path(&made), &format).await.expect(200);
    node.api().push(&[events::block(CHANNEL, "e2")]).await;
    let third = new.requests_at_least(2).await.remove(1);
    let body: Value = serde_json::from_slice(&third.body).unwrap();
    assert!(body.get("event").is_none(), "Z_API has no envelope: {body}");
    assert_eq!((third.header("x-hub-signature-256"), third.header("webhook-signature")), (None, None));
    assert_eq!(old.counts().requests, 1);
}

#[tokio::test]
async fn during_an_overlap_both_secrets_verify() {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({"signing": true})).await;
    let change = json!({"signing": true, "secretOverlapSeconds": 600});
    let rotated = node.api().patch(&path(&made), &change).await.expect(200);
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let request = target.requests_at_least(1).await.remove(0);
    assert_eq!(header(&request, "webhook-signature").split(' ').count(), 2);
    assert!(verifies(&request, text(&rotated, "secret")), "the new one, in both schemes");
    assert!(verifies_standard(&request, text(&made, "standardSecret")), "and the old one");
}

#[tokio::test]
async fn events_of_a_disabled_time_are_lost_and_what_was_queued_goes_on_after_it() {
    let target = receiver();
    target.push(Reply::status(500));
    let (node, made) = subscribed(&target, json!({})).await;
    let api = node.api();
    api.push(&[events::block(CHANNEL, "queued")]).await;
    api.until_metric("fanfare_attempts_failed_total{class=\"status\"}", 1).await;
    let _off = api.patch(&path(&made), &json!({"status": "DISABLED"})).await.expect(200);
    api.push(&[events::block(CHANNEL, "lost")]).await;
    assert_eq!(api.metric("fanfare_backlog_deliveries").await, 1, "nothing more is owed");
    let _on = api.patch(&path(&made), &json!({"status": "ENABLED"})).await.expect(200);
    api.push(&[events::block(CHANNEL, "after")]).await;
    api.until_settled().await;
    let requests = target.requests();
    let mut sent = ids(&requests);
    sent.sort_unstable();
    let mut expected =
        [delivery_id("queued", &made), delivery_id("queued", &made), delivery_id("after", &made)];
    expected.sort_unstable();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn what_a_deleted_webhook_was_owed_is_dropped() {
    let (held, target) = (Gate::new(), receiver());
    target.push(Reply::status(200).held_by(&held));
    let (node, made) = subscribed(&target, json!({"delivery": {"maxInFlight": 1}})).await;
    let api = node.api();
    api.push(&[events::block(CHANNEL, "e1"), events::block(CHANNEL, "e2"), events::block(CHANNEL, "e3")])
        .await;
    target.requests_at_least(1).await;
    assert_eq!(api.delete(&path(&made)).await.status, 204);
    held.open();
    api.until_settled().await;
    assert_eq!(target.counts().requests, 1);
    assert_eq!(api.metric("fanfare_deliveries_dead_total").await, 0);
}

#[tokio::test]
async fn changed_subscriptions_count_for_the_next_event() {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({})).await;
    let api = node.api();
    let _changed = api.patch(&path(&made), &json!({"events": ["CONNECTED"]})).await.expect(200);
    let mut connected = events::event(CHANNEL, "e2", "CONNECTED", &json!({"connected": true}));
    merge(&mut connected, json!({"key": "k"}));
    api.push(&[events::block(CHANNEL, "e1"), connected]).await;
    let requests = target.requests_at_least(1).await;
    api.until_settled().await;
    assert_eq!(ids(&requests), [delivery_id("e2", &made)]);
    assert_eq!(header(&requests[0], "x-hub-event"), "CONNECTED");
    assert_eq!(target.counts().requests, 1);
}

#[tokio::test]
async fn two_channels_do_not_share_webhooks() {
    let (one, two) = (receiver(), receiver());
    let node = Node::dev().await;
    let first = webhook(node.api(), &one, json!({})).await;
    let second = node.api().webhook("c2", &json!({"url": two.url("/"), "events": ["BLOCK"]})).await;
    node.api().push(&[events::block("c1", "e1"), events::block("c2", "e1")]).await;
    let (to_one, to_two) = (one.requests_at_least(1).await, two.requests_at_least(1).await);
    node.api().until_settled().await;
    assert_eq!(ids(&to_one), [delivery_id("e1", &first)]);
    assert_eq!(ids(&to_two), [delivery_id("e1", &second)]);
    assert_eq!((one.counts().requests, two.counts().requests), (1, 1));
}
