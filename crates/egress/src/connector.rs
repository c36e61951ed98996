//! From a destination to an open connection: resolve, check, dial, shake hands.

use crate::attempt::{Http1Connection, Http2Connection};
use crate::cap::Cap;
use crate::classify;
use crate::guard::AddressGuard;
use crate::request::{ConstantHeaders, Template};
use crate::resolve::{Resolve, without_lookup};
use crate::socket::{Meter, Socket, Stream};
use crate::tls::Tls;
use crate::url::{check_url, host_of};
use fanfare_core::outcome::{AttemptReport, FailureClass};
use fanfare_core::ports::{Clock, Connection, Destination, LocalFuture, Receiver, Transport};
use fanfare_core::webhook::Protocol;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri, Version};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use url::{Position, Url};

/// Addresses of one name that are tried. All of its addresses are checked.
const ADDRESSES_MAX: usize = 16;
/// An address that does not answer may not use up the time of the next one. The last one has all that is left.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// What the transport is made of.
pub struct TransportOptions {
    /// Tells the time for `Retry-After` dates.
    pub clock: Arc<dyn Clock>,
    /// Which addresses may be called.
    pub guard: AddressGuard,
    /// Finds addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Certificates and protocols.
    pub tls: Tls,
    /// Whether plain `http` may be called (`egress.allow_http`).
    pub allow_http: bool,
    /// Connections open at once in this process. For one more, the one that has been idle longest is closed, whoever's
    /// it is; with none idle, connecting waits. At least 1.
    pub connections_max: usize,
    /// Version in `User-Agent: fanfare/<version>`.
    pub user_agent_version: String,
}

impl fmt::Debug for TransportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportOptions")
            .field("guard", &self.guard)
            .field("allow_http", &self.allow_http)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

/// What all receivers share.
struct Shared {
    options: TransportOptions,
    user_agent: HeaderValue,
    cap: Arc<Cap>,
}

/// Core's `Transport` over hyper. Cheap to clone, shared by all event loops.
///
/// Order of calls: [`Transport::receiver`] once per change of a webhook, on any thread; then, on the event loop that
/// will use it and inside its `LocalSet`, [`Receiver::connect`] and [`Connection::send`].
#[derive(Clone)]
pub struct HttpTransport(Arc<Shared>);

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpTransport").field(&self.0.options).finish()
    }
}

impl HttpTransport {
    /// Wraps the options.
    ///
    /// # Panics
    /// When `connections_max` is 0 or the version cannot stand in a header.
    #[must_use]
    pub fn new(options: TransportOptions) -> Self {
        assert!(options.connections_max > 0, "no connection may ever be opened");
        let user_agent = HeaderValue::from_str(&format!("fanfare/{}", options.user_agent_version))
            .expect("a version is printable ASCII");
        let cap = Cap::new(options.connections_max);
        HttpTransport(Arc::new(Shared { options, user_agent, cap }))
    }

    /// Connections open or being opened now, in the whole process.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.0.cap.open()
    }

    /// Idle connections closed so far because a new one needed their place.
    #[must_use]
    pub fn connections_closed_for_room(&self) -> u64 {
        self.0.cap.closed()
    }
}

impl Transport for HttpTransport {
    fn receiver(&self, destination: &Destination) -> Result<Arc<dyn Receiver>, String> {
        let url =
            check_url(&destination.url, self.0.options.allow_http).map_err(|error| error.to_string())?;
        let target = Target::parse(&url)?;
        let headers = ConstantHeaders::parse(destination, &self.0.user_agent)?;
        let prepared =
            Prepared { target, headers, protocol: destination.protocol, shared: Arc::clone(&self.0) };
        Ok(Arc::new(HttpReceiver(Arc::new(prepared))))
    }
}

/// Where a URL leads, taken apart once.
struct Target {
    /// Name or literal address, as the resolver takes it.
    host: Box<str>,
    port: u16,
    /// `Some`: TLS, with the name to verify.
    server_name: Option<ServerName<'static>>,
    /// Host and, unless it is the default, port.
    authority: Authority,
    path: PathAndQuery,
}

