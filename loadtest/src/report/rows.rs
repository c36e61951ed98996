//! The figures to reach, each held against what was measured. The bars are those of the product's contract.

use crate::findings::{Findings, Spread};

/// On which side of the bar it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    AtMost,
    AtLeast,
}

/// One figure of one scenario and its bar.
#[derive(Clone, Copy, Debug)]
struct Condition {
    figure: &'static str,
    /// The figure is divided by it.
    over: f64,
    side: Side,
    bar: f64,
}

const fn at_most(figure: &'static str, bar: f64) -> Condition {
    Condition { figure, over: 1.0, side: Side::AtMost, bar }
}

const fn at_least(figure: &'static str, bar: f64) -> Condition {
    Condition { figure, over: 1.0, side: Side::AtLeast, bar }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    what: &'static str,
    bar: &'static str,
    scenario: &'static str,
    conditions: &'static [Condition],
}

/// Deliveries a second of the Svix server with PostgreSQL at fan-out 1, measured on the machine that the bars come from.
/// It is no part of this harness.
const SVIX_PER_SECOND: f64 = 1097.0;

const ROWS: &[Row] = &[
    Row {
        what: "CPU per delivery, fan-out 1",
        bar: "at most 1.7 x the bare hyper loop",
        scenario: "fan-out-1",
        conditions: &[at_most("ratio_to_hyper", 1.7)],
    },
    Row {
        what: "CPU per delivery, fan-out 100",
        bar: "at most 1.35 x the bare hyper loop",
        scenario: "fan-out-100",
        conditions: &[at_most("ratio_to_hyper", 1.35)],
    },
    Row {
        what: "deliveries a second, as a multiple of Svix (1,097/s, measured elsewhere)",
        bar: "at least 50 x",
        scenario: "fan-out-1",
        conditions: &[Condition {
            figure: "deliveries_per_second",
            over: SVIX_PER_SECOND,
            side: Side::AtLeast,
            bar: 50.0,
        }],
    },
    Row {
        what: "ingest-to-receiver latency at half load, durable",
        bar: "p50 at most 2 ms, p99 at most 10 ms",
        scenario: "half-load",
        conditions: &[at_most("latency_p50_ms", 2.0), at_most("latency_p99_ms", 10.0)],
    },
    Row {
        what: "1,000 receivers that never answer beside a healthy one",
        bar: "throughput at least 0.95 x, p99 at most 1.5 x",
        scenario: "dead-receivers",
        conditions: &[at_least("throughput_ratio", 0.95), at_most("p99_ratio", 1.5)],
    },
    Row {
        what: "1,000,000 registered webhooks",
        bar: "at most 1024 bytes each, ready in at most 10 s",
        scenario: "registered-1m",
        conditions: &[at_most("webhook_bytes", 1024.0), at_most("ready_s", 10.0)],
    },
    Row {
        what: "10,000,000 deliveries waiting",
        // A bar for "does not grow": two bytes for each of the nine million that come after the first.
        bar: "memory grows by at most 18 MB, ready in at most 10 s",
        scenario: "waiting-10m",
        conditions: &[at_most("waiting_growth_mb", 18.0), at_most("ready_s", 10.0)],
    },
];

/// Rows that a bench measures, not a load: name, bar, and the bench in `benches/`.
const BENCHED: &[(&str, &str, &str)] = &[
    ("signing", "at most 1.1 x the fastest of hmac+sha2, ring, aws-lc-rs", "sign"),
    ("Z_API rendering", "at most 3 us for a 1.5 KB event", "render"),
];

/// How a row came out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) what: &'static str,
    pub(super) bar: &'static str,
    /// Figures with their spread; `-`: not measured.
    pub(super) value: String,
    pub(super) verdict: &'static str,
    pub(super) command: String,
}

