//! Accounts, keys, channels.

use super::harness::{ROOT, Setup, WEBHOOKS, with_api};
use serde_json::json;

#[tokio::test]
async fn accounts_are_made_and_changed() {
    with_api(Setup::default(), async |api| {
        let path = "/v1/accounts/new-1";
        api.call_as(ROOT, "GET", path, "").await.is_error(404, "Account not found");
        for role in ["ENTERPRISE", "basic"] {
            let body = format!("{{\"role\":\"{role}\"}}");
            let put = api.call_as(ROOT, "PUT", path, body).await;
            let view = json!({ "id": "new-1", "role": role });
            assert_eq!((put.status, put.json()), (200, view.clone()));
            assert_eq!(api.call_as(ROOT, "GET", path, "").await.json(), view);
        }
        api.call_as(ROOT, "PUT", path, "{}").await.is_error(400, "role is required");
        let rule = "accountId must be 1 to 64 characters of A-Z a-z 0-9 _ -";
        for id in ["a%20b", "%FF", &"a".repeat(65)] {
            let path = format!("/v1/accounts/{id}");
            api.call_as(ROOT, "PUT", &path, r#"{"role":"x"}"#).await.is_error(400, rule);
            api.call_as(ROOT, "GET", &path, "").await.is_error(404, "Account not found");
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_works_until_it_is_deleted() {
    with_api(Setup::default(), async |api| {
        let keys = "/v1/accounts/acme/keys";
        let made = api.call_as(ROOT, "POST", keys, r#"{"scopes":["manage","manage"]}"#).await;
        assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")));
        let (id, key) = (made.json()["id"].clone(), made.json()["key"].clone());
        let (id, key) = (id.as_str().unwrap(), key.as_str().unwrap());
        assert_eq!(made.json().as_object().unwrap().len(), 2, "{}", made.text);
        assert_eq!(api.call_as(key, "GET", WEBHOOKS, "").await.status, 200);
        api.call_as(key, "POST", "/v1/events", "[]").await.is_error(403, "This key lacks the scope ingest");

        let one = format!("{keys}/{id}");
        let read = api.call_as(ROOT, "GET", &one, "").await;
        let mut view = read.json();
        let created = view.as_object_mut().unwrap().remove("createdAt").unwrap();
        assert!(created.as_str().unwrap().ends_with('Z'), "{created}");
        assert_eq!(view, json!({ "id": id, "accountId": "acme", "scopes": ["manage"] }));
        let list = api.call_as(ROOT, "GET", keys, "").await;
        assert!(list.json().as_array().unwrap().contains(&read.json()), "{}", list.text);
        assert!(!list.text.contains(key) && !read.text.contains(key));

        let gone = api.call_as(ROOT, "DELETE", &one, "").await;
        assert_eq!((gone.status, gone.text.as_str()), (204, ""));
        api.call_as(key, "GET", WEBHOOKS, "").await.is_error(401, "Unauthorized");
        for method in ["GET", "DELETE"] {
            api.call_as(ROOT, method, &one, "").await.is_error(404, "Key not found");
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_is_found_under_its_own_account_only() {
    with_api(Setup::default(), async |api| {
        let made = api.call_as(ROOT, "POST", "/v1/accounts/acme/keys", r#"{"scopes":["ingest"]}"#).await;
        let id = made.json()["id"].as_str().unwrap().to_owned();
        for method in ["GET", "DELETE"] {
            for (path, what) in [
                (format!("/v1/accounts/free/keys/{id}"), "Key not found"),
                ("/v1/accounts/acme/keys/a%20b".into(), "Key not found"),
                (format!("/v1/accounts/nobody/keys/{id}"), "Account not found"),
            ] {
                api.call_as(ROOT, method, &path, "").await.is_error(404, what);
            }
        }
        // 404 comes before what is wrong with the body.
        api.call_as(ROOT, "POST", "/v1/accounts/nobody/keys", r#"{"scopes":[]}"#)
            .await
            .is_error(404, "Account not found");
    })
    .await;
}

#[tokio::test]
async fn channels_change_hands_and_keep_their_phone() {
    with_api(Setup::default(), async |api| {
        let path = "/v1/channels/c9";
        api.call_as(ROOT, "GET", path, "").await.is_error(404, "Channel not found");
        let put = api.call_as(ROOT, "PUT", path, r#"{"accountId":"acme","phone":"+5521988110022"}"#).await;
        let view = json!({ "id": "c9", "accountId": "acme", "phone": "5521988110022" });
        assert_eq!((put.status, put.json()), (200, view));
        let put = api.call_as(ROOT, "PUT", path, r#"{"accountId":"free"}"#).await;
        let view = json!({ "id": "c9", "accountId": "free", "phone": "5521988110022" });
        assert_eq!((put.status, put.json()), (200, view.clone()));
        assert_eq!(api.call_as(ROOT, "GET", path, "").await.json(), view);
        // Without a phone the member is there all the same.
        assert_eq!(api.call_as(ROOT, "GET", "/v1/channels/c1", "").await.json()["phone"], json!(null));

        api.call_as(ROOT, "PUT", path, r#"{"accountId":"nobody"}"#).await.is_error(404, "Account not found");
        api.call_as(ROOT, "PUT", "/v1/channels/a%20b", r#"{"accountId":"acme"}"#)
            .await
            .is_error(400, "channelId must be 1 to 64 characters of A-Z a-z 0-9 _ -");
    })
    .await;
}
