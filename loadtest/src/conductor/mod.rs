//! The conductor: runs scenarios one after the other, each run with processes and a directory of its own.

pub(crate) mod child;
pub(crate) mod engine;
mod plans;
mod stage;
mod watching;

use crate::error::{Error, Trying as _};
use crate::findings::{Findings, Run, ScenarioFindings};
use crate::floors::{Floor, FloorOptions};
use crate::generator::mix::Mix;
use crate::part::{Order, Told, WorkOrder};
use crate::process::{self, as_float};
use crate::scenario::{ReceiverSpec, Scenario};
use child::Part;
use stage::{Receiver, Stage};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

/// Connections of a floor.
const FLOOR_CONNECTIONS: usize = 64;
/// A floor sends no more, whatever its time.
const FLOOR_REQUESTS_MAX: u64 = 5_000_000;

/// What happens, for whoever shows progress.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// A scenario's run begins.
    Run {
        /// Its place among all runs, from 1.
        number: usize,
        /// How many runs there are.
        total: usize,
        /// The scenario.
        name: String,
    },
    /// A new part of the run begins.
    Phase(String),
    /// What is going on right now; comes some times a second.
    Live(String),
}

/// Processors of the run's parts; empty: any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins {
    pub(crate) engine: Vec<usize>,
    pub(crate) others: Vec<usize>,
}

impl Pins {
    /// The engine gets the second half of what there is, floors the same; generator and receivers the first.
    ///
    /// # Errors
    /// With fewer than two processors.
    pub(crate) fn halves(processors: &[usize]) -> Result<Self, Error> {
        if processors.len() < 2 {
            return Err(Error::usage("--pin needs at least two processors"));
        }
        let (others, engine) = processors.split_at(processors.len() / 2);
        Ok(Pins { engine: engine.to_vec(), others: others.to_vec() })
    }
}

/// What is common to all runs.
pub(crate) struct Bench<'a> {
    /// The binary that can be everything.
    pub(crate) program: PathBuf,
    /// What makes it a part.
    pub(crate) part_arguments: Vec<String>,
    pub(crate) pins: Pins,
    pub(crate) said: &'a (dyn Fn(News) + Sync),
    run: AtomicU16,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        program: PathBuf,
        part_arguments: Vec<String>,
        pins: Pins,
        said: &'a (dyn Fn(News) + Sync),
    ) -> Self {
        Bench { program, part_arguments, pins, said, run: AtomicU16::new(0) }
    }

    /// Distinguishes the event ids of one push from those of all others.
    pub(crate) fn next_run(&self) -> u16 {
        self.run.fetch_add(1, Ordering::Relaxed)
    }
}

/// A scenario and how often and how long it is run.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) scenario: Scenario,
    /// From a file.
    pub(crate) is_own: bool,
    pub(crate) runs: usize,
    pub(crate) seconds: f64,
}

/// Runs everything. A run that cannot be made is a finding; the others go on.
pub(crate) async fn conduct(bench: &Bench<'_>, planned: &[Planned], mut findings: Findings) -> Findings {
    let total = planned.iter().map(|planned| planned.runs).sum();
    let mut number = 0;
    for Planned { scenario, is_own, runs, seconds } in planned {
        let mut found = ScenarioFindings {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            is_own: *is_own,
            runs: Vec::new(),
            failure: None,
        };
        for _ in 0..*runs {
            number += 1;
            (bench.said)(News::Run { number, total, name: scenario.name.clone() });
            match one_run(bench, scenario, *seconds).await {
                Ok(run) => found.runs.push(run),
                Err(error) => {
                    found.failure = Some(error.to_string());
                    number += runs - found.runs.len() - 1;
                    break;
                }
            }
        }
        findings.scenarios.push(found);
    }
    findings
}

async fn one_run(bench: &Bench<'_>, scenario: &Scenario, seconds: f64) -> Result<Run, Error> {
    let folder = tempfile::Builder::new()
        .prefix("fanfare-bench-")
        .tempdir()
        .trying(|| "cannot make a temporary directory".into())?;
    let mut run = Run::default();
    // In every run anew: a machine that changes its speed from run to run does so for both.
    if scenario.floors {
        floors(bench, scenario, seconds, folder.path(), &mut run).await?;
    }
    let mut stage = Stage::set(bench, scenario, folder.path()).await?;
    let played = plans::play(&mut stage, seconds, &mut run).await;
    run.samples = stage.watching.samples();
    let empty_bytes = stage.empty_bytes;
    stage.strike().await;
    played?;
    put_memory(&mut run, empty_bytes);
    ratios(&mut run);
    Ok(run)
}

