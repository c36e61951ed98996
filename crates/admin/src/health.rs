//! `/healthz`, `/readyz`, `/metrics`: for probes and scrapers, without a key.

use crate::answer::json;
use crate::error::ApiError;
use crate::state::Shared;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

pub(crate) const ALIVE: &str = "/healthz";
pub(crate) const READY: &str = "/readyz";

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route(ALIVE, get(alive)).route(READY, get(ready)).route("/metrics", get(metrics))
}

#[derive(Serialize)]
struct HealthView {
    status: &'static str,
}

/// The process serves HTTP.
pub(crate) async fn alive() -> Response {
    json(StatusCode::OK, &HealthView { status: "ok" })
}

/// It takes work.
async fn ready(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let reason = shared.engine().readiness();
    reason.map_err(|reason| ApiError::unavailable(reason, 1))?;
    Ok(json(StatusCode::OK, &HealthView { status: "ready" }))
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], shared.engine().metrics_text()).into_response()
}
