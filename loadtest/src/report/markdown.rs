//! The report as people read it.

use super::rows;
use crate::findings::{Findings, ScenarioFindings, Spread};
use crate::floors::Floor;
use std::fmt::Write as _;

/// Columns of the first table: heading and figure.
const COLUMNS: &[(&str, &str)] = &[
    ("deliveries/s", "deliveries_per_second"),
    ("engine CPU us/delivery", "engine_cpu_us"),
    ("x raw", "ratio_to_raw"),
    ("x hyper", "ratio_to_hyper"),
    ("x pool", "ratio_to_pool"),
    ("x reqwest", "ratio_to_reqwest"),
    ("p50 ms", "latency_p50_ms"),
    ("p99 ms", "latency_p99_ms"),
    ("p99.9 ms", "latency_p999_ms"),
    ("memory MB", "memory_max_mb"),
];

/// A number with as many digits as mean something.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let digits = format!("{size:.0}");
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return if value < 0.0 { format!("-{grouped}") } else { grouped };
    }
    match size {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Median and, when there is one, the spread.
pub(super) fn spread(spread: &Spread) -> String {
    let (median, least, most) = (number(spread.median), number(spread.least), number(spread.most));
    if least == most { median } else { format!("{median} ({least}-{most})") }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn table(out: &mut String, headings: &[&str], rows: &[Vec<String>]) {
    line(out, &format!("| {} |", headings.join(" | ")));
    line(out, &format!("|{}", " --- |".repeat(headings.len())));
    for row in rows {
        line(out, &format!("| {} |", row.join(" | ")));
    }
    line(out, "");
}

/// The whole report.
pub(super) fn write(findings: &Findings) -> String {
    let mut out = String::new();
    line(&mut out, "# fanfare bench\n");
    let pinned = if findings.is_pinned { "engine and the rest on halves of them" } else { "nothing pinned" };
    let Findings { version, build, machine, when, .. } = findings;
    line(&mut out, &format!("fanfare {version} ({build} build), {machine}, {pinned}, {when}.\n"));
    if build == "debug" {
        line(&mut out, "**A debug build: its figures say nothing about speed.**\n");
    }
    line(
        &mut out,
        "Engine, receiver and generator share the machine. Figures are the median of the runs, in brackets least and \
         most. CPU is the engine process's own user and system time, ingest included; x raw, x hyper, ... are multiples \
         of what that client alone needs for the same request to the same receiver. Memory is anonymous resident \
         memory.\n",
    );
    scenarios(&mut out, findings);
    floors(&mut out, findings);
    line(&mut out, "## Figures to reach\n");
    let rows: Vec<Vec<String>> = rows::outcomes(findings)
        .into_iter()
        .map(|outcome| {
            let command = format!("`{}`", outcome.command);
            vec![outcome.what.into(), outcome.bar.into(), outcome.value, outcome.verdict.into(), command]
        })
        .collect();
    table(&mut out, &["what", "bar", "measured", "verdict", "command"], &rows);
    for scenario in &findings.scenarios {
        details(&mut out, scenario);
    }
    out
}

fn scenarios(out: &mut String, findings: &Findings) {
    line(out, "## Scenarios\n");
    let shown: Vec<&(&str, &str)> = COLUMNS
        .iter()
        .filter(|(_, figure)| findings.scenarios.iter().any(|scenario| scenario.spread(figure).is_some()))
        .collect();
    let mut headings = vec!["scenario", "runs"];
    headings.extend(shown.iter().map(|(heading, _)| *heading));
    headings.push("all is well");
    let rows: Vec<Vec<String>> = findings
        .scenarios
        .iter()
        .map(|scenario| {
            let mut row = vec![scenario.name.clone(), scenario.runs.len().to_string()];
            row.extend(shown.iter().map(|(_, figure)| {
                scenario.spread(figure).map_or_else(|| "-".to_owned(), |figure| spread(&figure))
            }));
            row.push(if scenario.is_good() { "yes" } else { "**no**" }.to_owned());
            row
        })
        .collect();
    table(out, &headings, &rows);
}

fn floors(out: &mut String, findings: &Findings) {
    let measured =
        findings.scenarios.iter().filter(|scenario| scenario.spread("floor_hyper_cpu_us").is_some());
    let mut rows = Vec::new();
    for scenario in measured {
        for floor in Floor::ALL {
            let figure = |what: &str| scenario.spread(&format!("floor_{}_{what}", floor.name()));
            if let (Some(cpu), Some(rate)) = (figure("cpu_us"), figure("per_second")) {
                rows.push(vec![scenario.name.clone(), floor.name().into(), spread(&cpu), spread(&rate)]);
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    line(out, "## Floors\n");
    line(out, "64 kept-alive connections, one event loop, the same body to the same kind of receiver.\n");
    table(out, &["measured beside", "client", "CPU us/request", "requests/s"], &rows);
    if !Floor::ALL.iter().any(|floor| floor.name() == "reqwest") {
        line(out, "reqwest is left out of ordinary builds; `--features bench-reqwest` puts it in.\n");
    }
}

fn details(out: &mut String, scenario: &ScenarioFindings) {
    line(out, &format!("## {}\n", scenario.name));
    line(out, &format!("{}.\n", scenario.about));
    if let Some(failure) = &scenario.failure {
        line(out, &format!("**A run could not be made: {failure}**\n"));
    }
    for (number, run) in (1..).zip(&scenario.runs) {
        for check in run.checks.iter().filter(|check| !check.is_good) {
            line(out, &format!("- **run {number}: not so: {}** ({})", check.name, check.detail));
        }
    }
    let checks: usize = scenario.runs.iter().map(|run| run.checks.len()).sum();
    let good = scenario.runs.iter().flat_map(|run| &run.checks).filter(|check| check.is_good).count();
    let _infallible = writeln!(out, "{good} of {checks} checks hold.\n");
    let names: std::collections::BTreeSet<&String> =
        scenario.runs.iter().flat_map(|run| run.figures.keys()).collect();
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .filter_map(|name| Some(vec![name.clone(), spread(&scenario.spread(name)?)]))
        .collect();
    if !rows.is_empty() {
        table(out, &["figure", "value"], &rows);
    }
    if scenario.runs.iter().any(|run| !run.curve.is_empty()) {
        let name = &scenario.name;
        line(out, &format!("![latency]({name}-latency.svg) ![throughput]({name}-throughput.svg)\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Run;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let shown = [0.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -1234.0].map(number);
        assert_eq!(shown, ["0.00", "1.23", "12.3", "123", "1,234", "1,234,567", "-1,234"]);
        let one = Spread { median: 5.0, least: 5.0, most: 5.0 };
        assert_eq!([spread(&one), spread(&Spread { most: 7.0, ..one })], ["5.00", "5.00 (5.00-7.00)"]);
    }

    #[test]
    fn the_report_shows_figures_failures_and_what_does_not_hold() {
        let mut findings = crate::conductor::new_findings("9.9.9", "2030-01-01T00:00:00Z".into(), false);
        let mut run = Run::default();
        run.put("deliveries_per_second", 54_321.0);
        run.put("engine_cpu_us", 15.5);
        run.put("floor_hyper_cpu_us", 9.0);
        run.put("floor_hyper_per_second", 100_000.0);
        run.put("ratio_to_hyper", 1.72);
        run.check("every delivery arrived", false, "9 of 10");
        let scenario = ScenarioFindings {
            name: "fan-out-1".into(),
            about: "the cost".into(),
            is_own: false,
            runs: vec![run],
            failure: Some("no port".into()),
        };
        findings.scenarios.push(scenario);
        let text = write(&findings);
        for part in [
            "fanfare 9.9.9",
            "| scenario | runs | deliveries/s | engine CPU us/delivery | x hyper | all is well |",
            "| fan-out-1 | 1 | 54,321 | 15.5 | 1.72 | **no** |",
            "| fan-out-1 | hyper | 9.00 | 100,000 |",
            "| ratio_to_hyper 1.72 | not reached |",
            "**A run could not be made: no port**",
            "**run 1: not so: every delivery arrived** (9 of 10)",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
