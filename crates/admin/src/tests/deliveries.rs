//! Deliveries: list, get, redrive; a webhook's test and health.

use super::harness::{Api, Setup, with_api};
use fanfare_core::outcome::FailureClass;
use fanfare_testkit::transport::Answer as Sent;
use serde_json::{Value, json};
use std::time::Duration;

const LEAST: &str = r#"{"url":"https://r.test/in","events":["BLOCK","CONNECTED"]}"#;
const BLOCKED: Sent = Sent::Fail(FailureClass::BlockedAddress, Duration::ZERO);

async fn push(api: &Api, ids: &[&str]) {
    for id in ids {
        let event = json!({ "id": id, "type": "BLOCK", "channelId": "c1", "payload": { "n": 1 } });
        assert_eq!(api.call("POST", "/v1/events", event.to_string()).await.status, 202);
    }
}

/// The webhook's deliveries once none is pending.
async fn settled(api: &Api, path: &str) -> Vec<Value> {
    for _ in 0..100_000 {
        let page = api.call("GET", &format!("{path}/deliveries"), "").await.json();
        let items = page["items"].as_array().unwrap();
        if items.iter().all(|item| item["status"] != "PENDING") {
            return items.clone();
        }
        tokio::task::yield_now().await;
    }
    panic!("deliveries stay pending");
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_goes_on_where_the_part_before_ended() {
    with_api(Setup::default(), async |api| {
        let path = api.create(LEAST).await;
        push(api, &["E1", "E2", "E3"]).await;
        let all = settled(api, &path).await;
        assert_eq!(all.len(), 3);
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = api.call("GET", &format!("{path}/deliveries?limit=1{next}"), "").await.json();
            seen.extend(page["items"].as_array().unwrap().clone());
            match &page["nextCursor"] {
                Value::Null => break,
                cursor => next = format!("&cursor={}", cursor.as_str().unwrap()),
            }
        }
        assert_eq!(seen, all);
        for item in &all {
            assert_eq!(
                (&item["status"], &item["reason"], &item["type"]),
                (&json!("DELIVERED"), &json!(null), &json!("BLOCK"))
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_is_filtered_by_status_and_by_when_the_event_was_accepted() {
    with_api(Setup::default(), async |api| {
        let path = api.create(LEAST).await;
        push(api, &["E1"]).await;
        settled(api, &path).await;
        api.clock.step_wall(60_000);
        api.transport.set(|_| BLOCKED);
        push(api, &["E2"]).await;
        let all = settled(api, &path).await;
        let created = |event: &str| {
            let item = all.iter().find(|item| item["eventId"] == event).unwrap();
            item["createdAt"].as_str().unwrap().to_owned()
        };
        let (first, second) = (created("E1"), created("E2"));
        for (query, expected) in [
            ("status=DELIVERED".to_owned(), vec!["E1"]),
            ("status=DEAD".to_owned(), vec!["E2"]),
            ("status=SKIPPED".to_owned(), vec![]),
            (format!("from={second}"), vec!["E2"]),
            (format!("to={second}"), vec!["E1"]),
            (format!("from={first}&to={second}&status=DELIVERED"), vec!["E1"]),
            (format!("from={first}&to={first}"), vec![]),
        ] {
            let page = api.call("GET", &format!("{path}/deliveries?{query}"), "").await.json();
            let found: Vec<_> = ids(&page).iter().map(|id| id.split('-').next().unwrap()).collect();
            assert_eq!(found, expected, "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_query_that_breaks_a_rule_is_refused_with_it() {
    with_api(Setup::default(), async |api| {
        let path = api.create(LEAST).await;
        let time = "must be an RFC 3339 time, such as 2026-03-09T14:05:00Z";
        for (query, message) in [
            ("limit=0", "limit must be an integer from 1 to 1000"),
            ("limit=1001", "limit must be an integer from 1 to 1000"),
            ("status=dead", "status must be PENDING, DEAD, DELIVERED or SKIPPED"),
            ("from=today", &format!("from {time}")),
            ("to=2026-03-09", &format!("to {time}")),
            ("cursor=%2F", "cursor is not one that this list gave"),
            ("cursor=AAAA", "cursor is not one that this list gave"),
            ("stauts=DEAD", "unknown parameter `stauts`: known are status, from, to, cursor, limit"),
        ] {
            api.call("GET", &format!("{path}/deliveries?{query}"), "").await.is_error(400, message);
        }
    })
    .await;
}

#[tokio::test]
async fn a_dead_delivery_is_shown_with_its_attempts_and_put_back() {
    with_api(Setup::default(), async |api| {
        let path = api.create(LEAST).await;
        api.transport.set(|_| BLOCKED);
        push(api, &["E1", "E2", "E3"]).await;
        let dead = settled(api, &path).await;
        assert!(dead.iter().all(|item| item["reason"] == "blocked_address"), "{dead:?}");
        let id = dead[0]["id"].as_str().unwrap();
        let one = format!("{path}/deliveries/{id}");
        let detail = api.call("GET", &one, "").await.json();
        let attempt = &detail["attempts"][0];
        assert_eq!((&attempt["number"], &attempt["failure"]), (&json!(1), &json!("blocked_address")));
        assert_eq!((&detail["attemptCount"], &detail["lastFailure"]), (&json!(1), &json!("blocked_address")));

        api.transport.set(|_| Sent::OK);
        let redriven = api.call("POST", &format!("{one}/redrive"), "").await;
        assert_eq!((redriven.status, redriven.json()), (202, json!({ "redriven": 1 })));
        settled(api, &path).await;
        let detail = api.call("GET", &one, "").await.json();
        assert_eq!((&detail["status"], &detail["attempts"][1]["number"]), (&json!("DELIVERED"), &json!(2)));

        let again = api.call("POST", &format!("{one}/redrive"), "").await;
        assert_eq!(again.status, 409);
        assert!(again.json()["message"].as_str().unwrap().contains("DELIVERED"), "{}", again.text);

        let rest = api.call("POST", &format!("{path}/redrive"), "{}").await;
        assert_eq!((rest.status, rest.json()), (202, json!({ "redriven": 2 })));
        let delivered = settled(api, &path).await;
        assert!(delivered.iter().all(|item| item["status"] == "DELIVERED"), "{delivered:?}");
        let sent = api.transport.sent();
        let told =
            |index: usize| (sent[index].request.delivery_id.to_vec(), sent[index].request.attempt_number);
        assert_eq!(told(3), (id.as_bytes().to_vec(), 2), "the same id, the next number");
        assert_eq!(sent.len(), 6);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_put_back() {
    with_api(Setup::default(), async |api| {
        let path = api.create(LEAST).await;
        let other = api.create(LEAST).await;
        push(api, &["E1"]).await;
        let id = settled(api, &other).await[0]["id"].as_str().unwrap().to_owned();
        for id in ["nothing", "%FF", &id] {
            for (method, path) in [
                ("GET", format!("{path}/deliveries/{id}")),
                ("POST", format!("{path}/deliveries/{id}/redrive")),
            ] {
                let what = if id == "%FF" { "Channel not found" } else { "Delivery not found" };
                api.call(method, &path, "").await.is_error(404, what);
            }
        }
        api.call("POST", &format!("{path}/redrive"), r#"{"status":"PENDING"}"#)
            .await
            .is_error(400, "status must not be PENDING: what is owed needs no redrive");
    })
    .await;
}

#[tokio::test]
async fn a_test_sends_a_sample_also_while_the_webhook_is_disabled() {
    with_api(Setup::default(), async |api| {
        let path = api.create(LEAST).await;
        assert_eq!(api.call("PATCH", &path, r#"{"status":"DISABLED"}"#).await.status, 200);
        let first = api.call("POST", &format!("{path}/test"), "").await.json();
        assert_eq!(
            (&first["type"], &first["delivered"], &first["status"]),
            (&json!("CONNECTED"), &json!(true), &json!(200))
        );
        api.transport.set(|_| Sent::Status(500, Duration::ZERO));
        let named = api.call("POST", &format!("{path}/test"), r#"{"type":"BLOCK"}"#).await.json();
        assert_eq!(
            (&named["type"], &named["delivered"], &named["failure"]),
            (&json!("BLOCK"), &json!(false), &json!("status"))
        );
        let sent = api.transport.sent();
        let id = String::from_utf8(sent[1].request.delivery_id.to_vec()).unwrap();
        assert_eq!(named["deliveryId"], json!(id));
        assert_eq!(settled(api, &path).await, [] as [Value; 0], "nothing is stored");
    })
    .await;
}

#[tokio::test]
async fn a_test_has_its_part_in_the_rate_limit() {
    with_api(Setup::default(), async |api| {
        let path = api
            .create(
                r#"{"url":"https://r.test/in","events":["BLOCK"],"delivery":{"rateLimit":{"perSecond":0.1,"burst":1}}}"#,
            )
            .await;
        assert_eq!(api.call("POST", &format!("{path}/test"), "").await.status, 200);
        let refused = api.call("POST", &format!("{path}/test"), "{}").await;
        refused.is_error(429, "the webhook's rate limit leaves no room for a test now");
        assert_eq!(refused.header("retry-after"), Some("10"));
    })
    .await;
}

#[tokio::test]
async fn health_tells_of_a_webhook_at_rest_and_of_one_that_fails() {
    with_api(Setup::default(), async |api| {
        let path = api.create(LEAST).await;
        let health = async || api.call("GET", &format!("{path}/health"), "").await.json();
        assert_eq!(
            health().await,
            json!({
                "status": "ENABLED", "disabledReason": null,
                "gate": { "state": "OPEN", "until": null, "failuresInARow": 0, "failingSince": null },
                "backlog": {
                    "deliveries": 0, "isAtLeast": false, "oldestPendingAt": null, "oldestPendingAgeSeconds": null,
                },
                "inFlight": 0,
                "rates": { "deliveredPerSecond": 0.0, "failedPerSecond": 0.0, "windowSeconds": 60 },
                "latencyMs": { "p50": null, "p90": null, "p99": null, "samples": 0 },
                "lastFailure": null,
            })
        );
        api.transport.set(|_| Sent::Status(500, Duration::ZERO));
        push(api, &["E1"]).await;
        let mut failing = health().await;
        for _ in 0..100_000 {
            if failing["lastFailure"] != Value::Null {
                break;
            }
            tokio::task::yield_now().await;
            failing = health().await;
        }
        assert_eq!((&failing["lastFailure"]["failure"], &failing["lastFailure"]["status"]), (&json!("status"), &json!(500)));
        assert_eq!((&failing["backlog"]["deliveries"], &failing["gate"]["failuresInARow"]), (&json!(1), &json!(1)));
        assert_eq!(failing["latencyMs"]["samples"], json!(1));
        let oldest = failing["backlog"]["oldestPendingAt"].as_str().unwrap().to_owned();
        api.clock.step_wall(90_000);
        let later = health().await;
        assert_eq!(later["backlog"]["oldestPendingAt"], json!(oldest));
        assert_eq!(later["backlog"]["oldestPendingAgeSeconds"], json!(90));

        assert_eq!(api.call("PATCH", &path, r#"{"status":"DISABLED"}"#).await.status, 200);
        assert_eq!(health().await["status"], "DISABLED");
    })
    .await;
}
