//! Ids. Text ids are what the API shows; numbers are this store's own short names for them.

use crate::limits::ID_CHARS_MAX;
use std::fmt;
use std::sync::Arc;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {ID_CHARS_MAX} characters of A-Z a-z 0-9 _ -")]
pub struct BadId;

fn is_id_text(text: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps `text`.
            ///
            /// # Errors
            /// [`BadId`] unless it is 1–64 of `A-Z a-z 0-9 _ -`.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                if is_id_text(text) { Ok(Self(Arc::from(text))) } else { Err(BadId) }
            }

            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An account: owns channels, has a role.
    AccountId
);
text_id!(
    /// A channel (older documents: instance): a connected number.
    ChannelId
);
text_id!(
    /// An event, unique within its channel's idempotency window.
    EventId
);
text_id!(
    /// An API key's public name (not the key itself).
    KeyId
);

impl EventId {
    /// A new id: UUIDv7 as 32 upper-case hex digits. `random` fills what is not time.
    #[must_use]
    pub fn generate(unix_ms: u64, random: u128) -> Self {
        EventId(Arc::from(uuid_v7_hex(unix_ms, random).as_str()))
    }
}

fn uuid_v7_hex(unix_ms: u64, random: u128) -> String {
    let time = u128::from(unix_ms & 0xFFFF_FFFF_FFFF) << 80;
    let rand = random & 0x0FFF_3FFF_FFFF_FFFF_FFFF;
    format!("{:032X}", time | rand | (0x7_u128 << 76) | (0b10_u128 << 62))
}

/// A webhook's id: 128 bits, shown as 32 upper-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookId(pub u128);

impl WebhookId {
    /// A new id (UUIDv7 layout, so that ids sort by creation).
    #[must_use]
    pub fn generate(unix_ms: u64, random: u128) -> Self {
        let time = u128::from(unix_ms & 0xFFFF_FFFF_FFFF) << 80;
        let rand = random & 0x0FFF_3FFF_FFFF_FFFF_FFFF;
        WebhookId(time | rand | (0x7_u128 << 76) | (0b10_u128 << 62))
    }

    /// Reads 32 hex digits of either case; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u128::from_str_radix(text, 16).ok().map(WebhookId))
            .flatten()
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032X}", self.0)
    }
}

impl fmt::Debug for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The store's short name of a webhook: never reused within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookNo(pub u32);

/// The store's short name of a channel: never reused within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelNo(pub u32);

/// Place of an event in the store's log: assigned at commit, rising, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_their_alphabet() {
        for good in ["a", "0190F3A27C5B7E118D2A4C6B9E01F3D5", "x_-9", &"z".repeat(64)] {
            assert!(EventId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "ä", "a.b", "a/b", &"z".repeat(65), "a\n"] {
            assert!(EventId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn generated_ids_are_version_7_upper_hex() {
        let id = EventId::generate(0x0190_F3A2_7C5B, u128::MAX);
        assert_eq!(id.as_str(), "0190F3A27C5B7FFFBFFFFFFFFFFFFFFF");
        assert_eq!(WebhookId::generate(0x0190_F3A2_7C5B, 0).to_string(), "0190F3A27C5B70008000000000000000");
    }

    #[test]
    fn webhook_ids_read_either_case_and_nothing_else() {
        let id = WebhookId(0xAB);
        assert_eq!(WebhookId::parse(&id.to_string().to_lowercase()), Some(id));
        assert_eq!(WebhookId::parse("AB"), None);
        assert_eq!(WebhookId::parse(&"+".repeat(32)), None);
    }
}
