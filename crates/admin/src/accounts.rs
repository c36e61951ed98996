//! `/v1/accounts/{accountId}` and its keys: operator routes.

use crate::answer::{json, no_content, not_stored, quoted, rfc_3339};
use crate::auth::{Caller, Ingest, Manage, Operate, Scope};
use crate::body::JsonBody;
use crate::error::{ApiError, Invalid};
use crate::json::Members;
use crate::openapi::{Call, Routes, schema};
use crate::path::Params;
use crate::state::Shared;
use axum::extract::State;
use axum::response::Response;
use fanfare_core::webhook::{Account, ApiKey, Scopes};
use fanfare_core::{AccountId, KeyId};
use fanfare_engine::EngineError;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{Array, ObjectBuilder};

/// Longest role, characters.
const ROLE_CHARS_MAX: usize = 64;

pub(crate) fn routes() -> Routes {
    let call = |id, summary| Call::new(id, summary).needs::<Operate>();
    let (account, keys, key) = (
        "/v1/accounts/{accountId}",
        "/v1/accounts/{accountId}/keys",
        "/v1/accounts/{accountId}/keys/{keyId}",
    );
    let read_call = call("readAccount", "An account").answers::<AccountView<'_>>(200, "The account.");
    let put_call = call("putAccount", "Make an account, or change its role")
        .takes("AccountBody", account_schema())
        .fails([503])
        .answers::<AccountView<'_>>(200, "The account as it is now.");
    let list_call = call("listKeys", "Keys of an account").answers_all::<KeyView<'_>>(200, "All of them.");
    let create_call = call("createKey", "Make a key")
        .takes("KeyBody", key_schema())
        .fails([503])
        .answers::<NewKeyView<'_>>(201, "The key, shown this once.")
        .answer_header(201, "Cache-Control", "`no-store`.");
    let read_key_call = call("readKey", "A key's record").answers::<KeyView<'_>>(200, "The record.");
    let delete_call =
        call("deleteKey", "Revoke a key").fails([503]).answers_nothing(204, "It is known no more.");
    Routes::of("accounts")
        .get(account, read, read_call)
        .put(account, put, put_call)
        .get(keys, list_keys, list_call)
        .post(keys, create_key, create_call)
        .get(key, read_key, read_key_call)
        .delete(key, delete_key, delete_call)
}

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountView<'a> {
    #[schema(schema_with = schema::id)]
    id: &'a str,
    /// `ENTERPRISE`, or any other word.
    role: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NewKey)]
struct NewKeyView<'a> {
    #[schema(schema_with = schema::id)]
    id: &'a str,
    /// What a caller sends as `Authorization: Bearer <key>`.
    key: &'a str,
}

/// A key's record; its text cannot be shown again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
struct KeyView<'a> {
    #[schema(schema_with = schema::id)]
    id: &'a str,
    #[schema(schema_with = schema::id)]
    account_id: &'a str,
    #[schema(schema_with = scopes_schema)]
    scopes: Vec<&'static str>,
    #[schema(schema_with = schema::rfc_3339)]
    created_at: String,
}

fn account_schema() -> ObjectBuilder {
    let role = schema::text().min_length(Some(1)).max_length(Some(ROLE_CHARS_MAX));
    // Not white space alone, no control characters.
    let role = role.pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"));
    schema::object().property("role", role).required("role")
}

fn scopes_schema() -> Array {
    schema::array(schema::text().enum_values(Some(scope_names(Scopes::ALL))), 1..=usize::MAX)
}

fn key_schema() -> ObjectBuilder {
    schema::object().property("scopes", scopes_schema()).required("scopes")
}

impl<'a> KeyView<'a> {
    fn new(key: &'a ApiKey) -> Self {
        KeyView {
            id: key.id.as_str(),
            account_id: key.account.as_str(),
            scopes: scope_names(key.scopes),
            created_at: rfc_3339(key.created_at_ms),
        }
    }
}

async fn put(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let id = params.get("accountId").unwrap_or_default();
    let id = AccountId::parse(id).map_err(|rule| ApiError::bad_request(format!("accountId {rule}")))?;
    let account = Account { id, role: role(&body)? };
    shared.engine().put_account(account.clone()).await?;
    Ok(show(&account))
}

async fn read(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    Ok(show(&known_account(&shared, &params)?))
}

async fn create_key(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let account = known_account(&shared, &params)?.id;
    let (record, key) = shared.engine().create_key(&account, scopes(&body)?).await?;
    let view = NewKeyView { id: record.id.as_str(), key: key.expose() };
    Ok(not_stored(json(StatusCode::CREATED, &view)))
}

async fn list_keys(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let account = known_account(&shared, &params)?.id;
    let keys = shared.engine().keys(&account);
    Ok(json(StatusCode::OK, &keys.iter().map(KeyView::new).collect::<Vec<_>>()))
}

