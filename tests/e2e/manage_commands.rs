//! `fanfare keys`, `webhooks` and `deliveries` against the real engine, as an operator uses them one after another, and
//! another master key for what they left behind.

use crate::{CHANNEL, header, receiver, text, url};
use fanfare_testkit::receiver::{Received, Reply};
use fanfare_tests::program::Ended;
use fanfare_tests::{Api, Node, NodeOptions, Program, events, node};
use serde_json::{Value, json};
use std::path::Path;

const TOKEN: &str = "token-of-the-shop-8c1d";

/// A command line for a server, with a key in the environment.
fn fanfare(api: &Api, key: &str, words: &[&str]) -> Program {
    Program::fanfare(words)
        .variable("FANFARE_URL", &format!("http://{}", api.address()))
        .variable("FANFARE_API_KEY", key)
}

async fn run(api: &Api, words: &[&str]) -> Ended {
    fanfare(api, api.key(), words).run().await
}

/// What a command prints with `--json`.
async fn json_of(api: &Api, words: &[&str]) -> Value {
    let ended = run(api, &[words, &["--json"]].concat()).await;
    serde_json::from_str(ended.expect(0)).unwrap_or_else(|error| panic!("{error} in {ended:?}"))
}

/// An engine for operators, with receivers on this machine.
async fn operated() -> Node {
    let options = NodeOptions::default().set("egress.allow_http", "true").set("egress.allow", "127.0.0.0/8");
    Node::start(options).await
}

fn verify(request: &Received, secret: &str) {
    fanfare_signing::verify_hub(secret, header(request, "x-hub-signature-256"), &request.body).unwrap();
}

#[tokio::test]
async fn an_operator_makes_a_key_and_its_holder_a_webhook_that_delivers() {
    let node = operated().await;
    let operator = node.api();
    let words = ["keys", "create", "--account", "acme", "--scopes", "manage,ingest"];
    let ended = run(operator, &words).await;
    ended.expect(3);
    assert!(ended.error.contains("--make-account"), "{}", ended.error);
    let made = json_of(operator, &[&words[..], &["--make-account", "ENTERPRISE"]].concat()).await;
    let key_id = text(&made, "id");
    let _channel = operator.put("/v1/channels/c1", &json!({"accountId": "acme"})).await.expect(200);
    let api = operator.with_key(text(&made, "key"));
    let listed = run(operator, &["keys", "list", "--account", "acme"]).await;
    assert!(listed.expect(0).contains(key_id) && listed.output.contains("manage,ingest"), "{listed:?}");
    assert!(!listed.output.contains(api.key()), "a key's text is shown once");

    let target = receiver();
    let words = ["webhooks", "create", "--channel", CHANNEL, "--url", &url(&target), "--events", "block"];
    let flags = ["--signing", "--auth-type", "bearer", "--credential-env", "SHOP", "--max-in-flight", "3"];
    let created =
        fanfare(&api, api.key(), &[&words[..], &flags].concat()).variable("SHOP", TOKEN).run().await;
    let shown = created.expect(0);
    let member = |name: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
        line.unwrap_or_else(|| panic!("{name} in {shown}")).trim().to_owned()
    };
    let (id, secret) = (member("id"), member("secret"));
    node.secrets().add(&secret);
    node.secrets().add(TOKEN);
    assert!(shown.contains("shown this once") && !shown.contains(TOKEN), "{shown}");
    let stored = json_of(&api, &["webhooks", "get", "--channel", CHANNEL, &id]).await;
    assert_eq!(stored, api.get(&format!("/v1/channels/c1/webhooks/{id}")).await.expect(200));
    assert_eq!(stored["delivery"]["maxInFlight"], 3);

    api.push(&[events::block(CHANNEL, "e1")]).await;
    let requests = target.requests_at_least(1).await;
    verify(&requests[0], &secret);
    assert_eq!(header(&requests[0], "authorization"), format!("Bearer {TOKEN}"));

    let of = |command| ["webhooks", command, "--channel", CHANNEL, id.as_str()];
    run(&api, &of("disable")).await.expect(0);
    api.push(&[events::block(CHANNEL, "e2")]).await;
    let listed = run(&api, &["webhooks", "list", "--channel", CHANNEL]).await;
    let line = listed.expect(0).lines().nth(1).unwrap_or_default().to_owned();
    assert!(
        line.starts_with(&format!("{id}  DISABLED  DEFAULT  BLOCK")) && line.ends_with("/in?…"),
        "{line}"
    );
    run(&api, &of("enable")).await.expect(0);
    let rotated =
        json_of(&api, &[&of("update")[..], &["--new-secret", "--restore", "maxInFlight"]].concat()).await;
    node.secrets().add(text(&rotated, "secret"));
    assert_eq!(rotated["delivery"]["maxInFlight"], 16);
    api.push(&[events::block(CHANNEL, "e3")]).await;
    let requests = target.requests_at_least(2).await;
    verify(&requests[1], text(&rotated, "secret"));
    assert!(header(&requests[1], "webhook-id").starts_with("e3-"), "e2 came while it was disabled");

    run(&api, &of("delete")).await.expect(0);
    let ended = run(&api, &of("get")).await;
    ended.expect(3);
    assert!(ended.error.contains("404 Webhook not found"), "{}", ended.error);
    run(operator, &["keys", "delete", "--account", "acme", key_id]).await.expect(0);
    let ended = run(&api, &["webhooks", "list", "--channel", CHANNEL]).await;
    ended.expect(3);
    assert!(ended.error.contains("401"), "{}", ended.error);
}

