//! What several benches need. Each bench under `benches/` answers the question in its first line;
//! `cargo bench` runs them all, `cargo bench --bench NAME` one.

pub mod allocations;
pub mod samples;

use bytes::Bytes;
use fanfare_core::event::{Event, EventKind};
use fanfare_core::ports::Clock;
use fanfare_core::{ChannelId, EventId, Now, Seq};
use std::time::Instant;

/// The machine's own clock.
#[derive(Clone, Copy, Debug)]
pub struct MachineClock(Instant);

impl Default for MachineClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the benches")]
    fn default() -> Self {
        MachineClock(Instant::now())
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Now {
        let elapsed = self.0.elapsed();
        let mono_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        Now { mono_ns, unix_ms: 1_700_000_000_000 + mono_ns / 1_000_000 }
    }
}

/// A MESSAGE_RECEIVED of about `bytes` bytes; its text is as long as that takes.
///
/// # Panics
/// Never: the ids are well formed.
#[must_use]
pub fn message_received(seq: u64, bytes: usize) -> Event {
    let head = r#"{"id":"3EB0C767D097B7C7C030","type":"MESSAGE_RECEIVED","channelId":"8f1c2f5e","occurredAt":1700000000123,"payload":{"messageId":"3EB0C767D097B7C7C030","momment":1700000000123,"isGroup":false,"fromMe":false,"senderPhone":"5511999990000","senderName":"Maria","message":{"text":""#;
    let tail = r#""}}}"#;
    let text = "Hello there. ".repeat(bytes.saturating_sub(head.len() + tail.len()) / 13);
    let envelope = format!("{head}{text}{tail}");
    let at = head.find(r#"{"messageId""#).unwrap_or(0);
    Event {
        seq: Seq(seq),
        id: EventId::parse("3EB0C767D097B7C7C030").expect("an id"),
        kind: EventKind::MessageReceived,
        channel: ChannelId::parse("8f1c2f5e").expect("an id"),
        channel_phone: None,
        key: None,
        occurred_at_ms: Some(1_700_000_000_123),
        accepted_at_ms: 1_700_000_000_200,
        payload: at..envelope.len() - 1,
        envelope: Bytes::from(envelope),
    }
}
