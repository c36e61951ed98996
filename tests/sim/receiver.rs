//! Receivers, as the Transport port shows them: each URL has a mood, which decides what becomes of a connection and of a
//! request. Everything seen goes into the journal.

use crate::disk::hash_of;
use crate::journal::{AttemptNo, Ended, Entry, Sent, Signature};
use crate::world::World;
use bytes::Bytes;
use fanfare_core::delivery::parse_delivery_id;
use fanfare_core::outcome::{AttemptReport, FailureClass, Outcome};
use fanfare_core::ports::{AttemptRequest, Connection, Destination, LocalFuture, Receiver, Transport};
use fanfare_core::webhook::Protocol;
use fanfare_core::{WebhookId, WebhookNo};
use fanfare_signing::SigningKeys;
use parking_lot::Mutex;
use rand::RngExt;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Requests that a multiplexed connection takes at once.
const SLOTS: usize = 8;

/// How a receiver is disposed.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// 200, within so many ms.
    Well { ms_max: u64 },
    /// A status that is no success, within so many ms.
    Failing { status: u16, ms_max: u64 },
    /// 429 or 503, asking for so much quiet (0: not asking).
    Throttling { status: u16, quiet_ms: u64 },
    /// No answer.
    Hanging,
    /// The connection breaks off.
    Resetting { ms_max: u64 },
    /// Nothing can be connected, for this reason.
    Refusing(FailureClass),
    /// One in so many requests fails with 500.
    Flaky { percent: u32 },
    /// 410.
    Gone,
    /// Resolves to an address that may not be called.
    Blocked,
}

impl Default for Mood {
    fn default() -> Self {
        Mood::Well { ms_max: 0 }
    }
}

/// Of a hundred kept connections, so many turn out to be closed.
const STALE: u32 = 3;

pub(crate) struct SimTransport(pub(crate) Arc<World>);

struct SimReceiver {
    world: Arc<World>,
    url: Arc<str>,
    webhook: WebhookNo,
    id: WebhookId,
    slots: usize,
    /// An attempt whose kept connection was stale: the next connection is its second.
    resending: Arc<Mutex<Option<AttemptNo>>>,
}

impl Transport for SimTransport {
    fn receiver(&self, destination: &Destination) -> Result<Arc<dyn Receiver>, String> {
        let named = destination.headers.iter().find(|(name, _)| name == "x-hub-webhook");
        let id = named.and_then(|(_, text)| WebhookId::parse(text.expose())).ok_or("no x-hub-webhook")?;
        let webhook =
            self.0.known.lock().numbers.get(&id).copied().ok_or("a webhook that was never stored")?;
        let slots = if destination.protocol == Protocol::Http2 { SLOTS } else { 1 };
        Ok(Arc::new(SimReceiver {
            world: Arc::clone(&self.0),
            url: Arc::from(destination.url.as_str()),
            webhook,
            id,
            slots,
            resending: Arc::default(),
        }))
    }
}

/// An attempt under way; tells when it is abandoned.
struct UnderWay {
    world: Arc<World>,
    attempt: AttemptNo,
    is_done: bool,
}

impl UnderWay {
    fn new(world: &Arc<World>, attempt: AttemptNo) -> Self {
        UnderWay { world: Arc::clone(world), attempt, is_done: false }
    }

    fn end(&mut self, ended: Ended) {
        self.is_done = true;
        self.world.note(Entry::Ended { attempt: self.attempt, ended });
    }

    /// It goes on elsewhere.
    fn hand_on(mut self) -> AttemptNo {
        self.is_done = true;
        self.attempt
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_done {
            self.end(Ended::Abandoned);
        }
    }
}

