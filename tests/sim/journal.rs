//! What happened in a simulated world, in order: what the checker judges and a failing seed prints.

use fanfare_core::outcome::FailureClass;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::webhook::Webhook;
use fanfare_core::{Seq, WebhookNo};
use std::fmt;
use std::sync::Arc;

/// Nanoseconds since the world began; goes on over crashes, never steps.
pub(crate) type WorldNs = u64;

pub(crate) const MS: WorldNs = 1_000_000;
pub(crate) const SECOND: WorldNs = 1000 * MS;

/// Names one delivery over all webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeliveryName {
    pub(crate) webhook: WebhookNo,
    pub(crate) seq: Seq,
    pub(crate) part: u16,
}

impl fmt::Display for DeliveryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}/e{}", self.webhook.0, self.seq.0)?;
        if self.part > 0 { write!(f, "/{}", self.part) } else { Ok(()) }
    }
}

/// One connection's dialling or one request: what a receiver can see of the engine's attempts.
pub(crate) type AttemptNo = u64;

/// What an event must look like in the format of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Hashes of the bodies.
    Bodies(Vec<u64>),
    Skipped,
    Invalid,
    /// The webhook was gone when the event was stored.
    Unknown,
}

/// An event as committed.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: Arc<str>,
    pub(crate) seq: Seq,
    pub(crate) channel: Arc<str>,
    /// Bit of its kind in a `KindSet`.
    pub(crate) kind_bit: u8,
    /// Hash of the ordering key.
    pub(crate) key: Option<u64>,
    pub(crate) owed: Vec<(WebhookNo, Form)>,
}

/// How a settlement ends a delivery, or that it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Skipped,
    Dead(String),
    Retry,
    Dropped,
}

/// A settlement.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) delivery: DeliveryName,
    pub(crate) end: End,
    /// The attempt behind it, when it is recorded.
    pub(crate) attempt_number: Option<u32>,
}

/// A request, as it reached a receiver.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) attempt: AttemptNo,
    pub(crate) webhook: WebhookNo,
    pub(crate) event_id: Arc<str>,
    pub(crate) part: u16,
    pub(crate) attempt_number: u32,
    pub(crate) url: Arc<str>,
    pub(crate) body_hash: u64,
    /// Which secret signed it: as the checker is to judge.
    pub(crate) signature: Signature,
}

/// What the receiver found when it checked the signatures against every secret the webhook ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// No signature at all.
    None,
    /// Both headers by this secret (counted from 0 in the order they were made), and another one beside it.
    By { secret: usize, also: Option<usize> },
    /// It fits no secret.
    Wrong,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Delivered,
    Failed {
        class: FailureClass,
        hint_ns: Option<WorldNs>,
    },
    /// The engine stopped waiting.
    Abandoned,
}

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A process starts over what is stored; its gates work so.
    Started { gate: GatePolicy },
    /// The process died.
    Crashed { why: &'static str },
    /// The process left by itself; `is_clean`: within its limit.
    Drained { is_clean: bool },
    /// An ingest call begins.
    Pushed { push: u32, channel: Arc<str>, events: Vec<(Option<Arc<str>>, u8)> },
    /// It was answered with 202.
    Accepted { push: u32, accepted: usize, duplicates: usize },
    /// It was answered with an error: nothing was stored.
    Refused { push: u32 },
    /// An event is on stable storage.
    Stored(Stored),
    /// A webhook is stored like this; `None`: it is deleted. `secrets`: as many as it had so far.
    Configured { webhook: WebhookNo, state: Option<Box<Webhook>>, secrets: usize },
    /// Whoever changed the webhook is told.
    ConfigAnswered { webhook: WebhookNo },
    /// From then until now settlements could not be committed in time, by the store's fault.
    Excused { from: WorldNs },
    /// The store took settlements.
    Handed(Vec<Settled>),
    /// Settlements are on stable storage.
    Committed(Vec<Settled>),
    /// Dead deliveries were put back.
    PutBack(Vec<DeliveryName>),
    /// An attempt begins: a connection is dialled for it, or a kept one is used.
    Begun { webhook: WebhookNo, attempt: AttemptNo },
    /// Its request is sent (again, when the kept connection was stale).
    Sent(Sent),
    /// It ended.
    Ended { attempt: AttemptNo, ended: Ended },
    /// Bytes of events in memory, and how many there may be.
    Memory { bytes: u64, bytes_max: u64 },
    /// Panics of actors since the process started.
    Panics { count: u64 },
    /// What is left in the store when everything is done.
    Left { events: usize, retry_rows: usize, backlog_rows: usize },
    /// Anything else worth telling.
    Note(String),
}

