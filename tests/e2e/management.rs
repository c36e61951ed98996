//! The management API as the hub documents it.

use crate::{CHANNEL, path, receiver, text, webhook};
use fanfare_tests::Node;
use http::Method;
use serde_json::{Value, json};

const WEBHOOKS: &str = "/v1/channels/c1/webhooks";

fn members(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// `2026-03-09T14:05:00.000+0000`
fn is_hub_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    shape == "9999-99-99T99:99:99.999+9999" && text.ends_with("+0000")
}

#[tokio::test]
async fn a_webhook_is_made_shown_and_listed_with_every_member() {
    let node = Node::dev().await;
    let api = node.api();
    let body = json!({
        "url": "https://receiver.test/in",
        "events": ["BLOCK", "RECEIVED_STATUS", "BLOCK"],
        "description": "first",
        "customAttributes": {"team": "a", "n": 1.50},
        "auth": {"type": "BEARER", "token": "token-9f3c1b7e"},
        "unknown": "ignored",
    });
    let made = api.webhook(CHANNEL, &body).await;
    assert_eq!(
        members(&made),
        [
            "auth",
            "channelId",
            "createdAt",
            "customAttributes",
            "delivery",
            "description",
            "events",
            "id",
            "instanceId",
            "payloadFormat",
            "signing",
            "status",
            "updatedAt",
            "url"
        ]
    );
    let id = text(&made, "id");
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)), "{id}");
    assert_eq!((text(&made, "channelId"), text(&made, "instanceId")), (CHANNEL, CHANNEL));
    assert_eq!(made["events"], json!(["BLOCK", "RECEIVED_STATUS"]), "duplicates are folded");
    assert_eq!(made["auth"], json!({"type": "BEARER", "configured": true}));
    assert_eq!(made["customAttributes"], json!({"team": "a", "n": 1.50}));
    assert_eq!((text(&made, "status"), text(&made, "payloadFormat")), ("ENABLED", "DEFAULT"));
    assert_eq!((&made["signing"], text(&made, "description")), (&json!(false), "first"));
    assert!(is_hub_time(text(&made, "createdAt")), "{made}");
    assert_eq!(made["createdAt"], made["updatedAt"]);
    assert_eq!(
        made["delivery"],
        json!({
            "timeoutMs": 15000, "maxInFlight": 16, "rateLimit": null, "ordering": "NONE",
            "retry": {
                "scheduleSeconds": [5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400, 72000, 86400],
                "maxAgeSeconds": 432_000,
            },
            "protocol": "AUTO",
        })
    );

    let second = api.webhook(CHANNEL, &json!({"url": "https://b.test/", "events": ["CONNECTED"]})).await;
    assert_eq!(
        (&second["description"], &second["customAttributes"], &second["auth"]),
        (&Value::Null, &json!({}), &json!({"type": "NONE", "configured": false}))
    );
    assert_eq!(api.get(&path(&made)).await.expect(200), made);
    assert_eq!(api.get(WEBHOOKS).await.expect(200), json!([made, second]), "a bare array, oldest first");
}

