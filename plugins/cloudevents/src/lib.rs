//! `CLOUDEVENTS`: hub events as CloudEvents 1.0 in structured JSON, for systems that take CloudEvents from anyone.
//!
//! What it is: an envelope around the hub body, whose bytes stay as they came. What it is not: a mapping of the body.
//! Where to start: [`CloudEvents::render`]; the README has the table of attributes.
//!
//! Cost for 1.5 KB: one pass that finds and checks the payload, one that looks for the customer in it, one copy.

use fanfare_plugin::{Bodies, Event, Failure, Format, Kind, json, time};
use serde::Deserialize;

fanfare_plugin::export!(CloudEvents, include_str!("../manifest.json"));

/// Longest prefix in the settings, characters.
const PREFIX_CHARS_MAX: usize = 256;

/// The format with its settings.
#[derive(Debug, PartialEq, Eq)]
pub struct CloudEvents {
    source_prefix: String,
    type_prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    #[serde(default = "default_source_prefix")]
    source_prefix: String,
    #[serde(default = "default_type_prefix")]
    type_prefix: String,
}

fn default_source_prefix() -> String {
    "/channels/".to_owned()
}

fn default_type_prefix() -> String {
    "com.fanfare.hub.".to_owned()
}

/// As much of the payload as tells who the customer is.
#[derive(Deserialize)]
struct Subject<'a> {
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    event: Option<Party<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(borrow, default)]
    sender: Option<Party<'a>>,
    #[serde(borrow, default)]
    recipient: Option<Party<'a>>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    from_me: Option<bool>,
}

#[derive(Deserialize)]
struct Party<'a> {
    #[serde(borrow, default)]
    identifier: Option<std::borrow::Cow<'a, str>>,
}

impl Format for CloudEvents {
    fn configure(settings: &str) -> Result<Self, String> {
        let settings: Settings = serde_json::from_str(settings).map_err(|error| error.to_string())?;
        check_prefix("sourcePrefix", &settings.source_prefix, is_uri_byte)?;
        check_prefix("typePrefix", &settings.type_prefix, |byte| {
            byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
        })?;
        Ok(CloudEvents { source_prefix: settings.source_prefix, type_prefix: settings.type_prefix })
    }

    fn render(&self, event: &Event<'_>) -> Result<Bodies, Failure> {
        let payload = event.payload();
        let mut out = Vec::with_capacity(payload.len() + 512);
        out.extend_from_slice(b"{");
        json::put_member(&mut out, "specversion", "1.0");
        match &event.id {
            Some(id) if !id.is_empty() => json::put_member(&mut out, "id", id),
            _ => json::put_member(&mut out, "id", &content_id(event.bytes())),
        }
        json::put_name(&mut out, "source");
        self.put_source(&mut out, &event.channel_id);
        json::put_name(&mut out, "type");
        self.put_type(&mut out, event.kind);
        if let Some(time) = event.occurred_at_ms.and_then(time::rfc3339) {
            json::put_member(&mut out, "time", &time);
        }
        let subject = customer(payload);
        if let Some(subject) = subject.filter(|subject| !subject.is_empty()) {
            json::put_member(&mut out, "subject", &subject);
        }
        if let Some(key) = event.key.as_deref().filter(|key| !key.is_empty()) {
            json::put_member(&mut out, "partitionkey", key);
        }
        json::put_member(&mut out, "datacontenttype", "application/json");
        json::put_raw(&mut out, "data", payload);
        out.push(b'}');
        Ok(out.into())
    }
}

impl CloudEvents {
    /// A URI reference: what may not stand in one is percent-encoded.
    fn put_source(&self, out: &mut Vec<u8>, channel: &str) {
        let mut source = self.source_prefix.clone();
        for byte in channel.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                source.push(char::from(byte));
            } else {
                source.push_str(&format!("%{byte:02X}"));
            }
        }
        json::put_text(out, &source);
    }

    fn put_type(&self, out: &mut Vec<u8>, kind: Kind) {
        out.push(b'"');
        out.extend_from_slice(self.type_prefix.as_bytes());
        out.extend(kind.name().bytes().map(|byte| byte.to_ascii_lowercase()));
        out.push(b'"');
    }
}

fn check_prefix(name: &str, prefix: &str, is_allowed: impl Fn(u8) -> bool) -> Result<(), String> {
    let chars = prefix.chars().count();
    if prefix.is_empty() || chars > PREFIX_CHARS_MAX {
        return Err(format!("{name} of {chars} characters: 1 to {PREFIX_CHARS_MAX} are allowed"));
    }
    match prefix.bytes().find(|&byte| !is_allowed(byte)) {
        None => Ok(()),
        Some(byte) if byte.is_ascii_graphic() => Err(format!("{name} may not hold {:?}", char::from(byte))),
        Some(_) => {
            Err(format!("{name} may hold neither blanks, nor control characters, nor letters beyond ASCII"))
        }
    }
}

/// What RFC 3986 lets stand in a URI.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// The customer's identifier, where the payload has one of the hub's shape.
fn customer(payload: &str) -> Option<String> {
    let found: Subject<'_> = serde_json::from_str(payload).ok()?;
    let party = match found.message {
        Some(message) => {
            let is_from_business = message.metadata.and_then(|metadata| metadata.from_me).unwrap_or(false);
            if is_from_business { message.recipient } else { message.sender }
        }
        None => found.event,
    };
    Some(party?.identifier?.into_owned())
}

/// For an event whose envelope has no id: the same bytes give the same id, FNV-1a with 128 bits.
fn content_id(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, &byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("{hash:032X}")
}

#[cfg(test)]
mod tests;
