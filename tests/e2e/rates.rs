//! `limits.ingest_per_second`: a producer over its rate is told when to come back, and costs others nothing.

use crate::CHANNEL;
use fanfare_tests::node::BOOTSTRAP_KEY;
use fanfare_tests::{Node, NodeOptions, events};
use serde_json::{Value, json};

fn blocks(first: usize, count: usize) -> Vec<Value> {
    (first..first + count).map(|n| events::block(CHANNEL, &format!("e{n}"))).collect()
}

#[tokio::test]
async fn a_key_over_its_rate_waits_and_others_go_on() {
    let node = Node::start(NodeOptions::dev().set("limits.ingest_per_second", "1")).await;
    let api = node.api();
    // Taken whole, though it is more than a second's worth: a minute's is owed first.
    api.push(&blocks(0, 60)).await;
    for answer in [
        api.ingest(events::block(CHANNEL, "e60").to_string()).await,
        api.ingest_lines(events::lines(&blocks(60, 2))).await,
        api.post(&format!("/v1/channels/{CHANNEL}/events/BLOCK"), &json!({})).await,
    ] {
        assert_eq!(answer.expect_error(429), "events of this key exceed 1 a second");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    assert_eq!(api.metric("fanfare_events_accepted_total").await, 60, "nothing of what was refused");
    let root = api.with_key(BOOTSTRAP_KEY);
    let made = root.post("/v1/accounts/dev/keys", &json!({"scopes": ["ingest"]})).await.expect(201);
    api.with_key(crate::text(&made, "key")).push(&blocks(60, 1)).await;
    for n in 61..64 {
        root.push(&blocks(n, 1)).await;
    }
}
