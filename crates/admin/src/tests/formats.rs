//! Formats that operators put, roll back, lift and remove.

use super::harness::{Answer, Api, ROOT, Setup, WEBHOOKS, with_api};
use crate::AdminLimits;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use std::time::Duration;

fn shipped() -> Setup {
    Setup { shipped: &["SHIPPED 1.0.0"], ..Setup::default() }
}

fn request(name: &str, headers: &[(&str, &str)], component: impl Into<Body>) -> Request<Body> {
    let mut request =
        Request::put(format!("/v1/formats/{name}")).header("authorization", format!("Bearer {ROOT}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(component.into()).unwrap()
}

const WASM: (&str, &str) = ("content-type", "application/wasm");

async fn put(api: &Api, name: &str, component: &str) -> Answer {
    api.send(request(name, &[WASM], component.to_owned())).await
}

fn view(name: &str, source: &str, version: &str, generation: u64, former: Option<&str>) -> Value {
    json!({
        "name": name,
        "source": source,
        "version": version,
        "generation": generation,
        "quarantined": false,
        "formerVersion": former,
    })
}

async fn list(api: &Api) -> Vec<Value> {
    let answer = api.call_as(ROOT, "GET", "/v1/formats", "").await;
    assert_eq!(answer.status, 200);
    answer.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn they_are_listed_with_where_they_come_from() {
    with_api(shipped(), async |api| {
        put(api, "ACME", "ACME 2.1.0").await;
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            list(api).await,
            [
                view("DEFAULT", "builtin", version, 1, None),
                view("Z_API", "builtin", version, 1, None),
                view("ACME", "api", "2.1.0", 1, None),
                view("SHIPPED", "shipped", "1.0.0", 1, None),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn one_is_put_replaced_rolled_back_and_removed() {
    with_api(shipped(), async |api| {
        let answered = |answer: Answer| (answer.status, answer.json());
        let call = async |method, path| api.call_as(ROOT, method, path, "").await;
        let (one, back) = ("/v1/formats/ACME", "/v1/formats/ACME/rollback");
        assert_eq!(answered(put(api, "ACME", "ACME 1").await), (201, view("ACME", "api", "1", 1, None)));
        call("POST", back).await.is_error(409, "ACME has no former version");
        assert_eq!(answered(put(api, "ACME", "ACME 2").await), (200, view("ACME", "api", "2", 2, Some("1"))));
        let now = view("ACME", "api", "1", 3, Some("2"));
        assert_eq!(answered(call("POST", back).await), (200, now.clone()));
        assert_eq!(list(api).await[2], now);

        let gone = call("DELETE", one).await;
        assert_eq!((gone.status, gone.text.as_str()), (204, ""));
        for (method, path) in [("DELETE", one), ("POST", back), ("POST", "/v1/formats/ACME/lift")] {
            call(method, path).await.is_error(404, "Format not found");
        }
        assert_eq!(put(api, "ACME", "ACME 3").await.status, 201);

        // Over one in the binary, which is used again afterwards and itself stays.
        let over = view("SHIPPED", "api", "2.0.0", 2, Some("1.0.0"));
        assert_eq!(answered(put(api, "SHIPPED", "SHIPPED 2.0.0").await), (200, over));
        assert_eq!(call("DELETE", "/v1/formats/SHIPPED").await.status, 204);
        assert_eq!(list(api).await[3], view("SHIPPED", "shipped", "1.0.0", 3, None));
        call("DELETE", "/v1/formats/SHIPPED")
            .await
            .is_error(409, "SHIPPED is in the binary: it was not put by API");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_admitted_is_400_with_the_reason_and_changes_nothing() {
    with_api(shipped(), async |api| {
        let before = list(api).await;
        put(api, "ACME", "garbage").await.is_error(400, "not a component");
        put(api, "ACME", "").await.is_error(400, "not a component");
        put(api, "ACME", "OTHER 1").await.is_error(400, "the plugin's own name is OTHER, not ACME");
        for name in ["DEFAULT", "Z_API"] {
            let text = format!("{name} is built in and cannot be changed");
            put(api, name, &format!("{name} 1")).await.is_error(400, &text);
            for (method, path) in
                [("DELETE", format!("/v1/formats/{name}")), ("POST", format!("/v1/formats/{name}/rollback"))]
            {
                api.call_as(ROOT, method, &path, "").await.is_error(409, &text);
            }
            let lift = format!("/v1/formats/{name}/lift");
            api.call_as(ROOT, "POST", &lift, "").await.is_error(404, "Format not found");
        }
        for name in ["acme", "1A", "A%20B", "%FF", &"A".repeat(65)] {
            let rule = "name must be 1 to 64 characters of A-Z 0-9 _, the first a letter";
            put(api, name, "ACME 1").await.is_error(400, rule);
            let path = format!("/v1/formats/{name}");
            api.call_as(ROOT, "DELETE", &path, "").await.is_error(404, "Format not found");
        }
        let zeros = "0".repeat(128);
        api.send(request("ACME", &[WASM, ("fanfare-plugin-signature", &zeros)], "ACME 1"))
            .await
            .is_error(400, "the signature is of no key that is known");
        api.send(request("ACME", &[WASM, ("fanfare-plugin-signature", "00")], "ACME 1"))
            .await
            .is_error(400, "Fanfare-Plugin-Signature must be 128 hexadecimal characters");
        assert_eq!(list(api).await, before);
        let one = "1".repeat(128);
        let signed = request("ACME", &[WASM, ("fanfare-plugin-signature", &one)], "ACME 1");
        assert_eq!(api.send(signed).await.status, 201);
    })
    .await;
}

#[tokio::test]
async fn the_content_type_is_judged_first_and_then_the_size() {
    let limits = AdminLimits { component_bytes_max: 8, ..AdminLimits::default() };
    with_api(Setup { limits, ..Setup::default() }, async |api| {
        let send = async |headers: &[(&str, &str)], component: &str| {
            api.send(request("ACME", headers, component.to_owned())).await
        };
        send(&[("content-type", "application/json")], "far too much")
            .await
            .is_error(415, "content type `application/json` is not taken; send application/wasm");
        send(&[], "ACME 1").await.is_error(415, "the content type must be said; send application/wasm");
        send(&[WASM], "ACME 1.0.0").await.is_error(413, "body of at least 10 bytes exceeds 8");
        let declared = request("ACME", &[WASM, ("content-length", "33554433")], "");
        api.send(declared).await.is_error(413, "body of 33554433 bytes exceeds 8");
        assert_eq!(send(&[WASM], "ACME 1").await.status, 201);
    })
    .await;
}

#[tokio::test]
async fn only_so_many_are_held_at_once_until_each_is_admitted() {
    with_api(Setup::default(), async |api| {
        api.formats.hold(true);
        let wait = Duration::from_millis(20);
        // Nobody waits for the answers any more: what was begun counts all the same, and goes on.
        for (name, component) in [("A", "A 1"), ("B", "B 1")] {
            let put = tokio::time::timeout(wait, put(api, name, component)).await;
            assert!(put.is_err(), "it is held");
        }
        let refused = put(api, "C", "C 1").await;
        refused.is_error(503, "2 plugins are being taken right now; try again");
        assert_eq!(refused.header("retry-after"), Some("1"));
        api.formats.hold(false);
        for _ in 0..1000 {
            if list(api).await.len() == 4 {
                break;
            }
            tokio::task::yield_now().await;
        }
        let names: Vec<Value> = list(api).await.iter().map(|view| view["name"].clone()).collect();
        assert_eq!(names, ["DEFAULT", "Z_API", "A", "B"]);
        assert_eq!(put(api, "C", "C 1").await.status, 201);
    })
    .await;
}

#[tokio::test]
async fn webhooks_choose_among_those_that_are_there_and_keep_theirs() {
    with_api(shipped(), async |api| {
        put(api, "ACME", "ACME 1").await;
        let body = |format: &str| {
            json!({ "url": "https://r.test/in", "events": ["BLOCK"], "payloadFormat": format }).to_string()
        };
        let unknown = "unknown payloadFormat `SLACK`: known are DEFAULT, Z_API, ACME, SHIPPED";
        api.call("POST", WEBHOOKS, body("SLACK")).await.is_error(400, unknown);
        let webhook = api.create(&body("ACME")).await;
        api.call("PATCH", &webhook, r#"{"payloadFormat":"SLACK"}"#).await.is_error(400, unknown);

        let one = "/v1/formats/ACME";
        let id = webhook.rsplit('/').next().unwrap();
        api.call_as(ROOT, "DELETE", one, "").await.is_error(
            409,
            &format!("1 webhook uses ACME: give each another format first; one is {id} of the channel c1"),
        );
        let changed = api.call("PATCH", &webhook, r#"{"payloadFormat":"SHIPPED"}"#).await;
        assert_eq!((changed.status, &changed.json()["payloadFormat"]), (200, &json!("SHIPPED")));
        assert_eq!(api.call_as(ROOT, "DELETE", one, "").await.status, 204);
        api.call("PATCH", &webhook, r#"{"payloadFormat":"ACME"}"#)
            .await
            .is_error(400, "unknown payloadFormat `ACME`: known are DEFAULT, Z_API, SHIPPED");
    })
    .await;
}

#[tokio::test]
async fn one_that_is_left_alone_is_shown_so_and_lifted() {
    with_api(shipped(), async |api| {
        api.formats.quarantine("SHIPPED");
        assert_eq!(list(api).await[2]["quarantined"], json!(true));
        let lifted = api.call_as(ROOT, "POST", "/v1/formats/SHIPPED/lift", "").await;
        assert_eq!((lifted.status, lifted.json()), (200, view("SHIPPED", "shipped", "1.0.0", 1, None)));
        assert_eq!(list(api).await[2]["quarantined"], json!(false));
    })
    .await;
}
