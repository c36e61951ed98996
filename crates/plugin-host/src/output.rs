//! What a plugin gave, checked: a plugin's output goes into requests that we sign, so nothing of it is believed.

use crate::limits::{BODIES_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, Limits, MESSAGE_CHARS_MAX};
use crate::v1::exports::fanfare::format::format as v1;
use bytes::Bytes;
use fanfare_core::delivery::{Body, Rendered};
use std::sync::Arc;

/// Header names a plugin may set: those of CloudEvents' binary mode and what describes a body; never ours, auth, or
/// hop-by-hop ones.
const ALLOWED: [&str; 5] = ["content-language", "content-encoding", "link", "accept", "x-event-type"];
/// And names that begin so.
const ALLOWED_PREFIXES: [&str; 2] = ["ce-", "x-plugin-"];

/// Whether it can stand in `Content-Type`.
pub(crate) fn check_content_type(text: &str) -> Result<(), String> {
    let (kind, rest) = text.split_once('/').ok_or_else(|| format!("{text:?} is not a media type"))?;
    let subtype = rest.split(';').next().unwrap_or_default().trim_end();
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(is_token_byte);
    if text.len() > HEADER_VALUE_BYTES_MAX || !is_token(kind) || !is_token(subtype) || !is_value(text) {
        return Err(format!("{:?} is not a media type", text.chars().take(80).collect::<String>()));
    }
    Ok(())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Visible ASCII, blanks and tabs, no blank at either end: nothing that could end a header.
fn is_value(text: &str) -> bool {
    text.len() <= HEADER_VALUE_BYTES_MAX
        && text.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte))
        && text.trim() == text
}

fn header(header: v1::Header) -> Result<(Arc<str>, Arc<str>), String> {
    let name = header.name.to_ascii_lowercase();
    let is_allowed =
        ALLOWED.contains(&name.as_str()) || ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if !is_allowed || name.len() > 64 || !name.bytes().all(is_token_byte) {
        let shown: String = name.chars().take(64).collect();
        return Err(format!("header {shown:?} may not be set by a plugin"));
    }
    if !is_value(&header.value) {
        return Err(format!("value of header {name} holds what a header may not"));
    }
    Ok((name.into(), header.value.into()))
}

fn body(rendered: v1::Rendered, default_type: &Arc<str>) -> Result<Body, String> {
    if rendered.headers.len() > HEADERS_MAX {
        return Err(format!("{} headers exceed {HEADERS_MAX}", rendered.headers.len()));
    }
    let content_type = match rendered.content_type {
        Some(text) => {
            check_content_type(&text).map_err(|why| format!("content type {why}"))?;
            text.into()
        }
        None => Arc::clone(default_type),
    };
    let headers = rendered.headers.into_iter().map(header).collect::<Result<_, _>>()?;
    Ok(Body { bytes: Bytes::from(rendered.body), content_type: Some(content_type), headers })
}

/// What a guest says, cut to what is kept; control characters would break a log line.
pub(crate) fn message(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
}

/// Whether a text can be a reason code.
fn is_reason(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// What a call gave; `Err`: the plugin's own fault, with a text for the operator.
pub(crate) fn checked(
    given: Result<Vec<v1::Rendered>, v1::Failure>,
    limits: &Limits,
    default_type: &Arc<str>,
) -> Result<Rendered, String> {
    match given {
        Ok(list) => {
            if list.is_empty() || list.len() > BODIES_MAX {
                return Err(format!("gave {} bodies: 1 to {BODIES_MAX} are allowed", list.len()));
            }
            let bytes: usize = list.iter().map(|rendered| rendered.body.len()).sum();
            if bytes > limits.output_bytes {
                return Err(format!("bodies of {bytes} bytes exceed {}", limits.output_bytes));
            }
            let bodies = list.into_iter().map(|rendered| body(rendered, default_type));
            Ok(Rendered::Bodies(bodies.collect::<Result<_, _>>()?))
        }
        Err(v1::Failure::Skip(reason)) if is_reason(&reason) => {
            Ok(Rendered::Skipped { reason: reason.into() })
        }
        Err(v1::Failure::Skip(reason)) => {
            Err(format!("skip reason {:?} is not a word of a-z 0-9 _", message(&reason)))
        }
        Err(v1::Failure::Invalid(text)) => Ok(Rendered::Invalid { message: message(&text) }),
        Err(v1::Failure::Internal(text)) => Err(message(&text)),
    }
}