#[tokio::test]
async fn exit_codes_tell_a_bad_flag_from_a_refusal_and_an_absent_server() {
    let node = Node::dev().await;
    let api = node.api().clone();
    run(&api, &["webhooks", "list"]).await.expect(2);
    run(&api, &["webhooks", "get", "--channel", CHANNEL, "a/b"]).await.expect(2);
    run(&api, &["deliveries", "list", "--channel", "c", "--webhook", "w", "--from", "x"]).await.expect(2);
    let create = ["webhooks", "create", "--channel", CHANNEL, "--events", "BLOCK", "--url"];
    let ended = run(&api, &[&create[..], &["ftp://a.test/"]].concat()).await;
    ended.expect(3);
    assert!(ended.error.contains("refused to make the webhook: 400 url"), "{}", ended.error);
    let ended = run(&api, &["keys", "list", "--account", "dev"]).await;
    ended.expect(0);
    drop(node);
    let ended = run(&api, &["webhooks", "list", "--channel", CHANNEL]).await;
    ended.expect(3);
    assert!(ended.error.contains("is `fanfare serve` running there?"), "{}", ended.error);
}

/// Runs `keys rotate-master` on a node's directory.
async fn rotate(node: &Node, new_key_file: &Path) -> Ended {
    let (dir, file) = (node.data_dir(), new_key_file.display().to_string());
    let words = ["keys", "rotate-master", "--data-dir", dir.to_str().unwrap(), "--new-key-file", &file];
    let ended = Program::fanfare(words).run().await;
    let found = node.secrets().found_in(&format!("{}{}", ended.output, ended.error));
    assert!(found.is_empty(), "{found:?} in {ended:?}");
    ended
}

#[tokio::test]
async fn under_a_new_master_key_everything_works_as_before_and_the_old_key_opens_nothing() {
    let target = receiver();
    let (mut node, made) =
        crate::subscribed(&target, json!({"signing": true, "auth": {"type": "BEARER", "token": TOKEN}}))
            .await;
    let key_file = node.data_dir().join("master.key");
    let old = std::fs::read_to_string(&key_file).unwrap().trim().to_owned();
    let new = "9d".repeat(32);
    [&old, &new].into_iter().for_each(|key| node.secrets().add(key));
    let folder = tempfile::tempdir().unwrap();
    let new_key_file = folder.path().join("new.key");
    std::fs::write(&new_key_file, &new).unwrap();

    let ended = rotate(&node, &new_key_file).await;
    ended.expect(4);
    assert!(ended.error.contains("in use by another process"), "{}", ended.error);

    node.terminate();
    assert_eq!(node.ended().await.code(), Some(0));
    let ended = rotate(&node, &new_key_file).await;
    assert!(ended.expect(0).starts_with("the secrets of 1 webhook are sealed under the new"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&key_file).unwrap().trim(), new);

    let options = NodeOptions::dev().variable("FANFARE_MASTER_KEY", &old);
    let ended = Program::new(node::command(node.data_dir().parent().unwrap(), &options)).run().await;
    ended.expect(4);
    assert!(ended.error.contains("written under another master key"), "{}", ended.error);

    let api_key = node.api().key().to_owned();
    node.start_again().await;
    assert_eq!(node.api().key(), api_key, "the key made before is valid still, so no other was made");
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    let requests = target.requests_at_least(1).await;
    verify(&requests[0], text(&made, "secret"));
    assert_eq!(header(&requests[0], "authorization"), format!("Bearer {TOKEN}"));
}

