//! What the frozen directory holds, one of everything, said once: `examples/freeze` writes it, `tests/it/frozen` reads
//! it back. The file is never made anew for a version that was released; a new version gets a directory of its own.

use bytes::Bytes;
use fanfare_core::delivery::AttemptRecord;
use fanfare_core::event::{Event, EventKind, Subscription};
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::{Clock, IngestEvent};
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::{
    Account, ApiKey, Auth, Channel, DeliverySettings, FormatName, Ordering, Protocol, RateLimit, Scopes,
    Signing, Webhook, WebhookStatus,
};
use fanfare_core::{AccountId, ChannelId, ChannelNo, EventId, KeyId, Now, Secret, Seq, WebhookId, WebhookNo};
use fanfare_store::StoreOptions;
use std::path::Path;
use std::sync::Arc;

pub(crate) const MASTER_KEY: [u8; 32] = [0x42; 32];
/// When everything happened, Unix ms.
pub(crate) const START_MS: u64 = 1_790_000_000_000;
/// The text of the one API key.
pub(crate) const API_KEY: &str = "ffk_frozen";

/// Stands still at [`START_MS`].
pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Now {
        Now { mono_ns: 0, unix_ms: START_MS }
    }
}

/// Bodies are kept, so that events of every standing are there.
pub(crate) fn options(dir: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(dir, MASTER_KEY, Arc::new(StillClock));
    options.retention.bodies_seconds = 24 * 3600;
    options
}

pub(crate) fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

pub(crate) fn accounts() -> Vec<Account> {
    let account = |id, role: &str| Account { id: AccountId::parse(id).unwrap(), role: role.into() };
    vec![account("acme", "ENTERPRISE"), account("basic", "FREE")]
}

pub(crate) fn api_key(hash: [u8; 32]) -> ApiKey {
    ApiKey {
        id: KeyId::parse("k1").unwrap(),
        account: AccountId::parse("acme").unwrap(),
        scopes: Scopes { manage: true, ingest: true, operate: false },
        hash,
        created_at_ms: START_MS,
    }
}

/// As it is after the event that told its phone.
pub(crate) fn channel() -> Channel {
    Channel {
        no: ChannelNo(1),
        id: ChannelId::parse("channel_1").unwrap(),
        account: AccountId::parse("acme").unwrap(),
        phone: Some("5511999990000".into()),
    }
}

pub(crate) fn webhooks() -> Vec<Webhook> {
    let secret = |text: &str| Secret::new(text);
    let plain = Webhook {
        no: WebhookNo(1),
        id: WebhookId(0x1111),
        channel: channel().id,
        url: "https://receiver.example/in?token=1".into(),
        description: Some("the first".into()),
        events: vec![Subscription::ReceivedStatus, Subscription::Kind(EventKind::Connected)],
        status: WebhookStatus::Enabled,
        disabled_reason: None,
        is_given_up: false,
        failing_since_ms: Some(START_MS - 5),
        signing: Some(Signing {
            current: SigningSecret([1; 32]),
            previous: Some((SigningSecret([2; 32]), START_MS + 1000)),
        }),
        auth: Auth::Bearer { token: secret("a bearer token") },
        payload_format: FormatName::default(),
        custom_attributes: r#"{"a":[1]}"#.into(),
        delivery: DeliverySettings {
            timeout_ms: Some(5000),
            max_in_flight: Some(3),
            rate_limit: Some(RateLimit { per_second: 2.5, burst: 7 }),
            ordering: Some(Ordering::Key),
            retry_schedule_seconds: Some(vec![1, 2, 3]),
            retry_max_age_seconds: Some(600),
            protocol: Some(Protocol::Http1),
        },
        created_at_ms: START_MS,
        updated_at_ms: START_MS + 1,
    };
    let second = Webhook {
        no: WebhookNo(2),
        id: WebhookId(0x2222),
        description: None,
        status: WebhookStatus::Disabled,
        disabled_reason: Some("gone".into()),
        is_given_up: true,
        failing_since_ms: None,
        signing: None,
        auth: Auth::Basic { username: secret("user"), password: secret("pass") },
        payload_format: FormatName::parse("Z_API").unwrap(),
        delivery: DeliverySettings::default(),
        ..plain.clone()
    };
    let third = Webhook {
        no: WebhookNo(3),
        id: WebhookId(0x3333),
        auth: Auth::CustomHeader { name: "X-Token".into(), value: secret("a header") },
        ..second.clone()
    };
    vec![plain, second, third]
}

/// An event that webhooks are owed, each with whether it is handed over in memory.
fn event(id: &str, owed: &[(u32, bool)]) -> IngestEvent {
    let envelope = format!(r#"{{"type":"MESSAGE_RECEIVED","payload":{{"id":"{id}"}}}}"#);
    let payload = 37..envelope.len() - 1;
    IngestEvent {
        event: Event {
            seq: Seq(0),
            id: EventId::parse(id).unwrap(),
            kind: EventKind::MessageReceived,
            channel: channel().id,
            channel_phone: Some("5511999990000".into()),
            key: Some("customer".into()),
            occurred_at_ms: Some(START_MS - 9),
            accepted_at_ms: START_MS,
            envelope: Bytes::from(envelope),
            payload,
        },
        channel_no: ChannelNo(1),
        is_deduplicated: true,
        owed: owed.iter().map(|(no, in_memory)| (WebhookNo(*no), *in_memory)).collect(),
        new_phone: None,
    }
}

/// All events, e1 first.
pub(crate) fn events() -> Vec<IngestEvent> {
    let mut events = vec![
        event("e1", &[(1, false)]),
        event("e2", &[(1, true), (2, true)]),
        event("e3", &[(1, true)]),
        event("e4", &[(1, true), (2, true)]),
        event("e5", &[(1, true)]),
        event("e6", &[(2, true)]),
        event("e7", &[(3, true)]),
        event("e8", &[]),
    ];
    events[0].new_phone = channel().phone;
    events
}

pub(crate) fn attempt(number: u32, status: u16) -> AttemptRecord {
    AttemptRecord {
        attempt_number: number,
        started_ms: START_MS + 3,
        duration_ms: 12,
        status: Some(status),
        failure: (status >= 300).then_some(FailureClass::Status),
        snippet: Bytes::from_static(b"an answer"),
        detail: (status >= 300).then(|| format!("answered {status}")),
    }
}
