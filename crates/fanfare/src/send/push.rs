//! Pushes batches of events over several connections, and repeats what was not answered.

use crate::client::{Answer, Call, Server, Session};
use crate::clock::SystemClock;
use crate::exit::Failure;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Longest single wait for a server that asks for one.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Wait when it does not say how long; doubles up to ten times that.
const WAIT_FIRST: Duration = Duration::from_millis(200);
/// Rejections kept for the summary.
pub(crate) const REJECTIONS_KEPT: usize = 10;

/// Events of one request.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// NDJSON.
    pub(crate) body: Bytes,
    /// The line each event came from, from 1.
    pub(crate) lines: Vec<u64>,
}

/// Counts while pushing, for whoever shows progress.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Events answered.
    pub(crate) events: AtomicU64,
    /// Bytes of input answered.
    pub(crate) bytes: AtomicU64,
}

/// What became of everything pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Events on stable storage.
    pub(crate) accepted: u64,
    /// Events whose id was known; also those of a batch that was repeated because its answer was lost.
    pub(crate) duplicates: u64,
    /// Events refused.
    pub(crate) rejected: u64,
    /// The first of them: line and reason.
    pub(crate) rejections: Vec<(u64, String)>,
}

impl Summary {
    /// Adds what another connection did.
    pub(crate) fn add(&mut self, other: Summary) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.rejections.extend(other.rejections);
        self.rejections.sort();
        self.rejections.truncate(REJECTIONS_KEPT);
    }

    /// Counts a refused event.
    pub(crate) fn reject(&mut self, line: u64, error: String) {
        self.rejected += 1;
        self.rejections.push((line, error));
        self.rejections.sort();
        self.rejections.truncate(REJECTIONS_KEPT);
    }
}

/// The server's answer to an ingest call.
#[derive(Deserialize)]
struct Ingested {
    accepted: u64,
    duplicates: u64,
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    index: usize,
    error: String,
}

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A batch that was not taken for so long ends the push.
    pub(crate) give_up: Duration,
}

/// Pushes every batch that comes, over `connections` connections.
///
/// A batch answered 429 or 503, or not answered, is sent again after the wait the server asks for; only the very first
/// call of a connection fails at once when the server cannot be reached.
///
/// # Errors
/// When the server cannot be reached, refuses, or stays unavailable longer than `patience`.
pub(crate) async fn push(
    server: Arc<Server>,
    batches: mpsc::Receiver<Batch>,
    connections: usize,
    patience: Patience,
    progress: Arc<Progress>,
) -> Result<Summary, Failure> {
    let batches = Arc::new(Mutex::new(batches));
    let mut workers = JoinSet::new();
    for _ in 0..connections.max(1) {
        let (batches, progress) = (Arc::clone(&batches), Arc::clone(&progress));
        let mut session = Session::new(Arc::clone(&server));
        workers.spawn(async move {
            let mut summary = Summary::default();
            let mut has_answered = false;
            loop {
                let Some(batch) = batches.lock().await.recv().await else { return Ok::<_, Failure>(summary) };
                summary.add(send(&mut session, &batch, patience, has_answered).await?);
                has_answered = true;
                progress.events.fetch_add(count(batch.lines.len()), Ordering::Relaxed);
                progress.bytes.fetch_add(count(batch.body.len()), Ordering::Relaxed);
            }
        });
    }
    let mut summary = Summary::default();
    while let Some(ended) = workers.join_next().await {
        // The first failure ends the push: dropping the set stops the other connections.
        summary.add(ended.map_err(|error| Failure::work(format!("a connection's task ended: {error}")))??);
    }
    Ok(summary)
}

fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

async fn send(
    session: &mut Session,
    batch: &Batch,
    patience: Patience,
    has_answered: bool,
) -> Result<Summary, Failure> {
    const WHAT: &str = "take the events";
    let clock = SystemClock::new();
    let mut wait = WAIT_FIRST;
    loop {
        let call = Call {
            method: Method::POST,
            path: "/v1/events".into(),
            body: Some(("application/x-ndjson", batch.body.clone())),
            plugin_signature: None,
        };
        let (asked, failure) = match session.call(call).await {
            Ok(answer) if is_temporary(answer.status) => (answer.retry_after, answer.refusal(WHAT)),
            Ok(answer) => return read(&answer, batch, WHAT),
            Err(failure) if !has_answered => return Err(failure),
            Err(failure) => (None, failure),
        };
        let next = asked.unwrap_or(wait).min(WAIT_MAX);
        if clock.elapsed() + next > patience.give_up {
            let message = format!("{failure} (gave up after {} s)", clock.elapsed().as_secs());
            return Err(Failure { message, ..failure });
        }
        tokio::time::sleep(next).await;
        wait = (wait * 2).min(WAIT_FIRST * 10);
    }
}

