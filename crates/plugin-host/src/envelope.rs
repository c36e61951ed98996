//! The event as a guest gets it: its bytes as they arrived, with two members in front that a format cannot make up where
//! the producer did not give them: the id that the engine made, and the channel's own phone.
//!
//! Cost: what is not payload is read (some 150 bytes); only where a member is missing, the event is copied once.

use fanfare_core::event::Event;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The members in question; `null` is there, and as good as absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    channel_phone: Option<&'a RawValue>,
}

fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// See the module. What is no object is left as it is: the guest says what is wrong.
pub(crate) fn given(event: &Event) -> Cow<'_, [u8]> {
    let bytes: &[u8] = &event.envelope;
    let head = without_payload(event);
    let Ok(head) = serde_json::from_slice::<Head<'_>>(&head) else { return Cow::Borrowed(bytes) };
    let is_null = |member: Option<&RawValue>| member.is_some_and(|value| value.get() == "null");
    let is_missing = |member: Option<&RawValue>| member.is_none() || is_null(member);
    let mut missing = Vec::new();
    if is_missing(head.id) {
        missing.push(("id", quoted(event.id.as_str())));
    }
    if let Some(phone) = event.channel_phone.as_deref().filter(|_| is_missing(head.channel_phone)) {
        missing.push(("channelPhone", quoted(phone)));
    }
    if missing.is_empty() {
        return Cow::Borrowed(bytes);
    }
    let whole = if is_null(head.id) || is_null(head.channel_phone) {
        replaced(bytes, &missing)
    } else {
        in_front(bytes, &missing)
    };
    whole.map_or(Cow::Borrowed(bytes), Cow::Owned)
}

/// The envelope with a number in the payload's place.
fn without_payload(event: &Event) -> Cow<'_, [u8]> {
    let bytes: &[u8] = &event.envelope;
    match (bytes.get(..event.payload.start), bytes.get(event.payload.end..)) {
        (Some(before), Some(after)) if !event.payload.is_empty() => {
            Cow::Owned([before, b"0", after].concat())
        }
        _ => Cow::Borrowed(bytes),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Right after the brace that opens the object; it has members (a type, a channel, a payload), so commas fit.
fn in_front(bytes: &[u8], missing: &[(&str, String)]) -> Option<Vec<u8>> {
    let open = bytes.iter().position(|&byte| byte == b'{')?;
    let (before, after) = bytes.split_at_checked(open + 1)?;
    let mut whole = Vec::with_capacity(bytes.len() + 128);
    whole.extend_from_slice(before);
    for (name, value) in missing {
        whole.extend_from_slice(format!("\"{name}\":{value},").as_bytes());
    }
    whole.extend_from_slice(after);
    Some(whole)
}

/// A member may not be there twice: the rare envelope with a `null` is put together anew, each value as it came.
fn replaced(bytes: &[u8], missing: &[(&str, String)]) -> Option<Vec<u8>> {
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_slice(bytes).ok()?;
    for (name, value) in missing {
        members.insert(name, serde_json::from_str(value).ok()?);
    }
    serde_json::to_vec(&members).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fanfare_core::event::EventKind;
    use fanfare_core::{ChannelId, EventId, Seq};

    fn check(envelope: &str, phone: Option<&str>, expected: &str) {
        let payload =
            envelope.find("{\"p\":").map_or(0..0, |start| start..start + "{\"p\":{\"id\":1}}".len());
        let event = Event {
            seq: Seq(1),
            id: EventId::parse("E").expect("id"),
            kind: EventKind::Block,
            channel: ChannelId::parse("c").expect("id"),
            channel_phone: phone.map(Into::into),
            key: None,
            occurred_at_ms: None,
            accepted_at_ms: 0,
            envelope: Bytes::copy_from_slice(envelope.as_bytes()),
            payload,
        };
        assert_eq!(String::from_utf8_lossy(&given(&event)), expected, "{envelope}");
    }

    #[test]
    fn what_the_producer_gave_is_as_it_arrived() {
        let whole = r#" { "x":{"id":2}, "id" : "P","channelPhone":"1","payload":{"p":{"id":1}} } "#;
        check(whole, Some("55"), whole);
        let escaped = r#"{"\u0069d":"P","payload":{"p":{"id":1}}}"#;
        check(escaped, None, escaped);
        check("[1]", Some("55"), "[1]");
        check("not json", Some("55"), "not json");
    }

    #[test]
    fn what_is_missing_is_put_in_front() {
        check(
            r#"{"key":"id","x":{"id":2},"payload":{"p":{"id":1}}}"#,
            None,
            r#"{"id":"E","key":"id","x":{"id":2},"payload":{"p":{"id":1}}}"#,
        );
        check(
            r#" {"payload":{"p":{"id":1}},"id":"P"}"#,
            Some("55"),
            r#" {"channelPhone":"55","payload":{"p":{"id":1}},"id":"P"}"#,
        );
    }

    #[test]
    fn null_is_no_id() {
        check(
            r#"{"id":null,"payload":{"p":{"id":1}},"type":"BLOCK"}"#,
            Some("55"),
            r#"{"channelPhone":"55","id":"E","payload":{"p":{"id":1}},"type":"BLOCK"}"#,
        );
    }
}
