//! Events and what webhooks subscribe to.

use crate::{ChannelId, EventId, Seq};
use bytes::Bytes;
use std::ops::Range;

/// The eight kinds an event can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventKind {
    /// A message came in (or was sent by the connected number).
    MessageReceived = 0,
    /// Delivery of a sent message confirmed.
    MessageDelivery = 1,
    /// A message's status changed.
    MessageStatus = 2,
    /// Channel connected.
    Connected = 3,
    /// Channel disconnected.
    Disconnected = 4,
    /// Contact present or typing.
    PresenceChat = 5,
    /// First data sync.
    InitialData = 6,
    /// Contact blocked.
    Block = 7,
}

impl EventKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [EventKind; 8] = [
        EventKind::MessageReceived,
        EventKind::MessageDelivery,
        EventKind::MessageStatus,
        EventKind::Connected,
        EventKind::Disconnected,
        EventKind::PresenceChat,
        EventKind::InitialData,
        EventKind::Block,
    ];

    /// The name in the API and in `X-Hub-Event`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::MessageReceived => "MESSAGE_RECEIVED",
            EventKind::MessageDelivery => "MESSAGE_DELIVERY",
            EventKind::MessageStatus => "MESSAGE_STATUS",
            EventKind::Connected => "CONNECTED",
            EventKind::Disconnected => "DISCONNECTED",
            EventKind::PresenceChat => "PRESENCE_CHAT",
            EventKind::InitialData => "INITIAL_DATA",
            EventKind::Block => "BLOCK",
        }
    }

    /// Reads [`EventKind::name`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of number `number`, as stored.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Hash of an ordering key, as the store keeps it: FNV-1a with 64 bits. Two keys of one hash merely wait for each
/// other.
#[must_use]
pub fn key_hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The ten names a webhook may list in `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// One kind by its own name.
    Kind(EventKind),
    /// `RECEIVED_STATUS`: received and status.
    ReceivedStatus,
    /// `RECEIVED_AND_DELIVERY`: received and delivery.
    ReceivedAndDelivery,
}

impl Subscription {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Subscription::Kind(kind) => kind.name(),
            Subscription::ReceivedStatus => "RECEIVED_STATUS",
            Subscription::ReceivedAndDelivery => "RECEIVED_AND_DELIVERY",
        }
    }

    /// Reads [`Subscription::name`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "RECEIVED_STATUS" => Some(Subscription::ReceivedStatus),
            "RECEIVED_AND_DELIVERY" => Some(Subscription::ReceivedAndDelivery),
            _ => EventKind::parse(name).map(Subscription::Kind),
        }
    }

    /// The kinds it selects.
    #[must_use]
    pub fn kinds(self) -> KindSet {
        match self {
            Subscription::Kind(kind) => KindSet::of(kind),
            Subscription::ReceivedStatus => {
                KindSet::of(EventKind::MessageReceived).with(KindSet::of(EventKind::MessageStatus))
            }
            Subscription::ReceivedAndDelivery => {
                KindSet::of(EventKind::MessageReceived).with(KindSet::of(EventKind::MessageDelivery))
            }
        }
    }
}

/// A set of event kinds, one bit each. A webhook gets an event once however many of its subscriptions match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSet(pub u8);

impl KindSet {
    /// Just `kind`.
    #[must_use]
    pub const fn of(kind: EventKind) -> Self {
        KindSet(1 << kind as u8)
    }

    /// Union.
    #[must_use]
    pub const fn with(self, other: KindSet) -> Self {
        KindSet(self.0 | other.0)
    }

    /// Whether `kind` is in it.
    #[must_use]
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Everything the listed subscriptions select.
    #[must_use]
    pub fn of_all(subscriptions: &[Subscription]) -> Self {
        subscriptions.iter().fold(KindSet::default(), |set, s| set.with(s.kinds()))
    }
}

/// An accepted event: immutable, its bytes shared by everything that is owed of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Place in the log. [`Seq`]`(0)` until the store has committed it.
    pub seq: Seq,
    /// The producer's id, or one we made.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// On which channel.
    pub channel: ChannelId,
    /// The channel's own phone as known when the event was accepted (digits), frozen so that a retry renders the
    /// same bytes.
    pub channel_phone: Option<Box<str>>,
    /// The ordering key the producer gave, if any.
    pub key: Option<Box<str>>,
    /// When the producer says it happened, Unix ms.
    pub occurred_at_ms: Option<u64>,
    /// When we accepted it, Unix ms.
    pub accepted_at_ms: u64,
    /// The envelope as it arrived: one JSON object, UTF-8.
    pub envelope: Bytes,
    /// Where the payload stands in `envelope`, bytes.
    pub payload: Range<usize>,
}

impl Event {
    /// The payload's own bytes, untouched: the DEFAULT body.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.envelope.slice(self.payload.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.name()), Some(kind));
            assert_eq!(EventKind::from_number(kind as u8), Some(kind));
        }
        assert_eq!(EventKind::parse("RECEIVED_STATUS"), None);
        assert_eq!(Subscription::parse("RECEIVED_STATUS"), Some(Subscription::ReceivedStatus));
        assert_eq!(Subscription::parse("received"), None);
    }

    #[test]
    fn combined_subscriptions_select_two_kinds() {
        let set = KindSet::of_all(&[Subscription::ReceivedStatus, Subscription::ReceivedAndDelivery]);
        let selected: Vec<_> = EventKind::ALL.into_iter().filter(|k| set.contains(*k)).collect();
        assert_eq!(
            selected,
            [EventKind::MessageReceived, EventKind::MessageDelivery, EventKind::MessageStatus]
        );
    }
}
