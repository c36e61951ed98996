//! `fanfare bench`: what it reports is what happened, and nothing of it stays.

use fanfare_tests::{HANG_GUARD, Program};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Bounded by its number of events, not by time: three webhooks on each of two channels, every signature checked.
const TINY: &str = "
name = \"tiny\"
about = \"three hundred events\"
seconds = 600
warm_up_seconds = 0
stall_seconds = 60
events_max = 300

[receiver]
check_every = 1

[webhooks]
per_channel = 3
max_in_flight = 4

[load]
channels = 2
batch_events = 40
";

/// More load than any test waits for.
const ENDLESS: &str = "
name = \"endless\"
about = \"until it is interrupted\"
seconds = 3600
warm_up_seconds = 0
";

/// Processes whose command line names this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(folder)).collect()
}

#[tokio::test]
async fn every_event_of_a_run_arrives_once_and_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (temporary, out) = (folder.path().join("temporary"), folder.path().join("out"));
    std::fs::create_dir(&temporary).unwrap();
    let file = folder.path().join("tiny.toml");
    std::fs::write(&file, TINY).unwrap();
    // Z_API has several bodies of some events and none of others; how many is worked out offline.
    let z_api = folder.path().join("z-api.toml");
    let text = TINY.replace("\"tiny\"", "\"tiny-z-api\"");
    std::fs::write(&z_api, text.replace("per_channel = 3", "per_channel = 1\nformat = \"Z_API\"")).unwrap();

    let flags = [
        "bench",
        "--scenario",
        file.to_str().unwrap(),
        "--scenario",
        z_api.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    let ended = Program::fanfare(flags).variable("TMPDIR", temporary.to_str().unwrap()).run().await;
    let markdown = ended.expect(0);
    assert!(markdown.contains("| tiny | 1 |") && markdown.contains("## Figures to reach"), "{markdown}");

    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    let run = &report["scenarios"][0]["runs"][0];
    assert_eq!(run["figures"]["deliveries"], 900.0, "{run}");
    let checks = run["checks"].as_array().unwrap();
    let detail = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("{name} is not in {checks:?}"))["detail"].as_str().unwrap()
    };
    assert_eq!(detail("every delivery arrived"), "900 of 900");
    assert_eq!(detail("no delivery came twice"), "0 repeated");
    assert_eq!(detail("every sampled signature fits"), "900 fit, 0 do not");
    assert!(checks.iter().all(|check| check["is_good"] == true), "{checks:?}");
    let z_api = &report["scenarios"][1]["runs"][0]["figures"]["deliveries"];
    assert!(z_api.as_f64().is_some_and(|count| count > 100.0 && count != 300.0), "{z_api}");
    for chart in ["tiny-latency.svg", "tiny-throughput.svg", "tiny-z-api-latency.svg"] {
        let text = std::fs::read_to_string(out.join(chart)).unwrap();
        assert!(text.starts_with("<svg") && text.contains("<polyline"), "{chart}");
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "a run's directory was left behind");
    assert_eq!(processes_of(folder.path()), [""; 0], "a run's process was left behind");
}

#[tokio::test]
async fn a_run_that_is_interrupted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let file = folder.path().join("endless.toml");
    std::fs::write(&file, ENDLESS).unwrap();
    let bench = Program::fanfare(["bench", "--scenario", file.to_str().unwrap()])
        .variable("TMPDIR", temporary.to_str().unwrap())
        .beside();
    let engine_is_up = async {
        while !processes_of(&temporary).iter().any(|line| line.contains("serve")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANG_GUARD, engine_is_up).await.expect("the run starts an engine");
    bench.terminate();
    let ended = bench.ended().await;
    assert!(ended.code == Some(1) && ended.error.contains("interrupted"), "{ended:?}");
    assert_eq!(processes_of(folder.path()), [""; 0], "a process was left behind");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "a directory was left behind");
}

#[tokio::test]
async fn what_cannot_be_run_is_told_before_anything_starts() {
    let listed = Program::fanfare(["bench", "--list"]).run().await;
    assert!(listed.expect(0).contains("* fan-out-1 "), "{listed:?}");
    let unknown = Program::fanfare(["bench", "--scenario", "fan-out-2"]).run().await;
    assert!(unknown.code == Some(2) && unknown.error.contains("known: fan-out-1, "), "{unknown:?}");
    let alone = Program::fanfare(["bench-part"]).run().await;
    assert!(alone.code == Some(2) && alone.error.contains("only for `fanfare bench`"), "{alone:?}");
}
