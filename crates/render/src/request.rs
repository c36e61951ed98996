//! One request body, one event or many: where each event begins and ends.

use crate::event::{EventError, ParsedEvent, parse_event, span_of, trim};
use bytes::{Buf as _, Bytes};
use fanfare_core::limits::REQUEST_BYTES_MAX;
use serde_json::value::RawValue;

/// What the request's content type said its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// `application/json`: one event, or an array of them.
    Json,
    /// `application/x-ndjson`: one event a line.
    Ndjson,
}

/// Reads every event of a request body, in order. An event that is not acceptable is an error in its place; blank
/// lines have no place. Events share the body's allocation.
///
/// # Errors
/// [`EventError`] when nothing can be told apart: no event at all, over the request's limit, or (JSON) a text that
/// is not JSON anywhere.
pub fn split_request(
    mut body: Bytes,
    form: RequestForm,
) -> Result<Vec<Result<ParsedEvent, EventError>>, EventError> {
    if body.len() > REQUEST_BYTES_MAX {
        return Err(EventError::TooLarge {
            what: "request",
            bytes: body.len(),
            bytes_max: REQUEST_BYTES_MAX,
        });
    }
    // Some editors and shells put a byte order mark before the first character.
    if body.starts_with(b"\xEF\xBB\xBF") {
        body.advance(3);
    }
    let events = match form {
        RequestForm::Json => split_json(&trim(&body))?,
        RequestForm::Ndjson => split_lines(&body),
    };
    if events.is_empty() { Err(EventError::Empty) } else { Ok(events) }
}

fn split_json(body: &Bytes) -> Result<Vec<Result<ParsedEvent, EventError>>, EventError> {
    match body.first() {
        None => Err(EventError::Empty),
        Some(b'[') => {
            let text = std::str::from_utf8(body)
                .map_err(|error| EventError::Utf8 { offset: error.valid_up_to() })?;
            let elements: Vec<&RawValue> =
                serde_json::from_str(text).map_err(|error| EventError::syntax(&error))?;
            Ok(elements
                .into_iter()
                .map(|element| parse_event(body.slice(span_of(element.get(), text))))
                .collect())
        }
        Some(b'{') => match parse_event(body.clone()) {
            Err(error @ (EventError::Syntax { .. } | EventError::Utf8 { .. })) => Err(error),
            event => Ok(vec![event]),
        },
        Some(_) => Err(EventError::NotARequest),
    }
}

fn split_lines(body: &Bytes) -> Vec<Result<ParsedEvent, EventError>> {
    let mut events = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', body).chain(std::iter::once(body.len())) {
        let line = trim(&body.slice(start..end));
        if !line.is_empty() {
            events.push(parse_event(line));
        }
        start = end + 1;
    }
    events
}