/// All rows.
pub(super) fn outcomes(findings: &Findings) -> Vec<Outcome> {
    let measured = ROWS.iter().map(|row| {
        let scenario = findings.scenario(row.scenario);
        let spreads: Option<Vec<(Condition, Spread)>> = scenario.and_then(|scenario| {
            row.conditions
                .iter()
                .map(|condition| Some((*condition, over(scenario.spread(condition.figure)?, condition.over))))
                .collect()
        });
        let (value, verdict) = match &spreads {
            None => ("-".to_owned(), "not measured"),
            Some(spreads) => {
                let texts: Vec<String> =
                    spreads.iter().map(|(condition, spread)| show(condition, spread)).collect();
                let is_reached = spreads.iter().all(|(condition, spread)| reaches(condition, spread.median));
                (texts.join(", "), if is_reached { "reached" } else { "not reached" })
            }
        };
        let command = format!("fanfare bench --scenario {}", row.scenario);
        Outcome { what: row.what, bar: row.bar, value, verdict, command }
    });
    let benched = BENCHED.iter().map(|(what, bar, bench)| Outcome {
        what,
        bar,
        value: "-".to_owned(),
        verdict: "not measured here",
        command: format!("cargo bench --bench {bench}"),
    });
    measured.chain(benched).collect()
}

fn over(spread: Spread, by: f64) -> Spread {
    Spread { median: spread.median / by, least: spread.least / by, most: spread.most / by }
}

fn reaches(condition: &Condition, value: f64) -> bool {
    match condition.side {
        Side::AtMost => value <= condition.bar,
        Side::AtLeast => value >= condition.bar,
    }
}

fn show(condition: &Condition, spread: &Spread) -> String {
    let name = if condition.over == 1.0 { condition.figure } else { "multiple" };
    format!("{name} {}", super::markdown::spread(spread))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Run, ScenarioFindings};

    fn verdict(scenario: &str, figures: &[(&str, [f64; 3])], what: &str) -> Outcome {
        let runs = (0..3).map(|index| {
            let mut run = Run::default();
            figures.iter().for_each(|(name, values)| run.put(name, values[index]));
            run
        });
        let mut findings = crate::conductor::new_findings("0", "now".into(), false);
        findings.scenarios.push(ScenarioFindings {
            name: scenario.into(),
            about: String::new(),
            is_own: false,
            runs: runs.collect(),
            failure: None,
        });
        outcomes(&findings).into_iter().find(|outcome| outcome.what.contains(what)).unwrap()
    }

    #[test]
    fn the_median_is_held_against_the_bar() {
        let outcome = verdict("fan-out-1", &[("ratio_to_hyper", [1.5, 9.0, 1.7])], "fan-out 1");
        assert_eq!((outcome.verdict, outcome.value.as_str()), ("reached", "ratio_to_hyper 1.70 (1.50-9.00)"));
        let outcome = verdict("fan-out-1", &[("ratio_to_hyper", [1.5, 1.8, 1.71])], "fan-out 1");
        assert_eq!(outcome.verdict, "not reached");
        let outcome = verdict("fan-out-1", &[("deliveries_per_second", [109_700.0; 3])], "Svix");
        assert_eq!((outcome.verdict, outcome.value.as_str()), ("reached", "multiple 100"));
    }

    #[test]
    fn a_row_with_two_bars_needs_both() {
        let latency = |p99: f64| {
            verdict("half-load", &[("latency_p50_ms", [1.0; 3]), ("latency_p99_ms", [p99; 3])], "half load")
                .verdict
        };
        assert_eq!((latency(9.9), latency(10.1)), ("reached", "not reached"));
        assert_eq!(
            verdict("half-load", &[("latency_p50_ms", [1.0; 3])], "half load").verdict,
            "not measured"
        );
    }

    #[test]
    fn an_own_scenario_of_the_same_name_is_not_held_against_the_bar() {
        let mut findings = crate::conductor::new_findings("0", "now".into(), false);
        let mut run = Run::default();
        run.put("ratio_to_hyper", 1.0);
        findings.scenarios.push(ScenarioFindings {
            name: "fan-out-1".into(),
            about: String::new(),
            is_own: true,
            runs: vec![run],
            failure: None,
        });
        assert_eq!(outcomes(&findings)[0].verdict, "not measured");
    }

    #[test]
    fn every_row_names_a_scenario_or_a_bench_that_there_is() {
        let known = crate::scenario::built_in().unwrap();
        for row in ROWS {
            assert!(known.iter().any(|scenario| scenario.name == row.scenario), "{}", row.scenario);
        }
        let benches = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/benches");
        for (what, _, bench) in BENCHED {
            assert!(benches.join(format!("{bench}.rs")).exists(), "{bench}");
            let command = verdict("half-load", &[], what).command;
            assert_eq!(command, format!("cargo bench --bench {bench}"));
        }
    }
}
