//! Counters. Each event loop writes its own (one writer, so no contention); reading sums them up.

use fanfare_core::outcome::FailureClass;
use fanfare_core::ports::StoreStats;
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

/// Upper bounds of the latency histogram, milliseconds.
const LATENCY_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 5000, 30_000, 300_000, 3_600_000];

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
    pub(crate) disabled: Count,
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

/// Prometheus' text format.
pub(crate) fn text(
    ingest: &IngestMetrics,
    workers: &[Arc<WorkerMetrics>],
    store: StoreStats,
    window_bytes: u64,
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
    line(
        o,
        "counter",
        "fanfare_webhooks_disabled_total",
        "Webhooks disabled by the engine.",
        sum(&|w| w.disabled.get()),
    );
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
    line(
        o,
        "gauge",
        "fanfare_store_commit_microseconds",
        "Duration of the last commit, synced.",
        store.commit_us_last,
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
