//! The commands, as a person uses them together.

use crate::{CHANNEL, header, receiver, subscribed, text};
use fanfare_tests::program::Beside;
use fanfare_tests::{Node, Program, events};
use serde_json::{Value, json};

/// `fanfare listen` on a free port, and where it listens.
async fn listen(flags: &[&str]) -> (Beside, String) {
    let arguments = ["listen", "--listen", "127.0.0.1:0"].iter().chain(flags);
    let mut beside = Program::fanfare(arguments).beside();
    let line = beside.line().await;
    let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
    (beside, url)
}

#[tokio::test]
async fn what_send_pushes_listen_shows_verified() {
    let node = Node::dev().await;
    let api = node.api();
    let url = "http://127.0.0.1:9/";
    let body = json!({"url": url, "events": ["BLOCK", "CONNECTED"], "signing": true});
    let made = api.webhook(CHANNEL, &body).await;
    let (mut listening, url) = listen(&["--secret", text(&made, "secret"), "--count", "3"]).await;
    let _moved = api.patch(&crate::path(&made), &json!({"url": url})).await.expect(200);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    let lines = [
        events::block(CHANNEL, "e1"),
        events::block("elsewhere", "e2"),
        events::event(CHANNEL, "e3", "CONNECTED", &json!({"connected": true})),
    ];
    std::fs::write(&file, events::lines(&lines)).unwrap();
    let server = format!("http://{}", api.address());
    let file = file.to_str().unwrap();
    let sent = Program::fanfare(["send", file, "--url", &server, "--channel", CHANNEL])
        .variable("FANFARE_API_KEY", api.key())
        .run()
        .await;
    assert!(sent.expect(0).contains("3 accepted, 0 duplicates, 0 rejected"), "{sent:?}");
    let mut shown = Vec::new();
    for _ in 0..3 {
        shown.push(listening.line().await);
    }
    for id in ["e1", "e2", "e3"] {
        let id = format!("{id}-{}", text(&made, "id"));
        let line =
            shown.iter().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{id} in {shown:?}"));
        assert!(line.ends_with("attempt 1 verified"), "{line}");
    }
    let ended = listening.ended().await;
    assert!(ended.expect(0).contains("in all: "), "{ended:?}");

    // The same file again: known ids, nothing new.
    let again = Program::fanfare(["send", "-", "--url", &server, "--key", api.key(), "--channel", CHANNEL])
        .input(events::lines(&lines))
        .run()
        .await;
    assert!(again.expect(0).contains("0 accepted, 3 duplicates"), "{again:?}");
}

#[tokio::test]
async fn send_tells_rejected_lines_and_refusals_by_its_exit_code() {
    let node = Node::dev().await;
    let server = format!("http://{}", node.api().address());
    let input = format!("{}\n\nnot json\n{}\n", events::block(CHANNEL, "e1"), events::block(CHANNEL, "e2"));
    let send =
        |key: &str| Program::fanfare(["send", "-", "--url", &server, "--key", key]).input(input.clone());
    let ended = send(node.api().key()).run().await;
    let output = ended.expect(1);
    assert!(
        output.contains("2 accepted, 0 duplicates, 1 rejected") && output.contains("line 3: "),
        "{output}"
    );
    let ended = send("fk_wrong-key").run().await;
    ended.expect(3);
    assert!(ended.error.contains("401"), "{}", ended.error);
    drop(node);
    let ended = Program::fanfare(["send", "nowhere.ndjson", "--url", &server]).run().await;
    ended.expect(2);
    assert!(ended.error.contains("nowhere.ndjson"), "{}", ended.error);
}

