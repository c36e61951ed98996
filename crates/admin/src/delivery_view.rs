//! Deliveries and their attempts in answers.

use crate::answer::rfc_3339;
use crate::openapi::schema;
use bytes::Bytes;
use fanfare_core::WebhookId;
use fanfare_core::delivery::{AttemptRecord, DeliveryStatus, delivery_id};
use fanfare_core::event::EventKind;
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::history::{DeliveryDetail, DeliveryView};
use serde::Serialize;
use utoipa::ToSchema;

/// One delivery: what is owed to the webhook, or became of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub(crate) struct ItemView {
    /// `webhook-id` of its requests; `null` when its record is too damaged to tell.
    #[schema(schema_with = schema::delivery_id_or_null, required)]
    id: Option<String>,
    /// `null` when its record is too damaged to tell.
    #[schema(schema_with = schema::id_or_null, required)]
    event_id: Option<String>,
    /// The event's kind, where it is known.
    #[schema(schema_with = schema::name_of_or_null::<EventKind>, required)]
    r#type: Option<&'static str>,
    #[schema(schema_with = schema::name_of::<DeliveryStatus>)]
    status: &'static str,
    /// Why it is dead or was skipped.
    #[schema(required)]
    reason: Option<String>,
    /// When its event was accepted.
    #[schema(schema_with = schema::rfc_3339)]
    created_at: String,
    #[schema(schema_with = schema::rfc_3339_or_null, required)]
    ended_at: Option<String>,
    /// Attempts made.
    attempt_count: u32,
    /// `null` when it has ended, or waits for nothing but its turn.
    #[schema(schema_with = schema::rfc_3339_or_null, required)]
    next_attempt_at: Option<String>,
    /// What the last attempt failed of.
    #[schema(schema_with = schema::name_of_or_null::<FailureClass>, required)]
    last_failure: Option<&'static str>,
    /// Status of the last answer.
    #[schema(schema_with = schema::http_status_or_null, required)]
    last_status: Option<u16>,
}

impl ItemView {
    pub(crate) fn new(webhook: WebhookId, delivery: &DeliveryView) -> Self {
        ItemView {
            id: delivery.event_id.as_ref().map(|event| delivery_id(event, webhook, delivery.key.part)),
            event_id: delivery.event_id.as_ref().map(ToString::to_string),
            r#type: delivery.kind.map(EventKind::name),
            status: delivery.status.name(),
            reason: delivery.reason.clone(),
            created_at: rfc_3339(delivery.accepted_ms),
            ended_at: delivery.ended_ms.map(rfc_3339),
            attempt_count: delivery.attempt_count,
            next_attempt_at: delivery.next_attempt_ms.map(rfc_3339),
            last_failure: delivery.last_failure.map(FailureClass::name),
            last_status: delivery.last_status,
        }
    }
}

/// Part of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeliveryPage)]
pub(crate) struct PageView {
    /// May be fewer than asked for although more follow.
    pub(crate) items: Vec<ItemView>,
    /// The `cursor` to go on with; `null`: nothing follows.
    #[schema(schema_with = schema::cursor_or_null, required)]
    pub(crate) next_cursor: Option<String>,
}

/// One delivery with its recorded attempts.
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryDetail)]
pub(crate) struct DetailView {
    #[serde(flatten)]
    item: ItemView,
    attempts: Vec<AttemptView>,
}

impl DetailView {
    pub(crate) fn new(webhook: WebhookId, detail: &DeliveryDetail) -> Self {
        DetailView {
            item: ItemView::new(webhook, &detail.delivery),
            attempts: detail.attempts.iter().map(AttemptView::new).collect(),
        }
    }
}

