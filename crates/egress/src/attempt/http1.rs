//! A connection that takes one request at a time.

use super::{HEAD_READ_BYTES_MAX, read_answer, refused};
use crate::cap::{Cap, Member};
use crate::classify::{self, Circumstances};
use crate::request::Template;
use crate::socket::{Meter, Socket};
use bytes::Bytes;
use fanfare_core::limits::ANSWER_HEAD_BYTES_MAX;
use fanfare_core::outcome::{AttemptReport, FailureClass};
use fanfare_core::ports::{AttemptRequest, Clock, Connection, LocalFuture};
use http::HeaderMap;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::AbortHandle;

/// How long a finished answer waits for the connection to come to rest. It nearly always has by then; it has not when
/// the receiver answered before it took the whole request, and then the connection is not worth more waiting.
const REST_WAIT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Busy,
    Closed,
}

struct Shared {
    sender: RefCell<http1::SendRequest<Full<Bytes>>>,
    /// The task that owns the socket.
    driver: AbortHandle,
    member: Member,
    state: Cell<State>,
    is_reused: Cell<bool>,
    meter: Rc<Meter>,
    template: Template,
    /// The map of the last request's headers, empty.
    spare: Cell<HeaderMap>,
    clock: Arc<dyn Clock>,
}

impl Shared {
    fn close(&self) {
        self.state.set(State::Closed);
        self.driver.abort();
    }

    /// Whether the next request can be sent, waiting a little for the connection to come to rest.
    async fn is_rested(&self) -> bool {
        let rest = || poll_fn(|cx| self.sender.borrow_mut().poll_ready(cx));
        // Nearly always at once, without the cost of a timer.
        if let Poll::Ready(rested) = poll_fn(|cx| Poll::Ready(self.sender.borrow_mut().poll_ready(cx))).await
        {
            return rested.is_ok();
        }
        matches!(tokio::time::timeout(REST_WAIT, rest()).await, Ok(Ok(())))
    }
}

/// One HTTP/1.1 connection. Dropping it aborts the task that owns the socket.
pub(crate) struct Http1Connection(Rc<Shared>);

impl Http1Connection {
    /// Puts HTTP/1.1 on an open socket. Must run inside a `LocalSet`.
    pub(crate) async fn open(
        socket: Socket,
        meter: Rc<Meter>,
        template: Template,
        clock: Arc<dyn Clock>,
        cap: &Arc<Cap>,
    ) -> Result<Self, AttemptReport> {
        // The number of header lines stays at hyper's 100, which live on the stack; any other limit would cost an
        // allocation per answer.
        let (sender, connection) = http1::Builder::new()
            .max_header_size(ANSWER_HEAD_BYTES_MAX)
            .max_buf_size(ANSWER_HEAD_BYTES_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| classify::of_broken(&error, Circumstances::default()))?;
        let driver = tokio::task::spawn_local(async move {
            // What broke it is told to the request in flight; an idle connection just ends.
            let _ = connection.await;
        });
        let shared = Shared {
            sender: RefCell::new(sender),
            driver: driver.abort_handle(),
            member: cap.join(driver.abort_handle(), None),
            state: Cell::new(State::Idle),
            is_reused: Cell::new(false),
            meter,
            template,
            spare: Cell::default(),
            clock,
        };
        let connection = Http1Connection(Rc::new(shared));
        // So that `free_slots` is right from the start.
        let rested = poll_fn(|cx| connection.0.sender.borrow_mut().poll_ready(cx)).await;
        rested.map_err(|error| classify::of_broken(&error, Circumstances::default()))?;
        Ok(connection)
    }
}

impl Drop for Http1Connection {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Closes the connection when a request is abandoned: what is left of its answer would be taken for the next one's.
struct InFlight {
    shared: Rc<Shared>,
    timestamp_s: u64,
}

impl InFlight {
    fn end(&self, can_go_on: bool) {
        if self.shared.state.get() != State::Busy {
            return;
        }
        if can_go_on && self.shared.member.rest(self.timestamp_s) {
            self.shared.state.set(State::Idle);
        } else {
            self.shared.close();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.shared.state.get() == State::Busy {
            self.shared.close();
        }
    }
}

impl Connection for Http1Connection {
    fn free_slots(&self) -> usize {
        let is_idle = self.0.state.get() == State::Idle && !self.0.member.is_closing();
        usize::from(is_idle && self.0.sender.borrow().is_ready())
    }

    fn is_open(&self) -> bool {
        self.0.state.get() != State::Closed
            && !self.0.member.is_closing()
            && !self.0.sender.borrow().is_closed()
    }

    /// Expected cost beside hyper's own: the boxed future, and what [`Template::request`] and `read_answer` say.
    /// Counted (`examples/throughput.rs`, calls of the allocator): 16 allocations an attempt, hyper's and the caller's
    /// included, as many as a bare hyper loop makes that builds four headers.
    fn send(&self, request: AttemptRequest) -> LocalFuture<AttemptReport> {
        let shared = &self.0;
        if shared.state.get() == State::Busy {
            return refused(FailureClass::Internal, "connection has no free slot");
        }
        let timestamp_s = request.timestamp_s;
        let request = match shared.template.request(request, shared.spare.take()) {
            Ok(request) => request,
            Err(reason) => return refused(FailureClass::Internal, reason),
        };
        let is_reused = shared.is_reused.get();
        // Also when it was closed for another's sake in this very moment: no byte was sent, so it is as stale as any.
        if !self.is_open() || !shared.member.begin() {
            let class = if is_reused { FailureClass::StaleConnection } else { FailureClass::Reset };
            shared.close();
            return refused(class, "connection was closed before the request");
        }
        // Taken now, not when first polled: `free_slots` must tell the truth right after this call.
        shared.state.set(State::Busy);
        let read_before = shared.meter.read_bytes();
        shared.meter.allow(HEAD_READ_BYTES_MAX);
        let sent = shared.sender.borrow_mut().send_request(request);
        let in_flight = InFlight { shared: Rc::clone(shared), timestamp_s };
        Box::pin(async move {
            let shared = &in_flight.shared;
            let response = match sent.await {
                Ok(response) => response,
                Err(error) => {
                    let circumstances = Circumstances {
                        is_reused,
                        is_answer_begun: shared.meter.read_bytes() > read_before,
                        is_over_bounds: shared.meter.is_over(),
                    };
                    in_flight.end(false);
                    return classify::of_broken(&error, circumstances);
                }
            };
            // From here on the body is read as fast as we ask for it, and no further.
            shared.meter.allow_all();
            let answered = read_answer(response, shared.clock.as_ref(), Circumstances::default()).await;
            shared.is_reused.set(true);
            shared.spare.set(answered.spare);
            let can_go_on = answered.is_whole && shared.is_rested().await;
            in_flight.end(can_go_on);
            answered.report
        })
    }
}
