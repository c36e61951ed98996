//! The receiving server: HTTP/1.1 and cleartext HTTP/2, one event loop per thread.
//!
//! Cost per request beside hyper's own: two keyed hashes of the delivery id, one lock that is seldom contended, and
//! with a secret the body once through SHA-256 per signature. The answer allocates nothing. Without a secret, hook
//! bodies or `--bodies`, bytes of a body are counted and dropped as they come.

use super::tally::{Tally, as_float};
use crate::clock::SystemClock;
use crate::signature::{self, ReceiverSecret, Signatures, Verdict, WEBHOOK_ID};
use bytes::Bytes;
use fanfare_core::ports::Clock as _;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Largest body read, bytes; more is answered 413.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Accepted connections waiting for their thread; over it the listener waits.
const HANDOVER_MAX: usize = 256;
/// How long requests in flight may take to be answered once the receiver stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How the receiver answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Wait before each answer.
    pub(crate) delay: Duration,
    /// Share of requests failed, 0 to 1, spread evenly.
    pub(crate) fail_share: f64,
    /// Their status.
    pub(crate) fail_status: StatusCode,
    /// Resets every connection as soon as it is accepted.
    pub(crate) refuses: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            delay: Duration::ZERO,
            fail_share: 0.0,
            fail_status: StatusCode::INTERNAL_SERVER_ERROR,
            refuses: false,
        }
    }
}

impl Behaviour {
    /// Whether request `number` (from 1) is one of those to fail: after n requests, n × share have failed.
    fn fails(&self, number: u64) -> bool {
        let failed_after = |count: u64| (as_float(count) * self.fail_share).floor();
        failed_after(number) > failed_after(number.saturating_sub(1))
    }
}

/// How a receiver is set up.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverOptions {
    /// Secrets to check with; none: signatures are not checked.
    pub(crate) secrets: Vec<ReceiverSecret>,
    /// Name of the hub's signature header.
    pub(crate) hub_name: String,
    /// How far a timestamp may be off, seconds.
    pub(crate) tolerance_s: u64,
    /// How it answers.
    pub(crate) behaviour: Behaviour,
    /// Whether the hook needs bodies even when no signature is checked.
    pub(crate) reads_bodies: bool,
    /// Event loops.
    pub(crate) threads: usize,
}

/// One request, as the hook sees it before it is answered.
pub(crate) struct Seen<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// When its body had come, Unix ms.
    pub(crate) unix_ms: u64,
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
    /// Its body; empty when it was not read.
    pub(crate) body: &'a [u8],
    /// Bytes of its body.
    pub(crate) body_bytes: usize,
    /// What the check gave.
    pub(crate) verdict: &'a Verdict,
    /// What it will be answered.
    pub(crate) status: StatusCode,
}

impl Seen<'_> {
    /// A header's value when it is visible ASCII, else `-`.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .filter(|text| !text.is_empty())
            .unwrap_or("-")
    }
}

/// Called once per request, on the thread that answers it.
pub(crate) type Hook = Arc<dyn Fn(&Seen<'_>) + Send + Sync>;

struct Shared {
    options: ReceiverOptions,
    secrets: RwLock<Vec<ReceiverSecret>>,
    tally: Arc<Tally>,
    hook: Hook,
    clock: SystemClock,
}

/// A running receiver; stops when told or dropped, after it has answered what it counted.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Receiver {
    /// Starts serving on a bound, non-blocking listener.
    ///
    /// # Errors
    /// When an event loop or a thread cannot be had.
    pub(crate) fn start(
        listener: TcpListener,
        options: ReceiverOptions,
        hook: Hook,
        clock: SystemClock,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let secrets = RwLock::new(options.secrets.clone());
        let threads_count = options.threads.max(1);
        let shared = Arc::new(Shared { options, secrets, tally: Arc::default(), hook, clock });
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::with_capacity(threads_count + 1);
        let mut loops = Vec::with_capacity(threads_count);
        for index in 0..threads_count {
            let (sender, streams) = mpsc::channel(HANDOVER_MAX);
            loops.push(sender);
            let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
            threads.push(event_loop(format!("receive-{index}"), serve(streams, shared, stopped))?);
        }
        let refuses = shared.options.behaviour.refuses;
        threads.push(event_loop("receive-accept".into(), accept(listener, loops, refuses, stopped))?);
        Ok(Receiver { address, shared, stop, threads })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.shared.tally)
    }

    /// Checks with one more secret from now on.
    pub(crate) fn add_secret(&self, secret: ReceiverSecret) {
        self.shared.secrets.write().unwrap_or_else(PoisonError::into_inner).push(secret);
    }

    /// Stops and waits for its threads.
    pub(crate) fn stop(mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn event_loop(name: String, work: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name).spawn(move || runtime.block_on(work))
}

