//! What an attempt came to. A failed attempt is data, not an error.

use bytes::Bytes;
use std::time::Duration;

/// Why an attempt failed. Whose fault: the receiver's, but for the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FailureClass {
    /// An answer that is neither 2xx nor one of the special ones below (the status is beside it).
    Status = 0,
    /// 429 or 503.
    Throttled = 1,
    /// 410: the receiver is gone for good.
    Gone = 2,
    /// The attempt's time ran out.
    Timeout = 3,
    /// Connection refused, unreachable, or failed before a request could be sent.
    Connect = 4,
    /// The connection broke before the answer was complete.
    Reset = 5,
    /// TLS handshake or certificate.
    Tls = 6,
    /// The name did not resolve.
    Dns = 7,
    /// The answer was not HTTP, or broke its bounds.
    Protocol = 8,
    /// The address may not be called. Final.
    BlockedAddress = 9,
    /// A kept-alive connection was closed by the receiver before a byte of the answer; the attempt is made again at
    /// once on a new connection and not counted.
    StaleConnection = 10,
    /// Rendering failed for a reason that may pass (plugin fault).
    Render = 11,
    /// We could not do our work; the receiver saw nothing.
    Internal = 12,
}

impl FailureClass {
    /// All classes, in the order of their numbers.
    pub const ALL: [FailureClass; 13] = [
        FailureClass::Status,
        FailureClass::Throttled,
        FailureClass::Gone,
        FailureClass::Timeout,
        FailureClass::Connect,
        FailureClass::Reset,
        FailureClass::Tls,
        FailureClass::Dns,
        FailureClass::Protocol,
        FailureClass::BlockedAddress,
        FailureClass::StaleConnection,
        FailureClass::Render,
        FailureClass::Internal,
    ];

    /// Name in the API, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FailureClass::Status => "status",
            FailureClass::Throttled => "throttled",
            FailureClass::Gone => "gone",
            FailureClass::Timeout => "timeout",
            FailureClass::Connect => "connect",
            FailureClass::Reset => "reset",
            FailureClass::Tls => "tls",
            FailureClass::Dns => "dns",
            FailureClass::Protocol => "protocol",
            FailureClass::BlockedAddress => "blocked_address",
            FailureClass::StaleConnection => "stale_connection",
            FailureClass::Render => "render",
            FailureClass::Internal => "internal",
        }
    }

    /// The class of number `number`, as stored.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether it says something about the receiver's health, so that the gate counts it.
    #[must_use]
    pub const fn is_receivers_fault(self) -> bool {
        !matches!(
            self,
            FailureClass::BlockedAddress
                | FailureClass::StaleConnection
                | FailureClass::Render
                | FailureClass::Internal
        )
    }
}

/// The verdict of one attempt, as `egress` classified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx, to the answer's last byte.
    Delivered,
    /// May succeed later.
    Retryable {
        /// Why.
        class: FailureClass,
        /// The receiver's `Retry-After`, already clamped to 24 h.
        not_before: Option<Duration>,
    },
    /// Will not succeed.
    Permanent {
        /// Why.
        class: FailureClass,
    },
}

/// One attempt, reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptReport {
    /// What it came to.
    pub outcome: Outcome,
    /// The answer's status, when one was read.
    pub status: Option<u16>,
    /// First bytes of the answer's body, at most [`crate::limits::SNIPPET_BYTES_MAX`].
    pub snippet: Bytes,
    /// A short text for the operator: what failed, without URL, secret or payload.
    pub detail: Option<String>,
}

impl AttemptReport {
    /// A report of a failure without an answer.
    #[must_use]
    pub fn failed(class: FailureClass, detail: impl Into<String>) -> Self {
        let outcome = match class {
            FailureClass::BlockedAddress | FailureClass::Gone => Outcome::Permanent { class },
            _ => Outcome::Retryable { class, not_before: None },
        };
        AttemptReport { outcome, status: None, snippet: Bytes::new(), detail: Some(detail.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_classes_agree() {
        for (number, class) in (0_u8..).zip(FailureClass::ALL) {
            assert_eq!(FailureClass::from_number(number), Some(class));
            assert_eq!(class as u8, number);
        }
        assert_eq!(FailureClass::from_number(13), None);
    }
}
