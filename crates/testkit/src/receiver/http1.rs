//! HTTP/1.1 by hand, to be able to do it wrong.

use super::serve::Opened;
use super::{Answer, Received, Reply};
use bytes::{Bytes, BytesMut};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Larger request heads end the connection.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// A socket that can be closed with a reset instead of an orderly end.
pub(crate) trait Resettable: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn reset_on_close(&self);
}

impl Resettable for TcpStream {
    fn reset_on_close(&self) {
        self.set_zero_linger().expect("a socket takes SO_LINGER");
    }
}

impl Resettable for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

struct Head {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body_bytes: usize,
}

/// Whether the connection goes on after a reply.
enum Next {
    Request,
    Close,
}

pub(crate) async fn serve<S: Resettable>(mut socket: S, opened: Opened) {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let mut on_connection = 0;
    while let Ok(Some(head)) = read_head(&mut socket, &mut buffer).await {
        let mut request = Received {
            order: 0,
            connection: opened.number,
            on_connection,
            method: head.method,
            path: head.path,
            http_version: 1,
            headers: head.headers,
            body: Bytes::new(),
        };
        on_connection += 1;
        if let Some(reply) = opened.shared.take_early() {
            opened.shared.receive(request, true);
            if let Reply::AnswerBeforeBody(answer) = reply {
                if send_answer(&mut socket, &answer).await.is_ok() {
                    // Holds the connection open without reading, until the receiver is dropped. A client's end cannot
                    // be seen from here: it stands behind the bytes that are not read.
                    std::future::pending::<()>().await;
                }
            } else {
                socket.reset_on_close();
            }
            return;
        }
        while buffer.len() < head.body_bytes {
            match socket.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        request.body = buffer.split_to(head.body_bytes).freeze();
        let reply = opened.shared.receive(request, false);
        match carry_out(&mut socket, &mut buffer, reply).await {
            Ok(Next::Request) => {}
            Ok(Next::Close) => break,
            Err(_gone) => {
                opened.shared.count(|counts| counts.abandoned += 1);
                return;
            }
        }
    }
    // An orderly end: FIN (and close_notify), not a reset of what was not read.
    let _ = socket.shutdown().await;
}

async fn read_head<S: Resettable>(socket: &mut S, buffer: &mut BytesMut) -> io::Result<Option<Head>> {
    loop {
        let end = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = buffer.split_to(end + 4);
            return Ok(parse_head(&String::from_utf8_lossy(&head)));
        }
        if buffer.len() > HEAD_BYTES_MAX || socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse_head(text: &str) -> Option<Head> {
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body_bytes = length.map_or(Some(0), |(_, value)| value.parse().ok())?;
    Some(Head { method, path, headers, body_bytes })
}

/// Fails when the client goes away before the reply is done.
async fn carry_out<S: Resettable>(socket: &mut S, buffer: &mut BytesMut, reply: Reply) -> io::Result<Next> {
    let mut reply = reply;
    loop {
        reply = match reply {
            Reply::Delayed(wait, inner) => {
                while_there(socket, buffer, tokio::time::sleep(wait)).await?;
                *inner
            }
            Reply::Held(gate, inner) => {
                while_there(socket, buffer, gate.pass()).await?;
                *inner
            }
            done => break perform(socket, buffer, done).await,
        }
    }
}

async fn perform<S: Resettable>(socket: &mut S, buffer: &mut BytesMut, reply: Reply) -> io::Result<Next> {
    match reply {
        Reply::Answer(answer) => {
            send_answer(socket, &answer).await?;
            Ok(if answer.closes() { Next::Close } else { Next::Request })
        }
        Reply::CloseAfterKeepAlive(answer) => {
            send_answer(socket, &answer).await?;
            Ok(Next::Close)
        }
        Reply::Redirect(place) => {
            send_answer(socket, &Answer::new(302).header("location", &place)).await?;
            Ok(Next::Request)
        }
        Reply::AnswerBeforeBody(answer) => {
            send_answer(socket, &answer).await?;
            Ok(Next::Close)
        }
        Reply::ResetBeforeAnswer => {
            socket.reset_on_close();
            Ok(Next::Close)
        }
        Reply::ResetAfterRequest => Ok(Next::Close),
        Reply::HalfBody => {
            send(socket, b"HTTP/1.1 200 Scripted\r\ncontent-length: 20\r\n\r\nten bytes.").await?;
            Ok(Next::Close)
        }
        Reply::EndlessBody(status) => {
            let head = format!("HTTP/1.1 {status} Scripted\r\ntransfer-encoding: chunked\r\n\r\n");
            send(socket, head.as_bytes()).await?;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            loop {
                send(socket, chunk.as_bytes()).await?;
            }
        }
        Reply::HeaderDrip(wait) => {
            send(socket, b"HTTP/1.1 200 Scripted\r\n").await?;
            drip(socket, buffer, wait, b"x-drip: x\r\n").await
        }
        Reply::BodyDrip(wait) => {
            send(socket, b"HTTP/1.1 200 Scripted\r\ncontent-length: 60000\r\n\r\n").await?;
            drip(socket, buffer, wait, b"x").await
        }
        Reply::EndlessHeaders => {
            send(socket, b"HTTP/1.1 200 Scripted\r\n").await?;
            // Long lines, so that the limit met is that of bytes and not that of the number of lines.
            let line = format!("x-endless: {}\r\n", "x".repeat(4000));
            loop {
                send(socket, line.as_bytes()).await?;
            }
        }
        Reply::EndlessInformational => loop {
            send(socket, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        },
        Reply::NeverAnswer | Reply::Delayed(..) | Reply::Held(..) => {
            while_there(socket, buffer, std::future::pending()).await?;
            Ok(Next::Close)
        }
        Reply::Raw(bytes) => {
            send(socket, &bytes).await?;
            Ok(Next::Close)
        }
    }
}

async fn drip<S: Resettable>(
    socket: &mut S,
    buffer: &mut BytesMut,
    wait: Duration,
    drop: &[u8],
) -> io::Result<Next> {
    loop {
        while_there(socket, buffer, tokio::time::sleep(wait)).await?;
        send(socket, drop).await?;
    }
}

/// Waits, and fails at once when the client closes meanwhile.
async fn while_there<S: Resettable>(
    socket: &mut S,
    buffer: &mut BytesMut,
    wait: impl Future<Output = ()>,
) -> io::Result<()> {
    tokio::pin!(wait);
    loop {
        tokio::select! {
            () = &mut wait => return Ok(()),
            read = socket.read_buf(buffer) => if read? == 0 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            },
        }
    }
}

async fn send_answer<S: Resettable>(socket: &mut S, answer: &Answer) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let has_body = !matches!(answer.status, 100..=199 | 204 | 304);
    if has_body {
        let _ = write!(head, "content-length: {}\r\n", answer.body.len());
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if has_body {
        bytes.extend_from_slice(&answer.body);
    }
    send(socket, &bytes).await
}

async fn send<S: Resettable>(socket: &mut S, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(bytes).await?;
    socket.flush().await
}
