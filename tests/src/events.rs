//! Events to push.

use crate::secrets::PAYLOAD_MARKER;
use serde_json::{Value, json};

/// A BLOCK event, which DEFAULT and Z_API both know.
#[must_use]
pub fn block(channel: &str, id: &str) -> Value {
    event(channel, id, "BLOCK", &json!({"identifier": "5531977110099", "blocked": true}))
}

/// An event of any kind about a channel; `members` join its `event` object.
#[must_use]
pub fn event(channel: &str, id: &str, kind: &str, members: &Value) -> Value {
    let mut inner = json!({"channel_id": channel, "moment": 1_790_000_666_001_u64, "note": PAYLOAD_MARKER});
    if let (Some(inner), Some(members)) = (inner.as_object_mut(), members.as_object()) {
        inner.extend(members.clone());
    }
    let payload = json!({"messageEventType": kind, "event": inner});
    json!({"id": id, "type": kind, "channelId": channel, "payload": payload})
}

/// A text message from a customer, with one body per entry of `texts` in Z_API.
#[must_use]
pub fn message(channel: &str, id: &str, texts: &[&str]) -> Value {
    message_of_kind(channel, id, "MESSAGE_RECEIVED", texts)
}

/// A message event of any kind.
#[must_use]
pub fn message_of_kind(channel: &str, id: &str, kind: &str, texts: &[&str]) -> Value {
    let contents: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            json!({
                "@class": ".TextContent",
                "type": "TEXT",
                "identifier": format!("item-{index}"),
                "internal_information": {},
                "message": text,
                "state_items": [{
                    "@class": ".StateItem",
                    "identifier": "state-1",
                    "integration_message_ids": ["wamid.1"],
                    "moment": 1_790_000_061_543_u64,
                    "state": {"@class": ".Read", "name": "READ"},
                }],
            })
        })
        .collect();
    let payload = json!({
        "message": {
            "_id": format!("M-{id}"),
            "tenant": PAYLOAD_MARKER,
            "channel_id": channel,
            "created_by": "CONWAY",
            "created": 1_790_000_061_543_u64,
            "metadata": {
                "@class": ".Metadata", "forwarded": false, "from_api": false, "from_me": false,
                "middleware": "META_WHATSAPP", "moment": 1_790_000_061_543_u64,
            },
            "sender": {"@class": ".Sender", "identifier": "5531977110099", "name": "Ana"},
            "recipient": {"@class": ".Recipient", "identifier": "5521988110022", "name": "Loja"},
            "contents": contents,
            "attachments": [],
            "actions": [],
        },
        "messageEventType": "NEW_MESSAGE",
    });
    json!({"id": id, "type": kind, "channelId": channel, "payload": payload})
}

/// One line per event.
#[must_use]
pub fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}
