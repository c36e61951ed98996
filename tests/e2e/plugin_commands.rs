//! What authors of payload formats run: pack, test, inspect, sign, each as a process.

use fanfare_tests::{Program, guests, program::Ended};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const LIMITS: Duration = Duration::from_secs(240);

async fn plugin(folder: &Path, arguments: &[&str]) -> Ended {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| match argument.strip_prefix('@') {
            Some(file) => folder.join(file).to_str().expect("a plain path").to_owned(),
            None => (*argument).to_owned(),
        })
        .collect();
    Program::fanfare(["plugin".to_owned()].into_iter().chain(arguments)).guard(LIMITS).run().await
}

fn put(folder: &Path, file: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(file), bytes).unwrap();
}

/// A guest of this body, its manifest and one vector that expects `bodies`.
fn project(folder: &Path, render: &str, bodies: &Value) {
    put(folder, "guest.wasm", guests::plugin("ECHO", "1.0.0", render));
    let manifest = json!({"name": "ECHO", "version": "1.0.0", "contentType": "application/json"});
    put(folder, "manifest.json", manifest.to_string());
    std::fs::create_dir_all(folder.join("vectors")).unwrap();
    put(folder, "vectors/one.event.json", r#"{"a":1}"#);
    put(folder, "vectors/one.bodies.json", bodies.to_string());
}

const PACK: [&str; 8] =
    ["pack", "@guest.wasm", "--manifest", "@manifest.json", "--vectors", "@vectors", "-o", "@out.wasm"];

#[tokio::test]
async fn a_plugin_is_packed_inspected_signed_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    project(at, guests::ECHO, &json!([{"a": 1}]));
    assert!(plugin(at, &PACK).await.expect(0).contains(": ECHO 1.0.0, "));
    let first = std::fs::read(at.join("out.wasm")).unwrap();
    // Packed again, its manifest is replaced: the same bytes.
    let again =
        ["pack", "@out.wasm", "--manifest", "@manifest.json", "--vectors", "@vectors", "-o", "@two.wasm"];
    plugin(at, &again).await.expect(0);
    assert_eq!(std::fs::read(at.join("two.wasm")).unwrap(), first);

    let signed = plugin(at, &["sign", "@out.wasm", "--new-key", "@key.pem"]).await;
    let public =
        signed.expect(0).lines().find_map(|line| line.strip_prefix("public key  ")).unwrap().to_owned();
    let overwritten = plugin(at, &["sign", "@out.wasm", "--new-key", "@key.pem"]).await;
    overwritten.expect(2);
    assert!(overwritten.error.contains("a key is never overwritten"), "{overwritten:?}");

    let inspected = plugin(at, &["inspect", "@out.wasm", "--public-key", &public, "--json"]).await;
    let shown: Value = serde_json::from_str(inspected.expect(0)).unwrap();
    assert_eq!(shown["signature"], "verified");
    assert_eq!(
        (&shown["name"], &shown["imports"], &shown["vectors"]),
        (&json!("ECHO"), &json!([]), &json!(["one"]))
    );
    put(at, "out.wasm.sig", "00".repeat(64));
    let wrong = plugin(at, &["inspect", "@out.wasm", "--public-key", &public]).await;
    assert!(wrong.expect(1).contains("signature     wrong"), "{wrong:?}");
}

/// The name and status of each check.
fn statuses(report: &Value) -> Vec<(&str, &str)> {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().map(|check| (crate::text(check, "name"), crate::text(check, "status"))).collect()
}

async fn tested(render: &str, bodies: &Value) -> (Ended, Value) {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), render, bodies);
    plugin(folder.path(), &PACK).await.expect(0);
    let ended = plugin(folder.path(), &["test", "@out.wasm", "--json"]).await;
    let report = serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, report)
}

#[tokio::test]
async fn the_report_has_this_shape() {
    let (ended, report) = tested(guests::SKIP, &json!([{"a": 1}])).await;
    ended.expect(1);
    assert_eq!(
        (&report["name"], &report["version"], &report["passed"]),
        (&json!("ECHO"), &json!("1.0.0"), &json!(false))
    );
    assert_eq!(
        statuses(&report),
        [
            ("admission", "passed"),
            ("vectors", "failed"),
            ("hostile", "passed"),
            ("determinism", "passed"),
            ("endurance", "passed"),
            ("cost", "passed"),
        ],
        "{report:#}"
    );
    let vectors = &report["checks"][1];
    assert_eq!(vectors["problems"], json!([r#"one: 1 bodies is expected, it gave skip "no_form""#]));
    assert_eq!(vectors["problemCount"], 1);
    let cost = &report["cost"]["vectors"][0];
    assert_eq!(cost["name"], "one");
    assert!(cost["p50Us"].is_number() && cost["p99Us"].is_number(), "{cost}");
    assert!(cost["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{cost}");
    assert!(report["cost"]["memoryBytesMax"].as_u64().is_some_and(|bytes| bytes > 0));
    assert!(ended.error.contains("did not pass: vectors"), "{ended:?}");
}

#[tokio::test]
async fn a_hostile_plugin_fails_the_checks_it_fails() {
    for (render, kind) in [(guests::TRAP, "trap"), (guests::GROW, "memory")] {
        let (ended, report) = tested(render, &json!([{"a": 1}])).await;
        ended.expect(1);
        for index in [1, 2] {
            let check = &report["checks"][index];
            assert_eq!(check["status"], "failed", "{check:#}");
            let problem = check["problems"][0].as_str().unwrap();
            assert!(problem.contains(&format!(": {kind}: ")), "{problem}");
        }
        assert_eq!(report["checks"][4]["status"], "not_run");
    }
}

#[tokio::test]
async fn without_vectors_or_without_being_a_plugin_nothing_passes() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "bare.wasm", guests::plugin("ECHO", "1.0.0", guests::SKIP));
    let bare = plugin(folder.path(), &["test", "@bare.wasm"]).await;
    assert!(bare.expect(1).contains("FAILED   vectors      no vectors"), "{bare:?}");
    put(folder.path(), "none.wasm", "nothing");
    let none = plugin(folder.path(), &["test", "@none.wasm"]).await;
    assert!(none.expect(1).contains("NOT RUN  cost"), "{none:?}");
    plugin(folder.path(), &["test", "@absent.wasm"]).await.expect(2);
    plugin(folder.path(), &["test", "@bare.wasm", "--settings", "{"]).await.expect(2);
    plugin(folder.path(), &["inspect", "@none.wasm"]).await.expect(2);
}
