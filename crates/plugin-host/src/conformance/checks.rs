//! The checks, each a function that ends in a [`Check`].

use super::bench::{Bench, DEADLINE_TRIES, told};
use super::difference::{difference, what};
use super::fuel::FuelMeter;
use super::{Check, Cost, VectorCost, hostile as inputs};
use crate::instance::{Fault, Faulted, Instance};
use crate::limits::RENDERS_PER_INSTANCE;
use crate::manifest::Vector;
use fanfare_core::delivery::Rendered;

/// Renders that a time is taken from.
const TIMED_RENDERS: usize = 200;
/// After so long a check is given up: it would have to be ended by hand.
const PATIENCE_NS: u64 = 300_000_000_000;

/// Each vector gives what it says.
pub(super) fn vectors(bench: &mut Bench<'_>, vectors: &[Vector]) -> Check {
    const NAME: &str = "vectors";
    if vectors.is_empty() {
        let what = "a plugin is not known to do anything without them: give it some with `fanfare plugin pack --vectors`";
        return Check::of(NAME, "no vectors", vec![format!("no vectors: {what}")]);
    }
    let problems = vectors.iter().filter_map(|vector| {
        let event = vector.event.to_string();
        let why = match bench.render_fresh(event.as_bytes()) {
            Ok(rendered) => difference(&vector.expect, &rendered)?,
            Err(faulted) => told(&faulted),
        };
        Some(format!("{}: {why}", vector.name))
    });
    let problems: Vec<String> = problems.collect();
    let met = vectors.len() - problems.len();
    Check::of(NAME, format!("{met} of {} give what they say", vectors.len()), problems)
}

/// No input ends in a fault of the host's making, and none leaves its mark.
pub(super) fn hostile(bench: &mut Bench<'_>, samples: &[(String, Vec<u8>)]) -> Check {
    const NAME: &str = "hostile";
    let ordinary = samples.first();
    let before = ordinary.map(|(_, event)| bench.render_fresh(event));
    let started_ns = bench.now_ns();
    let mut kept = None;
    let mut problems = Vec::new();
    let mut counts = [0_u32; 4];
    let mut is_given_up = false;
    inputs::each(samples, &mut |name, input| {
        if is_given_up || bench.now_ns().saturating_sub(started_ns) > PATIENCE_NS {
            is_given_up = true;
            return;
        }
        let index = match bench.render_kept(&mut kept, input) {
            Ok(Rendered::Bodies(_)) => 0,
            Ok(Rendered::Skipped { .. }) => 1,
            Ok(Rendered::Invalid { .. }) => 2,
            Ok(Rendered::Fault { .. } | Rendered::Later { .. }) => 3,
            Err(faulted) => {
                problems.push(format!("{name}: {}", told(&faulted)));
                return;
            }
        };
        if let Some(count) = counts.get_mut(index) {
            *count += 1;
        }
    });
    if let (Some((_, event)), Some(before)) = (ordinary, before)
        && problems.is_empty()
        && bench.render_kept(&mut kept, event) != before
    {
        problems.push("after all of them, an ordinary event is rendered otherwise than before".to_owned());
    }
    let [rendered, skipped, invalid, internal] = counts;
    let done = counts.iter().sum::<u32>() as usize + problems.len();
    let detail =
        format!("{done} inputs: {rendered} rendered, {skipped} skip, {invalid} invalid, {internal} internal");
    if is_given_up && problems.is_empty() {
        return Check::not_run(NAME, format!("given up after 300 s; {detail}"));
    }
    Check::of(NAME, detail, problems)
}

