//! What an attempt through this crate costs, beside a bare hyper loop in the same run.
//!
//! `cargo run --release -p fanfare-egress --example throughput [rounds] [seconds per case]`
//!
//! 64 kept-alive HTTP/1.1 connections to a trivial receiver on loopback (a thread of its own), 1.2 KB bodies. CPU is
//! the client thread's own, user and system, from its scheduler statistics. Cases take turns, so that a slow minute of
//! the machine hits all alike; the medians are what to compare.

use bytes::Bytes;
use fanfare_core::Now;
use fanfare_core::delivery::Body;
use fanfare_core::outcome::Outcome;
use fanfare_core::ports::{AttemptRequest, Clock, Connection, Destination, Transport as _};
use fanfare_core::secret::Secret;
use fanfare_core::webhook::Protocol;
use fanfare_egress::{
    AddressGuard, HickoryResolver, HttpTransport, Network, Tls, TlsOptions, TransportOptions,
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

const CONNECTIONS: usize = 64;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// hyper alone with the four headers any delivery needs.
    Bare,
    /// hyper alone with all thirteen headers of a signed delivery.
    BareSameHeaders,
    /// This crate.
    Egress,
}

const CASES: [Case; 3] = [Case::Bare, Case::BareSameHeaders, Case::Egress];

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Now {
        Now { mono_ns: 0, unix_ms: 0 }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (rounds, seconds): (usize, u64) = (usize::try_from(number(5)).unwrap_or(5), number(2));
    let addr = start_receiver();
    let body = Bytes::from(vec![b'x'; 1210]);
    let mut results: Vec<(Case, f64, f64)> = Vec::new();
    for _round in 0..rounds {
        for case in CASES {
            let (rate, cpu_us) = measure(case, addr, &body, Duration::from_secs(seconds));
            println!("{case:?}: {rate:.0} requests/s, {cpu_us:.2} us of CPU each");
            results.push((case, rate, cpu_us));
        }
    }
    let median = |case, pick: fn(&(Case, f64, f64)) -> f64| {
        let mut values: Vec<f64> = results.iter().filter(|result| result.0 == case).map(pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!("medians of {rounds}:");
    for case in CASES {
        let (rate, cpu_us) = (median(case, |result| result.1), median(case, |result| result.2));
        let ratio = cpu_us / median(Case::Bare, |result| result.2);
        println!("{case:?}: {rate:.0} requests/s, {cpu_us:.2} us of CPU each, {ratio:.3} of bare");
    }
}

/// Reads heads by hand and answers with constant bytes.
fn start_receiver() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.set_nonblocking(true).expect("non-blocking mode");
    let addr = listener.local_addr().expect("a bound address");
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                socket.set_nodelay(true).expect("TCP_NODELAY");
                tokio::spawn(async move {
                    let mut buffer = bytes::BytesMut::with_capacity(16 * 1024);
                    let mut needed = None;
                    while matches!(socket.read_buf(&mut buffer).await, Ok(1..)) {
                        if needed.is_none() {
                            // Requests of one connection are alike: measured once, then only counted.
                            let head = buffer.windows(4).position(|window| window == b"\r\n\r\n");
                            needed = head.map(|end| end + 4 + 1210);
                        }
                        if needed.is_some_and(|needed| buffer.len() >= needed) {
                            buffer.clear();
                            if socket.write_all(ANSWER).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
    });
    addr
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// CPU time of this thread, nanoseconds.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("scheduler statistics (Linux)");
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number of nanoseconds")
}

fn measure(case: Case, addr: SocketAddr, body: &Bytes, time: Duration) -> (f64, f64) {
    let local = tokio::task::LocalSet::new();
    runtime().block_on(local.run_until(async {
        let count = Rc::new(Cell::new(0_u64));
        let is_over = Rc::new(Cell::new(false));
        let transport = transport();
        let mut tasks = Vec::new();
        for connection in 0..CONNECTIONS {
            let (count, is_over, body) = (Rc::clone(&count), Rc::clone(&is_over), body.clone());
            let connected = match case {
                Case::Egress => Some(connect(&transport, addr).await),
                _ => None,
            };
            tasks.push(tokio::task::spawn_local(async move {
                match connected {
                    Some(opened) => egress_loop(&*opened, connection, body, &count, &is_over).await,
                    None => {
                        bare_loop(case == Case::BareSameHeaders, addr, connection, body, &count, &is_over)
                            .await;
                    }
                }
            }));
        }
        // Warm-up: connections, caches, buffers.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (cpu_before, count_before, started) = (thread_cpu_ns(), count.get(), Instant::now());
        tokio::time::sleep(time).await;
        let cpu_ns = thread_cpu_ns() - cpu_before;
        let done = count.get() - count_before;
        let elapsed = started.elapsed();
        is_over.set(true);
        for task in tasks {
            task.await.expect("a loop that ends");
        }
        (done as f64 / elapsed.as_secs_f64(), cpu_ns as f64 / 1000.0 / done as f64)
    }))
}

fn transport() -> HttpTransport {
    HttpTransport::new(TransportOptions {
        clock: Arc::new(StoppedClock),
        guard: AddressGuard {
            allow: vec![Network::parse("127.0.0.0/8").expect("a network")],
            deny: Vec::new(),
        },
        resolver: Arc::new(HickoryResolver::from_system()),
        tls: Tls::new(&TlsOptions::default()).expect("the web's roots"),
        allow_http: true,
        connections_max: CONNECTIONS,
        user_agent_version: "0.1.0".to_owned(),
    })
}

async fn connect(transport: &HttpTransport, addr: SocketAddr) -> Box<dyn Connection> {
    let header = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
    let receiver = transport
        .receiver(&Destination {
            url: format!("http://{addr}/hook"),
            protocol: Protocol::Auto,
            headers: vec![
                header("x-hub-channel", "channel1"),
                header("x-hub-webhook", "webhook1"),
                header("authorization", "Bearer token"),
            ],
            hub_signature_name: Some("x-hub-signature-256".to_owned()),
        })
        .expect("a good destination");
    match receiver.connect().await {
        Ok(connection) => connection,
        Err(report) => panic!("{report:?}"),
    }
}

async fn egress_loop(
    opened: &dyn Connection,
    connection: usize,
    body: Bytes,
    count: &Cell<u64>,
    is_over: &Cell<bool>,
) {
    // Signatures are `signing`'s cost: here they are of the right length only.
    let hub = Bytes::from(vec![b'0'; 71]);
    let standard = Bytes::from(vec![b'0'; 47]);
    let mut number = 0_u64;
    while !is_over.get() {
        number += 1;
        let report = opened
            .send(AttemptRequest {
                delivery_id: Bytes::from(format!("{connection:08}{number:024}-webhook1")),
                timestamp_s: 1_700_000_000,
                event_name: "MESSAGE_RECEIVED",
                attempt_number: 1,
                hub_signature: Some(hub.clone()),
                standard_signature: Some(standard.clone()),
                body: Body::json(body.clone()),
            })
            .await;
        assert!(report.outcome == Outcome::Delivered, "{report:?}");
        assert!(opened.free_slots() == 1, "the connection must be kept");
        count.set(count.get() + 1);
    }
}

async fn bare_loop(
    has_all_headers: bool,
    addr: SocketAddr,
    connection: usize,
    body: Bytes,
    count: &Cell<u64>,
    is_over: &Cell<bool>,
) {
    let socket = tokio::net::TcpStream::connect(addr).await.expect("a connection");
    socket.set_nodelay(true).expect("TCP_NODELAY");
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a handshake");
    tokio::task::spawn_local(driver);
    let host = http::HeaderValue::from_str(&addr.to_string()).expect("a host");
    let (hub, standard) = ("0".repeat(71), "0".repeat(47));
    let mut number = 0_u64;
    while !is_over.get() {
        number += 1;
        let mut request = http::Request::post("/hook")
            .header("host", host.clone())
            .header("user-agent", http::HeaderValue::from_static("fanfare/0.1.0"))
            .header("content-type", http::HeaderValue::from_static("application/json"))
            .header("webhook-id", format!("{connection:08}{number:024}-webhook1"));
        if has_all_headers {
            request = request
                .header("webhook-timestamp", "1700000000")
                .header("webhook-signature", standard.as_str())
                .header("x-hub-event", "MESSAGE_RECEIVED")
                .header("x-hub-channel", "channel1")
                .header("x-hub-webhook", "webhook1")
                .header("x-hub-attempt", "1")
                .header("x-hub-signature-256", hub.as_str())
                .header("authorization", "Bearer token");
        }
        let request = request.body(Full::new(body.clone())).expect("a request");
        sender.ready().await.expect("a kept connection");
        let response = sender.send_request(request).await.expect("an answer");
        let is_success = response.status().is_success();
        response.into_body().collect().await.expect("a body");
        assert!(is_success);
        count.set(count.get() + 1);
    }
}
