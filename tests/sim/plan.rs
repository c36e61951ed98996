//! What a seed decides about its world before it begins, and the odds of what happens in it.

use crate::disk::{COMMIT_MS_MAX, Weather};
use crate::formats;
use crate::journal::{MS, SECOND, WorldNs};
use crate::life::quick_gate;
use crate::receiver::Mood;
use fanfare_core::event::{EventKind, Subscription};
use fanfare_core::outcome::FailureClass;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::webhook::{Auth, DeliverySettings, FormatName, Ordering, Protocol, RateLimit};
use fanfare_engine::{NewWebhook, Successes};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use std::time::Duration;

pub(crate) struct Plan {
    pub(crate) workers: usize,
    pub(crate) channels: usize,
    pub(crate) webhooks: usize,
    pub(crate) lives: u32,
    /// Things that happen in one process.
    pub(crate) steps: u32,
    pub(crate) gate: GatePolicy,
    pub(crate) window_bytes: u64,
    pub(crate) idle_sleep: Duration,
    pub(crate) successes: Successes,
    /// How far back the store keeps what was handed over in memory.
    pub(crate) tail_events: Option<u64>,
    /// Events in a burst.
    pub(crate) burst: usize,
    /// Between two things that happen, in the world's quicker phases.
    gap_ms: u64,
    /// Whether disk and receivers misbehave at all.
    pub(crate) is_rough: bool,
}

fn pick<T: Clone>(rng: &mut SmallRng, of: &[T]) -> T {
    of.choose(rng).expect("there is something to choose from").clone()
}

impl Plan {
    pub(crate) fn draw(rng: &mut SmallRng) -> Plan {
        Plan {
            workers: rng.random_range(1..=3),
            channels: rng.random_range(1..=3),
            webhooks: rng.random_range(1..=5),
            lives: rng.random_range(1..=5),
            steps: rng.random_range(10..=40),
            gate: if rng.random_ratio(1, 2) { quick_gate() } else { GatePolicy::default() },
            window_bytes: pick(rng, &[700 << 10, 1 << 20, 64 << 20]),
            idle_sleep: Duration::from_secs(pick(rng, &[1, 5, 60])),
            successes: pick(rng, &[Successes::All, Successes::Sampled, Successes::None]),
            tail_events: pick(rng, &[None, Some(3), Some(40)]),
            burst: pick(rng, &[20, 20, 60, 300]),
            gap_ms: pick(rng, &[5, 50, 500]),
            is_rough: rng.random_ratio(9, 10),
        }
    }

    /// How long nothing runs before a process, and how the wall clock steps meanwhile.
    pub(crate) fn pause(&self, rng: &mut SmallRng) -> (WorldNs, i64) {
        let down = rng.random_range(1..20_000) * MS;
        (down, if rng.random_ratio(1, 8) { wall_step(rng) } else { 0 })
    }

    /// Until the next thing happens: mostly soon, at times at once, now and then after everyone fell asleep.
    pub(crate) fn gap(&self, rng: &mut SmallRng) -> Duration {
        match rng.random_range(0..40) {
            0 => Duration::from_secs(rng.random_range(10..200)),
            1..=3 => Duration::from_millis(rng.random_range(1000..8000)),
            4..=12 => Duration::ZERO,
            _ => Duration::from_millis(rng.random_range(0..self.gap_ms)),
        }
    }
}

/// An administrator sets the clock, or it is corrected.
pub(crate) fn wall_step(rng: &mut SmallRng) -> i64 {
    let size: i64 = pick(rng, &[200, 3000, 60_000, 3_600_000, 26 * 3_600_000]);
    let step = rng.random_range(1..=size);
    if rng.random_ratio(1, 2) { step } else { -step }
}

