//! How a webhook fares, kept by its actor for `GET …/health`: rates of the last minute, how long its receiver took
//! lately, its last failure. At most 1.2 KiB of an awake actor.

use fanfare_core::Now;
use fanfare_core::outcome::{AttemptReport, FailureClass};
use std::collections::VecDeque;

/// Answers whose duration is remembered.
const SAMPLES_MAX: usize = 256;
/// Length of a bucket of the rates, nanoseconds.
const BUCKET_NS: u64 = 5_000_000_000;
const BUCKETS_MAX: u64 = 12;
/// The span that rates are told of, seconds.
pub(crate) const WINDOW_SECONDS: u32 = 60;

/// The last attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// When it ended, Unix ms.
    pub at_ms: u64,
    /// Why.
    pub class: FailureClass,
    /// The answer's status, when one was read.
    pub status: Option<u16>,
    /// What failed, for people; no URL, secret or payload.
    pub detail: Option<String>,
}

/// How long a receiver took to answer, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half of the attempts took at most so long.
    pub p50_ms: u32,
    /// Nine in ten.
    pub p90_ms: u32,
    /// 99 in a hundred.
    pub p99_ms: u32,
    /// Of so many attempts, the latest.
    pub samples: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Monotonic time in lengths of a bucket.
    no: u64,
    delivered: u32,
    failed: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    buckets: VecDeque<Bucket>,
    durations_ms: VecDeque<u32>,
    pub(crate) last_failure: Option<LastFailure>,
}

impl Vitals {
    /// An attempt ended. Those that our own fault stopped say nothing of the receiver's latency.
    pub(crate) fn note(&mut self, failure: Option<FailureClass>, report: &AttemptReport, ms: u32, now: Now) {
        let no = now.mono_ns / BUCKET_NS;
        if self.buckets.back().is_none_or(|bucket| bucket.no != no) {
            self.buckets.push_back(Bucket { no, ..Bucket::default() });
            self.forget(no);
        }
        if let Some(bucket) = self.buckets.back_mut() {
            match failure {
                None => bucket.delivered += 1,
                Some(_) => bucket.failed += 1,
            }
        }
        if let Some(class) = failure {
            let AttemptReport { status, detail, .. } = report;
            let failure = LastFailure { at_ms: now.unix_ms, class, status: *status, detail: detail.clone() };
            self.last_failure = Some(failure);
        }
        if report.status.is_some() || failure == Some(FailureClass::Timeout) {
            if self.durations_ms.len() >= SAMPLES_MAX {
                self.durations_ms.pop_front();
            }
            self.durations_ms.push_back(ms);
        }
    }

    fn forget(&mut self, no: u64) {
        while self.buckets.front().is_some_and(|bucket| bucket.no + BUCKETS_MAX <= no) {
            self.buckets.pop_front();
        }
    }

    /// Attempts delivered and failed in the last minute.
    pub(crate) fn counts(&mut self, now: Now) -> (u32, u32) {
        self.forget(now.mono_ns / BUCKET_NS);
        let add = |sum: (u32, u32), bucket: &Bucket| (sum.0 + bucket.delivered, sum.1 + bucket.failed);
        self.buckets.iter().fold((0, 0), add)
    }

    /// `None` before the first answer.
    pub(crate) fn latency(&self) -> Option<Latency> {
        let mut sorted: Vec<u32> = self.durations_ms.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(Latency {
            p50_ms: at(50)?,
            p90_ms: at(90)?,
            p99_ms: at(99)?,
            samples: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fanfare_core::outcome::Outcome;

    fn at(second: u64) -> Now {
        Now { unix_ms: second * 1000, mono_ns: second * 1_000_000_000 }
    }

    fn answered(status: u16) -> AttemptReport {
        let outcome = Outcome::Delivered;
        AttemptReport { outcome, status: Some(status), snippet: Bytes::new(), detail: None }
    }

    #[test]
    fn rates_are_of_the_last_minute_and_percentiles_of_the_last_answers() {
        let mut vitals = Vitals::default();
        assert_eq!((vitals.counts(at(0)), vitals.latency()), ((0, 0), None));
        for ms in 1..=300 {
            vitals.note(None, &answered(200), ms, at(10));
        }
        vitals.note(Some(FailureClass::Status), &answered(500), 301, at(50));
        assert_eq!(vitals.counts(at(69)), (300, 1));
        assert_eq!(vitals.counts(at(70)), (0, 1));
        assert_eq!(vitals.counts(at(500)), (0, 0));
        let latency = vitals.latency().expect("samples");
        assert_eq!(latency, Latency { p50_ms: 173, p90_ms: 276, p99_ms: 299, samples: 256 });
        let failure = vitals.last_failure.expect("failed");
        assert_eq!((failure.at_ms, failure.class, failure.status), (50_000, FailureClass::Status, Some(500)));
    }

    #[test]
    fn what_never_reached_the_receiver_is_no_latency() {
        let mut vitals = Vitals::default();
        let report = AttemptReport::failed(FailureClass::Connect, "refused");
        vitals.note(Some(FailureClass::Connect), &report, 7, at(1));
        assert_eq!((vitals.counts(at(1)), vitals.latency()), ((0, 1), None));
    }
}
