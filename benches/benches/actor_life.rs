//! What does it cost to wake a webhook's actor and let it sleep again?
//!
//! One event to 100 webhooks, as in `fan_out`, first with actors that stay awake, then with actors that fall asleep when
//! their delivery has ended: each event then starts 100 actors (the webhook is read, keys are made, a connection is
//! opened) and ends them. Unit: time per event; the difference of the two, divided by 100, is one actor's start and
//! sleep. The table before it says allocations per delivery.

mod site;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::allocations::{Allocations, CountingAllocator};
use site::{NEVER, Site, SiteOptions};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const WEBHOOKS: usize = 100;

fn benches(criterion: &mut Criterion) {
    let cases = [("delivered_awake", NEVER), ("woken_delivered_put_to_sleep", Duration::ZERO)];
    let sites = cases.map(|(label, idle_sleep)| {
        (label, Site::new(SiteOptions { idle_sleep, ..SiteOptions::new(WEBHOOKS) }))
    });
    for (label, site) in &sites {
        let of_each = Allocations::of(20 * WEBHOOKS as u64, || site.run(site.deliver(20)));
        of_each.print(&format!("actor_life/{label}, a delivery"));
    }

    let mut group = criterion.benchmark_group("actor_life");
    group.throughput(Throughput::Elements(WEBHOOKS as u64));
    for (label, site) in &sites {
        group.bench_function(*label, |bencher| bencher.iter(|| site.run(site.deliver(1))));
        site.wait_until_awake(if label.contains("sleep") { 0 } else { WEBHOOKS });
    }
    group.finish();
}

criterion_group! {
    name = actor_life;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = benches
}
criterion_main!(actor_life);
