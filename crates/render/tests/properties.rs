//! Whatever JSON a hub sends: no panic, and every body is JSON.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that are exempt"
)]

use bytes::Bytes;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::{Event, EventKind};
use fanfare_core::webhook::FormatName;
use fanfare_core::{ChannelId, EventId};
use fanfare_render::{
    bare_event, connected_phone, customer_identifier, parse_event, render_builtin, render_default,
    render_z_api,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn event(kind: EventKind, payload: &str, phone: Option<&str>) -> Event {
    let channel = ChannelId::parse("c").unwrap();
    bare_event(channel, kind, None, Bytes::from(payload.to_owned())).unwrap().into_event(
        EventId::parse("e").unwrap(),
        phone.map(Box::from),
        0,
    )
}

/// Every body of whatever came out, checked to be one JSON object.
fn bodies(rendered: &Rendered) -> Vec<Value> {
    match rendered {
        Rendered::Bodies(bodies) => {
            assert!(!bodies.is_empty());
            bodies
                .iter()
                .map(|body| {
                    serde_json::from_slice::<Map<String, Value>>(&body.bytes).map(Value::Object).unwrap()
                })
                .collect()
        }
        Rendered::Skipped { reason } => {
            let known = ["no_z_api_counterpart", "unsupported_content", "empty_message", "bad_location"];
            assert!(known.contains(&reason.as_ref()), "{reason}");
            Vec::new()
        }
        Rendered::Invalid { message } => {
            assert!(message.len() < 120, "{message}");
            Vec::new()
        }
        Rendered::Fault { message } | Rendered::Later { message } => panic!("{message}"),
    }
}

fn any_kind() -> impl Strategy<Value = EventKind> {
    proptest::sample::select(EventKind::ALL.to_vec())
}

/// Any JSON, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_map(|number| serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z_@\"\\\\é]{0,8}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Objects that name the members the mapping reads, with right and wrong values behind them.
fn hub_object(members: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        6 => "[a-zA-Z0-9+ @.:/\\\\\"\n;é🙂-]{0,16}".prop_map(Value::from),
        2 => Just(json!("https://cdn.loja-exemplo.test/a.png")),
        2 => (-200.0..200.0_f64).prop_map(Value::from),
        2 => any::<bool>().prop_map(Value::from),
        1 => any_json(),
        2 => prop::collection::vec("[0-9+]{0,8}", 0..3).prop_map(Value::from),
    ];
    prop::collection::vec((proptest::sample::select(members), value), 0..members.len()).prop_map(|members| {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    })
}

const ITEM: &[&str] = &[
    "@class",
    "identifier",
    "message",
    "url",
    "caption",
    "mime_type",
    "seconds",
    "width",
    "height",
    "thumbnail_url",
    "view_once",
    "voice",
    "name",
    "extension",
    "file_name",
    "latitude",
    "longitude",
    "address",
    "reaction",
    "message_id",
    "id",
    "title",
    "description",
    "phones",
    "first_name",
    "last_name",
    "thumbnail",
    "buttons",
    "header",
    "footer",
    "template",
    "contacts",
    "internal_information",
    "state_items",
    "reply_to",
];
const KINDS: &[&str] = &[
    "TEXT",
    "IMAGE",
    "AUDIO",
    "VIDEO",
    "STICKER",
    "DOCUMENT",
    "CONTACT",
    "CONTACT_ARRAY",
    "LOCATION",
    "REACTION",
    "BUTTON_REPLY",
    "LIST_REPLY",
    "INTERACTIVE_BUTTON",
    "INTERACTIVE_ACTION",
    "TEMPLATE",
    "POLL",
    "",
];
const STATES: &[&str] = &["PENDING", "SENT", "DELIVERED", "READ", "PLAYED", "FAILED", "DELETED", "OTHER"];

fn any_item() -> impl Strategy<Value = Value> {
    let nested = prop::collection::vec(hub_object(ITEM), 0..3).prop_map(Value::from);
    let state = (proptest::sample::select(STATES), prop::collection::vec("[a-z]{0,3}", 0..3), any::<u32>()).prop_map(
        |(name, ids, moment)| json!({"moment": moment, "state": {"name": name}, "integration_message_ids": ids}),
    );
    (hub_object(ITEM), proptest::sample::select(KINDS), nested, prop::collection::vec(state, 0..3)).prop_map(
        |(mut item, kind, nested, states)| {
            item["type"] = kind.into();
            item["state_items"] = states.into();
            if kind.starts_with("INTERACTIVE") || kind == "TEMPLATE" {
                item["buttons"] = nested;
            } else if kind == "CONTACT_ARRAY" {
                item["contacts"] = nested;
            }
            item
        },
    )
}

