//! The API on a socket: HTTP/1.1 and HTTP/2 (prior knowledge), every connection in bounds.

use crate::linger::LingeringBody;
use crate::starting::Starting;
use crate::state::{AdminLimits, AdminState};
use axum::body::Body;
use http::header::EXPECT;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Streams at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// How long to wait before accepting again when the system is out of something (file descriptors, as a rule).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API on `listener` until `shutdown` completes; then takes no new connections, lets calls in flight end
/// for at most [`AdminLimits::close_timeout`], and closes.
///
/// Cancellation: dropping the future closes everything at once.
///
/// # Errors
/// When the listener can accept nothing any more. Failures of single connections are not errors.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: impl Future) -> io::Result<()> {
    let limits = state.limits.clone();
    serve_starting(listener, limits, Starting::done(state), shutdown).await
}

/// The same for an engine that is still being started.
///
/// # Errors
/// Those of [`serve`].
pub async fn serve_starting(
    listener: TcpListener,
    limits: AdminLimits,
    starting: Starting,
    shutdown: impl Future,
) -> io::Result<()> {
    let builder = Arc::new(builder(&limits));
    let slots = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let slot = tokio::select! {
            biased;
            _ = &mut shutdown => break,
            slot = slots.clone().acquire_owned() => slot.expect("nobody closes the semaphore"),
        };
        let accepted = tokio::select! {
            biased;
            _ = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        // Ended connections are reaped here, so the set never holds more than the slots let live.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let connection =
                    drive(stream, builder.clone(), starting.router(), limits.idle_timeout, closing.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) if is_for_good(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Nobody listening means no connection is left.
    let _ = close.send(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.close_timeout, all_ended).await.is_err() {
        tracing::warn!("calls were still in flight when the server closed");
        connections.shutdown().await;
    }
    Ok(())
}

fn builder(limits: &AdminLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let header_bytes_max = limits.header_bytes_max.max(8192);
    builder
        .http1()
        .timer(TokioTimer::new())
        // Runs between two requests as well.
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.idle_timeout / 2)
        .keep_alive_timeout(limits.idle_timeout / 2);
    builder
}

/// Serves one connection to its end, closing it when it rests too long or `closing` says so.
async fn drive(
    stream: TcpStream,
    builder: Arc<Builder<TokioExecutor>>,
    app: axum::Router,
    idle_timeout: Duration,
    mut closing: watch::Receiver<bool>,
) {
    // An answer is one write: waiting for more to join it only delays it.
    let _ = stream.set_nodelay(true);
    let calls = Arc::new(Calls::default());
    let service = {
        let (app, calls) = (TowerToHyperService::new(app), calls.clone());
        service_fn(move |request: Request<Incoming>| {
            let in_flight = InFlight::begin(&calls);
            let answer = app.call(request.map_body());
            async move {
                let answer = answer.await;
                drop(in_flight);
                answer
            }
        })
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut seen = calls.begun();
    loop {
        let rest = tokio::time::sleep(idle_timeout);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            _ = closing.wait_for(|is_closing| *is_closing) => break,
            () = rest => {
                // Bytes that never become a request (a stalled HTTP/2 preface) rest as silence does.
                let begun = calls.begun();
                if begun == seen && calls.in_flight() == 0 {
                    break;
                }
                seen = begun;
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    // What was answered may still be on its way to a slow reader: it gets as long as a connection may rest. When the
    // server closes, the caller says how long all of this may take.
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(idle_timeout) => {
                if calls.in_flight() == 0 {
                    return;
                }
            }
        }
    }
}

/// Calls of one connection.
#[derive(Default)]
struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Calls {
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    fn in_flight(&self) -> u64 {
        self.begun().saturating_sub(self.ended.load(Ordering::Acquire))
    }
}

/// One call; dropped, it has ended, also when its connection broke.
struct InFlight(Arc<Calls>);

impl InFlight {
    fn begin(calls: &Arc<Calls>) -> Self {
        calls.begun.fetch_add(1, Ordering::AcqRel);
        InFlight(calls.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

trait MapBody {
    fn map_body(self) -> Request<Body>;
}

impl MapBody for Request<Incoming> {
    /// HTTP/2 can end a stream without breaking the connection; a client that waits for `100 Continue` has sent
    /// nothing. Both need no reading on.
    fn map_body(self) -> Request<Body> {
        let lingers = self.version() < Version::HTTP_2 && !self.headers().contains_key(EXPECT);
        self.map(|body| if lingers { Body::new(LingeringBody::new(body)) } else { Body::new(body) })
    }
}

/// The client gave up between its handshake and our accept.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The socket itself is no longer one that listens.
fn is_for_good(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotConnected, Unsupported};
    matches!(error.kind(), InvalidInput | NotConnected | Unsupported)
}