/// The same event gives the same bytes, on whatever instance and after whatever events.
pub(super) fn determinism(bench: &mut Bench<'_>, events: &[(String, Vec<u8>)]) -> Check {
    const NAME: &str = "determinism";
    let reference: Vec<_> = events.iter().map(|(_, event)| bench.render_fresh(event)).collect();
    let in_order: Vec<usize> = (0..events.len()).collect();
    let rounds = [
        ("fresh", in_order.clone(), true),
        ("reused", in_order.clone(), false),
        ("reused, shuffled", shuffled(events.len(), 1), false),
        ("reused, shuffled otherwise", shuffled(events.len(), 2), false),
        ("recycled, backwards", in_order.into_iter().rev().collect(), false),
    ];
    let mut kept = None;
    let mut problems = Vec::new();
    let mut renders = 0;
    for (how, order, is_fresh) in rounds {
        if how.starts_with("recycled") {
            // Its place in the pool is taken by the next one.
            kept = None;
        }
        for index in order {
            let (Some((name, event)), Some(expected)) = (events.get(index), reference.get(index)) else {
                continue;
            };
            let given =
                if is_fresh { bench.render_fresh(event) } else { bench.render_kept(&mut kept, event) };
            renders += 1;
            let why = match (expected, &given) {
                (Ok(expected), Ok(given)) if expected == given => continue,
                // The fault is told once, below.
                (Err(_), Err(_)) => continue,
                (Ok(Rendered::Bodies(_)), Ok(Rendered::Bodies(_))) => "gave other bytes".to_owned(),
                (_, Ok(given)) => format!("gave {}", what(given)),
                (_, Err(faulted)) => format!("failed ({})", told(faulted)),
            };
            problems.push(format!("{name}: {why} on an instance that was {how}"));
        }
    }
    for ((name, _), rendered) in events.iter().zip(&reference) {
        if let Err(faulted) = rendered {
            problems.push(format!("{name}: {}", told(faulted)));
        }
    }
    let detail =
        format!("{} events, {renders} renders on fresh, reused and recycled instances", events.len());
    Check::of(NAME, detail, problems)
}

/// The same shuffle each time: a failure must come again.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = seed;
    for last in (1..count).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
        order.swap(last, other);
    }
    order
}

/// Why one instance did not last.
enum Ended {
    Levelled { bytes: usize },
    Grew { from: usize, to: usize },
    Faulted { renders: u32, kind: Fault, why: String },
    GivenUp { renders: u32 },
}

impl Ended {
    fn faulted(renders: u32, faulted: &Faulted) -> Self {
        Ended::Faulted { renders, kind: faulted.0, why: told(faulted) }
    }
}

/// One instance lasts, or is recycled before it fails.
pub(super) fn endurance(bench: &mut Bench<'_>, events: &[(String, Vec<u8>)], renders: u32) -> Check {
    const NAME: &str = "endurance";
    let good: Vec<&[u8]> = events
        .iter()
        .filter(|(_, event)| bench.render_fresh(event).is_ok())
        .map(|(_, event)| event.as_slice())
        .collect();
    if good.is_empty() {
        return Check::not_run(NAME, "no event is rendered without a fault");
    }
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let mut lasted = last(bench, &good, renders);
    // The machine may have been busy: an instance that is too slow for what it carries is so again.
    for _ in 1..DEADLINE_TRIES {
        if matches!(&lasted, Ended::Faulted { kind: Fault::Deadline, .. }) {
            lasted = last(bench, &good, renders);
        }
    }
    let what = match lasted {
        Ended::Levelled { bytes } => {
            let detail =
                format!("{renders} renders on one instance: memory levelled off at {:.1} MiB", mib(bytes));
            return Check::passed(NAME, detail);
        }
        Ended::GivenUp { renders: done } => {
            return Check::not_run(NAME, format!("given up after 300 s and {done} of {renders} renders"));
        }
        Ended::Grew { from, to } => {
            format!(
                "memory grew on from {:.1} to {:.1} MiB in the second half of {renders} renders",
                mib(from),
                mib(to)
            )
        }
        Ended::Faulted { renders, why, .. } => format!("one instance ended at render {renders} ({why})"),
    };
    match last_recycled(bench, &good, renders) {
        Ok(Some(0)) => Check::not_run(
            NAME,
            format!(
                "{what}; it does not come again when instances are recycled, though none was: is the machine busy?"
            ),
        ),
        Ok(Some(instances)) => Check::passed(
            NAME,
            format!(
                "{what}; saved by recycling: an instance is made anew after {RENDERS_PER_INSTANCE} renders or above half \
                 its memory limit, {instances} times in {renders} renders"
            ),
        ),
        Ok(None) => Check::not_run(NAME, format!("{what}; given up after 300 s of recycling")),
        Err(why) => Check::of(NAME, what.clone(), vec![format!("{what}; recycling does not save it: {why}")]),
    }
}

