//! One attempt: a connection of the webhook's own, one request, one report.
//!
//! Expected cost of an attempt here, beside the transport's: one task and one boxed future, one timer, no lock.

use crate::inbox::Inbox;
use crate::worker::WorkerShared;
use fanfare_core::Now;
use fanfare_core::outcome::{AttemptReport, FailureClass, Outcome};
use fanfare_core::policy::delivery::Slot;
use fanfare_core::ports::{AttemptRequest, Connection, Receiver};
use fanfare_core::webhook::Protocol;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// An attempt that ended, as it reaches the actor.
#[derive(Debug)]
pub(crate) struct AttemptEnd {
    pub(crate) slot: Slot,
    pub(crate) report: AttemptReport,
    pub(crate) started_ms: u64,
    pub(crate) duration_ms: u32,
}

/// The connections of one webhook. Bounded by `maxInFlight`: one is opened only for an attempt that finds none free.
pub(crate) struct Connections {
    receiver: Arc<dyn Receiver>,
    open: RefCell<Vec<Rc<dyn Connection>>>,
    /// Serialises opening while it is not known whether one connection carries many requests.
    opening: tokio::sync::Mutex<()>,
    may_multiplex: Cell<bool>,
}

impl Connections {
    pub(crate) fn new(receiver: Arc<dyn Receiver>, protocol: Protocol, is_tls: bool) -> Rc<Self> {
        let may_multiplex = match protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => is_tls,
        };
        Rc::new(Connections {
            receiver,
            open: RefCell::new(Vec::new()),
            opening: tokio::sync::Mutex::new(()),
            may_multiplex: Cell::new(may_multiplex),
        })
    }

    /// Closes what is idle.
    pub(crate) fn close_idle(&self) {
        self.open.borrow_mut().clear();
    }

    /// The connection used last is tried first: it is the least likely to have gone stale.
    fn free(&self) -> Option<Rc<dyn Connection>> {
        let mut open = self.open.borrow_mut();
        if let Some(connection) = open.iter().rev().find(|c| c.free_slots() > 0) {
            return Some(Rc::clone(connection));
        }
        open.retain(|connection| connection.is_open());
        None
    }

    async fn connect(&self) -> Result<Rc<dyn Connection>, AttemptReport> {
        let connection: Rc<dyn Connection> = Rc::from(self.receiver.connect().await?);
        if self.may_multiplex.get() && connection.free_slots() <= 1 {
            self.may_multiplex.set(false);
        }
        self.open.borrow_mut().push(Rc::clone(&connection));
        Ok(connection)
    }

    async fn get(&self, is_new: bool) -> Result<Rc<dyn Connection>, AttemptReport> {
        if !is_new && let Some(connection) = self.free() {
            return Ok(connection);
        }
        if !self.may_multiplex.get() {
            return self.connect().await;
        }
        let _turn = self.opening.lock().await;
        match self.free() {
            Some(connection) if !is_new => Ok(connection),
            _ => self.connect().await,
        }
    }

    async fn send(&self, request: AttemptRequest) -> AttemptReport {
        let connection = match self.get(false).await {
            Ok(connection) => connection,
            Err(report) => return report,
        };
        let report = connection.send(request.clone()).await;
        if !is_stale(&report) {
            return report;
        }
        // The receiver closed a kept connection before a byte of its answer: made again at once on a new one, and not
        // counted as an attempt of its own (product.md section 6). Once: a second time it is a failure like any other.
        drop(connection);
        let report = match self.get(true).await {
            Ok(connection) => connection.send(request).await,
            Err(report) => report,
        };
        if is_stale(&report) {
            AttemptReport::failed(FailureClass::Reset, "connection closed twice")
        } else {
            report
        }
    }
}

fn is_stale(report: &AttemptReport) -> bool {
    matches!(report.outcome, Outcome::Retryable { class: FailureClass::StaleConnection, .. })
}

/// Reports even if the attempt panics or is dropped, so that no delivery is ever in flight for good.
struct Guard {
    inbox: Rc<Inbox>,
    worker: Rc<WorkerShared>,
    slot: Slot,
    started_ms: u64,
    is_reported: bool,
}

impl Guard {
    fn report(&mut self, report: AttemptReport, duration_ms: u32) {
        self.is_reported = true;
        self.worker.metrics.in_flight.sub(1);
        let end = AttemptEnd { slot: self.slot, report, started_ms: self.started_ms, duration_ms };
        self.inbox.push_end(end);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_reported {
            self.report(AttemptReport::failed(FailureClass::Internal, "the attempt broke off"), 0);
        }
    }
}

/// An attempt about to begin.
pub(crate) struct Attempt {
    pub(crate) connections: Rc<Connections>,
    pub(crate) request: AttemptRequest,
    pub(crate) timeout: Duration,
    pub(crate) slot: Slot,
    pub(crate) started: Now,
    pub(crate) inbox: Rc<Inbox>,
    pub(crate) worker: Rc<WorkerShared>,
}

/// Begins an attempt on this event loop; its report comes into the inbox, soon after `timeout` at the latest.
pub(crate) fn begin(attempt: Attempt) {
    attempt.worker.metrics.in_flight.add(1);
    attempt.worker.metrics.attempts.add(1);
    tokio::task::spawn_local(run(attempt));
}

async fn run(attempt: Attempt) {
    let Attempt { connections, request, timeout, slot, started, inbox, worker } = attempt;
    let mut guard = Guard { inbox, worker, slot, started_ms: started.unix_ms, is_reported: false };
    let (report, duration_ms) = timed(&connections, request, timeout, started, &guard.worker).await;
    guard.report(report, duration_ms);
}

/// An attempt that no delivery stands behind.
pub(crate) async fn once(
    connections: &Connections,
    request: AttemptRequest,
    timeout: Duration,
    started: Now,
    worker: &WorkerShared,
) -> (AttemptReport, u32) {
    worker.metrics.attempts.add(1);
    timed(connections, request, timeout, started, worker).await
}

async fn timed(
    connections: &Connections,
    request: AttemptRequest,
    timeout: Duration,
    started: Now,
    worker: &WorkerShared,
) -> (AttemptReport, u32) {
    let report = {
        let mut sending = pin!(connections.send(request));
        match tokio::time::timeout(timeout, sending.as_mut()).await {
            Ok(report) => report,
            Err(_) => {
                // A thousand that began together time out together. What each costs, a connection to close and an
                // outcome to keep, must not stand before the answers that others have got meanwhile.
                let _turn = worker.timeout_turns.acquire().await;
                tokio::task::yield_now().await;
                AttemptReport::failed(
                    FailureClass::Timeout,
                    format!("no complete answer within {} ms", timeout.as_millis()),
                )
            }
        }
    };
    let took_ns = worker.clock.now().mono_ns.saturating_sub(started.mono_ns);
    (report, u32::try_from(took_ns / 1_000_000).unwrap_or(u32::MAX))
}