pub(crate) fn mood(rng: &mut SmallRng) -> Mood {
    match rng.random_range(0..20) {
        0..=4 => Mood::Well { ms_max: pick(rng, &[0, 30, 400]) },
        5 => Mood::Well { ms_max: 20_000 },
        6..=8 => Mood::Failing { status: pick(rng, &[500, 404, 302]), ms_max: pick(rng, &[0, 100, 2000]) },
        9..=10 => Mood::Throttling {
            status: pick(rng, &[429, 503]),
            quiet_ms: pick(rng, &[0, 1000, 7000, 60_000, 600_000]),
        },
        11 => Mood::Hanging,
        12 => Mood::Resetting { ms_max: pick(rng, &[0, 300]) },
        13 | 14 => Mood::Refusing(pick(rng, &[FailureClass::Connect, FailureClass::Dns, FailureClass::Tls])),
        15..=17 => Mood::Flaky { percent: pick(rng, &[10, 40, 80]) },
        18 if rng.random_ratio(1, 3) => Mood::Gone,
        18 => Mood::Blocked,
        _ => Mood::default(),
    }
}

pub(crate) fn weather(rng: &mut SmallRng, now: WorldNs) -> Weather {
    let mut weather = Weather { commit_ms_max: pick(rng, &[0, 3, COMMIT_MS_MAX]), ..Weather::default() };
    match rng.random_range(0..8) {
        0 => weather.full_until = now + rng.random_range(1..20) * SECOND,
        1 => weather.crowded_until = now + rng.random_range(1..3000) * MS,
        2 => weather.bad_reads = pick(rng, &[5, 40]),
        3 => weather.bad_changes = 40,
        4 => weather.commit_ms_max = 2000,
        _ => {}
    }
    if rng.random_ratio(1, 2) {
        weather.late_reads = pick(rng, &[10, 60]);
    }
    weather
}

/// How a process is to die, if it is.
pub(crate) fn death(rng: &mut SmallRng, weather: &mut Weather) {
    if rng.random_ratio(1, 2) {
        weather.dies_at_call = Some(rng.random_range(0..60));
    } else {
        weather.dies_at_commit = Some((rng.random_range(0..30), rng.random_ratio(1, 2)));
    }
}

pub(crate) fn rate_limit(rng: &mut SmallRng) -> Option<RateLimit> {
    rng.random_ratio(2, 5).then(|| RateLimit {
        per_second: pick(rng, &[0.5, 2.0, 10.0, 33.3, 100.0]),
        burst: pick(rng, &[1, 2, 5, 20]),
    })
}

pub(crate) fn in_flight_max(rng: &mut SmallRng) -> u16 {
    pick(rng, &[1, 2, 4, 16, 64])
}

/// A webhook somebody makes, with a URL of its own.
pub(crate) fn webhook(rng: &mut SmallRng, url: String, protocol: Protocol) -> NewWebhook {
    let kinds = [
        Subscription::Kind(EventKind::MessageReceived),
        Subscription::ReceivedStatus,
        Subscription::Kind(EventKind::Block),
        Subscription::Kind(EventKind::Connected),
        Subscription::Kind(EventKind::PresenceChat),
    ];
    let mut events: Vec<Subscription> = kinds.into_iter().filter(|_| rng.random_ratio(2, 3)).collect();
    if events.is_empty() {
        events.push(Subscription::Kind(EventKind::MessageReceived));
    }
    let (schedule, age_s): (&[u32], u32) = pick(
        rng,
        &[
            (&[1, 1, 2][..], 60),
            (&[1, 2, 5, 10], 432_000),
            (&[5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400, 72000, 86400], 432_000),
            (&[1], 3600),
        ],
    );
    let delivery = DeliverySettings {
        timeout_ms: Some(pick(rng, &[1000, 5000, 15_000, 30_000])),
        max_in_flight: Some(in_flight_max(rng)),
        rate_limit: rate_limit(rng),
        ordering: Some(if rng.random_ratio(1, 3) { Ordering::Key } else { Ordering::None }),
        retry_schedule_seconds: Some(schedule.to_vec()),
        retry_max_age_seconds: Some(age_s),
        protocol: Some(protocol),
    };
    let format = pick(rng, &[FormatName::Z_API, FormatName::DEFAULT, formats::NAME]);
    NewWebhook {
        url,
        events,
        description: None,
        signing: rng.random_ratio(1, 2),
        auth: Auth::None,
        payload_format: FormatName::parse(format).expect("a format"),
        custom_attributes: "{}".into(),
        delivery,
    }
}
