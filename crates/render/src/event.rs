//! The ingest envelope: `{"id"?, "type", "channelId", "payload", "key"?, "occurredAt"?}`.
//!
//! One pass of serde_json checks the whole text as JSON while it looks for the six members; the payload is found as a
//! borrowed slice and kept as a range of the envelope. Cost for 1.5 KB: about 1 µs, two small allocations (the ids).

use bytes::{BufMut, Bytes, BytesMut};
use fanfare_core::event::{Event, EventKind, Subscription};
use fanfare_core::limits::{EVENT_BYTES_MAX, KEY_BYTES_MAX};
use fanfare_core::{ChannelId, EventId, Seq};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// How deep an event may nest, counting the envelope. Bounds every recursive reader behind us, receivers included.
pub const NESTING_DEPTH_MAX: usize = 128;

/// Characters of an unknown `type` that an error repeats.
const TYPE_CHARS_SHOWN: usize = 64;

/// An event as submitted: checked, not yet accepted.
#[derive(Clone, Debug)]
pub struct ParsedEvent {
    /// The producer's id, if it gave one.
    pub id: Option<EventId>,
    /// What happened.
    pub kind: EventKind,
    /// On which channel.
    pub channel: ChannelId,
    /// The ordering key, if the producer gave one; at most [`KEY_BYTES_MAX`] bytes.
    pub key: Option<Box<str>>,
    /// When the producer says it happened, Unix ms.
    pub occurred_at_ms: Option<u64>,
    /// The whole object, without surrounding whitespace.
    pub envelope: Bytes,
    /// Where the payload object stands in `envelope`.
    pub payload: Range<usize>,
}

impl ParsedEvent {
    /// The event it becomes when accepted; `seq` is the store's to set.
    #[must_use]
    pub fn into_event(self, id: EventId, channel_phone: Option<Box<str>>, accepted_at_ms: u64) -> Event {
        Event {
            seq: Seq(0),
            id,
            kind: self.kind,
            channel: self.channel,
            channel_phone,
            key: self.key,
            occurred_at_ms: self.occurred_at_ms,
            accepted_at_ms,
            envelope: self.envelope,
            payload: self.payload,
        }
    }

    /// The payload's own bytes.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.envelope.slice(self.payload.clone())
    }
}

/// What an [`EventError`] is about, for a caller that must choose a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventErrorKind {
    /// Over a size limit (413 when it is all there was).
    TooLarge,
    /// There was no event at all.
    Empty,
    /// Not JSON, or not UTF-8.
    Syntax,
    /// JSON, but not an event.
    Invalid,
}

/// Why bytes are not an event. The producer's fault; never holds text of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// An event or a request over its limit.
    #[error("{what} of {bytes} bytes exceeds {bytes_max}")]
    TooLarge {
        /// `event` or `request`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Nothing but whitespace, or an empty array.
    #[error("no event in the request")]
    Empty,
    /// Not UTF-8.
    #[error("not valid UTF-8 at byte {offset}")]
    Utf8 {
        /// First byte that is wrong, from 0.
        offset: usize,
    },
    /// Not JSON.
    #[error("not valid JSON: {reason} at line {line} column {column}")]
    Syntax {
        /// The parser's fixed phrase.
        reason: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Nested deeper than [`NESTING_DEPTH_MAX`].
    #[error("event nests deeper than {NESTING_DEPTH_MAX} levels")]
    TooDeep,
    /// Some other JSON value where an event was due.
    #[error("event must be a JSON object")]
    NotAnObject,
    /// Neither an object nor an array.
    #[error("request must be a JSON object or an array of objects")]
    NotARequest,
    /// A member is missing.
    #[error("{member} is required")]
    Required {
        /// Its name.
        member: &'static str,
    },
    /// A member stands there twice.
    #[error("{member} is given twice")]
    Duplicate {
        /// Its name.
        member: &'static str,
    },
    /// A member has the wrong type or form.
    #[error("{member} {rule}")]
    Malformed {
        /// Its name.
        member: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The ordering key is too long.
    #[error("key of {bytes} bytes exceeds {KEY_BYTES_MAX}")]
    KeyTooLong {
        /// Its size.
        bytes: usize,
    },
    /// One of the two combined names.
    #[error("type {name} is a subscription, not an event; it must be one of {}", Kinds)]
    SubscriptionOnly {
        /// The name.
        name: &'static str,
    },
    /// A type nobody knows.
    #[error("type {name:?} is unknown; it must be one of {}", Kinds)]
    UnknownType {
        /// The value, cut to 64 characters.
        name: String,
    },
}

impl EventError {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> EventErrorKind {
        match self {
            EventError::TooLarge { .. } => EventErrorKind::TooLarge,
            EventError::Empty => EventErrorKind::Empty,
            EventError::Utf8 { .. } | EventError::Syntax { .. } => EventErrorKind::Syntax,
            _ => EventErrorKind::Invalid,
        }
    }

    /// serde_json's phrase is fixed text; its own message ends with the position we keep apart.
    pub(crate) fn syntax(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = match text.strip_suffix(&format!(" at line {line} column {column}")) {
            Some(reason) if error.is_syntax() || error.is_eof() => reason.to_owned(),
            _ => "unexpected value".to_owned(),
        };
        EventError::Syntax { reason, line, column }
    }
}

/// The eight names, for an error text.
struct Kinds;

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in EventKind::ALL.into_iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(kind.name())?;
        }
        Ok(())
    }
}

