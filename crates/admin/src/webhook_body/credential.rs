//! The `auth` object: which fields a type takes, and what a credential may hold so that it can stand in a header.

use crate::answer::quoted;
use crate::error::Invalid;
use crate::json::{Member, Members};
use fanfare_core::Secret;
use fanfare_core::limits::CREDENTIAL_CHARS_MAX;
use fanfare_core::webhook::Auth;

/// Names of the types.
pub(super) const TYPES: [&str; 5] = ["NONE", "BEARER", "API_KEY", "BASIC", "CUSTOM_HEADER"];

/// Longest name of a custom header, characters.
pub(super) const HEADER_NAME_CHARS_MAX: usize = 256;

/// Names a custom header may not take, lower case: those of one hop, those that frame the request, and the engine's.
const TAKEN_NAMES: [&str; 10] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
    "expect",
    "user-agent",
];
const TAKEN_PREFIXES: [&str; 4] = ["proxy-", "content-", "webhook-", "x-hub-"];

/// Reads an `auth` object: complete for its type, fields of other types ignored.
pub(super) fn auth(member: &Member<'_>, hub_signature_name: &str) -> Result<Auth, Invalid> {
    let members = member.object()?;
    let kind = members.required("type")?;
    match kind.string()?.as_str() {
        "NONE" => Ok(Auth::None),
        "BEARER" => Ok(Auth::Bearer { token: header_secret(&members, "token")? }),
        "API_KEY" => Ok(Auth::ApiKey { key: header_secret(&members, "key")? }),
        "BASIC" => {
            let (field, username) = text(&members, "username")?;
            // RFC 7617 section 2: the first colon ends the user name.
            if username.contains(':') {
                return Err(field.refuse("must not hold a colon"));
            }
            let (_, password) = text(&members, "password")?;
            Ok(Auth::Basic { username: Secret::new(username), password: Secret::new(password) })
        }
        "CUSTOM_HEADER" => Ok(Auth::CustomHeader {
            name: header_name(&members, hub_signature_name)?,
            value: header_secret(&members, "headerValue")?,
        }),
        other => {
            Err(Invalid(format!("unknown auth.type `{}`: known are {}", quoted(other), TYPES.join(", "))))
        }
    }
}

/// A text field: there, not empty, not too long, without control characters.
fn text<'a>(members: &Members<'a>, name: &str) -> Result<(Member<'a>, String), Invalid> {
    let member = members.required(name)?;
    let text = member.string()?;
    let chars = text.chars().count();
    if text.is_empty() {
        return Err(member.refuse("must not be empty"));
    }
    if chars > CREDENTIAL_CHARS_MAX {
        return Err(member.refuse(format_args!("of {chars} characters exceeds {CREDENTIAL_CHARS_MAX}")));
    }
    if text.chars().any(char::is_control) {
        return Err(member.refuse("must not hold control characters"));
    }
    Ok((member, text))
}

/// A text that goes into a header as it is. White space at its ends would be lost on the way (RFC 9110 section 5.5).
fn header_secret(members: &Members<'_>, name: &str) -> Result<Secret, Invalid> {
    let (member, text) = text(members, name)?;
    if !text.is_ascii() {
        return Err(member.refuse("must be visible ASCII characters and spaces"));
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(member.refuse("must not begin or end with a space"));
    }
    Ok(Secret::new(text))
}

fn header_name(members: &Members<'_>, hub_signature_name: &str) -> Result<String, Invalid> {
    let (member, name) = text(members, "headerName")?;
    // A token of RFC 9110 section 5.6.2.
    let is_token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !is_token {
        return Err(member.refuse("must be a header name: letters, digits and !#$%&'*+-.^_`|~"));
    }
    if name.len() > HEADER_NAME_CHARS_MAX {
        return Err(
            member.refuse(format_args!("of {} characters exceeds {HEADER_NAME_CHARS_MAX}", name.len()))
        );
    }
    let lower = name.to_ascii_lowercase();
    let is_taken = TAKEN_NAMES.contains(&lower.as_str())
        || TAKEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
        || lower == hub_signature_name.to_ascii_lowercase();
    if is_taken {
        return Err(member.refuse(format_args!("must not be {}", quoted(&name))));
    }
    Ok(name)
}
