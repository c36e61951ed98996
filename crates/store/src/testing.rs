//! For unit tests that need an opened directory without its threads.

use crate::open::{self, Opened};
use crate::options::StoreOptions;
use fanfare_core::event::{EventKind, Subscription};
use fanfare_core::ports::Clock;
use fanfare_core::webhook::{Auth, DeliverySettings, FormatName, Webhook, WebhookStatus};
use fanfare_core::{ChannelId, Now, WebhookId, WebhookNo};
use std::sync::Arc;

/// Stands still.
pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Now {
        Now { mono_ns: 0, unix_ms: 1_700_000_000_000 }
    }
}

pub(crate) fn opened(tweak: impl FnOnce(&mut StoreOptions)) -> (Opened, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(dir.path(), [1; 32], Arc::new(StillClock));
    tweak(&mut options);
    (open::open(&options).unwrap(), dir)
}

pub(crate) fn webhook(no: u32) -> Webhook {
    Webhook {
        no: WebhookNo(no),
        id: WebhookId(u128::from(no)),
        channel: ChannelId::parse("channel").unwrap(),
        url: "https://receiver.example/in".into(),
        description: None,
        events: vec![Subscription::Kind(EventKind::Block)],
        status: WebhookStatus::Enabled,
        disabled_reason: None,
        is_given_up: false,
        failing_since_ms: None,
        signing: None,
        auth: Auth::None,
        payload_format: FormatName::default(),
        custom_attributes: "{}".into(),
        delivery: DeliverySettings::default(),
        created_at_ms: 1,
        updated_at_ms: 1,
    }
}
