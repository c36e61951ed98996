//! Scenarios: what is run and how, read from TOML. `scenarios/` holds those that come with the harness; README.md
//! there explains each key.

use crate::error::Error;
use crate::generator::mix::{Mix, MixOptions};
use crate::receiver::Protocol;
use crate::receiver::behaviour::Behaviour;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest load of one leg, seconds.
const SECONDS_MAX: f64 = 86_400.0;
/// Webhooks of one scenario.
const WEBHOOKS_MAX: u64 = 10_000_000;

/// The course of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Plan {
    /// Load, then wait until all has arrived.
    #[default]
    Steady,
    /// First as fast as it goes, to learn the rate; what is reported is a load of `load.rate_share` of it.
    Share,
    /// Twice the same load, without and with what `beside` describes.
    Beside,
    /// The receiver fails until all events are in; then it recovers.
    Outage,
    /// The engine is killed under load and started again.
    Restart,
    /// Many webhooks and hardly any load.
    Registered,
}

/// One scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// One line for `--list`.
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) plan: Plan,
    /// Seconds of load when it is part of the selection that `bench` runs by default.
    #[serde(default)]
    pub(crate) quick_seconds: Option<f64>,
    /// Seconds of load.
    pub(crate) seconds: f64,
    /// Seconds of load before, which are not measured.
    #[serde(default = "defaults::warm_up_seconds")]
    pub(crate) warm_up_seconds: f64,
    /// So many events in one leg and no more.
    #[serde(default = "defaults::events_max")]
    pub(crate) events_max: u64,
    /// How long nothing may arrive before what is missing counts as missing, seconds.
    #[serde(default = "defaults::stall_seconds")]
    pub(crate) stall_seconds: f64,
    /// Each run starts from nothing; the report shows median and spread.
    #[serde(default = "defaults::runs")]
    pub(crate) runs: usize,
    /// Whether the floors are measured beside it.
    #[serde(default)]
    pub(crate) floors: bool,
    #[serde(default)]
    pub(crate) engine: EngineSpec,
    #[serde(default)]
    pub(crate) receiver: ReceiverSpec,
    #[serde(default)]
    pub(crate) webhooks: WebhookSpec,
    #[serde(default)]
    pub(crate) load: LoadSpec,
    #[serde(default)]
    pub(crate) beside: Option<BesideSpec>,
    #[serde(default)]
    pub(crate) outage: OutageSpec,
}

/// How the engine is started.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EngineSpec {
    /// Settings as in its file, by their whole names.
    pub(crate) settings: BTreeMap<String, toml::Value>,
}

impl EngineSpec {
    /// As values of `--set`.
    pub(crate) fn flags(&self) -> Vec<String> {
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.settings
            .iter()
            .map(|(name, value)| match value {
                toml::Value::Array(values) => {
                    format!("{name}={}", values.iter().map(text).collect::<Vec<_>>().join(","))
                }
                value => format!("{name}={}", text(value)),
            })
            .collect()
    }
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReceiverSpec {
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    pub(crate) threads: usize,
    /// Webhooks are spread over so many addresses of loopback, for one has only some 14,000 ports that are found quickly.
    pub(crate) addresses: u8,
    pub(crate) check_every: u64,
    pub(crate) behaviour: Behaviour,
}

impl Default for ReceiverSpec {
    fn default() -> Self {
        ReceiverSpec {
            protocol: Protocol::Http1,
            tls: false,
            threads: 2,
            addresses: 1,
            check_every: 64,
            behaviour: Behaviour::default(),
        }
    }
}

/// The webhooks of each channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebhookSpec {
    /// How many each channel has: the fan-out.
    pub(crate) per_channel: u64,
    pub(crate) format: String,
    pub(crate) signing: bool,
    pub(crate) max_in_flight: u32,
    pub(crate) timeout_ms: u32,
    /// `NONE` or `KEY`.
    pub(crate) ordering: String,
}

impl Default for WebhookSpec {
    fn default() -> Self {
        WebhookSpec {
            per_channel: 1,
            format: "DEFAULT".into(),
            signing: true,
            max_in_flight: 64,
            timeout_ms: 15_000,
            ordering: "NONE".into(),
        }
    }
}

/// What the generator does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoadSpec {
    /// Events a second; absent: as fast as they are taken.
    pub(crate) rate: Option<f64>,
    /// Of the rate that was learned first (plans `share` and `beside`).
    pub(crate) rate_share: f64,
    pub(crate) connections: usize,
    pub(crate) batch_events: u64,
    pub(crate) channels: u64,
    /// As fast as they are taken, but so that no more deliveries than this wait: about a second's worth, so that a
    /// leg of so many seconds is over soon after. 0: no bound.
    pub(crate) waiting_max: u64,
    pub(crate) events: MixOptions,
}

