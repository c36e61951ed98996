//! `/healthz`, `/readyz`, `/metrics`: for probes and scrapers, without a key.

use crate::answer::json;
use crate::error::ApiError;
use crate::openapi::{Call, Routes, schema};
use crate::state::Shared;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) const ALIVE: &str = "/healthz";
pub(crate) const READY: &str = "/readyz";

/// Content type of the metrics.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes() -> Routes {
    let alive_call = Call::new("readLiveness", "Whether the process serves HTTP");
    let ready_call = Call::new("readReadiness", "Whether it takes work").fails([503]);
    let metrics_call = Call::new("readMetrics", "Prometheus metrics");
    Routes::of("probes")
        .get(ALIVE, alive, alive_call.answers::<HealthView>(200, "It does."))
        .get(READY, ready, ready_call.answers::<HealthView>(200, "It does."))
        .get("/metrics", metrics, metrics_call.answers_with(200, "The text format.", METRICS, schema::text()))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Probe)]
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
    ([(CONTENT_TYPE, METRICS)], shared.engine().metrics_text()).into_response()
}
