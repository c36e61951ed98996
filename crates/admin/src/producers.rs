//! The rate of each producer: so many events a second for each key of an account, a second's worth at once.
//!
//! A request is taken whole as long as its key has room for one event more; what it holds beyond its room is owed
//! first. So a batch larger than a second's worth gets through, and over any time at most a second's worth, the rate
//! and the last request's events are taken. The bootstrap key, the operator's own, has no rate.

use crate::auth::{Caller, Ingest, bearer};
use crate::error::ApiError;
use crate::state::Shared;
use axum::extract::FromRequestParts;
use fanfare_engine::Principal;
use http::request::Parts;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

const SECOND_NS: u64 = 1_000_000_000;
/// Keys remembered before those at rest are forgotten: 64 KiB or so.
const KEYS_SOFT_MAX: usize = 4096;

/// A caller who may push events.
pub(crate) struct Producer {
    pub(crate) principal: Principal,
    /// Its key's place among the rates; `None`: it has none.
    key: Option<u64>,
}

impl FromRequestParts<Shared> for Producer {
    type Rejection = ApiError;

    /// Refuses, last, a key whose rate is used up: before its body is read.
    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let Caller { principal, .. } = Caller::<Ingest>::from_request_parts(parts, shared).await?;
        let is_limited = shared.rates.per_second.is_some() && principal.account.is_some();
        let key = bearer(&parts.headers).filter(|_| is_limited).map(|key| shared.rates.place(key.expose()));
        let producer = Producer { principal, key };
        producer.take(shared, 0)?;
        Ok(producer)
    }
}

impl Producer {
    /// Counts a request's events, once it is known how many they are.
    ///
    /// # Errors
    /// 429 with `Retry-After` when the rate is used up; then none is counted.
    pub(crate) fn take(&self, shared: &Shared, event_count: usize) -> Result<(), ApiError> {
        let Some(key) = self.key else { return Ok(()) };
        shared.rates.take(key, event_count, shared.engine().now().mono_ns)
    }
}

/// How far each key has used its rate.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: Option<NonZeroU32>,
    /// Until when a key's events are paid for, monotonic ns. Absent: long ago.
    paid_until_ns: Mutex<HashMap<u64, u64>>,
    /// Keyed at random: keys are told apart without being kept.
    hasher: RandomState,
}

impl Rates {
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Rates { per_second, paid_until_ns: Mutex::default(), hasher: RandomState::new() }
    }

    fn place(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    fn take(&self, key: u64, event_count: usize, now_ns: u64) -> Result<(), ApiError> {
        let Some(per_second) = self.per_second else { return Ok(()) };
        let mut all = self.paid_until_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_ns = all.get(&key).copied().unwrap_or(0).max(now_ns);
        // Room for one event more: within a second's worth of now.
        let room_from_ns = (paid_ns + cost_ns(1, per_second)).saturating_sub(SECOND_NS);
        if let Some(wait_ns) = room_from_ns.checked_sub(now_ns).filter(|wait| *wait > 0) {
            let wait_s = u32::try_from(wait_ns.div_ceil(SECOND_NS)).unwrap_or(u32::MAX);
            return Err(ApiError::too_many(
                format!("events of this key exceed {per_second} a second"),
                wait_s,
            ));
        }
        if event_count == 0 {
            return Ok(());
        }
        if all.len() >= KEYS_SOFT_MAX {
            all.retain(|_, paid_ns| *paid_ns > now_ns);
        }
        all.insert(key, paid_ns.saturating_add(cost_ns(event_count, per_second)));
        Ok(())
    }
}

/// Rounded up, so that no rounding admits more than the rate.
fn cost_ns(event_count: usize, per_second: NonZeroU32) -> u64 {
    (event_count as u64).saturating_mul(SECOND_NS).div_ceil(u64::from(per_second.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn rates(per_second: u32) -> Rates {
        Rates::new(NonZeroU32::new(per_second))
    }

    fn refused(result: Result<(), ApiError>, message: &str) {
        assert_eq!(result.err().map(|error| error.parts().1.to_owned()).as_deref(), Some(message));
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_the_rate() {
        let rates = rates(10);
        for now_ns in [0, 0, 5 * MS] {
            assert!(rates.take(1, 3, now_ns).is_ok());
        }
        assert!(rates.take(1, 1, 5 * MS).is_ok());
        refused(rates.take(1, 1, 99 * MS), "events of this key exceed 10 a second");
        refused(rates.take(1, 0, 99 * MS), "events of this key exceed 10 a second");
        assert!(rates.take(2, 1, 99 * MS).is_ok(), "another key has its own");
        assert!(rates.take(1, 1, 100 * MS).is_ok());
        assert!(rates.take(1, 1, 101 * MS).is_err());
    }

    #[test]
    fn a_batch_over_a_second_s_worth_is_paid_for_afterwards() {
        let rates = rates(10);
        assert!(rates.take(1, 50, 0).is_ok());
        assert!(rates.take(1, 1, 4099 * MS).is_err());
        assert!(rates.take(1, 1, 4100 * MS).is_ok());
    }

    #[test]
    fn asking_costs_nothing() {
        let rates = rates(1);
        assert!((0..100).all(|_| rates.take(1, 0, 0).is_ok()));
        assert!(rates.take(1, 1, 0).is_ok());
        assert!(rates.take(1, 0, 0).is_err());
    }

    /// Against a count of what was taken, with requests of many sizes at many times.
    #[test]
    fn over_any_time_no_more_than_the_rate_the_burst_and_the_last_request_is_taken() {
        let rates = rates(7);
        let (mut now_ns, mut state) = (0_u64, 12345_u64);
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now_ns += (state >> 40) * 20;
            let count = (state >> 33) % 5 + 1;
            if rates.take(1, usize::try_from(count).unwrap(), now_ns).is_ok() {
                taken.push((now_ns, count));
            }
        }
        assert!(taken.len() > 100, "{}", taken.len());
        for (first, (from_ns, _)) in taken.iter().enumerate() {
            let mut sum = 0;
            for (at_ns, count) in &taken[first..] {
                let bound = 7.0 + 7.0 * (at_ns - from_ns) as f64 / 1e9;
                assert!(sum as f64 <= bound, "{sum} events in {} ns", at_ns - from_ns);
                sum += count;
            }
        }
    }

    #[test]
    fn keys_at_rest_are_forgotten() {
        let rates = rates(1);
        for key in 0..KEYS_SOFT_MAX as u64 {
            assert!(rates.take(key, 1, 0).is_ok());
        }
        assert!(rates.take(u64::MAX, 1, 2 * SECOND_NS).is_ok());
        assert_eq!(rates.paid_until_ns.lock().unwrap().len(), 1);
    }

    #[test]
    fn without_a_rate_nothing_is_kept() {
        let rates = Rates::new(None);
        assert!(rates.take(1, usize::MAX, 0).is_ok());
        assert!(rates.paid_until_ns.lock().unwrap().is_empty());
    }
}
