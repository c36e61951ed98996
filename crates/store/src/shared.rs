//! What the writer publishes and every handle reads without asking it.

use crate::ledger::{DamageCount, Ledger};
use crate::record::event::PARKED_BIT;
use crate::record::state::StateRow;
use fanfare_core::ports::{COMMIT_US_BOUNDS, CatalogChange, StoreError, StoreStats};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Bytes of events that may wait in front of the writer.
pub(crate) const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

const NOTHING_PENDING: u64 = u64::MAX;

/// See the module. All counters are advisory and independent, so relaxed order is enough.
pub(crate) struct Shared {
    backlog: AtomicU64,
    dead: AtomicU64,
    commits: AtomicU64,
    commit_us_last: AtomicU64,
    commit_us_counts: [AtomicU64; COMMIT_US_BOUNDS.len() + 1],
    commit_us_sum: AtomicU64,
    /// Unix ms; [`NOTHING_PENDING`] when nothing is.
    oldest_pending_ms: AtomicU64,
    used_bytes: AtomicU64,
    queued_bytes: AtomicUsize,
    next_webhook: AtomicU32,
    next_channel: AtomicU32,
    poison: OnceLock<String>,
    /// More settlements wait for room on the disk than may be kept.
    holds_too_many: AtomicBool,
    /// The writer has ended, by a close or by a panic.
    has_ended: AtomicBool,
    pub(crate) damage: DamageCount,
}

impl Shared {
    /// Numbers begin where the store's reservation ends.
    pub(crate) fn new(state: &StateRow, damage: DamageCount) -> Self {
        Shared {
            backlog: AtomicU64::new(state.backlog),
            dead: AtomicU64::new(state.dead),
            commits: AtomicU64::new(0),
            commit_us_last: AtomicU64::new(0),
            commit_us_counts: Default::default(),
            commit_us_sum: AtomicU64::new(0),
            oldest_pending_ms: AtomicU64::new(NOTHING_PENDING),
            used_bytes: AtomicU64::new(0),
            queued_bytes: AtomicUsize::new(0),
            next_webhook: AtomicU32::new(state.webhooks_reserved.max(1)),
            next_channel: AtomicU32::new(state.channels_reserved.max(1)),
            poison: OnceLock::new(),
            holds_too_many: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            damage,
        }
    }

    /// Keeps at least `ahead` / 2 numbers reserved, in steps of `ahead`; with 0 gives back what was not given out.
    ///
    /// A number given beyond the reservation (many at once) is covered as soon as its webhook or channel is stored;
    /// one that never was has left no trace to be confused with.
    pub(crate) fn reserve_numbers(&self, state: &mut StateRow, ahead: u32) {
        let step = |next: &AtomicU32, reserved: &mut u32| {
            let next = next.load(Ordering::Relaxed);
            if ahead == 0 {
                *reserved = next;
            } else if *reserved < next.saturating_add(ahead / 2) {
                *reserved = next.saturating_add(ahead);
            }
        };
        step(&self.next_webhook, &mut state.webhooks_reserved);
        step(&self.next_channel, &mut state.channels_reserved);
    }

    pub(crate) fn next_webhook(&self) -> u32 {
        let no = self.next_webhook.fetch_add(1, Ordering::Relaxed);
        assert!(no < PARKED_BIT, "webhook numbers are used up: 2^31 were given");
        no
    }

    pub(crate) fn next_channel(&self) -> u32 {
        let no = self.next_channel.fetch_add(1, Ordering::Relaxed);
        assert!(no < PARKED_BIT, "channel numbers are used up: 2^31 were given");
        no
    }

    /// Notes numbers that configuration uses, whoever gave them: they are never given here.
    pub(crate) fn note_used(&self, change: &CatalogChange) {
        match change {
            CatalogChange::PutWebhook(webhook) => {
                self.next_webhook.fetch_max(webhook.no.0.saturating_add(1), Ordering::Relaxed);
            }
            CatalogChange::PutChannel(channel) => {
                self.next_channel.fetch_max(channel.no.0.saturating_add(1), Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Makes room for a batch in front of the writer.
    pub(crate) fn queue(&self, bytes: usize) -> Result<(), StoreError> {
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > QUEUED_BYTES_MAX {
            self.unqueue(bytes);
            return Err(StoreError::Busy);
        }
        Ok(())
    }

    pub(crate) fn unqueue(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn poison(&self) -> Option<String> {
        self.poison.get().cloned()
    }

    pub(crate) fn set_poison(&self, text: &str) {
        // The first reason stays.
        drop(self.poison.set(text.to_owned()));
    }

    /// Says whether settlements are given back because too many wait for room on the disk.
    pub(crate) fn set_holds_too_many(&self, holds_too_many: bool) {
        self.holds_too_many.store(holds_too_many, Ordering::Relaxed);
    }

    pub(crate) fn holds_too_many(&self) -> bool {
        self.holds_too_many.load(Ordering::Relaxed)
    }

    /// Says that nothing is written any more.
    pub(crate) fn set_ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Why nothing is written any more; `None` while something is.
    pub(crate) fn refusal(&self) -> Option<StoreError> {
        match self.poison() {
            Some(text) => Some(StoreError::Poisoned(text)),
            None if self.has_ended.load(Ordering::Relaxed) => {
                Some(StoreError::Other("the store is closed".into()))
            }
            None => None,
        }
    }

    /// Publishes where the store stands.
    pub(crate) fn publish(&self, ledger: &Ledger, used_bytes: u64) {
        let Ledger { state, oldest_pending_ms, .. } = ledger;
        self.backlog.store(state.backlog, Ordering::Relaxed);
        self.dead.store(state.dead, Ordering::Relaxed);
        self.oldest_pending_ms.store(oldest_pending_ms.unwrap_or(NOTHING_PENDING), Ordering::Relaxed);
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
    }

    /// Counts a commit.
    pub(crate) fn count_commit(&self, commit_us: u64) {
        let bucket = COMMIT_US_BOUNDS.partition_point(|bound| *bound < commit_us);
        if let Some(count) = self.commit_us_counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.commit_us_sum.fetch_add(commit_us, Ordering::Relaxed);
        self.commit_us_last.store(commit_us, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> StoreStats {
        StoreStats {
            backlog_deliveries: self.backlog.load(Ordering::Relaxed),
            dead_letters: self.dead.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            commit_us_last: self.commit_us_last.load(Ordering::Relaxed),
            commit_us_counts: self.commit_us_counts.each_ref().map(|count| count.load(Ordering::Relaxed)),
            commit_us_sum: self.commit_us_sum.load(Ordering::Relaxed),
            oldest_pending_ms: Some(self.oldest_pending_ms.load(Ordering::Relaxed))
                .filter(|at_ms| *at_ms != NOTHING_PENDING),
            used_bytes: self.used_bytes.load(Ordering::Relaxed),
            damaged_records: self.damage.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_counted_in_the_bucket_of_their_time() {
        let shared = Shared::new(&StateRow::default(), DamageCount::default());
        for us in [0, 64, 65, 1_048_576, 1_048_577, u64::from(u32::MAX)] {
            shared.count_commit(us);
        }
        let stats = shared.stats();
        let filled: Vec<_> = (0..).zip(stats.commit_us_counts).filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0, 2), (1, 1), (14, 1), (15, 2)]);
        assert_eq!((stats.commits, stats.commit_us_last), (6, u64::from(u32::MAX)));
        assert_eq!(stats.commit_us_sum, 64 + 65 + 1_048_576 + 1_048_577 + u64::from(u32::MAX));
    }
}
