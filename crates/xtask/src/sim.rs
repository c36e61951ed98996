//! `cargo xtask sim --seeds N [--from S]`: the simulation suite in a release build, over many seeds.

use crate::steps;
use std::path::Path;
use std::time::Instant;

/// Lives `--seeds` worlds (1000) from seed `--from` (0) on; the suite itself shows progress, failing seeds and a summary.
#[expect(clippy::disallowed_methods, reason = "a chore tells how long it took, on the real clock")]
pub(crate) fn run(top: &Path) -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let (seeds, from) = parse(&arguments)?;
    let test = ["test", "--release", "--package", "fanfare-tests", "--test", "sim"];
    steps::cargo(top, &[&test[..], &["--no-run"]].concat(), &[])?;
    let begun = Instant::now();
    let lived = steps::cargo(
        top,
        &[&test[..], &["--", "--nocapture", "every_world"]].concat(),
        &[("SIM_SEEDS", &seeds.to_string()), ("SIM_FROM", &from.to_string())],
    );
    let seconds = begun.elapsed().as_secs_f64();
    println!("xtask sim: {seeds} seeds in {seconds:.0} s, {:.1} a second", seeds as f64 / seconds.max(0.001));
    lived
}

/// How many seeds, from which on.
fn parse(arguments: &[String]) -> Result<(u64, u64), String> {
    let (mut seeds, mut from) = (1000, 0);
    let mut left = arguments.iter();
    while let Some(name) = left.next() {
        let place = match name.as_str() {
            "--seeds" => &mut seeds,
            "--from" => &mut from,
            other => return Err(format!("unknown argument {other}; known are --seeds N and --from S")),
        };
        let value = left.next().ok_or_else(|| format!("{name} needs a number"))?;
        *place = value.parse().map_err(|_| format!("{name} needs a number, not {value}"))?;
    }
    if seeds == 0 {
        return Err("--seeds must be at least 1".into());
    }
    Ok((seeds, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_in_any_order_and_anything_else_is_named() {
        let parse = |text: &str| parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse(""), Ok((1000, 0)));
        assert_eq!(parse("--from 7 --seeds 20"), Ok((20, 7)));
        for (bad, why) in [
            ("--seeds", "--seeds needs a number"),
            ("--from x", "--from needs a number, not x"),
            ("--seeds 0", "--seeds must be at least 1"),
            ("20", "unknown argument 20; known are --seeds N and --from S"),
        ] {
            assert_eq!(parse(bad), Err(why.to_owned()));
        }
    }
}
