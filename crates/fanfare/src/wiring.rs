//! Brings the parts together: store, egress, engine, HTTP face. Decides nothing.

use crate::clock::SystemClock;
use crate::config::{Settings, SuccessesSetting};
use crate::exit::{Exit, Failure};
use fanfare_admin::{AdminLimits, AdminState};
use fanfare_core::ports::{Clock, Formatter};
use fanfare_core::webhook::{DeliveryPolicy, RetryPolicy};
use fanfare_egress::{
    AddressGuard, HickoryResolver, HttpTransport, Network, Tls, TlsOptions, TransportOptions, check_url,
};
use fanfare_engine::{Engine, EngineOptions, Successes};
use fanfare_plugin_host::{FormatsOptions, PluginFormats, SHIPPED, SignaturePolicy};
use fanfare_store::{LmdbStore, StoreOptions};
use rand::TryRng as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// How long a drain may take.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// An actor with nothing to do gives its memory back after this.
const IDLE_SLEEP: Duration = Duration::from_secs(60);
/// Networks that `--dev` opens: this machine's own.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// One running engine with its HTTP face.
pub(crate) struct Node {
    /// The engine.
    pub(crate) engine: Engine,
    formatter: Arc<dyn Formatter>,
    admin: AdminState,
}

impl Node {
    /// Opens the store, takes up what was waiting, and starts the event loops. What `--dev` adds comes with the
    /// settings but for `makes_channels`.
    ///
    /// # Errors
    /// [`Exit::Store`] or [`Exit::Usage`], by what cannot be used.
    pub(crate) async fn start(
        settings: &Settings,
        master_key: [u8; 32],
        makes_channels: bool,
        clock: SystemClock,
    ) -> Result<Node, Failure> {
        // Settings first: a network or a file that cannot be used is told before the store is touched.
        let transport = transport(settings, clock)?;
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let plugins = plugins(settings, &clock)?;
        let mut seed = [0_u8; 32];
        rand::rngs::SysRng
            .try_fill_bytes(&mut seed)
            .map_err(|error| Failure::work(format!("the operating system gives no randomness: {error}")))?;

        let mut store = StoreOptions::new(&settings.data_dir, master_key, Arc::clone(&clock));
        store.idempotency_ids_max = settings.limits.idempotency_ids;
        store.idempotency_age_ms = settings.limits.idempotency_seconds.saturating_mul(1000);
        store.backlog_deliveries_max = settings.limits.backlog_deliveries;
        store.disk_bytes_max = settings.limits.disk_bytes;
        store.retention = settings.retention;
        // Recovery reads and writes: meanwhile the HTTP face answers probes.
        let store = tokio::task::spawn_blocking(move || LmdbStore::open(store))
            .await
            .map_err(|error| Failure::work(format!("opening the store broke off: {error}")))?
            .map_err(|error| Failure::store(error.to_string()))?;

        // Compiles what was not compiled before.
        let formats = tokio::task::spawn_blocking(move || PluginFormats::open(plugins))
            .await
            .map_err(|error| Failure::work(format!("loading plugins broke off: {error}")))?
            .map_err(|error| Failure::store(error.to_string()))?;
        let formats = Arc::new(formats);

        let engine = Engine::start(EngineOptions {
            clock,
            history: Arc::clone(&store) as _,
            store,
            samples: crate::demo::SAMPLES,
            transport: Arc::new(transport),
            formatter: Arc::clone(&formats) as _,
            formats: Arc::clone(&formats) as _,
            workers: settings.workers,
            seed,
            bootstrap_key: settings.bootstrap_key.as_ref().map(|key| key.0.clone()),
            makes_channels,
            defaults: DeliveryPolicy {
                retry: RetryPolicy {
                    schedule_seconds: settings.retry.schedule_seconds.clone(),
                    max_age_seconds: settings.retry.max_age_seconds,
                },
                ..DeliveryPolicy::default()
            },
            gate: settings.gate.policy(),
            successes: match settings.attempts.successes {
                SuccessesSetting::All => Successes::All,
                SuccessesSetting::Sampled => Successes::Sampled,
                SuccessesSetting::None => Successes::None,
            },
            window_bytes_max: settings.limits.window_bytes,
            idle_sleep: IDLE_SLEEP,
            hub_signature_name: settings.signing.header.clone(),
        })
        .await
        .map_err(|error| Failure::store(format!("the engine cannot start: {error}")))?;

        let allow_http = settings.egress.allow_http;
        let check = move |url: &str| check_url(url, allow_http).map(drop).map_err(|error| error.to_string());
        let admin = AdminState {
            allow_http,
            hub_signature_name: settings.signing.header.clone(),
            limits: admin_limits(settings),
            ..AdminState::new(engine.clone(), Arc::new(check))
        };
        Ok(Node { engine, formatter: formats, admin })
    }

