//! What the OpenAPI document says of these bodies: the rules of the modules beside this one, as far as JSON Schema can
//! say them.

use super::OVERLAP_SECONDS_MAX;
use super::credential::{HEADER_NAME_CHARS_MAX, TYPES};
use super::delivery::{
    BURST, MAX_AGE_SECONDS, MAX_IN_FLIGHT, PER_SECOND_MAX, SCHEDULE_SECONDS, SCHEDULE_STEPS, TIMEOUT_MS,
};
use crate::openapi::schema::{
    array, boolean, format_name, integer, name, name_of, names_of, number, object, of, of_or_null, or_null,
    text,
};
use fanfare_core::event::Subscription;
use fanfare_core::limits::{
    CREDENTIAL_CHARS_MAX, CUSTOM_ATTRIBUTES_BYTES_MAX, DESCRIPTION_CHARS_MAX, URL_CHARS_MAX,
};
use fanfare_core::webhook::{Ordering, Protocol, WebhookStatus};
use utoipa::openapi::schema::{Object, Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder};

/// The body of a create.
pub(crate) fn new_webhook() -> ObjectBuilder {
    members()
        .required("url")
        .required("events")
        .property("customAttributes", custom_attributes())
        .property("delivery", of("DeliverySettings"))
}

/// The body of a PATCH.
pub(crate) fn webhook_patch() -> ObjectBuilder {
    let overlap = "How long the secret that `signing` true replaces stays valid; only beside `signing` true.";
    members()
        .property("customAttributes", or_null(custom_attributes()))
        .property("delivery", of_or_null("DeliverySettings"))
        .property("status", name_of::<WebhookStatus>())
        .property("secretOverlapSeconds", integer(0..=OVERLAP_SECONDS_MAX).description(Some(overlap)))
}

/// Members with one rule on create and on PATCH.
fn members() -> ObjectBuilder {
    let signing = "On PATCH, `true` makes a new secret, also when signing was on; `false` discards it.";
    object()
        .property("url", url())
        .property("events", names_of::<Subscription>())
        .property("description", or_null(text().max_length(Some(DESCRIPTION_CHARS_MAX))))
        .property("signing", boolean().description(Some(signing)))
        .property("auth", of("Auth"))
        .property("payloadFormat", format_name())
}

fn url() -> ObjectBuilder {
    let rule = "Absolute; `https` unless the operator allows `http`; a host, no user information.";
    text()
        .max_length(Some(URL_CHARS_MAX))
        .pattern(Some(r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f\\]+$"))
        .description(Some(rule))
}

fn custom_attributes() -> ObjectBuilder {
    let text = format!(
        "Stored and returned, never sent; at most {CUSTOM_ATTRIBUTES_BYTES_MAX} bytes of JSON text, numbers within a \
         64-bit float's range, nested 127 deep at most."
    );
    object().description(Some(text))
}

/// `type` of `auth`.
pub(crate) fn auth_type() -> Object {
    text().enum_values(Some(TYPES)).build()
}

/// The `auth` object: complete for its type, fields of other types ignored.
pub(crate) fn auth() -> Schema {
    let [none, bearer, api_key, basic, custom_header] =
        TYPES.map(|kind| object().property("type", text().enum_values(Some([kind]))).required("type"));
    let field = |of: ObjectBuilder, name: &str, rule: ObjectBuilder| of.property(name, rule).required(name);
    let basic = field(basic, "username", credential(r"^[^:\x00-\x1f\x7f-\x9f]+$"));
    let name_rule = "Not one of a single hop, of framing (`Host`, `Content-*`), or of the engine's own.";
    let header_name = text()
        .pattern(Some(format!(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{{1,{HEADER_NAME_CHARS_MAX}}}$")))
        .description(Some(name_rule));
    OneOfBuilder::new()
        .item(none)
        .item(field(bearer, "token", header_value()))
        .item(field(api_key, "key", header_value()))
        .item(field(basic, "password", credential(r"^[^\x00-\x1f\x7f-\x9f]+$")))
        .item(field(field(custom_header, "headerName", header_name), "headerValue", header_value()))
        .into()
}

fn credential(pattern: &str) -> ObjectBuilder {
    text().max_length(Some(CREDENTIAL_CHARS_MAX)).pattern(Some(pattern)).write_only(true)
}

/// Visible ASCII, with spaces between.
fn header_value() -> ObjectBuilder {
    credential(r"^[!-~]([ -~]*[!-~])?$")
}

/// The `delivery` object; absent: the default, or on PATCH what it was.
pub(crate) fn delivery() -> ObjectBuilder {
    let mut schedule = array(integer(SCHEDULE_SECONDS), SCHEDULE_STEPS);
    schedule.schema_type = SchemaType::Array(vec![Type::Array, Type::Null]);
    let per_second = number().exclusive_minimum(Some(0)).maximum(Some(PER_SECOND_MAX));
    let rate_limit = object()
        .property("perSecond", per_second)
        .required("perSecond")
        .property("burst", or_null(integer(BURST).description(Some("Default: a second's worth."))));
    let retry = object()
        .property("scheduleSeconds", schedule)
        .property("maxAgeSeconds", or_null(integer(MAX_AGE_SECONDS)));
    object()
        .description(Some("Every member is optional; `null` restores its default."))
        .property("timeoutMs", or_null(integer(TIMEOUT_MS)))
        .property("maxInFlight", or_null(integer(MAX_IN_FLIGHT)))
        .property("rateLimit", or_null(rate_limit))
        .property("ordering", or_null(name::<Ordering>()))
        .property("retry", or_null(retry))
        .property("protocol", or_null(name::<Protocol>()))
}
