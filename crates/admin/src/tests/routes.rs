//! Every route of the contract, written down by hand: the document and the scopes are held against this table.

/// A route, and a call of it that the harness's account may make.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// `None`: no key is asked for.
    pub(super) scope: Option<&'static str>,
    pub(super) body: &'static str,
    /// What a key with this scope (and `operate`, where the route is the operator's) is answered.
    pub(super) status: u16,
}

impl Route {
    /// The path of that call: what the harness made, a webhook that is not there, and so on.
    pub(super) fn target(&self) -> String {
        let values = [
            ("{accountId}", "acme"),
            ("{channelId}", "c1"),
            ("{webhookId}", "0190F3A27C5B7E118D2A4C6B9E01F3D5"),
            ("{deliveryId}", "E1-0190F3A27C5B7E118D2A4C6B9E01F3D5"),
            ("{keyId}", "nobodys"),
            ("{type}", "BLOCK"),
            ("{name}", "NOT_THERE"),
        ];
        values.iter().fold(self.path.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}

const fn route(
    method: &'static str,
    path: &'static str,
    scope: Option<&'static str>,
    body: &'static str,
    status: u16,
) -> Route {
    Route { method, path, scope, body, status }
}

const MANAGE: Option<&str> = Some("manage");
const INGEST: Option<&str> = Some("ingest");
const OPERATE: Option<&str> = Some("operate");

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/v1/channels/{channelId}/webhooks", MANAGE, "", 200),
    route(
        "POST",
        "/v1/channels/{channelId}/webhooks",
        MANAGE,
        r#"{"url":"https://r.test/in","events":["BLOCK"]}"#,
        201,
    ),
    route("GET", "/v1/channels/{channelId}/webhooks/{webhookId}", MANAGE, "", 404),
    route("PATCH", "/v1/channels/{channelId}/webhooks/{webhookId}", MANAGE, "{}", 404),
    route("DELETE", "/v1/channels/{channelId}/webhooks/{webhookId}", MANAGE, "", 404),
    route("GET", "/v1/channels/{channelId}/webhooks/{webhookId}/deliveries", MANAGE, "", 404),
    route("GET", "/v1/channels/{channelId}/webhooks/{webhookId}/deliveries/{deliveryId}", MANAGE, "", 404),
    route(
        "POST",
        "/v1/channels/{channelId}/webhooks/{webhookId}/deliveries/{deliveryId}/redrive",
        MANAGE,
        "",
        404,
    ),
    route("POST", "/v1/channels/{channelId}/webhooks/{webhookId}/redrive", MANAGE, "{}", 404),
    route("POST", "/v1/channels/{channelId}/webhooks/{webhookId}/test", MANAGE, "", 404),
    route("GET", "/v1/channels/{channelId}/webhooks/{webhookId}/health", MANAGE, "", 404),
    route("POST", "/v1/events", INGEST, r#"{"type":"BLOCK","channelId":"c1","payload":{}}"#, 202),
    route("POST", "/v1/channels/{channelId}/events/{type}", INGEST, "{}", 202),
    route("PUT", "/v1/accounts/{accountId}", OPERATE, r#"{"role":"ENTERPRISE"}"#, 200),
    route("GET", "/v1/accounts/{accountId}", OPERATE, "", 200),
    route("GET", "/v1/accounts/{accountId}/keys", OPERATE, "", 200),
    route("POST", "/v1/accounts/{accountId}/keys", OPERATE, r#"{"scopes":["manage"]}"#, 201),
    route("GET", "/v1/accounts/{accountId}/keys/{keyId}", OPERATE, "", 404),
    route("DELETE", "/v1/accounts/{accountId}/keys/{keyId}", OPERATE, "", 404),
    route("PUT", "/v1/channels/{channelId}", OPERATE, r#"{"accountId":"acme"}"#, 200),
    route("GET", "/v1/channels/{channelId}", OPERATE, "", 200),
    route("GET", "/v1/formats", OPERATE, "", 200),
    // Of another content type than the one it takes.
    route("PUT", "/v1/formats/{name}", OPERATE, "{}", 415),
    route("DELETE", "/v1/formats/{name}", OPERATE, "", 404),
    route("POST", "/v1/formats/{name}/rollback", OPERATE, "", 404),
    route("POST", "/v1/formats/{name}/lift", OPERATE, "", 404),
    route("GET", "/healthz", None, "", 200),
    route("GET", "/readyz", None, "", 200),
    route("GET", "/metrics", None, "", 200),
    route("GET", "/v1/openapi.json", None, "", 200),
];