/// One request to the receiver.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
struct AttemptView {
    /// From 1; goes on after a redrive.
    number: u32,
    #[schema(schema_with = schema::rfc_3339)]
    started_at: String,
    duration_ms: u32,
    /// Status of the answer, when one was read.
    #[schema(schema_with = schema::http_status_or_null, required)]
    status: Option<u16>,
    /// `null`: success.
    #[schema(schema_with = schema::name_of_or_null::<FailureClass>, required)]
    failure: Option<&'static str>,
    /// What failed, for people.
    #[schema(required)]
    detail: Option<String>,
    /// The first KiB of the answer's body, what is not UTF-8 replaced.
    #[schema(required)]
    response: Option<String>,
}

impl AttemptView {
    fn new(attempt: &AttemptRecord) -> Self {
        AttemptView {
            number: attempt.attempt_number,
            started_at: rfc_3339(attempt.started_ms),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            failure: attempt.failure.map(FailureClass::name),
            detail: attempt.detail.clone(),
            response: response(attempt.status, &attempt.snippet),
        }
    }
}

/// What an answer held: `None` without one.
pub(crate) fn response(status: Option<u16>, snippet: &Bytes) -> Option<String> {
    (status.is_some() || !snippet.is_empty()).then(|| String::from_utf8_lossy(snippet).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::delivery::DeliveryKey;
    use fanfare_core::{EventId, Seq};

    fn delivery() -> DeliveryView {
        DeliveryView {
            key: DeliveryKey { seq: Seq(9), part: 2 },
            event_id: Some(EventId::parse("E1").unwrap()),
            kind: Some(EventKind::Block),
            status: DeliveryStatus::Dead,
            reason: Some("exhausted".into()),
            accepted_ms: 1_773_065_100_000,
            ended_ms: Some(1_773_065_100_001),
            attempt_count: 12,
            next_attempt_ms: None,
            last_failure: Some(FailureClass::Throttled),
            last_status: Some(429),
        }
    }

    #[test]
    fn a_delivery_with_its_attempts_has_the_members_of_the_contract() {
        let attempt = AttemptRecord {
            attempt_number: 12,
            started_ms: 1_773_065_100_001,
            duration_ms: 7,
            status: Some(429),
            failure: Some(FailureClass::Throttled),
            snippet: Bytes::from_static(b"slow \xFF down"),
            detail: Some("asked to wait".into()),
        };
        let detail = DeliveryDetail { delivery: delivery(), attempts: vec![attempt] };
        let text = serde_json::to_string(&DetailView::new(WebhookId(0xAB), &detail)).unwrap();
        insta::assert_snapshot!(text, @r#"{"id":"E1-000000000000000000000000000000AB-2","eventId":"E1","type":"BLOCK","status":"DEAD","reason":"exhausted","createdAt":"2026-03-09T14:05:00.000Z","endedAt":"2026-03-09T14:05:00.001Z","attemptCount":12,"nextAttemptAt":null,"lastFailure":"throttled","lastStatus":429,"attempts":[{"number":12,"startedAt":"2026-03-09T14:05:00.001Z","durationMs":7,"status":429,"failure":"throttled","detail":"asked to wait","response":"slow � down"}]}"#);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let unknown = DeliveryView {
            event_id: None,
            kind: None,
            status: DeliveryStatus::Pending,
            reason: None,
            ended_ms: None,
            attempt_count: 0,
            next_attempt_ms: Some(1_773_065_100_002),
            last_failure: None,
            last_status: None,
            ..delivery()
        };
        let text = serde_json::to_string(&ItemView::new(WebhookId(0xAB), &unknown)).unwrap();
        insta::assert_snapshot!(text, @r#"{"id":null,"eventId":null,"type":null,"status":"PENDING","reason":null,"createdAt":"2026-03-09T14:05:00.000Z","endedAt":null,"attemptCount":0,"nextAttemptAt":"2026-03-09T14:05:00.002Z","lastFailure":null,"lastStatus":null}"#);
    }

    #[test]
    fn an_answer_without_a_body_is_not_no_answer() {
        assert_eq!(response(None, &Bytes::new()), None);
        assert_eq!(response(Some(204), &Bytes::new()), Some(String::new()));
    }
}
