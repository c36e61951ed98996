//! No secret, credential, API key, payload or URL's query in anything the process writes. Every other test's engine
//! is looked through in the same way when it goes; this one makes sure that there was something to find, and something
//! to find it in.

use crate::{CHANNEL, path, receiver, text, url};
use fanfare_testkit::receiver::Reply;
use fanfare_tests::secrets::{PAYLOAD_MARKER, QUERY_MARKER};
use fanfare_tests::{Node, NodeOptions, Program, events};
use serde_json::json;

const CREDENTIALS: [&str; 6] = [
    "token-leak-1f6b",
    "api-key-leak-22c9",
    "user-leak-3da0",
    "pass-leak-47e1",
    "header-leak-5b92",
    "answer-leak-6c03",
];

async fn run(format: &str) {
    let options = NodeOptions::default()
        .set("egress.allow_http", "true")
        .set("egress.allow", "127.0.0.0/8")
        .set("log.format", format)
        .variable("FANFARE_MASTER_KEY", &"5e".repeat(32));
    let mut node = Node::start(options).await;
    node.secrets().add(&"5e".repeat(32));
    CREDENTIALS.iter().for_each(|credential| node.secrets().add(credential));
    let operator = node.api().clone();
    let _account = operator.put("/v1/accounts/a", &json!({"role": "ENTERPRISE"})).await.expect(200);
    let _channel = operator.put("/v1/channels/c1", &json!({"accountId": "a"})).await.expect(200);
    let made =
        operator.post("/v1/accounts/a/keys", &json!({"scopes": ["manage", "ingest"]})).await.expect(201);
    let key = text(&made, "key").to_owned();
    let api = operator.with_key(&key);

    let target = receiver();
    target.script(|request| match request.order % 4 {
        0 => Reply::ok("answer-leak-6c03"),
        1 => Reply::HalfBody,
        2 => Reply::ResetBeforeAnswer,
        _ => Reply::Answer(fanfare_testkit::receiver::Answer::new(500).body("answer-leak-6c03")),
    });
    let [token, api_key, username, password, value, _] = CREDENTIALS;
    let auths = [
        json!({"type": "BEARER", "token": token}),
        json!({"type": "API_KEY", "key": api_key}),
        json!({"type": "BASIC", "username": username, "password": password}),
        json!({"type": "CUSTOM_HEADER", "headerName": "X-Shop", "headerValue": value}),
    ];
    let mut webhooks = Vec::new();
    for auth in auths {
        let body = json!({
            "url": url(&target), "events": ["BLOCK", "MESSAGE_RECEIVED"], "signing": true, "auth": auth,
            "delivery": {"retry": {"scheduleSeconds": [1, 1]}},
        });
        webhooks.push(api.webhook(CHANNEL, &body).await);
    }
    // Calls that fail show nothing either.
    let body = json!({"url": format!("https://a.test/?{QUERY_MARKER}"), "events": [PAYLOAD_MARKER]});
    let _message = api.post("/v1/channels/c1/webhooks", &body).await.expect_error(400);
    let _message = api.ingest(format!("{{\"type\": \"{PAYLOAD_MARKER}")).await.expect_error(400);
    let _message = api.with_key("fk_wrong-key-7714").get("/v1/channels/c1/webhooks").await.expect_error(401);
    let _rotated = api.patch(&path(&webhooks[0]), &json!({"signing": true})).await.expect(200);
    api.push(&[events::block(CHANNEL, "e1"), events::message(CHANNEL, "e2", &[PAYLOAD_MARKER])]).await;
    target.requests_at_least(8).await;
    node.kill().await;
    node.start_again().await;
    node.api().until_settled().await;
    node.terminate();
    assert_eq!(node.ended().await.code(), Some(0));

    let log = node.log();
    for told in ["listening on", "ready", "drained"] {
        assert!(log.contains(told), "{told} in {log}");
    }
    if format == "json" {
        for line in log.lines() {
            let parsed: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            assert!(parsed.is_object());
        }
    }
    // Keys, markers, master key, credentials, two texts of each of five signing secrets.
    assert!(node.secrets().count() >= 20, "{}", node.secrets().count());
    assert_eq!(node.leaks(), Vec::<String>::new(), "in\n{log}\n{}", node.output());
    // Nor on disk, where secrets are sealed. Payloads are not secrets there.
    let data = std::fs::read(node.data_dir().join("data.mdb")).unwrap();
    let text = String::from_utf8_lossy(&data);
    let found = node.secrets().found_in(&text);
    let sealed: Vec<&String> = found
        .iter()
        .filter(|secret| ![PAYLOAD_MARKER, QUERY_MARKER, CREDENTIALS[5]].contains(&secret.as_str()))
        .collect();
    assert!(sealed.is_empty(), "{sealed:?} on disk");
}

