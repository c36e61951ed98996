//! Webhooks, channels, accounts and keys: what is configured.

use crate::event::{KindSet, Subscription};
use crate::secret::{Secret, SigningSecret};
use crate::{AccountId, ChannelId, ChannelNo, KeyId, WebhookId, WebhookNo};

/// An account. Only the role [`Account::ENTERPRISE`] may manage webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// `ENTERPRISE` or any other word.
    pub role: String,
}

impl Account {
    /// The role that webhook calls need.
    pub const ENTERPRISE: &'static str = "ENTERPRISE";

    /// Whether webhook calls are allowed.
    #[must_use]
    pub fn is_enterprise(&self) -> bool {
        self.role == Self::ENTERPRISE
    }
}

/// What a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Webhook and delivery routes.
    pub manage: bool,
    /// Event routes.
    pub ingest: bool,
    /// Operator routes; reaches every account.
    pub operate: bool,
}

impl Scopes {
    /// All three.
    pub const ALL: Scopes = Scopes { manage: true, ingest: true, operate: true };
}

/// An API key as stored: never its text, only a keyed hash of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Public name.
    pub id: KeyId,
    /// The account it belongs to.
    pub account: AccountId,
    /// What it may do.
    pub scopes: Scopes,
    /// Keyed hash of the key's text (`Store::key_hash`).
    pub hash: [u8; 32],
    /// Unix ms.
    pub created_at_ms: u64,
}

/// A channel: a connected number of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Short name in the store.
    pub no: ChannelNo,
    /// Its id.
    pub id: ChannelId,
    /// Its owner.
    pub account: AccountId,
    /// Digits of its own phone, from the operator or the last CONNECTED event.
    pub phone: Option<String>,
}

/// `status` of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookStatus {
    /// Gets events.
    Enabled,
    /// Gets no new events; what was queued is paused.
    Disabled,
}

/// `auth` of a webhook: what is added to each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    None,
    /// `Authorization: Bearer <token>`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// `X-API-Key: <key>`.
    ApiKey {
        /// The key.
        key: Secret,
    },
    /// `Authorization: Basic base64(username:password)`.
    Basic {
        /// User name; may not hold `:`.
        username: Secret,
        /// Password.
        password: Secret,
    },
    /// `<name>: <value>`.
    CustomHeader {
        /// A field name that is not one of the engine's own.
        name: String,
        /// The value.
        value: Secret,
    },
}

impl Auth {
    /// `type` in the API.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Auth::None => "NONE",
            Auth::Bearer { .. } => "BEARER",
            Auth::ApiKey { .. } => "API_KEY",
            Auth::Basic { .. } => "BASIC",
            Auth::CustomHeader { .. } => "CUSTOM_HEADER",
        }
    }
}

/// Signing keys of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// The key in use.
    pub current: SigningSecret,
    /// The key before, still valid until the given Unix ms (`secretOverlapSeconds`).
    pub previous: Option<(SigningSecret, u64)>,
}

/// `ordering` of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// Roughly in order, no promise.
    #[default]
    None,
    /// Of one key at most one delivery is in flight, later ones wait.
    Key,
}

impl Ordering {
    /// Whether it is `KEY`.
    #[must_use]
    pub fn is_key(self) -> bool {
        self == Ordering::Key
    }
}

/// `protocol` of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TLS: what ALPN agrees on; cleartext: HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only (cleartext: prior knowledge).
    Http2,
}

/// `rateLimit`: in any window of w seconds at most `burst + per_second × w` attempts begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Attempts per second in the long run; above 0, at most 1,000,000.
    pub per_second: f64,
    /// Attempts at once after a rest; 1–1,000,000.
    pub burst: u32,
}

/// Retry settings with every value present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Waits before attempt 2, 3, …, seconds.
    pub schedule_seconds: Vec<u32>,
    /// A delivery older than this is dead, seconds.
    pub max_age_seconds: u32,
}

/// The `delivery` object as set: an absent member means the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliverySettings {
    /// `timeoutMs`.
    pub timeout_ms: Option<u32>,
    /// `maxInFlight`.
    pub max_in_flight: Option<u16>,
    /// `rateLimit`.
    pub rate_limit: Option<RateLimit>,
    /// `ordering`.
    pub ordering: Option<Ordering>,
    /// `retry.scheduleSeconds`.
    pub retry_schedule_seconds: Option<Vec<u32>>,
    /// `retry.maxAgeSeconds`.
    pub retry_max_age_seconds: Option<u32>,
    /// `protocol`.
    pub protocol: Option<Protocol>,
}

/// The `delivery` object with every value present.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryPolicy {
    /// Whole attempt: resolve, connect, send, answer's last byte.
    pub timeout_ms: u32,
    /// Attempts in flight at once.
    pub max_in_flight: u16,
    /// None: unlimited.
    pub rate_limit: Option<RateLimit>,
    /// Order promised.
    pub ordering: Ordering,
    /// Retries.
    pub retry: RetryPolicy,
    /// HTTP version.
    pub protocol: Protocol,
}

