//! The receiver's HTTP/1.1: one loop per connection that reads a request whole, counts it and writes a prepared answer.

use super::Thread;
use super::behaviour::Reply;
use super::check::Carried;
use crate::wire::{HEADERS_MAX, Inbox, body_bytes};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const OK_AND_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const BUSY_AND_CLOSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How far a request has come.
enum Step {
    /// So many bytes of it are needed, as far as is known.
    More { end: usize, expects_continue: bool },
    /// It was counted; it ends here.
    Counted { end: usize, reply: Reply },
}

/// Reads a request and counts it, when it is whole: mostly at the first look.
fn step(thread: &Thread, bytes: &[u8]) -> io::Result<Step> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("the request is not HTTP/1.1: {error}"))
    })?;
    let httparse::Status::Complete(head_bytes) = parsed else {
        return Ok(Step::More { end: bytes.len() + 1, expects_continue: false });
    };
    let end = head_bytes + body_bytes(request.headers)?;
    let Some(body) = bytes.get(head_bytes..end) else {
        let expects_continue =
            request.headers.iter().any(|header| header.name.eq_ignore_ascii_case("expect"));
        return Ok(Step::More { end, expects_continue });
    };
    Ok(Step::Counted { end, reply: thread.arrive(&carried(request.headers), body) })
}

/// Headers as the check needs them; what is not text is as if absent.
fn carried<'a>(headers: &[httparse::Header<'a>]) -> Carried<'a> {
    let mut carried = Carried::default();
    for header in headers {
        let text = || str::from_utf8(header.value).ok();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            10 if is("webhook-id") => carried.id = text().unwrap_or_default(),
            13 if is("x-hub-webhook") => carried.webhook = text().unwrap_or_default(),
            17 if is("webhook-timestamp") => carried.timestamp = text().unwrap_or_default(),
            17 if is("webhook-signature") => carried.standard = text(),
            19 if is("x-hub-signature-256") => carried.hub = text(),
            _ => {}
        }
    }
    carried
}

/// Serves a connection until its other side closes it.
///
/// # Errors
/// When it breaks, or does not speak HTTP/1.1.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    thread: &Thread,
) -> io::Result<()> {
    let mut inbox = Inbox::default();
    loop {
        let (end, reply) = match step(thread, inbox.unread())? {
            Step::Counted { end, reply } => (end, reply),
            Step::More { end, expects_continue } => {
                if expects_continue {
                    stream.write_all(CONTINUE).await?;
                }
                if inbox.fill_to(&mut stream, end).await? {
                    continue;
                }
                if inbox.unread().is_empty() {
                    return Ok(());
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        inbox.consume(end);
        let Some(status) = reply.status else {
            // Until the other side has had enough of it.
            while inbox.fill(&mut stream).await? {
                let count = inbox.unread().len();
                inbox.consume(count);
            }
            return Ok(());
        };
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        let answer = match (status < 300, reply.closes) {
            (true, false) => OK,
            (true, true) => OK_AND_CLOSE,
            (false, false) => BUSY,
            (false, true) => BUSY_AND_CLOSE,
        };
        stream.write_all(answer).await?;
        if reply.closes {
            return stream.shutdown().await;
        }
    }
}
