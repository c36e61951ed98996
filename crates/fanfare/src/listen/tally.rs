//! Counts of a receiver: requests, distinct deliveries, repeats, signatures.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Delivery ids remembered to tell repeats: 16 bytes each, about 300 MB when all are used. Requests beyond are counted
/// and not compared; the summary says so.
pub(crate) const IDS_MAX: u64 = 8 * 1024 * 1024;
/// Sets the ids are spread over, so that threads seldom meet at one lock.
const SHARDS: usize = 16;

/// What came in so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests answered or reset.
    pub(crate) requests: u64,
    /// Distinct `webhook-id`s among those remembered.
    pub(crate) distinct: u64,
    /// Requests whose `webhook-id` had come before.
    pub(crate) repeats: u64,
    /// Requests whose signature did not fit, or that had none although a secret was given.
    pub(crate) bad_signatures: u64,
    /// Requests answered with the failure status.
    pub(crate) failed: u64,
    /// Requests whose id was not compared: there was none, or [`IDS_MAX`] was reached.
    pub(crate) not_compared: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} distinct deliveries, {} repeats, {} bad signatures",
            self.requests, self.distinct, self.repeats, self.bad_signatures
        )?;
        if self.failed > 0 {
            write!(f, ", {} failed on purpose", self.failed)?;
        }
        if self.not_compared > 0 {
            write!(f, ", {} not compared", self.not_compared)?;
        }
        Ok(())
    }
}

/// Counts that every thread of a receiver adds to.
#[derive(Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    distinct: AtomicU64,
    repeats: AtomicU64,
    bad_signatures: AtomicU64,
    failed: AtomicU64,
    not_compared: AtomicU64,
    ids: [Mutex<HashSet<u128, BuildHasherDefault<Folded>>>; SHARDS],
    /// Two keyed hashes make 128 bits: that two ids of 8 million meet is one in 10^24, and no sender can aim at it.
    hashers: (RandomState, RandomState),
}

impl Tally {
    /// Counts a request; its number from 1.
    pub(crate) fn count_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a signature that does not fit.
    pub(crate) fn count_bad_signature(&self) {
        self.bad_signatures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request failed on purpose.
    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers a request's delivery id.
    pub(crate) fn count_id(&self, id: Option<&[u8]>) {
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let Some(id) = id else { return count(&self.not_compared) };
        let hash = self.hash(id);
        let Some(shard) = self.shard(hash) else { return };
        let mut ids = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.contains(&hash) {
            count(&self.repeats);
        } else if self.distinct.load(Ordering::Relaxed) >= IDS_MAX {
            count(&self.not_compared);
        } else {
            ids.insert(hash);
            count(&self.distinct);
        }
    }

    /// All counts. Read one by one, so that they may differ by what comes in meanwhile.
    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: read(&self.requests),
            distinct: read(&self.distinct),
            repeats: read(&self.repeats),
            bad_signatures: read(&self.bad_signatures),
            failed: read(&self.failed),
            not_compared: read(&self.not_compared),
        }
    }

    fn hash(&self, id: &[u8]) -> u128 {
        let (high, low) = &self.hashers;
        u128::from(high.hash_one(id)) << 64 | u128::from(low.hash_one(id))
    }

    fn shard(&self, hash: u128) -> Option<&Mutex<HashSet<u128, BuildHasherDefault<Folded>>>> {
        usize::try_from(hash >> 124).ok().and_then(|index| self.ids.get(index))
    }
}

/// Takes half of a hash as it is: the set's keys are hashes already.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.0 = chunk.iter().fold(self.0, |sum, byte| sum << 8 | u64::from(*byte));
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = u64::try_from(hash & u128::from(u64::MAX)).unwrap_or_default();
    }
}

/// Requests per second since the last time it was asked.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    requests: u64,
    elapsed: Duration,
}

impl Rate {
    /// `requests` so far, `elapsed` since the start.
    pub(crate) fn per_second(&mut self, requests: u64, elapsed: Duration) -> f64 {
        let seconds = elapsed.saturating_sub(self.elapsed).as_secs_f64();
        let new = requests.saturating_sub(self.requests);
        (self.requests, self.elapsed) = (requests, elapsed);
        if seconds > 0.0 { as_float(new) / seconds } else { 0.0 }
    }
}

/// A count for division; exact up to 2^53.
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_told_from_distinct_deliveries() {
        let tally = Tally::default();
        for id in ["a-1", "a-2", "a-1", "a-1"] {
            tally.count_request();
            tally.count_id(Some(id.as_bytes()));
        }
        tally.count_request();
        tally.count_id(None);
        tally.count_bad_signature();
        let counts = tally.counts();
        assert_eq!(
            counts,
            Counts { requests: 5, distinct: 2, repeats: 2, bad_signatures: 1, failed: 0, not_compared: 1 }
        );
        assert_eq!(
            counts.to_string(),
            "5 requests, 2 distinct deliveries, 2 repeats, 1 bad signatures, 1 not compared"
        );
    }

    #[test]
    fn many_ids_stay_apart() {
        let tally = Tally::default();
        for number in 0..50_000_u32 {
            tally.count_id(Some(&number.to_be_bytes()));
        }
        assert_eq!(tally.counts().distinct, 50_000);
        assert_eq!(tally.counts().repeats, 0);
    }

    #[test]
    fn rates_are_of_the_time_since_the_last_one() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(10, Duration::from_secs(2)), 5.0);
        assert_eq!(rate.per_second(40, Duration::from_secs(3)), 30.0);
        assert_eq!(rate.per_second(40, Duration::from_secs(3)), 0.0);
    }
}
