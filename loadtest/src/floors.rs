//! The floors: what one delivery costs when nothing but an HTTP client is there. Each sends the same body to the same
//! receiver over kept-alive connections, one request at a time on each, from one event loop in a process of its own.

use crate::clock::{self, Watch};
use crate::error::{Error, Trying as _};
use crate::process::{Usage, as_float};
use crate::stamp;
use crate::wire::Client;
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Floor {
    /// Written by hand over a tokio socket: what the kernel and the runtime cost.
    Raw,
    /// hyper's `SendRequest` on connections of our own: what the figures of fanfare are held against.
    Hyper,
    /// hyper-util's pooled client.
    Pool,
    /// reqwest, where it is built in.
    Reqwest,
}

impl Floor {
    /// Those of this build.
    pub(crate) const ALL: &[Floor] = &[
        Floor::Raw,
        Floor::Hyper,
        Floor::Pool,
        #[cfg(feature = "reqwest")]
        Floor::Reqwest,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Floor::Raw => "raw",
            Floor::Hyper => "hyper",
            Floor::Pool => "pool",
            Floor::Reqwest => "reqwest",
        }
    }
}

/// How to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FloorOptions {
    pub(crate) floor: Floor,
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) body: String,
    /// Measured time, seconds, after a tenth of it unmeasured.
    pub(crate) seconds: f64,
    /// So many requests and no more.
    pub(crate) requests_max: u64,
    pub(crate) run: u16,
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FloorFigures {
    /// Measured requests.
    pub(crate) requests: u64,
    /// All requests, those before the measurement too.
    pub(crate) requests_all: u64,
    pub(crate) seconds: f64,
    /// The process's processor time for them, µs a request.
    pub(crate) cpu_us: f64,
}

/// Sends for as long as asked.
///
/// # Errors
/// When the receiver cannot be reached or answers other than 200.
pub(crate) fn run(options: FloorOptions) -> Result<FloorFigures, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .trying(|| "cannot start an event loop".into())?;
    LocalSet::new().block_on(&runtime, measure(options))
}

/// What the connections share.
struct Work {
    options: FloorOptions,
    body: Bytes,
    watch: Watch,
    sent: Cell<u64>,
    /// Processor time, clock and count when the unmeasured beginning ended.
    began: Cell<Option<(f64, f64, u64)>>,
}

impl Work {
    /// The next request's delivery id; `None` when there was enough.
    fn next(&self, id: &mut String) -> Option<()> {
        let seconds = self.watch.seconds();
        let warm_up = self.options.seconds / 10.0;
        let sent = self.sent.get();
        if self.began.get().is_none() && seconds >= warm_up {
            self.began.set(Some((Usage::own().cpu_s, seconds, sent)));
        }
        if seconds >= warm_up + self.options.seconds || sent >= self.options.requests_max {
            return None;
        }
        self.sent.set(sent + 1);
        stamp::write(id, self.options.run, clock::unix_us(), sent);
        Some(())
    }
}

async fn measure(options: FloorOptions) -> Result<FloorFigures, Error> {
    let connections = options.connections;
    let work = Rc::new(Work {
        body: Bytes::from(options.body.clone()),
        options,
        watch: Watch::start(),
        sent: Cell::new(0),
        began: Cell::new(None),
    });
    let mut loops = JoinSet::new();
    match work.options.floor {
        Floor::Raw => (0..connections).for_each(|_| drop(loops.spawn_local(raw(Rc::clone(&work))))),
        Floor::Hyper => (0..connections).for_each(|_| drop(loops.spawn_local(bare(Rc::clone(&work))))),
        Floor::Pool => {
            let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(connections)
                .build_http();
            for _ in 0..connections {
                loops.spawn_local(pooled(Rc::clone(&work), client.clone()));
            }
        }
        Floor::Reqwest => spawn_reqwest(&work, &mut loops)?,
    }
    while let Some(ended) = loops.join_next().await {
        ended
            .map_err(|error| Error::work(format!("a connection's task ended: {error}")))?
            .map_err(|text| Error::work(format!("the floor {} ended: {text}", work.options.floor.name())))?;
    }
    let (cpu_s, seconds, sent) = work.began.get().unwrap_or_default();
    let requests = work.sent.get() - sent;
    Ok(FloorFigures {
        requests,
        requests_all: work.sent.get(),
        seconds: work.watch.seconds() - seconds,
        cpu_us: (Usage::own().cpu_s - cpu_s) * 1e6 / as_float(requests.max(1)),
    })
}

