//! Every route with every kind of key. A key needs the route's own scope; `operate` beside it widens whose channels it
//! reaches, and replaces neither `manage` nor `ingest`.

use super::harness::{Api, ROOT, Setup, with_api};
use super::routes::ROUTES;
use fanfare_core::webhook::Scopes;

const NONE: Scopes = Scopes { manage: false, ingest: false, operate: false };

fn holds(scopes: Scopes, scope: &str) -> bool {
    match scope {
        "manage" => scopes.manage,
        "ingest" => scopes.ingest,
        "operate" => scopes.operate,
        _ => panic!("no scope {scope}"),
    }
}

/// Calls every route: `scopes` are those of `key`, `None` when it is none.
async fn call_all(api: &Api, key: &str, scopes: Option<Scopes>) {
    for route in ROUTES {
        let place = format!("{} {} with {scopes:?}", route.method, route.path);
        let answer = api.call_as(key, route.method, &route.target(), route.body).await;
        match (route.scope, scopes) {
            (Some(_), None) => {
                answer.is_error(401, "Unauthorized");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{place}");
            }
            (Some(scope), Some(scopes)) if !holds(scopes, scope) => {
                answer.is_error(403, &format!("This key lacks the scope {scope}"));
            }
            _ => assert_eq!(answer.status, route.status, "{place}: {}", answer.text),
        }
    }
}

#[tokio::test]
async fn without_a_key_or_with_an_unknown_one_only_open_routes_answer() {
    with_api(Setup::default(), async |api| {
        for key in ["", "wrong"] {
            call_all(api, key, None).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_reaches_the_routes_of_its_scopes_and_no_others() {
    with_api(Setup::default(), async |api| {
        for bits in 0..8 {
            let scopes = Scopes { manage: bits & 1 != 0, ingest: bits & 2 != 0, operate: bits & 4 != 0 };
            let key = api.new_key("acme", scopes).await;
            call_all(api, &key, Some(scopes)).await;
        }
        call_all(api, ROOT, Some(Scopes::ALL)).await;
    })
    .await;
}

/// Of an account without the role, whose calls would be 422 next, and with a body that would be 400.
#[tokio::test]
async fn the_scope_is_judged_before_the_role_the_path_and_the_body() {
    with_api(Setup::default(), async |api| {
        let key = api.new_key("free", NONE).await;
        for route in ROUTES {
            let Some(scope) = route.scope else { continue };
            let path = route.target().replace("c1", "unknown").replace("acme", "unknown");
            for body in ["", "{"] {
                let answer = api.call_as(&key, route.method, &path, body).await;
                answer.is_error(403, &format!("This key lacks the scope {scope}"));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn operate_beside_a_scope_reaches_every_account() {
    with_api(Setup::default(), async |api| {
        let event = r#"{"type":"BLOCK","channelId":"c1","payload":{}}"#;
        let own = api.new_key("free", Scopes { operate: false, ..Scopes::ALL }).await;
        let refused = api.call_as(&own, "POST", "/v1/events", event).await;
        assert_eq!(
            (refused.status, &refused.json()["rejected"][0]["error"]),
            (400, &"unknown channel".into())
        );
        api.call_as(&own, "POST", "/v1/channels/c1/events/BLOCK", "{}")
            .await
            .is_error(404, "Channel not found");
        api.call_as(&own, "GET", "/v1/channels/c1/webhooks", "")
            .await
            .is_error(422, "This action requires ENTERPRISE role");

        let every = api.new_key("free", Scopes::ALL).await;
        for (method, path, body, status) in [
            ("POST", "/v1/events", event, 202),
            ("POST", "/v1/channels/c1/events/BLOCK", "{}", 202),
            ("GET", "/v1/channels/c1/webhooks", "", 200),
        ] {
            let answer = api.call_as(&every, method, path, body).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        }
    })
    .await;
}
