//! `fanfare plugin test`: the host's conformance checks, for people and for programs.

use super::files;
use crate::clock::SystemClock;
use crate::demo::SAMPLES;
use crate::exit::Failure;
use crate::manage::table::{Table, clean};
use clap::Args;
use fanfare_plugin_host::{
    ConformanceOptions, ENDURANCE_RENDERS, Report, Status, check_conformance, read_vectors,
};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

/// Flags of the command.
#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// The plugin
    file: PathBuf,
    /// Folder of further vectors
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
    /// Settings, as plugins.settings.NAME would give them
    #[arg(long, value_name = "JSON", default_value = "{}")]
    settings: String,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TestArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let bytes = files::read_plugin(&args.file)?;
    let vectors = match &args.vectors {
        Some(folder) => read_vectors(folder).map_err(|error| Failure::usage(error.to_string()))?,
        None => Vec::new(),
    };
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&args.settings) {
        return Err(Failure::usage(format!("--settings is not JSON: {error}")));
    }
    let clock = SystemClock::new();
    let options = ConformanceOptions {
        settings: &args.settings,
        vectors,
        samples: SAMPLES,
        clock: &clock,
        endurance_renders: ENDURANCE_RENDERS,
    };
    let report = check_conformance(&bytes, &options).map_err(|error| Failure::work(error.to_string()))?;
    let text = if args.json {
        serde_json::to_string_pretty(&report)
            .map(|json| json + "\n")
            .map_err(|error| Failure::work(format!("cannot write the report: {error}")))?
    } else {
        shown(&report)
    };
    let _closed = output.write_all(text.as_bytes());
    let wrong: Vec<&str> =
        report.checks.iter().filter(|check| check.status != Status::Passed).map(|check| check.name).collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Failure::work(format!("{} did not pass: {}", args.file.display(), wrong.join(", "))))
    }
}

fn shown(report: &Report) -> String {
    let mut text = String::new();
    if let (Some(name), Some(version)) = (&report.name, &report.version) {
        let _infallible = writeln!(text, "{} {}", clean(name), clean(version));
    }
    for check in &report.checks {
        let status = match check.status {
            Status::Passed => "ok",
            Status::Failed => "FAILED",
            Status::NotRun => "NOT RUN",
        };
        let _infallible = writeln!(text, "{status:8} {:12} {}", check.name, clean(&check.detail));
        for problem in &check.problems {
            let _infallible = writeln!(text, "         - {}", clean(problem));
        }
        let further = check.problem_count - check.problems.len();
        if further > 0 {
            let _infallible = writeln!(text, "         - and {further} more");
        }
    }
    if let Some(cost) = &report.cost {
        let rows: Vec<Vec<String>> = cost
            .vectors
            .iter()
            .map(|cost| {
                vec![
                    clean(&cost.name),
                    format!("{:.1}", cost.p50_us),
                    format!("{:.1}", cost.p99_us),
                    cost.fuel.to_string(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&Table::new(&["VECTOR", "P50 µs", "P99 µs", "FUEL"]).page(&rows));
    }
    text
}
