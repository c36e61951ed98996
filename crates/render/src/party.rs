//! Who a message is from and to: the helper values of the mapping.

use crate::payload::{Object, Refusal, with_payload};
use fanfare_core::limits::KEY_BYTES_MAX;
use std::borrow::Cow;

/// An identifier as Z-API writes a phone: digits only. Without `+`, blanks, hyphens, brackets and a WhatsApp suffix;
/// what is not a number then stays as it is (an Instagram name, a system's).
pub(crate) fn digits(identifier: &str) -> Cow<'_, str> {
    let number = ["@s.whatsapp.net", "@c.us"]
        .into_iter()
        .find_map(|suffix| identifier.strip_suffix(suffix))
        .unwrap_or(identifier);
    if is_number(number) {
        return Cow::Borrowed(number);
    }
    let bare: String = number.chars().filter(|&c| !is_phone_decoration(c)).collect();
    if is_number(&bare) { Cow::Owned(bare) } else { Cow::Borrowed(identifier) }
}

pub(crate) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Plus, blanks, brackets, and the hyphens people and their keyboards put into numbers.
fn is_phone_decoration(c: char) -> bool {
    matches!(c, '+' | '-' | '(' | ')' | '[' | ']' | '\u{2010}'..='\u{2013}') || c.is_whitespace()
}

/// The two ends of a message.
#[derive(Clone, Copy)]
pub(crate) struct Parties<'a> {
    pub(crate) from_me: bool,
    pub(crate) sender: Option<Object<'a>>,
    pub(crate) recipient: Option<Object<'a>>,
}

impl<'a> Parties<'a> {
    /// Without `metadata.from_me` a message is taken for one that came in.
    pub(crate) fn of(message: Object<'a>, metadata: Option<Object<'a>>) -> Result<Self, Refusal> {
        let from_me = match metadata {
            Some(metadata) => metadata.bool("from_me")?.unwrap_or(false),
            None => false,
        };
        Ok(Parties {
            from_me,
            sender: message.object("sender", "message.sender")?,
            recipient: message.object("recipient", "message.recipient")?,
        })
    }

    /// The end that is not the business.
    pub(crate) fn customer(&self) -> Option<Object<'a>> {
        if self.from_me { self.recipient } else { self.sender }
    }

    /// The customer's identifier, which every body needs.
    pub(crate) fn customer_identifier(&self) -> Result<&'a str, Refusal> {
        let (customer, member) = if self.from_me {
            (self.recipient, "message.recipient.identifier is required")
        } else {
            (self.sender, "message.sender.identifier is required")
        };
        customer
            .map(|customer| customer.text("identifier"))
            .transpose()?
            .flatten()
            .ok_or_else(|| Refusal::Invalid(member.to_owned()))
    }
}

/// The phone a CONNECTED body tells (`event.phone`), as digits; `None` when it tells none.
#[must_use]
pub fn connected_phone(payload: &[u8]) -> Option<String> {
    with_payload(payload, |root, _| {
        let event = root.object("event", "event")?;
        Ok(event
            .and_then(|event| event.string_if("phone"))
            .map(digits)
            .filter(|phone| is_number(phone))
            .map(Cow::into_owned))
    })
    .ok()
    .flatten()
}

/// The ordering key of an event whose producer gave none: the customer's identifier in the message, for channel-level
/// events `event.identifier`. Cut to [`KEY_BYTES_MAX`] bytes, which at worst orders two customers as one.
#[must_use]
pub fn customer_identifier(payload: &[u8]) -> Option<String> {
    with_payload(payload, |root, _| {
        let identifier = match root.object("message", "message")? {
            Some(message) => {
                let metadata = message.object("metadata", "message.metadata")?;
                Some(Parties::of(message, metadata)?.customer_identifier()?)
            }
            None => match root.object("event", "event")? {
                Some(event) => event.text("identifier")?,
                None => None,
            },
        };
        Ok(identifier.map(|text| {
            let end = text.floor_char_boundary(KEY_BYTES_MAX);
            text.get(..end).unwrap_or(text).to_owned()
        }))
    })
    .ok()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_form() {
        for (identifier, expected) in [
            ("5531977110099", "5531977110099"),
            ("+55 (31) 97711-0099", "5531977110099"),
            ("+55\u{a0}31\u{2011}97711 [0099]", "5531977110099"),
            ("5531977110099@s.whatsapp.net", "5531977110099"),
            ("+55-31-97711-0099@c.us", "5531977110099"),
            ("17841400000000001", "17841400000000001"),
            ("BARLING_SYSTEM", "BARLING_SYSTEM"),
            ("loja-exemplo (oficial)", "loja-exemplo (oficial)"),
            ("maria@c.us", "maria@c.us"),
            ("+", "+"),
            ("", ""),
            ("٣٤٥", "٣٤٥"),
        ] {
            assert_eq!(digits(identifier), expected, "{identifier}");
        }
    }

    #[test]
    fn a_connected_body_tells_its_phone() {
        let phone = |body: &str| connected_phone(body.as_bytes());
        assert_eq!(phone(r#"{"event":{"phone":"+55 21 98811-0022"}}"#).as_deref(), Some("5521988110022"));
        for none in [
            r#"{"event":{"phone":"unknown"}}"#,
            r#"{"event":{"phone":5521988110022}}"#,
            r#"{"event":{"phone":""}}"#,
            r#"{"event":{}}"#,
            r#"{"event":7}"#,
            r#"{}"#,
            "not json",
        ] {
            assert_eq!(phone(none), None, "{none}");
        }
    }

    #[test]
    fn the_ordering_key_is_the_customers_identifier() {
        let key = |body: &str| customer_identifier(body.as_bytes());
        let message = |from_me: &str| {
            format!(
                r#"{{"message":{{"metadata":{{{from_me}}},"sender":{{"identifier":"S"}},"recipient":{{"identifier":"R"}}}}}}"#
            )
        };
        assert_eq!(key(&message(r#""from_me":true"#)).as_deref(), Some("R"));
        assert_eq!(key(&message(r#""from_me":false"#)).as_deref(), Some("S"));
        assert_eq!(key(&message("")).as_deref(), Some("S"));
        assert_eq!(key(r#"{"message":{"sender":{"identifier":"S"}}}"#).as_deref(), Some("S"));
        assert_eq!(key(r#"{"event":{"identifier":"E"}}"#).as_deref(), Some("E"));
        for none in [r#"{"event":{}}"#, r#"{"message":{}}"#, r#"{"message":[]}"#, "{}", "[", ""] {
            assert_eq!(key(none), None, "{none}");
        }
        let long = format!(r#"{{"event":{{"identifier":"x{}"}}}}"#, "é".repeat(200));
        assert_eq!(key(&long).unwrap().len(), 255, "cut at a character");
    }
}
