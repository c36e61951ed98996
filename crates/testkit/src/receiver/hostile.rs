//! A receiver that attacks whoever calls it: drips, floods and bodies without end, written by hand on a plain socket, and
//! a count of what the caller was willing to take.
//!
//! How to drive it: [`HostileReceiver::start`] with an [`Attack`], hand out [`url`](HostileReceiver::url), then read
//! [`tally`](HostileReceiver::tally). Each connection has a thread of its own that ends when the caller closes it.

use parking_lot::Mutex;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What is done to every caller, once it has sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A header line now and then, for ever.
    HeaderDrip(Duration),
    /// A byte of the body now and then, for ever.
    BodyDrip(Duration),
    /// Short header lines without end.
    EndlessHeaders,
    /// One header line without end.
    EndlessHeaderLine,
    /// `103` answers without end.
    EndlessInformational,
    /// This status and ten gigabytes, announced.
    BigBody(u16),
    /// 200 and ten gigabytes in chunks of a byte.
    TinyChunks,
    /// 200 and one chunk whose extension has no end.
    EndlessChunkExtension,
    /// 200, a short body, and trailers without end.
    EndlessTrailers,
    /// 200 and a small compressed body that would be large.
    GzipBomb,
    /// HTTP/2: SETTINGS without end, each of which asks for an acknowledgement.
    SettingsFlood,
    /// HTTP/2: the same, and what the caller writes is never read.
    DeafSettingsFlood,
    /// HTTP/2: PING without end.
    PingFlood,
    /// HTTP/2: every request is reset at once.
    RapidReset,
    /// HTTP/2: the same stream is reset without end.
    ResetFlood,
    /// HTTP/2: a header block without end.
    ContinuationFlood,
    /// HTTP/2: 200 and empty DATA frames without end.
    EmptyDataFlood,
    /// HTTP/2: WINDOW_UPDATE without end.
    WindowUpdateFlood,
    /// HTTP/2: 200, a part of the body, GOAWAY with an error, and the end.
    GoawayMidStream,
    /// HTTP/2: says that it takes no request at all.
    NoStreams,
    /// HTTP/2: takes requests and is silent.
    Silence,
}

impl Attack {
    /// Whether it speaks HTTP/2 (by prior knowledge).
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(
            self,
            Attack::SettingsFlood
                | Attack::DeafSettingsFlood
                | Attack::PingFlood
                | Attack::RapidReset
                | Attack::ResetFlood
                | Attack::ContinuationFlood
                | Attack::EmptyDataFlood
                | Attack::WindowUpdateFlood
                | Attack::GoawayMidStream
                | Attack::NoStreams
                | Attack::Silence
        )
    }
}

/// What a hostile receiver has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections accepted.
    pub connections_accepted: usize,
    /// Connections not yet closed.
    pub connections_open: usize,
    /// Requests whose head was read.
    pub requests: usize,
    /// Head of the last HTTP/1.1 request.
    pub last_head: String,
    /// Bytes the system took from us, over all connections. What it holds in buffers is among them.
    pub written_bytes: u64,
}

/// The running receiver. Its threads end with their connections; the one that accepts, with the process.
#[derive(Debug)]
pub struct HostileReceiver {
    addr: SocketAddr,
    tally: Arc<Mutex<Tally>>,
}

impl HostileReceiver {
    /// Binds a free port of 127.0.0.1 and attacks whoever calls.
    ///
    /// # Panics
    /// When no socket or thread can be had.
    #[must_use]
    pub fn start(attack: Attack) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let addr = listener.local_addr().expect("address of a bound socket");
        let tally = Arc::new(Mutex::new(Tally::default()));
        let noted = Arc::clone(&tally);
        std::thread::spawn(move || {
            while let Ok((socket, _peer)) = listener.accept() {
                {
                    let mut tally = noted.lock();
                    tally.connections_accepted += 1;
                    tally.connections_open += 1;
                }
                let tally = Arc::clone(&noted);
                std::thread::spawn(move || {
                    let mut wire = Wire { socket, tally };
                    // Ends with an error when the caller closes: what we are here for.
                    let _closed =
                        if attack.is_http2() { http2(&mut wire, attack) } else { http1(&mut wire, attack) };
                    wire.tally.lock().connections_open -= 1;
                });
            }
        });
        HostileReceiver { addr, tally }
    }

    /// `http://127.0.0.1:<port><path>`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// What it has seen so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }
}

struct Wire {
    socket: TcpStream,
    tally: Arc<Mutex<Tally>>,
}