impl Default for LoadSpec {
    fn default() -> Self {
        LoadSpec {
            rate: None,
            rate_share: 0.5,
            connections: 4,
            batch_events: 150,
            channels: 1,
            waiting_max: 50_000,
            events: MixOptions::default(),
        }
    }
}

/// What goes on beside the load in the second half of a run with plan `beside`: webhooks on channels of their own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BesideSpec {
    pub(crate) channels: u64,
    /// Events pushed to each of them before the load begins.
    #[serde(default)]
    pub(crate) events_each: u64,
    /// Events a second pushed to them during the load.
    #[serde(default)]
    pub(crate) rate: Option<f64>,
    pub(crate) receiver: ReceiverSpec,
    #[serde(default)]
    pub(crate) webhooks: WebhookSpec,
}

/// The course of an outage.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OutageSpec {
    /// The engine is killed and started again before the receiver recovers.
    pub(crate) restarts: bool,
    /// The run ends before the receiver recovers: what waits is all that is looked at.
    pub(crate) stays_down: bool,
}

mod defaults {
    pub(super) fn warm_up_seconds() -> f64 {
        1.0
    }
    pub(super) fn events_max() -> u64 {
        20_000_000
    }
    pub(super) fn stall_seconds() -> f64 {
        20.0
    }
    pub(super) fn runs() -> usize {
        1
    }
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Names the place, or the key and its range.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let scenario: Scenario =
            toml::from_str(text).map_err(|error| Error::usage(format!("scenario {name}: {error}")))?;
        scenario.check().map_err(|problem| Error::usage(format!("scenario {name}: {problem}")))?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if self.name.is_empty() || self.name.len() > 60 || !letters(&self.name) {
            return Err("name must be 1 to 60 letters, digits and -".into());
        }
        let seconds = |name: &str, value: f64, least: f64| {
            if (least..=SECONDS_MAX).contains(&value) {
                return Ok(());
            }
            Err(format!("{name} must be {least} to {SECONDS_MAX}, not {value}"))
        };
        seconds("seconds", self.seconds, 0.1)?;
        seconds("quick_seconds", self.quick_seconds.unwrap_or(1.0), 0.1)?;
        seconds("warm_up_seconds", self.warm_up_seconds, 0.0)?;
        seconds("stall_seconds", self.stall_seconds, 1.0)?;
        let count = |name: &str, value: u64, most: u64| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(format!("{name} must be 1 to {most}, not {value}"))
        };
        count("events_max", self.events_max, 1_000_000_000)?;
        count("runs", self.runs as u64, 100)?;
        count("load.connections", self.load.connections as u64, 1000)?;
        count("load.batch_events", self.load.batch_events, 10_000)?;
        count("load.channels", self.load.channels, WEBHOOKS_MAX)?;
        if !(self.load.rate_share > 0.0 && self.load.rate_share <= 1.0) {
            return Err(format!(
                "load.rate_share must be above 0 and at most 1, not {}",
                self.load.rate_share
            ));
        }
        self.webhooks.check("webhooks", self.load.channels)?;
        self.receiver.behaviour.check().map_err(|problem| format!("receiver.behaviour: {problem}"))?;
        match (self.plan, &self.beside) {
            (Plan::Beside, None) => return Err("the plan beside needs [beside]".into()),
            (Plan::Beside, Some(beside)) => {
                count("beside.channels", beside.channels, WEBHOOKS_MAX)?;
                beside.webhooks.check("beside.webhooks", beside.channels)?;
                let behaviour = beside.receiver.behaviour.check();
                behaviour.map_err(|problem| format!("beside.receiver.behaviour: {problem}"))?;
            }
            (_, Some(_)) => return Err("[beside] belongs to the plan beside".into()),
            (_, None) => {}
        }
        Mix::new(&self.load.events, "c", 1).map_err(|error| format!("load.events: {error}"))?;
        Ok(())
    }
}

impl WebhookSpec {
    fn check(&self, name: &str, channels: u64) -> Result<(), String> {
        let all = self.per_channel.saturating_mul(channels);
        if !(1..=WEBHOOKS_MAX).contains(&all) {
            return Err(format!(
                "{name}.per_channel times the channels must be 1 to {WEBHOOKS_MAX}, not {all}"
            ));
        }
        if !matches!(self.ordering.as_str(), "NONE" | "KEY") {
            return Err(format!("{name}.ordering must be NONE or KEY, not {}", self.ordering));
        }
        Ok(())
    }
}

