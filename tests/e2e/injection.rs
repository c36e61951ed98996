//! Credentials and header names that would bring lines of their own into a request, or take the place of the engine's.

use crate::{CHANNEL, header, path, receiver, webhook};
use fanfare_tests::{Node, NodeOptions, events};
use serde_json::{Value, json};

const WEBHOOKS: &str = "/v1/channels/c1/webhooks";
const SIGNATURE_NAME: &str = "X-Shop-Signature";

/// Each kind of auth with one of its fields set to `value`, and that field's name.
fn with_credential(value: &str) -> [(&'static str, Value); 5] {
    [
        ("token", json!({"type": "BEARER", "token": value})),
        ("key", json!({"type": "API_KEY", "key": value})),
        ("headerValue", json!({"type": "CUSTOM_HEADER", "headerName": "X-Shop", "headerValue": value})),
        ("username", json!({"type": "BASIC", "username": value, "password": "pass-7Qk2"})),
        ("password", json!({"type": "BASIC", "username": "user-7Qk2", "password": value})),
    ]
}

/// Everything of ours, of the connection's, and of the body's framing.
const NAMES: [&str; 36] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "webhook-anything",
    "x-hub-event",
    "x-hub-channel",
    "x-hub-webhook",
    "x-hub-attempt",
    "x-hub-signature-256",
    "x-hub-anything",
    "x-shop-signature",
    "user-agent",
    "content-type",
    "content-length",
    "content-encoding",
    "content-range",
    "transfer-encoding",
    "te",
    "trailer",
    "connection",
    "keep-alive",
    "upgrade",
    "host",
    "expect",
    "http2-settings",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    // No header names at all.
    "",
    " x-shop",
    "x-shop ",
    "x shop",
    "x-shop:",
    ":authority",
    "x-shop\r\nx-evil",
    "x-sh\u{f6}p",
];

/// The same name in other letters.
fn cases(name: &str) -> [String; 3] {
    let mut is_upper = true;
    let mixed = name.chars().map(|char| {
        is_upper = !is_upper;
        if is_upper { char.to_ascii_uppercase() } else { char }
    });
    [name.to_owned(), name.to_uppercase(), mixed.collect()]
}

#[tokio::test]
async fn credentials_with_lines_of_their_own_are_refused_and_change_nothing() {
    let target = receiver();
    let node = Node::dev().await;
    let api = node.api();
    let made = webhook(api, &target, json!({"auth": {"type": "BEARER", "token": "good-7Qk2"}})).await;
    let shown = api.get(&path(&made)).await.expect(200);
    let refused = async |field: &str, auth: &Value| {
        let body = json!({"url": target.url("/"), "events": ["BLOCK"], "auth": auth});
        let answers =
            [api.post(WEBHOOKS, &body).await, api.patch(&path(&made), &json!({"auth": auth})).await];
        for answer in answers {
            let message = answer.expect_error(400);
            assert!(message.contains(field), "{auth}: {message}");
            assert!(!message.contains("7Qk2"), "{message}");
        }
    };
    let controls = (0..0x20_u8).chain([0x7f]).map(char::from).chain(['\u{80}', '\u{85}', '\u{9f}']);
    for control in controls {
        for value in [
            format!("evil-7Qk2{control}"),
            format!("{control}evil-7Qk2"),
            format!("evil-7Qk2{control}x-evil: 1"),
        ] {
            for (field, auth) in with_credential(&value) {
                refused(field, &auth).await;
            }
        }
    }
    for value in ["evil-7Qk2\r\nx-evil: 1", "evil-7Qk2\r\n\r\nPOST / HTTP/1.1", "\r\n evil-7Qk2", ""] {
        for (field, auth) in with_credential(value) {
            refused(field, &auth).await;
        }
    }
    // What goes into a header as it is.
    for value in
        [" evil-7Qk2", "evil-7Qk2 ", "\u{e9}vil-7Qk2", "evil-7Qk2\u{2028}x", "evil-7Qk2\u{ff0d}", "\u{1f642}"]
    {
        for (field, auth) in with_credential(value).into_iter().take(3) {
            refused(field, &auth).await;
        }
    }
    refused("username", &json!({"type": "BASIC", "username": "user:7Qk2", "password": "pass-7Qk2"})).await;
    refused("token", &json!({"type": "BEARER", "token": "7Qk2".repeat(1025)})).await;
    assert_eq!(api.get(WEBHOOKS).await.expect(200), json!([shown]), "nothing was made or changed");
    // And what is sent is what was there before.
    api.push(&[events::block(CHANNEL, "e1")]).await;
    let request = target.requests_at_least(1).await.remove(0);
    assert_eq!(header(&request, "authorization"), "Bearer good-7Qk2");
}

#[tokio::test]
async fn names_of_other_headers_are_refused_in_any_case() {
    let target = receiver();
    let node = Node::start(NodeOptions::dev().set("signing.header", SIGNATURE_NAME)).await;
    let api = node.api();
    let made = webhook(api, &target, json!({"signing": true})).await;
    for name in NAMES {
        for name in cases(name) {
            let auth = json!({"type": "CUSTOM_HEADER", "headerName": name, "headerValue": "v-7Qk2"});
            let body = json!({"url": target.url("/"), "events": ["BLOCK"], "auth": auth});
            for answer in
                [api.post(WEBHOOKS, &body).await, api.patch(&path(&made), &json!({"auth": auth})).await]
            {
                let message = answer.expect_error(400);
                assert!(message.contains("headerName") && !message.contains("7Qk2"), "{name:?}: {message}");
            }
        }
    }
    assert_eq!(api.get(WEBHOOKS).await.expect(200).as_array().map(Vec::len), Some(1));
}

/// What may be set arrives byte for byte, and leaves every header of the engine's as it is.
#[tokio::test]
async fn a_custom_header_stands_beside_the_engines_own() {
    let target = receiver();
    let node = Node::dev().await;
    let value = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ and x-hub-event: EVIL";
    let name = "X-Shop!#$%&'*+.^_`|~9";
    let auth = json!({"type": "CUSTOM_HEADER", "headerName": name, "headerValue": value});
    let made = webhook(node.api(), &target, json!({"auth": auth, "signing": true})).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let request = target.requests_at_least(1).await.remove(0);
    assert_eq!(header(&request, name), value);
    for (name, expected) in [
        ("x-hub-event", "BLOCK"),
        ("x-hub-channel", CHANNEL),
        ("x-hub-webhook", crate::text(&made, "id")),
        ("x-hub-attempt", "1"),
        ("content-type", "application/json"),
        ("webhook-id", &crate::delivery_id("e1", &made)),
    ] {
        assert_eq!(header(&request, name), expected);
    }
    // Ours, the connection's and this one: not a line more.
    assert_eq!(request.headers.len(), 13, "{:?}", request.headers);
}
