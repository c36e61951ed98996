//! The courses a run can take; each fills in the figures and checks of one [`Run`].

use super::News;
use super::engine::folder_bytes;
use super::stage::{BESIDE_PREFIX, Leg, REST, Receiver, Stage};
use crate::clock::Watch;
use crate::error::Error;
use crate::findings::Run;
use crate::generator::GeneratorOptions;
use crate::process::as_float;
use crate::receiver::behaviour::Behaviour;
use crate::scenario::{BesideSpec, Plan};
use std::time::Duration;

const MB: f64 = 1e6;
/// Between two looks at what is in flight, and how often at most: a load that keeps rising is measured as it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS_MAX: usize = 20;

/// Plays the scenario's plan on a stage that is set.
pub(crate) async fn play(stage: &mut Stage<'_>, seconds: f64, run: &mut Run) -> Result<(), Error> {
    match stage.scenario.plan {
        Plan::Steady => steady(stage, seconds, run).await,
        Plan::Share => share(stage, seconds, run).await,
        Plan::Beside => beside(stage, seconds, run).await,
        Plan::Outage => outage(stage, seconds, run).await,
        Plan::Restart => restart(stage, seconds, run).await,
        Plan::Registered => registered(stage, seconds, run).await,
    }
}

fn ms(us: u64) -> f64 {
    as_float(us) / 1000.0
}

/// The figures that every leg has.
fn put(run: &mut Run, leg: &Leg) {
    run.put("deliveries", as_float(leg.delivered));
    run.put("deliveries_per_second", leg.per_second());
    run.put("events_per_second", leg.events_per_second());
    run.put("seconds", leg.seconds);
    let per_delivery = |cpu_s: f64| cpu_s * 1e6 / as_float(leg.delivered.max(1));
    run.put("engine_cpu_us", per_delivery(leg.engine_cpu_s));
    run.put("receiver_cpu_us", per_delivery(leg.receiver_cpu_s));
    run.put("engine_cores", leg.engine_cpu_s / leg.seconds.max(1e-3));
    put_latency(run, leg);
    run.put("ingest_p50_ms", ms(leg.pushed.ingest.p50_us));
    run.put("ingest_p99_ms", ms(leg.pushed.ingest.p99_us));
    run.put("ingest_refusals", as_float(leg.pushed.refusals));
}

fn put_latency(run: &mut Run, leg: &Leg) {
    let latency = &leg.end.latency;
    run.put("latency_p50_ms", ms(latency.p50_us));
    run.put("latency_p90_ms", ms(latency.p90_us));
    run.put("latency_p99_ms", ms(latency.p99_us));
    run.put("latency_p999_ms", ms(latency.p999_us));
    run.put("latency_max_ms", ms(latency.max_us));
    run.curve.clone_from(&latency.curve);
}

async fn steady(stage: &mut Stage<'_>, seconds: f64, run: &mut Run) -> Result<(), Error> {
    stage.warm_up().await?;
    stage.say(News::Phase(format!("load of {seconds} s")));
    let leg = stage.leg(stage.scenario.load.rate, seconds, stage.scenario.events_max).await?;
    put(run, &leg);
    stage.judge(run, &leg, false);
    Ok(())
}

/// Learns the rate that is possible: events a second from the first to the last arrival.
async fn learn_rate(stage: &mut Stage<'_>, seconds: f64) -> Result<Leg, Error> {
    stage.say(News::Phase("learning what rate is possible".into()));
    stage.leg(None, seconds, stage.scenario.events_max).await
}

async fn share(stage: &mut Stage<'_>, seconds: f64, run: &mut Run) -> Result<(), Error> {
    stage.warm_up().await?;
    let full = learn_rate(stage, (seconds / 2.0).min(10.0)).await?;
    stage.judge(run, &full, false);
    run.put("full_rate_per_second", full.events_per_second());
    let rate = full.events_per_second() * stage.scenario.load.rate_share;
    stage.say(News::Phase(format!("load of {seconds} s at {rate:.0} events a second")));
    let leg = stage.leg(Some(rate), seconds, stage.scenario.events_max).await?;
    put(run, &leg);
    stage.judge(run, &leg, false);
    Ok(())
}

/// One half of a comparison: throughput as fast as it goes, then latency at a rate.
async fn half(
    stage: &mut Stage<'_>,
    seconds: f64,
    rate: Option<f64>,
    run: &mut Run,
) -> Result<(Leg, Leg), Error> {
    let fast = stage.leg(None, seconds / 2.0, stage.scenario.events_max).await?;
    let rate = rate.unwrap_or_else(|| fast.events_per_second() * stage.scenario.load.rate_share);
    let paced = stage.leg(Some(rate), seconds / 2.0, stage.scenario.events_max).await?;
    stage.judge(run, &fast, false);
    stage.judge(run, &paced, false);
    Ok((fast, paced))
}