/// A moment, as lines show it.
pub(crate) struct At(pub(crate) WorldNs);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}.{:03} s", self.0 / SECOND, self.0 / MS % 1000)
    }
}

struct Settlements<'a>(&'a [Settled]);

impl fmt::Display for Settlements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Settled { delivery, end, attempt_number } in self.0 {
            write!(f, " {delivery}={end:?}")?;
            if let Some(number) = attempt_number {
                write!(f, "#{number}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Started { .. } => write!(f, "process starts"),
            Entry::Crashed { why } => write!(f, "process dies: {why}"),
            Entry::Drained { is_clean } => write!(f, "process drained, clean: {is_clean}"),
            Entry::Pushed { push, channel, events } => {
                write!(f, "push {push} to {channel}:")?;
                events.iter().try_for_each(|(id, _)| write!(f, " {}", id.as_deref().unwrap_or("-")))
            }
            Entry::Accepted { push, accepted, duplicates } => {
                write!(f, "push {push} accepted: {accepted} and {duplicates} duplicates")
            }
            Entry::Refused { push } => write!(f, "push {push} refused"),
            Entry::Stored(Stored { id, seq, owed, key, .. }) => {
                write!(f, "stored e{} = {id} key {key:?} owed", seq.0)?;
                owed.iter().try_for_each(|(no, _)| write!(f, " w{}", no.0))
            }
            Entry::Configured { webhook, state: Some(state), secrets } => write!(
                f,
                "w{} is {:?} {:?} {} {:?} secrets {secrets}",
                webhook.0, state.status, state.disabled_reason, state.url, state.delivery
            ),
            Entry::Configured { webhook, state: None, .. } => write!(f, "w{} is deleted", webhook.0),
            Entry::ConfigAnswered { webhook } => write!(f, "w{} change answered", webhook.0),
            Entry::Excused { from } => write!(f, "store was in the way since {}", At(*from)),
            Entry::Handed(settled) => write!(f, "handed{}", Settlements(settled)),
            Entry::Committed(settled) => write!(f, "committed{}", Settlements(settled)),
            Entry::PutBack(names) => {
                write!(f, "put back")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Entry::Begun { webhook, attempt } => write!(f, "w{} begins attempt {attempt}", webhook.0),
            Entry::Sent(sent) => write!(
                f,
                "w{} gets {}/{} #{} by attempt {} at {}, {:?}",
                sent.webhook.0,
                sent.event_id,
                sent.part,
                sent.attempt_number,
                sent.attempt,
                sent.url,
                sent.signature
            ),
            Entry::Ended { attempt, ended } => write!(f, "attempt {attempt} ends: {ended:?}"),
            Entry::Memory { bytes, bytes_max } => write!(f, "{bytes} of {bytes_max} bytes in memory"),
            Entry::Panics { count } => write!(f, "{count} actors panicked"),
            Entry::Left { events, retry_rows, backlog_rows } => {
                write!(f, "left: {events} events, {retry_rows} retry rows, {backlog_rows} backlog rows")
            }
            Entry::Note(text) => f.write_str(text),
        }
    }
}
