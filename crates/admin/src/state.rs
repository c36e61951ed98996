//! What the HTTP face is given by the binary, and its limits.

use crate::producers::Rates;
use bytes::Bytes;
use fanfare_core::limits::REQUEST_BYTES_MAX;
use fanfare_engine::Engine;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Says whether a webhook's URL may be stored: `Err` holds a text for the caller. The binary brings it, since the rules
/// belong to the crate that calls the URL.
pub type UrlCheck = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Bounds of the HTTP face.
#[derive(Clone, Debug)]
pub struct AdminLimits {
    /// Largest body of a management call, bytes.
    pub management_body_bytes_max: usize,
    /// Largest body of `POST /v1/events`, bytes.
    pub ingest_body_bytes_max: usize,
    /// Bytes of ingest bodies held at once over all calls, until their events are stored; over it calls are answered
    /// 503.
    pub ingest_bytes_max: usize,
    /// Largest plugin, bytes.
    pub component_bytes_max: usize,
    /// Plugins held at once over all calls, until each is admitted or refused; over it calls are answered 503.
    pub components_max: usize,
    /// Events a second for each key of an account, a second's worth at once; over it calls are answered 429. `None`:
    /// no limit.
    pub ingest_per_second: Option<NonZeroU32>,
    /// Connections at once; over it new ones wait to be accepted.
    pub connections_max: usize,
    /// Largest header block of a request, bytes; at least 8192.
    pub header_bytes_max: usize,
    /// How long a request's header block may take, and how long a connection may rest between requests.
    pub idle_timeout: Duration,
    /// How long a body may pause between two of its pieces.
    pub body_idle_timeout: Duration,
    /// How long calls in flight may take to end after the shutdown signal.
    pub close_timeout: Duration,
}

impl Default for AdminLimits {
    fn default() -> Self {
        AdminLimits {
            management_body_bytes_max: 1024 * 1024,
            ingest_body_bytes_max: REQUEST_BYTES_MAX,
            ingest_bytes_max: 256 * 1024 * 1024,
            component_bytes_max: 32 * 1024 * 1024,
            components_max: 2,
            ingest_per_second: None,
            connections_max: 10_000,
            header_bytes_max: 64 * 1024,
            idle_timeout: Duration::from_secs(60),
            body_idle_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(10),
        }
    }
}

/// Everything the HTTP face needs.
#[derive(Clone)]
pub struct AdminState {
    /// The engine.
    pub engine: Engine,
    /// Rules for a webhook's URL.
    pub check_url: UrlCheck,
    /// Whether a webhook's URL may be plain `http`.
    pub allow_http: bool,
    /// Version of this build, shown by `GET /v1/formats` for the built-in formats.
    pub version: String,
    /// Name of the hub's signature header, which `CUSTOM_HEADER` may not take.
    pub hub_signature_name: String,
    /// Bounds.
    pub limits: AdminLimits,
}

impl AdminState {
    /// A state with every setting at its default: `https` only, this crate's version, default limits.
    #[must_use]
    pub fn new(engine: Engine, check_url: UrlCheck) -> Self {
        AdminState {
            engine,
            check_url,
            allow_http: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hub_signature_name: "X-Hub-Signature-256".to_owned(),
            limits: AdminLimits::default(),
        }
    }
}

/// The state as handlers share it.
pub(crate) struct Inner {
    pub(crate) admin: AdminState,
    /// One permit per byte of `ingest_bytes_max`.
    pub(crate) ingest_budget: Arc<Semaphore>,
    /// One permit per plugin of `components_max`.
    pub(crate) component_budget: Arc<Semaphore>,
    /// How far each producer has used its rate.
    pub(crate) rates: Rates,
    /// The OpenAPI document, as it is sent.
    pub(crate) document: Bytes,
}

/// What every handler gets.
pub(crate) type Shared = Arc<Inner>;

impl Inner {
    pub(crate) fn share(admin: AdminState, document: Bytes) -> Shared {
        let budget = admin.limits.ingest_bytes_max.min(Semaphore::MAX_PERMITS);
        let rates = Rates::new(admin.limits.ingest_per_second);
        let components = admin.limits.components_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Inner {
            admin,
            ingest_budget: Arc::new(Semaphore::new(budget)),
            component_budget: Arc::new(Semaphore::new(components)),
            rates,
            document,
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.admin.engine
    }
}
