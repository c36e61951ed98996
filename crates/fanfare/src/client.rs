//! A small HTTP/1.1 client for the commands that talk to a fanfare server. It is not how deliveries are sent: that is
//! `egress`, with its guard and its bounds.

use crate::exit::Failure;
use bytes::Bytes;
use fanfare_core::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take, request included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer read, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A server and the key to use there.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    host: String,
    port: u16,
    /// As the `Host` header and messages show it.
    authority: String,
    /// What stands before `/v1`, without the closing slash.
    base_path: String,
    tls: Option<(ServerName<'static>, Arc<rustls::ClientConfig>)>,
    key: Option<Secret>,
}

impl Server {
    /// Reads `http://host[:port][/path]` or `https://…`.
    pub(crate) fn parse(url: &str, key: Option<Secret>) -> Result<Self, Failure> {
        let url = Url::parse(url).map_err(|error| {
            Failure::usage(format!("the server's url is not one ({error}); it reads http://HOST:PORT"))
        })?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(Failure::usage(
                "the server's url takes no user, password or query; the key goes into --key",
            ));
        }
        let (Some(host), Some(port), "http" | "https") =
            (url.host_str(), url.port_or_known_default(), url.scheme())
        else {
            return Err(Failure::usage(
                "the server's url must begin with http:// or https:// and name a host",
            ));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if url.scheme() == "https" { Some(tls(&host)?) } else { None };
        Ok(Server {
            authority: url.authority().to_owned(),
            base_path: url.path().trim_end_matches('/').to_owned(),
            host,
            port,
            tls,
            key,
        })
    }

    /// The same server with another key.
    pub(crate) fn with_key(&self, key: Secret) -> Self {
        Server { key: Some(key), ..self.clone() }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let unreachable = |why: String| {
            Failure::server(format!(
                "cannot reach {}: {why}; is `fanfare serve` running there?",
                self.authority
            ))
        };
        let opened = async {
            let stream =
                TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| e.to_string())?;
            stream.set_nodelay(true).map_err(|e| e.to_string())?;
            match &self.tls {
                None => shake_hands(stream).await,
                Some((name, config)) => {
                    let connector = TlsConnector::from(Arc::clone(config));
                    shake_hands(connector.connect(name.clone(), stream).await.map_err(|e| e.to_string())?)
                        .await
                }
            }
        };
        match timeout(CONNECT_TIMEOUT, opened).await {
            Ok(result) => result.map_err(unreachable),
            Err(_) => Err(unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))),
        }
    }
}

fn tls(host: &str) -> Result<(ServerName<'static>, Arc<rustls::ClientConfig>), Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::usage("the host in the server's url is not a name TLS can check"))?;
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::usage(format!("tls cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((name, Arc::new(config)))
}

async fn shake_hands<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Ends with the connection, whose end `sender` reports.
    tokio::spawn(connection);
    Ok(sender)
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Method.
    pub(crate) method: Method,
    /// From `/v1` on.
    pub(crate) path: String,
    /// Content type and bytes, when it has a body.
    pub(crate) body: Option<(&'static str, Bytes)>,
    /// Of a plugin that is put, hexadecimal.
    pub(crate) plugin_signature: Option<String>,
}

impl Call {
    /// A call with a JSON body.
    pub(crate) fn json(method: Method, path: impl Into<String>, body: &serde_json::Value) -> Self {
        let bytes = Bytes::from(body.to_string());
        Call { method, path: path.into(), body: Some(("application/json", bytes)), plugin_signature: None }
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Status.
    pub(crate) status: StatusCode,
    /// `Retry-After`, when it is a number of seconds.
    pub(crate) retry_after: Option<Duration>,
    /// Body.
    pub(crate) body: Bytes,
}

/// The error shape of the API.
#[derive(Deserialize)]
struct ErrorBody {
    message: String,
}

impl Answer {
    /// The answer as a failure: status, the server's message, and what to do.
    pub(crate) fn refusal(&self, call: &str) -> Failure {
        let message = serde_json::from_slice::<ErrorBody>(&self.body).map_or_else(
            |_| "no message".to_owned(),
            |body| body.message.chars().filter(|c| !c.is_control()).take(500).collect(),
        );
        let hint = match self.status {
            StatusCode::UNAUTHORIZED => "; give a valid key with --key or FANFARE_API_KEY",
            StatusCode::FORBIDDEN => "; use a key with that scope",
            StatusCode::NOT_FOUND => "; check the url and the ids",
            _ => "",
        };
        Failure::server(format!("the server refused to {call}: {} {message}{hint}", self.status.as_u16()))
    }

    /// Reads a JSON body.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self, call: &str) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::server(format!(
                "the server's answer to {call} cannot be read (line {} column {}); is it a fanfare server?",
                error.line(),
                error.column()
            ))
        })
    }
}