/// The waits of product.md section 6, seconds.
pub const DEFAULT_SCHEDULE_SECONDS: [u32; 11] =
    [5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400, 72000, 86400];

impl Default for DeliveryPolicy {
    fn default() -> Self {
        DeliveryPolicy {
            timeout_ms: 15_000,
            max_in_flight: 16,
            rate_limit: None,
            ordering: Ordering::None,
            retry: RetryPolicy {
                schedule_seconds: DEFAULT_SCHEDULE_SECONDS.to_vec(),
                max_age_seconds: 432_000,
            },
            protocol: Protocol::Auto,
        }
    }
}

impl DeliverySettings {
    /// The values in force, `defaults` where nothing was set.
    #[must_use]
    pub fn effective(&self, defaults: &DeliveryPolicy) -> DeliveryPolicy {
        DeliveryPolicy {
            timeout_ms: self.timeout_ms.unwrap_or(defaults.timeout_ms),
            max_in_flight: self.max_in_flight.unwrap_or(defaults.max_in_flight),
            rate_limit: self.rate_limit.or(defaults.rate_limit),
            ordering: self.ordering.unwrap_or(defaults.ordering),
            retry: RetryPolicy {
                schedule_seconds: self
                    .retry_schedule_seconds
                    .clone()
                    .unwrap_or_else(|| defaults.retry.schedule_seconds.clone()),
                max_age_seconds: self.retry_max_age_seconds.unwrap_or(defaults.retry.max_age_seconds),
            },
            protocol: self.protocol.unwrap_or(defaults.protocol),
        }
    }
}

/// Name of a payload format: `DEFAULT`, `Z_API`, or a loaded plugin's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FormatName(Box<str>);

impl FormatName {
    /// The payload's own bytes.
    pub const DEFAULT: &'static str = "DEFAULT";
    /// Z-API's callback bodies.
    pub const Z_API: &'static str = "Z_API";

    /// Reads an upper-case word (`A-Z 0-9 _`, first a letter, at most 64); `None` for anything else.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let good = (1..=64).contains(&name.len())
            && name.as_bytes().first().is_some_and(u8::is_ascii_uppercase)
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        good.then(|| FormatName(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it needs no plugin.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        [Self::DEFAULT, Self::Z_API].contains(&self.as_str())
    }
}

impl Default for FormatName {
    fn default() -> Self {
        FormatName(Self::DEFAULT.into())
    }
}

/// One configured receiver: everything stored of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Short name in the store.
    pub no: WebhookNo,
    /// Its id.
    pub id: WebhookId,
    /// The channel it listens to.
    pub channel: ChannelId,
    /// Where requests go: absolute `http` or `https`, no userinfo.
    pub url: String,
    /// Free text.
    pub description: Option<String>,
    /// As given, duplicates folded.
    pub events: Vec<Subscription>,
    /// Enabled or not.
    pub status: WebhookStatus,
    /// Why the engine disabled it, if it was the engine (`gone`, `failing`).
    pub disabled_reason: Option<String>,
    /// After a 410: everything it was owed is a dead letter by now, so that what is put back later is not given up too.
    pub is_given_up: bool,
    /// Since when it had failures but no success, Unix ms; noted once that is an hour ago, so that a restart does not
    /// begin the days anew after which it is disabled.
    pub failing_since_ms: Option<u64>,
    /// Keys, when signing is on.
    pub signing: Option<Signing>,
    /// Credential.
    pub auth: Auth,
    /// Body format.
    pub payload_format: FormatName,
    /// A JSON object as text, stored and returned, never sent.
    pub custom_attributes: String,
    /// The `delivery` object as set.
    pub delivery: DeliverySettings,
    /// Unix ms.
    pub created_at_ms: u64,
    /// Unix ms.
    pub updated_at_ms: u64,
}

impl Webhook {
    /// The kinds its subscriptions select.
    #[must_use]
    pub fn kinds(&self) -> KindSet {
        KindSet::of_all(&self.events)
    }

    /// Whether it has `ordering: KEY`.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.delivery.ordering.is_some_and(Ordering::is_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_take_the_defaults() {
        let set = DeliverySettings { timeout_ms: Some(2000), ..DeliverySettings::default() };
        let policy = set.effective(&DeliveryPolicy::default());
        assert_eq!(policy.timeout_ms, 2000);
        assert_eq!(policy.max_in_flight, 16);
        assert_eq!(policy.retry.schedule_seconds.len(), 11);
    }

    #[test]
    fn format_names_are_upper_case_words() {
        for good in ["DEFAULT", "Z_API", "CLOUDEVENTS2"] {
            assert!(FormatName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "default", "1A", "_A", "A-B", "A B"] {
            assert!(FormatName::parse(bad).is_none(), "{bad}");
        }
    }
}
