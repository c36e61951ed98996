//! The report: Markdown for people, JSON for programs, two charts for each scenario.

mod markdown;
mod rows;
mod svg;

use crate::error::{Error, Trying as _};
use crate::findings::{Findings, Run, ScenarioFindings};
use crate::process::as_float;
use std::path::Path;
use svg::{Axis, Line};

/// The report's Markdown.
pub(crate) fn markdown(findings: &Findings) -> String {
    markdown::write(findings)
}

/// Writes `report.md`, `report.json` and the charts into a folder, which is made.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(findings: &Findings, folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).trying(|| format!("cannot make {}", folder.display()))?;
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).trying(|| format!("cannot write {}", path.display()))
    };
    put("report.md", &markdown(findings))?;
    let json = serde_json::to_string_pretty(findings)
        .map_err(|error| Error::work(format!("the report cannot be written as JSON: {error}")))?;
    put("report.json", &json)?;
    for scenario in findings.scenarios.iter().filter(|scenario| !scenario.runs.is_empty()) {
        put(&format!("{}-latency.svg", scenario.name), &latency_chart(scenario))?;
        put(&format!("{}-throughput.svg", scenario.name), &throughput_chart(scenario))?;
    }
    Ok(())
}

/// A percentile's place: each nine more is as far again.
fn nines(percentile: f64) -> f64 {
    100.0 / (100.0 - percentile).max(1e-4)
}

fn by_run(scenario: &ScenarioFindings, points: impl Fn(&Run) -> Vec<(f64, f64)>) -> Vec<Line> {
    let runs = (1..).zip(&scenario.runs);
    runs.map(|(number, run)| Line { name: format!("run {number}"), points: points(run) }).collect()
}

fn latency_chart(scenario: &ScenarioFindings) -> String {
    let lines = by_run(scenario, |run| {
        run.curve.iter().map(|(percentile, us)| (nines(*percentile), as_float(*us) / 1000.0)).collect()
    });
    let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99];
    let x_axis = Axis {
        title: "percentile".into(),
        is_logarithmic: true,
        marks: marks.iter().map(|percentile| (nines(*percentile), format!("{percentile}"))).collect(),
    };
    let y_axis = Axis { title: "milliseconds".into(), is_logarithmic: true, marks: Vec::new() };
    svg::chart(&format!("{}: from sending to arrival", scenario.name), &x_axis, &y_axis, &lines)
}

fn throughput_chart(scenario: &ScenarioFindings) -> String {
    let lines = by_run(scenario, throughput);
    let axis = |title: &str| Axis { title: title.into(), is_logarithmic: false, marks: Vec::new() };
    let title = format!("{}: deliveries a second, warm-up and all", scenario.name);
    svg::chart(&title, &axis("seconds"), &axis("deliveries a second"), &lines)
}

/// Between one sample and the next.
fn throughput(run: &Run) -> Vec<(f64, f64)> {
    let pairs = run.samples.iter().zip(run.samples.iter().skip(1));
    pairs
        .filter(|(before, after)| after.at_s > before.at_s)
        .map(|(before, after)| {
            let delivered = as_float(after.delivered.saturating_sub(before.delivered));
            (after.at_s, delivered / (after.at_s - before.at_s))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Sample;

    #[test]
    fn throughput_is_what_came_between_two_looks() {
        let sample = |at_s: f64, delivered: u64| Sample { at_s, delivered, ..Sample::default() };
        let samples = vec![sample(0.0, 0), sample(0.5, 100), sample(0.5, 100), sample(1.0, 400)];
        assert_eq!(throughput(&Run { samples, ..Run::default() }), [(0.5, 200.0), (1.0, 600.0)]);
    }

    #[test]
    fn all_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut findings = crate::conductor::new_findings("1", "now".into(), true);
        let run = Run { curve: vec![(50.0, 900), (99.0, 4000)], ..Run::default() };
        let scenario = ScenarioFindings {
            name: "s".into(),
            about: "a".into(),
            is_own: false,
            runs: vec![run],
            failure: None,
        };
        findings.scenarios.push(scenario);
        let out = folder.path().join("new");
        write(&findings, &out).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["report.json", "report.md", "s-latency.svg", "s-throughput.svg"]);
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
        assert_eq!((&json["scenarios"][0]["name"], &json["is_pinned"]), (&"s".into(), &true.into()));
        assert!(std::fs::read_to_string(out.join("s-latency.svg")).unwrap().contains("99.99"));
    }

    #[test]
    fn each_nine_is_as_far_again() {
        let places = [0.0, 90.0, 99.0, 99.9].map(|percentile| nines(percentile).log10());
        for (place, expected) in places.iter().zip([0.0, 1.0, 2.0, 3.0]) {
            assert!((place - expected).abs() < 1e-6);
        }
    }
}
