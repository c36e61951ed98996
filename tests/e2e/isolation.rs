//! The worst case for isolation: very many receivers that accept and never answer, very many that refuse, and a flood to
//! one that is slow, beside healthy ones.

use crate::{attempts, receiver};
use fanfare_testkit::receiver::Reply;
use fanfare_tests::{Node, NodeOptions, events};
use serde_json::{Value, json};
use std::time::Duration;

const CHANNELS: usize = 10;
/// Of each of the two kinds, on each channel.
const DEAD: usize = 100;
const EVENTS: usize = 30;
const FLOOD: usize = 3000;

fn channel(n: usize) -> String {
    format!("crowded-{n}")
}

fn blocks(channel: &str, name: &str, count: usize) -> Vec<Value> {
    (0..count).map(|n| events::block(channel, &format!("{name}{n}"))).collect()
}

/// Open files of a process.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn two_thousand_dead_receivers_and_a_flood_hold_up_no_healthy_one() {
    let (silent, slow, healthy) = (receiver(), receiver(), receiver());
    silent.script(|_| Reply::NeverAnswer);
    slow.script(|_| Reply::status(200).after(Duration::from_secs(2)));
    let refusing = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let node = Node::start(NodeOptions::dev().set("limits.window_bytes", "33554432")).await;
    let api = node.api();
    // Two connections each, so that the test's own process can hold the other ends.
    let delivery = json!({"timeoutMs": 30000, "maxInFlight": 2});
    let dead = |url: &str| json!({"url": url, "events": ["BLOCK"], "delivery": delivery});
    let crowd = async |n: usize| {
        let channel = channel(n);
        api.webhook(&channel, &json!({"url": healthy.url("/"), "events": ["BLOCK"]})).await;
        for _ in 0..DEAD {
            api.webhook(&channel, &dead(&silent.url("/"))).await;
            api.webhook(&channel, &dead(&refusing)).await;
        }
    };
    futures_util::future::join_all((0..CHANNELS).map(crowd)).await;
    api.webhook("flooded", &json!({"url": slow.url("/"), "events": ["BLOCK"]})).await;
    api.push(&blocks("flooded", "f", FLOOD)).await;
    // The second time with all that is dead in full swing. Each time all of it arrives while the silent ones' first
    // attempts have most of their time to go.
    for (round, name) in (1..).zip(["a", "b"]) {
        for n in 0..CHANNELS {
            api.push(&blocks(&channel(n), name, EVENTS)).await;
        }
        let requests = healthy.requests_at_least(round * CHANNELS * EVENTS).await;
        assert_eq!(attempts(&requests), vec!["1"; round * CHANNELS * EVENTS]);
    }
    // Whatever time it took: two for each that is dead, sixteen for each other one.
    let in_flight = api.metric("fanfare_attempts_in_flight").await as usize;
    assert!(
        in_flight <= 4 * CHANNELS * DEAD + 16 * (CHANNELS + 1),
        "{in_flight}: each is kept to its own limit"
    );
    silent.requests_at_least(CHANNELS * DEAD).await;
    assert!(slow.counts().requests < FLOOD, "the flood is still waiting");
    let open = descriptors(node.pid());
    assert!(open < 2 * CHANNELS * DEAD + 300, "{open} open files");
    let window = api.metric("fanfare_window_bytes").await;
    assert!(window <= 33_554_432, "{window} bytes in memory");
    assert_eq!(api.metric("fanfare_actor_panics_total").await, 0);
}
