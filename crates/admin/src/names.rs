//! Names of the API for values of the core: each list stands here once, for reading, for showing, for the texts of
//! refusals and for the OpenAPI document.

use fanfare_core::delivery::DeliveryStatus;
use fanfare_core::event::{EventKind, Subscription};
use fanfare_core::outcome::FailureClass;
use fanfare_core::webhook::{Ordering, Protocol, WebhookStatus};

/// A value that is one of few and has a name in the API.
pub(crate) trait Named: Copy + PartialEq + 'static {
    /// All, in the order in which they are listed to people.
    const ALL: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;

    /// Reads [`Named::name`].
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.name() == text)
    }

    /// All names.
    fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|value| value.name()).collect()
    }

    /// All names for a sentence: `A, B or C`.
    fn choice() -> String {
        let names = Self::names();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

impl Named for WebhookStatus {
    const ALL: &'static [Self] = &[WebhookStatus::Enabled, WebhookStatus::Disabled];

    fn name(self) -> &'static str {
        match self {
            WebhookStatus::Enabled => "ENABLED",
            WebhookStatus::Disabled => "DISABLED",
        }
    }
}

impl Named for Ordering {
    const ALL: &'static [Self] = &[Ordering::None, Ordering::Key];

    fn name(self) -> &'static str {
        match self {
            Ordering::None => "NONE",
            Ordering::Key => "KEY",
        }
    }
}

impl Named for Protocol {
    const ALL: &'static [Self] = &[Protocol::Auto, Protocol::Http1, Protocol::Http2];

    fn name(self) -> &'static str {
        match self {
            Protocol::Auto => "AUTO",
            Protocol::Http1 => "HTTP1",
            Protocol::Http2 => "HTTP2",
        }
    }
}

impl Named for EventKind {
    const ALL: &'static [Self] = &EventKind::ALL;

    fn name(self) -> &'static str {
        EventKind::name(self)
    }
}

impl Named for Subscription {
    const ALL: &'static [Self] = &[
        Subscription::Kind(EventKind::MessageReceived),
        Subscription::Kind(EventKind::MessageDelivery),
        Subscription::Kind(EventKind::MessageStatus),
        Subscription::ReceivedStatus,
        Subscription::ReceivedAndDelivery,
        Subscription::Kind(EventKind::Connected),
        Subscription::Kind(EventKind::Disconnected),
        Subscription::Kind(EventKind::PresenceChat),
        Subscription::Kind(EventKind::InitialData),
        Subscription::Kind(EventKind::Block),
    ];

    fn name(self) -> &'static str {
        Subscription::name(self)
    }
}

impl Named for DeliveryStatus {
    const ALL: &'static [Self] = &DeliveryStatus::ALL;

    fn name(self) -> &'static str {
        DeliveryStatus::name(self)
    }
}

impl Named for FailureClass {
    const ALL: &'static [Self] = &FailureClass::ALL;

    fn name(self) -> &'static str {
        FailureClass::name(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_are_read_back<T: Named + std::fmt::Debug>(count: usize) {
        let mut names = T::names();
        for (value, name) in T::ALL.iter().zip(&names) {
            assert_eq!(T::parse(name), Some(*value));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        assert_eq!(T::parse(""), None);
    }

    #[test]
    fn every_name_is_read_back_and_none_stands_for_two() {
        names_are_read_back::<WebhookStatus>(2);
        names_are_read_back::<Ordering>(2);
        names_are_read_back::<Protocol>(3);
        names_are_read_back::<EventKind>(8);
        names_are_read_back::<Subscription>(10);
        names_are_read_back::<DeliveryStatus>(4);
        names_are_read_back::<FailureClass>(13);
    }

    #[test]
    fn a_choice_reads_as_a_sentence() {
        assert_eq!(Ordering::choice(), "NONE or KEY");
        assert_eq!(Protocol::choice(), "AUTO, HTTP1 or HTTP2");
    }
}
