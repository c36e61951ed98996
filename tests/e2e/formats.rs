//! Plugins that operators put, replace, roll back and remove while events flow.

use crate::{CHANNEL, delivery_id, header, path, receiver, text, webhook};
use fanfare_testkit::receiver::{Received, ScriptedReceiver};
use fanfare_tests::node::BOOTSTRAP_KEY;
use fanfare_tests::{Answer, Api, Node, NodeOptions, events, guests};
use http::Method;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A plugin whose body is its own version, a number.
fn component(name: &str, version: &str) -> Vec<u8> {
    let (at, size) = (guests::VERSION_AT, version.len());
    guests::plugin(name, version, &format!("(call $one (i32.const {at}) (i32.const {size}))"))
}

async fn put(api: &Api, name: &str, component: Vec<u8>, signature: Option<&str>) -> Answer {
    let mut headers = vec![("content-type", "application/wasm")];
    headers.extend(signature.map(|signature| ("fanfare-plugin-signature", signature)));
    api.call(Method::PUT, &format!("/v1/formats/{name}"), &headers, component).await
}

fn operator(node: &Node) -> Api {
    node.api().with_key(BOOTSTRAP_KEY)
}

/// What the list says of one; `null` when it is not there.
async fn standing(api: &Api, name: &str) -> Value {
    let list = api.get("/v1/formats").await.expect(200);
    let found = list.as_array().unwrap().iter().find(|format| text(format, "name") == name);
    found.cloned().unwrap_or(Value::Null)
}

fn body(request: &Received) -> &str {
    str::from_utf8(&request.body).unwrap()
}

async fn push(api: &Api, id: &str) {
    api.push(&[events::block(CHANNEL, id)]).await;
}

/// Pushes one event and tells the body that comes of it.
async fn rendered(node: &Node, target: &ScriptedReceiver, made: &Value, id: &str) -> String {
    push(node.api(), id).await;
    node.api().until_settled().await;
    let (requests, id) = (target.requests(), delivery_id(id, made));
    let found = requests.iter().find(|request| header(request, "webhook-id") == id).expect("it arrived");
    body(found).to_owned()
}

#[tokio::test]
async fn a_plugin_is_replaced_while_events_flow_and_nothing_is_lost() {
    let (target, node) = (receiver(), Node::dev().await);
    let operator = operator(&node);
    let first = put(&operator, "ACME", component("ACME", "1"), None).await.expect(201);
    assert_eq!((text(&first, "source"), text(&first, "version")), ("api", "1"));
    let made = webhook(node.api(), &target, json!({"payloadFormat": "ACME"})).await;

    let pushing = {
        let api = node.api().clone();
        tokio::spawn(async move {
            for at in 0..200 {
                push(&api, &format!("e{at}")).await;
            }
        })
    };
    fanfare_tests::until("some events", || async {
        (node.api().metric("fanfare_events_accepted_total").await >= 20).then_some(())
    })
    .await;
    let second = put(&operator, "ACME", component("ACME", "2"), None).await.expect(200);
    assert_eq!((text(&second, "version"), text(&second, "formerVersion")), ("2", "1"));
    assert_eq!(second["generation"].as_u64().unwrap(), 1 + first["generation"].as_u64().unwrap());
    assert_eq!(rendered(&node, &target, &made, "after").await, "2");
    pushing.await.unwrap();
    node.api().until_settled().await;

    let requests = target.requests();
    let bodies: BTreeMap<&str, &str> =
        requests.iter().map(|request| (header(request, "webhook-id"), body(request))).collect();
    assert_eq!((requests.len(), bodies.len()), (201, 201), "each once");
    for at in 0..200 {
        let id = delivery_id(&format!("e{at}"), &made);
        assert!(matches!(bodies.get(&*id), Some(&"1" | &"2")), "e{at}: {:?}", bodies.get(&*id));
    }
    assert!(bodies.values().any(|body| *body == "1"));
    assert_eq!(operator.metric("fanfare_plugin_renders_total{plugin=\"ACME\"}").await, 201);
    assert_eq!(operator.metric("fanfare_plugin_quarantined{plugin=\"ACME\"}").await, 0);
}

