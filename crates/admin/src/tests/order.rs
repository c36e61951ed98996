//! The order of the checks behind the key's and the scope's (`scopes.rs`), and errors that are no handler's.

use super::harness::{Api, ROOT, Setup, WEBHOOKS, with_api};
use fanfare_core::webhook::Scopes;

const UNKNOWN: &str = "0190F3A27C5B7E118D2A4C6B9E01F3D5";
const ROLE: &str = "This action requires ENTERPRISE role";

#[tokio::test]
async fn then_the_role_then_the_channel_then_the_webhook_then_the_body() {
    with_api(Setup::default(), async |api| {
        let free = api.new_key("free", Scopes { manage: true, ..Scopes::default() }).await;
        let one = |channel: &str| format!("/v1/channels/{channel}/webhooks/{UNKNOWN}");
        let all = |channel: &str| format!("/v1/channels/{channel}/webhooks");
        let below = |channel: &str| {
            let base = one(channel);
            [
                ("GET", format!("{base}/deliveries?limit=0")),
                ("GET", format!("{base}/deliveries/x")),
                ("POST", format!("{base}/deliveries/x/redrive")),
                ("POST", format!("{base}/redrive")),
                ("POST", format!("{base}/test")),
                ("GET", format!("{base}/health")),
            ]
        };
        for channel in ["c2", "c1", "unknown", "no%20id", "%FF"] {
            for (method, path) in [
                ("POST", all(channel)),
                ("GET", all(channel)),
                ("PATCH", one(channel)),
                ("DELETE", one(channel)),
            ] {
                api.call_as(&free, method, &path, "{").await.is_error(422, ROLE);
            }
            for (method, path) in below(channel) {
                api.call_as(&free, method, &path, "{").await.is_error(422, ROLE);
            }
        }
        // Another's, unknown, and what cannot be an id are the same to a caller.
        for channel in ["c2", "unknown", "no%20id", "%FF", "a%2Fb"] {
            for (method, path) in [
                ("POST", all(channel)),
                ("GET", all(channel)),
                ("PATCH", one(channel)),
                ("DELETE", one(channel)),
            ] {
                api.call(method, &path, "{").await.is_error(404, "Channel not found");
            }
            for (method, path) in below(channel) {
                api.call(method, &path, "{").await.is_error(404, "Channel not found");
            }
        }
        for (method, path) in below("c1") {
            api.call(method, &path, "{").await.is_error(404, "Webhook not found");
        }
        for id in [UNKNOWN, "7", "no%20id", "%FF"] {
            for method in ["GET", "PATCH", "DELETE"] {
                let answer = api.call(method, &format!("{WEBHOOKS}/{id}"), "{").await;
                // What does not decode has no channel either.
                let what = if id == "%FF" { "Channel not found" } else { "Webhook not found" };
                answer.is_error(404, what);
            }
        }
        api.call("POST", WEBHOOKS, "{}").await.is_error(400, "url is required");
    })
    .await;
}

#[tokio::test]
async fn an_operator_acts_for_the_channel_s_account() {
    with_api(Setup::default(), async |api| {
        api.call_as(ROOT, "GET", "/v1/channels/c2/webhooks", "").await.is_error(422, ROLE);
        assert_eq!(api.call_as(ROOT, "GET", WEBHOOKS, "").await.text, "[]");
        for channel in ["unknown", "no%20id"] {
            let path = format!("/v1/channels/{channel}/webhooks");
            api.call_as(ROOT, "GET", &path, "").await.is_error(404, "Channel not found");
        }
    })
    .await;
}

async fn unsupported(api: &Api, name: &str, value: &str, message: &str) {
    let body = r#"{"url":"https://r.test","events":["BLOCK"]}"#;
    let request = http::Request::post(WEBHOOKS)
        .header("authorization", format!("Bearer {}", api.key))
        .header(name, value)
        .body(axum::body::Body::from(body))
        .unwrap();
    api.send(request).await.is_error(415, message);
}

#[tokio::test]
async fn errors_of_no_handler_have_the_same_shape() {
    with_api(Setup::default(), async |api| {
        for path in ["/", "/v1", "/v1/webhooks", "/v1/channels/c1/webhooks/", "/v2/events"] {
            api.call("GET", path, "").await.is_error(404, "Not found");
        }
        for (method, path, allowed) in [
            ("PUT", WEBHOOKS, "GET,HEAD,POST"),
            ("POST", &*format!("{WEBHOOKS}/{UNKNOWN}"), "GET,HEAD,PATCH,DELETE"),
            ("GET", "/v1/events", "POST"),
            ("DELETE", "/healthz", "GET,HEAD"),
        ] {
            let answer = api.call(method, path, "").await;
            answer.is_error(405, "Method not allowed");
            assert_eq!(answer.header("allow"), Some(allowed), "{path}");
        }
        unsupported(
            api,
            "content-type",
            "text/plain",
            "content type `text/plain` is not taken; send application/json",
        )
        .await;
        unsupported(
            api,
            "content-encoding",
            "gzip",
            "content encoding `gzip` is not taken; send the body as it is",
        )
        .await;
        let large = vec![b' '; 1024 * 1024 + 1];
        api.call("POST", WEBHOOKS, large).await.is_error(413, "body of 1048577 bytes exceeds 1048576");
        api.call("POST", WEBHOOKS, "[]").await.is_error(400, "the body must be a JSON object");
    })
    .await;
}

#[tokio::test]
async fn probes_need_no_key() {
    with_api(Setup::default(), async |api| {
        for (path, status) in [("/healthz", "ok"), ("/readyz", "ready")] {
            let answer = api.call_as("", "GET", path, "").await;
            assert_eq!((answer.status, answer.json()), (200, serde_json::json!({ "status": status })));
        }
        let metrics = api.call_as("", "GET", "/metrics", "").await;
        assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(metrics.text.contains("# TYPE fanfare_"), "{}", metrics.text);
    })
    .await;
}

#[tokio::test]
async fn a_draining_engine_is_alive_but_not_ready() {
    with_api(Setup::default(), async |api| {
        api.state.engine.drain(std::time::Duration::from_secs(1)).await;
        assert_eq!(api.call_as("", "GET", "/healthz", "").await.status, 200);
        let answer = api.call_as("", "GET", "/readyz", "").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["error"], 503);
        assert!(answer.json()["message"].as_str().unwrap().contains("draining"), "{}", answer.text);
    })
    .await;
}