/// One connection, opened when needed and again when it was closed.
pub(crate) struct Session {
    server: Arc<Server>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Session {
    /// A session that connects at its first call.
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Session { server, sender: None }
    }

    /// Makes one call. Cancelling it closes the connection.
    ///
    /// # Errors
    /// When the server cannot be reached or breaks off; an answer of any status is none.
    pub(crate) async fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        let mut kept = self.sender.take();
        let is_kept = match &mut kept {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        let mut sender = match kept.filter(|_| is_kept) {
            Some(sender) => sender,
            None => self.server.connect().await?,
        };
        let request = self.request(call)?;
        let broke = |why: String| Failure::server(format!("{} broke off: {why}", self.server.authority));
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((head, body.to_bytes()))
        };
        let (head, body) = timeout(ANSWER_TIMEOUT, answered)
            .await
            .map_err(|_| broke(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))?
            .map_err(broke)?;
        self.sender = Some(sender);
        let retry_after = head
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        Ok(Answer { status: head.status, retry_after, body })
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, Failure> {
        let server = &self.server;
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", server.base_path, call.path))
            .header(HOST, &server.authority)
            .header(USER_AGENT, concat!("fanfare-cli/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = &server.key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
                .map_err(|_| Failure::usage("the key holds characters that no header can carry"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(signature) = call.plugin_signature {
            request = request.header("fanfare-plugin-signature", signature);
        }
        let mut bytes = Bytes::new();
        if let Some((content_type, body)) = call.body {
            request = request.header(CONTENT_TYPE, content_type);
            bytes = body;
        }
        request
            .body(Full::new(bytes))
            .map_err(|error| Failure::usage(format!("cannot make the request: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_are_read_and_bad_ones_named() {
        let server = Server::parse("http://127.0.0.1:8080/", None).unwrap();
        assert_eq!((server.host.as_str(), server.port, server.base_path.as_str()), ("127.0.0.1", 8080, ""));
        let server = Server::parse("https://hooks.example/fanfare/", None).unwrap();
        assert_eq!((server.port, server.base_path.as_str(), server.tls.is_some()), (443, "/fanfare", true));
        let server = Server::parse("http://[::1]:9", None).unwrap();
        assert_eq!((server.host.as_str(), server.authority.as_str()), ("::1", "[::1]:9"));
        for bad in ["", "127.0.0.1:8080", "ftp://x", "http://u:hunter2@x", "http://x/?key=hunter2"] {
            let failure = Server::parse(bad, None).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage, "{bad}");
            assert!(!failure.message.contains("hunter2"), "{failure}");
        }
    }

    #[test]
    fn refusals_carry_the_servers_message_and_what_to_do() {
        let answer = |status, body: &str| Answer {
            status,
            retry_after: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let failure = answer(StatusCode::UNAUTHORIZED, r#"{"error":401,"message":"Unauthorized"}"#)
            .refusal("send events");
        assert_eq!(
            failure.message,
            "the server refused to send events: 401 Unauthorized; give a valid key with --key or FANFARE_API_KEY"
        );
        let failure = answer(StatusCode::BAD_GATEWAY, "<html>").refusal("send events");
        assert_eq!(failure.message, "the server refused to send events: 502 no message");
    }
}
