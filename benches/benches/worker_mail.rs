//! What does a mail to a worker's event loop and back cost: on one thread, to another thread, and many at once?
//!
//! The mail is the question how a webhook fares, whose actor sleeps, so that the loop answers it itself: the mailbox and its
//! bound are those that every ingest commit goes through. Unit: time per question and answer. `without_mail` is what the
//! same question costs besides (finding and reading the webhook). `to_a_thread` waits for each answer, so that it holds two
//! changes of thread; `to_a_thread_64_at_once` is a full mailbox.

mod site;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_core::WebhookId;
use futures_util::future::join_all;
use site::{Site, SiteOptions};
use std::hint::black_box;
use std::time::Duration;

/// As many as the mailbox holds.
const AT_ONCE: usize = 64;

fn site(is_threaded: bool) -> Site {
    let site =
        Site::new(SiteOptions { is_threaded, idle_sleep: Duration::ZERO, ..SiteOptions::new(AT_ONCE) });
    // So that the loop itself answers.
    site.wait_until_awake(0);
    site
}

/// One mail to the webhook's event loop, and one back.
async fn ask(site: &Site, id: WebhookId) {
    let health = site.engine.webhook_health(&site.hub, &site.event.channel, id).await;
    black_box(health.expect("it is known"));
}

/// What [`ask`] does beside the mail.
fn look_up(site: &Site, id: WebhookId) {
    let webhook = site.engine.webhook(&site.hub, &site.event.channel, id);
    black_box(webhook.expect("it is known"));
}

fn benches(criterion: &mut Criterion) {
    let (here, threaded) = (site(false), site(true));
    let first = |site: &Site| site.webhooks.first().copied().expect("there are webhooks");
    let mut group = criterion.benchmark_group("worker_mail");
    group.throughput(Throughput::Elements(1));
    group.bench_function("without_mail", |bencher| bencher.iter(|| look_up(&here, first(&here))));
    for (label, site) in [("on_one_thread", &here), ("to_a_thread", &threaded)] {
        group.bench_function(label, |bencher| bencher.iter(|| site.run(ask(site, first(site)))));
    }
    group.throughput(Throughput::Elements(AT_ONCE as u64));
    for (label, site) in [("on_one_thread_64_at_once", &here), ("to_a_thread_64_at_once", &threaded)] {
        group.bench_function(label, |bencher| {
            bencher.iter(|| site.run(join_all(site.webhooks.iter().map(|id| ask(site, *id)))));
        });
    }
    group.finish();
}

criterion_group! {
    name = worker_mail;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = benches
}
criterion_main!(worker_mail);
