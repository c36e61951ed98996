//! A connection that takes many requests at a time.

use super::{HEAD_READ_BYTES_MAX, read_answer, refused};
use crate::cap::{Cap, Member};
use crate::classify::{self, Circumstances};
use crate::request::Template;
use crate::socket::{Meter, Socket};
use bytes::Bytes;
use fanfare_core::limits::{ANSWER_BODY_BYTES_MAX, ANSWER_HEAD_BYTES_MAX};
use fanfare_core::outcome::{AttemptReport, FailureClass};
use fanfare_core::ports::{AttemptRequest, Clock, Connection, LocalFuture};
use http::HeaderMap;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::task::AbortHandle;

/// Requests in flight on one connection, whatever the receiver allows.
const STREAMS_MAX: usize = 100;
/// Flow-control window of one stream: one body's bound and a frame, since nothing beyond is read.
const STREAM_WINDOW_BYTES: u32 = (ANSWER_BODY_BYTES_MAX + 16 * 1024) as u32;
/// Window of the connection: several streams' worth, so that one slow reader of ours does not stop the rest.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What a receiver may send between two signs of progress (a request begun, a head come, a request ended): per request
/// in flight, and for the connection itself.
const READ_BYTES_MAX: u64 = HEAD_READ_BYTES_MAX + STREAM_WINDOW_BYTES as u64;

type Driver = http2::Connection<TokioIo<Socket>, Full<Bytes>, LocalExecutor>;

/// Spawns hyper's tasks on this thread. The first is the one that owns the socket; the others end by themselves once it
/// is gone.
#[derive(Clone, Default)]
struct LocalExecutor(Rc<OnceCell<AbortHandle>>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        let task = tokio::task::spawn_local(task);
        self.0.get_or_init(|| task.abort_handle());
    }
}

struct Shared {
    sender: RefCell<http2::SendRequest<Full<Bytes>>>,
    /// Shared with the task that polls it, to be asked for the receiver's stream limit. `None` once it has ended: it
    /// holds the other end of `sender`.
    driver: Rc<RefCell<Option<Driver>>>,
    driver_task: AbortHandle,
    socket_task: LocalExecutor,
    member: Member,
    in_flight: Cell<usize>,
    /// Nothing came while a request waited in vain: no other is sent after it.
    is_silent: Cell<bool>,
    is_closed: Cell<bool>,
    is_reused: Cell<bool>,
    meter: Rc<Meter>,
    template: Template,
    clock: Arc<dyn Clock>,
}

impl Shared {
    fn close(&self) {
        self.is_closed.set(true);
        self.driver_task.abort();
        if let Some(task) = self.socket_task.0.get() {
            task.abort();
        }
    }

    /// Renews what the receiver may send until the next sign of progress.
    fn note_progress(&self) {
        self.meter.allow(READ_BYTES_MAX.saturating_mul(self.in_flight.get() as u64 + 1));
    }

    fn can_take_requests(&self) -> bool {
        !self.is_closed.get()
            && !self.is_silent.get()
            && !self.member.is_closing()
            && !self.sender.borrow().is_closed()
    }

    /// Requests it takes at a time, as the receiver has it now.
    fn streams_max(&self) -> usize {
        let allowed = self.driver.borrow().as_ref().map_or(0, Driver::current_max_send_streams);
        allowed.min(STREAMS_MAX)
    }

    fn free_slots(&self) -> usize {
        if self.can_take_requests() { self.streams_max().saturating_sub(self.in_flight.get()) } else { 0 }
    }
}

/// One HTTP/2 connection. Dropping it aborts the tasks that own the socket.
///
/// A request that its owner gave up on resets its stream; when nothing at all was read meanwhile, the connection takes
/// no other, and is closed with the last one in flight.
///
/// A body cut off at its bound resets its stream; unlike on HTTP/1.1 the connection goes on, since others use it.
pub(crate) struct Http2Connection(Rc<Shared>);