#[tokio::test]
async fn what_was_put_and_rolled_back_is_there_after_a_restart_until_it_is_removed() {
    let (target, mut node) = (receiver(), Node::dev().await);
    for version in ["1", "2"] {
        put(&operator(&node), "ACME", component("ACME", version), None).await;
    }
    let made = webhook(node.api(), &target, json!({"payloadFormat": "ACME"})).await;
    assert_eq!(rendered(&node, &target, &made, "e1").await, "2");
    let rolled = operator(&node).post("/v1/formats/ACME/rollback", &json!({})).await.expect(200);
    assert_eq!((text(&rolled, "version"), text(&rolled, "formerVersion")), ("1", "2"));
    assert_eq!(rendered(&node, &target, &made, "e2").await, "1");

    node.restart().await;
    assert_eq!(standing(&operator(&node), "ACME").await, rolled);
    assert_eq!(rendered(&node, &target, &made, "e3").await, "1");

    let refused = operator(&node).delete("/v1/formats/ACME").await.expect_error(409);
    assert!(refused.starts_with("1 webhook uses ACME") && refused.contains(text(&made, "id")), "{refused}");
    assert_eq!(node.api().delete(&path(&made)).await.status, 204);
    assert_eq!(operator(&node).delete("/v1/formats/ACME").await.status, 204);
    let unknown = json!({"url": target.url("/in"), "events": ["BLOCK"], "payloadFormat": "ACME"});
    let webhooks = format!("/v1/channels/{CHANNEL}/webhooks");
    let refused = node.api().post(&webhooks, &unknown).await.expect_error(400);
    assert!(refused.starts_with("unknown payloadFormat `ACME`: known are DEFAULT, Z_API"), "{refused}");
    node.restart().await;
    assert_eq!(standing(&operator(&node), "ACME").await, Value::Null);
    assert_eq!(operator(&node).delete("/v1/formats/ACME").await.expect_error(404), "Format not found");
}

#[tokio::test]
async fn only_signed_plugins_are_taken_where_that_is_asked_for() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let keys = format!("[\"{}\"]", hex::encode(key.der_bytes()));
    let options = NodeOptions::dev().set("plugins.require_signed", "true").set("plugins.signing_keys", &keys);
    let node = Node::start(options).await;
    let operator = operator(&node);
    let made = component("ACME", "1");
    let good = hex::encode(key.sign(&made).unwrap());
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let foreign = hex::encode(other.sign(&made).unwrap());
    for signature in [None, Some(&*foreign)] {
        let refused = put(&operator, "ACME", made.clone(), signature).await.expect_error(400);
        assert!(refused.contains("sign"), "{refused}");
    }
    let changed = put(&operator, "ACME", component("ACME", "2"), Some(&good)).await;
    assert!(changed.expect_error(400).contains("sign"));
    assert_eq!(standing(&operator, "ACME").await, Value::Null);
    let taken = put(&operator, "ACME", made, Some(&good)).await.expect(201);
    assert_eq!(standing(&operator, "ACME").await, taken);
}

#[tokio::test]
async fn a_broken_file_in_the_folder_is_named_and_does_not_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.wasm"), component("GOOD", "1")).unwrap();
    std::fs::write(folder.path().join("broken.wasm"), b"\0asm and then nothing that is").unwrap();
    let options = NodeOptions::dev().set("plugins.dir", folder.path().to_str().unwrap());
    let (target, node) = (receiver(), Node::start(options).await);
    let operator = operator(&node);
    assert_eq!(text(&standing(&operator, "GOOD").await, "source"), "folder");
    let log = node.log();
    let told = log.lines().find(|line| line.contains("broken.wasm")).expect("the log names it");
    assert!(told.contains("ERROR"), "{told}");
    let made = webhook(node.api(), &target, json!({"payloadFormat": "GOOD"})).await;
    assert_eq!(rendered(&node, &target, &made, "e1").await, "1");
    // What API did not put, API does not remove: the answer says where it is.
    let refused = operator.delete("/v1/formats/GOOD").await.expect_error(409);
    assert!(!refused.contains("webhook"), "{refused}");
}

#[tokio::test]
async fn a_thousand_webhooks_of_one_format_cost_one_render_for_each_event() {
    const WEBHOOKS: usize = 1000;
    const EVENTS: usize = 5;
    let (target, node) = (receiver(), Node::dev().await);
    let made = put(&operator(&node), "ACME", component("ACME", "1"), None).await.expect(201);
    assert_eq!(text(&made, "name"), "ACME");
    let body = json!({
        "url": target.url("/"), "events": ["BLOCK"], "payloadFormat": "ACME", "delivery": {"maxInFlight": 1},
    });
    futures_util::future::join_all((0..10).map(|_| async {
        for _ in 0..WEBHOOKS / 10 {
            node.api().webhook(CHANNEL, &body).await;
        }
    }))
    .await;
    for at in 0..EVENTS {
        push(node.api(), &format!("e{at}")).await;
    }
    node.api().until_settled().await;
    assert_eq!(target.requests_at_least(WEBHOOKS * EVENTS).await.len(), WEBHOOKS * EVENTS);
    let renders = node.api().metric("fanfare_plugin_renders_total{plugin=\"ACME\"}").await;
    assert_eq!(renders as usize, EVENTS);
}
