//! What does it cost to ask a webhook's rate limiter: when it says yes, when it says wait, and to make one?
//!
//! Unit: time per question. It is asked once for each attempt of a webhook that has a `rateLimit`, and makes no allocation.

use criterion::{Criterion, criterion_group, criterion_main};
use fanfare_core::policy::rate_limit::Limiter;
use fanfare_core::webhook::RateLimit;
use std::hint::black_box;
use std::time::Duration;

const SETTINGS: RateLimit = RateLimit { per_second: 1000.0, burst: 10 };
/// One attempt's share of the rate.
const PERIOD_NS: u64 = 1_000_000;

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limiter");
    group.bench_function("granted", |bencher| {
        let mut limiter = Limiter::new(SETTINGS, 0);
        let mut now_ns = 0;
        bencher.iter(|| {
            now_ns += PERIOD_NS;
            let taken = limiter.take(black_box(now_ns));
            assert!(taken.is_ok());
        });
    });
    group.bench_function("refused", |bencher| {
        // Time stands: a limiter without its burst goes on refusing.
        let mut limiter = Limiter::spent(SETTINGS, 0);
        bencher.iter(|| {
            let taken = limiter.take(black_box(1));
            assert!(taken.is_err());
        });
    });
    group.bench_function("made", |bencher| bencher.iter(|| Limiter::new(black_box(SETTINGS), 0)));
    group.finish();
}

criterion_group! {
    name = limiter;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = benches
}
criterion_main!(limiter);
