//! The receiver: a process of its own that takes deliveries at as little cost as it can and counts them.
//!
//! Two ports: deliveries, and [`control`]. Each event loop is a thread that owns its connections and its counts;
//! a thread beside them accepts and hands out in turn.

pub(crate) mod behaviour;
pub(crate) mod check;
mod control;
pub(crate) mod counts;
mod http1;
mod http2;
mod tls;

use crate::clock;
use crate::error::{Error, Trying as _};
use behaviour::{Behaviour, Current, Reply};
use check::{Carried, Secrets};
use counts::{Arrival, Counts, Ids, Signature, Stats, locked};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

/// Connections accepted that an event loop has not taken up; more wait in the kernel.
const HANDOVER_MAX: usize = 1024;
/// A connection that has not finished its handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    #[default]
    Http1,
    /// Without TLS by prior knowledge.
    Http2,
}

/// How to start one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReceiverOptions {
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    pub(crate) behaviour: Behaviour,
    /// Event loops.
    pub(crate) threads: usize,
    /// Takes deliveries on 127.0.0.1 and so many addresses in all, the next ones, at the same port.
    pub(crate) addresses: u8,
    /// Signatures are checked of one request in so many; 0: of none.
    pub(crate) check_every: u64,
    /// Delivery ids remembered.
    pub(crate) ids_max: usize,
}

/// What it tells when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Takes deliveries.
    pub(crate) address: SocketAddr,
    /// Takes calls of the conductor.
    pub(crate) control: SocketAddr,
    /// The authority of its certificate, when it speaks TLS.
    pub(crate) ca_pem: Option<String>,
}

pub(crate) struct Shared {
    check_every: u64,
    counts: Vec<Mutex<Counts>>,
    ids: Ids,
    secrets: Secrets,
    behaviour: Current,
    connections: AtomicU64,
    connections_closed: AtomicU64,
}

impl Shared {
    fn stats(&self) -> Stats {
        let mut stats = counts::stats(&self.counts, &self.ids);
        // Read in this order, no more can be closed than were opened.
        let closed = self.connections_closed.load(Ordering::Acquire);
        stats.connections = self.connections.load(Ordering::Acquire);
        stats.connections_open = stats.connections.saturating_sub(closed);
        stats
    }
}

/// One event loop's view.
pub(crate) struct Thread {
    shared: Arc<Shared>,
    index: usize,
}

impl Thread {
    /// Counts a request and says how to answer it.
    fn arrive(&self, carried: &Carried<'_>, body: &[u8]) -> Reply {
        let shared = &self.shared;
        let arrived_us = clock::unix_us();
        let reply = shared.behaviour.reply();
        let Some(counts) = shared.counts.get(self.index) else { return reply };
        let mut counts = locked(counts);
        let signature = if counts.samples(shared.check_every) {
            shared.secrets.check(carried, body, arrived_us)
        } else {
            Signature::Unsampled
        };
        counts.arrive(
            &shared.ids,
            &Arrival {
                id: carried.id.as_bytes(),
                body_bytes: body.len(),
                arrived_us,
                signature,
                status: reply.status,
            },
        );
        reply
    }
}

/// Binds both ports, starts the event loops, tells that it is ready and serves until the process ends.
///
/// # Errors
/// When a port, a thread or a certificate cannot be had.
pub(crate) fn run(options: &ReceiverOptions, tell: impl FnOnce(&Ready)) -> Result<(), Error> {
    options.behaviour.check().map_err(Error::usage)?;
    let tls = if options.tls { Some(tls::setup(options.protocol).map_err(Error::work)?) } else { None };
    let (acceptor, ca_pem) = tls.unzip();
    let threads = options.threads.max(1);
    let shared = Arc::new(Shared {
        check_every: options.check_every,
        counts: (0..threads).map(|_| Mutex::new(Counts::new())).collect(),
        ids: Ids::new(options.ids_max),
        secrets: Secrets::default(),
        behaviour: Current::new(&options.behaviour),
        connections: AtomicU64::new(0),
        connections_closed: AtomicU64::new(0),
    });
    let mut loops = Vec::with_capacity(threads);
    for index in 0..threads {
        let (sender, streams) = mpsc::channel(HANDOVER_MAX);
        loops.push(sender);
        let thread = Arc::new(Thread { shared: Arc::clone(&shared), index });
        let (acceptor, protocol) = (acceptor.clone(), options.protocol);
        let runtime = runtime()?;
        std::thread::Builder::new()
            .name(format!("receive-{index}"))
            .spawn(move || {
                LocalSet::new().block_on(&runtime, event_loop(streams, thread, acceptor, protocol))
            })
            .trying(|| "cannot start a thread".into())?;
    }
    LocalSet::new().block_on(&runtime()?, async {
        let deliveries = bind(Ipv4Addr::LOCALHOST, 0).await?;
        let control = bind(Ipv4Addr::LOCALHOST, 0).await?;
        let address =
            |listener: &TcpListener| listener.local_addr().trying(|| "a port has no address".into());
        let first = address(&deliveries)?;
        tokio::task::spawn_local(accept(deliveries, loops.clone(), Arc::clone(&shared)));
        for last in 2..=options.addresses {
            let further = bind(Ipv4Addr::new(127, 0, 0, last), first.port()).await?;
            tokio::task::spawn_local(accept(further, loops.clone(), Arc::clone(&shared)));
        }
        tell(&Ready { address: first, control: address(&control)?, ca_pem });
        control::serve(control, shared).await;
        Ok(())
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .trying(|| "cannot start an event loop".into())
}

async fn bind(address: Ipv4Addr, port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind((address, port)).await.trying(|| format!("cannot listen on {address}"))
}

/// Hands connections to the event loops in turn, so that none gets them all.
async fn accept(listener: TcpListener, loops: Vec<mpsc::Sender<std::net::TcpStream>>, shared: Arc<Shared>) {
    let mut turn = loops.iter().cycle();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: connections end and free some. Without the pause this would spin.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _slower = stream.set_nodelay(true);
        let (Ok(stream), Some(next)) = (stream.into_std(), turn.next()) else { continue };
        shared.connections.fetch_add(1, Ordering::Release);
        if next.send(stream).await.is_err() {
            return;
        }
    }
}

/// Counts a connection as closed however it ends.
struct Open(Arc<Thread>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shared.connections_closed.fetch_add(1, Ordering::Release);
    }
}

async fn event_loop(
    mut streams: mpsc::Receiver<std::net::TcpStream>,
    thread: Arc<Thread>,
    acceptor: Option<TlsAcceptor>,
    protocol: Protocol,
) {
    while let Some(stream) = streams.recv().await {
        let open = Open(Arc::clone(&thread));
        let acceptor = acceptor.clone();
        tokio::task::spawn_local(async move {
            // A connection that breaks is the sender's business; it will try again.
            drop(serve(stream, &open.0, acceptor, protocol).await);
        });
    }
}

async fn serve(
    stream: std::net::TcpStream,
    thread: &Arc<Thread>,
    acceptor: Option<TlsAcceptor>,
    protocol: Protocol,
) -> std::io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    match (acceptor, protocol) {
        (None, Protocol::Http1) => http1::serve(stream, thread).await,
        (None, Protocol::Http2) => http2::serve(stream, Arc::clone(thread)).await,
        (Some(acceptor), protocol) => {
            let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
            match protocol {
                Protocol::Http1 => http1::serve(stream, thread).await,
                Protocol::Http2 => http2::serve(stream, Arc::clone(thread)).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
