//! Settings: a TOML file, then the environment, then flags; each beats the one before.
//!
//! [`keys`] holds every name with its type, [`merge`] brings the three sources together and names whatever does not
//! fit, and [`Settings`] below is what the rest of the binary reads. `fanfare.example.toml` shows every key with its
//! default; a test keeps the three in step.

pub(crate) mod keys;
pub(crate) mod merge;
pub(crate) mod plugins;

use crate::exit::Failure;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::webhook::DEFAULT_SCHEDULE_SECONDS;
use fanfare_core::{Secret, limits};
use fanfare_store::Retention;
use plugins::PluginSettings;
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Everything `fanfare serve` can be told, with every value present.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Address and port of the HTTP face; port 0 picks a free one, told by the first log line and `DATA_DIR/listen`.
    pub(crate) listen: String,
    /// Where everything durable is kept; made (0700) when it is not there.
    pub(crate) data_dir: PathBuf,
    /// Event loops that deliver. More than there are cores brings nothing.
    pub(crate) workers: usize,
    /// A key with every scope that is never stored; from the environment only.
    pub(crate) bootstrap_key: Option<SecretText>,
    /// File with the 32 bytes that seal secrets at rest, as 64 hex digits or base64. Without it (and without
    /// `FANFARE_MASTER_KEY`) one is made in the data directory.
    pub(crate) master_key_file: Option<PathBuf>,
    /// `log.*`.
    pub(crate) log: LogSettings,
    /// `egress.*`.
    pub(crate) egress: EgressSettings,
    /// `signing.*`.
    pub(crate) signing: SigningSettings,
    /// `limits.*`.
    pub(crate) limits: LimitSettings,
    /// `retry.*`.
    pub(crate) retry: RetrySettings,
    /// `gate.*`.
    pub(crate) gate: GateSettings,
    /// `attempts.*`.
    pub(crate) attempts: AttemptSettings,
    /// `retention.*`.
    pub(crate) retention: Retention,
    /// `plugins.*`.
    pub(crate) plugins: PluginSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: "127.0.0.1:8080".into(),
            data_dir: "./fanfare-data".into(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            bootstrap_key: None,
            master_key_file: None,
            log: LogSettings::default(),
            egress: EgressSettings::default(),
            signing: SigningSettings::default(),
            limits: LimitSettings::default(),
            retry: RetrySettings::default(),
            gate: GateSettings::default(),
            attempts: AttemptSettings::default(),
            retention: Retention::default(),
            plugins: PluginSettings::default(),
        }
    }
}

