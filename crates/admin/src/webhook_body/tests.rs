//! Every member × good and bad, with the exact texts.

mod credential;
mod delivery;
mod patch;

use super::*;
use fanfare_core::event::EventKind;
use fanfare_core::webhook::{Ordering, Protocol, RateLimit, Signing};
use fanfare_core::{ChannelId, Secret, WebhookId, WebhookNo};

fn rules(allow_http: bool) -> Rules<'static> {
    Rules {
        check_url: &|url| {
            if url.contains("nowhere") { Err("url has no host".into()) } else { Ok(()) }
        },
        allow_http,
        formats: ["DEFAULT", "Z_API", "CLOUDEVENTS"].map(|name| FormatName::parse(name).unwrap()).to_vec(),
        hub_signature_name: "X-Acme-Signature",
    }
}

fn create(body: &str) -> Result<NewWebhook, Invalid> {
    new_webhook(body.as_bytes(), &rules(false))
}

/// A create that is good but for what `members` adds.
fn with(members: &str) -> Result<NewWebhook, Invalid> {
    create(&format!(r#"{{"url":"https://r.test/in","events":["CONNECTED"],{members}}}"#))
}

fn patch(body: &str) -> Result<WebhookPatch, Invalid> {
    WebhookPatch::read(body.as_bytes(), &rules(false))
}

fn refused<T>(result: Result<T, Invalid>) -> String {
    result.err().expect("the body should be refused").0
}

/// The same members break the same rules on create and on PATCH.
fn both_refuse(members: &str, text: &str) {
    assert_eq!(refused(with(members)), text, "create: {members}");
    assert_eq!(refused(patch(&format!("{{{members}}}"))), text, "patch: {members}");
}

fn stored() -> Webhook {
    Webhook {
        no: WebhookNo(1),
        id: WebhookId(7),
        channel: ChannelId::parse("c1").unwrap(),
        url: "https://old.test/".into(),
        description: Some("old".into()),
        events: vec![Subscription::Kind(EventKind::Block)],
        status: WebhookStatus::Disabled,
        disabled_reason: Some("gone".into()),
        is_given_up: true,
        failing_since_ms: None,
        signing: Some(Signing { current: fanfare_core::secret::SigningSecret([1; 32]), previous: None }),
        auth: Auth::Bearer { token: Secret::new("old") },
        payload_format: FormatName::default(),
        custom_attributes: r#"{"a":1}"#.into(),
        delivery: DeliverySettings {
            timeout_ms: Some(2000),
            max_in_flight: Some(4),
            rate_limit: Some(RateLimit { per_second: 5.0, burst: 9 }),
            ordering: Some(Ordering::Key),
            retry_schedule_seconds: Some(vec![1, 2]),
            retry_max_age_seconds: Some(60),
            protocol: Some(Protocol::Http1),
        },
        created_at_ms: 1,
        updated_at_ms: 2,
    }
}

fn patched(body: &str) -> Webhook {
    let mut webhook = stored();
    patch(body).unwrap().apply(&mut webhook);
    webhook
}

const TEN: &str = "MESSAGE_RECEIVED, MESSAGE_DELIVERY, MESSAGE_STATUS, RECEIVED_STATUS, \
                   RECEIVED_AND_DELIVERY, CONNECTED, DISCONNECTED, PRESENCE_CHAT, INITIAL_DATA, BLOCK";

#[test]
fn the_least_create_takes_every_default() {
    let new = create(r#"{"url":"https://r.test/in","events":["CONNECTED"]}"#).unwrap();
    assert_eq!(new.url, "https://r.test/in");
    assert_eq!(new.events, [Subscription::Kind(EventKind::Connected)]);
    assert_eq!(new.description, None);
    assert!(!new.signing);
    assert_eq!(new.auth, Auth::None);
    assert_eq!(new.payload_format.as_str(), "DEFAULT");
    assert_eq!(new.custom_attributes, "{}");
    assert_eq!(new.delivery, DeliverySettings::default());
}

#[test]
fn url_and_events_are_required_on_create() {
    for (body, text) in [
        ("{}", "url is required"),
        (r#"{"events":["BLOCK"]}"#, "url is required"),
        (r#"{"url":"https://r.test"}"#, "events is required"),
        (r#"{"url":"https://r.test","events":["BLOCK"],"url":"x"}"#, "url is given twice"),
    ] {
        assert_eq!(refused(create(body)), text, "{body}");
    }
}

#[test]
fn urls() {
    let url = |url: &str| create(&format!(r#"{{"url":{url},"events":["BLOCK"]}}"#));
    let long = format!("\"https://r.test/{}\"", "a".repeat(2034));
    let longest = format!("\"https://r.test/{}\"", "a".repeat(2033));
    assert_eq!(url(&longest).unwrap().url.len(), 2048);
    assert!(url("\"HTTPS://r.test\"").is_ok());
    for (value, text) in [
        ("null", "url must be a string"),
        ("7", "url must be a string"),
        ("{}", "url must be a string"),
        (r#""\ud800""#, "url is not valid Unicode text"),
        ("\"http://r.test\"", "url must begin with https://"),
        ("\"ftp://r.test\"", "url must begin with https://"),
        ("\"\"", "url must begin with https://"),
        ("\"https://nowhere\"", "url has no host"),
        (&long, "url of 2049 characters exceeds 2048"),
    ] {
        assert_eq!(refused(url(value)), text, "{value}");
        assert_eq!(refused(patch(&format!("{{\"url\":{value}}}"))), text, "{value}");
    }
}

#[test]
fn http_is_taken_only_where_it_is_allowed() {
    let body = br#"{"url":"http://127.0.0.1:9000/","events":["BLOCK"]}"#;
    assert!(new_webhook(body, &rules(true)).is_ok());
    assert_eq!(refused(new_webhook(body, &rules(false))), "url must begin with https://");
}

#[test]
fn events_are_of_the_ten_and_folded() {
    let events = |events: &str| {
        create(&format!(r#"{{"url":"https://r.test","events":{events}}}"#)).map(|new| new.events)
    };
    let (block, both) = (Subscription::Kind(EventKind::Block), Subscription::ReceivedStatus);
    assert_eq!(events(r#"["BLOCK","RECEIVED_STATUS","BLOCK"]"#), Ok(vec![block, both]));
    let ten = format!("[\"{}\"]", TEN.replace(", ", "\",\""));
    assert_eq!(events(&ten).unwrap().len(), 10);

    let shape = "events must be an array of strings";
    for (value, text) in [
        ("null", shape),
        ("\"BLOCK\"", shape),
        ("[1]", shape),
        ("[null]", shape),
        ("[]", "events must name at least one event"),
        (r#"["BLOCK","block"]"#, &*format!("unknown event `block`: known are {TEN}")),
    ] {
        assert_eq!(refused(events(value)), text, "{value}");
        assert_eq!(refused(patch(&format!("{{\"events\":{value}}}"))), text, "{value}");
    }
    let long = refused(events(&format!("[\"{}\"]", "x".repeat(1000))));
    assert!(long.starts_with(&format!("unknown event `{}`:", "x".repeat(64))), "{long}");
}

#[test]
fn descriptions() {
    let (long, longest) = ("é".repeat(256), "é".repeat(255));
    assert_eq!(with(r#""description":null"#).unwrap().description, None);
    assert_eq!(with(r#""description":"""#).unwrap().description, Some(String::new()));
    assert_eq!(with(&format!(r#""description":"{longest}""#)).unwrap().description, Some(longest));
    both_refuse(r#""description":7"#, "description must be a string");
    both_refuse(&format!(r#""description":"{long}""#), "description of 256 characters exceeds 255");
}

#[test]
fn signing_is_a_boolean() {
    assert!(with(r#""signing":true"#).unwrap().signing);
    assert!(!with(r#""signing":false"#).unwrap().signing);
    for value in ["null", "1", "\"true\""] {
        both_refuse(&format!("\"signing\":{value}"), "signing must be a boolean");
    }
}

#[test]
fn formats_are_the_known_ones() {
    for name in ["DEFAULT", "Z_API", "CLOUDEVENTS"] {
        assert_eq!(with(&format!(r#""payloadFormat":"{name}""#)).unwrap().payload_format.as_str(), name);
    }
    both_refuse(
        r#""payloadFormat":"z_api""#,
        "unknown payloadFormat `z_api`: known are DEFAULT, Z_API, CLOUDEVENTS",
    );
    both_refuse(r#""payloadFormat":null"#, "payloadFormat must be a string");
}

#[test]
fn custom_attributes_stay_as_given() {
    let given =
        |object: &str| with(&format!("\"customAttributes\":{object}")).map(|new| new.custom_attributes);
    assert_eq!(
        given("{ \"b\" : 1.50, \"a\" : [ null, 12345678901234567890123 ], \"c\": \" x \\\" \" }").unwrap(),
        r#"{"b":1.50,"a":[null,12345678901234567890123],"c":" x \" "}"#
    );
    let object = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    assert_eq!(given(&object(16_384)).unwrap().len(), 16_384);
    // White space between tokens does not count.
    assert!(given(&object(16_384).replace("{", &format!("{{{}", " ".repeat(99)))).is_ok());
    both_refuse(
        &format!("\"customAttributes\":{}", object(16_385)),
        "customAttributes of 16385 bytes exceeds 16384",
    );
    for value in ["[]", "7", "\"{}\""] {
        both_refuse(&format!("\"customAttributes\":{value}"), "customAttributes must be an object");
    }
    assert_eq!(refused(with(r#""customAttributes":null"#)), "customAttributes must be an object");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for value in [&deep, r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#] {
        let text = refused(given(value));
        assert!(text.starts_with("customAttributes cannot be read back: "), "{text}");
    }
}
