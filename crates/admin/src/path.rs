//! The path's parameters, percent-decoded.

use crate::error::ApiError;
use crate::state::Shared;
use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

/// Never fails: a path that does not decode has no parameters, so that its ids are unknown rather than malformed.
pub(crate) struct Params(Option<RawPathParams>);

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.iter().find_map(|(key, value)| (key == name).then_some(value))
    }
}

impl FromRequestParts<Shared> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        Ok(Params(RawPathParams::from_request_parts(parts, shared).await.ok()))
    }
}