/// Reads one event. Members it does not know are ignored; `null` is the same as leaving an optional member out.
///
/// # Errors
/// [`EventError`], naming the member and the limit.
pub fn parse_event(envelope: Bytes) -> Result<ParsedEvent, EventError> {
    let envelope = trim(&envelope);
    let text = checked_text(&envelope)?;
    let members = Members::read(text)?;

    let kind = parse_kind(&members)?;
    let channel = required_string(members.channel, "channelId")?;
    let channel = ChannelId::parse(&channel)
        .map_err(|_| malformed("channelId", "must be 1 to 64 characters of A-Z a-z 0-9 _ -"))?;
    let id = match optional_string(members.id, "id")? {
        Some(id) => Some(
            EventId::parse(&id)
                .map_err(|_| malformed("id", "must be 1 to 64 characters of A-Z a-z 0-9 _ -"))?,
        ),
        None => None,
    };
    let key = match optional_string(members.key, "key")? {
        Some(key) if key.len() > KEY_BYTES_MAX => return Err(EventError::KeyTooLong { bytes: key.len() }),
        key => key.map(|key| Box::from(&*key)),
    };
    let occurred_at_ms = members.occurred_at.map(parse_unix_ms).transpose()?;
    let payload = members.payload.ok_or(EventError::Required { member: "payload" })?;
    if !payload.starts_with('{') {
        return Err(malformed("payload", "must be a JSON object"));
    }
    let payload = span_of(payload, text);
    Ok(ParsedEvent { id, kind, channel, key, occurred_at_ms, envelope, payload })
}

/// Wraps the bare hub body of one event in an envelope; its bytes are copied once and stay as they are.
///
/// # Errors
/// [`EventError`], as [`parse_event`] gives for the same event.
pub fn bare_event(
    channel: ChannelId,
    kind: EventKind,
    id: Option<EventId>,
    payload: Bytes,
) -> Result<ParsedEvent, EventError> {
    let payload = trim(&payload);
    if payload.is_empty() {
        return Err(EventError::Required { member: "payload" });
    }
    // Checked before it is put into an envelope: a body that closes its object early could bring members of its own.
    let text = checked_text(&payload)?;
    serde_json::from_str::<&RawValue>(text).map_err(|e| EventError::syntax(&e))?;
    if !text.starts_with('{') {
        return Err(malformed("payload", "must be a JSON object"));
    }

    let mut envelope = BytesMut::with_capacity(payload.len() + 256);
    envelope.put_slice(b"{");
    if let Some(id) = &id {
        envelope.put_slice(format!("\"id\":\"{id}\",").as_bytes());
    }
    envelope.put_slice(
        format!("\"type\":\"{}\",\"channelId\":\"{channel}\",\"payload\":", kind.name()).as_bytes(),
    );
    let start = envelope.len();
    envelope.put_slice(&payload);
    let span = start..envelope.len();
    envelope.put_slice(b"}");
    let envelope = envelope.freeze();
    // The envelope adds bytes and a level.
    checked_text(&envelope)?;
    Ok(ParsedEvent { id, kind, channel, key: None, occurred_at_ms: None, envelope, payload: span })
}

/// `bytes` without whitespace (JSON's own four) around it; shares the allocation.
pub(crate) fn trim(bytes: &Bytes) -> Bytes {
    let is_text = |b: &u8| !matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |last| last + 1);
    bytes.slice(start..end)
}

/// Size, UTF-8 and depth: what needs no parser.
fn checked_text(bytes: &[u8]) -> Result<&str, EventError> {
    if bytes.len() > EVENT_BYTES_MAX {
        return Err(EventError::TooLarge { what: "event", bytes: bytes.len(), bytes_max: EVENT_BYTES_MAX });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| EventError::Utf8 { offset: error.valid_up_to() })?;
    if nests_too_deep(bytes) {
        return Err(EventError::TooDeep);
    }
    Ok(text)
}

