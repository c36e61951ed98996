use super::*;
use fanfare_plugin::testing::{self, Outcome};
use serde_json::{Value, json};

fn render(event: &Value, settings: &Value) -> Outcome {
    testing::render::<WhatsappCloud>(event.to_string().as_bytes(), &settings.to_string()).expect("no fault")
}

fn body(event: &Value, settings: &Value) -> Value {
    match render(event, settings) {
        Outcome::Bodies(bodies) if bodies.len() == 1 => bodies[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn text(from_me: bool) -> Value {
    let (customer, business) = ("5531977110099", "5521988110022");
    let (sender, recipient) = if from_me { (business, customer) } else { (customer, business) };
    json!({"id": "E", "type": "MESSAGE_RECEIVED", "channelId": "c", "payload": {"message": {
        "_id": "M", "created": 1_790_000_061_543_u64, "metadata": {"from_me": from_me},
        "sender": {"identifier": sender, "name": "Marina Prado"}, "recipient": {"identifier": recipient},
        "contents": [{"type": "TEXT", "message": "Oi"}],
    }}})
}

#[test]
fn vectors_give_what_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let count = testing::vectors::<WhatsappCloud>(folder, "{}").expect("every vector");
    assert!(count >= 90, "{count} vectors");
}

#[test]
fn a_text_is_what_meta_sends() {
    let expected = json!({"object": "whatsapp_business_account", "entry": [{"id": "c", "changes": [{
        "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "5521988110022", "phone_number_id": "c"},
            "contacts": [{"profile": {"name": "Marina Prado"}, "wa_id": "5531977110099"}],
            "messages": [{"from": "5531977110099", "id": "M", "timestamp": "1790000061", "type": "text",
                          "text": {"body": "Oi"}}],
        },
        "field": "messages",
    }]}]});
    assert_eq!(body(&text(false), &json!({})), expected);
}

#[test]
fn half_an_emoji_is_no_reason_to_lose_a_message() {
    let event = text(false).to_string().replace(r#""Oi""#, r#""Oi \ud83d""#);
    let given = testing::render::<WhatsappCloud>(event.as_bytes(), "{}").expect("no fault");
    let Outcome::Bodies(bodies) = given else { panic!("{given:?}") };
    assert_eq!(bodies[0]["entry"][0]["changes"][0]["value"]["messages"][0]["text"]["body"], "Oi \u{fffd}");
}

#[test]
fn numbers_of_the_settings_come_before_those_of_the_event() {
    let settings = json!({"businessAccountId": "A", "channels": {
        "c": {"phoneNumberId": "P", "displayPhoneNumber": "15550001"}, "d": {"businessAccountId": "D"}}});
    let given = body(&text(false), &settings);
    assert_eq!(given["entry"][0]["id"], "A");
    let metadata = &given["entry"][0]["changes"][0]["value"]["metadata"];
    assert_eq!(*metadata, json!({"display_phone_number": "15550001", "phone_number_id": "P"}));
    let mut of_d = text(false);
    of_d["channelId"] = "d".into();
    assert_eq!(body(&of_d, &settings)["entry"][0]["id"], "D");
}

#[test]
fn what_the_business_sent_is_skipped_or_an_echo() {
    assert_eq!(render(&text(true), &json!({})), Outcome::Skip("sent_by_the_business".into()));
    let change = &body(&text(true), &json!({"echoes": true}))["entry"][0]["changes"][0];
    assert_eq!(change["field"], "smb_message_echoes");
    assert_eq!(change["value"].get("contacts"), None);
    let expected = json!([{"from": "5521988110022", "to": "5531977110099", "id": "M", "timestamp": "1790000061",
                           "type": "text", "text": {"body": "Oi"}}]);
    assert_eq!(change["value"]["message_echoes"], expected);
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    let refused = |settings: &str| WhatsappCloud::configure(settings).map(|_| ()).expect_err("refused");
    assert!(refused(r#"{"echoes":1}"#).contains("expected a boolean"));
    assert!(refused(r#"{"chanels":{}}"#).starts_with("unknown field `chanels`"));
    assert!(refused(r#"{"channels":{"c":{"phone":"1"}}}"#).starts_with("unknown field `phone`"));
}

#[test]
fn every_truncation_is_invalid_and_no_panic() {
    let whole = text(false).to_string();
    for at in 0..whole.len() {
        let given = testing::render::<WhatsappCloud>(&whole.as_bytes()[..at], "{}");
        assert!(matches!(given, Ok(Outcome::Invalid(_))), "{at}: {given:?}");
    }
}
