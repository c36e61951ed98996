//! The ingest envelope: what is read, and what every refusal says.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions that are exempt")]

use bytes::Bytes;
use fanfare_core::event::EventKind;
use fanfare_core::limits::EVENT_BYTES_MAX;
use fanfare_core::{ChannelId, EventId};
use fanfare_render::{EventError, EventErrorKind, ParsedEvent, bare_event, parse_event};

const CHANNEL: &str = "0190F3A27C5B7E118D2A4C6B9E01F3D5";

fn parse(text: impl Into<Vec<u8>>) -> Result<ParsedEvent, EventError> {
    parse_event(Bytes::from(text.into()))
}

fn channel() -> ChannelId {
    ChannelId::parse(CHANNEL).unwrap()
}

/// The error text of an envelope with these members before a good payload.
fn refusal(members: &str) -> String {
    let text = format!(r#"{{{members},"payload":{{}}}}"#);
    parse(text).expect_err(members).to_string()
}

#[test]
fn every_member_is_read_and_the_payload_is_a_slice() {
    let payload = "{ \"a\" : [1, 2.50], \"a\":\"\\u00e9\" }";
    let text = format!(
        "\r\n {{\"id\":\"ev_1-A\", \"type\":\"BLOCK\", \"channelId\":\"c1\", \"extra\":[{{}}], \"payload\" :\t{payload} , \"key\":\"k\\u00e9y\", \"occurredAt\":1790000061543}} \n"
    );
    let bytes = Bytes::from(text);
    let event = parse_event(bytes.clone()).unwrap();
    assert_eq!(event.id, Some(EventId::parse("ev_1-A").unwrap()));
    assert_eq!(event.kind, EventKind::Block);
    assert_eq!(event.channel.as_str(), "c1");
    assert_eq!(event.key.as_deref(), Some("kéy"));
    assert_eq!(event.occurred_at_ms, Some(1_790_000_061_543));
    assert_eq!(event.payload(), payload.as_bytes());
    assert!(event.envelope.starts_with(b"{") && event.envelope.ends_with(b"}"), "whitespace is trimmed");
    assert!(bytes.as_ptr_range().contains(&event.payload().as_ptr()), "the payload was copied");
}

#[test]
fn optional_members_may_be_absent_or_null() {
    for text in [
        r#"{"type":"CONNECTED","channelId":"c","payload":{}}"#,
        r#"{"id":null,"type":"CONNECTED","channelId":"c","key":null,"occurredAt":null,"payload":{}}"#,
    ] {
        let event = parse(text).unwrap();
        assert_eq!((event.id, event.key, event.occurred_at_ms), (None, None, None));
    }
}

#[test]
fn all_eight_kinds_are_events_and_the_two_combined_are_not() {
    for kind in EventKind::ALL {
        let text = format!(r#"{{"type":"{}","channelId":"c","payload":{{}}}}"#, kind.name());
        assert_eq!(parse(text).unwrap().kind, kind);
    }
    for name in ["RECEIVED_STATUS", "RECEIVED_AND_DELIVERY"] {
        let text = refusal(&format!(r#""type":"{name}","channelId":"c""#));
        assert_eq!(
            text,
            format!(
                "type {name} is a subscription, not an event; it must be one of MESSAGE_RECEIVED, MESSAGE_DELIVERY, \
                 MESSAGE_STATUS, CONNECTED, DISCONNECTED, PRESENCE_CHAT, INITIAL_DATA, BLOCK"
            )
        );
    }
}

#[test]
fn an_unknown_type_is_named_cut_and_quoted() {
    let text = refusal(&format!(r#""type":"{}\n","channelId":"c""#, "é".repeat(70)));
    let expected = format!("type \"{}\" is unknown; it must be one of MESSAGE_RECEIVED, ", "é".repeat(64));
    assert!(text.starts_with(&expected), "{text}");
    let text = refusal(r#""type":"a\nb\u0007","channelId":"c""#);
    assert!(text.starts_with(r#"type "a\nb\u{7}" is unknown"#), "no control characters in an error: {text}");
}

#[test]
fn refusals_name_the_member_and_the_rule() {
    let id_rule = "must be 1 to 64 characters of A-Z a-z 0-9 _ -";
    let cases = [
        (r#""channelId":"c""#, "type is required".to_owned()),
        (r#""type":null,"channelId":"c""#, "type is required".to_owned()),
        (r#""type":7,"channelId":"c""#, "type must be a string".to_owned()),
        (r#""type":"BLOCK""#, "channelId is required".to_owned()),
        (r#""type":"BLOCK","channelId":["c"]"#, "channelId must be a string".to_owned()),
        (r#""type":"BLOCK","channelId":"a b""#, format!("channelId {id_rule}")),
        (r#""type":"BLOCK","channelId":"""#, format!("channelId {id_rule}")),
        (r#""type":"BLOCK","channelId":"c","id":"a.b""#, format!("id {id_rule}")),
        (r#""type":"BLOCK","channelId":"c","id":12"#, "id must be a string".to_owned()),
        (r#""type":"BLOCK","channelId":"c","key":{}"#, "key must be a string".to_owned()),
        (r#""type":"BLOCK","channelId":"c","id":"a","id":null"#, "id is given twice".to_owned()),
        (r#""type":"BLOCK","channelId":"c","payload":{}"#, "payload is given twice".to_owned()),
        (r#""type":"BLOCK","channelId":"c","\u0074ype":"BLOCK""#, "type is given twice".to_owned()),
    ];
    for (members, expected) in cases {
        assert_eq!(refusal(members), expected, "{members}");
    }
    let id = "z".repeat(65);
    assert_eq!(refusal(&format!(r#""type":"BLOCK","channelId":"c","id":"{id}""#)), format!("id {id_rule}"));
}

#[test]
fn occurred_at_is_a_whole_number_of_milliseconds() {
    for bad in ["1.0", "1e3", "-1", "\"1790000061543\"", "true", "18446744073709551616", "{}"] {
        assert_eq!(
            refusal(&format!(r#""type":"BLOCK","channelId":"c","occurredAt":{bad}"#)),
            "occurredAt must be an integer (Unix milliseconds)",
            "{bad}"
        );
    }
    let text = r#"{"type":"BLOCK","channelId":"c","payload":{},"occurredAt":18446744073709551615}"#;
    assert_eq!(parse(text).unwrap().occurred_at_ms, Some(u64::MAX));
}

#[test]
fn a_key_holds_256_bytes() {
    let with_key =
        |key: String| parse(format!(r#"{{"type":"BLOCK","channelId":"c","key":"{key}","payload":{{}}}}"#));
    assert_eq!(with_key("é".repeat(128)).unwrap().key.unwrap().len(), 256);
    assert_eq!(with_key("k".repeat(257)).unwrap_err().to_string(), "key of 257 bytes exceeds 256");
}

#[test]
fn the_payload_must_be_an_object() {
    for (payload, expected) in [
        ("", "payload is required"),
        (r#","payload":null"#, "payload is required"),
        (r#","payload":[]"#, "payload must be a JSON object"),
        (r#","payload":"{}""#, "payload must be a JSON object"),
        (r#","payload":7"#, "payload must be a JSON object"),
    ] {
        let text = format!(r#"{{"type":"BLOCK","channelId":"c"{payload}}}"#);
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{payload}");
    }
}

#[test]
fn broken_text_is_told_by_place_and_never_quoted() {
    let good = r#"{"type":"BLOCK","channelId":"c","payload":{"secret":"hunter2"#;
    let error = parse(good).unwrap_err();
    assert_eq!(error.to_string(), "not valid JSON: EOF while parsing a string at line 1 column 60");
    assert_eq!(error.kind(), EventErrorKind::Syntax);
    for bad in [
        r#"{"type":"BLOCK","channelId":"c","payload":{"secret":hunter2}}"#,
        r#"{"type":"BLOCK","channelId":"c","payload":{}} "hunter2""#,
        r#"{"type":"BLOCK","channelId":"c","payload":{},"x":hunter2}"#,
        r#"{"type":"BLOCK","channelId":"c","payload":{"a":01,"s":"hunter2"}}"#,
        "\"hunter2",
    ] {
        let error = parse(bad).unwrap_err();
        assert_eq!(error.kind(), EventErrorKind::Syntax, "{bad}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn other_json_values_are_not_events() {
    for text in ["[]", "7", "null", "\"x\"", "[{}]"] {
        assert_eq!(parse(text).unwrap_err(), EventError::NotAnObject, "{text}");
    }
    assert_eq!(parse("").unwrap_err().kind(), EventErrorKind::Empty);
    assert_eq!(parse(" \r\n\t").unwrap_err().kind(), EventErrorKind::Empty);
}

#[test]
fn bytes_that_are_not_utf8_are_refused_wherever_they_stand() {
    // In the payload, in a member nobody reads, in a name.
    for (before, after) in [
        (r#"{"type":"BLOCK","channelId":"c","payload":{"a":""#, r#""}}"#),
        (r#"{"type":"BLOCK","channelId":"c","payload":{},"x":""#, r#""}"#),
        (r#"{"type":"BLOCK","channelId":"c","payload":{},""#, r#"":1}"#),
    ] {
        let text = [before.as_bytes(), b"\xC3\x28", after.as_bytes()].concat();
        assert_eq!(parse(text).unwrap_err(), EventError::Utf8 { offset: before.len() });
    }
}

#[test]
fn depth_is_bounded_without_using_the_stack() {
    let nested = |levels: usize| {
        format!(
            r#"{{"type":"BLOCK","channelId":"c","payload":{{"a":{}{}}}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert!(parse(nested(126)).is_ok(), "128 levels with the envelope and the payload");
    for levels in [127, 100_000] {
        let error = parse(nested(levels)).unwrap_err();
        assert_eq!(error.to_string(), "event nests deeper than 128 levels");
    }
    // Neither brackets within strings nor many side by side are depth.
    let flat = format!(
        r#"{{"type":"BLOCK","channelId":"c","payload":{{"a":"\"{}","b":[{}0]}}}}"#,
        "[{".repeat(500),
        "[],".repeat(500)
    );
    assert!(parse(flat).is_ok());
    // An unclosed pit is an error of some kind, too.
    assert!(parse("[".repeat(100_000)).is_err());
}

#[test]
fn an_event_holds_one_mebibyte() {
    let of_len = |len: usize| {
        let frame = r#"{"type":"BLOCK","channelId":"c","payload":{"a":""}}"#;
        frame.replace(r#""a":"""#, &format!(r#""a":"{}""#, "x".repeat(len - frame.len())))
    };
    let whitespace = " ".repeat(64);
    assert!(parse(format!("{whitespace}{}{whitespace}", of_len(EVENT_BYTES_MAX))).is_ok());
    let error = parse(of_len(EVENT_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.to_string(), "event of 1048577 bytes exceeds 1048576");
    assert_eq!(error.kind(), EventErrorKind::TooLarge);
}

#[test]
fn a_bare_body_gets_an_envelope_and_keeps_its_bytes() {
    let payload = "{ \"messageEventType\":\"BLOCK\",\"event\":{\"n\":1.50} }";
    let id = Some(EventId::parse("order-8841").unwrap());
    let event = bare_event(channel(), EventKind::Block, id, Bytes::from(format!("\n{payload}\n"))).unwrap();
    assert_eq!(event.payload(), payload.as_bytes());
    assert_eq!(
        event.envelope,
        format!(r#"{{"id":"order-8841","type":"BLOCK","channelId":"{CHANNEL}","payload":{payload}}}"#)
            .as_bytes()
    );
    let again = parse_event(event.envelope.clone()).unwrap();
    assert_eq!((again.id, again.kind, again.payload), (event.id, event.kind, event.payload));

    let event = bare_event(channel(), EventKind::Block, None, Bytes::from_static(b"{}")).unwrap();
    assert_eq!(event.id, None);
    assert_eq!(parse_event(event.envelope).unwrap().id, None);
}

#[test]
fn a_bare_body_cannot_bring_members_of_its_own() {
    for body in [r#"{},"key":"x""#, r#"{}},{"a":{"#, r#"{} {}"#] {
        let error = bare_event(channel(), EventKind::Block, None, Bytes::from_static(body.as_bytes()));
        assert_eq!(error.unwrap_err().kind(), EventErrorKind::Syntax, "{body}");
    }
    for (body, expected) in [
        ("", "payload is required"),
        ("  ", "payload is required"),
        ("[]", "payload must be a JSON object"),
        ("null", "payload must be a JSON object"),
    ] {
        let error = bare_event(channel(), EventKind::Block, None, Bytes::from_static(body.as_bytes()));
        assert_eq!(error.unwrap_err().to_string(), expected, "{body:?}");
    }
}

#[test]
fn a_bare_body_counts_with_its_envelope() {
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(EVENT_BYTES_MAX - 8));
    assert_eq!(body.len(), EVENT_BYTES_MAX);
    let error = bare_event(channel(), EventKind::Block, None, Bytes::from(body)).unwrap_err();
    assert_eq!(error.kind(), EventErrorKind::TooLarge);
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    let error = bare_event(channel(), EventKind::Block, None, Bytes::from(deep)).unwrap_err();
    assert_eq!(error, EventError::TooDeep);
}
