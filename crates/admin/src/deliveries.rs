//! `…/webhooks/{webhookId}/deliveries[/{deliveryId}]`, and putting dead ones back.

use crate::answer::json;
use crate::auth::WebhookCaller;
use crate::body::JsonBody;
use crate::delivery_view::{DetailView, ItemView, PageView};
use crate::error::{ApiError, Invalid};
use crate::given_time::read_rfc_3339;
use crate::json::Members;
use crate::names::Named;
use crate::openapi::{Call, Routes, schema};
use crate::path::Params;
use crate::query::Query;
use crate::state::Shared;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_core::delivery::DeliveryStatus;
use fanfare_core::ports::history::{DeliveryFilter, Redriven};
use http::{StatusCode, Uri};
use serde::Serialize;
use std::ops::RangeInclusive;
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;

/// Items of one part of a list.
const LIMIT: RangeInclusive<usize> = 1..=1000;
const LIMIT_DEFAULT: usize = 100;

pub(crate) fn routes() -> Routes {
    let call = |id, summary| Call::new(id, summary).manages_webhooks();
    let all = "/v1/channels/{channelId}/webhooks/{webhookId}/deliveries";
    let one = "/v1/channels/{channelId}/webhooks/{webhookId}/deliveries/{deliveryId}";
    let redrive_one_path = "/v1/channels/{channelId}/webhooks/{webhookId}/deliveries/{deliveryId}/redrive";
    let redrive_path = "/v1/channels/{channelId}/webhooks/{webhookId}/redrive";
    let limit = schema::count().minimum(Some(*LIMIT.start())).maximum(Some(*LIMIT.end()));
    let list_call = call("listDeliveries", "Deliveries of a webhook")
        .about(
            "What is owed first (retries by when they are due, then the newest event first), then dead ones, then \
             delivered and skipped ones, the latest end first. One that ends meanwhile may be seen twice.",
        )
        .query("status", "Only of this status.", schema::name::<DeliveryStatus>())
        .query("from", "Only of events accepted at or after.", schema::rfc_3339())
        .query("to", "Only of events accepted before.", schema::rfc_3339())
        .query("cursor", "Where to go on: `nextCursor` of the part before, with the same filter.", schema::cursor())
        .query("limit", "Items at most.", limit.default(Some(LIMIT_DEFAULT.into())))
        .answers::<PageView>(200, "A part of the list.");
    let read_call = call("readDelivery", "A delivery with its attempts")
        .about("Attempts that succeeded are recorded as the setting `attempts.successes` says.")
        .answers::<DetailView>(200, "The delivery.");
    let redrive_one_call = call("redriveDelivery", "Put a dead delivery back")
        .about("Its schedule begins anew; its id stays and its attempt number goes on.")
        .fails([409])
        .answers::<RedrivenView>(202, "It is owed again.");
    let redrive_call = call("redriveDeliveries", "Put back all deliveries that fit")
        .about("Without members all dead ones. Members that are not known are refused here.")
        .takes("Redrive", redrive_schema())
        .answers::<RedrivenView>(
            202,
            "They are owed again; those whose body is no longer kept are passed over.",
        );
    Routes::of("deliveries")
        .get(all, list, list_call)
        .get(one, read, read_call)
        .post(redrive_one_path, redrive_one, redrive_one_call)
        .post(redrive_path, redrive, redrive_call)
}

/// What a redrive came to.
#[derive(Serialize, ToSchema)]
#[schema(as = Redriven)]
struct RedrivenView {
    /// Deliveries put back.
    redriven: u64,
}

async fn list(caller: WebhookCaller, State(shared): State<Shared>, uri: Uri) -> Result<Response, ApiError> {
    let query = Query::read(&uri, &["status", "from", "to", "cursor", "limit"])?;
    let status = query.get("status").map(|name| {
        DeliveryStatus::parse(name)
            .ok_or_else(|| Invalid(format!("status must be {}", DeliveryStatus::choice())))
    });
    let time = |name: &str| query.get(name).map(|text| read_rfc_3339(name, text)).transpose();
    let filter = DeliveryFilter { status: status.transpose()?, from_ms: time("from")?, to_ms: time("to")? };
    let cursor = query.get("cursor").map_or(Ok(Vec::new()), read_cursor)?;
    let count_max = query.integer("limit", LIMIT, LIMIT_DEFAULT)?;
    let WebhookCaller { principal, channel, id, .. } = caller;
    let page = shared.engine().deliveries(&principal, &channel, id, filter, cursor, count_max).await?;
    let view = PageView {
        items: page.items.iter().map(|item| ItemView::new(id, item)).collect(),
        next_cursor: page.next.map(|next| URL_SAFE_NO_PAD.encode(next)),
    };
    Ok(json(StatusCode::OK, &view))
}

