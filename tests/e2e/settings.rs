//! Starts that are refused: each with its exit code, naming what is wrong.

use fanfare_tests::program::Ended;
use fanfare_tests::{Node, NodeOptions, Program, node};
use std::path::Path;

async fn start(folder: &Path, options: NodeOptions) -> Ended {
    Program::new(node::command(folder, &options)).run().await
}

async fn refused(options: NodeOptions, code: i32, named: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let ended = start(folder.path(), options).await;
    ended.expect(code);
    let last = ended.error.lines().last().unwrap_or_default();
    for name in named {
        assert!(last.contains(name), "{name} in {last:?}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    let flags = |flags: &[&str]| NodeOptions {
        flags: flags.iter().copied().map(str::to_owned).collect(),
        ..NodeOptions::default()
    };
    refused(NodeOptions::default().set("egress.alow", "10.0.0.0/8"), 2, &["egress.alow", "egress.allow"])
        .await;
    refused(NodeOptions::default().set("workers", "many"), 2, &["workers", "whole number"]).await;
    refused(NodeOptions::default().set("egress.allow", "10.0.0.0/99"), 2, &["egress.allow", "10.0.0.0/99"])
        .await;
    refused(NodeOptions::default().set("egress.ca_file", "nowhere.pem"), 2, &["egress.ca_file"]).await;
    refused(NodeOptions::default().variable("FANFARE_WORKER", "2"), 2, &["worker", "FANFARE_WORKER"]).await;
    refused(NodeOptions::default().variable("FANFARE_LIMITS__CONNECTIONS", "-1"), 2, &["limits.connections"])
        .await;
    refused(NodeOptions::default().variable("FANFARE_MASTER_KEY", "short"), 4, &["FANFARE_MASTER_KEY"]).await;
    refused(flags(&["--config", "nowhere.toml"]), 2, &["nowhere.toml"]).await;
}

#[tokio::test]
async fn an_unknown_flag_is_named() {
    let ended = Program::fanfare(["serve", "--lisen", "127.0.0.1:0"]).run().await;
    ended.expect(2);
    assert!(ended.error.contains("--lisen"), "{}", ended.error);
}

#[tokio::test]
async fn a_file_is_read_the_environment_beats_it_and_flags_beat_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.toml");
    std::fs::write(&file, "workers = 1\n[retry]\nschedule_seconds = [7, 8]\nmax_age_seconds = 9\n").unwrap();
    let with_file = NodeOptions {
        flags: vec!["--config".to_owned(), file.to_str().unwrap().to_owned()],
        ..NodeOptions::dev()
    };
    let options = with_file
        .clone()
        .variable("FANFARE_RETRY__MAX_AGE_SECONDS", "10")
        .variable("FANFARE_WORKERS", "3")
        .set("workers", "2");
    let node = Node::start(options).await;
    let body = serde_json::json!({"url": "https://a.test/", "events": ["BLOCK"]});
    let made = node.api().webhook("c1", &body).await;
    assert_eq!(
        made["delivery"]["retry"],
        serde_json::json!({"scheduleSeconds": [7, 8], "maxAgeSeconds": 10})
    );
    assert!(node.log().contains("workers=2"), "{}", node.log());

    std::fs::write(&file, "listen_on = \"x\"\n").unwrap();
    refused(with_file, 2, &["listen_on", "fanfare.toml"]).await;
    std::fs::write(&file, "bootstrap_key = \"0123456789abcdef0123\"\n").unwrap();
    let options = NodeOptions {
        flags: vec!["--config".to_owned(), file.to_str().unwrap().to_owned()],
        ..NodeOptions::default()
    };
    refused(options, 2, &["bootstrap_key", "FANFARE_BOOTSTRAP_KEY"]).await;
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ended =
        Program::fanfare(["serve", "--listen", &address, "--data-dir", data.to_str().unwrap()]).run().await;
    ended.expect(5);
    assert!(ended.error.contains(&address), "{}", ended.error);
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let node = Node::dev().await;
    let data = node.data_dir();
    let arguments = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let ended = Program::fanfare(arguments).run().await;
    ended.expect(4);
    let last = ended.error.lines().last().unwrap_or_default();
    assert!(last.contains(data.to_str().unwrap()) && last.contains("another process"), "{last}");
    assert_eq!(node.api().get("/readyz").await.status, 200, "the first one goes on");
}

#[tokio::test]
async fn a_wrong_or_missing_master_key_is_refused() {
    let mut node = Node::dev().await;
    node.terminate();
    node.ended().await;
    let folder = node.data_dir();
    let parent = folder.parent().unwrap();
    let other = NodeOptions::dev().variable("FANFARE_MASTER_KEY", &"ab".repeat(32));
    let ended = start(parent, other).await;
    ended.expect(4);
    assert!(ended.error.lines().last().unwrap_or_default().contains("master key"), "{}", ended.error);
    std::fs::rename(folder.join("master.key"), folder.join("elsewhere")).unwrap();
    let ended = start(parent, NodeOptions::dev()).await;
    ended.expect(4);
    assert!(ended.error.contains("master.key"), "{}", ended.error);
    // With the right one, from wherever, it opens.
    let elsewhere = folder.join("elsewhere");
    node.start_again_with(NodeOptions::dev().set("master_key_file", elsewhere.to_str().unwrap())).await;
}