#[tokio::test]
async fn a_webhook_is_changed_member_by_member() {
    let node = Node::dev().await;
    let api = node.api();
    let body = json!({
        "url": "https://a.test/", "events": ["BLOCK"], "description": "x", "customAttributes": {"a": 1},
        "auth": {"type": "API_KEY", "key": "api-key-77aa01"},
    });
    let made = api.webhook(CHANNEL, &body).await;
    let path = path(&made);

    assert_eq!(api.patch(&path, &json!({})).await.expect(200), made, "nothing changes, updatedAt included");

    let change = json!({
        "url": "https://b.test/", "events": ["CONNECTED", "BLOCK"], "status": "DISABLED", "description": null,
        "customAttributes": null, "payloadFormat": "Z_API", "auth": {"type": "NONE"},
        "delivery": {"timeoutMs": 2000, "retry": {"scheduleSeconds": [1, 2]}},
    });
    let changed = api.patch(&path, &change).await.expect(200);
    assert_eq!(
        (text(&changed, "url"), text(&changed, "status"), text(&changed, "payloadFormat")),
        ("https://b.test/", "DISABLED", "Z_API")
    );
    assert_eq!(changed["events"], json!(["CONNECTED", "BLOCK"]), "the whole list is replaced");
    assert_eq!((&changed["description"], &changed["customAttributes"]), (&Value::Null, &json!({})));
    assert_eq!(changed["auth"], json!({"type": "NONE", "configured": false}));
    assert_eq!(changed["delivery"]["timeoutMs"], 2000);
    assert_eq!(
        changed["delivery"]["retry"],
        json!({"scheduleSeconds": [1, 2], "maxAgeSeconds": 432_000}),
        "what was not sent stays"
    );
    assert_eq!((&changed["id"], &changed["createdAt"]), (&made["id"], &made["createdAt"]));
    assert!(text(&changed, "updatedAt") > text(&made, "updatedAt"), "{changed}");

    let restored = api.patch(&path, &json!({"delivery": {"timeoutMs": null}})).await.expect(200);
    assert_eq!(restored["delivery"]["timeoutMs"], 15000);
    assert_eq!(restored["delivery"]["retry"]["scheduleSeconds"], json!([1, 2]));
    assert_eq!(api.get(&path).await.expect(200), restored);
}

#[tokio::test]
async fn a_deleted_webhook_is_gone() {
    let node = Node::dev().await;
    let api = node.api();
    let made = api.webhook(CHANNEL, &json!({"url": "https://a.test/", "events": ["BLOCK"]})).await;
    let answer = api.delete(&path(&made)).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    for answer in [
        api.get(&path(&made)).await,
        api.delete(&path(&made)).await,
        api.patch(&path(&made), &json!({})).await,
    ] {
        assert_eq!(answer.expect_error(404), "Webhook not found");
    }
    assert_eq!(api.get(WEBHOOKS).await.expect(200), json!([]));
}

#[tokio::test]
async fn a_secret_is_shown_by_the_answer_that_made_it_and_never_again() {
    let node = Node::dev().await;
    let api = node.api();
    let body = json!({"url": "https://a.test/", "events": ["BLOCK"], "signing": true});
    let made = api.webhook(CHANNEL, &body).await;
    let secret = text(&made, "secret").to_owned();
    assert!(
        secret.len() == 64 && secret.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
        "64 lower-case hex digits"
    );
    let bytes: [u8; 32] = hex::decode(&secret).unwrap().try_into().unwrap();
    assert_eq!(text(&made, "standardSecret"), fanfare_signing::standard_secret(&bytes), "the same 32 bytes");

    let hides = |answer: &Value| {
        let object = answer.as_object().expect("an object");
        !object.contains_key("secret") && !object.contains_key("standardSecret")
    };
    let path = path(&made);
    let listed = api.get(WEBHOOKS).await.expect(200);
    let shown = api.get(&path).await.expect(200);
    let patched = api.patch(&path, &json!({"description": "x"})).await.expect(200);
    assert!(hides(&listed[0]) && hides(&shown) && hides(&patched), "{listed} {shown} {patched}");
    assert_eq!(patched["signing"], true);

    let rotated = api.patch(&path, &json!({"signing": true})).await.expect(200);
    assert_ne!(text(&rotated, "secret"), secret, "`true` always makes a new one");
    let off = api.patch(&path, &json!({"signing": false})).await.expect(200);
    assert!(hides(&off));
    assert_eq!(off["signing"], false);
    let message = api.patch(&path, &json!({"secretOverlapSeconds": 5})).await.expect_error(400);
    assert!(message.contains("secretOverlapSeconds"), "{message}");
}