#[tokio::test]
async fn nothing_secret_is_written_as_text() {
    run("text").await;
}

#[tokio::test]
async fn nothing_secret_is_written_as_json() {
    run("json").await;
}

/// The search sees what there is to see: `--dev` shows its own key on standard output, on purpose, and nowhere else.
#[tokio::test]
async fn the_search_finds_the_one_key_that_is_shown() {
    let node = Node::dev().await;
    assert_eq!(node.secrets().found_in(&node.output()), [node.api().key()]);
    assert_eq!(node.secrets().found_in(&node.log()), Vec::<String>::new());
}

/// Commands hold keys, credentials and URLs with tokens: none of it stands in a help, an error or an answer that is not
/// asked for it.
#[tokio::test]
async fn no_command_writes_a_secret_it_was_given() {
    let target = receiver();
    let (node, made) = crate::subscribed(&target, json!({"signing": true})).await;
    let secrets = node.secrets();
    CREDENTIALS.iter().for_each(|credential| secrets.add(credential));
    let server = format!("http://{}", node.api().address());
    let (id, url) = (text(&made, "id"), url(&target));
    let update = ["webhooks", "update", "--channel", CHANNEL, id, "--auth-type"];
    let create = ["webhooks", "create", "--channel", CHANNEL, "--events", "BLOCK"];
    let mut lines: Vec<(i32, Vec<&str>)> = vec![
        (0, vec!["webhooks", "list", "--channel", CHANNEL]),
        (0, [&update[..], &["BEARER", "--credential-env", "SHOP"]].concat()),
        (0, [&update[..], &["API_KEY", "--credential-env", "SHOP", "--json"]].concat()),
        (2, [&update[..], &["BASIC", "--credential-env", "SHOP"]].concat()),
        (3, [&update[..], &["CUSTOM_HEADER", "--auth-header", "Host", "--credential-env", "SHOP"]].concat()),
        (3, [&create[..], &["--url", &url, "--format", "NOPE"]].concat()),
        (2, [&create[..], &["--url", &url, "--custom-attributes", CREDENTIALS[1]]].concat()),
        (2, [&create[..], &["--url", &url, "--no-such-flag"]].concat()),
        (2, vec!["deliveries", "list", "--channel", CHANNEL, "--webhook", id, "--from", "never"]),
        (3, vec!["keys", "delete", "--account", "nobody", "nothing"]),
        (2, vec!["keys", "rotate-master"]),
    ];
    for group in ["webhooks", "deliveries", "keys"] {
        lines.push((0, vec![group, "--help"]));
        lines.push((2, vec![group, "no-such-command"]));
    }
    for (group, command) in [("webhooks", "create"), ("deliveries", "list"), ("keys", "create")] {
        lines.push((0, vec![group, command, "--help"]));
        lines.push((2, vec![group, command]));
    }
    // The answer to a change shows the URL whole, as the API does.
    let shown = |line: &[&str]| if line.contains(&"update") { QUERY_MARKER } else { "" };
    for (code, line) in lines {
        // `SHOP` is good for BEARER and API_KEY and no USER:PASSWORD.
        let ended = Program::fanfare(&line)
            .variable("FANFARE_URL", &server)
            .variable("FANFARE_API_KEY", node.api().key())
            .variable("SHOP", CREDENTIALS[0])
            .run()
            .await;
        ended.expect(code);
        let written = format!("{}{}", ended.output, ended.error);
        assert!(!written.is_empty(), "{line:?}");
        let mut found = secrets.found_in(&written);
        found.retain(|secret| secret != shown(&line));
        assert!(found.is_empty(), "{found:?} in what {line:?} wrote:\n{written}");
    }
}
