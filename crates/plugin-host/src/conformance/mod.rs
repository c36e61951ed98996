//! What a plugin's author runs: the server's own admission, limits and instances, held against a plugin until it fails.
//!
//! Where to start: [`check_conformance`]. `bench` renders, `checks` judges, `hostile` makes the inputs nobody would send,
//! `fuel` counts instructions on an engine of its own, `difference` says where two JSON texts part.
//!
//! Every check ends as passed, failed, or not run with the reason, and only passed counts. Time comes from the clock that
//! is handed in. A deadline counts only when a second and a third instance miss it too, for the machine may be busy.

mod bench;
mod checks;
mod difference;
mod fuel;
mod hostile;

use crate::admission::{SignaturePolicy, admit_before_vectors};
use crate::engine::Host;
use crate::error::{FormatError, refused};
use crate::manifest::Vector;
use bench::Bench;
use fanfare_core::ports::Clock;
use serde::Serialize;
use serde_json::Value;

/// Renders of the endurance check, unless asked otherwise.
pub const ENDURANCE_RENDERS: u32 = 20_000;
/// Problems told of one check; further ones are counted.
const PROBLEMS_MAX: usize = 20;

/// What a plugin is held against.
pub struct ConformanceOptions<'a> {
    /// JSON text for `configure`.
    pub settings: &'a str,
    /// Vectors beside those in the component.
    pub vectors: Vec<Vector>,
    /// Ordinary events of all kinds, one a line: what hostile inputs are made of.
    pub samples: &'a str,
    /// For measuring, and for giving up on a plugin that is slow beyond use.
    pub clock: &'a dyn Clock,
    /// Renders on one instance, at least 2; [`ENDURANCE_RENDERS`].
    pub endurance_renders: u32,
}

/// Settings may hold secrets, so they are left out.
impl std::fmt::Debug for ConformanceOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConformanceOptions").field("vectors", &self.vectors.len()).finish_non_exhaustive()
    }
}

/// What came of it. Its JSON is what `fanfare plugin test --json` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The format's name; `None`: not admitted.
    pub name: Option<String>,
    /// The plugin's own version; `None`: not admitted.
    pub version: Option<String>,
    /// Whether every check passed.
    pub passed: bool,
    /// `admission`, `vectors`, `hostile`, `determinism`, `endurance`, `cost`, in this order.
    pub checks: Vec<Check>,
    /// What rendering costs; `None`: the check `cost` says why.
    pub cost: Option<Cost>,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// See [`Report::checks`].
    pub name: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was done, or why it was not, in one line.
    pub detail: String,
    /// What is wrong, the first of them.
    pub problems: Vec<String>,
    /// How many are wrong in all.
    pub problem_count: usize,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is wrong.
    Passed,
    /// Something is.
    Failed,
    /// It could not be run; nobody knows.
    NotRun,
}

/// What rendering costs on this machine, and anywhere.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Each vector; without vectors each sample.
    pub vectors: Vec<VectorCost>,
    /// The most linear memory an instance had in all checks, bytes.
    pub memory_bytes_max: usize,
}

/// What one vector costs on a warm instance.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VectorCost {
    /// Its name.
    pub name: String,
    /// Half of the renders took at most so long, microseconds.
    pub p50_us: f64,
    /// 99 of 100 took at most so long, microseconds.
    pub p99_us: f64,
    /// Instructions, as wasmtime counts them: the same on every machine, so the number to pin.
    pub fuel: u64,
}

impl Check {
    fn passed(name: &'static str, detail: impl Into<String>) -> Self {
        Check { name, status: Status::Passed, detail: detail.into(), problems: Vec::new(), problem_count: 0 }
    }

    fn not_run(name: &'static str, detail: impl Into<String>) -> Self {
        Check { status: Status::NotRun, ..Check::passed(name, detail) }
    }

    /// Failed when there is a problem.
    fn of(name: &'static str, detail: impl Into<String>, problems: Vec<String>) -> Self {
        let problem_count = problems.len();
        let status = if problem_count == 0 { Status::Passed } else { Status::Failed };
        let problems = problems.into_iter().take(PROBLEMS_MAX).collect();
        Check { status, problems, problem_count, ..Check::passed(name, detail) }
    }
}

/// Holds a component against everything. Blocks for seconds, for a plugin in a script language up to minutes.
///
/// # Errors
/// [`FormatError::Internal`]: no engine here. [`FormatError::Refused`]: samples or settings that are not JSON. What is
/// wrong with the plugin is in the report.
pub fn check_conformance(bytes: &[u8], options: &ConformanceOptions<'_>) -> Result<Report, FormatError> {
    serde_json::from_str::<Value>(options.settings)
        .map_err(|error| refused(format!("settings are not JSON: {error}")))?;
    let samples = hostile::samples(options.samples)?;
    let host = Host::new(None)?;
    let admitted =
        match admit_before_vectors(&host, bytes, None, &SignaturePolicy::default(), options.settings) {
            Ok(admitted) => admitted,
            Err(internal @ FormatError::Internal(_)) => return Err(internal),
            Err(refused) => return Ok(Report::not_admitted(&refused)),
        };
    let manifest = admitted.manifest.clone();
    let mut vectors = manifest.vectors.clone();
    for vector in &options.vectors {
        if !vectors.contains(vector) {
            vectors.push(vector.clone());
        }
    }
    let admission = format!(
        "{} bytes, imports nothing, {}",
        bytes.len(),
        if manifest.settings_schema.is_some() { "settings fit its schema" } else { "no settings schema" }
    );
    let mut bench = Bench::new(host, admitted, options);
    let mut checks = vec![Check::passed("admission", admission), checks::vectors(&mut bench, &vectors)];
    let mut events: Vec<(String, Vec<u8>)> =
        vectors.iter().map(|vector| (vector.name.clone(), vector.event.to_string().into_bytes())).collect();
    let measured = if events.is_empty() { samples.clone() } else { events.clone() };
    events.extend(samples.iter().cloned());
    checks.push(checks::hostile(&mut bench, &samples));
    checks.push(checks::determinism(&mut bench, &events));
    checks.push(checks::endurance(&mut bench, &events, options.endurance_renders.max(2)));
    let (check, cost) = checks::cost(&mut bench, bytes, &measured);
    checks.push(check);
    Ok(Report {
        name: Some(manifest.name),
        version: Some(manifest.version),
        passed: checks.iter().all(|check| check.status == Status::Passed),
        checks,
        cost,
    })
}

impl Report {
    fn not_admitted(why: &FormatError) -> Self {
        let mut checks = vec![Check::of("admission", "it is not admitted", vec![why.to_string()])];
        let others = ["vectors", "hostile", "determinism", "endurance", "cost"];
        checks.extend(others.map(|name| Check::not_run(name, "it is not admitted")));
        Report { name: None, version: None, passed: false, checks, cost: None }
    }
}
