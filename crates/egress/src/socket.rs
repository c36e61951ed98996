//! The socket under a connection, metered: how much was read decides whether an answer had begun, and when it is too
//! much.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::client::TlsStream;

/// What a connection's owner and its socket share. Counts bytes of HTTP, not of TLS.
#[derive(Debug)]
pub(crate) struct Meter {
    read_bytes: Cell<u64>,
    /// Reading past this many bytes in all is an error: a bound where hyper has none (endless 1xx answers, frames
    /// that carry nothing).
    limit: Cell<u64>,
    is_over: Cell<bool>,
    is_ended: Cell<bool>,
    first_read: RefCell<Option<Waker>>,
}

impl Meter {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Meter {
            read_bytes: Cell::new(0),
            limit: Cell::new(u64::MAX),
            is_over: Cell::new(false),
            is_ended: Cell::new(false),
            first_read: RefCell::new(None),
        })
    }

    /// Bytes read since the connection was made.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes.get()
    }

    /// Allows this many bytes from now on.
    pub(crate) fn allow(&self, bytes: u64) {
        self.limit.set(self.read_bytes.get().saturating_add(bytes));
    }

    /// Takes the bound away.
    pub(crate) fn allow_all(&self) {
        self.limit.set(u64::MAX);
    }

    /// Whether the connection was broken off because the bound was passed.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Waits for the first byte, or the end: `true` for a byte. One waiter at most.
    pub(crate) async fn first_byte(&self) -> bool {
        std::future::poll_fn(|cx| {
            if self.read_bytes.get() > 0 {
                return Poll::Ready(true);
            }
            if self.is_ended.get() {
                return Poll::Ready(false);
            }
            *self.first_read.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn end(&self) {
        self.is_ended.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.first_read.borrow_mut().take() {
            waker.wake();
        }
    }

    fn record(&self, count: usize) -> io::Result<()> {
        if count == 0 {
            self.end();
            return Ok(());
        }
        if self.read_bytes.get() == 0 {
            self.wake();
        }
        self.read_bytes.set(self.read_bytes.get().saturating_add(count as u64));
        if self.read_bytes.get() > self.limit.get() {
            self.is_over.set(true);
            self.end();
            return Err(io::Error::new(io::ErrorKind::InvalidData, "answer exceeds its bounds"));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream with its meter and its share of the process's connections: whoever drops the socket gives the share back.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    meter: Rc<Meter>,
    _permit: OwnedSemaphorePermit,
}

impl Socket {
    pub(crate) fn new(stream: Stream, meter: Rc<Meter>, permit: OwnedSemaphorePermit) -> Self {
        Socket { stream, meter, _permit: permit }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.meter.end();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        };
        if let Err(error) = ready!(read) {
            self.meter.end();
            return Poll::Ready(Err(error));
        }
        Poll::Ready(self.meter.record(buf.filled().len() - before))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