/// How the log reads.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The log, on standard error.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// `text` or `json`.
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`, also per part: `info,fanfare_engine=debug`.
    pub(crate) level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { format: LogFormat::Text, level: "info".into() }
    }
}

/// What may be called, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EgressSettings {
    /// Whether webhooks may have plain `http` URLs.
    pub(crate) allow_http: bool,
    /// Networks that may be called although they are private or reserved, as `ADDRESS/BITS`.
    pub(crate) allow: Vec<String>,
    /// Networks that may not be called; beats `allow`.
    pub(crate) deny: Vec<String>,
    /// PEM file of further certificate authorities, trusted beside the public ones.
    pub(crate) ca_file: Option<PathBuf>,
    /// Connections to receivers at once, over all webhooks. Raising it costs file descriptors and memory.
    pub(crate) connections_max: usize,
}

impl Default for EgressSettings {
    fn default() -> Self {
        EgressSettings {
            allow_http: false,
            allow: Vec::new(),
            deny: Vec::new(),
            ca_file: None,
            connections_max: 16_384,
        }
    }
}

/// How requests are signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SigningSettings {
    /// Name of the hub's signature header.
    pub(crate) header: String,
}

impl Default for SigningSettings {
    fn default() -> Self {
        SigningSettings { header: "X-Hub-Signature-256".into() }
    }
}

/// Bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitSettings {
    /// Deliveries waiting, over all webhooks, at which events are refused (503).
    pub(crate) backlog_deliveries: u64,
    /// Bytes the store may use; at this size events are refused (503) and deliveries go on. Absent: the disk's own.
    pub(crate) disk_bytes: Option<u64>,
    /// Connections to the HTTP face at once; further ones wait.
    pub(crate) connections: usize,
    /// Bytes of event requests held at once; over it 503.
    pub(crate) ingest_bytes: usize,
    /// Events a second that one key may push; over it 429. Absent: as many as are taken.
    pub(crate) ingest_per_second: Option<u32>,
    /// Bytes of events held in memory for delivery, over all webhooks; what is above waits on disk.
    pub(crate) window_bytes: u64,
    /// Idempotency window: ids remembered over all channels, about 35 bytes of memory each.
    pub(crate) idempotency_ids: usize,
    /// Idempotency window: age, seconds.
    pub(crate) idempotency_seconds: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings {
            backlog_deliveries: limits::BACKLOG_DELIVERIES_MAX,
            disk_bytes: None,
            connections: 10_000,
            ingest_bytes: 256 * 1024 * 1024,
            ingest_per_second: None,
            window_bytes: 256 * 1024 * 1024,
            idempotency_ids: limits::IDEMPOTENCY_IDS_MAX,
            idempotency_seconds: limits::IDEMPOTENCY_AGE_MS / 1000,
        }
    }
}

/// Retries of webhooks that set none of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetrySettings {
    /// Waits before attempt 2, 3, …, seconds.
    pub(crate) schedule_seconds: Vec<u32>,
    /// A delivery older than this is dead, seconds.
    pub(crate) max_age_seconds: u32,
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings { schedule_seconds: DEFAULT_SCHEDULE_SECONDS.to_vec(), max_age_seconds: 432_000 }
    }
}

/// When a webhook that fails is left alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GateSettings {
    /// Failures in a row that shut a webhook's gate.
    pub(crate) failures: u32,
    /// How long it is shut the first time, ms; doubles with each failed probe.
    pub(crate) shut_ms_first: u64,
    /// How long it is shut at most, ms.
    pub(crate) shut_ms_max: u64,
    /// Failing for so long without a success disables the webhook, seconds.
    pub(crate) disable_after_seconds: u64,
}

impl Default for GateSettings {
    fn default() -> Self {
        let policy = GatePolicy::default();
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        GateSettings {
            failures: policy.failures_max,
            shut_ms_first: ms(policy.shut_first),
            shut_ms_max: ms(policy.shut_max),
            disable_after_seconds: policy.disable_after.as_secs(),
        }
    }
}

impl GateSettings {
    /// As the policy takes it.
    pub(crate) fn policy(&self) -> GatePolicy {
        GatePolicy {
            failures_max: self.failures,
            shut_first: Duration::from_millis(self.shut_ms_first),
            shut_max: Duration::from_millis(self.shut_ms_max),
            disable_after: Duration::from_secs(self.disable_after_seconds),
        }
    }
}

/// Which attempts are recorded; failed ones always are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AttemptSettings {
    /// `all`, `sampled` (one in a hundred) or `none` of the successes.
    pub(crate) successes: SuccessesSetting,
}

/// Which successes are recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SuccessesSetting {
    /// Every one, so that each delivery can be shown later.
    #[default]
    All,
    /// One in a hundred.
    Sampled,
    /// None.
    None,
}

/// A secret among the settings; prints as `Secret(…)`.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(crate) struct SecretText(pub(crate) Secret);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        SecretText(Secret::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Settings {
    /// Holds every value against its range.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let count = |name: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Failure::usage(format!("{name} must be {least} to {most}, not {value}")))
        };
        count("workers", wide(self.workers), 1, 1024)?;
        count("egress.connections_max", wide(self.egress.connections_max), 1, 10_000_000)?;
        count("limits.backlog_deliveries", self.limits.backlog_deliveries, 1, 100_000_000_000)?;
        if let Some(events) = self.limits.ingest_per_second {
            count("limits.ingest_per_second", events.into(), 1, u32::MAX.into())?;
        }
        if let Some(bytes) = self.limits.disk_bytes {
            count("limits.disk_bytes", bytes, 16 * 1024 * 1024, 1 << 50)?;
        }
        count("limits.connections", wide(self.limits.connections), 1, 10_000_000)?;
        let request = wide(limits::REQUEST_BYTES_MAX);
        count("limits.ingest_bytes", wide(self.limits.ingest_bytes), request, 1 << 40)?;
        count("limits.idempotency_ids", wide(self.limits.idempotency_ids), 1, 1_000_000_000)?;
        count("limits.idempotency_seconds", self.limits.idempotency_seconds, 1, 31_536_000)?;
        count("number of steps in retry.schedule_seconds", wide(self.retry.schedule_seconds.len()), 1, 20)?;
        for step in &self.retry.schedule_seconds {
            count("a step of retry.schedule_seconds", u64::from(*step), 1, 604_800)?;
        }
        count("retry.max_age_seconds", u64::from(self.retry.max_age_seconds), 1, 2_592_000)?;
        count("limits.window_bytes", self.limits.window_bytes, 1024 * 1024, 1 << 40)?;
        count("gate.failures", u64::from(self.gate.failures), 1, 1_000_000)?;
        count("gate.shut_ms_first", self.gate.shut_ms_first, 1, 86_400_000)?;
        count("gate.shut_ms_max", self.gate.shut_ms_max, self.gate.shut_ms_first, 86_400_000)?;
        count("gate.disable_after_seconds", self.gate.disable_after_seconds, 1, 31_536_000)?;
        count("plugins.threads", wide(self.plugins.threads), 1, 256)?;
        self.plugins.check()?;
        if http::HeaderName::from_bytes(self.signing.header.as_bytes()).is_err() {
            return Err(Failure::usage("signing.header must be a header name: letters, digits and -"));
        }
        if self.bootstrap_key.as_ref().is_some_and(|key| key.0.expose().is_empty()) {
            return Err(Failure::usage(
                "FANFARE_BOOTSTRAP_KEY is empty; make one with: openssl rand -hex 32",
            ));
        }
        Ok(())
    }
}

/// A shorter operator's key draws a warning: with every scope, one that can be guessed is worse than none.
pub(crate) const BOOTSTRAP_KEY_CHARS_ENOUGH: usize = 16;

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::merge::{Sources, load};
    use super::*;
    use std::collections::BTreeSet;

    const EXAMPLE: &str = include_str!("../../fanfare.example.toml");

    const SIGNING_KEY: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

    /// The example with every commented-out setting switched on.
    fn switched_on() -> toml::Table {
        let text: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("#:").map_or(line, str::trim_start).to_owned() + "\n")
            .collect();
        text.parse().expect("the example is TOML")
    }

    fn leaves(table: &toml::Table, prefix: &str, found: &mut BTreeSet<String>) {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            match value.as_table() {
                Some(inner) if keys::find(&path).is_none() => leaves(inner, &format!("{path}."), found),
                _ => drop(found.insert(path)),
            }
        }
    }

    #[test]
    fn the_example_shows_every_key_and_no_other() {
        let mut shown = BTreeSet::new();
        leaves(&switched_on(), "", &mut shown);
        let known: BTreeSet<String> =
            keys::KEYS.iter().filter(|key| !key.is_secret).map(|key| key.path.to_owned()).collect();
        assert_eq!(shown, known);
    }

    #[test]
    fn the_example_as_it_stands_is_accepted_and_changes_nothing() {
        let settings = load(Sources { file: Some(("example".into(), EXAMPLE.into())), ..Sources::default() });
        assert_eq!(format!("{:?}", settings.unwrap()), format!("{:?}", Settings::default()));
    }

    #[test]
    fn the_values_the_example_shows_are_the_defaults() {
        let mut table = switched_on();
        // These have no default to show; the example's value is a sample.
        let egress = table.get_mut("egress").and_then(toml::Value::as_table_mut).unwrap();
        egress.remove("ca_file").unwrap();
        let limits = table.get_mut("limits").and_then(toml::Value::as_table_mut).unwrap();
        limits.remove("disk_bytes").unwrap();
        limits.remove("ingest_per_second").unwrap();
        table.remove("master_key_file").unwrap();
        table.remove("workers").unwrap();
        let plugins = table.get_mut("plugins").and_then(toml::Value::as_table_mut).unwrap();
        for sample in ["dir", "signing_keys", "threads", "fresh", "settings"] {
            plugins.remove(sample).unwrap();
        }
        let text = table.to_string();
        let settings = load(Sources { file: Some(("example".into(), text)), ..Sources::default() }).unwrap();
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn every_key_of_the_table_reaches_the_struct() {
        for key in keys::KEYS {
            let value = match key.path {
                "log.format" => "json",
                "attempts.successes" => "none",
                "workers" | "retry.max_age_seconds" | "retry.schedule_seconds" => "7",
                "listen" => "127.0.0.1:0",
                "limits.ingest_bytes" | "limits.window_bytes" | "limits.disk_bytes" => "33554432",
                "gate.shut_ms_max" => "7777",
                "plugins.signing_keys" => SIGNING_KEY,
                "plugins.fresh" => "CLOUDEVENTS",
                "plugins.settings" => r#"{"CLOUDEVENTS":{"source":"/hub"}}"#,
                _ => match key.kind {
                    keys::Kind::Flag => "true",
                    keys::Kind::Count => "77",
                    _ => "a-long-enough-text",
                },
            };
            let name = format!("FANFARE_{}", key.path.to_uppercase().replace('.', "__"));
            let environment = vec![(name.into(), value.into())];
            let settings = load(Sources { environment, ..Sources::default() })
                .unwrap_or_else(|failure| panic!("{}: {failure}", key.path));
            assert_ne!(format!("{settings:?}"), format!("{:?}", Settings::default()), "{}", key.path);
        }
    }

    #[test]
    fn values_outside_their_range_name_key_and_range() {
        for (text, message) in [
            ("workers = 0", "workers must be 1 to 1024, not 0"),
            ("[limits]\ningest_bytes = 5", "limits.ingest_bytes must be 16777216 to 1099511627776, not 5"),
            (
                "[retry]\nschedule_seconds = []",
                "number of steps in retry.schedule_seconds must be 1 to 20, not 0",
            ),
            (
                "[retry]\nschedule_seconds = [5, 0]",
                "a step of retry.schedule_seconds must be 1 to 604800, not 0",
            ),
            ("[gate]\nshut_ms_max = 999", "gate.shut_ms_max must be 1000 to 86400000, not 999"),
            ("[retry]\nmax_age_seconds = 2592001", "retry.max_age_seconds must be 1 to 2592000, not 2592001"),
            ("[signing]\nheader = \"a b\"", "signing.header must be a header name: letters, digits and -"),
        ] {
            let failure =
                load(Sources { file: Some(("f".into(), text.into())), ..Sources::default() }).unwrap_err();
            assert_eq!(failure, Failure::usage(message), "{text}");
        }
    }

    #[test]
    fn the_bootstrap_key_is_not_printed_and_not_empty() {
        let environment = vec![("FANFARE_BOOTSTRAP_KEY".into(), "hunter2hunter2hunter2".into())];
        let settings = load(Sources { environment, ..Sources::default() }).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        let environment = vec![("FANFARE_BOOTSTRAP_KEY".into(), "".into())];
        let failure = load(Sources { environment, ..Sources::default() }).unwrap_err();
        assert!(failure.message.contains("is empty"), "{failure}");
    }
}
