//! `POST /v1/events` and the bare route.

use super::harness::{Answer, Api, ROOT, Setup, WEBHOOKS, with_api};
use axum::body::Body;
use fanfare_core::ports::StoreError;
use fanfare_core::webhook::Scopes;
use serde_json::json;

const EVENTS: &str = "/v1/events";

fn event(id: &str, channel: &str) -> String {
    format!(r#"{{"id":"{id}","type":"BLOCK","channelId":"{channel}","payload":{{"a":1}}}}"#)
}

/// An event of exactly so many bytes.
fn sized(bytes: usize) -> String {
    let frame = r#"{"type":"BLOCK","channelId":"c1","payload":{"a":""}}"#;
    frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
}

async fn typed(api: &Api, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = http::Request::post(path).header("authorization", format!("Bearer {}", api.key));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request.body(body.into()).unwrap()).await
}

async fn ndjson(api: &Api, body: impl Into<Body>) -> Answer {
    typed(api, EVENTS, &[("content-type", "application/x-ndjson; charset=utf-8")], body).await
}

#[tokio::test]
async fn one_event_an_array_and_lines_are_taken() {
    with_api(Setup::default(), async |api| {
        let taken = |accepted: usize| json!({ "accepted": accepted, "duplicates": 0, "rejected": [] });
        let one = api.call("POST", EVENTS, event("e1", "c1")).await;
        assert_eq!((one.status, one.json()), (202, taken(1)));
        let array = format!("[{},\n{}]", event("e2", "c1"), event("e3", "c1"));
        assert_eq!(api.call("POST", EVENTS, array).await.json(), taken(2));
        let lines = format!("{}\r\n\n{}\n", event("e4", "c1"), event("e5", "c1"));
        assert_eq!(ndjson(api, lines).await.json(), taken(2));
        // Without a content type a body is JSON.
        assert_eq!(typed(api, EVENTS, &[], event("e6", "c1")).await.json(), taken(1));
    })
    .await;
}

#[tokio::test]
async fn a_batch_counts_duplicates_and_rejects_by_index() {
    with_api(Setup::default(), async |api| {
        api.call("POST", EVENTS, event("e1", "c1")).await;
        let lines =
            [&*event("e1", "c1"), "", "{", &event("e2", "c1"), &event("e3", "c2"), &sized(1024 * 1024 + 1)];
        let answer = ndjson(api, lines.join("\n")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let answer = answer.json();
        assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(1), &json!(1)));
        let rejected = answer["rejected"].as_array().unwrap();
        let indexes: Vec<_> = rejected.iter().map(|one| one["index"].as_u64().unwrap()).collect();
        assert_eq!(indexes, [1, 3, 4]);
        assert_eq!(rejected[1], json!({ "index": 3, "error": "unknown channel" }));
        assert_eq!(rejected[2]["error"], "event of 1048577 bytes exceeds 1048576");
        assert!(answer.get("error").is_none());
        // A duplicate alone is no refusal.
        assert_eq!(api.call("POST", EVENTS, event("e1", "c1")).await.status, 202);
    })
    .await;
}

