//! `…/webhooks/{webhookId}/health` and `…/test`: how a webhook fares, asked and tried.

use crate::answer::{json, rfc_3339};
use crate::auth::WebhookCaller;
use crate::body::JsonBody;
use crate::delivery_view::response;
use crate::error::{ApiError, Invalid};
use crate::json::Members;
use crate::names::Named;
use crate::openapi::{Call, Routes, schema};
use crate::state::Shared;
use axum::extract::State;
use axum::response::Response;
use fanfare_core::event::EventKind;
use fanfare_core::outcome::{FailureClass, Outcome};
use fanfare_core::webhook::WebhookStatus;
use fanfare_engine::{LastFailure, TestOutcome, WebhookHealth};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::schema::Object;

pub(crate) fn routes() -> Routes {
    let call = |id, summary| Call::new(id, summary).manages_webhooks();
    let health_call = call("readWebhookHealth", "How a webhook fares")
        .answers::<WebhookHealthView>(200, "Its gate, backlog, rates, latencies and last failure.");
    let test_call = call("testWebhook", "Send a sample event and tell the outcome")
        .about(
            "One attempt, nothing stored; also while the webhook is disabled or its gate is shut. Without a `type` the \
             first kind it subscribes to.",
        )
        .may_take("Test", test_schema())
        .fails([429])
        .answers::<TestView>(200, "What came of it; also when the receiver refused it or was not reached.");
    Routes::of("webhooks")
        .get("/v1/channels/{channelId}/webhooks/{webhookId}/health", health, health_call)
        .post("/v1/channels/{channelId}/webhooks/{webhookId}/test", test, test_call)
}

/// How a webhook fares.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookHealth)]
struct WebhookHealthView {
    #[schema(schema_with = schema::name_of::<WebhookStatus>)]
    status: &'static str,
    /// Why the engine disabled it.
    #[schema(required)]
    disabled_reason: Option<String>,
    gate: GateView,
    backlog: BacklogView,
    /// Attempts.
    in_flight: usize,
    rates: RatesView,
    latency_ms: LatencyView,
    /// Since the engine started.
    #[schema(required)]
    last_failure: Option<LastFailureView>,
}

/// Whether it may be attempted now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Gate)]
struct GateView {
    #[schema(schema_with = gate_state)]
    state: &'static str,
    /// When the next probe may begin, while it is shut.
    #[schema(schema_with = schema::rfc_3339_or_null, required)]
    until: Option<String>,
    /// While it is open.
    failures_in_a_row: u32,
    /// Since when there was no success but failures.
    #[schema(schema_with = schema::rfc_3339_or_null, required)]
    failing_since: Option<String>,
}

fn gate_state() -> Object {
    schema::text().enum_values(Some(["OPEN", "SHUT", "PROBING"])).build()
}

/// What it is owed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Backlog)]
struct BacklogView {
    deliveries: u64,
    /// Whether counting stopped before the end.
    is_at_least: bool,
    /// When the oldest event among them was accepted.
    #[schema(schema_with = schema::rfc_3339_or_null, required)]
    oldest_pending_at: Option<String>,
    #[schema(required)]
    oldest_pending_age_seconds: Option<u64>,
}

/// Attempts that ended, over the last `windowSeconds`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Rates)]
struct RatesView {
    delivered_per_second: f64,
    failed_per_second: f64,
    window_seconds: u32,
}

/// How long the receiver took lately; `null` when it was not called lately.
#[derive(Serialize, ToSchema)]
#[schema(as = Latency)]
struct LatencyView {
    #[schema(required)]
    p50: Option<u32>,
    #[schema(required)]
    p90: Option<u32>,
    #[schema(required)]
    p99: Option<u32>,
    /// Of so many attempts.
    samples: u32,
}

/// The last attempt that failed.
#[derive(Serialize, ToSchema)]
#[schema(as = LastFailure)]
struct LastFailureView {
    #[schema(schema_with = schema::rfc_3339)]
    at: String,
    #[schema(schema_with = schema::name_of::<FailureClass>)]
    failure: &'static str,
    #[schema(schema_with = schema::http_status_or_null, required)]
    status: Option<u16>,
    #[schema(required)]
    detail: Option<String>,
}

impl WebhookHealthView {
    fn new(health: WebhookHealth, now_ms: u64) -> Self {
        let WebhookHealth { gate, backlog, latency, .. } = health;
        WebhookHealthView {
            status: health.status.name(),
            disabled_reason: health.disabled_reason,
            gate: GateView {
                state: gate.state,
                until: gate.until_ms.map(rfc_3339),
                failures_in_a_row: gate.failures_in_a_row,
                failing_since: gate.failing_since_ms.map(rfc_3339),
            },
            backlog: BacklogView {
                deliveries: backlog.deliveries,
                is_at_least: backlog.is_at_least,
                oldest_pending_at: backlog.oldest_accepted_ms.map(rfc_3339),
                // A clock that was set back makes it young, never negative.
                oldest_pending_age_seconds: backlog
                    .oldest_accepted_ms
                    .map(|oldest| now_ms.saturating_sub(oldest) / 1000),
            },
            in_flight: health.in_flight,
            rates: RatesView {
                delivered_per_second: health.delivered_per_second,
                failed_per_second: health.failed_per_second,
                window_seconds: health.window_seconds,
            },
            latency_ms: LatencyView {
                p50: latency.map(|latency| latency.p50_ms),
                p90: latency.map(|latency| latency.p90_ms),
                p99: latency.map(|latency| latency.p99_ms),
                samples: latency.map_or(0, |latency| latency.samples),
            },
            last_failure: health.last_failure.map(|LastFailure { at_ms, class, status, detail }| {
                LastFailureView { at: rfc_3339(at_ms), failure: class.name(), status, detail }
            }),
        }
    }
}

