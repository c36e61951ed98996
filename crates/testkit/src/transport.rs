//! The Transport port scripted: every request is recorded and answered as the test says, without a socket.

use bytes::Bytes;
use fanfare_core::outcome::{AttemptReport, FailureClass, Outcome};
use fanfare_core::ports::{AttemptRequest, Connection, Destination, LocalFuture, Receiver, Transport};
use parking_lot::Mutex;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One request as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where to.
    pub url: String,
    /// All of it.
    pub request: AttemptRequest,
    /// On which connection, counted from 1 over the whole transport.
    pub connection: usize,
    /// When it began, as tokio's clock says.
    pub at: tokio::time::Instant,
}

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Such a status, after so long.
    Status(u16, Duration),
    /// 503 or 429 with a `Retry-After`.
    RetryAfter(u16, Duration),
    /// Fails so, after so long.
    Fail(FailureClass, Duration),
    /// Never.
    Never,
    /// The test's own bug: the attempt's task panics.
    Panic,
}

impl Answer {
    /// 200 at once.
    pub const OK: Answer = Answer::Status(200, Duration::ZERO);
}

type Script = Box<dyn FnMut(&Sent) -> Answer + Send>;

/// A transport whose receivers do what a script says.
pub struct ScriptedTransport {
    script: Mutex<Script>,
    sent: Mutex<Vec<Sent>>,
    connections: AtomicUsize,
    in_flight: Arc<AtomicUsize>,
    in_flight_max: AtomicUsize,
    panics_left: AtomicUsize,
}

impl ScriptedTransport {
    /// Answers each request as `script` says.
    pub fn new(script: impl FnMut(&Sent) -> Answer + Send + 'static) -> Arc<Self> {
        Arc::new(ScriptedTransport {
            script: Mutex::new(Box::new(script)),
            sent: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
            in_flight: Arc::new(AtomicUsize::new(0)),
            in_flight_max: AtomicUsize::new(0),
            panics_left: AtomicUsize::new(0),
        })
    }

    /// Makes the next so many preparations of a receiver panic, in the actor that asks for one.
    pub fn panic_next(&self, count: usize) {
        self.panics_left.store(count, Ordering::SeqCst);
    }

    /// From now on answers so.
    pub fn set(&self, script: impl FnMut(&Sent) -> Answer + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }

    /// Everything sent so far, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().clone()
    }

    /// The most requests that were under way at once.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        self.in_flight_max.load(Ordering::SeqCst)
    }

    /// Connections opened so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Lets [`Transport::receiver`] hand out receivers that know their transport.
pub struct SharedTransport(pub Arc<ScriptedTransport>);

impl Transport for SharedTransport {
    fn receiver(&self, destination: &Destination) -> Result<Arc<dyn Receiver>, String> {
        let takes_one = |left: usize| left.checked_sub(1);
        let panics = self.0.panics_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, takes_one);
        assert!(panics.is_err(), "scripted panic");
        Ok(Arc::new(ScriptedReceiver { transport: Arc::clone(&self.0), url: destination.url.clone() }))
    }
}

struct ScriptedReceiver {
    transport: Arc<ScriptedTransport>,
    url: String,
}

impl Receiver for ScriptedReceiver {
    fn connect(&self) -> LocalFuture<Result<Box<dyn Connection>, AttemptReport>> {
        let number = self.transport.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let connection = ScriptedConnection {
            transport: Arc::clone(&self.transport),
            url: self.url.clone(),
            number,
            is_busy: Rc::new(Cell::new(false)),
            is_open: Rc::new(Cell::new(true)),
        };
        Box::pin(async move { Ok(Box::new(connection) as Box<dyn Connection>) })
    }
}

struct ScriptedConnection {
    transport: Arc<ScriptedTransport>,
    url: String,
    number: usize,
    is_busy: Rc<Cell<bool>>,
    is_open: Rc<Cell<bool>>,
}

/// Marks a connection busy; a request that is abandoned closes it.
struct Busy {
    is_busy: Rc<Cell<bool>>,
    is_open: Rc<Cell<bool>>,
    in_flight: Arc<AtomicUsize>,
    is_done: bool,
}

impl Busy {
    fn done(&mut self) {
        self.is_done = true;
    }

    fn close(&mut self) {
        self.is_open.set(false);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_busy.set(false);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.is_done {
            self.is_open.set(false);
        }
    }
}

impl Connection for ScriptedConnection {
    fn free_slots(&self) -> usize {
        usize::from(self.is_open.get() && !self.is_busy.get())
    }

    fn is_open(&self) -> bool {
        self.is_open.get()
    }

    fn send(&self, request: AttemptRequest) -> LocalFuture<AttemptReport> {
        assert!(self.free_slots() > 0, "one request at a time");
        self.is_busy.set(true);
        let now = self.transport.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.transport.in_flight_max.fetch_max(now, Ordering::SeqCst);
        let mut busy = Busy {
            is_busy: Rc::clone(&self.is_busy),
            is_open: Rc::clone(&self.is_open),
            in_flight: Arc::clone(&self.transport.in_flight),
            is_done: false,
        };
        let sent =
            Sent { url: self.url.clone(), request, connection: self.number, at: tokio::time::Instant::now() };
        let answer = (self.transport.script.lock())(&sent);
        self.transport.sent.lock().push(sent);
        Box::pin(async move {
            let report = match answer {
                Answer::Status(status, wait) => {
                    tokio::time::sleep(wait).await;
                    answered(status, None)
                }
                Answer::RetryAfter(status, hint) => answered(status, Some(hint)),
                Answer::Fail(class, wait) => {
                    tokio::time::sleep(wait).await;
                    busy.close();
                    AttemptReport::failed(class, "scripted")
                }
                Answer::Never => std::future::pending().await,
                Answer::Panic => panic!("scripted panic"),
            };
            busy.done();
            report
        })
    }
}

fn answered(status: u16, not_before: Option<Duration>) -> AttemptReport {
    let outcome = match status {
        200..=299 => Outcome::Delivered,
        410 => Outcome::Permanent { class: FailureClass::Gone },
        429 | 503 => Outcome::Retryable { class: FailureClass::Throttled, not_before },
        _ => Outcome::Retryable { class: FailureClass::Status, not_before: None },
    };
    AttemptReport { outcome, status: Some(status), snippet: Bytes::new(), detail: None }
}
