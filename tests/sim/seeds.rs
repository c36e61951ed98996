//! Many seeds, on all cores; a failing one is named with the end of its journal, and replays.

use crate::journal::At;
use crate::life::{Report, run};
use crate::world::Tally;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Worlds that every test run lives.
const SEEDS: u64 = 300;
/// Lines of a failing world that are shown.
const LINES: usize = 50;
/// A word of progress after so many.
const PROGRESS: u64 = 500;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn print_end(report: &Report, lines: usize) {
    let skip = report.entries.len().saturating_sub(lines);
    for (at, entry) in report.entries.iter().skip(skip) {
        println!("{} {entry}", At(*at));
    }
    match &report.breach {
        Some((at, why)) => println!("{} {why}\nseed {}", At(*at), report.seed),
        None => println!("seed {}: nothing is broken", report.seed),
    }
}

/// `SIM_SEED=N` lives one world and shows all of it; otherwise `SIM_SEEDS` worlds from `SIM_FROM` on.
#[test]
fn every_world_keeps_its_promises() {
    if let Some(seed) = setting("SIM_SEED") {
        let report = run(seed);
        print_end(&report, usize::MAX);
        assert!(report.breach.is_none(), "seed {seed} breaks a promise");
        return;
    }
    let (from, count) = (setting("SIM_FROM").unwrap_or(0), setting("SIM_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(from);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut tally, mut broken) = (Tally::default(), Vec::new());
    std::thread::scope(|scope| {
        let live = || {
            let (mut tally, mut broken) = (Tally::default(), Vec::new());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= from + count {
                    return (tally, broken);
                }
                let report = run(seed);
                tally.add(&report.tally);
                if report.breach.is_some() {
                    broken.push(report);
                }
                let done = seed + 1 - from;
                if done.is_multiple_of(PROGRESS) && count > PROGRESS {
                    println!("{done} of {count} seeds");
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(live)).collect();
        for thread in threads {
            let (lived, failed) = thread.join().expect("a world's own code does not panic");
            tally.add(&lived);
            broken.extend(failed);
        }
    });
    println!("{count} seeds from {from}: {tally:?}");
    broken.sort_by_key(|report: &Report| report.seed);
    for report in broken.iter().take(3) {
        print_end(report, LINES);
        println!(
            "replay it: SIM_SEED={} cargo test -p fanfare-tests --test sim -- --nocapture\n",
            report.seed
        );
    }
    let seeds: Vec<String> = broken
        .iter()
        .map(|report| {
            let why = report.breach.as_ref().map(|(_, why)| why.as_str()).unwrap_or_default();
            format!("{}: {why}", report.seed)
        })
        .collect();
    assert!(broken.is_empty(), "{} of {count} seeds break a promise:\n{}", broken.len(), seeds.join("\n"));
}

/// A seed that fails must fail again.
#[test]
fn the_same_seed_lives_the_same_world() {
    for seed in 0..8 {
        let told = |_| {
            let mut hasher = DefaultHasher::new();
            let report = run(seed);
            report.entries.iter().for_each(|(at, entry)| (at, entry.to_string()).hash(&mut hasher));
            (report.entries.len(), hasher.finish())
        };
        let worlds = [0, 1].map(told);
        assert_eq!(worlds[0], worlds[1], "seed {seed}");
    }
}