#[tokio::test]
async fn send_repeats_a_file_with_new_ids() {
    let target = receiver();
    let (node, _) = subscribed(&target, json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events::lines(&[events::block(CHANNEL, "e1"), events::block(CHANNEL, "e2")]))
        .unwrap();
    let server = format!("http://{}", node.api().address());
    let arguments = [
        "send",
        file.to_str().unwrap(),
        "--url",
        &server,
        "--key",
        node.api().key(),
        "--repeat",
        "5",
        "--batch",
        "3",
    ];
    let ended = Program::fanfare(arguments).run().await;
    assert!(ended.expect(0).contains("10 accepted, 0 duplicates, 0 rejected"), "{ended:?}");
    let requests = target.requests_at_least(10).await;
    let mut ids = crate::ids(&requests);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

/// What the engine sends is what `render` prints, and `verify` says yes to it and no to anything else.
#[tokio::test]
async fn render_and_verify_agree_with_a_delivery() {
    let target = receiver();
    let members = json!({"events": ["MESSAGE_RECEIVED"], "payloadFormat": "Z_API", "signing": true});
    let (node, made) = subscribed(&target, members).await;
    let event = events::message(CHANNEL, "e1", &["one", "two"]);
    node.api().push(std::slice::from_ref(&event)).await;
    let mut requests = target.requests_at_least(2).await;
    requests.sort_by_key(|request| header(request, "webhook-id").len());

    let input = format!(
        "{event}\n{}\n",
        events::event(CHANNEL, "e2", "PRESENCE_CHAT", &json!({"identifier": "1", "presence": "DANCING"}))
    );
    let rendered =
        Program::fanfare(["render", "--format", "Z_API", "--explain", "-"]).input(input).run().await;
    let lines: Vec<&str> = rendered.expect(0).lines().collect();
    let bodies: Vec<&str> = requests.iter().map(|request| str::from_utf8(&request.body).unwrap()).collect();
    assert_eq!(lines[0], format!("[{}]", bodies.join(",")));
    assert_eq!((lines[1], lines.len()), ("[]", 2), "one line per event");
    assert!(!rendered.error.is_empty(), "the reason of the skipped one");

    let request = &requests[0];
    let verify = |body: &[u8]| {
        let mut arguments =
            vec!["verify".to_owned(), "--secret".to_owned(), text(&made, "standardSecret").to_owned()];
        for (name, value) in &request.headers {
            arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
        }
        Program::fanfare(arguments).input(body)
    };
    let good = verify(&request.body).run().await;
    let lines: Vec<&str> = good.expect(0).lines().collect();
    assert_eq!(lines[..2], ["X-Hub-Signature-256: verified", "webhook-signature: verified"]);
    let bad = verify(b"{}").run().await;
    assert_eq!(bad.expect(1).matches("NOT VERIFIED").count(), 2, "{bad:?}");
}

#[tokio::test]
async fn listen_fails_a_share_and_notices_a_wrong_secret() {
    let (listening, url) = listen(&["--quiet", "--fail-share", "0.5", "--secret", &"0".repeat(64)]).await;
    let node = Node::dev().await;
    let body = json!({
        "url": url, "events": ["BLOCK"], "signing": true,
        "delivery": {"maxInFlight": 1, "retry": {"scheduleSeconds": [1, 1, 1, 1]}},
    });
    let _made = node.api().webhook(CHANNEL, &body).await;
    let pushed: Vec<Value> = (0..6).map(|n| events::block(CHANNEL, &format!("e{n}"))).collect();
    node.api().push(&pushed).await;
    node.api().until_settled().await;
    assert_eq!(node.api().metric("fanfare_deliveries_delivered_total").await, 6);
    assert!(node.api().metric("fanfare_attempts_failed_total{class=\"status\"}").await >= 5);
    listening.terminate();
    let ended = listening.ended().await;
    ended.expect(1);
    assert!(ended.output.contains("in all: ") && ended.error.contains("did not verify"), "{ended:?}");
}

#[tokio::test]
async fn listen_that_refuses_gets_no_request() {
    let (listening, url) = listen(&["--refuse"]).await;
    let node = Node::dev().await;
    let body = json!({"url": url, "events": ["BLOCK"], "delivery": {"retry": {"scheduleSeconds": [1]}}});
    let _made = node.api().webhook(CHANNEL, &body).await;
    node.api().push(&[events::block(CHANNEL, "e1")]).await;
    node.api().until_settled().await;
    assert_eq!(node.api().metric("fanfare_deliveries_dead_total").await, 1);
    listening.terminate();
    let ended = listening.ended().await;
    assert!(ended.expect(0).contains("in all: 0 requests"), "{ended:?}");
}

#[tokio::test]
async fn the_demo_ends_well() {
    let ended = Program::fanfare(["demo", "--burst", "2000"]).run().await;
    let output = ended.expect(0);
    for format in ["DEFAULT", "Z_API", "CLOUDEVENTS"] {
        assert!(output.contains(format), "{output}");
    }
    assert!(output.contains("burst: 2000 events, 6000 deliveries"), "{output}");
}

#[tokio::test]
async fn help_shows_an_example_of_every_command() {
    let root = Program::fanfare(["--help"]).run().await;
    let root = root.expect(0).to_owned();
    let commands = ["serve", "demo", "listen", "send", "render", "verify", "webhooks", "deliveries", "keys"];
    for command in commands {
        assert!(root.contains(command), "{root}");
        let help = Program::fanfare([command, "--help"]).run().await;
        assert!(help.expect(0).contains(&format!("fanfare {command}")), "{help:?}");
    }
}

#[tokio::test]
async fn the_first_line_of_the_log_tells_the_address() {
    let node = Node::dev().await;
    let log = node.log();
    let first = log.lines().next().unwrap_or_default();
    assert!(first.ends_with(&format!("listening on http://{}", node.api().address())), "{first}");
}
