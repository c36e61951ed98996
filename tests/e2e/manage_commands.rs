//! `fanfare keys`, `webhooks` and `deliveries` against the real engine, as an operator uses them one after another, and
//! another master key for what they left behind.

use crate::{CHANNEL, header, receiver, text, url};
use fanfare_testkit::receiver::Received;
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
