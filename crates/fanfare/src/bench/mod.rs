//! `fanfare bench`: the command line of the load harness, whose rules live in `fanfare_loadtest`.

mod board;

use crate::clock::SystemClock;
use crate::exit::Failure;
use crate::signals::Signals;
use board::Board;
use clap::Args;
use fanfare_core::ports::Clock as _;
use fanfare_loadtest::{BenchOptions, Error, Listed, list, run_bench};
use std::io::Write as _;
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Flags of `fanfare bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// A scenario that comes along, or a file (TOML); may be given again [default: a selection of a minute]
    #[arg(long = "scenario", value_name = "NAME|FILE")]
    scenarios: Vec<String>,
    /// Writes the report there too, with JSON and charts
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Shows the scenarios that come along, and ends
    #[arg(long)]
    list: bool,
    /// Runs of each scenario, instead of its own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// Keeps the engine on half of the processors and everything else on the other
    #[arg(long)]
    pin: bool,
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when something that must hold did not, 2 for a scenario that cannot be used.
pub(crate) async fn run(args: BenchArgs) -> Result<(), Failure> {
    if args.list {
        say(&show_list(&list().map_err(failure)?));
        return Ok(());
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::work(format!("cannot find this program's own file: {error}")))?;
    let options = BenchOptions {
        program,
        part_arguments: vec!["bench-part".to_owned()],
        scenarios: args.scenarios,
        runs: args.runs.and_then(|runs| usize::try_from(runs).ok()),
        out: args.out,
        pins: args.pin,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        when: now_text(SystemClock::new()),
    };
    let mut signals = Signals::new()?;
    let board = Board::new();
    let said = |news| board.hear(news);
    let report = tokio::select! {
        report = run_bench(&options, &said) => report.map_err(failure)?,
        // Dropping the run ends its processes and removes its directory.
        () = signals.next() => return Err(Failure::work("interrupted; every process of the run was ended")),
    };
    board.end();
    say(&report.markdown);
    if let Some(out) = &options.out {
        eprintln!("report, JSON and charts are in {}", out.display());
    }
    if report.is_good {
        return Ok(());
    }
    Err(Failure::work("something that must hold did not: look for **no** in the report"))
}

/// One process of a run.
///
/// # Errors
/// When it was not started by `bench`, or cannot do its work.
pub(crate) fn run_part() -> Result<(), Failure> {
    fanfare_loadtest::run_part().map_err(failure)
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Usage(text) => Failure::usage(text),
        other => Failure::work(other.to_string()),
    }
}

fn say(text: &str) {
    let _closed = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// Now, in UTC, to the second.
fn now_text(clock: SystemClock) -> String {
    let seconds = i64::try_from(clock.now().unix_seconds()).unwrap_or_default();
    let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}

fn show_list(listed: &[Listed]) -> String {
    let width = listed.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
    let lines = listed.iter().map(|scenario| {
        let Listed { name, about, seconds, runs, is_quick } = scenario;
        let mark = if *is_quick { '*' } else { ' ' };
        format!("{mark} {name:width$}  {runs} x {seconds:>4} s  {about}\n")
    });
    let mut text: String = lines.collect();
    text.push_str("\n* part of the selection that runs without --scenario, once and shorter");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_shows_every_scenario_on_a_line() {
        let listed = list().unwrap();
        let text = show_list(&listed);
        for scenario in &listed {
            let line = text.lines().find(|line| line.contains(&format!(" {} ", scenario.name)));
            let line = line.unwrap_or_else(|| panic!("{} is not in {text}", scenario.name));
            assert!(line.contains(&scenario.about) && line.starts_with('*') == scenario.is_quick, "{line}");
        }
    }

    #[test]
    fn what_the_user_can_mend_is_a_usage_failure() {
        assert_eq!(failure(Error::Usage("x".into())), Failure::usage("x"));
        assert_eq!(failure(Error::Work("x".into())), Failure::work("x"));
    }
}
