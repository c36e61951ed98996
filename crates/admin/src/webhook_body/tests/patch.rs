//! What a PATCH changes and leaves.

use super::*;

#[test]
fn an_empty_patch_changes_nothing() {
    assert_eq!(patched("{}"), stored());
    assert_eq!(patched(r#"{"unknown":1,"id":"x","delivery":{}}"#), stored());
    assert_eq!(patch("{}").unwrap().signing(), SigningChange::Keep);
}

#[test]
fn a_patch_changes_what_it_names() {
    let webhook = patched(
        r#"{"url":"https://new.test/","description":"new","events":["CONNECTED"],"auth":{"type":"NONE"},
            "payloadFormat":"Z_API","customAttributes":{"b":2}}"#,
    );
    assert_eq!(
        webhook,
        Webhook {
            url: "https://new.test/".into(),
            description: Some("new".into()),
            events: vec![Subscription::Kind(EventKind::Connected)],
            auth: Auth::None,
            payload_format: FormatName::parse("Z_API").unwrap(),
            custom_attributes: r#"{"b":2}"#.into(),
            ..stored()
        }
    );
}

#[test]
fn null_clears_where_the_table_says_so() {
    assert_eq!(patched(r#"{"description":null}"#).description, None);
    assert_eq!(patched(r#"{"customAttributes":null}"#).custom_attributes, "{}");
    assert_eq!(patched(r#"{"delivery":null}"#).delivery, DeliverySettings::default());
    for (body, text) in [
        (r#"{"url":null}"#, "url must be a string"),
        (r#"{"events":null}"#, "events must be an array of strings"),
        (r#"{"status":null}"#, "status must be ENABLED or DISABLED"),
        (r#"{"signing":null}"#, "signing must be a boolean"),
        (r#"{"auth":null}"#, "auth must be an object"),
        (r#"{"payloadFormat":null}"#, "payloadFormat must be a string"),
    ] {
        assert_eq!(refused(patch(body)), text, "{body}");
    }
}

#[test]
fn status_enabled_forgets_why_the_engine_disabled_it() {
    let enabled = patched(r#"{"status":"ENABLED"}"#);
    assert_eq!((enabled.status, enabled.disabled_reason), (WebhookStatus::Enabled, None));
    let disabled = patched(r#"{"status":"DISABLED"}"#);
    assert_eq!(disabled, stored());
    for value in ["\"enabled\"", "true", "7"] {
        let body = format!("{{\"status\":{value}}}");
        assert_eq!(refused(patch(&body)), "status must be ENABLED or DISABLED", "{body}");
    }
}

#[test]
fn signing_true_always_rotates() {
    let range = "secretOverlapSeconds must be an integer from 0 to 604800";
    let alone = "secretOverlapSeconds needs signing true in the same call";
    for (body, expected) in [
        (r#"{"signing":true}"#, Ok(SigningChange::Rotate { overlap_seconds: 0 })),
        (
            r#"{"signing":true,"secretOverlapSeconds":604800}"#,
            Ok(SigningChange::Rotate { overlap_seconds: 604_800 }),
        ),
        (r#"{"signing":false}"#, Ok(SigningChange::Off)),
        (r#"{"signing":true,"secretOverlapSeconds":604801}"#, Err(range)),
        (r#"{"signing":true,"secretOverlapSeconds":-1}"#, Err(range)),
        (r#"{"signing":true,"secretOverlapSeconds":null}"#, Err(range)),
        (r#"{"signing":false,"secretOverlapSeconds":5}"#, Err(alone)),
        (r#"{"secretOverlapSeconds":5}"#, Err(alone)),
    ] {
        let got = patch(body).map(|patch| patch.signing()).map_err(|Invalid(text)| text);
        assert_eq!(got, expected.map_err(str::to_owned), "{body}");
    }
}
