//! Attempts over real sockets on loopback, against the scripted receiver.

mod cap;
mod connecting;
mod hostile;
mod http1;
mod http2;
mod tls;

use crate::{AddressGuard, HttpTransport, Network, Resolve, ResolveError, Tls, TlsOptions, TransportOptions};
use bytes::Bytes;
use fanfare_core::Now;
use fanfare_core::delivery::Body;
use fanfare_core::outcome::{AttemptReport, FailureClass, Outcome};
use fanfare_core::ports::{
    AttemptRequest, Clock, Connection, Destination, LocalFuture, Receiver, SendFuture, Transport as _,
};
use fanfare_core::secret::Secret;
use fanfare_core::webhook::Protocol;
use fanfare_testkit::receiver::{Answer, Gate, ReceiverOptions, Reply, ScriptedReceiver};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sun, 06 Nov 1994 08:49:37 GMT
const NOW_S: u64 = 784_111_777;
const HANG_GUARD: Duration = Duration::from_secs(60);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Now {
        Now { mono_ns: 0, unix_ms: NOW_S * 1000 }
    }
}

/// Answers every name with the next of its lists, the last one for ever; counts the calls.
#[derive(Default)]
struct ListedResolver {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl ListedResolver {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(ListedResolver {
            answers: Mutex::new(answers.iter().map(parse).collect()),
            ..Self::default()
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for ListedResolver {
    fn resolve(&self, host: &str) -> SendFuture<Result<Vec<IpAddr>, ResolveError>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { answer.ok_or(ResolveError::NotFound) })
    }
}

/// Runs on a current-thread runtime inside a `LocalSet`, as a worker does.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async { tokio::time::timeout(HANG_GUARD, test).await.expect("hung") }))
}

fn options() -> TransportOptions {
    let network = |text: &str| Network::parse(text).unwrap();
    TransportOptions {
        clock: Arc::new(FixedClock),
        guard: AddressGuard { allow: vec![network("127.0.0.0/8"), network("::1")], deny: Vec::new() },
        resolver: ListedResolver::new(&[&["127.0.0.1"]]),
        tls: Tls::new(&TlsOptions::default()).unwrap(),
        allow_http: true,
        connections_max: 100,
        user_agent_version: "9.9".to_owned(),
    }
}

/// A transport that trusts the receiver's own authority.
fn transport_for(receiver: &ScriptedReceiver) -> HttpTransport {
    let extra_ca_pem = receiver.ca_pem().map(ToOwned::to_owned).into_iter().collect();
    let tls = Tls::new(&TlsOptions { extra_ca_pem, ..TlsOptions::default() }).unwrap();
    HttpTransport::new(TransportOptions { tls, ..options() })
}

fn destination(url: &str, protocol: Protocol) -> Destination {
    let header = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
    Destination {
        url: url.to_owned(),
        protocol,
        headers: vec![
            header("x-hub-channel", "c1"),
            header("x-hub-webhook", "w1"),
            header("authorization", "Bearer t"),
        ],
        hub_signature_name: Some("x-hub-signature-256".to_owned()),
    }
}

fn prepare(transport: &HttpTransport, url: &str, protocol: Protocol) -> Arc<dyn Receiver> {
    transport.receiver(&destination(url, protocol)).unwrap()
}

async fn connect(receiver: &ScriptedReceiver, protocol: Protocol) -> Box<dyn Connection> {
    let connected = prepare(&transport_for(receiver), &receiver.url("/hook?a=b"), protocol).connect().await;
    connected.unwrap_or_else(|report| panic!("{report:?}"))
}

async fn refusal(transport: &HttpTransport, url: &str, protocol: Protocol) -> AttemptReport {
    prepare(transport, url, protocol).connect().await.err().expect("it must not connect")
}

fn request(body: impl Into<Bytes>) -> AttemptRequest {
    AttemptRequest {
        delivery_id: Bytes::from_static(b"e1-w1"),
        timestamp_s: NOW_S,
        event_name: "CONNECTED",
        attempt_number: 3,
        hub_signature: Some(Bytes::from_static(b"sha256=00")),
        standard_signature: Some(Bytes::from_static(b"v1,AA==")),
        body: Body::json(body.into()),
    }
}

fn send(connection: &dyn Connection) -> LocalFuture<AttemptReport> {
    connection.send(request("{}"))
}

fn class(report: &AttemptReport) -> Option<FailureClass> {
    match report.outcome {
        Outcome::Delivered => None,
        Outcome::Retryable { class, .. } | Outcome::Permanent { class } => Some(class),
    }
}

/// Lets other tasks of this thread run until `is_met`; sockets need real turns of the event loop for that.
async fn until(is_met: impl Fn() -> bool) {
    while !is_met() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