impl Http2Connection {
    /// Puts HTTP/2 on an open socket and waits for the receiver's first frame, which carries its settings: what does
    /// not speak HTTP/2 is found here, and the number of streams it takes is known from the start. Must run inside a
    /// `LocalSet`.
    pub(crate) async fn open(
        socket: Socket,
        meter: Rc<Meter>,
        template: Template,
        clock: Arc<dyn Clock>,
        cap: &Arc<Cap>,
    ) -> Result<Self, AttemptReport> {
        let executor = LocalExecutor::default();
        meter.allow(READ_BYTES_MAX);
        // Frame sizes, pending resets and the rest stay at h2's defaults, which are bounded.
        let (sender, driver) = http2::Builder::new(executor.clone())
            .adaptive_window(false)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_max_send_streams(STREAMS_MAX)
            .max_header_list_size(ANSWER_HEAD_BYTES_MAX as u32)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| classify::of_broken(&error, Circumstances::default()))?;
        let driver = Rc::new(RefCell::new(Some(driver)));
        let driver_task = tokio::task::spawn_local({
            let driver = Rc::clone(&driver);
            async move {
                poll_fn(|cx| match driver.borrow_mut().as_mut() {
                    // What broke it is told to the requests in flight.
                    Some(driver) => Pin::new(driver).poll(cx).map(|_ended| ()),
                    None => Poll::Ready(()),
                })
                .await;
                drop(driver.borrow_mut().take());
            }
        });
        let driver_task = driver_task.abort_handle();
        // The first of hyper's own tasks owns the socket; spawned in the handshake.
        let owner = executor.0.get().unwrap_or(&driver_task).clone();
        let connection = Http2Connection(Rc::new(Shared {
            sender: RefCell::new(sender),
            driver,
            member: cap.join(owner, Some(driver_task.clone())),
            driver_task,
            socket_task: executor,
            in_flight: Cell::new(0),
            is_silent: Cell::new(false),
            is_closed: Cell::new(false),
            is_reused: Cell::new(false),
            meter,
            template,
            clock,
        }));
        let has_answered = connection.0.meter.first_byte().await;
        // What was read has been handled by the time we run again; its end, if it ended, is told one turn later.
        tokio::task::yield_now().await;
        if !has_answered {
            return Err(AttemptReport::failed(
                FailureClass::Reset,
                "connection was closed before HTTP/2 began",
            ));
        }
        if !connection.0.can_take_requests() {
            return Err(AttemptReport::failed(FailureClass::Protocol, "the receiver does not speak HTTP/2"));
        }
        if connection.0.free_slots() == 0 {
            return Err(AttemptReport::failed(FailureClass::Protocol, "the receiver takes no requests"));
        }
        Ok(connection)
    }
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A request's place among those in flight.
struct Slot {
    shared: Rc<Shared>,
    read_before: u64,
    timestamp_s: u64,
    /// Answered or failed; else its owner gave up waiting.
    has_ended: Cell<bool>,
}

impl Slot {
    /// `None`: the connection was closed for another's sake in this very moment.
    fn take(shared: &Rc<Shared>, timestamp_s: u64) -> Option<Self> {
        if shared.in_flight.get() == 0 && !shared.member.begin() {
            return None;
        }
        shared.in_flight.set(shared.in_flight.get() + 1);
        shared.note_progress();
        Some(Slot {
            shared: Rc::clone(shared),
            read_before: shared.meter.read_bytes(),
            timestamp_s,
            has_ended: Cell::new(false),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.in_flight.set(shared.in_flight.get() - 1);
        shared.note_progress();
        // Given up on, and not one frame came in all that time: the receiver is gone without a word, or does not read.
        // Others on the same connection would only wait as long.
        if !self.has_ended.get() && shared.meter.read_bytes() == self.read_before {
            shared.is_silent.set(true);
        }
        if shared.in_flight.get() == 0 && (shared.is_silent.get() || !shared.member.rest(self.timestamp_s)) {
            shared.close();
        }
    }
}

impl Connection for Http2Connection {
    fn free_slots(&self) -> usize {
        self.0.free_slots()
    }

    fn is_open(&self) -> bool {
        // After a GOAWAY what is in flight may still end: until then the owner must not drop us. One that has come to
        // take no streams at all is of no use to anyone.
        !self.0.is_closed.get()
            && (self.0.in_flight.get() > 0 || self.0.can_take_requests() && self.0.streams_max() > 0)
    }

    fn send(&self, request: AttemptRequest) -> LocalFuture<AttemptReport> {
        let shared = &self.0;
        let timestamp_s = request.timestamp_s;
        let request = match shared.template.request(request, HeaderMap::new()) {
            Ok(request) => request,
            Err(reason) => return refused(FailureClass::Internal, reason),
        };
        let is_reused = shared.is_reused.get();
        let closed = || {
            let class = if is_reused { FailureClass::StaleConnection } else { FailureClass::Reset };
            refused(class, "connection was closed before the request")
        };
        if !shared.can_take_requests() {
            return closed();
        }
        if shared.free_slots() == 0 {
            return refused(FailureClass::Internal, "connection has no free slot");
        }
        let Some(slot) = Slot::take(shared, timestamp_s) else { return closed() };
        let sent = shared.sender.borrow_mut().send_request(request);
        Box::pin(async move {
            let shared = &slot.shared;
            let circumstances = |is_answer_begun| Circumstances {
                is_reused,
                is_answer_begun,
                is_over_bounds: shared.meter.is_over(),
            };
            let response = match sent.await {
                Ok(response) => response,
                Err(error) => {
                    slot.has_ended.set(true);
                    return classify::of_broken(&error, circumstances(false));
                }
            };
            shared.note_progress();
            let answered = read_answer(response, shared.clock.as_ref(), circumstances(true)).await;
            shared.is_reused.set(true);
            slot.has_ended.set(true);
            answered.report
        })
    }
}
