//! A receiver that remembers every request: which delivery, which bytes, whether it was answered with success.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[derive(Default)]
struct Seen {
    /// By path and `webhook-id`.
    deliveries: HashMap<(String, String), Delivery>,
    changed: Vec<String>,
    repeats: Vec<(String, Instant)>,
    numbered_back: Vec<String>,
    is_away: bool,
}

struct Delivery {
    body: Bytes,
    attempt_number: u32,
    succeeded_at: Option<Instant>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
}

async fn answer(request: Request<Incoming>, seen: Arc<Mutex<Seen>>) -> Response<Full<Bytes>> {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let header =
        |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (id, attempt) = (header("webhook-id"), header("x-hub-attempt"));
    let Ok(body) = request.into_body().collect().await else { return Response::default() };
    let body = body.to_bytes();
    // Every fifth first attempt fails, and every third of those again: by id, so that it does not depend on timing.
    let number: u64 =
        id.bytes().skip(1).take_while(u8::is_ascii_digit).fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    let fails = name == "flaky"
        && ((attempt == "1" && number.is_multiple_of(5)) || (attempt == "2" && number.is_multiple_of(15)));
    let attempt_number: u32 = attempt.parse().unwrap_or_default();
    let mut seen = seen.lock().expect("not poisoned");
    let fails = fails || (name == "away" && seen.is_away);
    let now = Instant::now();
    let key = (name, id);
    let known =
        seen.deliveries.get(&key).map(|known| (known.body == body, known.attempt_number, known.succeeded_at));
    let number_before = known.map_or(1, |(_, number, _)| number);
    // The first attempt is number 1, and what an attempt came to is durable before the next begins.
    if attempt_number < number_before || (known.is_none() && attempt_number != 1) {
        seen.numbered_back.push(format!("{key:?} came as attempt {attempt_number} after {number_before}"));
    }
    if let Some((is_same, _, succeeded_at)) = known {
        if !is_same {
            seen.changed.push(format!("{key:?}"));
        }
        if let Some(at) = succeeded_at {
            seen.repeats.push((format!("{key:?}"), at));
        }
    }
    let delivery =
        seen.deliveries.entry(key).or_insert(Delivery { body, attempt_number, succeeded_at: None });
    delivery.attempt_number = attempt_number;
    if !fails {
        delivery.succeeded_at = Some(now);
    }
    let mut response = Response::default();
    if fails {
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

impl Receiver {
    pub(crate) fn start() -> Receiver {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let seen = Arc::clone(&seen);
                    async move { Ok::<_, Infallible>(answer(request, seen).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Receiver { address, seen, _runtime: runtime }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// From now on, or no longer, `away` fails every attempt.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.seen.lock().expect("not poisoned").is_away = is_away;
    }

    /// The deliveries at `name` that were answered with success, each as its event's id and, of a further body, its
    /// number: `E7`, `E7-1`.
    pub(crate) fn succeeded(&self, name: &str) -> HashSet<String> {
        let seen = self.seen.lock().expect("not poisoned");
        let done = seen.deliveries.iter().filter(|((path, _), d)| path == name && d.succeeded_at.is_some());
        done.map(|((_, id), _)| {
            let mut pieces = id.split('-');
            let (event, _webhook, part) = (pieces.next(), pieces.next(), pieces.next());
            event.into_iter().chain(part).collect::<Vec<_>>().join("-")
        })
        .collect()
    }

    /// Deliveries whose attempts were numbered backwards.
    pub(crate) fn numbered_back(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").numbered_back.clone()
    }

    /// Deliveries that came with other bytes the second time.
    pub(crate) fn changed_bodies(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").changed.clone()
    }

    /// Deliveries that came again after a success, and when that was.
    pub(crate) fn repeats(&self) -> Vec<(String, Instant)> {
        self.seen.lock().expect("not poisoned").repeats.clone()
    }
}
