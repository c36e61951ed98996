//! Plugins that loop, allocate, trap, overflow or give too much, under load, beside formats that are well.

use crate::{receiver, text};
use fanfare_tests::{Node, NodeOptions, events, guests};
use serde_json::{Value, json};

const HOSTILE: [(&str, &str); 8] = [
    ("SPIN", guests::SPIN),
    ("GROW", guests::GROW),
    ("TRAP", guests::TRAP),
    ("DEEP", guests::DEEP),
    ("HUGE", guests::HUGE),
    ("LARGE", guests::LARGE),
    ("HEADER", guests::HEADER),
    ("INTERNAL", guests::INTERNAL),
];
const EVENTS: usize = 2000;

fn blocks(channel: &str, count: usize) -> Vec<Value> {
    (0..count).map(|n| events::block(channel, &format!("{channel}-{n}"))).collect()
}

#[tokio::test]
async fn hostile_plugins_cost_their_own_deliveries_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for (name, render) in HOSTILE {
        std::fs::write(folder.path().join(format!("{name}.wasm")), guests::plugin(name, "1.0.0", render))
            .unwrap();
    }
    std::fs::write(folder.path().join("ECHO.wasm"), guests::plugin("ECHO", "1.0.0", guests::ECHO)).unwrap();
    let options = NodeOptions::dev()
        .set("plugins.dir", folder.path().to_str().unwrap())
        .set("limits.window_bytes", "16777216");
    let node = Node::start(options).await;
    let api = node.api();
    let (healthy, harmed) = (receiver(), receiver());
    let schedule = json!({"retry": {"scheduleSeconds": [3600]}});
    for (name, _) in HOSTILE {
        let webhook =
            json!({"url": harmed.url("/"), "events": ["BLOCK"], "payloadFormat": name, "delivery": schedule});
        api.webhook(name, &webhook).await;
    }
    for format in ["DEFAULT", "ECHO"] {
        let webhook = json!({"url": healthy.url("/"), "events": ["BLOCK"], "payloadFormat": format});
        api.webhook("well", &webhook).await;
    }
    // The hostile ones first, so that all of it is before those that are well.
    for (name, _) in HOSTILE {
        api.push(&blocks(name, EVENTS / 10)).await;
    }
    api.push(&blocks("well", EVENTS)).await;
    let requests = healthy.requests_at_least(2 * EVENTS).await;
    assert_eq!(requests.len(), 2 * EVENTS, "each once in each format");
    assert_eq!(harmed.counts().requests, 0, "nothing that a hostile plugin gave was sent");

    // A fault is an attempt that failed, and a plugin that only fails is left alone: its deliveries wait.
    for (name, _) in HOSTILE {
        let quarantined = format!("fanfare_plugin_quarantined{{plugin=\"{name}\"}}");
        api.until_metric(&quarantined, 1).await;
    }
    let formats = api.get("/v1/formats").await.expect(200);
    let quarantined: Vec<&str> = formats
        .as_array()
        .unwrap()
        .iter()
        .filter(|format| format["quarantined"] == true)
        .map(|format| text(format, "name"))
        .collect();
    assert_eq!(quarantined.len(), HOSTILE.len(), "{quarantined:?}");
    let window = api.metric("fanfare_window_bytes").await;
    assert!(window <= 16_777_216, "{window} bytes in memory");
    assert_eq!(api.metric("fanfare_actor_panics_total").await, 0);

    // A version that works gets all that waited, but what waits for its second attempt by its schedule.
    let mended = guests::plugin("TRAP", "1.0.1", guests::ECHO);
    let put = api
        .call(http::Method::PUT, "/v1/formats/TRAP", &[("content-type", "application/wasm")], mended)
        .await;
    assert_eq!(put.expect(200)["version"], "1.0.1");
    let arrived = harmed.requests_at_least(EVENTS / 10 - 20).await;
    assert!(arrived.iter().all(|request| request.header("x-hub-channel") == Some("TRAP")));
}
