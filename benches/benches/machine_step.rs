//! What does the delivery machine cost per delivery: delivered, with a rate limit, with `ordering: KEY`, failed; and when it
//! has nothing to begin?
//!
//! Unit: time per delivery, from being handed in over its one attempt to its verdict, with 15 others in flight and 64 ready.
//! `nothing_to_begin` is one question to a machine that has all in flight that it may. The table before it says allocations
//! per delivery.

use criterion::{Criterion, criterion_group, criterion_main};
use fanfare_benches::allocations::{Allocations, CountingAllocator};
use fanfare_core::delivery::{DeliveryKey, Progress};
use fanfare_core::outcome::{FailureClass, Outcome};
use fanfare_core::policy::delivery::{KeyPlace, Machine, Memory, Slot, Step, Taken};
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::webhook::{DeliveryPolicy, Ordering, RateLimit};
use fanfare_core::{Now, Seq};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// As large as what the engine hands in with a delivery.
type Payload = [u64; 4];

const START: Now = Now { mono_ns: 1_000_000_000, unix_ms: 1_790_000_000_000 };
const BETWEEN: Duration = Duration::from_micros(10);
const READY: u64 = 64;
const IN_FLIGHT: usize = 15;
/// More than are held at once, so that a key seldom makes anyone wait.
const KEYS: u64 = 200;
const FAILED: Outcome = Outcome::Retryable { class: FailureClass::Timeout, not_before: None };
/// Never shuts.
const GATE: GatePolicy = GatePolicy {
    failures_max: u32::MAX,
    shut_first: Duration::from_secs(1),
    shut_max: Duration::from_secs(1),
    disable_after: Duration::MAX,
};

/// A machine at work.
struct Work {
    machine: Machine<Payload>,
    in_flight: VecDeque<Slot>,
    now: Now,
    rng: SmallRng,
    handed_in: u64,
    has_keys: bool,
}

impl Work {
    fn new(policy: DeliveryPolicy) -> Self {
        let has_keys = policy.ordering == Ordering::Key;
        let mut work = Work {
            machine: Machine::new(policy, GATE, Memory::default(), START),
            in_flight: VecDeque::with_capacity(2 * IN_FLIGHT),
            now: START,
            rng: SmallRng::seed_from_u64(1),
            handed_in: 0,
            has_keys,
        };
        (0..READY).for_each(|_| work.hand_in());
        (0..IN_FLIGHT).for_each(|_| work.begin());
        work
    }

    fn hand_in(&mut self) {
        self.handed_in += 1;
        let number = self.handed_in;
        let place = self.has_keys.then_some(KeyPlace {
            key: number % KEYS,
            id: DeliveryKey { seq: Seq(number), part: 0 },
            row_due_ms: None,
            at_ms: self.now.unix_ms,
            read_no: 0,
        });
        let taken = self.machine.handle_owed([number; 4], Progress::first(self.now.unix_ms), place);
        assert!(matches!(taken, Taken::In(_)));
    }

    fn begin(&mut self) {
        let Some(Step::Start { slot, .. }) = self.machine.next_step(self.now) else {
            panic!("an attempt may begin")
        };
        self.in_flight.push_back(slot);
    }

    /// One in, one begun, one ended.
    fn deliver(&mut self, outcome: Outcome) {
        self.now = self.now.after(BETWEEN);
        self.hand_in();
        self.begin();
        let slot = self.in_flight.pop_front().expect("one is in flight");
        let verdict = self.machine.handle_outcome(slot, black_box(outcome), self.now, &mut self.rng);
        black_box(verdict.expect("it was in flight"));
    }
}

fn benches(criterion: &mut Criterion) {
    let plain = DeliveryPolicy::default();
    let rate_limit = Some(RateLimit { per_second: 200_000.0, burst: 100 });
    let limited = DeliveryPolicy { rate_limit, ..plain.clone() };
    let ordered = DeliveryPolicy { ordering: Ordering::Key, ..plain.clone() };
    let cases = [
        ("delivered", &plain, Outcome::Delivered),
        ("delivered_rate_limited", &limited, Outcome::Delivered),
        ("delivered_ordered_by_key", &ordered, Outcome::Delivered),
        ("failed", &plain, FAILED),
    ];
    for (label, policy, outcome) in &cases {
        let mut work = Work::new((*policy).clone());
        let of_each = Allocations::of_each(|| work.deliver(*outcome));
        of_each.print(&format!("machine_step/{label}"));
    }

    let mut group = criterion.benchmark_group("machine_step");
    for (label, policy, outcome) in cases {
        group.bench_function(label, |bencher| {
            let mut work = Work::new(policy.clone());
            bencher.iter(|| work.deliver(outcome));
        });
    }
    group.bench_function("nothing_to_begin", |bencher| {
        let mut work = Work::new(plain.clone());
        work.begin();
        bencher.iter(|| assert_eq!(work.machine.next_step(black_box(work.now)), None));
    });
    group.finish();
}

criterion_group! {
    name = machine_step;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = benches
}
criterion_main!(machine_step);
