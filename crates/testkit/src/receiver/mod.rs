//! A scripted receiver: a real server on loopback that records what it gets and answers as it is told, well or badly.
//!
//! How to drive it: [`ScriptedReceiver::start`], then [`push`](ScriptedReceiver::push) replies (used first, in order)
//! or set a [`script`](ScriptedReceiver::script) (used when none is pushed; at first it answers 200 with no body).
//! Hand [`url`](ScriptedReceiver::url) to what is tested, and read [`requests`](ScriptedReceiver::requests) or await
//! [`requests_at_least`](ScriptedReceiver::requests_at_least). Dropping it closes everything.
//!
//! It runs on a thread and a runtime of its own, so that a caller whose time is paused can use it: its own timers and
//! hang guards are real. Awaiting it works from any runtime.
//!
//! It is not: a proxy, a validator of requests, or fast. HTTP/1.1 is written out by hand, because most of what it must
//! do wrong no library lets one do; it reads bodies by `content-length` only. HTTP/2 is hyper's.
//!
//! ```
//! use fanfare_testkit::receiver::{Reply, ReceiverOptions, ScriptedReceiver};
//!
//! let receiver = ScriptedReceiver::start(ReceiverOptions::default());
//! receiver.push(Reply::status(500));
//! receiver.push(Reply::HalfBody);
//! receiver.script(|request| if request.path == "/slow" { Reply::NeverAnswer } else { Reply::ok("thanks") });
//! assert!(receiver.url("/hook").starts_with("http://127.0.0.1:"));
//! assert!(receiver.requests().is_empty());
//! ```

mod hostile;
mod http1;
mod http2;
mod script;
mod serve;
mod tls;

pub use hostile::{Attack, HostileReceiver, Tally};
pub use script::{Answer, Counts, Gate, Received, Reply, Spoken};

use crate::receiver::serve::Shared;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// No wait of a test takes longer unless something hangs.
const HANG_GUARD: Duration = Duration::from_secs(30);

/// What kind of server to be.
#[derive(Clone, Debug, Default)]
pub struct ReceiverOptions {
    /// HTTP versions it speaks: by ALPN with TLS, by the client's first bytes without.
    pub spoken: Spoken,
    /// `Some`: TLS, with a certificate for these names and addresses, signed by a new authority of its own.
    pub tls_names: Option<Vec<String>>,
    /// `SETTINGS_MAX_CONCURRENT_STREAMS` of HTTP/2; `None`: hyper's default.
    pub h2_streams_max: Option<u32>,
    /// With TLS: do not answer ALPN at all.
    pub ignores_alpn: bool,
}

impl ReceiverOptions {
    /// HTTP/1.1 with TLS, valid for `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn tls() -> Self {
        ReceiverOptions {
            tls_names: Some(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]),
            ..ReceiverOptions::default()
        }
    }

    /// HTTP/2 without TLS, by prior knowledge.
    #[must_use]
    pub fn h2() -> Self {
        ReceiverOptions { spoken: Spoken::Http2, ..ReceiverOptions::default() }
    }

    /// HTTP/2 with TLS.
    #[must_use]
    pub fn h2_tls() -> Self {
        ReceiverOptions { spoken: Spoken::Http2, ..ReceiverOptions::tls() }
    }
}

/// The running server. See the module's text.
#[derive(Debug)]
pub struct ScriptedReceiver {
    addr: SocketAddr,
    ca_pem: Option<String>,
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ScriptedReceiver {
    /// Binds a free port of 127.0.0.1 and serves from a new thread.
    ///
    /// # Panics
    /// When no socket, thread or certificate can be had.
    #[must_use]
    pub fn start(options: ReceiverOptions) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        listener.set_nonblocking(true).expect("non-blocking mode");
        let addr = listener.local_addr().expect("address of a bound socket");
        let tls = options.tls_names.as_ref().map(|names| tls::TlsSetup::new(names, &options));
        let ca_pem = tls.as_ref().map(|tls| tls.ca_pem.clone());
        let shared = Arc::new(Shared::new(options));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("scripted-receiver".to_owned())
            .spawn(move || {
                runtime.block_on(serve::accept_until(listener, tls, served, stopped));
                runtime.shutdown_background();
            })
            .expect("a thread");
        ScriptedReceiver { addr, ca_pem, shared, runtime: handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http(s)://127.0.0.1:<port><path>`; `path` begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.url_of("127.0.0.1", path)
    }

    /// The same with another host name, which the caller's resolver must map to 127.0.0.1.
    #[must_use]
    pub fn url_of(&self, host: &str, path: &str) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.addr.port())
    }

    /// Certificate of the authority behind its TLS, as PEM; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Adds a reply for one request, in front of the script.
    pub fn push(&self, reply: Reply) {
        self.shared.push(reply);
    }

    /// Sets what answers requests for which no reply was pushed.
    pub fn script(&self, script: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.shared.set_script(Arc::new(script));
    }

    /// Everything received so far, in the order of arrival (of the request's last byte; of its head for
    /// replies that act before the body).
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests()
    }

    /// Forgets the requests received, for runs too long to keep them.
    pub fn forget_requests(&self) {
        self.shared.forget_requests();
    }

    /// Counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Waits until `count` requests were received and returns them.
    ///
    /// # Panics
    /// When that does not happen: a hang guard of 30 s.
    pub async fn requests_at_least(&self, count: usize) -> Vec<Received> {
        self.until(move |counts| counts.requests >= count).await;
        self.requests()
    }

    /// Waits until the counters satisfy `is_met`.
    ///
    /// # Panics
    /// When that does not happen: a hang guard of 30 s, by the receiver's clock, not the caller's.
    pub async fn until(&self, is_met: impl Fn(Counts) -> bool + Send + Sync + 'static) {
        let shared = Arc::clone(&self.shared);
        // The wait runs over there, because the caller's time may be paused and would skip the guard at once.
        let waited = self
            .runtime
            .spawn(async move { tokio::time::timeout(HANG_GUARD, shared.until(is_met)).await.is_ok() })
            .await;
        assert!(matches!(waited, Ok(true)), "hung: the receiver stands at {:?}", self.counts());
    }
}

impl Drop for ScriptedReceiver {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only when the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            debug_assert!(ended.is_ok() || std::thread::panicking(), "the receiver's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    fn exchange(receiver: &ScriptedReceiver, request: &str) -> String {
        let mut socket = std::net::TcpStream::connect(receiver.addr()).unwrap();
        socket.set_read_timeout(Some(HANG_GUARD)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn it_records_what_it_gets_and_answers_as_told() {
        let receiver = ScriptedReceiver::start(ReceiverOptions::default());
        receiver.push(Reply::Answer(
            Answer::new(201).header("x-a", "b").header("connection", "close").body("hi"),
        ));
        let answer = exchange(&receiver, "POST /p?q HTTP/1.1\r\nX-One: 1\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(
            answer,
            "HTTP/1.1 201 Scripted\r\nx-a: b\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
        );
        let requests = receiver.requests_at_least(1).await;
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/p?q"));
        assert_eq!((requests[0].header("x-one"), &requests[0].body[..]), (Some("1"), &b"abc"[..]));
        receiver.until(|counts| counts.connections_open == 0).await;
        assert_eq!(receiver.counts().connections_accepted, 1);
    }

    #[test]
    fn the_script_answers_when_nothing_is_pushed() {
        let receiver = ScriptedReceiver::start(ReceiverOptions::default());
        receiver.script(|request| Reply::Raw(request.body.clone()));
        assert_eq!(exchange(&receiver, "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nraw!"), "raw!");
    }
}
