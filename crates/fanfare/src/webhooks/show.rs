//! Webhooks, tests and health as people read them.

use crate::manage::table::{Table, clean, counted, members, or_dash};
use crate::manage::times::{age, shown};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A webhook as the API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookAnswer {
    pub(super) id: String,
    channel_id: String,
    url: String,
    description: Option<String>,
    events: Vec<String>,
    pub(super) status: String,
    disabled_reason: Option<String>,
    signing: bool,
    secret: Option<String>,
    standard_secret: Option<String>,
    auth: AuthAnswer,
    payload_format: String,
    custom_attributes: Box<RawValue>,
    delivery: DeliveryAnswer,
    created_at: String,
    updated_at: String,
}

#[derive(Deserialize)]
struct AuthAnswer {
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryAnswer {
    timeout_ms: u32,
    max_in_flight: u32,
    rate_limit: Option<RateLimitAnswer>,
    ordering: String,
    retry: RetryAnswer,
    protocol: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RateLimitAnswer {
    per_second: f64,
    burst: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryAnswer {
    schedule_seconds: Vec<u32>,
    max_age_seconds: u64,
}

/// One line per webhook. URLs without their queries, which may hold tokens and make lines long; `get` shows them.
pub(super) fn list(webhooks: &[WebhookAnswer]) -> String {
    let rows: Vec<Vec<String>> = webhooks
        .iter()
        .map(|webhook| {
            let events = match webhook.events.as_slice() {
                [] => "-".to_owned(),
                [only] => clean(only),
                [first, rest @ ..] => format!("{} +{}", clean(first), rest.len()),
            };
            vec![
                clean(&webhook.id),
                clean(&webhook.status),
                clean(&webhook.payload_format),
                events,
                without_query(&webhook.url),
            ]
        })
        .collect();
    Table::new(&["ID", "STATUS", "FORMAT", "EVENTS", "URL"]).page(&rows)
}

fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((before, _)) => format!("{}?…", clean(before)),
        None => clean(url),
    }
}

/// Everything about one webhook, and how to keep a secret that is shown this once.
pub(super) fn one(webhook: &WebhookAnswer) -> String {
    let status = match &webhook.disabled_reason {
        Some(reason) => format!("{} ({})", clean(&webhook.status), clean(reason)),
        None => clean(&webhook.status),
    };
    let mut shown_members = vec![
        ("id", clean(&webhook.id)),
        ("channel", clean(&webhook.channel_id)),
        ("url", clean(&webhook.url)),
        ("description", or_dash(webhook.description.as_deref())),
        ("status", status),
        ("events", clean(&webhook.events.join(", "))),
        ("format", clean(&webhook.payload_format)),
        ("signing", if webhook.signing { "on" } else { "off" }.to_owned()),
        ("auth", clean(&webhook.auth.r#type)),
        ("attributes", clean(webhook.custom_attributes.get())),
    ];
    shown_members.extend(delivery(&webhook.delivery));
    shown_members.push(("created", shown(&webhook.created_at)));
    shown_members.push(("updated", shown(&webhook.updated_at)));
    let secrets = [("secret", &webhook.secret), ("standard secret", &webhook.standard_secret)];
    let secrets: Vec<(&str, String)> =
        secrets.into_iter().filter_map(|(name, text)| Some((name, clean(text.as_ref()?)))).collect();
    let mut text = members(&shown_members);
    if !secrets.is_empty() {
        text.push('\n');
        text.push_str(&members(&secrets));
        text.push_str(
            "\nThe secret is shown this once and cannot be had again: give it to the receiver now.\n",
        );
    }
    text
}

fn delivery(delivery: &DeliveryAnswer) -> [(&'static str, String); 7] {
    let rate = delivery.rate_limit.as_ref().map_or_else(
        || "none".to_owned(),
        |limit| format!("{} per second, burst {}", limit.per_second, limit.burst),
    );
    let schedule: Vec<String> = delivery.retry.schedule_seconds.iter().map(u32::to_string).collect();
    [
        ("timeout", format!("{} ms", delivery.timeout_ms)),
        ("in flight", format!("at most {}", delivery.max_in_flight)),
        ("rate limit", rate),
        ("ordering", clean(&delivery.ordering)),
        ("retries", format!("after {} s", schedule.join(", "))),
        ("gives up", format!("after {}", age(delivery.retry.max_age_seconds))),
        ("protocol", clean(&delivery.protocol)),
    ]
}

/// What a test came to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestAnswer {
    r#type: String,
    delivery_id: String,
    pub(super) delivered: bool,
    status: Option<u16>,
    failure: Option<String>,
    detail: Option<String>,
    duration_ms: f64,
    response: Option<String>,
    bodies: u64,
}

impl TestAnswer {
    /// What kept it from being delivered.
    pub(super) fn why(&self) -> String {
        match (self.status, self.detail.as_ref().or(self.failure.as_ref())) {
            (Some(status), _) => format!("the receiver answered {status}"),
            (None, Some(why)) => clean(why),
            (None, None) => "no answer".to_owned(),
        }
    }
}

/// A test for people.
pub(super) fn test(answer: &TestAnswer) -> String {
    members(&[
        ("outcome", if answer.delivered { "delivered" } else { "not delivered" }.to_owned()),
        ("status", answer.status.map_or_else(|| "-".to_owned(), |status| status.to_string())),
        ("failure", or_dash(answer.failure.as_deref())),
        ("detail", or_dash(answer.detail.as_deref())),
        ("took", format!("{} ms", answer.duration_ms)),
        ("event", clean(&answer.r#type)),
        ("bodies", answer.bodies.to_string()),
        ("delivery", clean(&answer.delivery_id)),
        ("response", or_dash(answer.response.as_deref())),
    ])
}

/// How a webhook is doing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthAnswer {
    status: String,
    disabled_reason: Option<String>,
    gate: GateAnswer,
    backlog: BacklogAnswer,
    in_flight: u64,
    rates: RatesAnswer,
    latency_ms: LatencyAnswer,
    last_failure: Option<FailureAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GateAnswer {
    state: String,
    until: Option<String>,
    failures_in_a_row: u64,
    failing_since: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BacklogAnswer {
    deliveries: u64,
    is_at_least: bool,
    oldest_pending_age_seconds: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RatesAnswer {
    delivered_per_second: f64,
    failed_per_second: f64,
    window_seconds: u64,
}

#[derive(Deserialize)]
struct LatencyAnswer {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    samples: u64,
}

#[derive(Deserialize)]
struct FailureAnswer {
    at: String,
    failure: Option<String>,
    status: Option<u16>,
    detail: Option<String>,
}

/// Health for people.
pub(super) fn health(answer: &HealthAnswer) -> String {
    let status = match &answer.disabled_reason {
        Some(reason) => format!("{} ({})", clean(&answer.status), clean(reason)),
        None => clean(&answer.status),
    };
    let backlog = &answer.backlog;
    let waiting = counted(backlog.deliveries, "delivery", "deliveries");
    let waiting = if backlog.is_at_least { format!("at least {waiting}") } else { waiting };
    let rates = &answer.rates;
    members(&[
        ("status", status),
        ("gate", gate(&answer.gate)),
        ("backlog", waiting),
        ("oldest", backlog.oldest_pending_age_seconds.map_or_else(|| "-".to_owned(), |s| age(whole(s)))),
        ("in flight", answer.in_flight.to_string()),
        (
            "rates",
            format!(
                "{:.1} delivered, {:.1} failed per second over {} s",
                rates.delivered_per_second, rates.failed_per_second, rates.window_seconds
            ),
        ),
        ("latency", latency(&answer.latency_ms)),
        ("last failure", answer.last_failure.as_ref().map_or_else(|| "-".to_owned(), last_failure)),
    ])
}

fn gate(gate: &GateAnswer) -> String {
    let mut text = clean(&gate.state);
    if let Some(until) = &gate.until {
        text.push_str(&format!(" until {}", shown(until)));
    }
    if gate.failures_in_a_row > 0 {
        let failures = counted(gate.failures_in_a_row, "failure", "failures");
        text.push_str(&format!(", {failures} in a row"));
    }
    if let Some(since) = &gate.failing_since {
        text.push_str(&format!(", failing since {}", shown(since)));
    }
    text
}

fn latency(latency: &LatencyAnswer) -> String {
    match (latency.p50, latency.p90, latency.p99) {
        (Some(p50), Some(p90), Some(p99)) => {
            format!(
                "p50 {p50} ms, p90 {p90} ms, p99 {p99} ms, of {}",
                counted(latency.samples, "sample", "samples")
            )
        }
        _ => "-".to_owned(),
    }
}

fn last_failure(failure: &FailureAnswer) -> String {
    let mut parts = vec![shown(&failure.at)];
    parts.extend(failure.failure.as_deref().map(clean));
    parts.extend(failure.status.map(|status| status.to_string()));
    parts.extend(failure.detail.as_deref().map(clean));
    parts.join("  ")
}

/// Whole seconds of an age.
fn whole(seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an age below zero reads as 0, one without end as the longest"
    )]
    let whole = seconds as u64;
    whole
}
