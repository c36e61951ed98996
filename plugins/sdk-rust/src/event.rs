//! The event, its members borrowed from the bytes that came in.

use crate::Failure;
use crate::hub::{ChannelEvent, Message, Payload};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The eight kinds an event can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message came in, or was sent by the connected number.
    MessageReceived,
    /// Delivery of a sent message confirmed.
    MessageDelivery,
    /// A message's status changed.
    MessageStatus,
    /// Channel connected.
    Connected,
    /// Channel disconnected.
    Disconnected,
    /// Contact present or typing.
    PresenceChat,
    /// First data, or a template changed.
    InitialData,
    /// Contact blocked.
    Block,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 8] = [
        Kind::MessageReceived,
        Kind::MessageDelivery,
        Kind::MessageStatus,
        Kind::Connected,
        Kind::Disconnected,
        Kind::PresenceChat,
        Kind::InitialData,
        Kind::Block,
    ];

    /// The name in an event's `type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::MessageReceived => "MESSAGE_RECEIVED",
            Kind::MessageDelivery => "MESSAGE_DELIVERY",
            Kind::MessageStatus => "MESSAGE_STATUS",
            Kind::Connected => "CONNECTED",
            Kind::Disconnected => "DISCONNECTED",
            Kind::PresenceChat => "PRESENCE_CHAT",
            Kind::InitialData => "INITIAL_DATA",
            Kind::Block => "BLOCK",
        }
    }

    /// Reads [`Kind::name`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One event as fanfare accepted it.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    bytes: &'a [u8],
    /// The event's id, where the envelope has one.
    pub id: Option<Cow<'a, str>>,
    /// What happened.
    pub kind: Kind,
    /// On which channel.
    pub channel_id: Cow<'a, str>,
    /// The producer's ordering key.
    pub key: Option<Cow<'a, str>>,
    /// When the producer says it happened, Unix ms.
    pub occurred_at_ms: Option<u64>,
    /// The channel's own phone, where the envelope tells it.
    pub channel_phone: Option<Cow<'a, str>>,
    payload: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    channel_id: Text<'a>,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(default)]
    occurred_at: Option<u64>,
    #[serde(borrow, default)]
    channel_phone: Option<Text<'a>>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Text that is borrowed unless it holds escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
                Ok(std::str::from_utf8(bytes)
                    .map_or_else(|_| replaced(bytes), |text| Text(Cow::Borrowed(text))))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
                Ok(match std::str::from_utf8(bytes) {
                    Ok(text) => Text(Cow::Owned(text.to_owned())),
                    Err(_) => replaced(bytes),
                })
            }
        }
        // As bytes: JSON may hold one half of a surrogate pair, which a string of Rust cannot, and a message with half an
        // emoji is no reason to lose it.
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Each half of a surrogate pair as the replacement character.
fn replaced(bytes: &[u8]) -> Text<'static> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        // U+D800 to U+DFFF, encoded as UTF-8 would.
        if byte == 0xed && after.first().is_some_and(|&second| second >= 0xa0) {
            out.extend_from_slice("\u{fffd}".as_bytes());
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(byte);
            rest = after;
        }
    }
    Text(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
}

