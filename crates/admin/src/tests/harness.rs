//! An engine on doubles of its ports behind the API, called without a socket.

use crate::state::{AdminLimits, AdminState};
use axum::body::Body;
use bytes::Bytes;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::ports::Store;
use fanfare_core::webhook::{Account, DeliveryPolicy, Scopes};
use fanfare_core::{AccountId, ChannelId, Secret};
use fanfare_engine::{Engine, EngineOptions, Successes};
use fanfare_testkit::clock::TestClock;
use fanfare_testkit::formats::{MemoryFormats, SharedFormats};
use fanfare_testkit::store::MemoryStore;
use fanfare_testkit::transport::{Answer as Sent, ScriptedTransport, SharedTransport};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::LocalSet;

/// The bootstrap key: an operator's, with every scope and no account.
pub(super) const ROOT: &str = "root-key";

/// A channel of the ENTERPRISE account `acme`, made by the harness.
pub(super) const WEBHOOKS: &str = "/v1/channels/c1/webhooks";

pub(super) struct Api {
    pub(super) state: AdminState,
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Arc<TestClock>,
    pub(super) transport: Arc<ScriptedTransport>,
    pub(super) formats: Arc<MemoryFormats>,
    /// A key of `acme` with `manage` and `ingest`.
    pub(super) key: String,
    service: TowerToHyperService<axum::Router>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts an error of this status and text, in the one shape all errors have.
    pub(super) fn is_error(&self, status: u16, message: &str) {
        let expected = serde_json::json!({ "error": status, "message": message });
        assert_eq!((self.status, self.json()), (status, expected));
        assert_eq!(self.header("content-type"), Some("application/json"));
    }
}

/// What differs between tests.
#[derive(Default)]
pub(super) struct Setup {
    pub(super) makes_channels: bool,
    pub(super) limits: AdminLimits,
    /// Plugins in the binary, as `NAME VERSION` each.
    pub(super) shipped: &'static [&'static str],
}

/// Runs `test` with an engine that holds the ENTERPRISE account `acme` with the channel `c1`, and the account `free`
/// with the channel `c2`.
pub(super) async fn with_api(setup: Setup, test: impl AsyncFnOnce(&Api)) {
    LocalSet::new()
        .run_until(async {
            let api = Api::start(setup).await;
            test(&api).await;
            api.state.engine.drain(Duration::from_secs(1)).await;
        })
        .await;
}

impl Api {
    async fn start(setup: Setup) -> Api {
        let store = MemoryStore::new();
        let clock = TestClock::start();
        let transport = ScriptedTransport::new(|_| Sent::OK);
        let formats = MemoryFormats::new(setup.shipped);
        let shared = SharedFormats(formats.clone());
        let engine = Engine::start_here(EngineOptions {
            clock: clock.clone(),
            store: store.clone() as Arc<dyn Store>,
            history: store.clone(),
            samples: include_str!("../../../fanfare/samples/events.ndjson"),
            transport: Arc::new(SharedTransport(transport.clone())),
            formatter: Arc::new(shared.clone()),
            formats: Arc::new(shared),
            workers: 1,
            seed: [7; 32],
            bootstrap_key: Some(Secret::new(ROOT)),
            makes_channels: setup.makes_channels,
            defaults: DeliveryPolicy::default(),
            gate: GatePolicy::default(),
            successes: Successes::All,
            window_bytes_max: 1 << 20,
            idle_sleep: Duration::from_secs(60),
            hub_signature_name: "X-Hub-Signature-256".into(),
        })
        .await
        .unwrap();
        for (account, role, channel) in [("acme", "ENTERPRISE", "c1"), ("free", "BASIC", "c2")] {
            let id = AccountId::parse(account).unwrap();
            engine.put_account(Account { id: id.clone(), role: role.into() }).await.unwrap();
            engine.put_channel(ChannelId::parse(channel).unwrap(), id, None).await.unwrap();
        }
        let state =
            AdminState { limits: setup.limits, ..AdminState::new(engine, Arc::new(|_: &str| Ok(()))) };
        let service = TowerToHyperService::new(crate::router(state.clone()));
        let mut api = Api { state, store, clock, transport, formats, key: String::new(), service };
        api.key = api.new_key("acme", Scopes { operate: false, ..Scopes::ALL }).await;
        api
    }

    /// A key of `account`.
    pub(super) async fn new_key(&self, account: &str, scopes: Scopes) -> String {
        let account = AccountId::parse(account).unwrap();
        self.state.engine.create_key(&account, scopes).await.unwrap().1.expose().to_owned()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.service.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// A call with `key` and, when `body` is not empty, a JSON body.
    pub(super) async fn call_as(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = body.into();
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json").header("content-length", body.len());
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// A call of `acme`.
    pub(super) async fn call(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call_as(&self.key, method, path, body).await
    }

    /// Makes a webhook on `c1` and gives its path.
    pub(super) async fn create(&self, body: &str) -> String {
        let answer = self.call("POST", WEBHOOKS, body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::CREATED.as_u16(), "{}", answer.text);
        answer.header("location").unwrap().to_owned()
    }
}
