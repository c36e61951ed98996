//! Counters. Each event loop writes its own (one writer, so no contention); reading sums them up.

mod plugins;

use fanfare_core::delivery::reason;
use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::formats::FormatStanding;
use fanfare_core::ports::{COMMIT_US_BOUNDS, StoreStats};
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number with one writer.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Only from the owning thread: a plain load and store, no locked instruction.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why the engine itself disables a webhook.
pub(crate) const DISABLED_REASONS: [&str; 2] = [reason::GONE, "failing"];

/// Upper bounds of the latency histogram, milliseconds.
const LATENCY_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 5000, 30_000, 300_000, 3_600_000];

/// One in so many renderings is timed: reading the clock twice costs a tenth of a short one.
const RENDERS_PER_TIMED: u64 = 16;
/// Formats that have a label of their own; further ones share `other`.
const FORMATS_MAX: usize = 64;

/// Renderings in one format by one event loop; an event is counted once per format, however many webhooks it goes to.
#[derive(Debug, Default)]
pub(crate) struct FormatMetrics {
    pub(crate) renders: Count,
    timed: Count,
    timed_ns: Count,
}

impl FormatMetrics {
    /// Counts one; whether to time it.
    pub(crate) fn begin(&self) -> bool {
        self.renders.add(1);
        self.renders.get() % RENDERS_PER_TIMED == 1
    }

    pub(crate) fn end(&self, took_ns: u64) {
        self.timed.add(1);
        self.timed_ns.add(took_ns);
    }
}

/// Counters of one event loop.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    pub(crate) delivered: Count,
    pub(crate) failed: [Count; FailureClass::ALL.len()],
    pub(crate) skipped: Count,
    pub(crate) dead: Count,
    pub(crate) attempts: Count,
    pub(crate) in_flight: Count,
    pub(crate) awake: Count,
    pub(crate) gates_shut: Count,
    /// Disabled by the engine: gone, failing.
    pub(crate) disabled: [Count; DISABLED_REASONS.len()],
    formats: Mutex<Vec<(String, Arc<FormatMetrics>)>>,
    pub(crate) actor_panics: Count,
    latency: [Count; LATENCY_MS.len()],
    latency_count: Count,
    latency_sum_ms: Count,
}

impl WorkerMetrics {
    pub(crate) fn failed(&self, class: FailureClass) {
        if let Some(count) = self.failed.get(class as usize) {
            count.add(1);
        }
    }

    pub(crate) fn disabled(&self, why: &str) {
        let index = DISABLED_REASONS.iter().position(|reason| *reason == why);
        if let Some(count) = index.and_then(|index| self.disabled.get(index)) {
            count.add(1);
        }
    }

    /// Counters of a format, for those who render in it on this event loop.
    pub(crate) fn format(&self, name: &FormatName) -> Arc<FormatMetrics> {
        let mut formats = self.formats.lock();
        let is_known = formats.iter().any(|(known, _)| known == name.as_str());
        let name = if is_known || formats.len() < FORMATS_MAX { name.as_str() } else { "other" };
        if let Some((_, metrics)) = formats.iter().find(|(known, _)| known == name) {
            return Arc::clone(metrics);
        }
        let metrics = Arc::new(FormatMetrics::default());
        formats.push((name.to_owned(), Arc::clone(&metrics)));
        metrics
    }

    /// From accepting the event to the receiver's success.
    pub(crate) fn latency(&self, ms: u64) {
        if let Some(index) = LATENCY_MS.iter().position(|bound| ms <= *bound)
            && let Some(count) = self.latency.get(index)
        {
            count.add(1);
        }
        self.latency_count.add(1);
        self.latency_sum_ms.add(ms);
    }
}

/// Counters of the way in; written from several threads.
#[derive(Debug, Default)]
pub(crate) struct IngestMetrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) unavailable: AtomicU64,
}

