//! The load harness: how fast fanfare is on this machine, and how far that is from what the machine can do at all.
//!
//! What it is: a `receiver` that counts deliveries, a `generator` that pushes events, `floors` that send the same
//! body with nothing but an HTTP client, and a `conductor` that starts each as a process of its own beside the
//! engine, as a `scenario` says, and writes one `report`. `fanfare bench` is its command line.
//!
//! What it is not: a part of the engine, or a double of it. The engine it starts is the binary that users start; it is
//! configured by its flags and talked to over HTTP.
//!
//! Where to start: [`run_bench`], then `conductor/plans.rs` for what a run does.
//!
//! Invariants:
//! - every process that is started ends with the run, whether it succeeds, fails or is cut short, and with this process;
//! - every run is bounded in time and in events;
//! - a figure is only as good as its run: each run checks that what was accepted has arrived, once;
//! - keys and secrets stand in no argument, no log and no report; traffic stays on loopback.

mod clock;
mod conductor;
mod error;
mod findings;
mod floors;
mod generator;
mod latency;
mod part;
mod process;
mod receiver;
mod report;
mod scenario;
mod stamp;
mod wire;

pub use conductor::News;
pub use error::Error;
pub use part::run_part;

use conductor::{Bench, Pins, Planned};
use error::Trying as _;
use scenario::Scenario;
use std::path::PathBuf;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct BenchOptions {
    /// The binary that is engine and part; it is started with `part_arguments` to become a part.
    pub program: PathBuf,
    /// What makes the binary call [`run_part`].
    pub part_arguments: Vec<String>,
    /// Names of scenarios that come along, or files; empty: the selection of a minute.
    pub scenarios: Vec<String>,
    /// Runs of each scenario instead of its own number.
    pub runs: Option<usize>,
    /// Where the report is written, besides being returned.
    pub out: Option<PathBuf>,
    /// Keeps engine and the rest on processors of their own.
    pub pins: bool,
    /// Version for the report.
    pub version: String,
    /// Time for the report.
    pub when: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As people read it.
    pub markdown: String,
    /// Everything that must hold did: all that was accepted arrived, once, signed as it should be.
    pub is_good: bool,
}

/// A scenario as `--list` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// For `--scenario`.
    pub name: String,
    /// One line.
    pub about: String,
    /// It is part of the selection of a minute.
    pub is_quick: bool,
    /// Seconds of load in one run.
    pub seconds: f64,
    /// Runs.
    pub runs: usize,
}

/// The scenarios that come along.
///
/// # Errors
/// When one of them is not sound.
pub fn list() -> Result<Vec<Listed>, Error> {
    let listed = scenario::built_in()?.into_iter().map(|scenario| Listed {
        is_quick: scenario.quick_seconds.is_some(),
        name: scenario.name,
        about: scenario.about,
        seconds: scenario.seconds,
        runs: scenario.runs,
    });
    Ok(listed.collect())
}

/// Runs scenarios and makes the report. `said` hears what is going on.
///
/// Dropping the future ends every process that was started. Must be called on a runtime with I/O and time whose thread
/// lives as long as the future: the processes end with the thread that started them.
///
/// # Errors
/// When the scenarios cannot be read or the report not be written. What goes wrong in a run is in the report.
pub async fn run_bench(options: &BenchOptions, said: &(dyn Fn(News) + Sync)) -> Result<Report, Error> {
    let planned = plan(options)?;
    let pins = if options.pins { Pins::halves(&process::processors())? } else { Pins::default() };
    process::raise_file_limit();
    if let Some(out) = &options.out {
        // Told now, not after ten minutes.
        std::fs::create_dir_all(out).trying(|| format!("cannot make {}", out.display()))?;
    }
    let bench = Bench::new(options.program.clone(), options.part_arguments.clone(), pins, said);
    let findings = conductor::new_findings(&options.version, options.when.clone(), options.pins);
    let findings = conductor::conduct(&bench, &planned, findings).await;
    if let Some(out) = &options.out {
        report::write(&findings, out)?;
    }
    Ok(Report { markdown: report::markdown(&findings), is_good: findings.is_good() })
}

fn plan(options: &BenchOptions) -> Result<Vec<Planned>, Error> {
    let known = scenario::built_in()?;
    if options.scenarios.is_empty() {
        let quick = known.into_iter().filter_map(|scenario| {
            let seconds = scenario.quick_seconds?;
            Some(Planned { scenario, is_own: false, runs: options.runs.unwrap_or(1), seconds })
        });
        return Ok(quick.collect());
    }
    options
        .scenarios
        .iter()
        .map(|name| {
            let (scenario, is_own) = find(name, &known)?;
            let (runs, seconds) = (options.runs.unwrap_or(scenario.runs), scenario.seconds);
            Ok(Planned { scenario, is_own, runs, seconds })
        })
        .collect()
}

/// By name, or else from a file; whether it is from one.
fn find(name: &str, known: &[Scenario]) -> Result<(Scenario, bool), Error> {
    if let Some(scenario) = known.iter().find(|scenario| scenario.name == name) {
        return Ok((scenario.clone(), false));
    }
    if !name.contains(['/', '.']) {
        let names: Vec<&str> = known.iter().map(|scenario| scenario.name.as_str()).collect();
        let names = names.join(", ");
        return Err(Error::usage(format!("there is no scenario {name}; known: {names}; or name a file")));
    }
    let text = std::fs::read_to_string(name).trying(|| format!("cannot read the scenario {name}"))?;
    Ok((Scenario::parse(name, &text)?, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(scenarios: &[&str], runs: Option<usize>) -> Result<Vec<Planned>, Error> {
        let scenarios = scenarios.iter().map(|name| (*name).to_owned()).collect();
        plan(&BenchOptions { scenarios, runs, ..BenchOptions::default() })
    }

    #[test]
    fn without_a_name_the_quick_ones_run_once() {
        let quick = planned(&[], None).unwrap();
        assert!(quick.len() > 3 && quick.iter().all(|planned| planned.runs == 1));
        assert!(quick.iter().all(|planned| Some(planned.seconds) == planned.scenario.quick_seconds));
        let named = planned(&["fan-out-1"], None).unwrap();
        assert_eq!((named[0].runs, named[0].seconds), (5, 10.0));
        assert_eq!(planned(&["fan-out-1"], Some(2)).unwrap()[0].runs, 2);
    }

    #[test]
    fn scenarios_are_found_by_name_or_as_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml");
        std::fs::write(&file, "name = \"own\"\nabout = \"mine\"\nseconds = 1\n").unwrap();
        let own = planned(&[file.to_str().unwrap()], None).unwrap();
        assert_eq!((own[0].scenario.name.as_str(), own[0].is_own), ("own", true));
        for (name, text) in
            [("fan-out-2", "known: fan-out-1, "), ("./nowhere.toml", "cannot read the scenario")]
        {
            let error = planned(&[name], None).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
