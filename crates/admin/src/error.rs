//! Answers that are not success. Two texts are kept apart: `message` is for the caller, `log` for the operator's log.
//! Neither ever holds a body, a key or a URL.

use axum::response::{IntoResponse, Response};
use fanfare_engine::EngineError;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// A member of a body that breaks its rule: 400. The text names the member and the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub(crate) String);

impl Invalid {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Invalid(text.into())
    }
}

/// An answer `{"error": <status>, "message": "<text>"}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    log: Option<String>,
    retry_after_s: Option<u32>,
}

/// The shape of every error.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorView<'a> {
    /// The status.
    error: u16,
    /// For the caller.
    message: &'a str,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        ApiError { status, message: message.into(), log: None, retry_after_s: None }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized")
    }

    pub(crate) fn lacks_scope(scope: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("This key lacks the scope {scope}"))
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn unsupported(message: String) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// 413. `seen` is exact when it was declared, else what had arrived when the limit was passed.
    pub(crate) fn too_large(seen: u64, is_exact: bool, limit: usize) -> Self {
        let at_least = if is_exact { "" } else { "at least " };
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("body of {at_least}{seen} bytes exceeds {limit}"))
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Self {
        ApiError { retry_after_s: Some(retry_after_s), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    pub(crate) fn too_many(message: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Self {
        ApiError { retry_after_s: Some(retry_after_s), ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// 500. `log` is for the log only.
    pub(crate) fn internal(log: impl Into<String>) -> Self {
        ApiError { log: Some(log.into()), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error") }
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (u16, &str) {
        (self.status.as_u16(), &self.message)
    }
}

impl From<Invalid> for ApiError {
    fn from(Invalid(message): Invalid) -> Self {
        Self::bad_request(message)
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::UnknownChannel => Self::not_found("Channel not found"),
            EngineError::UnknownWebhook => Self::not_found("Webhook not found"),
            EngineError::UnknownAccount => Self::not_found("Account not found"),
            EngineError::UnknownKey => Self::not_found("Key not found"),
            EngineError::UnknownDelivery => Self::not_found("Delivery not found"),
            EngineError::UnknownFormat => Self::not_found("Format not found"),
            EngineError::Conflict(message) => Self::new(StatusCode::CONFLICT, message),
            EngineError::RateLimited { message, retry_after_s } => Self::too_many(message, retry_after_s),
            EngineError::RoleRequired => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "This action requires ENTERPRISE role")
            }
            EngineError::Invalid(message) => Self::bad_request(message),
            EngineError::Unavailable { message, retry_after_s } => Self::unavailable(message, retry_after_s),
            EngineError::Internal(text) => Self::internal(text),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(cause = self.log.as_deref().unwrap_or_default(), "a call failed");
        } else if self.status.is_server_error() {
            // Under overload these come by the thousand; metrics count them.
            tracing::debug!(status = self.status.as_u16(), reason = %self.message, "a call was refused");
        }
        let view = ErrorView { error: self.status.as_u16(), message: &self.message };
        let mut response = crate::answer::json(self.status, &view);
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn shown(error: ApiError) -> (u16, String, Option<String>) {
        let response = error.into_response();
        let status = response.status().as_u16();
        let retry = response.headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap(), retry)
    }

    #[tokio::test]
    async fn each_engine_error_has_its_answer() {
        let cases = [
            (EngineError::UnknownChannel, 404, "Channel not found", None),
            (EngineError::UnknownWebhook, 404, "Webhook not found", None),
            (EngineError::UnknownAccount, 404, "Account not found", None),
            (EngineError::UnknownKey, 404, "Key not found", None),
            (EngineError::UnknownDelivery, 404, "Delivery not found", None),
            (EngineError::UnknownFormat, 404, "Format not found", None),
            (EngineError::Conflict("it is PENDING".into()), 409, "it is PENDING", None),
            (
                EngineError::RateLimited { message: "too fast".into(), retry_after_s: 2 },
                429,
                "too fast",
                Some("2"),
            ),
            (EngineError::RoleRequired, 422, "This action requires ENTERPRISE role", None),
            (EngineError::Invalid("url is taken".into()), 400, "url is taken", None),
            (
                EngineError::Unavailable { message: "the disk is full".into(), retry_after_s: 30 },
                503,
                "the disk is full",
                Some("30"),
            ),
            (EngineError::Internal("page 7 is torn".into()), 500, "internal error", None),
        ];
        for (error, status, message, retry) in cases {
            let body = format!("{{\"error\":{status},\"message\":\"{message}\"}}");
            assert_eq!(shown(error.into()).await, (status, body, retry.map(str::to_owned)));
        }
    }

    #[tokio::test]
    async fn too_large_names_both_numbers() {
        let (status, body, _) = shown(ApiError::too_large(20, true, 16)).await;
        assert_eq!(
            (status, body.as_str()),
            (413, r#"{"error":413,"message":"body of 20 bytes exceeds 16"}"#)
        );
        let (_, body, _) = shown(ApiError::too_large(17, false, 16)).await;
        assert!(body.contains("body of at least 17 bytes exceeds 16"), "{body}");
    }
}