impl<'a> Event<'a> {
    /// Reads an event's bytes. Everything in them is checked to be JSON.
    ///
    /// # Errors
    /// [`Failure::Invalid`]: not an event.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Failure> {
        let envelope: Envelope<'a> =
            serde_json::from_slice(bytes).map_err(|error| Failure::Invalid(format!("event: {error}")))?;
        let kind = Kind::parse(&envelope.kind.0)
            .ok_or_else(|| Failure::invalid("event: type is none of the eight kinds"))?;
        Ok(Event {
            bytes,
            id: envelope.id.map(|text| text.0),
            kind,
            channel_id: envelope.channel_id.0,
            key: envelope.key.map(|text| text.0),
            occurred_at_ms: envelope.occurred_at,
            channel_phone: envelope.channel_phone.map(|text| text.0),
            payload: envelope.payload,
        })
    }

    /// The whole event, as it arrived.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The payload's JSON, as it arrived: the hub body.
    #[must_use]
    pub fn payload(&self) -> &'a str {
        self.payload.get()
    }

    /// The payload as any type of yours, which may borrow from it.
    ///
    /// # Errors
    /// [`Failure::Invalid`]: it is not of that type.
    pub fn payload_as<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        serde_json::from_str(self.payload.get())
            .map_err(|error| Failure::Invalid(format!("payload: {error}")))
    }

    /// The message of a message event; `None` where the payload has none.
    ///
    /// # Errors
    /// [`Failure::Invalid`]: a member is of another type than the hub gives it.
    pub fn message(&self) -> Result<Option<Message<'a>>, Failure> {
        Ok(self.payload_as::<Payload<'a>>()?.message)
    }

    /// What happened to the channel, of the five other kinds; `None` where the payload does not tell.
    ///
    /// # Errors
    /// [`Failure::Invalid`]: a member is of another type than the hub gives it.
    pub fn channel_event(&self) -> Result<Option<ChannelEvent<'a>>, Failure> {
        Ok(self.payload_as::<Payload<'a>>()?.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(event: &str) -> String {
        match Event::parse(event.as_bytes()) {
            Err(Failure::Invalid(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn members_are_borrowed_and_the_payload_is_as_it_came() {
        let text = r#" {"id":"E1","type":"BLOCK","channelId":"c\u0031","payload": { "a" : 1.0 },"occurredAt":5,"x":[]}"#;
        let event = Event::parse(text.as_bytes()).expect("an event");
        assert!(matches!(event.id, Some(Cow::Borrowed("E1"))));
        assert_eq!((event.kind, &*event.channel_id), (Kind::Block, "c1"));
        assert_eq!((event.key, event.occurred_at_ms), (None, Some(5)));
        assert_eq!((event.payload.get(), event.bytes), (r#"{ "a" : 1.0 }"#, text.as_bytes()));
    }

    #[test]
    fn what_is_no_event_is_invalid_and_says_why() {
        assert_eq!(invalid(""), "event: EOF while parsing a value at line 1 column 0");
        assert_eq!(invalid(r#"{"type":"BLOCK"}"#), "event: missing field `channelId` at line 1 column 16");
        assert_eq!(
            invalid(r#"{"type":"RECEIVED_STATUS","channelId":"c","payload":{}}"#),
            "event: type is none of the eight kinds"
        );
        let whole = r#"{"id":"E","type":"BLOCK","channelId":"c","payload":{"a":["b",{"c":"d\n"}]}}"#;
        for at in 0..whole.len() {
            invalid(&whole[..at]);
        }
        assert!(Event::parse(b"{\"type\":\"BLOCK\",\"channelId\":\"c\",\"payload\":\"\xff\"}").is_err());
        let deep = format!(
            r#"{{"type":"BLOCK","channelId":"c","payload":{}{}}}"#,
            "[".repeat(9999),
            "]".repeat(9999)
        );
        assert!(Event::parse(deep.as_bytes()).is_ok());
    }

    #[test]
    fn half_an_emoji_loses_nothing_but_itself() {
        let text = r#"{"type":"BLOCK","channelId":"a\ud83db\u00fc","key":"\ud83d\ude00","payload":{}}"#;
        let event = Event::parse(text.as_bytes()).expect("an event");
        assert_eq!((&*event.channel_id, event.key.as_deref()), ("a\u{fffd}bü", Some("😀")));
        assert_eq!(
            invalid(r#"{"type":["BLOCK"],"channelId":"c","payload":{}}"#),
            "event: invalid type: sequence, expected a string at line 1 column 9"
        );
    }

    #[test]
    fn names_of_kinds_round_trip() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
    }
}