impl Receiver for SimReceiver {
    fn connect(&self) -> LocalFuture<Result<Box<dyn Connection>, AttemptReport>> {
        let world = Arc::clone(&self.world);
        let second = self.resending.lock().take();
        let attempt = second.unwrap_or_else(|| {
            let attempt = world.next_attempt();
            world.note(Entry::Begun { webhook: self.webhook, attempt });
            attempt
        });
        let mut under_way = UnderWay::new(&world, attempt);
        let connection = SimConnection {
            world: Arc::clone(&world),
            url: Arc::clone(&self.url),
            webhook: self.webhook,
            id: self.id,
            resending: Arc::clone(&self.resending),
            slots: self.slots,
            state: Rc::new(State {
                first: Cell::new(None),
                is_second: Cell::new(second.is_some()),
                is_used: Cell::new(false),
                in_use: Cell::new(0),
                is_open: Cell::new(true),
            }),
        };
        let mood = world.mood_of(&self.url);
        // Where requests share a connection, others may queue up behind its dialling, and when they begin cannot be
        // seen: so it takes no time.
        let dialling_ms = if self.slots > 1 || world.draw(70) {
            0
        } else {
            world.receivers_rng.lock().random_range(1..300)
        };
        Box::pin(async move {
            if world.is_over() {
                return std::future::pending().await;
            }
            if dialling_ms > 0 {
                tokio::time::sleep(Duration::from_millis(dialling_ms)).await;
            }
            let refusal = match mood {
                Mood::Refusing(class) => Some(class),
                Mood::Blocked => Some(FailureClass::BlockedAddress),
                _ => None,
            };
            if let Some(class) = refusal {
                under_way.end(Ended::Failed { class, hint_ns: None });
                return Err(AttemptReport::failed(class, "simulated"));
            }
            connection.state.first.set(Some(under_way.hand_on()));
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }
}

struct State {
    /// The attempt that it was dialled for.
    first: Cell<Option<AttemptNo>>,
    /// Whether that one is sent again here.
    is_second: Cell<bool>,
    is_used: Cell<bool>,
    in_use: Cell<usize>,
    is_open: Cell<bool>,
}

struct SimConnection {
    world: Arc<World>,
    url: Arc<str>,
    webhook: WebhookNo,
    id: WebhookId,
    resending: Arc<Mutex<Option<AttemptNo>>>,
    slots: usize,
    state: Rc<State>,
}

/// A place on a connection; an abandoned request closes one that carries no other.
struct Place {
    state: Rc<State>,
    is_shared: bool,
    is_kept: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.in_use.set(self.state.in_use.get() - 1);
        if !self.is_kept && !self.is_shared {
            self.state.is_open.set(false);
        }
    }
}

impl SimConnection {
    fn signature(&self, request: &AttemptRequest) -> Signature {
        let (hub, standard) = match (&request.hub_signature, &request.standard_signature) {
            (None, None) => return Signature::None,
            (Some(hub), Some(standard)) => (hub, standard),
            _ => return Signature::Wrong,
        };
        let known = self.world.known.lock();
        let secrets = known.secrets.get(&self.webhook).map_or(&[][..], Vec::as_slice);
        let signed = |secret: &[u8; 32]| {
            SigningKeys::new(secret, None).sign(
                &request.delivery_id,
                request.timestamp_s,
                &request.body.bytes,
            )
        };
        let Some(secret) = secrets.iter().rposition(|secret| signed(secret).hub.as_bytes() == &hub[..])
        else {
            return Signature::Wrong;
        };
        let text = String::from_utf8_lossy(standard).into_owned();
        let mut each = text.split(' ');
        if each.next() != Some(signed(&secrets[secret]).standard.as_str()) {
            return Signature::Wrong;
        }
        match each.next() {
            None => Signature::By { secret, also: None },
            Some(other) => match secrets.iter().rposition(|secret| signed(secret).standard == other) {
                Some(also) => Signature::By { secret, also: Some(also) },
                None => Signature::Wrong,
            },
        }
    }
}

impl Connection for SimConnection {
    fn free_slots(&self) -> usize {
        if self.state.is_open.get() { self.slots - self.state.in_use.get() } else { 0 }
    }

    fn is_open(&self) -> bool {
        self.state.is_open.get()
    }