async fn health(caller: WebhookCaller, State(shared): State<Shared>) -> Result<Response, ApiError> {
    let WebhookCaller { principal, channel, id, .. } = caller;
    let health = shared.engine().webhook_health(&principal, &channel, id).await?;
    Ok(json(StatusCode::OK, &WebhookHealthView::new(health, shared.engine().now().unix_ms)))
}

/// What a test came to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TestOutcome)]
struct TestView {
    /// Kind of the sample event.
    #[schema(schema_with = schema::name_of::<EventKind>)]
    r#type: &'static str,
    /// `webhook-id` of the request.
    #[schema(schema_with = schema::delivery_id)]
    delivery_id: String,
    /// Whether the receiver took it.
    delivered: bool,
    /// Status of its answer.
    #[schema(schema_with = schema::http_status_or_null, required)]
    status: Option<u16>,
    /// `null`: success, or nothing was sent.
    #[schema(schema_with = schema::name_of_or_null::<FailureClass>, required)]
    failure: Option<&'static str>,
    /// What failed, or why nothing was sent, for people.
    #[schema(required)]
    detail: Option<String>,
    duration_ms: u32,
    /// The first KiB of the answer's body, what is not UTF-8 replaced.
    #[schema(required)]
    response: Option<String>,
    /// Bodies the sample has in the webhook's format; the first was sent.
    bodies: usize,
}

impl TestView {
    fn new(test: TestOutcome) -> Self {
        let delivered = test.is_delivered();
        let skipped = test.skipped.map(|reason| format!("nothing was sent: {reason}"));
        let report = test.report.as_ref();
        let failure = report.and_then(|report| match report.outcome {
            Outcome::Delivered => None,
            Outcome::Retryable { class, .. } | Outcome::Permanent { class } => Some(class.name()),
        });
        TestView {
            r#type: test.kind.name(),
            delivery_id: test.delivery_id,
            delivered,
            status: report.and_then(|report| report.status),
            failure,
            detail: report.and_then(|report| report.detail.clone()).or(skipped),
            duration_ms: test.duration_ms,
            response: report.and_then(|report| response(report.status, &report.snippet)),
            bodies: test.body_count,
        }
    }
}

async fn test(
    caller: WebhookCaller,
    State(shared): State<Shared>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let kind = test_kind(&body)?;
    let WebhookCaller { principal, channel, id, .. } = caller;
    let outcome = shared.engine().test_webhook(&principal, &channel, id, kind).await?;
    Ok(json(StatusCode::OK, &TestView::new(outcome)))
}

/// No body is one without members.
fn test_kind(body: &[u8]) -> Result<Option<EventKind>, Invalid> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    Members::of_body(body)?.get("type")?.map(|member| member.named()).transpose()
}

fn test_schema() -> ObjectBuilder {
    schema::object().property("type", schema::name::<EventKind>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fanfare_core::outcome::AttemptReport;

    fn shown(report: Option<AttemptReport>, skipped: Option<&str>) -> serde_json::Value {
        let outcome = TestOutcome {
            kind: EventKind::Block,
            delivery_id: "E1-000000000000000000000000000000AB".into(),
            body_count: usize::from(skipped.is_none()),
            skipped: skipped.map(str::to_owned),
            report,
            duration_ms: 7,
        };
        serde_json::to_value(TestView::new(outcome)).unwrap()
    }

    #[test]
    fn a_test_tells_what_came_of_it() {
        let base = serde_json::json!({
            "type": "BLOCK", "deliveryId": "E1-000000000000000000000000000000AB", "delivered": false, "status": null,
            "failure": null, "detail": null, "durationMs": 7, "response": null, "bodies": 1,
        });
        let with = |members: serde_json::Value| {
            let mut whole = base.clone();
            whole.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            whole
        };
        let answered = |status, outcome| AttemptReport {
            outcome,
            status: Some(status),
            snippet: Bytes::from_static(b"so"),
            detail: None,
        };
        assert_eq!(
            shown(Some(answered(200, Outcome::Delivered)), None),
            with(serde_json::json!({ "delivered": true, "status": 200, "response": "so" }))
        );
        let gone = Outcome::Permanent { class: FailureClass::Gone };
        assert_eq!(
            shown(Some(answered(410, gone)), None),
            with(serde_json::json!({ "status": 410, "failure": "gone", "response": "so" }))
        );
        assert_eq!(
            shown(Some(AttemptReport::failed(FailureClass::Dns, "no such host")), None),
            with(serde_json::json!({ "failure": "dns", "detail": "no such host" }))
        );
        assert_eq!(
            shown(None, Some("no_z_api_counterpart")),
            with(serde_json::json!({ "detail": "nothing was sent: no_z_api_counterpart", "bodies": 0 }))
        );
    }

    #[test]
    fn a_test_needs_no_body() {
        assert_eq!(test_kind(b""), Ok(None));
        assert_eq!(test_kind(b" \n"), Ok(None));
        assert_eq!(test_kind(b"{}"), Ok(None));
        assert_eq!(test_kind(br#"{"type":"BLOCK"}"#), Ok(Some(EventKind::Block)));
        let rule = format!("type must be {}", EventKind::choice());
        for body in [r#"{"type":"RECEIVED_STATUS"}"#, r#"{"type":null}"#, r#"{"type":7}"#] {
            assert_eq!(test_kind(body.as_bytes()), Err(Invalid::new(&*rule)), "{body}");
        }
    }
}
