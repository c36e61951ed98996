//! `POST /v1/events` and `POST /v1/channels/{channelId}/events/{type}`: ingest.
//!
//! The answer comes when every accepted event is on stable storage. Whether a channel is known is part of an event's
//! judgement, so here, unlike in the management calls, a malformed body is told before an unknown channel.

use crate::answer::{json, quoted};
use crate::auth::Ingest;
use crate::body::{IngestBody, Media, media};
use crate::error::ApiError;
use crate::openapi::{Call, Routes, content, schema};
use crate::path::Params;
use crate::producers::Producer;
use crate::state::Shared;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use fanfare_core::event::{EventKind, Subscription};
use fanfare_core::limits::{EVENT_BYTES_MAX, KEY_BYTES_MAX};
use fanfare_core::{ChannelId, EventId};
use fanfare_engine::{EngineError, IngestAnswer, Principal};
use fanfare_render::{EventError, EventErrorKind, ParsedEvent, RequestForm, bare_event, split_request};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr};

/// Bodies from this size on are parsed on a thread of their own: one of 16 MiB would hold up every other call of an
/// event loop. The bound is a guess, not a measurement.
const PARSE_INLINE_BYTES_MAX: usize = 256 * 1024;

pub(crate) fn routes() -> Routes {
    let stored = "Every accepted event is on stable storage.";
    let events = Call::new("pushEvents", "Push events of any channels")
        .about(
            "One event, a JSON array, or NDJSON with one event a line. A bad event among good ones is rejected by its \
             index, blank lines not counted; when none was acceptable the answer is 400 with the same members. An \
             `id` known within the idempotency window is a duplicate and is not delivered again.",
        )
        .needs::<Ingest>()
        .part("Event", event_schema())
        .takes_one_of([
            (Media::Json.name(), content(one_or_many(schema::of("Event")))),
            (Media::Ndjson.name(), content(schema::text())),
        ])
        .fails([429, 503])
        .answers::<IngestView<'_>>(202, stored);
    let bare = Call::new("pushEvent", "Push one event as the hub's bare body")
        .needs::<Ingest>()
        .header("Idempotency-Key", "The event's id; made when it is not given.", schema::id())
        .takes("HubBody", schema::any_object())
        .fails([404, 429, 503])
        .answers::<IngestView<'_>>(202, stored);
    Routes::of("events").post("/v1/events", push, events).post(
        "/v1/channels/{channelId}/events/{type}",
        push_bare,
        bare,
    )
}

/// The answer to `POST /v1/events`; `error` and `message` only when nothing was acceptable.
#[derive(Serialize, ToSchema)]
#[schema(as = IngestAnswer)]
struct IngestView<'a> {
    /// The status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<&'static str>,
    /// Events taken.
    accepted: usize,
    /// Events whose id was known.
    duplicates: usize,
    rejected: Vec<RejectedView<'a>>,
}

/// An event that was not taken.
#[derive(Serialize, ToSchema)]
#[schema(as = Rejected)]
struct RejectedView<'a> {
    /// Its place, from 0.
    index: usize,
    /// Why.
    error: &'a str,
}

/// An event as [`split_request`] reads it.
fn event_schema() -> ObjectBuilder {
    let key = schema::text().max_length(Some(KEY_BYTES_MAX));
    let key = key.description(Some("The ordering key; absent, the customer's identifier in the message."));
    let occurred_at = schema::count().maximum(Some(u64::MAX)).description(Some("Unix milliseconds."));
    schema::object()
        .property("id", schema::id_or_null())
        .property("type", schema::name::<EventKind>())
        .required("type")
        .property("channelId", schema::id())
        .required("channelId")
        .property("payload", schema::object().description(Some("The hub's body.")))
        .required("payload")
        .property("key", schema::or_null(key))
        .property("occurredAt", schema::or_null(occurred_at))
}