/// The scenarios that come with the harness, in the order in which they run.
const BUILT_IN: &[(&str, &str)] = &[
    ("fan-out-1", include_str!("../scenarios/fan-out-1.toml")),
    ("fan-out-10", include_str!("../scenarios/fan-out-10.toml")),
    ("fan-out-100", include_str!("../scenarios/fan-out-100.toml")),
    ("fan-out-1000", include_str!("../scenarios/fan-out-1000.toml")),
    ("half-load", include_str!("../scenarios/half-load.toml")),
    ("burst", include_str!("../scenarios/burst.toml")),
    ("every-kind", include_str!("../scenarios/every-kind.toml")),
    ("z-api", include_str!("../scenarios/z-api.toml")),
    ("plugin-cloudevents", include_str!("../scenarios/plugin-cloudevents.toml")),
    ("plugin-whatsapp-cloud", include_str!("../scenarios/plugin-whatsapp-cloud.toml")),
    ("unsigned", include_str!("../scenarios/unsigned.toml")),
    ("attempts-none", include_str!("../scenarios/attempts-none.toml")),
    ("http2", include_str!("../scenarios/http2.toml")),
    ("tls", include_str!("../scenarios/tls.toml")),
    ("tls-http2", include_str!("../scenarios/tls-http2.toml")),
    ("new-connections", include_str!("../scenarios/new-connections.toml")),
    ("ordered", include_str!("../scenarios/ordered.toml")),
    ("many-channels", include_str!("../scenarios/many-channels.toml")),
    ("dead-receivers", include_str!("../scenarios/dead-receivers.toml")),
    ("slow-receiver", include_str!("../scenarios/slow-receiver.toml")),
    ("restart", include_str!("../scenarios/restart.toml")),
    ("outage", include_str!("../scenarios/outage.toml")),
    ("waiting-10m", include_str!("../scenarios/waiting-10m.toml")),
    ("registered-100k", include_str!("../scenarios/registered-100k.toml")),
    ("registered-1m", include_str!("../scenarios/registered-1m.toml")),
    ("soak", include_str!("../scenarios/soak.toml")),
];

/// All scenarios that come with the harness.
///
/// # Errors
/// When one of them is not sound, which a test would have shown.
pub(crate) fn built_in() -> Result<Vec<Scenario>, Error> {
    BUILT_IN.iter().map(|(name, text)| Scenario::parse(name, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_that_comes_along_is_sound_and_named_as_its_file() {
        let all = built_in().unwrap();
        for (scenario, (name, _)) in all.iter().zip(BUILT_IN) {
            assert_eq!(scenario.name, *name);
            assert!(scenario.about.len() < 120 && !scenario.about.is_empty(), "{name}");
        }
        let quick: f64 = all.iter().filter_map(|scenario| scenario.quick_seconds).sum();
        assert!((10.0..=30.0).contains(&quick), "{quick} s of load in the selection of a minute");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), BUILT_IN.len(), "a file is not built in");
    }

    const LEAST: &str = "name = \"x\"\nabout = \"y\"\nseconds = 1\n";

    #[test]
    fn the_least_scenario_is_fan_out_one_signed() {
        let scenario = Scenario::parse("x", LEAST).unwrap();
        assert_eq!((scenario.plan, scenario.runs, scenario.webhooks.per_channel), (Plan::Steady, 1, 1));
        assert!(scenario.webhooks.signing && scenario.load.rate.is_none() && !scenario.floors);
    }

    #[test]
    fn settings_become_flags() {
        let text = format!(
            "{LEAST}[engine.settings]\nworkers = 1\n\"attempts.successes\" = \"none\"\n\"retry.schedule_seconds\" = [1, 2]\n"
        );
        let flags = Scenario::parse("x", &text).unwrap().engine.flags();
        assert_eq!(flags, ["attempts.successes=none", "retry.schedule_seconds=1,2", "workers=1"]);
    }

    #[test]
    fn what_cannot_be_run_names_the_key_and_its_range() {
        for (addition, text) in [
            ("speed = 9\n", "unknown field `speed`"),
            ("runs = 0\n", "runs must be 1 to 100, not 0"),
            ("events_max = 0\n", "events_max must be 1 to"),
            ("plan = \"beside\"\n", "needs [beside]"),
            ("plan = \"sideways\"\n", "unknown variant `sideways`"),
            ("[webhooks]\nordering = \"LOOSE\"\n", "webhooks.ordering must be NONE or KEY, not LOOSE"),
            ("[webhooks]\nper_channel = 0\n", "must be 1 to 10000000, not 0"),
            ("[receiver.behaviour]\nfail_share = 7\n", "receiver.behaviour: fail_share"),
            ("[load]\nrate_share = 2\n", "load.rate_share must be above 0"),
            ("[load.events]\nkinds = [\"PARTY\"]\n", "kind PARTY"),
            ("[beside]\nchannels = 1\n[beside.receiver]\n", "belongs to the plan beside"),
        ] {
            let error = Scenario::parse("file.toml", &format!("{LEAST}{addition}")).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("file.toml"), "{addition}: {error}");
        }
        let error = Scenario::parse("f", &LEAST.replace("\"x\"", "\"../x\"")).unwrap_err().to_string();
        assert!(error.contains("name must be 1 to 60 letters"), "{error}");
    }
}