async fn beside(stage: &mut Stage<'_>, seconds: f64, run: &mut Run) -> Result<(), Error> {
    let scenario = stage.scenario;
    let Some(spec) = &scenario.beside else { return Err(Error::usage("the plan beside needs [beside]")) };
    stage.warm_up().await?;
    stage.say(News::Phase(format!("alone, {seconds} s")));
    let (fast, paced) = half(stage, seconds, None, run).await?;
    let rate = fast.events_per_second() * scenario.load.rate_share;

    let receiver = Receiver::start(stage.bench, &spec.receiver, stage.folder).await?;
    stage.say(News::Phase(format!("making {} webhooks beside", spec.channels * spec.webhooks.per_channel)));
    let engine = stage.engine()?;
    let made = engine.make_webhooks(&spec.webhooks, BESIDE_PREFIX, spec.channels, &receiver.urls, &|_| {});
    receiver.learn(&made.await?).await?;
    let load = beside_load(stage, spec)?;
    if spec.events_each > 0 {
        let events_max = spec.events_each * spec.channels;
        let options = GeneratorOptions { events_max, seconds: None, rate: None, ..load.clone() };
        let part = stage.start_push(options).await?;
        let pushed = stage.finish_push(part, None).await?;
        run.check(
            "the events beside were accepted",
            pushed.rejected == 0,
            format!("{} rejected", pushed.rejected),
        );
        settle_in_flight(stage).await?;
    }
    let flood = match spec.rate {
        Some(_) => Some(stage.start_push(load).await?),
        None => None,
    };
    run.put("beside_in_flight", stage.engine()?.metric("fanfare_attempts_in_flight").await?);
    stage.say(News::Phase(format!("beside {} others, {seconds} s", spec.channels)));
    let (beside_fast, beside_paced) = half(stage, seconds, Some(rate), run).await?;
    if let Some(flood) = flood {
        flood.kill().await;
    }
    run.put("alone_per_second", fast.per_second());
    run.put("beside_per_second", beside_fast.per_second());
    run.put("throughput_ratio", beside_fast.per_second() / fast.per_second().max(1e-9));
    run.put("alone_p99_ms", ms(paced.end.latency.p99_us));
    run.put("beside_p99_ms", ms(beside_paced.end.latency.p99_us));
    run.put(
        "p99_ratio",
        as_float(beside_paced.end.latency.p99_us) / as_float(paced.end.latency.p99_us.max(1)),
    );
    run.put("deliveries_per_second", beside_fast.per_second());
    put_latency(run, &beside_paced);
    Ok(())
}

fn beside_load(stage: &Stage<'_>, spec: &BesideSpec) -> Result<GeneratorOptions, Error> {
    let load = stage.load(spec.rate, None, u64::MAX)?;
    let channel_prefix = BESIDE_PREFIX.into();
    Ok(GeneratorOptions { channel_prefix, channels: spec.channels, waits_for_allowance: false, ..load })
}

/// However much waits.
fn unbounded(options: GeneratorOptions) -> GeneratorOptions {
    GeneratorOptions { waits_for_allowance: false, ..options }
}

async fn outage(stage: &mut Stage<'_>, seconds: f64, run: &mut Run) -> Result<(), Error> {
    let scenario = stage.scenario;
    let owed_max = scenario.events_max * scenario.webhooks.per_channel * scenario.load.channels;
    stage.receiver.behave(&Behaviour { fail_share: 1.0, ..scenario.receiver.behaviour }).await?;
    let begun = stage.begin().await?;
    // A tenth first: from there on memory must not grow.
    stage.say(News::Phase(format!("outage until {owed_max} deliveries wait")));
    let first = (scenario.events_max / 10).max(1);
    let part = stage.start_push(unbounded(stage.load(scenario.load.rate, Some(seconds), first)?)).await?;
    let mut pushed = stage.finish_push(part, None).await?;
    let tenth_bytes = rested_bytes(stage).await;
    let watch = Watch::start();
    let rest = scenario.events_max - first;
    if rest > 0 {
        let part = stage.start_push(unbounded(stage.load(scenario.load.rate, Some(seconds), rest)?)).await?;
        let more = stage.finish_push(part, None).await?;
        for (sum, more) in pushed.by_variant.iter_mut().zip(&more.by_variant) {
            *sum += more;
        }
        pushed.accepted += more.accepted;
        pushed.duplicates += more.duplicates;
        pushed.rejected += more.rejected;
        run.put("outage_events_per_second", as_float(more.taken()) / watch.seconds().max(1e-3));
    }
    let expected = stage.expected(&pushed)?;
    let waiting = stage.engine()?.metric("fanfare_backlog_deliveries").await?;
    run.put("waiting_deliveries", waiting);
    let all_bytes = rested_bytes(stage).await;
    run.put("waiting_memory_mb", as_float(all_bytes) / MB);
    run.put("waiting_growth_mb", (as_float(all_bytes) - as_float(tenth_bytes)) / MB);
    run.put("data_mb", as_float(folder_bytes(&stage.engine()?.data())) / MB);
    if scenario.outage.restarts {
        stage.say(News::Phase("kill -9 and start again".into()));
        run.put("ready_s", stage.kill_and_start().await?);
        run.put("restarted_memory_mb", as_float(rested_bytes(stage).await) / MB);
        let after = stage.engine()?.metric("fanfare_backlog_deliveries").await?;
        let detail = format!("{waiting} before, {after} after");
        run.check("what waits is there after the restart", after >= waiting * 0.999 && waiting > 0.0, detail);
    }
    if scenario.outage.stays_down {
        run.check("every event was accepted", pushed.rejected == 0, format!("{} rejected", pushed.rejected));
        return Ok(());
    }
    stage.say(News::Phase("recovery".into()));
    let watch = Watch::start();
    stage.receiver.behave(&scenario.receiver.behaviour).await?;
    let end = stage.settle(&begun, expected).await?;
    let leg = stage.end(begun, pushed, expected, end);
    run.put("recovery_s", watch.seconds());
    run.put("recovery_per_second", as_float(leg.delivered) / watch.seconds().max(1e-3));
    run.put("deliveries_per_second", as_float(leg.delivered) / watch.seconds().max(1e-3));
    stage.judge(run, &leg, scenario.outage.restarts);
    Ok(())
}

