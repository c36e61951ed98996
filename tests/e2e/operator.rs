//! Accounts, keys, channels, and the order of the checks they make real.

use fanfare_tests::{Answer, Api, Node, NodeOptions, events};
use serde_json::{Value, json};

async fn account(api: &Api, id: &str, role: &str) {
    let _account = api.put(&format!("/v1/accounts/{id}"), &json!({"role": role})).await.expect(200);
}

async fn key(api: &Api, account: &str, scopes: &[&str]) -> (String, Api) {
    let made =
        api.post(&format!("/v1/accounts/{account}/keys"), &json!({"scopes": scopes})).await.expect(201);
    (crate::text(&made, "id").to_owned(), api.with_key(crate::text(&made, "key")))
}

async fn channel(api: &Api, id: &str, account: &str) {
    let _channel = api.put(&format!("/v1/channels/{id}"), &json!({"accountId": account})).await.expect(200);
}

/// Every call about webhooks, with bodies that are bad.
async fn webhook_calls(api: &Api, channel: &str) -> Vec<Answer> {
    let webhooks = format!("/v1/channels/{channel}/webhooks");
    let one = format!("{webhooks}/0190F3A27C5B7E118D2A4C6B9E01F3D5");
    vec![
        api.post(&webhooks, &json!({"events": 7})).await,
        api.get(&webhooks).await,
        api.get(&one).await,
        api.patch(&one, &json!({"events": 7})).await,
        api.delete(&one).await,
    ]
}

/// 401, 403, 422, 404, 400: each call breaks all the later rules too.
#[tokio::test]
async fn checks_come_in_the_order_of_the_contract() {
    let node = Node::start(NodeOptions::default()).await;
    let operator = node.api();
    account(operator, "small", "BASIC").await;
    account(operator, "large", "ENTERPRISE").await;
    channel(operator, "small-1", "small").await;
    channel(operator, "large-1", "large").await;
    let (_, ingests) = key(operator, "small", &["ingest"]).await;
    let (_, small) = key(operator, "small", &["manage"]).await;
    let (_, large) = key(operator, "large", &["manage"]).await;

    for api in [operator.without_key(), operator.with_key("fk_no-such-key")] {
        for answer in webhook_calls(&api, "nowhere").await {
            assert_eq!(answer.expect_error(401), "Unauthorized");
        }
    }
    for answer in webhook_calls(&ingests, "nowhere").await {
        assert_eq!(answer.expect_error(403), "This key lacks the scope manage");
    }
    for channel in ["nowhere", "large-1", "small-1"] {
        for answer in webhook_calls(&small, channel).await {
            assert_eq!(answer.expect_error(422), "This action requires ENTERPRISE role", "{channel}");
        }
    }
    for channel in ["nowhere", "small-1", "not%20an%20id"] {
        for answer in webhook_calls(&large, channel).await {
            assert_eq!(answer.expect_error(404), "Channel not found", "{channel}");
        }
    }
    let answers = webhook_calls(&large, "large-1").await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [400, 200, 404, 404, 404]);
    assert_eq!(answers[3].expect_error(404), "Webhook not found");
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_and_account_say_until_it_is_deleted() {
    let node = Node::start(NodeOptions::default()).await;
    let operator = node.api();
    account(operator, "a", "ENTERPRISE").await;
    account(operator, "b", "ENTERPRISE").await;
    channel(operator, "a-1", "a").await;
    channel(operator, "b-1", "b").await;
    let (id, both) = key(operator, "a", &["manage", "ingest"]).await;
    let (_, manages) = key(operator, "a", &["manage"]).await;

    assert_eq!(
        manages.ingest(events::block("a-1", "e1").to_string()).await.expect_error(403),
        "This key lacks the scope ingest"
    );
    assert_eq!(
        both.put("/v1/accounts/c", &json!({"role": "X"})).await.expect_error(403),
        "This key lacks the scope operate"
    );
    let webhook = json!({"url": "https://a.test/", "events": ["BLOCK"]});
    let made = both.webhook("a-1", &webhook).await;
    let path = crate::path(&made);
    let _message = both.post("/v1/channels/b-1/webhooks", &webhook).await.expect_error(404);
    let elsewhere = path.replace("a-1", "b-1");
    assert_eq!(operator.get(&elsewhere).await.expect_error(404), "Webhook not found", "of another channel");
    assert_eq!(operator.get(&path).await.expect(200), made, "an operator's key reaches all");

    let answer = both
        .ingest(Value::from(vec![events::block("a-1", "e1"), events::block("b-1", "e1")]).to_string())
        .await;
    let body = answer.expect(202);
    assert_eq!((&body["accepted"], &body["rejected"][0]["index"]), (&json!(1), &json!(1)));
    assert!(crate::text(&body["rejected"][0], "error").contains("unknown channel"), "{body}");

    // The role counts at once.
    account(operator, "a", "BASIC").await;
    let _message = both.get(&path).await.expect_error(422);
    account(operator, "a", "ENTERPRISE").await;

    let shown = operator.get(&format!("/v1/accounts/a/keys/{id}")).await;
    assert!(!shown.text().contains(both.key()), "a key is shown once");
    assert_eq!(shown.expect(200)["scopes"], json!(["manage", "ingest"]));
    assert_eq!(operator.delete(&format!("/v1/accounts/a/keys/{id}")).await.status, 204);
    let _message = both.get(&path).await.expect_error(401);
    assert_eq!(manages.get(&path).await.status, 200);
}

#[tokio::test]
async fn accounts_and_channels_are_shown_as_they_were_put() {
    let node = Node::start(NodeOptions::default()).await;
    let operator = node.api();
    account(operator, "a", "BASIC").await;
    account(operator, "a", "ENTERPRISE").await;
    assert_eq!(operator.get("/v1/accounts/a").await.expect(200)["role"], "ENTERPRISE");
    let body = json!({"accountId": "a", "phone": "+55 "});
    assert!(operator.put("/v1/channels/c", &body).await.expect_error(400).contains("phone"));
    let body = json!({"accountId": "a", "phone": "+5521988110022"});
    let _made = operator.put("/v1/channels/c", &body).await.expect(200);
    let shown = operator.get("/v1/channels/c").await.expect(200);
    assert_eq!((&shown["accountId"], &shown["phone"]), (&json!("a"), &json!("5521988110022")));
    let _message = operator.put("/v1/channels/d", &json!({"accountId": "nobody"})).await.expect_error(404);
    let _message = operator.get("/v1/channels/d").await.expect_error(404);
    let _message = operator.get("/v1/accounts/nobody").await.expect_error(404);
    let bad = operator.post("/v1/accounts/a/keys", &json!({"scopes": ["fly"]})).await.expect_error(400);
    assert!(bad.contains("unknown scope `fly`"), "{bad}");
}