fn checked(status: u16) -> Result<(), String> {
    if status == 200 { Ok(()) } else { Err(format!("the receiver answered {status}")) }
}

async fn raw(work: Rc<Work>) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut client = Client::connect(work.options.address).await.map_err(failed)?;
    let mut request = Vec::with_capacity(work.body.len() + 256);
    let mut id = String::new();
    while work.next(&mut id).is_some() {
        request.clear();
        let head = [
            "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nwebhook-id: ",
            &id,
            "\r\ncontent-length: ",
        ];
        head.iter().for_each(|part| request.extend_from_slice(part.as_bytes()));
        request.extend_from_slice(work.body.len().to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(&work.body);
        checked(client.exchange(&request).await.map_err(failed)?)?;
    }
    Ok(())
}

fn request(work: &Work, uri: &http::Uri, id: &str) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::new(work.body.clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(http::header::HOST, HeaderValue::from_static("127.0.0.1"));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-id", HeaderValue::from_str(id).map_err(|error| error.to_string())?);
    Ok(request)
}

async fn bare(work: Rc<Work>) -> Result<(), String> {
    let stream = TcpStream::connect(work.options.address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::task::spawn_local(connection);
    let uri = http::Uri::from_static("/");
    let mut id = String::new();
    while work.next(&mut id).is_some() {
        let request = request(&work, &uri, &id)?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        checked(status)?;
    }
    Ok(())
}

type Pool =
    hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>;

async fn pooled(work: Rc<Work>, client: Pool) -> Result<(), String> {
    let uri: http::Uri =
        format!("http://{}/", work.options.address).parse().map_err(|_| "no uri".to_owned())?;
    let mut id = String::new();
    while work.next(&mut id).is_some() {
        let answer = client.request(request(&work, &uri, &id)?).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        checked(status)?;
    }
    Ok(())
}

#[cfg(feature = "reqwest")]
fn spawn_reqwest(work: &Rc<Work>, loops: &mut JoinSet<Result<(), String>>) -> Result<(), Error> {
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(work.options.connections)
        .no_proxy()
        .build()
        .map_err(|error| Error::work(format!("reqwest cannot be used: {error}")))?;
    for _ in 0..work.options.connections {
        let (work, client) = (Rc::clone(work), client.clone());
        loops.spawn_local(async move {
            let url = format!("http://{}/", work.options.address);
            let mut id = String::new();
            while work.next(&mut id).is_some() {
                let request = client
                    .post(&url)
                    .header("content-type", "application/json")
                    .header("webhook-id", &id)
                    .body(work.body.clone());
                let answer = request.send().await.map_err(|error| error.to_string())?;
                let status = answer.status().as_u16();
                answer.bytes().await.map_err(|error| error.to_string())?;
                checked(status)?;
            }
            Ok(())
        });
    }
    Ok(())
}

#[cfg(not(feature = "reqwest"))]
fn spawn_reqwest(_: &Rc<Work>, _: &mut JoinSet<Result<(), String>>) -> Result<(), Error> {
    Err(Error::usage("reqwest is not in this build; build with the feature bench-reqwest"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::behaviour::Behaviour;
    use crate::receiver::{Protocol, ReceiverOptions};
    use std::sync::mpsc::sync_channel;

    #[test]
    fn every_floor_sends_what_it_says() {
        let options = ReceiverOptions {
            protocol: Protocol::Http1,
            tls: false,
            behaviour: Behaviour::default(),
            threads: 1,
            addresses: 1,
            check_every: 0,
            ids_max: 10_000,
        };
        let (sender, ready) = sync_channel(1);
        std::thread::spawn(move || {
            crate::receiver::run(&options, |ready| sender.send(ready.clone()).expect("the test waits"))
        });
        let ready = ready.recv().unwrap();
        let mut expected = 0;
        for (run, floor) in (1..).zip(Floor::ALL) {
            let figures = super::run(FloorOptions {
                floor: *floor,
                address: ready.address,
                connections: 3,
                body: "{}".into(),
                seconds: 60.0,
                requests_max: 200,
                run,
            });
            assert_eq!(figures.unwrap().requests_all, 200, "{}", floor.name());
            expected += 200;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let mut client = Client::connect(ready.control).await.unwrap();
            client.call("GET", "/stats", "", b"").await.unwrap()
        });
        let stats: crate::receiver::counts::Stats = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((stats.delivered, stats.repeated, stats.bytes), (expected, 0, expected * 2));
    }
}
