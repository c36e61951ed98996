//! The shipped format CLOUDEVENTS, read by a library that is not ours and held against the CloudEvents project's schema.

use crate::{header, merge, receiver, url};
use fanfare_tests::Node;
use fanfare_tests::foreign::run_python;
use serde_json::{Value, json};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/cloudevents.schema.json");

/// The events that the binary carries for `fanfare demo`: every kind.
fn samples() -> Vec<Value> {
    let text = include_str!("../../crates/fanfare/samples/events.ndjson");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_receiver_of_cloudevents_reads_every_kind() {
    let (target, node, samples) = (receiver(), Node::dev().await, samples());
    let channels: std::collections::BTreeSet<&str> =
        samples.iter().map(|event| event["channelId"].as_str().unwrap()).collect();
    for channel in channels {
        let mut webhook = json!({"url": url(&target), "payloadFormat": "CLOUDEVENTS"});
        merge(
            &mut webhook,
            json!({"events": ["MESSAGE_RECEIVED", "MESSAGE_DELIVERY", "MESSAGE_STATUS", "CONNECTED", "DISCONNECTED",
                              "PRESENCE_CHAT", "INITIAL_DATA", "BLOCK"]}),
        );
        node.api().webhook(channel, &webhook).await;
    }
    node.api().push(&samples).await;
    let requests = target.requests_at_least(samples.len()).await;
    assert_eq!(requests.len(), samples.len(), "one body each");

    let mut lines = String::new();
    for request in &requests {
        let id = header(request, "webhook-id").split('-').next().unwrap();
        let event = samples.iter().find(|event| event["id"] == id).unwrap();
        let content_type = header(request, "content-type");
        assert_eq!(content_type, "application/cloudevents+json; charset=utf-8");
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        lines += &format!("{}\n", json!({"contentType": content_type, "body": body, "event": event}));
    }
    let read = run_python(include_str!("read_cloudevents.py"), &[SCHEMA], lines.as_bytes()).await;
    assert_eq!(read.expect(0).trim(), samples.len().to_string());
}