/// Hands connections to the event loops in turn, so that none gets them all.
async fn accept(
    listener: TcpListener,
    loops: Vec<mpsc::Sender<TcpStream>>,
    refuses: bool,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the receiver cannot listen"),
    };
    let mut turn = loops.iter().cycle();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors: connections end and free some. Without the pause this would spin.
                tracing::warn!(%error, "the receiver cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if refuses {
            // Closing with a zero linger sends a reset; if it cannot be set, the close alone refuses too.
            let _closed = stream.set_zero_linger();
            continue;
        }
        let _slower = stream.set_nodelay(true);
        let (Ok(stream), Some(next)) = (stream.into_std(), turn.next()) else { continue };
        if next.send(stream).await.is_err() {
            return;
        }
    }
}

async fn serve(
    mut streams: mpsc::Receiver<TcpStream>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).keep_alive(true);
    server.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => break,
            stream = streams.recv() => stream,
        };
        let Some(stream) = stream else { break };
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { continue };
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that breaks is the sender's business; it will try again.
            let _broken = connection.await;
        });
    }
    // What was counted is answered, so that its sender does not send it again.
    let _slow = tokio::time::timeout(CLOSE_TIMEOUT, graceful.shutdown()).await;
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let options = &shared.options;
    let is_checked = !shared.secrets.read().unwrap_or_else(PoisonError::into_inner).is_empty();
    let Some((bytes, body_bytes)) = read(body, is_checked || options.reads_bodies).await else {
        return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let now = shared.clock.now();
    let verdict = if is_checked {
        let signatures = Signatures::of(&head.headers, &options.hub_name);
        let secrets = shared.secrets.read().unwrap_or_else(PoisonError::into_inner);
        signature::check(&secrets, signatures, &bytes, now.unix_seconds(), options.tolerance_s).verdict()
    } else {
        Verdict::Unchecked
    };
    let tally = &shared.tally;
    if matches!(verdict, Verdict::NotVerified(_) | Verdict::Unsigned) {
        tally.count_bad_signature();
    }
    tally.count_id(head.headers.get(WEBHOOK_ID).map(http::HeaderValue::as_bytes));
    let number = tally.count_request();
    let status = if options.behaviour.fails(number) {
        tally.count_failed();
        options.behaviour.fail_status
    } else {
        StatusCode::OK
    };
    (shared.hook)(&Seen {
        number,
        unix_ms: now.unix_ms,
        headers: &head.headers,
        body: &bytes,
        body_bytes,
        verdict: &verdict,
        status,
    });
    if !options.behaviour.delay.is_zero() {
        tokio::time::sleep(options.behaviour.delay).await;
    }
    Ok(reply(status))
}

fn reply(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// The body and its size; the bytes only when they are needed. `None` when it is too large or breaks off.
async fn read(mut body: Incoming, keeps: bool) -> Option<(Bytes, usize)> {
    let mut count = 0_usize;
    let mut first = Bytes::new();
    let mut whole: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        count += data.len();
        if count > BODY_BYTES_MAX {
            return None;
        }
        if !keeps || data.is_empty() {
            continue;
        }
        // Nearly every body comes in one piece, which is then used as it is.
        if count == data.len() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    Some((if whole.is_empty() { first } else { whole.into() }, count))
}

#[cfg(test)]
mod tests;
