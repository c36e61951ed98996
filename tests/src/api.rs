//! A small HTTP client for the binary's face.

use crate::HANG_GUARD;
use crate::secrets::Secrets;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("answers are UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// Value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The JSON of an answer that must have this status.
    ///
    /// # Panics
    /// When it has another, showing the body.
    #[track_caller]
    #[must_use]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// `message` of an error in the one shape every error has, of this status.
    ///
    /// # Panics
    /// When it is another status or another shape.
    #[track_caller]
    #[must_use]
    pub fn expect_error(&self, status: u16) -> String {
        let body = self.expect(status);
        assert_eq!(body.get("error").and_then(Value::as_u64), Some(u64::from(status)), "{body}");
        body.get("message").and_then(Value::as_str).expect("an error has a message").to_owned()
    }
}

/// The server's address and a key to use there. Each call has a connection of its own.
#[derive(Clone, Debug)]
pub struct Api {
    address: SocketAddr,
    key: Option<String>,
    secrets: Secrets,
}

impl Api {
    /// Without a key.
    #[must_use]
    pub fn new(address: SocketAddr, secrets: Secrets) -> Self {
        Api { address, key: None, secrets }
    }

    /// The same server with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        self.secrets.add(key);
        Api { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same server without a key.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Api { key: None, ..self.clone() }
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key in use.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().expect("a key")
    }

    /// Any call; `Err` when the server cannot be reached or breaks off.
    ///
    /// # Errors
    /// What hyper or the system says.
    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request =
            Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let exchange = async {
            let stream = TcpStream::connect(self.address).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            connection.abort();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(HANG_GUARD, exchange)
            .await
            .unwrap_or_else(|_| panic!("hung in a call of {path}"))
    }

    /// Any call that must be answered.
    ///
    /// # Panics
    /// When it is not.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.try_call(method, path, headers, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn manage(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = match body {
            Some(body) => {
                self.secrets.add_of_request(body);
                let json = [("content-type", "application/json")];
                self.call(method, path, &json, body.to_string()).await
            }
            None => self.call(method, path, &[], Bytes::new()).await,
        };
        if let Ok(body) = serde_json::from_slice(&answer.body) {
            self.secrets.add_of_answer(&body);
        }
        answer
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.manage(Method::GET, path, None).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.manage(Method::DELETE, path, None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.manage(Method::POST, path, Some(body)).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.manage(Method::PUT, path, Some(body)).await
    }

    /// `PATCH` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.manage(Method::PATCH, path, Some(body)).await
    }

    /// `POST /v1/events` with JSON: one event or an array.
    pub async fn ingest(&self, body: impl Into<Bytes>) -> Answer {
        self.call(Method::POST, "/v1/events", &[("content-type", "application/json")], body).await
    }

    /// `POST /v1/events` with NDJSON.
    pub async fn ingest_lines(&self, body: impl Into<Bytes>) -> Answer {
        self.call(Method::POST, "/v1/events", &[("content-type", "application/x-ndjson")], body).await
    }

    /// Pushes events that must all be accepted.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn push(&self, events: &[Value]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let (api, count) = (self.clone(), events.len());
        let body = Value::from(events.to_vec()).to_string();
        async move {
            let answer = api.ingest(body).await;
            let is_good = answer.status == 202 && answer.json().get("accepted") == Some(&count.into());
            assert!(is_good, "{caller}: {} {}", answer.status, answer.text());
        }
    }

    /// Makes a webhook that must be acceptable; the answer.
    ///
    /// # Panics
    /// When it is not.
    pub async fn webhook(&self, channel: &str, body: &Value) -> Value {
        self.post(&format!("/v1/channels/{channel}/webhooks"), body).await.expect(201)
    }

    /// Value of one metric, by its name with its labels as they are printed.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn metric(&self, name: &str) -> u64 {
        let answer = self.without_key().get("/metrics").await;
        let value = answer
            .text()
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .find_map(|(found, value)| (found == name).then(|| value.to_owned()))
            .unwrap_or_else(|| panic!("no metric {name}"));
        value.parse().unwrap_or_else(|_| panic!("metric {name} is {value}"))
    }

    /// Waits until a metric is `value`.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn until_metric(&self, name: &str, value: u64) {
        crate::until(&format!("{name} {value}"), || async {
            (self.metric(name).await == value).then_some(())
        })
        .await;
    }

    /// Waits until nothing is owed.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn until_settled(&self) {
        self.until_metric("fanfare_backlog_deliveries", 0).await;
    }
}
