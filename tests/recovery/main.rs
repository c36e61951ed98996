//! Killed with SIGKILL again and again under load: no event that was confirmed is missing, every repeat is the same
//! delivery, and only what was in flight or had just ended is repeated.
//!
//! `FANFARE_SEED` replays the moments of a run as far as a real machine can; `FANFARE_KILLS` makes it longer.

#![cfg(test)]

mod ledger;
mod producer;

use fanfare_testkit::receiver::{ReceiverOptions, Reply, ScriptedReceiver};
use fanfare_tests::{Node, NodeOptions, until};
use ledger::Ledger;
use producer::Producer;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const CHANNEL: &str = "c1";

/// One request in so many fails, where some are to.
const FAILS_ONE_IN: usize = 5;

/// A repeat is of a delivery that ended at most so long before a kill: the contract's 100 ms, and what a busy machine
/// may put between the receiver's answer and the engine's reading it.
const REPEATED_AGE_MAX: Duration = Duration::from_millis(1000);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// What the four webhooks' receiver does: answers, fails a share with 500, fails a share with a reset, is slow.
fn reply(path: &str, order: usize) -> Reply {
    let is_failed = order.wrapping_mul(2_654_435_761) % 1000 < 1000 / FAILS_ONE_IN;
    match path {
        "/failing" if is_failed => Reply::status(500),
        "/parts" if is_failed => Reply::ResetAfterRequest,
        "/slow" => Reply::status(200).after(Duration::from_millis(5)),
        _ => Reply::status(200),
    }
}

async fn webhooks(node: &Node, receiver: &ScriptedReceiver) -> Vec<Value> {
    let mut made = Vec::new();
    for (path, format, in_flight) in [
        ("/healthy", "DEFAULT", 16),
        ("/failing", "DEFAULT", 16),
        ("/parts", "Z_API", 16),
        ("/slow", "DEFAULT", 2),
    ] {
        let body = json!({
            "url": receiver.url(path),
            "events": ["MESSAGE_RECEIVED"],
            "payloadFormat": format,
            "signing": true,
            "delivery": {"maxInFlight": in_flight, "retry": {"scheduleSeconds": vec![1; 20]}},
        });
        made.push(node.api().webhook(CHANNEL, &body).await);
    }
    made
}

/// The `webhook-id`s an event must arrive with. Every event renders to two bodies in Z_API.
fn owed(event: &str, webhooks: &[Value]) -> Vec<String> {
    let mut ids = Vec::new();
    for webhook in webhooks {
        let id = format!("{event}-{}", webhook["id"].as_str().unwrap());
        if webhook["payloadFormat"] == "Z_API" {
            ids.push(format!("{id}-1"));
        }
        ids.push(id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_and_repeats_are_the_same_delivery() {
    let seed = number("FANFARE_SEED").unwrap_or_else(|| fanfare_tests::unix_ms() % 1_000_000_007);
    let kills = usize::try_from(number("FANFARE_KILLS").unwrap_or(25)).unwrap();
    println!("FANFARE_SEED={seed} FANFARE_KILLS={kills}");
    let mut rng = StdRng::seed_from_u64(seed);

    let receiver = ScriptedReceiver::start(ReceiverOptions::default());
    let ledger = Arc::new(Ledger::default());
    receiver.script({
        let ledger = Arc::clone(&ledger);
        move |request| {
            let reply = reply(&request.path, request.order);
            ledger.note(request, &reply);
            reply
        }
    });
    // Little memory for what waits, so that most of the slow webhook's share is read back from disk.
    let options = NodeOptions::dev().set("limits.window_bytes", "2097152");
    let mut node = Node::start(options).await;
    let webhooks = webhooks(&node, &receiver).await;

    let producer = Producer::start(node.api().clone(), Arc::clone(&ledger));
    let mut kill_times = Vec::new();
    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..1200))).await;
        kill_times.push(Instant::now());
        node.kill().await;
        if rng.random_ratio(1, 3) {
            // And once more while it recovers, or right after.
            node.start_again().await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..60))).await;
            kill_times.push(Instant::now());
            node.kill().await;
        }
        node.start_again().await;
        producer.goes_on_at(node.api().clone());
        receiver.forget_requests();
        println!("kill {kill}: {} events confirmed so far, {ledger}", producer.confirmed_count());
    }
    let events = producer.stop().await;
    let expected: Vec<String> = events.iter().flat_map(|event| owed(event, &webhooks)).collect();
    println!("{} events confirmed, {} deliveries owed; working off the rest", events.len(), expected.len());
    // The guard is against a hang: as long as something arrives, it goes on.
    let mut last = usize::MAX;
    while last > 0 {
        let missing = until("a delivery that is missing", || async {
            let missing = ledger.missing(&expected);
            (missing < last).then_some(missing)
        })
        .await;
        last = missing;
    }
    node.api().until_settled().await;

    assert_eq!(node.api().metric("fanfare_dead_letters").await, 0, "nothing was given up");
    ledger.check(&expected);
    let repeats = ledger.repeats(&kill_times);
    let oldest = repeats.iter().max().copied().unwrap_or_default();
    let late = repeats.iter().filter(|age| **age > Duration::from_millis(100)).count();
    println!(
        "{} kills, {} events, {} deliveries, {}, {} repeated ({:.2} a kill), the oldest {oldest:?} before its kill, \
         {late} more than 100 ms",
        kill_times.len(),
        events.len(),
        expected.len(),
        *ledger,
        repeats.len(),
        repeats.len() as f64 / kill_times.len() as f64,
    );
    assert!(oldest <= REPEATED_AGE_MAX, "a delivery came again that had ended {oldest:?} before the kill");
    assert!(events.len() > kills * 50, "there was load: {} events", events.len());
    assert_eq!(producer::rejected_count(), 0);
}
