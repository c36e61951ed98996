//! What does a delivery cost without the network: one event to 1, 10, 100 and 1,000 webhooks?
//!
//! The engine as it is, on one thread: route, hand to the actors, render once, sign twice, begin the attempt, take in its
//! end. The store answers at once and so does the receiver, so that disk and sockets are left out and nothing else is.
//! Unit: time per event until its last request is sent; divided by the webhooks it is ns per delivery, and elements a
//! second are deliveries. The ends of one event's attempts are taken in with the next event. The event has 1.2 KB, its
//! format is Z_API unless another is named; DEFAULT costs nothing to render, but its body is larger and so is the time of
//! signing it. The table before it says allocations per delivery.

mod site;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::allocations::{Allocations, CountingAllocator};
use fanfare_core::webhook::FormatName;
use site::{Site, SiteOptions};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn benches(criterion: &mut Criterion) {
    let mut cases: Vec<(String, SiteOptions)> =
        [1, 10, 100, 1000].map(|webhooks| (format!("to_{webhooks}"), SiteOptions::new(webhooks))).into();
    let of_100 = SiteOptions::new(100);
    cases.push(("to_100_default".into(), SiteOptions { format: FormatName::DEFAULT, ..of_100 }));
    let unsigned = SiteOptions { format: FormatName::DEFAULT, is_signed: false, ..of_100 };
    cases.push(("to_100_default_unsigned".into(), unsigned));

    let sites: Vec<(String, usize, Site)> =
        cases.into_iter().map(|(label, options)| (label, options.webhooks, Site::new(options))).collect();
    for (label, webhooks, site) in &sites {
        let events = 4000 / *webhooks as u64;
        let of_each = Allocations::of(4000, || site.run(site.deliver(events)));
        of_each.print(&format!("fan_out/{label}, a delivery"));
    }

    let mut group = criterion.benchmark_group("fan_out");
    for (label, webhooks, site) in &sites {
        group.throughput(Throughput::Elements(*webhooks as u64));
        group.bench_function(label, |bencher| bencher.iter(|| site.run(site.deliver(1))));
        site.wait_until_awake(*webhooks);
    }
    group.finish();
}

criterion_group! {
    name = fan_out;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = benches
}
criterion_main!(fan_out);
