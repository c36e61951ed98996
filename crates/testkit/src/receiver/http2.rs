//! HTTP/2, by hyper's server.

use super::serve::{Opened, Shared};
use super::{Answer, Received, Reply};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a request's handler can do to its whole connection.
#[derive(Default)]
struct Levers {
    goaway: Notify,
    kill: Notify,
}

pub(crate) async fn serve<S>(socket: S, opened: Opened)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let levers = Arc::new(Levers::default());
    let on_connection = Arc::new(AtomicUsize::new(0));
    let (shared, number) = (Arc::clone(&opened.shared), opened.number);
    let service = hyper::service::service_fn({
        let levers = Arc::clone(&levers);
        move |request| {
            let place = on_connection.fetch_add(1, Ordering::Relaxed);
            answer_one(request, number, place, Arc::clone(&shared), Arc::clone(&levers))
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    if let Some(streams_max) = opened.shared.options.h2_streams_max {
        builder.max_concurrent_streams(streams_max);
    }
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            _ended = &mut connection => return,
            () = levers.goaway.notified() => connection.as_mut().graceful_shutdown(),
            () = levers.kill.notified() => return,
        }
    }
}

/// Counts a request as abandoned unless its reply was done.
struct Abandoned(Option<Arc<Shared>>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.count(|counts| counts.abandoned += 1);
        }
    }
}

async fn answer_one(
    request: Request<Incoming>,
    connection: usize,
    on_connection: usize,
    shared: Arc<Shared>,
    levers: Arc<Levers>,
) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let mut headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    if let Some(authority) = head.uri.authority() {
        headers.insert(0, (":authority".to_owned(), authority.to_string()));
    }
    let mut received = Received {
        order: 0,
        connection,
        on_connection,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        http_version: 2,
        headers,
        body: Bytes::new(),
    };
    match shared.take_early() {
        Some(Reply::AnswerBeforeBody(answer)) => {
            shared.receive(received, true);
            return Ok(whole(answer));
        }
        Some(_reset) => {
            shared.receive(received, true);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        None => {}
    }
    let mut abandoned = Abandoned(Some(Arc::clone(&shared)));
    received.body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut reply = shared.receive(received, false);
    let reply = loop {
        reply = match reply {
            Reply::Delayed(wait, inner) => {
                tokio::time::sleep(wait).await;
                *inner
            }
            Reply::Held(gate, inner) => {
                gate.pass().await;
                *inner
            }
            done => break done,
        };
    };
    let response = perform(reply, &levers).await;
    abandoned.0 = None;
    response
}

async fn perform(reply: Reply, levers: &Levers) -> io::Result<Response<Body>> {
    let chunk = Bytes::from_static(&[b'x'; 0x1000]);
    match reply {
        Reply::Answer(answer) | Reply::AnswerBeforeBody(answer) => Ok(whole(answer)),
        Reply::CloseAfterKeepAlive(answer) => {
            levers.goaway.notify_one();
            Ok(whole(answer))
        }
        Reply::Redirect(place) => Ok(whole(Answer::new(302).header("location", &place))),
        Reply::ResetBeforeAnswer | Reply::Raw(_) => Err(io::ErrorKind::ConnectionReset.into()),
        Reply::ResetAfterRequest => {
            levers.kill.notify_one();
            std::future::pending().await
        }
        Reply::HalfBody => {
            let frames = stream::unfold(0, |step| async move {
                match step {
                    0 => Some((Ok(Frame::data(Bytes::from_static(b"ten bytes."))), 1)),
                    1 => {
                        // A reset overtakes what was not read yet: let the client see the head and the half first.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        Some((Err(io::Error::other("half")), 2))
                    }
                    _ => None,
                }
            });
            let body = StreamBody::new(frames);
            let response = Response::builder().header("content-length", "20").body(body.boxed_unsync());
            Ok(response.expect("a good response"))
        }
        Reply::EndlessBody(status) => Ok(endless(status, chunk, None)),
        Reply::BodyDrip(wait) => Ok(endless(200, chunk.slice(..1), Some(wait))),
        Reply::EndlessHeaders => {
            let answer = Answer::new(200);
            let value = "x".repeat(4000);
            Ok(whole((0..40).fold(answer, |answer, n| answer.header(&format!("x-endless-{n}"), &value))))
        }
        Reply::NeverAnswer
        | Reply::HeaderDrip(_)
        | Reply::EndlessInformational
        | Reply::Delayed(..)
        | Reply::Held(..) => std::future::pending().await,
    }
}

fn whole(answer: Answer) -> Response<Body> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let body = Full::new(answer.body).map_err(|never: Infallible| match never {});
    response.body(body.boxed_unsync()).expect("a good response")
}

fn endless(status: u16, chunk: Bytes, wait: Option<Duration>) -> Response<Body> {
    let chunks = stream::unfold((), move |()| {
        let chunk = chunk.clone();
        async move {
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
            }
            Some((Ok(Frame::data(chunk)), ()))
        }
    });
    Response::builder().status(status).body(StreamBody::new(chunks).boxed_unsync()).expect("a good response")
}
