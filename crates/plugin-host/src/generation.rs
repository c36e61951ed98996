//! One version of a format, in use or on its way out, and what is measured of a format.

use crate::admission::Admitted;
use crate::instance::{Fault, Faulted};
use crate::limits::Limits;
use crate::manifest::Manifest;
use fanfare_core::delivery::Rendered;
use fanfare_core::ports::formats::{FormatMeters, RENDER_US_BOUNDS};
use fanfare_core::webhook::FormatName;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use wasmtime::component::Component;

/// Faults in a row after which a plugin is left alone.
const FAULTS_MAX: u32 = 5;
/// Deadlines in a row: a machine with too much to do can make an innocent plugin late.
const DEADLINES_MAX: u32 = 20;

/// What a render came to; a fault is the plugin's own.
pub(crate) type Outcome = Result<Rendered, Faulted>;

/// What a format did since the start, all its generations together.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    renders: AtomicU64,
    render_us_counts: [AtomicU64; RENDER_US_BOUNDS.len() + 1],
    render_us_sum: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
    instances: AtomicU64,
    memory_bytes_max: AtomicU64,
}

impl Meters {
    pub(crate) fn note_instance(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_memory(&self, bytes: usize) {
        // Rarely more than the most there was: reading alone keeps the line shared between threads.
        if self.memory_bytes_max.load(Ordering::Relaxed) < bytes as u64 {
            self.memory_bytes_max.fetch_max(bytes as u64, Ordering::Relaxed);
        }
    }

    fn note_render(&self, took_us: u64, outcome: &Outcome) {
        self.renders.fetch_add(1, Ordering::Relaxed);
        self.render_us_sum.fetch_add(took_us, Ordering::Relaxed);
        let index = RENDER_US_BOUNDS.partition_point(|bound| *bound < took_us);
        if let Some(count) = self.render_us_counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Err((kind, _)) = outcome {
            self.note_fault(*kind);
        }
    }

    fn note_fault(&self, kind: Fault) {
        if let Some(count) = self.faults.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> FormatMeters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let faults = Fault::ALL.into_iter().zip(&self.faults);
        FormatMeters {
            renders: read(&self.renders),
            render_us_counts: self.render_us_counts.each_ref().map(read),
            render_us_sum: read(&self.render_us_sum),
            faults: faults.map(|(kind, count)| (kind.name(), read(count))).collect(),
            instances: read(&self.instances),
            memory_bytes_max: read(&self.memory_bytes_max),
        }
    }
}

/// See the module.
pub(crate) struct Generation {
    /// Never given twice in this process.
    pub(crate) id: u64,
    pub(crate) name: FormatName,
    pub(crate) component: Component,
    pub(crate) manifest: Manifest,
    pub(crate) default_type: Arc<str>,
    /// JSON text for `configure`.
    pub(crate) settings: String,
    /// A fresh instance for each call, for plugins that are not trusted to forget.
    pub(crate) is_fresh_each: bool,
    pub(crate) meters: Arc<Meters>,
    is_retired: AtomicBool,
    is_quarantined: AtomicBool,
    faults_in_a_row: AtomicU32,
    deadlines_in_a_row: AtomicU32,
}

impl Generation {
    pub(crate) fn new(
        id: u64,
        name: FormatName,
        admitted: Admitted,
        settings: String,
        is_fresh_each: bool,
        meters: Arc<Meters>,
    ) -> Arc<Self> {
        let Admitted { manifest, component } = admitted;
        Arc::new(Generation {
            id,
            name,
            component,
            default_type: manifest.content_type.as_str().into(),
            manifest,
            settings,
            is_fresh_each,
            meters,
            is_retired: AtomicBool::new(false),
            is_quarantined: AtomicBool::new(false),
            faults_in_a_row: AtomicU32::new(0),
            deadlines_in_a_row: AtomicU32::new(0),
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.manifest.limits
    }

    /// Whether another took its place.
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Whether it is left alone after faults.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.is_quarantined.load(Ordering::Relaxed)
    }

    /// Tries it again.
    pub(crate) fn lift(&self) {
        self.faults_in_a_row.store(0, Ordering::Relaxed);
        self.deadlines_in_a_row.store(0, Ordering::Relaxed);
        self.is_quarantined.store(false, Ordering::Relaxed);
    }

    /// What those who wait are told when it is left alone.
    pub(crate) fn left_alone(&self) -> Rendered {
        let name = self.name.as_str();
        Rendered::Later { message: format!("plugin {name} is left alone after faults in a row") }
    }

    /// Counts a deadline that is no render's end; `false`: not the first one in a row, so that it is one.
    pub(crate) fn forgives_deadline(&self) -> bool {
        let is_first =
            self.deadlines_in_a_row.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_first {
            self.meters.note_fault(Fault::Deadline);
        }
        is_first
    }

    /// Counts a render, and leaves the plugin alone when it was one fault too many.
    pub(crate) fn note(&self, took_us: u64, outcome: &Outcome) {
        self.meters.note_render(took_us, outcome);
        let Err((kind, message)) = outcome else {
            // Read first: nearly always there is nothing to forget.
            for count in [&self.faults_in_a_row, &self.deadlines_in_a_row] {
                if count.load(Ordering::Relaxed) != 0 {
                    count.store(0, Ordering::Relaxed);
                }
            }
            return;
        };
        let (count, most) = match kind {
            Fault::Deadline => (&self.deadlines_in_a_row, DEADLINES_MAX),
            _ => (&self.faults_in_a_row, FAULTS_MAX),
        };
        let is_enough = count.fetch_add(1, Ordering::Relaxed) + 1 >= most;
        if is_enough && !self.is_quarantined.swap(true, Ordering::Relaxed) {
            tracing::error!(
                format = self.name.as_str(),
                version = self.manifest.version,
                fault = kind.name(),
                message,
                "plugin left alone after faults in a row; its deliveries wait for a new version or an operator"
            );
        }
    }
}
