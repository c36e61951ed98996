//! Who calls and whether they may: the first arguments of every handler, so that their checks come before everything
//! else, in the contract's order: 401, 403, 422, 404 (channel), 404 (webhook). The body is judged after them.

use crate::error::ApiError;
use crate::path::Params;
use crate::state::Shared;
use axum::extract::FromRequestParts;
use fanfare_core::webhook::Scopes;
use fanfare_core::{ChannelId, Secret, WebhookId};
use fanfare_engine::{EngineError, Principal};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::marker::PhantomData;

/// A scope that a route asks for.
pub(crate) trait Scope: Send + Sync + 'static {
    /// Its name in the API.
    const NAME: &'static str;

    fn is_held(scopes: Scopes) -> bool;
}

macro_rules! scope {
    ($name:ident, $text:literal, $field:ident) => {
        #[doc = concat!("The scope `", $text, "`.")]
        pub(crate) struct $name;

        impl Scope for $name {
            const NAME: &'static str = $text;

            fn is_held(scopes: Scopes) -> bool {
                scopes.$field
            }
        }
    };
}

scope!(Manage, "manage", manage);
scope!(Ingest, "ingest", ingest);
scope!(Operate, "operate", operate);

/// A caller whose key holds the scope `S`.
pub(crate) struct Caller<S> {
    pub(crate) principal: Principal,
    scope: PhantomData<S>,
}

impl<S: Scope> FromRequestParts<Shared> for Caller<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let key = bearer(&parts.headers).ok_or_else(ApiError::unauthorized)?;
        let principal = shared.engine().authenticate(&key).ok_or_else(ApiError::unauthorized)?;
        if !S::is_held(principal.scopes) {
            return Err(ApiError::lacks_scope(S::NAME));
        }
        Ok(Caller { principal, scope: PhantomData })
    }
}

/// A caller who may manage the webhooks of the path's channel.
pub(crate) struct ChannelCaller {
    pub(crate) principal: Principal,
    pub(crate) channel: ChannelId,
}

impl FromRequestParts<Shared> for ChannelCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let Caller { principal, .. } = Caller::<Manage>::from_request_parts(parts, shared).await?;
        let params = Params::from_request_parts(parts, shared).await?;
        let Some(channel) = params.get("channelId").and_then(|text| ChannelId::parse(text).ok()) else {
            return Err(unknown_channel(&principal, shared));
        };
        shared.engine().authorize_channel(&principal, &channel)?;
        Ok(ChannelCaller { principal, channel })
    }
}

/// The answer for a channel that cannot exist: the same as for one that does not, so the role comes first.
fn unknown_channel(principal: &Principal, shared: &Shared) -> ApiError {
    let account = principal.account.as_ref().and_then(|id| shared.engine().account(id));
    let is_enterprise = account.is_some_and(|account| account.is_enterprise());
    if principal.scopes.operate || is_enterprise {
        EngineError::UnknownChannel.into()
    } else {
        EngineError::RoleRequired.into()
    }
}

/// A caller who may manage the path's webhook, which exists.
pub(crate) struct WebhookCaller {
    pub(crate) principal: Principal,
    pub(crate) channel: ChannelId,
    pub(crate) id: WebhookId,
    pub(crate) webhook: fanfare_core::webhook::Webhook,
}

impl FromRequestParts<Shared> for WebhookCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let ChannelCaller { principal, channel } = ChannelCaller::from_request_parts(parts, shared).await?;
        let params = Params::from_request_parts(parts, shared).await?;
        let id = params.get("webhookId").and_then(WebhookId::parse).ok_or(EngineError::UnknownWebhook)?;
        let webhook = shared.engine().webhook(&principal, &channel, id)?;
        Ok(WebhookCaller { principal, channel, id, webhook })
    }
}

/// The key in `Authorization: Bearer <key>`; `None` for anything else, two such headers included.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, key) = value.to_str().ok()?.trim().split_once(' ')?;
    let key = key.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then(|| Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_one_bearer_key_counts() {
        for (values, key) in [
            (vec!["Bearer abc"], Some("abc")),
            (vec!["bearer  abc "], Some("abc")),
            (vec![], None),
            (vec![""], None),
            (vec!["Bearer"], None),
            (vec!["Bearer "], None),
            (vec!["abc"], None),
            (vec!["Basic abc"], None),
            (vec!["Bearer abc", "Bearer abc"], None),
            (vec!["Bearer ab\u{e9}"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(bearer(&headers).as_ref().map(Secret::expose), key, "{values:?}");
        }
    }
}