/// serde_json reads values it skips without recursion, hence without its own limit of 128.
fn nests_too_deep(bytes: &[u8]) -> bool {
    // Nearly every event has fewer brackets than levels allowed, so this count settles it. Sums of a byte each keep it
    // a few vector instructions per chunk.
    let is_opening = |&byte: &u8| u8::from(byte | 0x20 == b'{');
    let openings: usize =
        bytes.chunks(128).map(|chunk| usize::from(chunk.iter().map(is_opening).sum::<u8>())).sum();
    openings > NESTING_DEPTH_MAX && exact_depth(bytes) > NESTING_DEPTH_MAX
}

fn exact_depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The envelope's members as slices of its text; `None` for absent or `null`.
#[derive(Default)]
struct Members<'a> {
    id: Option<&'a str>,
    kind: Option<&'a str>,
    channel: Option<&'a str>,
    payload: Option<&'a str>,
    key: Option<&'a str>,
    occurred_at: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, EventError> {
        if text.is_empty() {
            return Err(EventError::Empty);
        }
        if !text.starts_with('{') {
            // A broken text is told as such before its type is.
            serde_json::from_str::<IgnoredAny>(text).map_err(|e| EventError::syntax(&e))?;
            return Err(EventError::NotAnObject);
        }
        let mut duplicate = None;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = deserializer
            .deserialize_map(MembersVisitor { duplicate: &mut duplicate })
            .and_then(|members| deserializer.end().map(|()| members))
            .map_err(|e| EventError::syntax(&e))?;
        match duplicate {
            Some(member) => Err(EventError::Duplicate { member }),
            None => Ok(members),
        }
    }
}

struct MembersVisitor<'d> {
    /// The first member that came twice; not serde's own error, so that the text stays ours.
    duplicate: &'d mut Option<&'static str>,
}

impl<'de> Visitor<'de> for MembersVisitor<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        let mut seen = [false; 6];
        while let Some(name) = map.next_key::<Name<'de>>()? {
            let (slot, seen, member) = match &*name.0 {
                "id" => (&mut members.id, &mut seen[0], "id"),
                "type" => (&mut members.kind, &mut seen[1], "type"),
                "channelId" => (&mut members.channel, &mut seen[2], "channelId"),
                "payload" => (&mut members.payload, &mut seen[3], "payload"),
                "key" => (&mut members.key, &mut seen[4], "key"),
                "occurredAt" => (&mut members.occurred_at, &mut seen[5], "occurredAt"),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if std::mem::replace(seen, true) {
                self.duplicate.get_or_insert(member);
            }
            let value = map.next_value::<&RawValue>()?.get();
            *slot = (value != "null").then_some(value);
        }
        Ok(members)
    }
}

/// A member's name, borrowed unless it was written with escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn malformed(member: &'static str, rule: &'static str) -> EventError {
    EventError::Malformed { member, rule }
}

fn optional_string<'a>(
    raw: Option<&'a str>,
    member: &'static str,
) -> Result<Option<Cow<'a, str>>, EventError> {
    raw.map(|raw| {
        serde_json::from_str::<Name<'a>>(raw)
            .map(|name| name.0)
            .map_err(|_| malformed(member, "must be a string"))
    })
    .transpose()
}

fn required_string<'a>(raw: Option<&'a str>, member: &'static str) -> Result<Cow<'a, str>, EventError> {
    optional_string(raw, member)?.ok_or(EventError::Required { member })
}

fn parse_kind(members: &Members<'_>) -> Result<EventKind, EventError> {
    let name = required_string(members.kind, "type")?;
    match Subscription::parse(&name) {
        Some(Subscription::Kind(kind)) => Ok(kind),
        Some(combined) => Err(EventError::SubscriptionOnly { name: combined.name() }),
        None => Err(EventError::UnknownType { name: name.chars().take(TYPE_CHARS_SHOWN).collect() }),
    }
}

fn parse_unix_ms(raw: &str) -> Result<u64, EventError> {
    let digits_only = raw.bytes().all(|b| b.is_ascii_digit());
    raw.parse()
        .ok()
        .filter(|_| digits_only)
        .ok_or_else(|| malformed("occurredAt", "must be an integer (Unix milliseconds)"))
}

/// Where `part`, a slice of `whole`, stands in it.
pub(crate) fn span_of(part: &str, whole: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}