#[tokio::test]
async fn a_webhook_is_tested_and_its_health_told() {
    let target = receiver();
    let (node, made) = crate::subscribed(&target, json!({"signing": true})).await;
    let api = node.api();
    let id = text(&made, "id");
    let health = ["webhooks", "health", "--channel", CHANNEL, id];
    let shown = run(api, &health).await;
    assert!(shown.expect(0).starts_with("status        ENABLED\ngate          OPEN\n"), "{shown:?}");
    assert!(shown.output.contains("last failure  -\n"), "{shown:?}");

    let test = ["webhooks", "test", "--channel", CHANNEL, id];
    let good = run(api, &[&test[..], &["--type", "block"]].concat()).await;
    assert!(good.expect(0).starts_with("outcome   delivered\nstatus    200\n"), "{good:?}");
    let requests = target.requests_at_least(1).await;
    verify(&requests[0], text(&made, "secret"));
    target.script(|_| Reply::Answer(fanfare_testkit::receiver::Answer::new(500).body("out of order")));
    let bad = run(api, &test).await;
    bad.expect(1);
    assert!(bad.error.contains("the test was not delivered: the receiver answered 500"), "{bad:?}");
    assert!(bad.output.contains("response  out of order\n"), "{bad:?}");

    api.push(&[events::block(CHANNEL, "e1")]).await;
    api.until_metric("fanfare_attempts_failed_total{class=\"status\"}", 1).await;
    let shown = run(api, &health).await;
    assert!(shown.expect(0).contains("gate          OPEN, 1 failure in a row, failing since 2"), "{shown:?}");
    assert!(shown.output.contains("backlog       1 delivery\n"), "{shown:?}");
    let json = json_of(api, &health).await;
    assert_eq!(json["lastFailure"]["status"], 500, "{json}");
}

/// A receiver that fails until it is mended: everything it was owed is dead, is looked into, and is put back.
#[tokio::test]
async fn dead_deliveries_are_found_looked_into_and_put_back() {
    let target = receiver();
    target.script(|_| Reply::Answer(fanfare_testkit::receiver::Answer::new(500).body("out of order")));
    let (node, made) =
        crate::subscribed(&target, json!({"delivery": {"retry": {"scheduleSeconds": [1]}}})).await;
    let api = node.api();
    let id = text(&made, "id");
    let of = |command, more: &[&'static str]| {
        let words = ["deliveries", command, "--channel", CHANNEL, "--webhook", id].map(str::to_owned);
        words.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect::<Vec<_>>()
    };
    let run_of = |command, more: &[&'static str]| {
        let words = of(command, more);
        async move { run(api, &words.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    assert_eq!(run_of("list", &[]).await.expect(0), "no deliveries\n");
    api.push(&[events::block(CHANNEL, "e1"), events::block(CHANNEL, "e2"), events::block(CHANNEL, "e3")])
        .await;
    // The letters kept, not the deliveries given up: those are counted before they are written.
    api.until_metric("fanfare_dead_letters", 3).await;

    let listed = run_of("list", &["--status", "DEAD", "--from", "1h", "--all", "--limit", "1"]).await;
    let lines: Vec<&str> = listed.expect(0).lines().collect();
    assert_eq!(lines.len(), 4, "{listed:?}");
    assert!(lines[0].starts_with("DELIVERY  TYPE   STATUS  ATTEMPTS"), "{listed:?}");
    assert!(lines[1..].iter().all(|line| line.contains("BLOCK  DEAD    2")), "{listed:?}");
    assert!(lines[1..].iter().all(|line| line.ends_with("exhausted 500") && line.len() < 100), "{listed:?}");
    assert_eq!(run_of("list", &["--status", "delivered"]).await.expect(0), "no deliveries\n");
    let all = run_of("list", &["--all", "--limit", "2", "--json"]).await;
    let all: Value = serde_json::from_str(all.expect(0)).unwrap();
    assert_eq!((all["items"].as_array().map(Vec::len), &all["nextCursor"]), (Some(3), &Value::Null), "{all}");

    let one = run_of("get", &["e2"]).await;
    let shown = one.expect(0);
    for part in
        [&crate::delivery_id("e2", &made), "DEAD", "exhausted", "response to attempt 2:\n  out of order"]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let ended = run_of("get", &["nobody"]).await;
    ended.expect(3);
    assert!(ended.error.contains("404"), "{}", ended.error);

    let before = target.requests().len();
    target.script(|_| Reply::ok("mended"));
    assert_eq!(run_of("redrive", &["e1"]).await.expect(0), "1 delivery is put back\n");
    assert_eq!(run_of("redrive", &["--status", "DEAD"]).await.expect(0), "2 deliveries are put back\n");
    let requests = target.requests_at_least(before + 3).await;
    let mut ids = crate::ids(&requests[before..]);
    ids.sort_unstable();
    assert_eq!(ids, ["e1", "e2", "e3"].map(|event| crate::delivery_id(event, &made)));
    api.until_settled().await;
    let listed = run_of("list", &["--status", "DELIVERED"]).await;
    assert_eq!(listed.expect(0).lines().count(), 4, "{listed:?}");
}