/// Memory and descriptors over the whole run, from its samples.
fn put_memory(run: &mut Run, empty_bytes: u64) {
    let bytes = || run.samples.iter().map(|sample| sample.engine_anonymous_bytes).filter(|bytes| *bytes > 0);
    let (Some(most), Some(last)) = (bytes().max(), bytes().next_back()) else { return };
    let mean = |bytes: &mut dyn Iterator<Item = u64>| {
        let (sum, count) = bytes.fold((0, 0_u64), |(sum, count), bytes| (sum + bytes, count + 1));
        as_float(sum) / as_float(count.max(1))
    };
    // The second and the last fifth: a run that stays as it is has the same in both.
    let fifth = bytes().count() / 5;
    let growth = mean(&mut bytes().skip(fifth * 4)) - mean(&mut bytes().skip(fifth).take(fifth.max(1)));
    let descriptors = run.samples.iter().map(|sample| sample.engine_descriptors).max().unwrap_or_default();
    run.put("empty_memory_mb", as_float(empty_bytes) / 1e6);
    run.put("memory_max_mb", as_float(most) / 1e6);
    run.put("memory_last_mb", as_float(last) / 1e6);
    run.put("memory_growth_mb", growth / 1e6);
    run.put("descriptors_max", as_float(descriptors));
}

/// The engine's cost of a delivery as a multiple of each floor's.
fn ratios(run: &mut Run) {
    let Some(engine) = run.figures.get("engine_cpu_us").copied() else { return };
    for floor in Floor::ALL {
        if let Some(cost) = run.figures.get(&format!("floor_{}_cpu_us", floor.name())).copied() {
            run.put(&format!("ratio_to_{}", floor.name()), engine / cost.max(1e-9));
        }
    }
}

/// Measures every floor against a receiver like the scenario's, but over plain HTTP/1.1.
async fn floors(
    bench: &Bench<'_>,
    scenario: &Scenario,
    seconds: f64,
    folder: &Path,
    run: &mut Run,
) -> Result<(), Error> {
    let spec = ReceiverSpec { check_every: 0, threads: scenario.receiver.threads, ..ReceiverSpec::default() };
    let body = Mix::new(&scenario.load.events, "c", 1)?.payload().to_owned();
    for floor in Floor::ALL {
        (bench.said)(News::Phase(format!("floor {}", floor.name())));
        let receiver = Receiver::start(bench, &spec, folder).await?;
        let options = FloorOptions {
            floor: *floor,
            address: receiver.ready.address,
            connections: FLOOR_CONNECTIONS,
            body: body.clone(),
            seconds: (seconds / 4.0).clamp(0.5, 5.0),
            requests_max: FLOOR_REQUESTS_MAX.min(scenario.events_max),
            run: bench.next_run(),
        };
        let order = Order { processors: bench.pins.engine.clone(), work: WorkOrder::Floor(options) };
        let mut part = Part::start(&bench.program, &bench.part_arguments, &order, folder).await?;
        let Told::Floor(figures) = part.next().await? else {
            return Err(Error::work("a floor told other than its figures"));
        };
        part.wait().await?;
        receiver.end().await;
        run.put(&format!("floor_{}_cpu_us", floor.name()), figures.cpu_us);
        let per_second = as_float(figures.requests) / figures.seconds.max(1e-3);
        run.put(&format!("floor_{}_per_second", floor.name()), per_second);
    }
    Ok(())
}

/// What the report says of where it was made.
pub(crate) fn new_findings(version: &str, when: String, is_pinned: bool) -> Findings {
    Findings {
        version: version.to_owned(),
        when,
        machine: process::machine(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        is_pinned,
        scenarios: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Sample;

    #[test]
    fn memory_is_held_against_what_it_was_before() {
        let sample =
            |megabytes: u64| Sample { engine_anonymous_bytes: megabytes * 1_000_000, ..Sample::default() };
        let mut run = Run { samples: (1..=10).map(|_| sample(50)).collect(), ..Run::default() };
        put_memory(&mut run, 20_000_000);
        assert_eq!((run.figures["memory_growth_mb"], run.figures["memory_max_mb"]), (0.0, 50.0));
        run.samples = (1..=10).map(|index| sample(index * 10)).collect();
        put_memory(&mut run, 0);
        assert_eq!((run.figures["memory_growth_mb"], run.figures["memory_last_mb"]), (60.0, 100.0));
    }

    #[test]
    fn the_engine_is_a_multiple_of_each_floor() {
        let mut run = Run::default();
        run.put("engine_cpu_us", 15.0);
        run.put("floor_hyper_cpu_us", 10.0);
        ratios(&mut run);
        assert_eq!((run.figures.get("ratio_to_hyper"), run.figures.get("ratio_to_raw")), (Some(&1.5), None));
    }

    #[test]
    fn pins_never_share_a_processor() {
        let pins = Pins::halves(&[0, 1, 2]).unwrap();
        assert_eq!((pins.others, pins.engine), (vec![0], vec![1, 2]));
        assert!(Pins::halves(&[0]).is_err());
    }
}
