//! Shapes that several schemas share. Limits come from where the rules read them.

use crate::names::Named;
use fanfare_core::limits::ID_CHARS_MAX;
use fanfare_core::webhook::FormatName;
use serde_json::Value;
use std::ops::RangeInclusive;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, Ref, Schema, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::{OneOfBuilder, RefOr};

/// A string; what it must keep is added by the caller.
pub(crate) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

pub(crate) fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// An object whose unknown members are refused.
pub(crate) fn closed_object() -> ObjectBuilder {
    object().additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

pub(crate) fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object)
}

pub(crate) fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number)
}

pub(crate) fn integer(range: RangeInclusive<u32>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(*range.start())).maximum(Some(*range.end()))
}

/// An integer from 0 up.
pub(crate) fn count() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0))
}

/// One of few names.
pub(crate) fn name<T: Named>() -> ObjectBuilder {
    text().enum_values(Some(T::names()))
}

pub(crate) fn array(item: impl Into<RefOr<Schema>>, count: RangeInclusive<usize>) -> Array {
    let max = Some(*count.end()).filter(|max| *max < usize::MAX);
    ArrayBuilder::new().items(item.into()).min_items(Some(*count.start())).max_items(max).build()
}

/// The same, or `null`.
pub(crate) fn or_null(of: ObjectBuilder) -> Object {
    let mut of = of.build();
    if let SchemaType::Type(one) = of.schema_type {
        of.schema_type = SchemaType::Array(vec![one, Type::Null]);
    }
    if let Some(values) = &mut of.enum_values {
        values.push(Value::Null);
    }
    of
}

/// A shape of the document's components.
pub(crate) fn of(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

/// Such a shape, or `null`.
pub(crate) fn of_or_null(name: &str) -> Schema {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(null).item(of(name)).into()
}

/// Id of an account, a channel, a key or an event.
pub(crate) fn id() -> Object {
    text().pattern(Some(format!("^[A-Za-z0-9_-]{{1,{ID_CHARS_MAX}}}$"))).build()
}

pub(crate) fn id_or_null() -> Object {
    or_null(text().pattern(Some(format!("^[A-Za-z0-9_-]{{1,{ID_CHARS_MAX}}}$"))))
}

/// Id of a webhook, as answers show it.
pub(crate) fn webhook_id() -> Object {
    text().pattern(Some("^[0-9A-F]{32}$")).build()
}

/// Id of a webhook in a path: read in either case.
pub(crate) fn webhook_id_read() -> Object {
    text().pattern(Some("^[0-9A-Fa-f]{32}$")).build()
}

/// `webhook-id` of requests.
pub(crate) fn delivery_id() -> Object {
    delivery_id_text().build()
}

pub(crate) fn delivery_id_or_null() -> Object {
    or_null(delivery_id_text())
}

fn delivery_id_text() -> ObjectBuilder {
    let pattern = format!("^[A-Za-z0-9_-]{{1,{ID_CHARS_MAX}}}-[0-9A-F]{{32}}(-[1-9][0-9]{{0,4}})?$");
    text().pattern(Some(pattern))
}

/// Where a list goes on: opaque.
pub(crate) fn cursor() -> ObjectBuilder {
    text().pattern(Some("^[A-Za-z0-9_-]+$"))
}

pub(crate) fn cursor_or_null() -> Object {
    or_null(cursor())
}

/// A time of the webhook object.
pub(crate) fn hub_time() -> Object {
    let pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}\+0000$";
    text().pattern(Some(pattern)).build()
}

fn time() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// Every other time.
pub(crate) fn rfc_3339() -> Object {
    time().build()
}

pub(crate) fn rfc_3339_or_null() -> Object {
    or_null(time())
}

/// A status of an answer to a request of ours, or `null`.
pub(crate) fn http_status_or_null() -> Object {
    or_null(integer(100..=999))
}

pub(crate) fn name_of<T: Named>() -> Object {
    name::<T>().build()
}

pub(crate) fn name_of_or_null<T: Named>() -> Object {
    or_null(name::<T>())
}

pub(crate) fn names_of<T: Named>() -> Array {
    array(name::<T>(), 1..=usize::MAX)
}

/// A payload format: built in, or a plugin's.
pub(crate) fn format_name() -> Object {
    let known = format!("{}, {}, or the name of a loaded plugin", FormatName::DEFAULT, FormatName::Z_API);
    text().description(Some(known)).pattern(Some("^[A-Z][A-Z0-9_]{0,63}$")).build()
}

/// Any object, its members as they were given.
pub(crate) fn any_object() -> Object {
    object().build()
}

/// Bytes of a content type that says itself what they are.
pub(crate) fn binary() -> Object {
    text().build()
}
