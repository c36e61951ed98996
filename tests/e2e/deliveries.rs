//! What became of deliveries, told and put right over the API: list, get, redrive, test, health.

use crate::{CHANNEL, attempts, delivery_id, header, ids, path, receiver, subscribed, text, webhook};
use fanfare_testkit::receiver::{Answer, Reply};
use fanfare_tests::{Api, Node, NodeOptions, events, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn blocks(first: usize, count: usize) -> Vec<Value> {
    (first..first + count).map(|n| events::block(CHANNEL, &format!("e{n}"))).collect()
}

/// A part of the list.
async fn page(api: &Api, webhook: &Value, query: &str) -> Value {
    api.get(&format!("{}/deliveries?{query}", path(webhook))).await.expect(200)
}

/// The whole list, part by part.
async fn all(api: &Api, webhook: &Value, query: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(api, webhook, &format!("{query}{cursor}")).await;
        items.extend(page["items"].as_array().unwrap().clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// Waits until so many deliveries have this status.
async fn until_status(api: &Api, webhook: &Value, status: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} deliveries {status}"), || async {
        let items = all(api, webhook, &format!("status={status}&limit=1000")).await;
        (items.len() == count).then_some(items)
    })
    .await
}

async fn detail(api: &Api, webhook: &Value, id: &str) -> Value {
    api.get(&format!("{}/deliveries/{id}", path(webhook))).await.expect(200)
}

async fn redrive(api: &Api, webhook: &Value, filter: &Value) -> Value {
    api.post(&format!("{}/redrive", path(webhook)), filter).await.expect(202)
}

