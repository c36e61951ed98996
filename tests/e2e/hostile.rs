//! A receiver that attacks, beside a healthy one on the same channel: the healthy one gets everything at the first
//! attempt, the attempts at the hostile one fail as they should, and nothing of it piles up in the engine.

use crate::{CHANNEL, attempts, receiver};
use fanfare_testkit::receiver::{Attack, HostileReceiver};
use fanfare_tests::{Node, events};
use serde_json::{Value, json};
use std::time::Duration;

/// Events of one round. Fewer than make a gate's first shutting matter, more than one connection's worth.
const EVENTS: usize = 24;
const DRIP: Duration = Duration::from_millis(20);
/// What one attempt may take of an attack without end: our bounds, and what the buffers of two sockets hold.
const WRITTEN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Pushes two rounds; the hostile receiver's attempts end as `class` (`None`: delivered).
async fn check(attack: Attack, class: Option<&str>) {
    let (hostile, healthy) = (HostileReceiver::start(attack), receiver());
    let node = Node::dev().await;
    let api = node.api();
    let protocol = if attack.is_http2() { "HTTP2" } else { "AUTO" };
    // A second is the shortest time-out there is; a schedule that is over within the test.
    let delivery = json!({"timeoutMs": 1000, "protocol": protocol, "retry": {"scheduleSeconds": [1]}});
    api.webhook(CHANNEL, &json!({"url": hostile.url("/"), "events": ["BLOCK"], "delivery": delivery})).await;
    api.webhook(CHANNEL, &json!({"url": healthy.url("/"), "events": ["BLOCK"]})).await;
    for (round, name) in (1..).zip(["a", "b"]) {
        let batch: Vec<Value> = (0..EVENTS).map(|n| events::block(CHANNEL, &format!("{name}{n}"))).collect();
        api.push(&batch).await;
        let requests = healthy.requests_at_least(round * EVENTS).await;
        assert_eq!(attempts(&requests), vec!["1"; round * EVENTS], "{attack:?}");
        match class {
            // In full swing when the second round comes.
            Some(class) => {
                let metric = format!("fanfare_attempts_failed_total{{class=\"{class}\"}}");
                fanfare_tests::until("a failed attempt", || async {
                    (api.metric(&metric).await >= round as u64).then_some(())
                })
                .await;
            }
            None => api.until_settled().await,
        }
    }
    let tally = hostile.tally();
    let taken_max = WRITTEN_BYTES_MAX * tally.connections_accepted as u64;
    assert!(tally.written_bytes <= taken_max, "{attack:?}: {tally:?}");
    // One webhook has at most its 16 connections at a time.
    let files = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).map_or(0, Iterator::count);
    assert!(files < 100, "{attack:?}: {files} open files");
    assert_eq!(api.metric("fanfare_actor_panics_total").await, 0);
    if class.is_none() {
        assert_eq!(tally.requests, 2 * EVENTS);
        fanfare_tests::until("its connections to be closed", || {
            std::future::ready((hostile.tally().connections_open == 0).then_some(()))
        })
        .await;
    }
}

#[tokio::test]
async fn a_body_drip_past_the_time_out() {
    check(Attack::BodyDrip(DRIP), Some("timeout")).await;
}

#[tokio::test]
async fn headers_without_end() {
    check(Attack::EndlessHeaders, Some("protocol")).await;
}

#[tokio::test]
async fn a_flood_of_interim_answers() {
    check(Attack::EndlessInformational, Some("protocol")).await;
}

#[tokio::test]
async fn ten_gigabytes_behind_a_success() {
    check(Attack::BigBody(200), None).await;
}

#[tokio::test]
async fn http2_rapid_resets() {
    check(Attack::RapidReset, Some("reset")).await;
}

#[tokio::test]
async fn http2_settings_flood() {
    check(Attack::SettingsFlood, Some("protocol")).await;
}

#[tokio::test]
async fn http2_ping_flood() {
    check(Attack::PingFlood, Some("protocol")).await;
}

#[tokio::test]
async fn http2_goaway_in_the_middle_of_an_answer() {
    check(Attack::GoawayMidStream, Some("reset")).await;
}

#[tokio::test]
async fn http2_without_a_stream_to_use() {
    check(Attack::NoStreams, Some("protocol")).await;
}

#[tokio::test]
async fn http2_silence_past_the_time_out() {
    check(Attack::Silence, Some("timeout")).await;
}
