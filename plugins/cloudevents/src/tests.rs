use super::*;
use fanfare_plugin::testing::{self, Outcome};
use serde_json::Value;

fn render(event: &str, settings: &str) -> Value {
    match testing::render::<CloudEvents>(event.as_bytes(), settings) {
        Ok(Outcome::Bodies(bodies)) if bodies.len() == 1 => bodies[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn vectors_give_what_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let count = testing::vectors::<CloudEvents>(folder, "{}").expect("every vector");
    assert!(count >= 19, "{count} vectors");
}

#[test]
fn the_payload_keeps_its_bytes() {
    let payload = r#"{ "z" : 1.0, "a":12345678901234567890123,"a":"\u00fc\/" }"#;
    let text = format!(r#"{{"id":"E","type":"BLOCK","channelId":"c","payload":{payload}}}"#);
    let event = Event::parse(text.as_bytes()).expect("an event");
    let bodies = CloudEvents::configure("{}").and_then(|f| f.render(&event).map_err(|e| format!("{e:?}")));
    let body = String::from_utf8(bodies.expect("renders").0.remove(0).bytes).expect("text");
    assert!(body.ends_with(&format!(r#","data":{payload}}}"#)), "{body}");
}

#[test]
fn prefixes_are_the_operators() {
    let settings = r#"{"sourcePrefix":"https://hub.example/channels/","typePrefix":"br.com.loja."}"#;
    let body = render(r#"{"id":"E","type":"PRESENCE_CHAT","channelId":"c","payload":{}}"#, settings);
    assert_eq!(body["source"], "https://hub.example/channels/c");
    assert_eq!(body["type"], "br.com.loja.presence_chat");
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    let refused = |settings: &str| CloudEvents::configure(settings).expect_err("refused");
    assert_eq!(refused(r#"{"sourcePrefix":""}"#), "sourcePrefix of 0 characters: 1 to 256 are allowed");
    assert_eq!(refused(r#"{"sourcePrefix":"a<b"}"#), "sourcePrefix may not hold '<'");
    let blank = "may hold neither blanks, nor control characters, nor letters beyond ASCII";
    assert_eq!(refused(r#"{"typePrefix":"a b"}"#), format!("typePrefix {blank}"));
    assert_eq!(refused(r#"{"typePrefix":"a/b"}"#), "typePrefix may not hold '/'");
    assert!(refused(r#"{"x":1}"#).starts_with("unknown field `x`"));
}

#[test]
fn an_event_without_id_gets_the_same_one_each_time() {
    let event = |more: &str| format!(r#"{{"type":"BLOCK","channelId":"c","payload":{{}}{more}}}"#);
    let id = |text: String| render(&text, "{}")["id"].as_str().expect("a string").to_owned();
    assert_eq!(id(event("")), id(event("")));
    assert_ne!(id(event("")), id(event(" ")));
    assert_eq!(id(event("")).len(), 32);
}
