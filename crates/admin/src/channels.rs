//! `/v1/channels/{channelId}`: operator routes.

use crate::answer::json;
use crate::auth::{Caller, Operate};
use crate::body::JsonBody;
use crate::error::{ApiError, Invalid};
use crate::json::{Member, Members};
use crate::openapi::{Call, Routes, schema};
use crate::path::Params;
use crate::state::Shared;
use axum::extract::State;
use axum::response::Response;
use fanfare_core::webhook::Channel;
use fanfare_core::{AccountId, ChannelId};
use fanfare_engine::EngineError;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;

/// Longest phone, digits: E.164 has 15, some numbers of closed networks are longer.
const PHONE_DIGITS_MAX: usize = 20;

pub(crate) fn routes() -> Routes {
    let path = "/v1/channels/{channelId}";
    let read_call = Call::new("readChannel", "A channel").needs::<Operate>();
    let put_call = Call::new("putChannel", "Make a channel, or give it to another account")
        .about("Without a phone, or with `null`, a phone known before stays.")
        .needs::<Operate>()
        .takes("ChannelBody", body_schema())
        .fails([503]);
    Routes::of("channels").get(path, read, read_call.answers::<ChannelView<'_>>(200, "The channel.")).put(
        path,
        put,
        put_call.answers::<ChannelView<'_>>(200, "The channel as it is now."),
    )
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
struct ChannelView<'a> {
    #[schema(schema_with = schema::id)]
    id: &'a str,
    #[schema(schema_with = schema::id)]
    account_id: &'a str,
    /// Digits alone.
    #[schema(required)]
    phone: Option<&'a str>,
}

fn body_schema() -> ObjectBuilder {
    let phone = schema::text().pattern(Some(format!(r"^\+?[0-9]{{1,{PHONE_DIGITS_MAX}}}$")));
    schema::object()
        .property("accountId", schema::id())
        .required("accountId")
        .property("phone", schema::or_null(phone))
}

async fn put(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let id = params.get("channelId").unwrap_or_default();
    let id = ChannelId::parse(id).map_err(|rule| ApiError::bad_request(format!("channelId {rule}")))?;
    let (account, phone) = channel_body(&body)?;
    Ok(show(&shared.engine().put_channel(id, account, phone).await?))
}

async fn read(
    _: Caller<Operate>,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let id = params.get("channelId").and_then(|text| ChannelId::parse(text).ok());
    let channel = id.and_then(|id| shared.engine().channel(&id)).ok_or(EngineError::UnknownChannel)?;
    Ok(show(&channel))
}

fn show(channel: &Channel) -> Response {
    let view = ChannelView {
        id: channel.id.as_str(),
        account_id: channel.account.as_str(),
        phone: channel.phone.as_deref(),
    };
    json(StatusCode::OK, &view)
}

/// The owner, and the phone if one is given; `null`, as an answer shows an unknown phone, gives none.
fn channel_body(body: &[u8]) -> Result<(AccountId, Option<String>), Invalid> {
    let members = Members::of_body(body)?;
    let account = members.required("accountId")?;
    let account = AccountId::parse(&account.string()?).map_err(|rule| account.refuse(rule))?;
    let phone = match members.get("phone")? {
        Some(member) if !member.is_null() => Some(phone(&member)?),
        _ => None,
    };
    Ok((account, phone))
}

/// The digits alone.
fn phone(member: &Member<'_>) -> Result<String, Invalid> {
    let text = member.string()?;
    let digits = text.strip_prefix('+').unwrap_or(&text);
    if (1..=PHONE_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        Ok(digits.to_owned())
    } else {
        Err(member.refuse(format_args!("must be 1 to {PHONE_DIGITS_MAX} digits, with or without +")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_kept_as_digits() {
        let read = |body: &str| channel_body(body.as_bytes()).map(|(_, phone)| phone);
        for (body, kept) in [
            (r#"{"accountId":"a"}"#, None),
            (r#"{"accountId":"a","phone":null}"#, None),
            (r#"{"accountId":"a","phone":"5521988110022"}"#, Some("5521988110022")),
            (r#"{"accountId":"a","phone":"+5521988110022"}"#, Some("5521988110022")),
        ] {
            assert_eq!(read(body), Ok(kept.map(str::to_owned)), "{body}");
        }
        let rule = "phone must be 1 to 20 digits, with or without +";
        for (phone, text) in [
            (r#""""#, rule),
            (r#""+""#, rule),
            (r#""++1""#, rule),
            (r#""55 21""#, rule),
            (r#""123456789012345678901""#, rule),
            ("5521988110022", "phone must be a string"),
        ] {
            let body = format!(r#"{{"accountId":"a","phone":{phone}}}"#);
            assert_eq!(read(&body), Err(Invalid::new(text)), "{body}");
        }
    }

    #[test]
    fn an_owner_is_required() {
        for (body, text) in [
            ("{}", "accountId is required"),
            (r#"{"accountId":7}"#, "accountId must be a string"),
            (r#"{"accountId":"a b"}"#, "accountId must be 1 to 64 characters of A-Z a-z 0-9 _ -"),
        ] {
            assert_eq!(channel_body(body.as_bytes()), Err(Invalid::new(text)), "{body}");
        }
    }
}
