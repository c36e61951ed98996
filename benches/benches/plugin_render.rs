//! What does one event cost in a plugin's format: cold, with a kept instance, with a fresh one, and on two threads?
//!
//! The guest is CLOUDEVENTS as it ships, the event 1.5 KB. `pooled` and `fresh` go through the host as the engine does,
//! one event after the other, so that they include two thread changes; `in_guest` is what the host's own meter says of
//! the same renders (the guest with its checks, without the thread changes).

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::{MachineClock, message_received};
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use fanfare_core::ports::Formatter as _;
use fanfare_core::ports::formats::Formats as _;
use fanfare_core::webhook::FormatName;
use fanfare_plugin_host::{FormatsOptions, PluginFormats, SHIPPED, SignaturePolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

const EVENT_BYTES: usize = 1500;
/// Events asked for at once where several threads are measured.
const AT_ONCE: u64 = 1024;

struct Site {
    formats: PluginFormats,
    name: FormatName,
    runtime: Runtime,
    folder: tempfile::TempDir,
}

fn open(folder: &std::path::Path, threads: usize, name: &FormatName, is_fresh: bool) -> PluginFormats {
    PluginFormats::open(FormatsOptions {
        folder: None,
        kept: folder.join("kept"),
        cache: Some(folder.join("cache")),
        threads,
        signatures: SignaturePolicy::default(),
        shipped: SHIPPED.to_vec(),
        settings: BTreeMap::new(),
        fresh: if is_fresh { BTreeSet::from([name.clone()]) } else { BTreeSet::new() },
        clock: Arc::new(MachineClock::default()),
    })
    .expect("opens")
}

impl Site {
    fn new(threads: usize, is_fresh: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let name = FormatName::parse("CLOUDEVENTS").expect("a name");
        let formats = open(folder.path(), threads, &name, is_fresh);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Site { formats, name, runtime, folder }
    }

    fn render(&self, event: &Arc<Event>) {
        let rendered = self.runtime.block_on(self.formats.render(&self.name, Arc::clone(event)));
        assert!(matches!(rendered, Rendered::Bodies(_)), "{rendered:?}");
    }

    fn render_all(&self, events: &[Arc<Event>]) {
        let asked: Vec<_> =
            events.iter().map(|event| self.formats.render(&self.name, Arc::clone(event))).collect();
        self.runtime.block_on(async {
            for rendered in asked {
                let rendered = rendered.await;
                assert!(matches!(rendered, Rendered::Bodies(_)), "{rendered:?}");
            }
        });
    }

    /// Mean time in the guest, ns, of what was rendered so far.
    fn in_guest(&self) -> (f64, u64) {
        let all = self.formats.list();
        let meters = &all.iter().find(|standing| standing.name == self.name).expect("it is there").meters;
        (meters.render_us_sum as f64 * 1000.0 / meters.renders as f64, meters.renders)
    }
}

fn benches(criterion: &mut Criterion) {
    // Number 0 is never shared: each is rendered.
    let event = Arc::new(message_received(0, EVENT_BYTES));
    let mut group = criterion.benchmark_group("plugin_render_event_1500b");
    group.throughput(Throughput::Elements(1));
    group.bench_function("cold_start_with_cached_code", |bencher| {
        let site = Site::new(1, false);
        bencher.iter(|| {
            let formats = open(site.folder.path(), 1, &site.name, false);
            let rendered = site.runtime.block_on(formats.render(&site.name, Arc::clone(&event)));
            assert!(matches!(rendered, Rendered::Bodies(_)), "{rendered:?}");
        });
    });
    for (label, is_fresh) in [("pooled", false), ("fresh", true)] {
        let site = Site::new(1, is_fresh);
        group.bench_function(label, |bencher| bencher.iter(|| site.render(&event)));
        let (mean_ns, renders) = site.in_guest();
        println!("{label}: in_guest {:.2} µs, mean of {renders}", mean_ns / 1000.0);
    }
    group.bench_function("shared_by_all_who_ask", |bencher| {
        let site = Site::new(1, false);
        let numbered = Arc::new(message_received(1, EVENT_BYTES));
        bencher.iter(|| site.render(&numbered));
    });
    group.throughput(Throughput::Elements(AT_ONCE));
    let events: Vec<_> = (0..AT_ONCE).map(|_| Arc::clone(&event)).collect();
    for (threads, is_fresh) in [(1, false), (2, false), (1, true), (2, true)] {
        let label = format!("{}_{threads}_threads", if is_fresh { "fresh" } else { "pooled" });
        let site = Site::new(threads, is_fresh);
        group.bench_function(label, |bencher| bencher.iter(|| site.render_all(&events)));
    }
    group.finish();
}

criterion_group! {
    name = plugin_render;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).sample_size(30);
    targets = benches
}
criterion_main!(plugin_render);