fn numbers(detail: &Value) -> Vec<u64> {
    detail["attempts"].as_array().unwrap().iter().map(|attempt| attempt["number"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_list_shows_every_delivery_once_part_by_part() {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({})).await;
    let api = node.api();
    api.push(&blocks(0, 230)).await;
    api.until_settled().await;
    let items = all(api, &made, "limit=50").await;
    let told: BTreeSet<_> = items.iter().map(|item| text(item, "id")).collect();
    let requests = target.requests();
    assert_eq!((items.len(), told), (230, ids(&requests).into_iter().collect()));
    for item in &items {
        assert_eq!((text(item, "status"), &item["attemptCount"]), ("DELIVERED", &json!(1)), "{item}");
        assert_eq!((text(item, "type"), &item["lastStatus"]), ("BLOCK", &json!(200)), "{item}");
    }
    assert_eq!(all(api, &made, "status=DEAD").await, [] as [Value; 0]);
    // Times part the list in two.
    let middle = text(&items[100], "createdAt").replace('Z', "%2B00:00");
    let [before, after] = [format!("to={middle}"), format!("from={middle}")];
    let parts = [all(api, &made, &before).await, all(api, &made, &after).await];
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 230);
    assert!(!parts[1].is_empty());
}

#[tokio::test]
async fn a_delivery_is_shown_with_what_each_attempt_came_to_also_after_a_restart() {
    let target = receiver();
    target.push(Reply::Answer(Answer::new(500).body("no, \u{e9}")));
    let (mut node, made) = subscribed(&target, json!({})).await;
    node.api().push(&blocks(0, 1)).await;
    node.api().until_settled().await;
    let id = delivery_id("e0", &made);
    let before = detail(node.api(), &made, &id).await;
    assert_eq!((text(&before, "status"), text(&before, "eventId")), ("DELIVERED", "e0"));
    assert_eq!((&before["attemptCount"], &before["lastFailure"]), (&json!(2), &Value::Null), "{before}");
    let [first, second] = &before["attempts"].as_array().unwrap()[..] else { panic!("{before}") };
    assert_eq!(
        (&first["number"], &first["status"], &first["failure"]),
        (&json!(1), &json!(500), &json!("status"))
    );
    assert_eq!(first["response"], "no, \u{e9}");
    assert_eq!(
        (&second["number"], &second["status"], &second["failure"]),
        (&json!(2), &json!(200), &Value::Null)
    );
    assert!(text(first, "startedAt") < text(second, "startedAt"), "{before}");
    node.restart().await;
    assert_eq!(detail(node.api(), &made, &id).await, before);
}

#[tokio::test]
async fn a_dead_delivery_goes_again_with_its_id_and_the_next_number() {
    let target = receiver();
    target.script(|_| Reply::status(500));
    let (node, made) = subscribed(&target, json!({"delivery": {"retry": {"scheduleSeconds": [1]}}})).await;
    let api = node.api();
    api.push(&blocks(0, 1)).await;
    let dead = until_status(api, &made, "DEAD", 1).await.remove(0);
    let id = delivery_id("e0", &made);
    assert_eq!((text(&dead, "id"), text(&dead, "reason")), (id.as_str(), "exhausted"));
    assert_eq!((&dead["attemptCount"], &dead["lastStatus"]), (&json!(2), &json!(500)));
    assert!(dead["endedAt"].is_string(), "{dead}");

    target.script(|_| Reply::status(204));
    let again = format!("{}/deliveries/{id}/redrive", path(&made));
    assert_eq!(api.post(&again, &json!({})).await.expect(202), json!({"redriven": 1}));
    let requests = target.requests_at_least(3).await;
    assert_eq!(ids(&requests), [&id, &id, &id]);
    assert_eq!(attempts(&requests), ["1", "2", "3"]);
    until_status(api, &made, "DELIVERED", 1).await;
    assert_eq!(numbers(&detail(api, &made, &id).await), [1, 2, 3]);

    let message = api.post(&again, &json!({})).await.expect_error(409);
    assert!(message.contains("DELIVERED"), "{message}");
    let unknown = format!("{}/deliveries/{}/redrive", path(&made), delivery_id("e1", &made));
    assert_eq!(api.post(&unknown, &json!({})).await.expect_error(404), "Delivery not found");
}

#[tokio::test]
async fn what_a_410_dead_lettered_goes_when_it_is_put_back_and_the_webhook_enabled() {
    let target = receiver();
    target.script(|_| Reply::status(410));
    let (mut node, made) = subscribed(&target, json!({"delivery": {"maxInFlight": 1}})).await;
    let api = node.api();
    api.push(&blocks(0, 40)).await;
    let dead = until_status(api, &made, "DEAD", 40).await;
    assert!(dead.iter().all(|item| item["reason"] == "gone"), "{dead:?}");
    let shown = api.get(&path(&made)).await.expect(200);
    assert_eq!((text(&shown, "status"), text(&shown, "disabledReason")), ("DISABLED", "gone"));
    let refused = target.counts().requests;

    target.script(|_| Reply::status(200));
    assert_eq!(redrive(api, &made, &json!({})).await, json!({"redriven": 40}));
    assert_eq!(redrive(api, &made, &json!({})).await, json!({"redriven": 0}));
    assert_eq!(all(api, &made, "status=PENDING&limit=1000").await.len(), 40, "it is disabled still");
    // Put back is put back, whatever happens to the process.
    node.kill().await;
    node.start_again().await;
    let api = node.api();
    assert_eq!(all(api, &made, "status=PENDING&limit=1000").await.len(), 40);
    assert_eq!(target.counts().requests, refused);

    let enabled = api.patch(&path(&made), &json!({"status": "ENABLED"})).await.expect(200);
    assert_eq!(enabled.get("disabledReason"), None);
    let requests = target.requests_at_least(refused + 40).await;
    api.until_settled().await;
    let known: BTreeSet<_> = dead.iter().map(|item| text(item, "id")).collect();
    assert_eq!(ids(&requests[refused..]).into_iter().collect::<BTreeSet<_>>(), known);
    // Some were refused once, the others never sent: each goes on from its own number.
    for request in &requests[refused..] {
        let earlier = requests[..refused]
            .iter()
            .filter(|one| header(one, "webhook-id") == header(request, "webhook-id"));
        assert_eq!(header(request, "x-hub-attempt"), (earlier.count() + 1).to_string());
    }
}

#[tokio::test]
async fn only_what_fits_is_put_back() {
    let target = receiver();
    target.script(|_| Reply::status(500));
    let (node, made) = subscribed(&target, json!({"delivery": {"retry": {"scheduleSeconds": [1]}}})).await;
    let api = node.api();
    api.push(&blocks(0, 1)).await;
    let dead = until_status(api, &made, "DEAD", 1).await.remove(0);
    target.script(|_| Reply::status(200));
    let created = text(&dead, "createdAt");
    for filter in
        [json!({"to": created}), json!({"status": "SKIPPED"}), json!({"from": "2999-01-01T00:00:00Z"})]
    {
        assert_eq!(redrive(api, &made, &filter).await, json!({"redriven": 0}), "{filter}");
    }
    let misspelt = api.post(&format!("{}/redrive", path(&made)), &json!({"form": created})).await;
    assert!(misspelt.expect_error(400).contains("form"));
    assert_eq!(
        redrive(api, &made, &json!({"from": created, "status": "DEAD"})).await,
        json!({"redriven": 1})
    );
    until_status(api, &made, "DELIVERED", 1).await;
}

#[tokio::test]
async fn a_test_tells_what_the_receiver_made_of_a_sample() {
    let target = receiver();
    let (node, made) =
        subscribed(&target, json!({"signing": true, "events": ["MESSAGE_STATUS", "BLOCK"]})).await;
    let api = node.api();
    let test = format!("{}/test", path(&made));
    target.push(Reply::Answer(Answer::new(202).body("taken")));
    let good = api.post(&test, &json!({})).await.expect(200);
    let request = target.requests_at_least(1).await.remove(0);
    assert_eq!(text(&good, "deliveryId"), header(&request, "webhook-id"));
    assert_eq!((text(&good, "type"), header(&request, "x-hub-event")), ("MESSAGE_STATUS", "MESSAGE_STATUS"));
    assert_eq!(
        (&good["delivered"], &good["status"], text(&good, "response")),
        (&json!(true), &json!(202), "taken")
    );
    assert_eq!((&good["failure"], &good["bodies"]), (&Value::Null, &json!(1)));
    assert_eq!(header(&request, "x-hub-channel"), CHANNEL);
    assert_eq!(request.header_count("x-hub-signature-256"), 1);

    let _disabled = api.patch(&path(&made), &json!({"status": "DISABLED"})).await.expect(200);
    target.push(Reply::status(418));
    let bad = api.post(&test, &json!({"type": "BLOCK"})).await.expect(200);
    assert_eq!(
        (text(&bad, "type"), &bad["delivered"], text(&bad, "failure")),
        ("BLOCK", &json!(false), "status")
    );
    assert_eq!(bad["status"], 418);
    assert_eq!(all(api, &made, "").await, [] as [Value; 0], "nothing is stored");
    let shown = api.get(&path(&made)).await.expect(200);
    assert_eq!((text(&shown, "status"), shown.get("disabledReason")), ("DISABLED", None));

    // An address that may not be called is told, and not called.
    let blocked = json!({"url": "https://10.0.0.1/in", "status": "ENABLED"});
    let _changed = api.patch(&path(&made), &blocked).await.expect(200);
    let refused = api.post(&test, &json!({})).await.expect(200);
    assert_eq!((text(&refused, "failure"), &refused["status"]), ("blocked_address", &Value::Null));
    assert_eq!(target.counts().requests, 2);
}

#[tokio::test]
async fn health_tells_of_a_gate_that_is_shut_and_of_what_waits_behind_it() {
    let target = receiver();
    target.script(|_| Reply::Answer(Answer::new(503).header("retry-after", "3600")));
    let options = NodeOptions::dev().set("gate.failures", "3");
    let node = Node::start(options).await;
    let api = node.api();
    let made = webhook(api, &target, json!({"delivery": {"maxInFlight": 1}})).await;
    let health = async || api.get(&format!("{}/health", path(&made))).await.expect(200);
    let fresh = health().await;
    assert_eq!((text(&fresh, "status"), text(&fresh["gate"], "state")), ("ENABLED", "OPEN"));
    assert_eq!((&fresh["lastFailure"], &fresh["latencyMs"]["p50"]), (&Value::Null, &Value::Null));
    api.push(&blocks(0, 25)).await;
    let shut = until("a shut gate", || async {
        let health = health().await;
        (health["gate"]["state"] == "SHUT").then_some(health)
    })
    .await;
    assert!(shut["gate"]["until"].is_string() && shut["gate"]["failingSince"].is_string(), "{shut}");
    assert_eq!((&shut["backlog"]["deliveries"], &shut["backlog"]["isAtLeast"]), (&json!(25), &json!(false)));
    assert!(shut["backlog"]["oldestPendingAt"].is_string(), "{shut}");
    assert!(shut["backlog"]["oldestPendingAgeSeconds"].as_u64().unwrap() < 3600, "{shut}");
    assert_eq!(
        (text(&shut["lastFailure"], "failure"), &shut["lastFailure"]["status"]),
        ("throttled", &json!(503))
    );
    assert!(shut["latencyMs"]["samples"].as_u64() >= Some(1), "{shut}");
    assert!(shut["rates"]["failedPerSecond"].as_f64() > Some(0.0), "{shut}");

    // A changed URL opens it: all go but the one that was told to wait.
    target.script(|_| Reply::status(200));
    let _changed = api.patch(&path(&made), &json!({"url": target.url("/other")})).await.expect(200);
    until("an open gate and one delivery that waits", || async {
        let health = health().await;
        let is_open = health["gate"]["state"] == "OPEN" && health["inFlight"] == 0;
        (is_open && health["backlog"]["deliveries"] == 1).then_some(())
    })
    .await;
    let waits = all(api, &made, "status=PENDING").await;
    assert_eq!((waits.len(), text(&waits[0], "lastFailure")), (1, "throttled"));
    assert_eq!((&waits[0]["attemptCount"], &waits[0]["endedAt"]), (&json!(1), &Value::Null));
    assert!(text(&waits[0], "nextAttemptAt") > text(&waits[0], "createdAt"), "{waits:?}");
}