fn last(bench: &mut Bench<'_>, events: &[&[u8]], renders: u32) -> Ended {
    let mut instance = match bench.start() {
        Ok(instance) => instance,
        Err(faulted) => return Ended::faulted(0, &faulted),
    };
    let started_ns = bench.now_ns();
    let mut half = 0;
    for (done, event) in (1..=renders).zip(events.iter().cycle()) {
        if let Err(faulted) = bench.render(&mut instance, event) {
            return Ended::faulted(done, &faulted);
        }
        if done == renders / 2 {
            half = instance.memory_bytes();
        }
        if bench.now_ns().saturating_sub(started_ns) > PATIENCE_NS {
            return Ended::GivenUp { renders: done };
        }
    }
    let bytes = instance.memory_bytes();
    if bytes > half { Ended::Grew { from: half, to: bytes } } else { Ended::Levelled { bytes } }
}

/// As the server does it; how many instances were made anew, `None`: given up.
fn last_recycled(bench: &mut Bench<'_>, events: &[&[u8]], renders: u32) -> Result<Option<u32>, String> {
    let started_ns = bench.now_ns();
    let mut kept: Option<Instance> = None;
    let mut instances = 0;
    for (done, event) in (1..=renders).zip(events.iter().cycle()) {
        bench
            .render_kept(&mut kept, event)
            .map_err(|faulted| format!("render {done} failed ({})", told(&faulted)))?;
        if kept.as_ref().is_some_and(Instance::is_used_up) {
            kept = None;
            instances += 1;
        }
        if bench.now_ns().saturating_sub(started_ns) > PATIENCE_NS {
            return Ok(None);
        }
    }
    Ok(Some(instances))
}

/// What rendering costs: told, not judged, for only the author knows what it may cost.
pub(super) fn cost(
    bench: &mut Bench<'_>,
    bytes: &[u8],
    events: &[(String, Vec<u8>)],
) -> (Check, Option<Cost>) {
    const NAME: &str = "cost";
    let meter = match FuelMeter::new(bytes, bench.limits()) {
        Ok(meter) => meter,
        Err(why) => return (Check::not_run(NAME, why), None),
    };
    let mut vectors = Vec::new();
    let mut problems = Vec::new();
    for (name, event) in events {
        match one_cost(bench, &meter, event) {
            Ok((p50_us, p99_us, fuel)) => {
                vectors.push(VectorCost { name: name.clone(), p50_us, p99_us, fuel });
            }
            Err(why) => problems.push(format!("{name}: {why}")),
        }
    }
    let slowest = vectors.iter().map(|cost| cost.p99_us).fold(0.0, f64::max);
    let memory_bytes_max = bench.memory_bytes_max;
    let limits = bench.limits();
    let detail = format!(
        "slowest p99 {slowest:.0} µs of {} ms, at most {memory_bytes_max} of {} bytes of memory",
        limits.render_ms, limits.memory_bytes
    );
    (Check::of(NAME, detail, problems), Some(Cost { vectors, memory_bytes_max }))
}

fn one_cost(bench: &mut Bench<'_>, meter: &FuelMeter, event: &[u8]) -> Result<(f64, f64, u64), String> {
    let mut kept = None;
    bench.render_kept(&mut kept, event).map_err(|faulted| told(&faulted))?;
    let mut times = Vec::with_capacity(TIMED_RENDERS);
    for _ in 0..TIMED_RENDERS {
        let before_ns = bench.now_ns();
        bench.render_kept(&mut kept, event).map_err(|faulted| told(&faulted))?;
        times.push(bench.now_ns().saturating_sub(before_ns));
    }
    times.sort_unstable();
    let us = |share: usize| {
        let ns = times.get(times.len().saturating_mul(share) / 100).copied().unwrap_or_default();
        // To a tenth: more is noise.
        (ns / 100) as f64 / 10.0
    };
    let fuel = meter.count(bench.settings, event).map_err(|why| format!("fuel: {why}"))?;
    Ok((us(50), us(99), fuel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_an_order_of_all_and_always_the_same() {
        let order = shuffled(20, 1);
        assert_eq!(order, shuffled(20, 1));
        assert_ne!(order, shuffled(20, 2));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_ne!(order, sorted);
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }
}