fn is_temporary(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// 202, or 400 when no event of the batch was acceptable: both list what was rejected.
fn read(answer: &Answer, batch: &Batch, what: &str) -> Result<Summary, Failure> {
    let is_listed = answer.status == StatusCode::ACCEPTED || answer.status == StatusCode::BAD_REQUEST;
    let Some(ingested) =
        Some(answer).filter(|_| is_listed).and_then(|answer| answer.read::<Ingested>(what).ok())
    else {
        return match answer.status {
            StatusCode::ACCEPTED => {
                Err(Failure::server("the server's answer cannot be read; is it a fanfare server?"))
            }
            _ => Err(answer.refusal(what)),
        };
    };
    let mut summary =
        Summary { accepted: ingested.accepted, duplicates: ingested.duplicates, ..Summary::default() };
    for rejected in ingested.rejected {
        let line = batch.lines.get(rejected.index).copied().unwrap_or_default();
        summary.reject(line, rejected.error);
    }
    let told = summary.accepted + summary.duplicates + summary.rejected;
    if told != count(batch.lines.len()) {
        return Err(Failure::server(format!(
            "the server told of {told} events of a batch of {}; is it a fanfare server?",
            batch.lines.len()
        )));
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};
    use hyper::body::Incoming;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use std::sync::Mutex as StdMutex;

    type Answers = Arc<StdMutex<Vec<(u16, &'static str, &'static str)>>>;

    /// A server on loopback that gives prepared answers (status, retry-after, body) and keeps what it was sent.
    async fn server(
        answers: &[(u16, &'static str, &'static str)],
    ) -> (Arc<Server>, Arc<StdMutex<Vec<String>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Answers = Arc::new(StdMutex::new(answers.iter().rev().copied().collect()));
        let seen: Arc<StdMutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, seen) = (Arc::clone(&answers), Arc::clone(&kept));
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
                    async move {
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        seen.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
                        let (status, retry_after, body) = answers.lock().unwrap().pop().expect("an answer");
                        let response = Response::builder().status(status).header("retry-after", retry_after);
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (Arc::new(Server::parse(&url, None).unwrap()), seen)
    }

    async fn push_two_lines(server: Arc<Server>, give_up_s: u64) -> Result<Summary, Failure> {
        let (sender, batches) = mpsc::channel(1);
        sender.send(Batch { body: "{}\n[]".into(), lines: vec![4, 9] }).await.unwrap();
        drop(sender);
        let patience = Patience { give_up: Duration::from_secs(give_up_s) };
        push(server, batches, 1, patience, Arc::default()).await
    }

    #[tokio::test]
    async fn a_batch_refused_for_now_is_sent_again_as_it_was() {
        let (server, seen) = server(&[
            (503, "0", r#"{"error":503,"message":"the store is busy"}"#),
            (429, "0", "{}"),
            (202, "", r#"{"accepted":1,"duplicates":1,"rejected":[]}"#),
        ])
        .await;
        let summary = push_two_lines(server, 60).await.unwrap();
        assert_eq!((summary.accepted, summary.duplicates, summary.rejected), (1, 1, 0));
        assert_eq!(*seen.lock().unwrap(), ["{}\n[]", "{}\n[]", "{}\n[]"]);
    }

    #[tokio::test]
    async fn rejections_carry_the_line_they_came_from() {
        for status in [202, 400] {
            let body = r#"{"error":400,"accepted":0,"duplicates":1,"rejected":[{"index":1,"error":"type is required"}]}"#;
            let (server, _) = server(&[(status, "", body)]).await;
            let summary = push_two_lines(server, 60).await.unwrap();
            assert_eq!(summary.rejections, [(9, "type is required".to_owned())]);
        }
    }

    #[tokio::test]
    async fn a_server_that_asks_for_more_patience_than_there_is_ends_the_push() {
        let (server, seen) = server(&[(503, "30", r#"{"error":503,"message":"the disk is full"}"#)]).await;
        let failure = push_two_lines(server, 10).await.unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Server);
        assert!(
            failure.message.contains("503 the disk is full") && failure.message.contains("gave up"),
            "{failure}"
        );
        assert_eq!(seen.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn refusals_and_answers_that_do_not_add_up_are_failures() {
        for (status, body, expected) in [
            (401, r#"{"error":401,"message":"Unauthorized"}"#, "401 Unauthorized"),
            (202, r#"{"accepted":1,"duplicates":0,"rejected":[]}"#, "told of 1 events of a batch of 2"),
            (202, "<html>", "is it a fanfare server?"),
            (400, r#"{"error":400,"message":"line 1 column 2"}"#, "400 line 1 column 2"),
        ] {
            let (server, _) = server(&[(status, "", body)]).await;
            let failure = push_two_lines(server, 10).await.unwrap_err();
            assert!(failure.message.contains(expected), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_at_once() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Arc::new(Server::parse(&format!("http://127.0.0.1:{port}"), None).unwrap());
        let failure = push_two_lines(server, 1_000_000).await.unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Server);
        assert!(failure.message.contains("is `fanfare serve` running there?"), "{failure}");
    }
}