    fn send(&self, request: AttemptRequest) -> LocalFuture<AttemptReport> {
        let world = Arc::clone(&self.world);
        if world.is_over() {
            return Box::pin(std::future::pending());
        }
        assert!(self.free_slots() > 0, "a connection gets no more requests than it takes");
        let is_first = self.state.first.get().is_some();
        let attempt = self.state.first.take().unwrap_or_else(|| {
            let attempt = world.next_attempt();
            world.note(Entry::Begun { webhook: self.webhook, attempt });
            attempt
        });
        let is_second = is_first && self.state.is_second.get();
        let text = String::from_utf8_lossy(&request.delivery_id).into_owned();
        let (event, part) =
            parse_delivery_id(&text, self.id).expect("a delivery id names its event and part");
        world.note(Entry::Sent(Sent {
            attempt,
            webhook: self.webhook,
            event_id: Arc::from(event.as_str()),
            part,
            attempt_number: request.attempt_number,
            url: Arc::clone(&self.url),
            body_hash: hash_of(&request.body.bytes),
            signature: self.signature(&request),
        }));
        self.state.in_use.set(self.state.in_use.get() + 1);
        let place = Place { state: Rc::clone(&self.state), is_shared: self.slots > 1, is_kept: false };
        // A new connection may be closed at once too; then the second time is a failure.
        let is_stale =
            (self.state.is_used.replace(true) && world.draw(STALE)) || (is_second && world.draw(30));
        let mut under_way = UnderWay::new(&world, attempt);
        let resending = Arc::clone(&self.resending);
        let mood = world.mood_of(&self.url);
        let state = Rc::clone(&self.state);
        Box::pin(async move {
            // Whole, so that it is given back when this future goes.
            let mut place = place;
            if is_stale {
                state.is_open.set(false);
                let report = AttemptReport::failed(FailureClass::StaleConnection, "simulated");
                if is_second {
                    under_way.end(Ended::Failed { class: FailureClass::Reset, hint_ns: None });
                } else {
                    *resending.lock() = Some(under_way.hand_on());
                }
                return report;
            }
            let (wait_ms, report) = answer(&world, &mood);
            match wait_ms {
                None => std::future::pending::<()>().await,
                Some(0) => {}
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            }
            if world.is_over() {
                return std::future::pending().await;
            }
            place.is_kept = !matches!(mood, Mood::Resetting { .. });
            if !place.is_kept {
                state.is_open.set(false);
            }
            under_way.end(ended(&report));
            report
        })
    }
}

fn ended(report: &AttemptReport) -> Ended {
    match report.outcome {
        Outcome::Delivered => Ended::Delivered,
        Outcome::Permanent { class } => Ended::Failed { class, hint_ns: None },
        Outcome::Retryable { class, not_before } => {
            let ns = |hint: Duration| u64::try_from(hint.as_nanos()).unwrap_or(u64::MAX);
            Ended::Failed { class, hint_ns: not_before.map(ns) }
        }
    }
}

fn status(status: u16, outcome: Outcome) -> AttemptReport {
    AttemptReport { outcome, status: Some(status), snippet: Bytes::new(), detail: None }
}

/// What is answered, after how long; `None`: never.
fn answer(world: &World, mood: &Mood) -> (Option<u64>, AttemptReport) {
    let within = |max: u64| Some(world.receivers_rng.lock().random_range(0..=max));
    let failed = |class| Outcome::Retryable { class, not_before: None };
    match mood {
        Mood::Well { ms_max } => (within(*ms_max), status(200, Outcome::Delivered)),
        Mood::Failing { status: code, ms_max } => {
            (within(*ms_max), status(*code, failed(FailureClass::Status)))
        }
        Mood::Throttling { status: code, quiet_ms } => {
            let not_before = (*quiet_ms > 0).then(|| Duration::from_millis(*quiet_ms));
            let outcome = Outcome::Retryable { class: FailureClass::Throttled, not_before };
            (within(50), status(*code, outcome))
        }
        Mood::Hanging => (None, AttemptReport::failed(FailureClass::Timeout, "simulated")),
        Mood::Resetting { ms_max } => {
            (within(*ms_max), AttemptReport::failed(FailureClass::Reset, "simulated"))
        }
        Mood::Refusing(class) => (Some(0), AttemptReport::failed(*class, "simulated")),
        Mood::Flaky { percent } if world.draw(*percent) => {
            (within(200), status(500, failed(FailureClass::Status)))
        }
        Mood::Flaky { .. } => (within(200), status(200, Outcome::Delivered)),
        Mood::Gone => (within(20), status(410, Outcome::Permanent { class: FailureClass::Gone })),
        Mood::Blocked => (Some(0), AttemptReport::failed(FailureClass::BlockedAddress, "simulated")),
    }
}
