//! What a run found: what the report is made of, and what stands in its JSON.

use serde::Serialize;
use std::collections::BTreeMap;

/// Something that must hold; a run in which it does not is a bad one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) is_good: bool,
    pub(crate) detail: String,
}

/// One look at everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Since the run began, seconds.
    pub(crate) at_s: f64,
    /// Deliveries so far.
    pub(crate) delivered: u64,
    /// Latency of what arrived since the sample before.
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// Processor time so far, seconds.
    pub(crate) engine_cpu_s: f64,
    pub(crate) receiver_cpu_s: f64,
    pub(crate) generator_cpu_s: f64,
    pub(crate) engine_anonymous_bytes: u64,
    /// 0: not counted in this sample.
    pub(crate) engine_descriptors: u64,
}

/// One run of a scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Run {
    /// By name; the unit ends the name.
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) checks: Vec<Check>,
    pub(crate) samples: Vec<Sample>,
    /// Percentile and latency in µs.
    pub(crate) curve: Vec<(f64, u64)>,
}

impl Run {
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.figures.insert(name.to_owned(), value);
        }
    }

    pub(crate) fn check(&mut self, name: &str, is_good: bool, detail: impl Into<String>) {
        self.checks.push(Check { name: name.to_owned(), is_good, detail: detail.into() });
    }
}

/// All runs of a scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ScenarioFindings {
    pub(crate) name: String,
    pub(crate) about: String,
    /// From a file: it may be called like one that comes along and be another.
    pub(crate) is_own: bool,
    pub(crate) runs: Vec<Run>,
    /// Why a run could not be made, or not to its end; the others stand.
    pub(crate) failure: Option<String>,
}

impl ScenarioFindings {
    /// A figure over all runs.
    pub(crate) fn spread(&self, name: &str) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.figures.get(name).copied()))
    }

    pub(crate) fn is_good(&self) -> bool {
        self.failure.is_none() && self.runs.iter().all(|run| run.checks.iter().all(|check| check.is_good))
    }
}

/// A figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Spread { median: f64::midpoint(lower, upper), least, most })
    }
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Findings {
    pub(crate) version: String,
    /// RFC 3339, in UTC, to the second.
    pub(crate) when: String,
    pub(crate) machine: String,
    /// `release` or `debug`: figures of a debug build say nothing.
    pub(crate) build: String,
    pub(crate) is_pinned: bool,
    pub(crate) scenarios: Vec<ScenarioFindings>,
}

impl Findings {
    pub(crate) fn is_good(&self) -> bool {
        self.scenarios.iter().all(ScenarioFindings::is_good)
    }

    /// One that comes along.
    pub(crate) fn scenario(&self, name: &str) -> Option<&ScenarioFindings> {
        self.scenarios.iter().find(|scenario| scenario.name == name && !scenario.is_own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(Spread { median: 3.0, least: 3.0, most: 3.0 }));
        assert_eq!(of(&[9.0, 1.0, 4.0]), Some(Spread { median: 4.0, least: 1.0, most: 9.0 }));
        assert_eq!(of(&[4.0, 1.0, 9.0, 2.0]).map(|spread| spread.median), Some(3.0));
    }

    #[test]
    fn a_run_is_good_when_all_that_must_hold_does() {
        let mut run = Run::default();
        run.put("x_ms", 1.0);
        run.put("nothing", f64::NAN);
        assert_eq!(run.figures.len(), 1);
        run.check("a", true, "");
        let findings = |run: &Run, failure: Option<&str>| ScenarioFindings {
            name: "s".into(),
            about: String::new(),
            is_own: false,
            runs: vec![run.clone()],
            failure: failure.map(str::to_owned),
        };
        assert!(findings(&run, None).is_good());
        assert!(!findings(&run, Some("no port")).is_good());
        run.check("b", false, "two are missing");
        assert!(!findings(&run, None).is_good());
    }
}
