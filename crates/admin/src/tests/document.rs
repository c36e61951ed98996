//! The OpenAPI document against the routes it speaks of.

use super::harness::{Setup, with_api};
use super::routes::ROUTES;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Methods that a path can have in the document, and that no route answers by itself as it does `HEAD`.
const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"];

async fn document() -> Value {
    let mut document = Value::Null;
    with_api(Setup::default(), async |api| {
        let answer = api.call_as("", "GET", "/v1/openapi.json", "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        document = answer.json();
    })
    .await;
    document
}

/// Method, path and operation of all that the document speaks of.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

#[tokio::test]
async fn it_speaks_of_every_route_of_the_contract_and_of_no_other() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let described: BTreeSet<_> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let expected = ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(described, expected);
}

#[tokio::test]
async fn it_tells_the_scope_that_each_route_asks_for() {
    let document = document().await;
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let expected = route.scope.map_or(json!([]), |scope| json!([{ "key": [scope] }]));
        assert_eq!(operation["security"], expected, "{} {}", route.method, route.path);
    }
}

/// A path that is described and not routed is 404 without a key; a method that is routed and not described is not 405.
#[tokio::test]
async fn every_path_is_routed_with_the_methods_it_is_described_with() {
    let document = document().await;
    let described: BTreeSet<_> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let paths: BTreeSet<_> = described.iter().map(|(_, path)| path.clone()).collect();
    with_api(Setup::default(), async |api| {
        for path in &paths {
            for method in METHODS {
                let answer = api.call_as("", method, path, "").await;
                let is_described = described.contains(&(method.to_owned(), path.clone()));
                assert_ne!(answer.status, 404, "{method} {path}");
                assert_eq!(answer.status != 405, is_described, "{method} {path}: {}", answer.status);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_call_has_a_name_of_its_own_and_says_how_it_can_fail() {
    let document = document().await;
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{place}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{place}");
        let responses = operation["responses"].as_object().unwrap();
        let has = |status: &str| responses.contains_key(status);
        assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
        assert!(has("500"), "{place}");
        let needs_key = !operation["security"].as_array().unwrap().is_empty();
        assert_eq!(needs_key, has("401") && has("403"), "{place}");
        assert_eq!(operation.get("requestBody").is_some(), has("413") && has("415") && has("408"), "{place}");
        assert_eq!(path.contains('{'), has("404"), "{place}");
        // Parameters of the path, and of the path alone, are described.
        let described = operation["parameters"].as_array().unwrap();
        let in_path = described.iter().filter(|one| one["in"] == "path");
        let in_path: BTreeSet<String> =
            in_path.map(|one| format!("{{{}}}", one["name"].as_str().unwrap())).collect();
        let expected: BTreeSet<String> =
            path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(in_path, expected, "{place}");
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn what_it_refers_to_is_there_and_nothing_else_is() {
    let document = document().await;
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let mut there = BTreeSet::new();
    for kind in ["schemas", "responses"] {
        let names = document["components"][kind].as_object().unwrap().keys();
        there.extend(names.map(|name| format!("#/components/{kind}/{name}")));
    }
    let used: BTreeSet<String> = used.into_iter().map(str::to_owned).collect();
    assert_eq!(used, there);
}

#[tokio::test]
async fn times_to_wait_are_headers_of_the_answers_that_have_them() {
    let document = document().await;
    let responses = document["components"]["responses"].as_object().unwrap();
    for (name, response) in responses {
        let has_time = response["headers"].get("Retry-After").is_some();
        assert_eq!(has_time, matches!(name.as_str(), "TooManyRequests" | "Unavailable"), "{name}");
        let shape = &response["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(shape, "#/components/schemas/Error", "{name}");
    }
}
