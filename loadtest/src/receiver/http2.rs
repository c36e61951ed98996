//! The receiver's HTTP/2, by hyper.

use super::Thread;
use super::check::Carried;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Streams of one connection at once; more than any webhook has in flight.
const STREAMS_MAX: u32 = 1024;

fn carried(headers: &HeaderMap) -> Carried<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Carried {
        webhook: text("x-hub-webhook").unwrap_or_default(),
        id: text("webhook-id").unwrap_or_default(),
        timestamp: text("webhook-timestamp").unwrap_or_default(),
        hub: text("x-hub-signature-256"),
        standard: text("webhook-signature"),
    }
}

async fn answer(request: Request<Incoming>, thread: Arc<Thread>) -> io::Result<Response<Empty<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let reply = thread.arrive(&carried(&head.headers), &body);
    let Some(status) = reply.status else { std::future::pending().await };
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    Response::builder().status(status).body(Empty::new()).map_err(io::Error::other)
}

/// Serves a connection until its other side closes it.
///
/// # Errors
/// When it breaks, or does not speak HTTP/2.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    thread: Arc<Thread>,
) -> io::Result<()> {
    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&thread)));
    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server.max_concurrent_streams(STREAMS_MAX);
    server.serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}