fn one_or_many(event: RefOr<Schema>) -> Schema {
    OneOfBuilder::new().item(event.clone()).item(schema::array(event, 1..=usize::MAX)).into()
}

async fn push(
    producer: Producer,
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let is_lines = media(&parts.headers, &[Media::Json, Media::Ndjson])? == Media::Ndjson;
    let form = if is_lines { RequestForm::Ndjson } else { RequestForm::Json };
    let bytes_max = shared.admin.limits.ingest_body_bytes_max;
    let body = IngestBody::read(&shared, &parts.headers, body, bytes_max).await?;
    let is_single = form == RequestForm::Json && is_object(&body.bytes);
    let events = split(body.bytes.clone(), form).await?.map_err(refusal)?;
    if is_single
        && let [Err(error)] = events.as_slice()
        && error.kind() == EventErrorKind::TooLarge
    {
        return Err(refusal(error.clone()));
    }
    producer.take(&shared, events.len())?;
    let answer = shared.engine().ingest(&producer.principal, events).await?;
    // Held until here: the engine's own copies are bounded by its own limits.
    drop(body);
    Ok(show(&answer))
}

async fn push_bare(
    producer: Producer,
    State(shared): State<Shared>,
    params: Params,
    request: Request,
) -> Result<Response, ApiError> {
    let channel = params.get("channelId").and_then(|text| ChannelId::parse(text).ok());
    let channel = channel.ok_or(EngineError::UnknownChannel)?;
    let kind = event_kind(params.get("type").unwrap_or_default())?;
    let (parts, body) = request.into_parts();
    let id = idempotency_key(&parts.headers)?;
    media(&parts.headers, &[Media::Json])?;
    let body = IngestBody::read(&shared, &parts.headers, body, EVENT_BYTES_MAX).await?;
    if body.bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request("the body is empty; it must be the event's JSON object"));
    }
    let event = bare_event(channel.clone(), kind, id, body.bytes.clone()).map_err(refusal)?;
    producer.take(&shared, 1)?;
    let answer = shared.engine().ingest(&producer.principal, vec![Ok(event)]).await?;
    drop(body);
    let Some((_, error)) = answer.rejected.first() else { return Ok(show(&answer)) };
    if is_reached(&shared, &producer.principal, &channel) {
        Err(ApiError::bad_request(error.clone()))
    } else {
        Err(EngineError::UnknownChannel.into())
    }
}

/// 202, or 400 when there was something and none of it was acceptable.
fn show(answer: &IngestAnswer) -> Response {
    let is_refused = answer.accepted == 0 && answer.duplicates == 0 && !answer.rejected.is_empty();
    let status = if is_refused { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let rejected = answer.rejected.iter().map(|(index, error)| RejectedView { index: *index, error });
    let view = IngestView {
        error: is_refused.then(|| status.as_u16()),
        message: is_refused.then_some("no event was acceptable"),
        accepted: answer.accepted,
        duplicates: answer.duplicates,
        rejected: rejected.collect(),
    };
    json(status, &view)
}

type Events = Vec<Result<ParsedEvent, EventError>>;

async fn split(body: Bytes, form: RequestForm) -> Result<Result<Events, EventError>, ApiError> {
    if body.len() < PARSE_INLINE_BYTES_MAX {
        return Ok(split_request(body, form));
    }
    tokio::task::spawn_blocking(move || split_request(body, form))
        .await
        .map_err(|error| ApiError::internal(format!("parsing events: {error}")))
}

/// An error of a whole request, or of the only event in it.
fn refusal(error: EventError) -> ApiError {
    let status = match error.kind() {
        EventErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, error.to_string())
}

/// Whether a JSON body holds one event, not an array: what its first character says.
fn is_object(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    body.trim_ascii_start().first() == Some(&b'{')
}

fn event_kind(name: &str) -> Result<EventKind, ApiError> {
    if let Some(kind) = EventKind::parse(name) {
        return Ok(kind);
    }
    let shown = quoted(name);
    let known = EventKind::ALL.map(EventKind::name).join(", ");
    Err(ApiError::bad_request(match Subscription::parse(name) {
        Some(_) => format!("type {shown} is a subscription, not an event; it must be one of {known}"),
        None => format!("type `{shown}` is unknown; it must be one of {known}"),
    }))
}

/// The event's id: one `Idempotency-Key`, or none.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<EventId>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::bad_request("Idempotency-Key is given twice"));
    }
    let id = value.to_str().ok().and_then(|text| EventId::parse(text).ok());
    id.map(Some)
        .ok_or_else(|| ApiError::bad_request("Idempotency-Key must be 1 to 64 characters of A-Z a-z 0-9 _ -"))
}

