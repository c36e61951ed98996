use super::*;
use fanfare_core::delivery::Body;
use fanfare_core::secret::Secret;
use fanfare_core::webhook::Protocol;
use std::sync::Arc;

fn destination(headers: &[(&str, &str)], hub_signature_name: Option<&str>) -> Destination {
    Destination {
        url: "https://example.com/".to_owned(),
        protocol: Protocol::Auto,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect(),
        hub_signature_name: hub_signature_name.map(ToOwned::to_owned),
    }
}

fn attempt() -> AttemptRequest {
    AttemptRequest {
        delivery_id: Bytes::from_static(b"e1-w1"),
        timestamp_s: 1_700_000_000,
        event_name: "CONNECTED",
        attempt_number: 12,
        hub_signature: Some(Bytes::from_static(b"sha256=00")),
        standard_signature: Some(Bytes::from_static(b"v1,AA==")),
        body: Body::json(Bytes::from_static(b"{}")),
    }
}

fn template(destination: &Destination) -> Template {
    let agent = HeaderValue::from_static("fanfare/test");
    let constant = ConstantHeaders::parse(destination, &agent).unwrap();
    Template::new(&constant, Uri::from_static("/x"), Version::HTTP_11, Some(HeaderValue::from_static("h:1")))
}

fn made(template: &Template, attempt: AttemptRequest) -> Result<Request<Full<Bytes>>, String> {
    template.request(attempt, HeaderMap::new())
}

fn lines(request: &Request<Full<Bytes>>) -> Vec<String> {
    let mut lines: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_signed_request_carries_every_header_once() {
    let template = template(&destination(
        &[("x-hub-channel", "c1"), ("x-hub-webhook", "w1"), ("authorization", "Bearer t")],
        Some("x-custom-signature"),
    ));
    let request = made(&template, attempt()).unwrap();
    assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "/x"));
    assert_eq!(
        lines(&request),
        [
            "authorization: Bearer t",
            "content-length: 2",
            "content-type: application/json",
            "host: h:1",
            "user-agent: fanfare/test",
            "webhook-id: e1-w1",
            "webhook-signature: v1,AA==",
            "webhook-timestamp: 1700000000",
            "x-custom-signature: sha256=00",
            "x-hub-attempt: 12",
            "x-hub-channel: c1",
            "x-hub-event: CONNECTED",
            "x-hub-webhook: w1",
        ]
    );
}

#[test]
fn an_unsigned_request_carries_no_empty_signature() {
    let unsigned = AttemptRequest { hub_signature: None, standard_signature: None, ..attempt() };
    for name in [None, Some("x-hub-signature-256")] {
        let request = made(&template(&destination(&[], name)), unsigned.clone()).unwrap();
        assert!(!request.headers().contains_key("x-hub-signature-256"));
        assert!(!request.headers().contains_key("webhook-signature"));
        assert!(request.headers().values().all(|value| !value.is_empty()));
    }
}

#[test]
fn a_body_brings_its_type_and_headers() {
    let mut attempt = attempt();
    attempt.body.content_type = Some(Arc::from("application/cloudevents+json"));
    attempt.body.headers = vec![(Arc::from("ce-id"), Arc::from("1")), (Arc::from("ce-id"), Arc::from("2"))];
    let request = made(&template(&destination(&[], None)), attempt.clone()).unwrap();
    assert_eq!(request.headers().get("content-type").unwrap(), "application/cloudevents+json");
    assert_eq!(request.headers().get_all("ce-id").iter().count(), 2);
    for reserved in ["content-length", "Host", "transfer-encoding", "webhook-id", "user-agent"] {
        attempt.body.headers = vec![(Arc::from(reserved), Arc::from("1"))];
        let error = made(&template(&destination(&[], None)), attempt.clone()).unwrap_err();
        assert!(error.contains("set by the engine"), "{reserved}: {error}");
    }
}

#[test]
fn what_cannot_be_sent_is_an_error_without_the_value() {
    let agent = HeaderValue::from_static("fanfare/test");
    let error = |headers: &[(&str, &str)]| {
        ConstantHeaders::parse(&destination(headers, None), &agent).err().expect("not a good header")
    };
    assert_eq!(error(&[("bad name", "x")]), "\"bad name\" is not a header name");
    assert_eq!(
        error(&[("authorization", "hunter2\r\nx: y")]),
        "value of header authorization holds characters a header cannot carry"
    );
    assert_eq!(error(&[("Transfer-Encoding", "chunked")]), "header transfer-encoding is set by the engine");
    for name in ["User-Agent", "content-type", "X-Hub-Event", "Host", "Content-Length", "webhook-signature"] {
        let expected = format!("header {} is set by the engine", name.to_lowercase());
        assert_eq!(error(&[(name, "x")]), expected);
    }
    assert_eq!(error(&[("x-shop", "a"), ("X-Shop", "b")]), "header x-shop is given twice");
    let named = destination(&[], Some("webhook-id"));
    let refused = ConstantHeaders::parse(&named, &agent).err();
    assert_eq!(refused.as_deref(), Some("signature header cannot be named webhook-id"));
    let bad_id = AttemptRequest { delivery_id: Bytes::from_static(b"a\nb"), ..attempt() };
    let error = made(&template(&destination(&[], None)), bad_id).unwrap_err();
    assert_eq!(error, "value of header webhook-id cannot be sent");
}

#[test]
fn given_headers_do_not_print() {
    let request = made(&template(&destination(&[("authorization", "hunter2")], None)), attempt()).unwrap();
    assert!(!format!("{request:?}").contains("hunter2"));
}

#[test]
fn the_timestamp_follows_the_attempt() {
    let template = template(&destination(&[], None));
    for timestamp_s in [0, 5, 5, 6, 5] {
        let request = made(&template, AttemptRequest { timestamp_s, ..attempt() }).unwrap();
        assert_eq!(request.headers().get("webhook-timestamp").unwrap(), &timestamp_s.to_string());
    }
}