#[tokio::test]
async fn nothing_acceptable_is_400() {
    with_api(Setup::default(), async |api| {
        for body in [event("e1", "unknown"), format!("[{}]", event("e1", "c2"))] {
            let answer = api.call("POST", EVENTS, body).await;
            assert_eq!(
                (answer.status, answer.json()),
                (
                    400,
                    json!({
                        "error": 400, "message": "no event was acceptable", "accepted": 0, "duplicates": 0,
                        "rejected": [{ "index": 0, "error": "unknown channel" }],
                    })
                )
            );
        }
        let answer = api.call("POST", EVENTS, r#"{"channelId":"c1","payload":{}}"#).await;
        assert_eq!(answer.json()["rejected"], json!([{ "index": 0, "error": "type is required" }]));
        let combined = r#"{"type":"RECEIVED_STATUS","channelId":"c1","payload":{}}"#;
        let answer = api.call("POST", EVENTS, combined).await;
        assert_eq!((answer.status, answer.json()["accepted"].clone()), (400, json!(0)));
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_whole() {
    with_api(Setup::default(), async |api| {
        for body in ["{", "[{]", "7", "[]", " ", "\"hunter2\"", "{\"hunter2\"}"] {
            let answer = api.call("POST", EVENTS, body).await;
            assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!(400)), "{body}");
            assert_eq!(answer.json().as_object().unwrap().len(), 2, "{}", answer.text);
            assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        }
        ndjson(api, "\n \n").await.is_error(400, "no event in the request");
    })
    .await;
}

#[tokio::test]
async fn sizes_are_bounded() {
    with_api(Setup::default(), async |api| {
        let limit = 1024 * 1024;
        assert_eq!(api.call("POST", EVENTS, sized(limit)).await.status, 202);
        api.call("POST", EVENTS, sized(limit + 1))
            .await
            .is_error(413, "event of 1048577 bytes exceeds 1048576");
        // In an array, even alone, it is an event of a batch.
        let answer = api.call("POST", EVENTS, format!("[{}]", sized(limit + 1))).await;
        assert_eq!((answer.status, answer.json()["rejected"][0]["index"].clone()), (400, json!(0)));

        let large = vec![b' '; 16 * limit + 1];
        api.call("POST", EVENTS, large.clone())
            .await
            .is_error(413, "body of 16777217 bytes exceeds 16777216");
        typed(api, EVENTS, &[], large)
            .await
            .is_error(413, "body of at least 16777217 bytes exceeds 16777216");
    })
    .await;
}

#[tokio::test]
async fn media_that_are_not_taken_are_named() {
    with_api(Setup::default(), async |api| {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        typed(api, EVENTS, &form, event("e1", "c1")).await.is_error(
            415,
            "content type `application/x-www-form-urlencoded` is not taken; send application/json or \
             application/x-ndjson",
        );
        typed(api, EVENTS, &[("content-encoding", "gzip")], event("e1", "c1"))
            .await
            .is_error(415, "content encoding `gzip` is not taken; send the body as it is");
    })
    .await;
}

#[tokio::test]
async fn a_store_that_refuses_is_503_with_a_time() {
    with_api(Setup::default(), async |api| {
        api.store.refuse_events(Some(StoreError::Full("1 GiB".into())));
        let answer = api.call("POST", EVENTS, event("e1", "c1")).await;
        answer.is_error(503, "the store is full (1 GiB); events are refused until there is room");
        assert_eq!(answer.header("retry-after"), Some("30"));
        api.store.refuse_events(None);
        assert_eq!(api.call("POST", EVENTS, event("e1", "c1")).await.json()["accepted"], 1);
    })
    .await;
}

#[tokio::test]
async fn over_the_budget_of_bytes_is_503_with_a_time() {
    let mut setup = Setup::default();
    setup.limits.ingest_bytes_max = 100;
    with_api(setup, async |api| {
        for body in [sized(101), format!("[{}]", sized(99))] {
            let answer = api.call("POST", EVENTS, body).await;
            answer.is_error(503, "too many bytes of events are being taken right now; try again");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        // What was refused holds nothing back.
        assert_eq!(api.call("POST", EVENTS, sized(100)).await.status, 202);
        assert_eq!(api.call("POST", EVENTS, sized(100)).await.status, 202);
    })
    .await;
}

#[tokio::test]
async fn the_bare_route_takes_its_id_from_a_header() {
    with_api(Setup::default(), async |api| {
        let path = "/v1/channels/c1/events/BLOCK";
        let key = [("idempotency-key", "order-7"), ("content-type", "application/json")];
        let first = typed(api, path, &key, "{\"a\":1}").await;
        assert_eq!(
            (first.status, first.json()),
            (202, json!({ "accepted": 1, "duplicates": 0, "rejected": [] }))
        );
        let again = typed(api, path, &key, "{\"a\":2}").await;
        assert_eq!(
            (again.status, again.json()),
            (202, json!({ "accepted": 0, "duplicates": 1, "rejected": [] }))
        );
        // Percent-encoded, it is the same path.
        let encoded = typed(api, "/v1/channels/%631/events/BLOC%4B", &key, "{}").await;
        assert_eq!(encoded.json()["duplicates"], 1);
        // Without an id each is a new event.
        assert_eq!(typed(api, path, &[], "{}").await.json()["accepted"], 1);
    })
    .await;
}

#[tokio::test]
async fn the_bare_route_says_what_is_wrong() {
    with_api(Setup::default(), async |api| {
        let of = |channel: &str, kind: &str| format!("/v1/channels/{channel}/events/{kind}");
        let kinds = "MESSAGE_RECEIVED, MESSAGE_DELIVERY, MESSAGE_STATUS, CONNECTED, DISCONNECTED, \
                     PRESENCE_CHAT, INITIAL_DATA, BLOCK";
        for channel in ["unknown", "c2", "a%20b"] {
            api.call("POST", &of(channel, "BLOCK"), "{}").await.is_error(404, "Channel not found");
        }
        api.call("POST", &of("c1", "NOPE"), "{}")
            .await
            .is_error(400, &format!("type `NOPE` is unknown; it must be one of {kinds}"));
        api.call("POST", &of("c1", "BLOCK"), "[]").await.is_error(400, "payload must be a JSON object");
        api.call("POST", &of("c1", "BLOCK"), "")
            .await
            .is_error(400, "the body is empty; it must be the event's JSON object");
        typed(api, &of("c1", "BLOCK"), &[("idempotency-key", "a.b")], "{}")
            .await
            .is_error(400, "Idempotency-Key must be 1 to 64 characters of A-Z a-z 0-9 _ -");
        typed(api, &of("c1", "BLOCK"), &[("content-type", "application/x-ndjson")], "{}")
            .await
            .is_error(415, "content type `application/x-ndjson` is not taken; send application/json");
        api.call("POST", &of("c1", "BLOCK"), vec![b' '; 1024 * 1024 + 1])
            .await
            .is_error(413, "body of 1048577 bytes exceeds 1048576");
    })
    .await;
}

#[tokio::test]
async fn an_operator_reaches_every_channel() {
    with_api(Setup::default(), async |api| {
        let both = format!("[{},{}]", event("e1", "c1"), event("e2", "c2"));
        assert_eq!(api.call_as(ROOT, "POST", EVENTS, both).await.json()["accepted"], 2);
        // The role is asked of webhook calls only.
        let free = api.new_key("free", Scopes { ingest: true, ..Scopes::default() }).await;
        assert_eq!(api.call_as(&free, "POST", EVENTS, event("e3", "c2")).await.json()["accepted"], 1);
    })
    .await;
}

#[tokio::test]
async fn where_channels_are_made_on_first_use_an_event_makes_one() {
    with_api(Setup { makes_channels: true, ..Setup::default() }, async |api| {
        assert_eq!(api.call("POST", EVENTS, event("e1", "fresh")).await.json()["accepted"], 1);
        assert_eq!(api.call("POST", "/v1/channels/newer/events/BLOCK", "{}").await.status, 202);
        api.call("POST", "/v1/channels/c2/events/BLOCK", "{}").await.is_error(404, "Channel not found");
    })
    .await;
}

#[tokio::test]
async fn a_large_batch_is_parsed_aside() {
    with_api(Setup::default(), async |api| {
        let lines: Vec<String> = (0..5000).map(|number| event(&format!("e{number}"), "c1")).collect();
        let body = lines.join("\n");
        assert!(body.len() > 256 * 1024, "{}", body.len());
        assert_eq!(ndjson(api, body).await.json()["accepted"], 5000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_over_its_rate_is_told_when_to_come_back() {
    let mut setup = Setup::default();
    setup.limits.ingest_per_second = std::num::NonZeroU32::new(2);
    with_api(setup, async |api| {
        let batch = format!("[{},{},{}]", event("e1", "c1"), event("e2", "c1"), event("e3", "c1"));
        assert_eq!(api.call("POST", EVENTS, batch).await.json()["accepted"], 3);
        let over = "events of this key exceed 2 a second";
        for (path, body) in [(EVENTS, event("e4", "c1")), ("/v1/channels/c1/events/BLOCK", "{}".to_owned())] {
            let answer = api.call("POST", path, body).await;
            answer.is_error(429, over);
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        // The key is limited, not the account, and not the operator.
        let other = api.new_key("acme", Scopes { ingest: true, ..Scopes::default() }).await;
        assert_eq!(api.call_as(&other, "POST", EVENTS, event("e5", "c1")).await.status, 202);
        for _ in 0..5 {
            assert_eq!(api.call_as(ROOT, "POST", EVENTS, event("e6", "c1")).await.status, 202);
        }
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        for (id, status) in [("e4", 202), ("e7", 429)] {
            assert_eq!(api.call("POST", EVENTS, event(id, "c1")).await.status, status, "{id}");
        }
        assert_eq!(api.call("GET", WEBHOOKS, "").await.status, 200, "only events have a rate");
    })
    .await;
}