fn line(out: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// Commits, each synced: what every accepted event waits for.
fn commit_text(o: &mut String, store: &StoreStats) {
    let name = "fanfare_store_commit_seconds";
    let _ = writeln!(o, "# HELP {name} Time of a commit, from begin to synced.\n# TYPE {name} histogram");
    let mut running = 0;
    for (bound, count) in COMMIT_US_BOUNDS.into_iter().zip(store.commit_us_counts) {
        running += count;
        let _ = writeln!(o, "{name}_bucket{{le=\"{}\"}} {running}", seconds(bound));
    }
    let count: u64 = store.commit_us_counts.iter().sum();
    let _ = writeln!(o, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(o, "{name}_sum {}\n{name}_count {count}", seconds(store.commit_us_sum));
}

/// What rendering took, by format.
fn render_text(o: &mut String, workers: &[Arc<WorkerMetrics>]) {
    let mut sums: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for worker in workers {
        for (name, format) in worker.formats.lock().iter() {
            let sum = sums.entry(name.clone()).or_default();
            let counts = [format.renders.get(), format.timed.get(), format.timed_ns.get()];
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    let name = "fanfare_renders_total";
    let _ = writeln!(o, "# HELP {name} Events rendered, once per event and format.\n# TYPE {name} counter");
    for (format, [renders, ..]) in &sums {
        let _ = writeln!(o, "{name}{{format=\"{format}\"}} {renders}");
    }
    let name = "fanfare_render_seconds";
    let help = "Time of a rendering; one in 16 is timed.";
    let _ = writeln!(o, "# HELP {name} {help}\n# TYPE {name} summary");
    for (format, [_, timed, ns]) in &sums {
        let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
        let _ = writeln!(o, "{name}_sum{{format=\"{format}\"}} {seconds}.{rest:09}");
        let _ = writeln!(o, "{name}_count{{format=\"{format}\"}} {timed}");
    }
}

/// Prometheus' text format.
pub(crate) fn text(
    ingest: &IngestMetrics,
    workers: &[Arc<WorkerMetrics>],
    store: StoreStats,
    window_bytes: u64,
    formats: &[FormatStanding],
    now_ms: u64,
) -> String {
    let sum = |pick: &dyn Fn(&WorkerMetrics) -> u64| workers.iter().map(|w| pick(w)).sum::<u64>();
    let mut out = String::with_capacity(4096);
    let o = &mut out;
    let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
    line(o, "counter", "fanfare_events_accepted_total", "Events on stable storage.", load(&ingest.accepted));
    line(
        o,
        "counter",
        "fanfare_events_duplicate_total",
        "Events whose id was known.",
        load(&ingest.duplicates),
    );
    line(o, "counter", "fanfare_events_rejected_total", "Events refused.", load(&ingest.rejected));
    line(
        o,
        "counter",
        "fanfare_ingest_unavailable_total",
        "Ingest calls answered 503.",
        load(&ingest.unavailable),
    );
    line(o, "counter", "fanfare_attempts_total", "Attempts begun.", sum(&|w| w.attempts.get()));
    line(o, "counter", "fanfare_deliveries_delivered_total", "Deliveries done.", sum(&|w| w.delivered.get()));
    line(o, "counter", "fanfare_deliveries_skipped_total", "Deliveries skipped.", sum(&|w| w.skipped.get()));
    line(o, "counter", "fanfare_deliveries_dead_total", "Deliveries given up.", sum(&|w| w.dead.get()));
    let name = "fanfare_attempts_failed_total";
    let _ = writeln!(o, "# HELP {name} Failed attempts by class.\n# TYPE {name} counter");
    for class in FailureClass::ALL {
        let value = sum(&|w| w.failed.get(class as usize).map_or(0, Count::get));
        let _ = writeln!(o, "{name}{{class=\"{}\"}} {value}", class.name());
    }
    line(o, "gauge", "fanfare_attempts_in_flight", "Attempts under way.", sum(&|w| w.in_flight.get()));
    line(o, "gauge", "fanfare_webhooks_awake", "Webhooks with a running actor.", sum(&|w| w.awake.get()));
    line(o, "counter", "fanfare_gates_shut_total", "Times a gate shut.", sum(&|w| w.gates_shut.get()));
    let name = "fanfare_webhooks_disabled_total";
    let _ = writeln!(o, "# HELP {name} Webhooks disabled by the engine, by reason.\n# TYPE {name} counter");
    for (index, reason) in DISABLED_REASONS.into_iter().enumerate() {
        let value = sum(&|w| w.disabled.get(index).map_or(0, Count::get));
        let _ = writeln!(o, "{name}{{reason=\"{reason}\"}} {value}");
    }
    render_text(o, workers);
    plugins::plugin_text(o, formats);
    line(
        o,
        "counter",
        "fanfare_actor_panics_total",
        "Panics caught and supervised.",
        sum(&|w| w.actor_panics.get()),
    );
    let name = "fanfare_delivery_latency_seconds";
    let _ = writeln!(o, "# HELP {name} From accepting an event to its delivery.\n# TYPE {name} histogram");
    let mut running = 0;
    for (index, bound) in LATENCY_MS.into_iter().enumerate() {
        running += sum(&|w| w.latency.get(index).map_or(0, Count::get));
        let _ = writeln!(o, "{name}_bucket{{le=\"{}.{:03}\"}} {running}", bound / 1000, bound % 1000);
    }
    let count = sum(&|w| w.latency_count.get());
    let sum_ms = sum(&|w| w.latency_sum_ms.get());
    let _ = writeln!(o, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(o, "{name}_sum {}.{:03}\n{name}_count {count}", sum_ms / 1000, sum_ms % 1000);
    line(o, "gauge", "fanfare_backlog_deliveries", "Deliveries owed.", store.backlog_deliveries);
    line(o, "gauge", "fanfare_dead_letters", "Dead letters kept.", store.dead_letters);
    line(o, "gauge", "fanfare_window_bytes", "Bytes of events held in memory.", window_bytes);
    line(o, "counter", "fanfare_store_commits_total", "Commits made.", store.commits);
    commit_text(o, &store);
    let age_ms = store.oldest_pending_ms.map_or(0, |oldest| now_ms.saturating_sub(oldest));
    line(
        o,
        "gauge",
        "fanfare_oldest_pending_age_seconds",
        "Age of the oldest event still owed to someone; 0: none is.",
        age_ms / 1000,
    );
    line(o, "gauge", "fanfare_store_used_bytes", "Bytes of the data file in use.", store.used_bytes);
    line(
        o,
        "counter",
        "fanfare_store_damaged_records_total",
        "Records set aside for a wrong checksum.",
        store.damaged_records,
    );
    out
}
