//! What the document says of answers that are not success: one table, one shape.

use crate::answer::JSON;
use crate::error::ErrorView;
use crate::openapi::schema;
use http::StatusCode;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::{ComponentsBuilder, ContentBuilder, Ref, Response, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};

/// Status, name among the components, text.
const ERRORS: &[(StatusCode, &str, &str)] = &[
    (
        StatusCode::BAD_REQUEST,
        "BadRequest",
        "A part of the call breaks its rule; the message names the part and the limit. Nothing was changed.",
    ),
    (StatusCode::UNAUTHORIZED, "Unauthorized", "No key, or one that is not known."),
    (StatusCode::FORBIDDEN, "Forbidden", "The key lacks the scope that the message names."),
    (
        StatusCode::NOT_FOUND,
        "NotFound",
        "What the path names is not known: the message says what. Another account's is not told from an unknown one.",
    ),
    (StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "The body paused for too long."),
    (StatusCode::CONFLICT, "Conflict", "It is not in a state for that; the message names the state."),
    (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", "The body exceeds the limit that the message names."),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        "A content type or content encoding that is not taken here; the message names those that are.",
    ),
    (StatusCode::UNPROCESSABLE_ENTITY, "RoleRequired", "The account lacks the ENTERPRISE role."),
    (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "Over a rate limit; nothing was taken."),
    (StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "A fault of this server; its log says which."),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "Unavailable",
        "Not now: draining, over a limit of backlog, disk or memory, or the store is busy. Nothing was taken.",
    ),
];

/// Puts them, and their shape, among the components.
pub(super) fn describe(mut components: ComponentsBuilder) -> ComponentsBuilder {
    components = components.schema(ErrorView::name(), ErrorView::schema());
    for (status, name, text) in ERRORS {
        components = components.response(*name, response(*status, text));
    }
    components
}

fn response(status: StatusCode, text: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(schema::of(&ErrorView::name()))).build();
    let response = with_headers(status, ResponseBuilder::new().description(text));
    response.content(JSON, content).build()
}

/// Adds the headers that every answer of this status has.
pub(super) fn with_headers(status: StatusCode, response: ResponseBuilder) -> ResponseBuilder {
    match status {
        StatusCode::UNAUTHORIZED => response
            .header("WWW-Authenticate", header(schema::text().enum_values(Some(["Bearer"])), "The scheme.")),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            response.header("Retry-After", header(schema::count(), "Seconds after which to try again."))
        }
        _ => response,
    }
}

fn header(of: utoipa::openapi::ObjectBuilder, text: &str) -> Header {
    HeaderBuilder::new().schema(Some(of)).description(Some(text)).build()
}

/// The component of a status.
///
/// # Panics
/// When the table lacks it: the document is built at every start, and so in every test.
pub(super) fn reference(status: u16) -> Ref {
    let found = ERRORS.iter().find(|(known, _, _)| known.as_u16() == status);
    let (_, name, _) = found.expect("every error status of a call stands in the table");
    Ref::from_response_name(*name)
}
