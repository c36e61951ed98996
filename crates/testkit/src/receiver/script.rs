//! What the receiver is told to do, and what it tells.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// HTTP versions a receiver speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1 only.
    #[default]
    Http1,
    /// HTTP/2 only.
    Http2,
    /// Both; HTTP/2 preferred in ALPN.
    Both,
}

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Place among all requests of this receiver, from 0.
    pub order: usize,
    /// Number of its connection, from 0 in the order they were accepted.
    pub connection: usize,
    /// Place among the requests of its connection, from 0.
    pub on_connection: usize,
    /// E.g. `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// 1 or 2.
    pub http_version: u8,
    /// Names as they came (lower case in HTTP/2), in order; HTTP/2's authority as `:authority`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Received {
    /// Value of the first header named `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// How many headers are named `name`.
    #[must_use]
    pub fn header_count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name)).count()
    }
}

/// A whole, well-formed answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Without headers of its own and without a body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// Adds a header. `connection: close` also closes the connection after the answer (HTTP/1.1).
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn closes(&self) -> bool {
        self.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
        })
    }
}

/// What to do with one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers.
    Answer(Answer),
    /// Does the inner reply after a while of real time.
    Delayed(Duration, Box<Reply>),
    /// Does the inner reply when the gate is opened.
    Held(Gate, Box<Reply>),
    /// Resets the connection (TCP RST; HTTP/2: the stream) once the head was read, without reading the body.
    ResetBeforeAnswer,
    /// Answers once the head was read and never reads the body. HTTP/2: like [`Reply::Answer`].
    AnswerBeforeBody(Answer),
    /// Reads all of the request, then closes the connection without a byte of an answer. Pushed after an answer, it
    /// makes a kept-alive connection stale.
    ResetAfterRequest,
    /// Answers as if the connection were kept, then closes it at once. HTTP/2: GOAWAY, streams in flight may end.
    CloseAfterKeepAlive(Answer),
    /// 200 and half of the promised body, then closes (HTTP/2: resets the stream).
    HalfBody,
    /// This status and a body that never ends.
    EndlessBody(u16),
    /// 200 and a header line now and then, for ever. HTTP/2: never answers.
    HeaderDrip(Duration),
    /// 200 and a byte of the body now and then, for ever.
    BodyDrip(Duration),
    /// 200 and header lines as fast as they are taken, for ever. HTTP/2: a list of 160 KiB.
    EndlessHeaders,
    /// `100 Continue` as fast as they are taken, for ever. HTTP/2: never answers.
    EndlessInformational,
    /// 302 to this place.
    Redirect(String),
    /// Reads the request and says nothing.
    NeverAnswer,
    /// These bytes as they are, then closes. HTTP/2: resets the stream.
    Raw(Bytes),
}

impl Reply {
    /// A status without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Reply::Answer(Answer::new(status))
    }

    /// 200 with a body.
    #[must_use]
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Reply::Answer(Answer::new(200).body(body))
    }

    /// This reply after a while.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Reply::Delayed(wait, Box::new(self))
    }

    /// This reply when `gate` is opened.
    #[must_use]
    pub fn held_by(self, gate: &Gate) -> Self {
        Reply::Held(gate.clone(), Box::new(self))
    }
}

/// Holds replies back until the test says so; shared by its clones.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Gate(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// A shut one.
    #[must_use]
    pub fn new() -> Self {
        Gate::default()
    }

    /// Lets `count` replies out, now or when they come.
    pub fn release(&self, count: usize) {
        self.0.add_permits(count);
    }

    /// Lets every reply out from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        // A closed semaphore is an open gate.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// Counters of a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections_accepted: usize,
    /// Connections not yet closed by either side.
    pub connections_open: usize,
    /// TLS handshakes that failed.
    pub handshakes_failed: usize,
    /// Requests received.
    pub requests: usize,
    /// Requests whose client went away (HTTP/1.1: closed; HTTP/2: reset the stream) before the reply was done.
    pub abandoned: usize,
}
