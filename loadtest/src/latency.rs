//! Latencies in an HDR histogram: any value from 1 µs to an hour within 0.1 %, in constant memory.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer ones count as this long.
const US_MAX: u64 = 3_600_000_000;
/// Where the curve of percentiles is drawn.
const CURVE: &[f64] = &[
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.95, 99.99,
    99.999,
];

/// Counts latencies.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Latencies(Histogram::new_with_bounds(1, US_MAX, 3).expect("bounds that the crate documents as good"))
    }

    /// Counts one; 0 as 1 µs.
    pub(crate) fn record(&mut self, us: u64) {
        self.0.saturating_record(us.clamp(1, US_MAX));
    }

    /// Adds another's counts.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the same bounds");
    }

    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// What is shown of it.
    pub(crate) fn summary(&self) -> Summary {
        let at = |percentile: f64| self.0.value_at_percentile(percentile);
        if self.0.is_empty() {
            return Summary::default();
        }
        Summary {
            count: self.0.len(),
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: self.0.max(),
            curve: CURVE.iter().map(|percentile| (*percentile, at(*percentile))).collect(),
        }
    }
}

/// Percentiles, microseconds; all 0 when nothing was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Values counted.
    pub(crate) count: u64,
    /// Half were no longer.
    pub(crate) p50_us: u64,
    /// Nine in ten.
    pub(crate) p90_us: u64,
    /// Ninety-nine in a hundred.
    pub(crate) p99_us: u64,
    /// All but one in a thousand.
    pub(crate) p999_us: u64,
    /// The longest.
    pub(crate) max_us: u64,
    /// Percentile and value, for a plot.
    pub(crate) curve: Vec<(f64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: impl IntoIterator<Item = u64>, p50_us: u64, p99_us: u64, max_us: u64) {
        let mut latencies = Latencies::new();
        values.into_iter().for_each(|us| latencies.record(us));
        let summary = latencies.summary();
        for (name, found, expected) in [
            ("p50", summary.p50_us, p50_us),
            ("p99", summary.p99_us, p99_us),
            ("max", summary.max_us, max_us),
        ] {
            let is_near = found.abs_diff(expected) <= expected / 1000 + 1;
            assert!(is_near, "{name} is {found}, not {expected}");
        }
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        check(1..=1000, 500, 990, 1000);
        check((1..=1000).map(|ms| ms * 1000), 500_000, 990_000, 1_000_000);
        check([0], 1, 1, 1);
        check([u64::MAX], US_MAX, US_MAX, US_MAX);
    }

    #[test]
    fn two_are_added_and_cleared() {
        let (mut one, mut two) = (Latencies::new(), Latencies::new());
        (1..=10).for_each(|us| one.record(us));
        (91..=100).for_each(|us| two.record(us));
        one.add(&two);
        let summary = one.summary();
        assert_eq!((summary.count, summary.p50_us, summary.max_us), (20, 10, 100));
        assert_eq!(summary.curve.len(), CURVE.len());
        one.reset();
        assert_eq!(one.summary(), Summary::default());
    }
}
