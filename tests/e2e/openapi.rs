//! The API held against the document it tells of itself, by a tool that is not ours.

use crate::{CHANNEL, delivery_id, receiver, subscribed, text};
use fanfare_tests::Program;
use fanfare_tests::events;
use fanfare_tests::foreign::python;
use fanfare_tests::node::Node;
use serde_json::json;
use std::time::Duration;
use tokio::process::Command;

/// Calls made up for each operation, in each of the tool's phases.
const EXAMPLES: &str = "30";
/// It takes 10 to 60 s on two cores.
const GUARD: Duration = Duration::from_secs(300);

const HOOKS: &str = include_str!("openapi_hooks.py");
/// Calls that the document allows are taken, but for what it cannot know: roles, and what was made before. A slow
/// machine is no finding.
const CONFIG: &str = r#"
color = false
warnings = false
hooks = "hooks.py"
request-timeout = 60.0
suppress-health-check = ["all"]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429", "503"]
# Bytes that are no plugin of the path's name are 400, and no schema can say which are.
[[operations]]
include-operation-id = "putFormat"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "409", "503"]
"#;

/// Every check the tool has: no 5xx but those described, no status, shape, header or content type that is not described,
/// bad data refused, good data taken, methods and keys as described, what was deleted gone.
async fn check(node: &Node, receiver_url: &str, config: &str, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hooks.py"), HOOKS).unwrap();
    std::fs::write(folder.path().join("schemathesis.toml"), format!("{CONFIG}{config}")).unwrap();
    let api = node.api();
    let mut command = Command::new(python().with_file_name("st"));
    command
        .current_dir(folder.path())
        .env("RECEIVER_URL", receiver_url)
        // A proxy of the machine's has no business between two programs on it.
        .env("NO_PROXY", "127.0.0.1")
        .arg("run")
        .arg(format!("http://{}/v1/openapi.json", api.address()))
        .args(["--header", &format!("Authorization: Bearer {}", api.key())])
        .args(["--checks", "all", "--max-examples", EXAMPLES, "--seed", "1"])
        .args(arguments);
    let ended = Program::new(command).guard(GUARD).run().await;
    let output = ended.expect(0);
    assert!(output.contains("No issues found"), "{output}");
    let log = node.log();
    assert!(!log.contains("a call failed"), "{log}");
}

/// Paths are made up too: mostly of what is not there.
#[tokio::test]
async fn schemathesis_finds_nothing_that_is_not_as_the_document_says() {
    let target = receiver();
    let (node, _) = subscribed(&target, json!({})).await;
    check(&node, &target.url("/in"), "", &[]).await;
    // It got to the handlers.
    assert_ne!(node.api().metric("fanfare_events_accepted_total").await, 0);
}

/// The calls below one webhook that is there, with a delivery that was made.
#[tokio::test]
async fn schemathesis_finds_nothing_below_a_webhook() {
    let target = receiver();
    let (node, made) = subscribed(&target, json!({})).await;
    node.api().push(&[events::block(CHANNEL, "E1")]).await;
    node.api().until_settled().await;
    let config = format!(
        "[parameters]\n\"path.channelId\" = \"{CHANNEL}\"\n\"path.webhookId\" = \"{}\"\n\"path.deliveryId\" = \"{}\"\n",
        text(&made, "id"),
        delivery_id("E1", &made),
    );
    let only = ["--include-tag", "webhooks", "--include-tag", "deliveries", "--exclude-method", "DELETE"];
    check(&node, &target.url("/in"), &config, &[&only[..], &["--phases", "coverage,fuzzing"]].concat()).await;
    // Tests of the webhook were sent.
    assert!(target.requests().len() > 1);
}