async fn read(
    caller: WebhookCaller,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let WebhookCaller { principal, channel, id, .. } = caller;
    let detail = shared.engine().delivery(&principal, &channel, id, delivery_id(&params)).await?;
    Ok(json(StatusCode::OK, &DetailView::new(id, &detail)))
}

async fn redrive_one(
    caller: WebhookCaller,
    State(shared): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let WebhookCaller { principal, channel, id, .. } = caller;
    let redriven = shared.engine().redrive_delivery(&principal, &channel, id, delivery_id(&params)).await?;
    Ok(show(redriven))
}

async fn redrive(
    caller: WebhookCaller,
    State(shared): State<Shared>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let filter = redrive_filter(&body)?;
    let WebhookCaller { principal, channel, id, .. } = caller;
    Ok(show(shared.engine().redrive(&principal, &channel, id, filter).await?))
}

fn show(redriven: Redriven) -> Response {
    json(StatusCode::ACCEPTED, &RedrivenView { redriven: redriven.count })
}

/// What is not an id is an unknown one.
fn delivery_id(params: &Params) -> &str {
    params.get("deliveryId").unwrap_or_default()
}

fn read_cursor(text: &str) -> Result<Vec<u8>, Invalid> {
    // An empty one would be the list's start, which is asked for by giving none.
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .filter(|cursor| !cursor.is_empty())
        .ok_or_else(|| Invalid::new("cursor is not one that this list gave"))
}

/// A misspelt member would put back more than was meant, so unknown ones are refused.
fn redrive_filter(body: &[u8]) -> Result<DeliveryFilter, Invalid> {
    let members = Members::of_body(body)?;
    members.only(&["from", "to", "status"])?;
    let time = |name: &str| match members.get(name)? {
        Some(member) => read_rfc_3339(name, &member.string()?).map(Some),
        None => Ok(None),
    };
    let status = members.get("status")?.map(|member| match member.named()? {
        DeliveryStatus::Pending => Err(member.refuse("must not be PENDING: what is owed needs no redrive")),
        status => Ok(status),
    });
    Ok(DeliveryFilter { from_ms: time("from")?, to_ms: time("to")?, status: status.transpose()? })
}

fn redrive_schema() -> ObjectBuilder {
    let ended = DeliveryStatus::names().into_iter().filter(|name| *name != DeliveryStatus::Pending.name());
    let status = schema::text().enum_values(Some(ended)).default(Some(DeliveryStatus::Dead.name().into()));
    schema::closed_object()
        .property("from", schema::rfc_3339())
        .property("to", schema::rfc_3339())
        .property("status", status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_says_what_it_means() {
        let read = |body: &str| redrive_filter(body.as_bytes());
        assert_eq!(read("{}"), Ok(DeliveryFilter::default()));
        assert_eq!(
            read(r#"{"from":"1970-01-01T00:00:01Z","to":"1970-01-01T00:00:02Z","status":"SKIPPED"}"#),
            Ok(DeliveryFilter {
                from_ms: Some(1000),
                to_ms: Some(2000),
                status: Some(DeliveryStatus::Skipped)
            })
        );
        for (body, text) in [
            ("", "the body is empty; it must be a JSON object"),
            (r#"{"form":"1970-01-01T00:00:01Z"}"#, "unknown member `form`: known are from, to, status"),
            (r#"{"from":7}"#, "from must be a string"),
            (r#"{"from":null}"#, "from must be a string"),
            (r#"{"to":"yesterday"}"#, "to must be an RFC 3339 time, such as 2026-03-09T14:05:00Z"),
            (r#"{"status":"PENDING"}"#, "status must not be PENDING: what is owed needs no redrive"),
            (r#"{"status":"dead"}"#, "status must be PENDING, DEAD, DELIVERED or SKIPPED"),
        ] {
            assert_eq!(read(body), Err(Invalid::new(text)), "{body}");
        }
    }

    #[test]
    fn a_cursor_is_base64url_of_something() {
        assert_eq!(read_cursor("_-8"), Ok(vec![0xFF, 0xEF]));
        for text in ["", "_-8=", "+/8", "a", "ä"] {
            assert_eq!(
                read_cursor(text),
                Err(Invalid::new("cursor is not one that this list gave")),
                "{text}"
            );
        }
    }
}