#[tokio::test]
async fn a_bad_body_is_refused_by_the_name_of_its_member() {
    let node = Node::dev().await;
    let api = node.api();
    let made = webhook(api, &receiver(), json!({})).await;
    let long = format!("https://a.test/{}", "x".repeat(2048));
    let cases = [
        (json!({"events": ["BLOCK"]}), "url is required"),
        (json!({"url": "https://a.test/"}), "events is required"),
        (json!({"url": 7, "events": ["BLOCK"]}), "url"),
        (json!({"url": "not a url", "events": ["BLOCK"]}), "url"),
        (json!({"url": "ftp://a.test/", "events": ["BLOCK"]}), "url"),
        (json!({"url": "https://user:pw@a.test/", "events": ["BLOCK"]}), "url"),
        (json!({"url": "https://a.test/\\x", "events": ["BLOCK"]}), "url"),
        (json!({"url": "https://a.test/\n", "events": ["BLOCK"]}), "url"),
        (json!({"url": long, "events": ["BLOCK"]}), "2048"),
        (json!({"url": "https://a.test/", "events": []}), "events"),
        (json!({"url": "https://a.test/", "events": "BLOCK"}), "events"),
        (json!({"url": "https://a.test/", "events": ["NOPE"]}), "RECEIVED_AND_DELIVERY"),
        (json!({"url": "https://a.test/", "events": ["BLOCK"], "payloadFormat": "XML"}), "Z_API"),
        (json!({"url": "https://a.test/", "events": ["BLOCK"], "description": "x".repeat(256)}), "255"),
        (json!({"url": "https://a.test/", "events": ["BLOCK"], "customAttributes": []}), "customAttributes"),
        (json!({"url": "https://a.test/", "events": ["BLOCK"], "signing": "yes"}), "signing"),
        (json!({"url": "https://a.test/", "events": ["BLOCK"], "auth": {"type": "BEARER"}}), "token"),
        (json!({"url": "https://a.test/", "events": ["BLOCK"], "auth": {"type": "MAGIC"}}), "auth.type"),
        (
            json!({"url": "https://a.test/", "events": ["BLOCK"],
                   "auth": {"type": "CUSTOM_HEADER", "headerName": "X-Hub-Event", "headerValue": "v"}}),
            "headerName",
        ),
        (
            json!({"url": "https://a.test/", "events": ["BLOCK"],
                   "auth": {"type": "BEARER", "token": "a\r\nx-injected: 1"}}),
            "token",
        ),
        (json!({"url": "https://a.test/", "events": ["BLOCK"], "delivery": {"timeoutMs": 999}}), "timeoutMs"),
        (
            json!({"url": "https://a.test/", "events": ["BLOCK"], "delivery": {"maxInFlight": 257}}),
            "maxInFlight",
        ),
        (
            json!({"url": "https://a.test/", "events": ["BLOCK"], "delivery": {"retry": {"scheduleSeconds": []}}}),
            "scheduleSeconds",
        ),
        (json!([]), "object"),
    ];
    for (body, named) in &cases {
        let message = api.post(WEBHOOKS, body).await.expect_error(400);
        assert!(message.contains(named), "{body}: {message}");
    }
    let message = api.patch(&path(&made), &json!({"events": null})).await.expect_error(400);
    assert!(message.contains("events"), "{message}");
    let answer = api.call(Method::POST, WEBHOOKS, &[("content-type", "application/json")], "{\"url\"").await;
    let _message = answer.expect_error(400);
    assert_eq!(api.get(WEBHOOKS).await.expect(200), json!([made]), "nothing was made or changed");
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_told_in_the_same_shape() {
    let node = Node::dev().await;
    let api = node.api();
    assert_eq!(api.without_key().get("/healthz").await.status, 200);
    assert_eq!(api.without_key().get("/readyz").await.status, 200);
    let _message = api.get("/v1/nothing").await.expect_error(404);
    let answer = api.put(WEBHOOKS, &json!({})).await;
    let _message = answer.expect_error(405);
    let allowed = answer.header("allow").unwrap_or_default();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    let formats = api.get("/v1/formats").await.expect(200);
    let names: Vec<&str> = formats.as_array().unwrap().iter().map(|format| text(format, "name")).collect();
    assert!(names.contains(&"DEFAULT") && names.contains(&"Z_API"), "{formats}");
}
