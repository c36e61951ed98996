//! End to end: the real binary as a process, a scripted receiver on loopback, one property a test.
//!
//! Where to start: `receiving.rs` for what a receiver may do, `requests.rs` for what it gets. Every test's engine logs
//! at debug level, and whatever it wrote is searched for secrets when it goes (`fanfare_tests::secrets`).

#![cfg(test)]

mod bench;
mod blocked;
mod changes;
mod cloudevents;
mod commands;
mod connections;
mod deliveries;
mod drain;
mod foreign;
mod formats;
mod gates;
mod guests;
mod hostile;
mod hostile_plugins;
mod ingest;
mod injection;
mod isolation;
mod leaks;
mod manage_commands;
mod management;
mod openapi;
mod operator;
mod rates;
mod receiving;
mod refused;
mod requests;
mod settings;
mod tls;

use fanfare_testkit::receiver::{Received, ReceiverOptions, ScriptedReceiver};
use fanfare_tests::secrets::QUERY_MARKER;
use fanfare_tests::{Api, Node};
use serde_json::{Value, json};

/// The channel of tests that need one only.
const CHANNEL: &str = "c1";

/// A receiver that answers 200 until told otherwise.
fn receiver() -> ScriptedReceiver {
    ScriptedReceiver::start(ReceiverOptions::default())
}

/// Where webhooks point: with a query, which no log may show.
fn url(receiver: &ScriptedReceiver) -> String {
    receiver.url(&format!("/in?token={QUERY_MARKER}"))
}

/// A webhook for BLOCK events with retries after a second, changed by `members`.
async fn webhook(api: &Api, receiver: &ScriptedReceiver, members: Value) -> Value {
    let mut body = json!({
        "url": url(receiver),
        "events": ["BLOCK"],
        "delivery": {"retry": {"scheduleSeconds": [1, 1, 1]}},
    });
    merge(&mut body, members);
    api.webhook(CHANNEL, &body).await
}

/// An engine for development with one such webhook.
async fn subscribed(receiver: &ScriptedReceiver, members: Value) -> (Node, Value) {
    let node = Node::dev().await;
    let webhook = webhook(node.api(), receiver, members).await;
    (node, webhook)
}

/// Members of objects are merged, everything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Path of a webhook.
fn path(webhook: &Value) -> String {
    format!("/v1/channels/{}/webhooks/{}", text(webhook, "channelId"), text(webhook, "id"))
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_else(|| panic!("{name} is not a string in {object}"))
}

/// The header of a request that must have it once.
#[track_caller]
fn header<'a>(request: &'a Received, name: &str) -> &'a str {
    assert_eq!(request.header_count(name), 1, "{name} in {:?}", request.headers);
    request.header(name).unwrap_or_default()
}

fn attempts(requests: &[Received]) -> Vec<&str> {
    requests.iter().map(|request| header(request, "x-hub-attempt")).collect()
}

fn ids(requests: &[Received]) -> Vec<&str> {
    requests.iter().map(|request| header(request, "webhook-id")).collect()
}

/// The `webhook-id` of the only body of an event.
fn delivery_id(event: &str, webhook: &Value) -> String {
    format!("{event}-{}", text(webhook, "id"))
}
