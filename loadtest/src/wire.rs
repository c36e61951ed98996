//! HTTP/1.1 by hand, over any stream: what the harness needs and no more, so that it takes little of the machine it
//! shares with what it measures. No chunked bodies, no trailers, no upgrades: whoever sends one is told so.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Headers looked at in one message.
pub(crate) const HEADERS_MAX: usize = 48;
/// Largest message read, bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 16 * 1024;

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// Bytes that have arrived and were not used yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Everything before was used.
    used: usize,
}

impl Inbox {
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    /// Marks bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.used += count;
        if self.used >= self.bytes.len() {
            self.bytes.clear();
            self.used = 0;
        }
    }

    /// Reads more; `false` at the stream's end.
    pub(crate) async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        if self.bytes.len() >= MESSAGE_BYTES_MAX {
            return Err(invalid(format!("a message exceeds {MESSAGE_BYTES_MAX} bytes")));
        }
        self.bytes.reserve(READ_BYTES);
        Ok(stream.read_buf(&mut self.bytes).await? > 0)
    }

    /// Reads until so many bytes are there; `false` when the stream ends before.
    pub(crate) async fn fill_to(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        count: usize,
    ) -> io::Result<bool> {
        while self.unread().len() < count {
            if !self.fill(stream).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// `content-length` of a message, 0 without one.
///
/// # Errors
/// For a length that is none, and for a chunked body.
pub(crate) fn body_bytes(headers: &[httparse::Header<'_>]) -> io::Result<usize> {
    let mut length = 0;
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = str::from_utf8(header.value).unwrap_or_default().trim();
            length = text.parse().map_err(|_| invalid("content-length is not a number"))?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("a chunked body is not read here"));
        }
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(invalid(format!("a body of {length} bytes exceeds {MESSAGE_BYTES_MAX}")));
    }
    Ok(length)
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Retry-After` in seconds.
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body's beginning, for a message.
    pub(crate) fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(200).collect()
    }
}

struct Head {
    head_bytes: usize,
    body_bytes: usize,
    status: u16,
    retry_after_s: Option<u64>,
}

fn parse_answer(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed =
        response.parse(bytes).map_err(|error| invalid(format!("the answer is not HTTP/1.1: {error}")))?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let retry_after = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("retry-after"));
    Ok(Some(Head {
        head_bytes,
        body_bytes: body_bytes(response.headers)?,
        status: response.code.unwrap_or_default(),
        retry_after_s: retry_after.and_then(|header| str::from_utf8(header.value).ok()?.trim().parse().ok()),
    }))
}

/// One kept-alive connection to a server, with buffers that are used again.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    inbox: Inbox,
    out: Vec<u8>,
    host: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, inbox: Inbox::default(), out: Vec::new(), host: address.to_string() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends a request and reads its whole answer. `headers`: whole lines, each with its line end.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        self.out.clear();
        let length = body.len();
        for part in
            [method, " ", path, " HTTP/1.1\r\nhost: ", &self.host, "\r\n", headers, "content-length: "]
        {
            self.out.extend_from_slice(part.as_bytes());
        }
        self.out.extend_from_slice(length.to_string().as_bytes());
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(body);
        self.stream.write_all(&self.out).await?;
        self.answer().await
    }

    /// Sends bytes that are a whole request and reads the answer's status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        self.body(&head).await?;
        self.inbox.consume(head.head_bytes + head.body_bytes);
        Ok(head.status)
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head().await?;
        self.body(&head).await?;
        let end = head.head_bytes + head.body_bytes;
        let body = self.inbox.unread().get(head.head_bytes..end).unwrap_or_default().to_vec();
        self.inbox.consume(end);
        Ok(Answer { status: head.status, retry_after_s: head.retry_after_s, body })
    }

    async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(head) = parse_answer(self.inbox.unread())? {
                return Ok(head);
            }
            if !self.inbox.fill(&mut self.stream).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn body(&mut self, head: &Head) -> io::Result<()> {
        if self.inbox.fill_to(&mut self.stream, head.head_bytes + head.body_bytes).await? {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client whose server says `answer`, whatever it is asked.
    async fn call(answer: &str) -> io::Result<Answer> {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        far.write_all(answer.as_bytes()).await?;
        let mut client =
            Client { stream: near, inbox: Inbox::default(), out: Vec::new(), host: "h:1".into() };
        let answer = client.call("POST", "/x", "a: b\r\n", b"body").await;
        let mut sent = vec![0; 4096];
        let count = far.read(&mut sent).await?;
        assert_eq!(
            str::from_utf8(&sent[..count]).unwrap(),
            "POST /x HTTP/1.1\r\nhost: h:1\r\na: b\r\ncontent-length: 4\r\n\r\nbody"
        );
        answer
    }

    #[tokio::test]
    async fn answers_are_read_with_status_wait_and_body() {
        let answer =
            call("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 next").await;
        assert_eq!(answer.unwrap(), Answer { status: 503, retry_after_s: Some(7), body: b"abc".to_vec() });
        let answer = call("HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }

    #[tokio::test]
    async fn what_is_not_read_here_is_an_error() {
        for (answer, text) in [
            ("SSH-2.0-x\r\n\r\n", "not HTTP/1.1"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "chunked"),
            ("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", "not a number"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "exceeds"),
        ] {
            let error = call(answer).await.unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_an_error() {
        let (near, far) = tokio::io::duplex(1024);
        drop(far);
        let mut client = Client { stream: near, inbox: Inbox::default(), out: Vec::new(), host: "h".into() };
        assert!(client.call("GET", "/", "", b"").await.is_err());
    }
}