    /// The formats that are not built in.
    pub(crate) fn formatter(&self) -> Arc<dyn Formatter> {
        Arc::clone(&self.formatter)
    }

    /// The state of the HTTP face.
    pub(crate) fn admin(&self) -> AdminState {
        self.admin.clone()
    }
}

/// The HTTP face can take no connection any more.
pub(crate) fn listener_failed(error: std::io::Error) -> Failure {
    Failure::new(Exit::Listen, format!("the listener failed: {error}"))
}

/// Bounds of the HTTP face.
pub(crate) fn admin_limits(settings: &Settings) -> AdminLimits {
    AdminLimits {
        connections_max: settings.limits.connections,
        ingest_bytes_max: settings.limits.ingest_bytes,
        ingest_per_second: settings.limits.ingest_per_second.and_then(NonZeroU32::new),
        ..AdminLimits::default()
    }
}

/// Plugins, as the host takes them.
fn plugins(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<FormatsOptions, Failure> {
    let plugins = &settings.plugins;
    let kept = settings.data_dir.join("formats");
    if plugins.require_signed && plugins.signing_keys.is_empty() {
        tracing::warn!("plugins.require_signed without plugins.signing_keys refuses every plugin");
    }
    Ok(FormatsOptions {
        folder: plugins.dir.clone(),
        cache: Some(kept.join("compiled")),
        kept,
        threads: plugins.threads,
        signatures: SignaturePolicy { is_required: plugins.require_signed, keys: plugins.keys()? },
        shipped: SHIPPED.to_vec(),
        settings: plugins.format_settings()?,
        fresh: plugins.fresh_formats()?,
        clock: Arc::clone(clock),
    })
}

fn transport(settings: &Settings, clock: SystemClock) -> Result<HttpTransport, Failure> {
    let egress = &settings.egress;
    let networks = |name: &str, texts: &[String]| {
        texts
            .iter()
            .map(|text| Network::parse(text).map_err(|error| Failure::usage(format!("{name}: {error}"))))
            .collect::<Result<Vec<_>, _>>()
    };
    let guard = AddressGuard {
        allow: networks("egress.allow", &egress.allow)?,
        deny: networks("egress.deny", &egress.deny)?,
    };
    let tls =
        TlsOptions { extra_ca_files: egress.ca_file.iter().cloned().collect(), extra_ca_pem: Vec::new() };
    let tls = Tls::new(&tls).map_err(|error| Failure::usage(format!("egress.ca_file: {error}")))?;
    Ok(HttpTransport::new(TransportOptions {
        clock: Arc::new(clock),
        guard,
        resolver: Arc::new(HickoryResolver::from_system()),
        tls,
        allow_http: egress.allow_http,
        connections_max: egress.connections_max,
        user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

/// What `--dev` changes: receivers on this machine, over plain http.
pub(crate) fn allow_loopback(settings: &mut Settings) {
    settings.egress.allow_http = true;
    settings.egress.allow.extend(LOOPBACK.map(str::to_owned));
}

/// Raises the limit of open files as far as this process may: every connection needs one.
pub(crate) fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Settings)) -> Failure {
        let mut settings = Settings::default();
        change(&mut settings);
        transport(&settings, SystemClock::new()).expect_err("refused")
    }

    #[test]
    fn networks_and_files_that_cannot_be_used_name_their_setting() {
        let failure = refused(|settings| settings.egress.deny = vec!["10.0.0.1/8".into()]);
        assert_eq!(
            failure,
            Failure::usage("egress.deny: network \"10.0.0.1/8\" has bits set behind its prefix")
        );
        let failure = refused(|settings| settings.egress.ca_file = Some("does-not-exist.pem".into()));
        assert!(failure.message.starts_with("egress.ca_file: "), "{failure}");
    }

    #[test]
    fn dev_allows_receivers_on_this_machine() {
        let mut settings = Settings::default();
        allow_loopback(&mut settings);
        assert!(settings.egress.allow_http);
        transport(&settings, SystemClock::new()).expect("the networks are networks");
    }
}