impl Wire {
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.socket.write(bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.tally.lock().written_bytes += count as u64;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn send_for_ever(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Many at a time: the attack is to be fast.
        let many = bytes.repeat(1 + 16 * 1024 / bytes.len().max(1));
        loop {
            self.send(&many)?;
        }
    }

    fn drip(&mut self, wait: Duration, bytes: &[u8]) -> io::Result<()> {
        self.socket.set_read_timeout(Some(wait))?;
        loop {
            // Waits, and sees at once when the caller closes.
            match self.socket.read(&mut [0; 1024]) {
                Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
            self.send(bytes)?;
        }
    }

    /// Reads until the caller closes.
    fn listen_on(&mut self) -> io::Result<()> {
        while self.socket.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }
}

const BIG_BYTES: u64 = 10_000_000_000;

fn http1(wire: &mut Wire, attack: Attack) -> io::Result<()> {
    let mut request = Vec::new();
    let head_bytes = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read_some(wire, &mut request)?;
    };
    let head = String::from_utf8_lossy(request.get(..head_bytes).unwrap_or_default()).to_ascii_lowercase();
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split_once("\r\n"));
    let body_bytes: usize = length.and_then(|(digits, _)| digits.parse().ok()).unwrap_or_default();
    while request.len() < head_bytes + body_bytes {
        read_some(wire, &mut request)?;
    }
    {
        let mut tally = wire.tally.lock();
        tally.requests += 1;
        tally.last_head = head;
    }
    match attack {
        Attack::HeaderDrip(wait) => {
            wire.send(b"HTTP/1.1 200 OK\r\n")?;
            wire.drip(wait, b"x-drip: x\r\n")
        }
        Attack::BodyDrip(wait) => {
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")?;
            wire.drip(wait, b"x")
        }
        Attack::EndlessHeaders => {
            wire.send(b"HTTP/1.1 200 OK\r\n")?;
            wire.send_for_ever(b"a: b\r\n")
        }
        Attack::EndlessHeaderLine => {
            wire.send(b"HTTP/1.1 200 OK\r\na: ")?;
            wire.send_for_ever(b"b")
        }
        Attack::EndlessInformational => wire.send_for_ever(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        Attack::BigBody(status) => {
            wire.send(format!("HTTP/1.1 {status} OK\r\ncontent-length: {BIG_BYTES}\r\n\r\n").as_bytes())?;
            wire.send_for_ever(b"x")
        }
        Attack::TinyChunks => {
            wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            wire.send_for_ever(b"1\r\nx\r\n")
        }
        Attack::EndlessChunkExtension => {
            wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=")?;
            wire.send_for_ever(b"b")
        }
        Attack::EndlessTrailers => {
            wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")?;
            wire.send_for_ever(b"a: b\r\n")
        }
        _ => {
            let body = gzip_bomb();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            wire.send(head.as_bytes())?;
            wire.send(&body)?;
            wire.listen_on()
        }
    }
}

fn read_some(wire: &mut Wire, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let count = wire.socket.read(&mut buffer)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    into.extend_from_slice(buffer.get(..count).unwrap_or_default());
    Ok(())
}

/// What a reader that decompresses would see as one stored block after the other, 40 KiB of them.
fn gzip_bomb() -> Vec<u8> {
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // A fixed-code block of one literal and repeats of 258: a thousand to one.
    body.extend(std::iter::repeat_n([0x63, 0x60, 0x18, 0x05], 10 * 1024).flatten());
    body
}

// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// `:status 200`, from the static table.
const STATUS_200: u8 = 0x88;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn http2(wire: &mut Wire, attack: Attack) -> io::Result<()> {
    wire.socket.read_exact(&mut [0; 24])?;
    let settings: &[u8] = if attack == Attack::NoStreams { &[0, 3, 0, 0, 0, 0] } else { &[] };
    wire.send(&frame(SETTINGS, 0, 0, settings))?;
    loop {
        let stream = next_request(wire)?;
        match attack {
            Attack::RapidReset => wire.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]))?,
            Attack::NoStreams | Attack::Silence => {}
            Attack::GoawayMidStream => {
                wire.send(&frame(HEADERS, END_HEADERS, stream, &[STATUS_200]))?;
                wire.send(&frame(DATA, 0, stream, b"ten bytes."))?;
                return wire.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]));
            }
            flood => return flood_http2(wire, flood, stream),
        }
    }
}

fn flood_http2(wire: &mut Wire, attack: Attack, stream: u32) -> io::Result<()> {
    if attack != Attack::DeafSettingsFlood {
        // Taken in as fast as it comes, so that the caller's answers never hold it up.
        let mut other = Wire { socket: wire.socket.try_clone()?, tally: Arc::clone(&wire.tally) };
        std::thread::spawn(move || other.listen_on());
    }
    match attack {
        Attack::PingFlood => wire.send_for_ever(&frame(PING, 0, 0, &[0; 8])),
        Attack::ResetFlood => wire.send_for_ever(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])),
        Attack::WindowUpdateFlood => wire.send_for_ever(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        Attack::ContinuationFlood => {
            wire.send(&frame(HEADERS, 0, stream, &[STATUS_200]))?;
            // `a: b`, never indexed.
            wire.send_for_ever(&frame(CONTINUATION, 0, stream, &[0x10, 1, b'a', 1, b'b'].repeat(100)))
        }
        Attack::EmptyDataFlood => {
            wire.send(&frame(HEADERS, END_HEADERS, stream, &[STATUS_200]))?;
            wire.send_for_ever(&frame(DATA, 0, stream, &[]))
        }
        _ => wire.send_for_ever(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
    }
}

/// The stream of the next request; acknowledges settings on the way.
fn next_request(wire: &mut Wire) -> io::Result<u32> {
    loop {
        let mut head = [0; 9];
        wire.socket.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        wire.socket.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => wire.send(&frame(SETTINGS, ACK, 0, &[]))?,
            HEADERS => {
                wire.tally.lock().requests += 1;
                return Ok(u32::from_be_bytes(stream));
            }
            _ => {}
        }
    }
}
