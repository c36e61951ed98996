//! The cap on connections over all webhooks: those at rest give way, and no attempt is spent on waiting for them.

use crate::{CHANNEL, attempts, receiver};
use fanfare_testkit::receiver::{Gate, Reply};
use fanfare_tests::{Node, NodeOptions, events};
use serde_json::json;

const WEBHOOKS: usize = 9;
const ROUNDS: usize = 5;

/// Each webhook would keep its connection for half a minute, twice as long as an attempt may take.
#[tokio::test]
async fn many_webhooks_share_two_connections() {
    let target = receiver();
    let node = Node::start(NodeOptions::dev().set("egress.connections_max", "2")).await;
    let api = node.api();
    for n in 0..WEBHOOKS {
        api.webhook(CHANNEL, &json!({"url": target.url(&format!("/{n}")), "events": ["BLOCK"]})).await;
    }
    for round in 1..=ROUNDS {
        api.push(&[events::block(CHANNEL, &format!("e{round}"))]).await;
        let requests = target.requests_at_least(round * WEBHOOKS).await;
        assert_eq!(attempts(&requests), vec!["1"; round * WEBHOOKS]);
        api.until_settled().await;
        target.until(|counts| counts.connections_open <= 2).await;
    }
    assert_eq!(target.counts().requests, ROUNDS * WEBHOOKS);
    assert_eq!(api.metric("fanfare_attempts_failed_total{class=\"timeout\"}").await, 0);
}

/// A connection that carries an attempt is never taken away from it.
#[tokio::test]
async fn a_busy_connection_keeps_its_place() {
    let (slow, quick) = (receiver(), receiver());
    let held = Gate::new();
    slow.push(Reply::status(200).held_by(&held));
    let node = Node::start(NodeOptions::dev().set("egress.connections_max", "2")).await;
    let api = node.api();
    let patient = json!({"timeoutMs": 30000});
    api.webhook("slow", &json!({"url": slow.url("/"), "events": ["BLOCK"], "delivery": patient})).await;
    for n in 0..4 {
        api.webhook(CHANNEL, &json!({"url": quick.url(&format!("/{n}")), "events": ["BLOCK"]})).await;
    }
    api.push(&[events::block("slow", "s1")]).await;
    slow.requests_at_least(1).await;
    for round in 1..=3 {
        api.push(&[events::block(CHANNEL, &format!("q{round}"))]).await;
        let requests = quick.requests_at_least(round * 4).await;
        assert_eq!(attempts(&requests), vec!["1"; round * 4]);
    }
    held.open();
    api.until_settled().await;
    assert_eq!((slow.counts().requests, slow.counts().connections_accepted), (1, 1));
}