/// Whether the channel exists for this caller.
fn is_reached(shared: &Shared, principal: &Principal, channel: &ChannelId) -> bool {
    shared.engine().channel(channel).is_some_and(|channel| {
        principal.scopes.operate || principal.account.as_ref() == Some(&channel.account)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn shown(answer: IngestAnswer) -> (u16, String) {
        let response = show(&answer);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_answer_is_400_only_when_nothing_was_acceptable() {
        let rejected = vec![(1, "type is required".to_owned())];
        assert_eq!(
            shown(IngestAnswer { accepted: 2, duplicates: 1, rejected: rejected.clone() }).await,
            (
                202,
                r#"{"accepted":2,"duplicates":1,"rejected":[{"index":1,"error":"type is required"}]}"#.into()
            )
        );
        assert_eq!(
            shown(IngestAnswer { accepted: 0, duplicates: 1, rejected: rejected.clone() }).await.0,
            202
        );
        assert_eq!(
            shown(IngestAnswer { accepted: 0, duplicates: 0, rejected }).await,
            (
                400,
                concat!(
                    r#"{"error":400,"message":"no event was acceptable","accepted":0,"duplicates":0,"#,
                    r#""rejected":[{"index":1,"error":"type is required"}]}"#
                )
                .into()
            )
        );
    }

    #[test]
    fn a_json_body_shows_by_its_first_character_whether_it_is_one_event() {
        for (body, is_one) in
            [("{", true), (" \r\n{", true), ("\u{feff}{", true), ("[{", false), ("", false), ("7", false)]
        {
            assert_eq!(is_object(body.as_bytes()), is_one, "{body:?}");
        }
    }

    #[test]
    fn the_type_in_the_path_is_one_of_eight() {
        assert_eq!(event_kind("BLOCK").unwrap(), EventKind::Block);
        let kinds = "MESSAGE_RECEIVED, MESSAGE_DELIVERY, MESSAGE_STATUS, CONNECTED, DISCONNECTED, \
                     PRESENCE_CHAT, INITIAL_DATA, BLOCK";
        assert_eq!(
            event_kind("RECEIVED_STATUS").unwrap_err().parts(),
            (
                400,
                &*format!("type RECEIVED_STATUS is a subscription, not an event; it must be one of {kinds}")
            )
        );
        assert_eq!(
            event_kind("block").unwrap_err().parts(),
            (400, &*format!("type `block` is unknown; it must be one of {kinds}"))
        );
    }

    #[test]
    fn an_idempotency_key_is_an_event_id() {
        let key = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", http::HeaderValue::from_static(value));
            }
            idempotency_key(&headers)
        };
        assert_eq!(key(&[]).unwrap(), None);
        assert_eq!(key(&["order-7"]).unwrap().unwrap().as_str(), "order-7");
        assert_eq!(
            key(&["a b"]).unwrap_err().parts(),
            (400, "Idempotency-Key must be 1 to 64 characters of A-Z a-z 0-9 _ -")
        );
        assert_eq!(key(&["a", "b"]).unwrap_err().parts(), (400, "Idempotency-Key is given twice"));
    }
}
