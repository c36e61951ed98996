//! Oracles of the fuzz targets (`fuzz/`), used by the tests over their corpus too. Not part of the crate's interface.
//!
//! Each `check_…` takes any bytes and panics when a promise is broken. What came out is judged by serde_json alone.

use crate::event::NESTING_DEPTH_MAX;
use crate::{
    EventErrorKind, RequestForm, connected_phone, customer_identifier, parse_event, render_default,
    render_z_api, split_request,
};
use bytes::Bytes;
use fanfare_core::EventId;
use fanfare_core::delivery::Rendered;
use fanfare_core::limits::PARTS_MAX;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Longest error or message about an event, bytes: it may repeat a type cut to 64 characters, and nothing else.
const TEXT_BYTES_MAX: usize = 600;

/// Target `ingest`: the body of a request, read as one event, as JSON and as NDJSON.
///
/// # Panics
/// When something is accepted that is not JSON, or a payload does not stand where it is said to stand.
pub fn check_ingest(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    match parse_event(body.clone()) {
        Err(error) => {
            assert!(error.to_string().len() <= TEXT_BYTES_MAX, "a long error");
            let is_json = is_json(data);
            assert!(
                !is_json || error.kind() != EventErrorKind::Syntax || names_hold_half_characters(data),
                "{error}"
            );
        }
        Ok(parsed) => {
            assert!(is_json(data), "an accepted event is JSON");
            assert_eq!(parsed.envelope, data.trim_ascii());
            let payload = parsed.payload();
            assert!(payload.starts_with(b"{") && payload.ends_with(b"}"), "the payload is an object");
            assert!(is_json(&payload), "a payload is JSON");
            // A reader of JSON finds the same member, letter by letter.
            let members = Members::read(&parsed.envelope).expect("an accepted event is an object");
            let named: Vec<_> = members.0.iter().filter(|(name, _)| name == "payload").collect();
            assert!(
                matches!(named.as_slice(), [(_, raw)] if raw.get().as_bytes() == payload),
                "another payload"
            );
            let again = parse_event(parsed.envelope.clone()).expect("an envelope is accepted again");
            assert_eq!(
                (again.payload, again.kind, again.channel, again.id),
                (parsed.payload, parsed.kind, parsed.channel, parsed.id)
            );
        }
    }
    for form in [RequestForm::Json, RequestForm::Ndjson] {
        let Ok(events) = split_request(body.clone(), form) else { continue };
        assert!(!events.is_empty(), "an answer without a place");
        for parsed in events.into_iter().flatten() {
            let alone =
                parse_event(parsed.envelope.clone()).expect("what is accepted in a batch is accepted alone");
            assert_eq!((alone.payload, alone.envelope), (parsed.payload, parsed.envelope));
        }
    }
    // These read payloads; here they read whatever comes.
    let key = customer_identifier(data);
    assert!(key.is_none_or(|key| !key.is_empty()), "an empty key");
    let phone = connected_phone(data);
    assert!(phone.is_none_or(|phone| phone.bytes().all(|byte| byte.is_ascii_digit())), "a phone is digits");
}

/// Target `z_api`: an event as submitted, rendered in both formats.
///
/// # Panics
/// When a body is not one JSON object, names a member twice, or differs on a retry.
pub fn check_z_api(data: &[u8]) {
    let Ok(parsed) = parse_event(Bytes::copy_from_slice(data)) else { return };
    let payload = parsed.payload();
    let id = EventId::parse("e1").expect("an id");
    for phone in [None, Some("5511999990000")] {
        let event = parsed.clone().into_event(id.clone(), phone.map(Box::from), 1_700_000_000_000);
        let rendered = render_z_api(&event);
        assert_eq!(event.payload(), payload, "rendering wrote to the event");
        assert_eq!(render_z_api(&event), rendered, "a retry renders the same bytes");
        match &rendered {
            Rendered::Bodies(bodies) => {
                assert!((1..=PARTS_MAX).contains(&bodies.len()), "{} bodies", bodies.len());
                // What the producer named twice inside a value that is passed on stays its own affair.
                let is_deep = is_without_duplicates(&payload);
                for body in bodies {
                    assert!(is_json(&body.bytes), "a body is JSON");
                    let members = Members::read(&body.bytes).expect("a body is an object");
                    assert!(members.are_unique(), "a member named twice");
                    assert!(!is_deep || is_without_duplicates(&body.bytes), "a member named twice, deeper");
                    assert!(members.0.iter().any(|(name, _)| name == "type"), "a body without a type");
                }
            }
            Rendered::Skipped { reason } => assert!(!reason.is_empty(), "skipped without a reason"),
            Rendered::Invalid { message } => assert!(message.len() <= TEXT_BYTES_MAX, "a long message"),
            Rendered::Fault { .. } | Rendered::Later { .. } => panic!("a built-in format cannot fail"),
        }
        let Rendered::Bodies(bodies) = render_default(&event) else { panic!("DEFAULT always has a body") };
        assert!(matches!(bodies.as_slice(), [body] if body.bytes == payload), "DEFAULT is the payload");
    }
}

fn is_json(text: &[u8]) -> bool {
    // As text: what is passed over is not checked to be UTF-8.
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// An object's members in order, values as their text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn are_unique(&self) -> bool {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair.first() != pair.last())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader).map(Members)
    }
}

/// Whether no object of a JSON text, however deep, names a member twice.
fn is_without_duplicates(text: &[u8]) -> bool {
    fn visit(text: &[u8], depth: usize) -> bool {
        if depth > NESTING_DEPTH_MAX {
            return false;
        }
        let is_good = |value: &RawValue| visit(value.get().as_bytes(), depth + 1);
        match text.first() {
            Some(b'{') => Members::read(text).is_some_and(|members| {
                members.are_unique() && members.0.iter().all(|(_, value)| is_good(value))
            }),
            Some(b'[') => serde_json::from_slice::<Vec<&RawValue>>(text)
                .is_ok_and(|values| values.into_iter().all(is_good)),
            _ => true,
        }
    }
    visit(text.trim_ascii(), 0)
}

/// Names are read as text, values are not: half a surrogate pair is JSON's grammar, but no text.
fn names_hold_half_characters(data: &[u8]) -> bool {
    data.windows(2).any(|pair| pair == b"\\u") && Members::read(data).is_none()
}