fn any_message() -> impl Strategy<Value = Value> {
    (
        hub_object(&["forwarded", "from_api", "group", "chat", "chat_name"]),
        any::<bool>(),
        prop::collection::vec(any_item(), 0..3),
        prop::collection::vec(any_item(), 0..2),
        hub_object(&["name", "picture"]),
    )
        .prop_map(|(mut metadata, from_me, contents, attachments, mut party)| {
            metadata["from_me"] = from_me.into();
            metadata["moment"] = 1_790_000_061_543_u64.into();
            party["identifier"] = "5531977110099".into();
            json!({"message": {
                "_id": "m", "channel_id": "c", "metadata": metadata, "sender": party, "recipient": party,
                "contents": contents, "attachments": attachments,
            }})
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_object_renders_to_json_or_a_reason(
        kind in any_kind(),
        members in prop::collection::vec((".{0,8}", any_json()), 0..6),
        message in any_json(),
        wrapped in any::<bool>(),
    ) {
        let mut payload = Value::Object(members.into_iter().collect());
        if wrapped {
            payload["message"] = message.clone();
            payload["event"] = message;
        }
        let text = payload.to_string();
        let event = event(kind, &text, None);
        bodies(&render_z_api(&event));
        prop_assert_eq!(event.payload(), text.as_bytes(), "rendering wrote to the event");
    }

    #[test]
    fn messages_of_every_shape_render_to_json_or_a_reason(
        kind in any_kind(),
        payload in any_message(),
        phone in proptest::option::of("[0-9]{4,13}"),
    ) {
        let event = event(kind, &payload.to_string(), phone.as_deref());
        let rendered = render_z_api(&event);
        for body in bodies(&rendered) {
            prop_assert!(body["type"].is_string());
            prop_assert_eq!(&body["instanceId"], "c");
        }
        prop_assert_eq!(render_z_api(&event), rendered, "a retry renders the same bytes");
    }

    #[test]
    fn a_text_arrives_as_it_was_written(text in any::<String>(), name in "[^\\x00]{1,12}") {
        let payload = json!({"message": {
            "_id": "m", "metadata": {"from_me": false}, "sender": {"identifier": "5531977110099", "name": name},
            "contents": [{"type": "TEXT", "message": text}],
        }});
        let body = &bodies(&render_z_api(&event(EventKind::MessageReceived, &payload.to_string(), None)))[0];
        prop_assert_eq!(body["text"]["message"].as_str(), Some(text.as_str()));
        prop_assert_eq!(body["senderName"].as_str(), Some(name.as_str()));
    }

    /// Numbers of any size, lone surrogates, any whitespace: what serde_json takes, the renderer takes.
    #[test]
    fn whatever_is_accepted_is_read(
        number in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
        string in "([a-zé\u{1F642} ]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\u[dD][89abAB][0-9a-f]{2}){0,12}",
        space in "[ \\t\\r\\n]{0,70}",
    ) {
        let payload = format!(
            "{{\"x\":[{number}{space},\"{string}\"],{space}\"event\"{space}:{{\"identifier\":\"a\",\"{string}\":{number},\
             \"data\":{space}{{\"{string}\":{number}}}{space}}}}}"
        );
        let body = &bodies(&render_z_api(&event(EventKind::Block, &payload, None)))[0];
        prop_assert_eq!(&body["phone"], "a");
        let Rendered::Bodies(initial) = render_z_api(&event(EventKind::InitialData, &payload, None)) else {
            panic!("no body for {payload}");
        };
        let expected = format!("\"data\":{{\"{string}\":{number}}}}}");
        prop_assert!(initial[0].bytes.ends_with(expected.as_bytes()));
        let key = customer_identifier(payload.as_bytes());
        prop_assert_eq!(key.as_deref(), Some("a"));
    }

    #[test]
    fn bytes_that_are_no_json_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in any_kind()) {
        prop_assert!(parse_event(Bytes::from(bytes.clone())).is_err());
        prop_assert_eq!(connected_phone(&bytes), None);
        prop_assert_eq!(customer_identifier(&bytes), None);
        // An event whose record was damaged behind our back.
        let mut event = event(kind, "{}", None);
        event.payload = 0..bytes.len();
        event.envelope = Bytes::from(bytes);
        let is_invalid = matches!(render_z_api(&event), Rendered::Invalid { .. });
        prop_assert!(is_invalid);
    }

    /// One byte of a good event changed: an error or an event, never a panic.
    #[test]
    fn a_changed_byte_does_no_harm(payload in any_message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = format!(r#"{{"type":"MESSAGE_RECEIVED","channelId":"c","payload":{payload}}}"#).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(parsed) = parse_event(Bytes::from(bytes)) {
            let event = parsed.into_event(EventId::parse("e").unwrap(), None, 0);
            bodies(&render_z_api(&event));
        }
    }
}

#[test]
fn default_is_the_payload_byte_for_byte() {
    for payload in [
        "{}",
        "{ \"b\" : 1 ,\r\n\t\"a\": [ ] }",
        r#"{"a":1,"a":2,"a":{"b":null,"b":null}}"#,
        r#"{"n":18446744073709551616,"f":-19.91670000,"e":1E+400,"z":-0,"t":0.10}"#,
        r#"{"s":"\u00e9\/\ud83d\u007f🙂é","\u0061":"\ud800"}"#,
        "{\"message\":null,\"event\":[[[]]],\"\":\"\"}",
    ] {
        for kind in EventKind::ALL {
            let event = event(kind, &format!(" {payload}\n"), None);
            let Rendered::Bodies(bodies) = render_default(&event) else { panic!("no body") };
            assert_eq!(bodies.len(), 1);
            assert_eq!(bodies[0].bytes, payload.as_bytes());
            assert_eq!((&bodies[0].content_type, bodies[0].headers.len()), (&None, 0));
        }
    }
}

#[test]
fn only_the_built_in_formats_are_rendered_here() {
    let event = event(EventKind::Block, r#"{"event":{"identifier":"a"}}"#, None);
    let render = |name: &str| render_builtin(&FormatName::parse(name).unwrap(), &event);
    assert_eq!(render("DEFAULT"), Some(render_default(&event)));
    assert_eq!(render("Z_API"), Some(render_z_api(&event)));
    assert_eq!(render("CLOUDEVENTS"), None);
}