/// Waits until attempts are under way as far as they may be: no more are than a moment before.
async fn settle_in_flight(stage: &Stage<'_>) -> Result<(), Error> {
    let mut before = 0.0;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = stage.engine()?.metric("fanfare_attempts_in_flight").await?;
        if now <= before {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Memory after a moment without load.
async fn rested_bytes(stage: &Stage<'_>) -> u64 {
    tokio::time::sleep(REST).await;
    stage.engine_usage().anonymous_bytes
}

async fn restart(stage: &mut Stage<'_>, seconds: f64, run: &mut Run) -> Result<(), Error> {
    stage.warm_up().await?;
    let begun = stage.begin().await?;
    stage.say(News::Phase(format!("load of {seconds} s, with kill -9 at half time")));
    // Nobody tells the generator what it may push while the engine is killed and started again.
    let options = stage.load(stage.scenario.load.rate, Some(seconds), stage.scenario.events_max)?;
    let part = stage.start_push(unbounded(options)).await?;
    tokio::time::sleep(Duration::from_secs_f64(seconds / 2.0)).await;
    run.put("ready_s", stage.kill_and_start().await?);
    let pushed = stage.finish_push(part, None).await?;
    let expected = stage.expected(&pushed)?;
    let end = stage.settle(&begun, expected).await?;
    let leg = stage.end(begun, pushed, expected, end);
    run.put("deliveries", as_float(leg.delivered));
    run.put("deliveries_per_second", leg.per_second());
    run.put("repeated", as_float(leg.end.repeated - leg.begin.repeated));
    run.put("generator_breaks", as_float(leg.pushed.breaks));
    put_latency(run, &leg);
    let repeated = leg.end.repeated - leg.begin.repeated;
    let bound = repetitions_max(stage);
    let detail = format!("{repeated} of at most {bound}");
    run.check("only what was under way or just done came twice", repeated <= bound, detail);
    let broke = leg.pushed.breaks > 0;
    run.check("the restart fell into the load", broke, format!("{} connections broke", leg.pushed.breaks));
    stage.judge(run, &leg, true);
    Ok(())
}

/// Deliveries in flight, and those finished in the last 100 ms before the kill, may come twice. The samples tell how
/// many finished in 200 ms at most: the bound is generous by that much.
fn repetitions_max(stage: &Stage<'_>) -> u64 {
    let spec = &stage.scenario.webhooks;
    let in_flight = stage.scenario.load.channels * spec.per_channel * u64::from(spec.max_in_flight);
    let samples = stage.watching.samples();
    let pairs = samples.iter().zip(samples.iter().skip(1));
    let finished = pairs.map(|(before, after)| after.delivered.saturating_sub(before.delivered)).max();
    in_flight + finished.unwrap_or_default()
}

async fn registered(stage: &mut Stage<'_>, seconds: f64, run: &mut Run) -> Result<(), Error> {
    let scenario = stage.scenario;
    let webhooks = scenario.load.channels * scenario.webhooks.per_channel;
    let of_each = |bytes: u64, empty: u64| (as_float(bytes) - as_float(empty)) / as_float(webhooks);
    run.put("webhooks", as_float(webhooks));
    run.put("made_webhook_bytes", of_each(rested_bytes(stage).await, stage.empty_bytes));
    stage.say(News::Phase("kill -9 and start again".into()));
    run.put("ready_s", stage.kill_and_start().await?);
    let rested = rested_bytes(stage).await;
    run.put("webhook_bytes", of_each(rested, stage.empty_bytes));
    run.put("registered_memory_mb", as_float(rested) / MB);
    stage.say(News::Phase("first events to sleeping webhooks".into()));
    let leg = stage.leg(scenario.load.rate, seconds, scenario.events_max).await?;
    put(run, &leg);
    stage.judge(run, &leg, false);
    Ok(())
}