impl Target {
    fn parse(url: &Url) -> Result<Self, String> {
        let host = host_of(url).ok_or("url has no host")?;
        let port = url.port_or_known_default().ok_or("url has no port")?;
        let authority = Authority::try_from(&url[Position::BeforeHost..Position::AfterPort])
            .map_err(|_| "host of the url cannot be sent")?;
        let path = PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery])
            .map_err(|_| "path of the url cannot be sent")?;
        let server_name = if url.scheme() == "https" {
            let name = host.strip_suffix('.').unwrap_or(&host).to_owned();
            Some(
                ServerName::try_from(name)
                    .map_err(|_| "host of the url is no name a certificate can have")?,
            )
        } else {
            None
        };
        Ok(Target { host, port, server_name, authority, path })
    }

    fn template(&self, headers: &ConstantHeaders, version: Version) -> Result<Template, AttemptReport> {
        let internal = |what: &str| AttemptReport::failed(FailureClass::Internal, what);
        if version == Version::HTTP_2 {
            // HTTP/2 says scheme and host in fields of their own, made from an absolute URI.
            let scheme = if self.server_name.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(scheme);
            parts.authority = Some(self.authority.clone());
            parts.path_and_query = Some(self.path.clone());
            let uri = Uri::from_parts(parts).map_err(|_| internal("url cannot be put together"))?;
            return Ok(Template::new(headers, uri, version, None));
        }
        let host =
            HeaderValue::from_str(self.authority.as_str()).map_err(|_| internal("host cannot be sent"))?;
        Ok(Template::new(headers, Uri::from(self.path.clone()), version, Some(host)))
    }
}

struct Prepared {
    target: Target,
    headers: ConstantHeaders,
    protocol: Protocol,
    shared: Arc<Shared>,
}

struct HttpReceiver(Arc<Prepared>);

impl Receiver for HttpReceiver {
    fn connect(&self) -> LocalFuture<Result<Box<dyn Connection>, AttemptReport>> {
        let prepared = Arc::clone(&self.0);
        Box::pin(async move { prepared.connect().await })
    }
}

impl Prepared {
    async fn connect(&self) -> Result<Box<dyn Connection>, AttemptReport> {
        let addresses = self.checked_addresses().await?;
        // Taken after the check, so that a refused address does not wait; before dialling, so that what waits to be
        // dialled holds no socket.
        let permit = self
            .shared
            .cap
            .permit()
            .await
            .ok_or_else(|| AttemptReport::failed(FailureClass::Internal, "the transport is closed"))?;
        let stream =
            dial(&addresses, self.target.port).await.map_err(|error| classify::of_connect(&error))?;
        // A request is one write; waiting to fill a packet only delays it. A socket that refuses this still works.
        let _ = stream.set_nodelay(true);

        let (stream, is_http2) = match &self.target.server_name {
            None => (Stream::Plain(stream), self.protocol == Protocol::Http2),
            Some(name) => self.shake_hands(stream, name.clone()).await?,
        };
        let meter = Meter::new();
        let socket = Socket::new(stream, Rc::clone(&meter), permit);
        let version = if is_http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        let template = self.target.template(&self.headers, version)?;
        let clock = Arc::clone(&self.shared.options.clock);
        let cap = &self.shared.cap;
        Ok(if is_http2 {
            Box::new(Http2Connection::open(socket, meter, template, clock, cap).await?)
        } else {
            Box::new(Http1Connection::open(socket, meter, template, clock, cap).await?)
        })
    }

    /// Resolves once and lets the guard see every answer. What it returns is what is dialled: nothing resolves again.
    async fn checked_addresses(&self) -> Result<Vec<IpAddr>, AttemptReport> {
        let host = &self.target.host;
        let mut addresses = match without_lookup(host) {
            Some(addresses) => addresses,
            None => self
                .shared
                .options
                .resolver
                .resolve(host)
                .await
                .map_err(|error| AttemptReport::failed(FailureClass::Dns, error.to_string()))?,
        };
        if addresses.is_empty() {
            return Err(AttemptReport::failed(FailureClass::Dns, "name has no address"));
        }
        self.shared
            .options
            .guard
            .check_all(&addresses)
            .map_err(|refused| AttemptReport::failed(FailureClass::BlockedAddress, refused.to_string()))?;
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> Result<(Stream, bool), AttemptReport> {
        let config: Arc<ClientConfig> = self.shared.options.tls.config(self.protocol);
        let stream = tokio_rustls::TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| classify::of_handshake(&error))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.protocol == Protocol::Http2 && !is_http2 {
            return Err(AttemptReport::failed(FailureClass::Protocol, "the receiver does not speak HTTP/2"));
        }
        Ok((Stream::Tls(Box::new(stream)), is_http2))
    }
}

/// The first address that answers; the error is the last one's.
async fn dial(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (index, address) in addresses.iter().enumerate() {
        let dialled = TcpStream::connect(SocketAddr::new(*address, port));
        let result = if index + 1 == addresses.len() {
            dialled.await
        } else {
            match tokio::time::timeout(DIAL_TIMEOUT, dialled).await {
                Ok(result) => result,
                Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
            }
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
