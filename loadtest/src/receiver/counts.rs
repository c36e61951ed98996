//! What a receiver counts. Each of its threads counts for itself; only the ids that were seen are shared, in shards.

use crate::latency::{Latencies, Summary};
use crate::stamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Growing a set stops its thread for a moment; with so many shards for a fraction of a millisecond.
const SHARD_COUNT: usize = 64;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash is a good hash of itself.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// The delivery ids that were answered with success, as hashes of 64 bits: ten million of them need 160 MB at most,
/// and with ten million the chance that two share a hash, so that one arrival counts as a repetition, is one in 370,000.
pub(crate) struct Ids {
    shards: Vec<Mutex<HashSet<u64, BuildHasherDefault<AsItIs>>>>,
    shard_max: usize,
}

impl Ids {
    /// Keeps at most about `max`; from then on each counts as new.
    pub(crate) fn new(max: usize) -> Self {
        Ids { shards: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(), shard_max: max / SHARD_COUNT + 1 }
    }

    /// Whether an id is new.
    fn insert(&self, id: &[u8]) -> bool {
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(id);
        // The set uses the hash's low and top bits: the shard is chosen by others.
        let place = usize::try_from(hash >> 32).unwrap_or_default() % SHARD_COUNT;
        let Some(shard) = self.shards.get(place) else { return true };
        let mut shard = locked(shard);
        if shard.len() < self.shard_max {
            return shard.insert(hash);
        }
        !shard.contains(&hash)
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            *locked(shard) = HashSet::default();
        }
    }

    fn is_full(&self) -> bool {
        self.shards.iter().any(|shard| locked(shard).len() >= self.shard_max)
    }
}

/// How a sampled signature came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Not looked at.
    Unsampled,
    /// Every signature that the request carries fits.
    Good,
    /// One does not, or a signed webhook's request carries none.
    Bad,
    /// The webhook's secret is not known here.
    Unknown,
}

/// One request, read whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) body_bytes: usize,
    pub(crate) arrived_us: u64,
    pub(crate) signature: Signature,
    /// What it is answered.
    pub(crate) status: Option<u16>,
}

/// One thread's counts.
pub(crate) struct Counts {
    requests: u64,
    bytes: u64,
    failed: u64,
    delivered: u64,
    repeated: u64,
    unstamped: u64,
    good: u64,
    bad: u64,
    unknown: u64,
    /// The last sample was of a webhook whose secret is not kept: the next request is looked at in its place.
    owes_sample: bool,
    last_arrival_us: u64,
    latencies: Latencies,
    interval: Latencies,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Counts {
            requests: 0,
            bytes: 0,
            failed: 0,
            delivered: 0,
            repeated: 0,
            unstamped: 0,
            good: 0,
            bad: 0,
            unknown: 0,
            owes_sample: false,
            last_arrival_us: 0,
            latencies: Latencies::new(),
            interval: Latencies::new(),
        }
    }

    /// Whether the signature of the next request is to be checked, when one in `every` is.
    pub(crate) fn samples(&self, every: u64) -> bool {
        every > 0 && (self.owes_sample || self.requests.is_multiple_of(every))
    }

    pub(crate) fn arrive(&mut self, ids: &Ids, arrival: &Arrival<'_>) {
        self.requests += 1;
        self.bytes += arrival.body_bytes as u64;
        match arrival.signature {
            Signature::Unsampled => {}
            Signature::Good => self.good += 1,
            Signature::Bad => self.bad += 1,
            Signature::Unknown => self.unknown += 1,
        }
        if arrival.signature != Signature::Unsampled {
            self.owes_sample = arrival.signature == Signature::Unknown;
        }
        if arrival.status.is_none_or(|status| status >= 300) {
            // It will come again; only then does it count as delivered.
            self.failed += 1;
            return;
        }
        if !ids.insert(arrival.id) {
            self.repeated += 1;
            return;
        }
        self.delivered += 1;
        self.last_arrival_us = self.last_arrival_us.max(arrival.arrived_us);
        let Some(sent_us) = stamp::sent_us(arrival.id) else {
            self.unstamped += 1;
            return;
        };
        let us = arrival.arrived_us.saturating_sub(sent_us);
        self.latencies.record(us);
        self.interval.record(us);
    }
}

/// What `GET /stats` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// Requests read whole.
    pub(crate) requests: u64,
    /// Of their bodies.
    pub(crate) bytes: u64,
    /// Requests answered 503, or never.
    pub(crate) failed: u64,
    /// Distinct delivery ids answered with success.
    pub(crate) delivered: u64,
    /// Further successes of an id that was delivered.
    pub(crate) repeated: u64,
    /// Deliveries whose id tells no time.
    pub(crate) unstamped: u64,
    /// Signatures that were checked and fit.
    pub(crate) signatures_good: u64,
    /// Signatures that do not fit, or are missing.
    pub(crate) signatures_bad: u64,
    /// Sampled requests of webhooks whose secret is not known.
    pub(crate) signatures_unknown: u64,
    /// Connections ever accepted.
    pub(crate) connections: u64,
    /// Connections open now.
    pub(crate) connections_open: u64,
    /// When the last delivery arrived, Unix µs.
    pub(crate) last_arrival_us: u64,
    /// More ids came than are kept: repetitions are no longer told reliably.
    pub(crate) is_full: bool,
    /// From an event's sending to its arrival, since the last `POST /mark` or `/reset`.
    pub(crate) latency: Summary,
    /// The same since the last `GET /stats`.
    pub(crate) interval: Summary,
}