async fn read_key(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let account = known_account(&shared, &params)?.id;
    let key = shared.engine().key(&account, &key_id(&params)?).ok_or(EngineError::UnknownKey)?;
    Ok(json(StatusCode::OK, &KeyView::new(&key)))
}

async fn delete_key(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let account = known_account(&shared, &params)?.id;
    shared.engine().delete_key(&account, &key_id(&params)?).await?;
    Ok(no_content())
}

fn show(account: &Account) -> Response {
    json(StatusCode::OK, &AccountView { id: account.id.as_str(), role: &account.role })
}

fn known_account(shared: &Shared, params: &Params) -> Result<Account, ApiError> {
    let id = params.get("accountId").and_then(|text| AccountId::parse(text).ok());
    Ok(id.and_then(|id| shared.engine().account(&id)).ok_or(EngineError::UnknownAccount)?)
}

fn key_id(params: &Params) -> Result<KeyId, EngineError> {
    params.get("keyId").and_then(|text| KeyId::parse(text).ok()).ok_or(EngineError::UnknownKey)
}

fn role(body: &[u8]) -> Result<String, Invalid> {
    let member = Members::of_body(body)?.required("role")?;
    let role = member.string()?;
    let chars = role.chars().count();
    if role.trim().is_empty() {
        return Err(member.refuse("must not be empty"));
    }
    if chars > ROLE_CHARS_MAX {
        return Err(member.refuse(format_args!("of {chars} characters exceeds {ROLE_CHARS_MAX}")));
    }
    if role.chars().any(char::is_control) {
        return Err(member.refuse("must not hold control characters"));
    }
    Ok(role)
}

fn scopes(body: &[u8]) -> Result<Scopes, Invalid> {
    let member = Members::of_body(body)?.required("scopes")?;
    let names = member.strings()?;
    if names.is_empty() {
        return Err(member.refuse("must name at least one scope"));
    }
    let mut scopes = Scopes::default();
    for name in names {
        match name.as_str() {
            Manage::NAME => scopes.manage = true,
            Ingest::NAME => scopes.ingest = true,
            Operate::NAME => scopes.operate = true,
            _ => {
                let known = scope_names(Scopes::ALL).join(", ");
                return Err(Invalid(format!("unknown scope `{}`: known are {known}", quoted(&name))));
            }
        }
    }
    Ok(scopes)
}

fn scope_names(scopes: Scopes) -> Vec<&'static str> {
    [(scopes.manage, Manage::NAME), (scopes.ingest, Ingest::NAME), (scopes.operate, Operate::NAME)]
        .into_iter()
        .filter_map(|(is_held, name)| is_held.then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_short_word() {
        let long = format!(r#"{{"role":"{}"}}"#, "é".repeat(65));
        let longest = format!(r#"{{"role":"{}"}}"#, "é".repeat(64));
        assert_eq!(role(br#"{"role":"ENTERPRISE","x":1}"#), Ok("ENTERPRISE".into()));
        assert_eq!(role(longest.as_bytes()), Ok("é".repeat(64)));
        for (body, text) in [
            ("{}", "role is required"),
            (r#"{"role":null}"#, "role must be a string"),
            (r#"{"role":7}"#, "role must be a string"),
            (r#"{"role":""}"#, "role must not be empty"),
            (r#"{"role":" "}"#, "role must not be empty"),
            (r#"{"role":"a\u0000"}"#, "role must not hold control characters"),
            (&long, "role of 65 characters exceeds 64"),
        ] {
            assert_eq!(role(body.as_bytes()), Err(Invalid::new(text)), "{body}");
        }
    }

    #[test]
    fn scopes_are_a_set_of_three_words() {
        let read = |body: &str| scopes(body.as_bytes());
        let two = Scopes { manage: true, ingest: true, operate: false };
        assert_eq!(read(r#"{"scopes":["ingest","manage","ingest"]}"#), Ok(two));
        assert_eq!(scope_names(two), ["manage", "ingest"]);
        assert_eq!(read(r#"{"scopes":["manage","ingest","operate"]}"#), Ok(Scopes::ALL));
        for (body, text) in [
            ("{}", "scopes is required"),
            (r#"{"scopes":[]}"#, "scopes must name at least one scope"),
            (r#"{"scopes":"manage"}"#, "scopes must be an array of strings"),
            (r#"{"scopes":[1]}"#, "scopes must be an array of strings"),
            (r#"{"scopes":null}"#, "scopes must be an array of strings"),
            (r#"{"scopes":["admin"]}"#, "unknown scope `admin`: known are manage, ingest, operate"),
        ] {
            assert_eq!(read(body), Err(Invalid::new(text)), "{body}");
        }
    }
}
