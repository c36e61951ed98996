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
}

struct Delivery {
    body: Bytes,
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
    let mut seen = seen.lock().expect("not poisoned");
    let now = Instant::now();
    let key = (name, id);
    let known = seen.deliveries.get(&key).map(|known| (known.body == body, known.succeeded_at));
    if let Some((is_same, succeeded_at)) = known {
        if !is_same {
            seen.changed.push(format!("{key:?}"));
        }
        if let Some(at) = succeeded_at {
            seen.repeats.push((format!("{key:?}"), at));
        }
    }
    let delivery = seen.deliveries.entry(key).or_insert(Delivery { body, succeeded_at: None });
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

    /// Ids of events whose delivery at `name` was answered with success.
    pub(crate) fn succeeded(&self, name: &str) -> HashSet<String> {
        let seen = self.seen.lock().expect("not poisoned");
        let done = seen.deliveries.iter().filter(|((path, _), d)| path == name && d.succeeded_at.is_some());
        done.filter_map(|((_, id), _)| id.split_once('-').map(|(event, _)| event.to_owned())).collect()
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