/// All threads' counts together.
pub(crate) fn stats(threads: &[Mutex<Counts>], ids: &Ids) -> Stats {
    let (mut latencies, mut interval) = (Latencies::new(), Latencies::new());
    let mut stats = Stats { is_full: ids.is_full(), ..Stats::default() };
    for thread in threads {
        let mut counts = locked(thread);
        stats.requests += counts.requests;
        stats.bytes += counts.bytes;
        stats.failed += counts.failed;
        stats.delivered += counts.delivered;
        stats.repeated += counts.repeated;
        stats.unstamped += counts.unstamped;
        stats.signatures_good += counts.good;
        stats.signatures_bad += counts.bad;
        stats.signatures_unknown += counts.unknown;
        stats.last_arrival_us = stats.last_arrival_us.max(counts.last_arrival_us);
        latencies.add(&counts.latencies);
        interval.add(&counts.interval);
        counts.interval.reset();
    }
    stats.latency = latencies.summary();
    stats.interval = interval.summary();
    stats
}

/// Forgets everything.
pub(crate) fn reset(threads: &[Mutex<Counts>], ids: &Ids) {
    for thread in threads {
        *locked(thread) = Counts::new();
    }
    ids.clear();
}

/// Forgets the latencies alone: what is measured begins now.
pub(crate) fn mark(threads: &[Mutex<Counts>]) {
    for thread in threads {
        let mut counts = locked(thread);
        counts.latencies.reset();
        counts.interval.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(threads: &[Mutex<Counts>], ids: &Ids, id: &str, status: Option<u16>) {
        let arrival = Arrival {
            id: id.as_bytes(),
            body_bytes: 10,
            arrived_us: 1_790_000_000_002_000,
            signature: Signature::Good,
            status,
        };
        locked(&threads[0]).arrive(ids, &arrival);
    }

    fn stamped(number: u64) -> String {
        let mut id = String::new();
        stamp::write(&mut id, 1, 1_790_000_000_000_000, number);
        id + "-webhook"
    }

    /// Else a sample of few among a million webhooks may hold none whose secret is kept.
    #[test]
    fn a_sample_that_cannot_be_checked_is_made_up_for() {
        let (mut counts, ids) = (Counts::new(), Ids::new(1000));
        let mut sampled = Vec::new();
        for number in 0..8 {
            sampled.push(counts.samples(4));
            let signature = match number {
                0 | 1 => Signature::Unknown,
                2 => Signature::Good,
                _ => Signature::Unsampled,
            };
            let id = stamped(number);
            let (id, body_bytes, arrived_us) = (id.as_bytes(), 10, 1_790_000_000_002_000);
            counts.arrive(&ids, &Arrival { id, body_bytes, arrived_us, signature, status: Some(200) });
        }
        assert_eq!(sampled, [true, true, true, false, true, false, false, false]);
        assert!(!counts.samples(0));
    }

    #[test]
    fn a_delivery_counts_once_however_often_it_comes() {
        let (threads, ids) = ([Mutex::new(Counts::new()), Mutex::new(Counts::new())], Ids::new(1000));
        arrive(&threads, &ids, &stamped(1), Some(503));
        arrive(&threads, &ids, &stamped(1), None);
        arrive(&threads, &ids, &stamped(1), Some(200));
        arrive(&threads, &ids, &stamped(1), Some(200));
        arrive(&threads, &ids, &stamped(2), Some(200));
        arrive(&threads, &ids, "no-stamp", Some(200));
        let found = stats(&threads, &ids);
        assert_eq!((found.requests, found.failed, found.delivered, found.repeated), (6, 2, 3, 1));
        assert_eq!((found.unstamped, found.bytes, found.signatures_good), (1, 60, 6));
        assert_eq!((found.latency.count, found.latency.max_us.abs_diff(2000) <= 2), (2, true));
        assert_eq!(found.interval, found.latency);

        let later = stats(&threads, &ids);
        assert_eq!((later.interval.count, later.latency.count), (0, 2));
        mark(&threads);
        assert_eq!((stats(&threads, &ids).latency.count, stats(&threads, &ids).delivered), (0, 3));
        reset(&threads, &ids);
        assert_eq!(stats(&threads, &ids), Stats::default());
        arrive(&threads, &ids, &stamped(1), Some(200));
        assert_eq!(stats(&threads, &ids).delivered, 1);
    }

    #[test]
    fn ids_beyond_the_bound_are_told() {
        let ids = Ids::new(64);
        assert!((0..10_000_u32).all(|number| ids.insert(&number.to_le_bytes())));
        assert!(ids.is_full());
        assert!((0..10_000_u32).filter(|number| !ids.insert(&number.to_le_bytes())).count() >= 64);
    }

    #[test]
    fn one_request_in_so_many_is_sampled() {
        let (mut counts, ids) = (Counts::new(), Ids::new(1000));
        let mut sampled = 0;
        for number in 0..100 {
            sampled += u64::from(counts.samples(10));
            let id = stamped(number);
            let arrival = Arrival {
                id: id.as_bytes(),
                body_bytes: 0,
                arrived_us: 1,
                signature: Signature::Unsampled,
                status: None,
            };
            counts.arrive(&ids, &arrival);
        }
        assert_eq!((sampled, counts.samples(0)), (10, false));
    }
}
