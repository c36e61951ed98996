//! Create, list, get, PATCH, delete.

use super::harness::{ROOT, Setup, WEBHOOKS, with_api};
use fanfare_core::ChannelId;
use fanfare_core::webhook::Auth;
use serde_json::{Value, json};

const LEAST: &str = r#"{"url":"https://r.test/in","events":["BLOCK"]}"#;
const SIGNED: &str = r#"{"url":"https://r.test/in","events":["BLOCK"],"signing":true}"#;

/// The object without what no test can know beforehand.
fn known(mut object: Value) -> Value {
    for name in ["id", "createdAt", "updatedAt", "secret", "standardSecret", "delivery"] {
        object.as_object_mut().unwrap().remove(name);
    }
    object
}

#[tokio::test]
async fn create_answers_with_the_object_and_its_place() {
    with_api(Setup::default(), async |api| {
        let body = r#"{"url":"https://r.test/in?k=v","events":["BLOCK","CONNECTED","BLOCK"],"description":"till 3",
            "auth":{"type":"BEARER","token":"hunter2"},"payloadFormat":"Z_API","customAttributes":{"b":1,"a":2}}"#;
        let answer = api.call("POST", WEBHOOKS, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let object = answer.json();
        let id = object["id"].as_str().unwrap();
        assert_eq!(answer.header("location"), Some(&*format!("{WEBHOOKS}/{id}")));
        assert_eq!(object["createdAt"], object["updatedAt"]);
        assert_eq!(
            known(object.clone()),
            json!({
                "channelId": "c1", "instanceId": "c1", "url": "https://r.test/in?k=v", "description": "till 3",
                "events": ["BLOCK", "CONNECTED"], "status": "ENABLED", "signing": false,
                "auth": { "type": "BEARER", "configured": true }, "payloadFormat": "Z_API",
                "customAttributes": { "b": 1, "a": 2 },
            })
        );
        assert!(object.get("secret").is_none() && object.get("standardSecret").is_none());
        assert!(answer.text.contains(r#""customAttributes":{"b":1,"a":2}"#), "{}", answer.text);
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);

        let read = api.call("GET", &format!("{WEBHOOKS}/{id}"), "").await;
        assert_eq!((read.status, &read.text), (200, &answer.text));
        // Ids are read in either case.
        let lower = api.call("GET", &format!("{WEBHOOKS}/{}", id.to_lowercase()), "").await;
        assert_eq!(lower.text, answer.text);
    })
    .await;
}

#[tokio::test]
async fn list_is_a_bare_array_in_order_of_creation() {
    with_api(Setup::default(), async |api| {
        assert_eq!(api.call("GET", WEBHOOKS, "").await.text, "[]");
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(api.create(SIGNED).await);
            api.clock.step_wall(10);
        }
        api.call("PATCH", &places[1], r#"{"status":"DISABLED"}"#).await;
        let list = api.call("GET", WEBHOOKS, "").await;
        let listed: Vec<String> = list
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|object| format!("{WEBHOOKS}/{}", object["id"].as_str().unwrap()))
            .collect();
        assert_eq!((list.status, listed), (200, places));
        assert!(!list.text.contains("secret"), "{}", list.text);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_shown_by_the_answer_that_made_it_and_no_other() {
    with_api(Setup::default(), async |api| {
        let answer = api.call("POST", WEBHOOKS, SIGNED).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let first = answer.json()["secret"].as_str().unwrap().to_owned();
        assert_eq!(first.len(), 64);
        assert!(first.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{first}");
        assert!(answer.json()["standardSecret"].as_str().unwrap().starts_with("whsec_"));
        let place = answer.header("location").unwrap();

        let read = api.call("GET", place, "").await;
        assert_eq!((read.json()["signing"].clone(), read.json().get("secret")), (json!(true), None));

        let rotated = api.call("PATCH", place, r#"{"signing":true,"secretOverlapSeconds":60}"#).await;
        assert_eq!(rotated.status, 200);
        assert_ne!(rotated.json()["secret"], json!(first));
        assert_eq!(rotated.json()["secret"].as_str().unwrap().len(), 64);
        assert_eq!(rotated.header("cache-control"), Some("no-store"));

        let other = api.call("PATCH", place, r#"{"description":"x"}"#).await;
        assert_eq!((other.json()["signing"].clone(), other.json().get("secret")), (json!(true), None));

        let off = api.call("PATCH", place, r#"{"signing":false}"#).await;
        assert_eq!((off.json()["signing"].clone(), off.json().get("secret")), (json!(false), None));
    })
    .await;
}

#[tokio::test]
async fn an_empty_patch_leaves_updated_at() {
    with_api(Setup::default(), async |api| {
        let place = api.create(LEAST).await;
        let before = api.call("GET", &place, "").await;
        api.clock.step_wall(5000);
        for body in ["{}", r#"{"unknown":1}"#, r#"{"url":"https://r.test/in"}"#] {
            let answer = api.call("PATCH", &place, body).await;
            assert_eq!((answer.status, &answer.text), (200, &before.text), "{body}");
        }
        let answer = api.call("PATCH", &place, r#"{"description":"x"}"#).await;
        let (was, is) = (before.json()["updatedAt"].clone(), answer.json()["updatedAt"].clone());
        assert_ne!(was, is);
        assert_eq!(answer.json()["createdAt"], before.json()["createdAt"]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_patch_changes_nothing() {
    with_api(Setup::default(), async |api| {
        let place = api
            .create(r#"{"url":"https://r.test/in","events":["BLOCK"],"auth":{"type":"API_KEY","key":"k"}}"#)
            .await;
        let before = api.call("GET", &place, "").await.text;
        for (body, message) in [
            (r#"{"description":"x","events":[]}"#, "events must name at least one event"),
            (r#"{"description":"x","auth":{"token":"t"}}"#, "auth.type is required"),
            (r#"{"description":"x","auth":{"type":"BEARER"}}"#, "auth.token is required"),
            (r#"{"description":"x","url":null}"#, "url must be a string"),
            (
                r#"{"description":"x","payloadFormat":"XML"}"#,
                "unknown payloadFormat `XML`: known are DEFAULT, Z_API",
            ),
            (
                r#"{"description":"x","secretOverlapSeconds":1}"#,
                "secretOverlapSeconds needs signing true in the same call",
            ),
        ] {
            api.call("PATCH", &place, body).await.is_error(400, message);
        }
        assert_eq!(api.call("GET", &place, "").await.text, before);
    })
    .await;
}

#[tokio::test]
async fn a_patch_without_auth_keeps_the_credential() {
    with_api(Setup::default(), async |api| {
        let place = api
            .create(r#"{"url":"https://r.test/in","events":["BLOCK"],"auth":{"type":"API_KEY","key":"k"}}"#)
            .await;
        let answer = api.call("PATCH", &place, r#"{"url":"https://s.test/"}"#).await;
        assert_eq!(answer.json()["auth"], json!({ "type": "API_KEY", "configured": true }));
        let id = fanfare_core::WebhookId::parse(answer.json()["id"].as_str().unwrap()).unwrap();
        let root = api.state.engine.authenticate(&fanfare_core::Secret::new(ROOT)).unwrap();
        let stored = api.state.engine.webhook(&root, &ChannelId::parse("c1").unwrap(), id).unwrap();
        assert_eq!(stored.auth, Auth::ApiKey { key: fanfare_core::Secret::new("k") });

        let answer = api.call("PATCH", &place, r#"{"auth":{"type":"NONE"}}"#).await;
        assert_eq!(answer.json()["auth"], json!({ "type": "NONE", "configured": false }));
    })
    .await;
}

#[tokio::test]
async fn delivery_shows_effective_values_and_null_restores_them() {
    with_api(Setup::default(), async |api| {
        let place = api.create(
            r#"{"url":"https://r.test/in","events":["BLOCK"],
                "delivery":{"timeoutMs":2000,"rateLimit":{"perSecond":2.5},"retry":{"scheduleSeconds":[1,2]}}}"#,
        ).await;
        let shown = api.call("GET", &place, "").await.json()["delivery"].clone();
        assert_eq!(shown, json!({
            "timeoutMs": 2000, "maxInFlight": 16, "rateLimit": { "perSecond": 2.5, "burst": 3 }, "ordering": "NONE",
            "retry": { "scheduleSeconds": [1, 2], "maxAgeSeconds": 432_000 }, "protocol": "AUTO",
        }));
        let answer = api.call("PATCH", &place, r#"{"delivery":{"timeoutMs":null,"retry":{"maxAgeSeconds":60}}}"#).await;
        assert_eq!(answer.json()["delivery"]["timeoutMs"], 15_000);
        assert_eq!(
            answer.json()["delivery"]["retry"],
            json!({ "scheduleSeconds": [1, 2], "maxAgeSeconds": 60 })
        );
        let answer = api.call("PATCH", &place, r#"{"delivery":null}"#).await;
        assert_eq!(answer.json()["delivery"]["rateLimit"], Value::Null);
        assert_eq!(answer.json()["delivery"]["retry"]["maxAgeSeconds"], 432_000);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_webhook_is_gone() {
    with_api(Setup::default(), async |api| {
        let place = api.create(LEAST).await;
        let answer = api.call("DELETE", &place, "").await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        for method in ["GET", "PATCH", "DELETE"] {
            api.call(method, &place, "").await.is_error(404, "Webhook not found");
        }
        assert_eq!(api.call("GET", WEBHOOKS, "").await.text, "[]");
    })
    .await;
}

#[tokio::test]
async fn a_webhook_of_another_channel_is_not_found() {
    with_api(Setup::default(), async |api| {
        let place = api.create(LEAST).await;
        let body = r#"{"accountId":"acme"}"#;
        assert_eq!(api.call_as(ROOT, "PUT", "/v1/channels/c3", body).await.status, 200);
        let elsewhere = place.replace("/c1/", "/c3/");
        for method in ["GET", "PATCH", "DELETE"] {
            api.call(method, &elsewhere, "{}").await.is_error(404, "Webhook not found");
        }
        assert_eq!(api.call("GET", &place, "").await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn where_channels_are_made_on_first_use_a_webhook_makes_one() {
    with_api(Setup { makes_channels: true, ..Setup::default() }, async |api| {
        let path = "/v1/channels/fresh/webhooks";
        let answer = api.call("POST", path, LEAST).await;
        assert_eq!((answer.status, &answer.json()["channelId"]), (201, &json!("fresh")), "{}", answer.text);
        assert_eq!(api.call("GET", path, "").await.json().as_array().unwrap().len(), 1);
        // Another's channel stays another's.
        api.call("POST", "/v1/channels/c2/webhooks", LEAST).await.is_error(404, "Channel not found");
    })
    .await;
}
