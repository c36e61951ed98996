//! One world: what outlives its processes. It keeps the journal, asks the checker about each entry, and decides by its
//! seed what the disk and the receivers do.

use crate::checker::Checker;
use crate::disk::Disk;
use crate::journal::{AttemptNo, Entry, MS, WorldNs};
use crate::receiver::Mood;
use fanfare_core::ports::Clock;
use fanfare_core::webhook::Webhook;
use fanfare_core::{WebhookId, WebhookNo};
use fanfare_testkit::clock::{TEST_EPOCH_MS, TestClock};
use fanfare_testkit::store::MemoryStore;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Far more than happens in any world that comes to an end.
const ENTRIES_MAX: usize = 300_000;

/// What a world went through, for the summary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) attempts: u64,
    pub(crate) crashes: u64,
    pub(crate) drains: u64,
    pub(crate) changes: u64,
    pub(crate) put_back: u64,
    pub(crate) disk_faults: u64,
    pub(crate) entries: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.events += other.events;
        self.attempts += other.attempts;
        self.crashes += other.crashes;
        self.drains += other.drains;
        self.changes += other.changes;
        self.put_back += other.put_back;
        self.disk_faults += other.disk_faults;
        self.entries += other.entries;
    }
}

/// The time of the present process within the world's.
struct Life {
    clock: Arc<TestClock>,
    begun: WorldNs,
    is_over: bool,
    over: Arc<Notify>,
}

/// The story so far.
#[derive(Default)]
struct Record {
    entries: Vec<(WorldNs, Entry)>,
    checker: Checker,
    breach: Option<(WorldNs, String)>,
    tally: Tally,
}

/// What is known of webhooks by whoever stands outside.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) numbers: HashMap<WebhookId, WebhookNo>,
    /// All secrets a webhook ever had, in order.
    pub(crate) secrets: HashMap<WebhookNo, Vec<[u8; 32]>>,
}

pub(crate) struct World {
    life: Mutex<Option<Life>>,
    /// When the last process ended: the world's time and the wall clock's.
    ended: Mutex<(WorldNs, u64)>,
    record: Mutex<Record>,
    pub(crate) known: Mutex<Known>,
    pub(crate) disk: Mutex<Disk>,
    pub(crate) memory: Mutex<Arc<MemoryStore>>,
    pub(crate) moods: Mutex<HashMap<String, Mood>>,
    pub(crate) receivers_rng: Mutex<SmallRng>,
    next_attempt: Mutex<AttemptNo>,
    is_healing: AtomicBool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<World> {
        Arc::new(World {
            life: Mutex::new(None),
            ended: Mutex::new((0, TEST_EPOCH_MS)),
            record: Mutex::default(),
            known: Mutex::default(),
            disk: Mutex::new(Disk::new(SmallRng::seed_from_u64(seed ^ 0xD15C))),
            memory: Mutex::new(MemoryStore::new()),
            moods: Mutex::default(),
            receivers_rng: Mutex::new(SmallRng::seed_from_u64(seed ^ 0x4EC1)),
            next_attempt: Mutex::new(0),
            is_healing: AtomicBool::new(false),
        })
    }

    /// A process begins, so long after the one before ended. Call inside its runtime.
    pub(crate) fn begin_life(&self, down: WorldNs, wall_step_ms: i64) -> (Arc<TestClock>, Arc<Notify>) {
        let (ended, unix_ms) = *self.ended.lock();
        let (begun, unix_ms) = (ended + down, unix_ms + down / MS);
        let clock = TestClock::start_at(unix_ms.saturating_add_signed(wall_step_ms));
        let over = Arc::new(Notify::new());
        *self.life.lock() =
            Some(Life { clock: Arc::clone(&clock), begun, is_over: false, over: Arc::clone(&over) });
        (clock, over)
    }

    /// The process is gone with its clock. Call inside its runtime.
    pub(crate) fn close_life(&self) {
        if let Some(life) = self.life.lock().take() {
            let now = life.clock.now();
            *self.ended.lock() = (life.begun + now.mono_ns, now.unix_ms);
        }
    }

    pub(crate) fn now(&self) -> WorldNs {
        self.life.lock().as_ref().map_or(0, |life| life.begun + life.clock.now().mono_ns)
    }

    /// Whether the process is dead, so that nothing it still seems to do has happened.
    pub(crate) fn is_over(&self) -> bool {
        self.life.lock().as_ref().is_none_or(|life| life.is_over)
    }

    /// The process is dead from now on.
    pub(crate) fn end_life(&self, last: Entry) {
        if self.is_over() {
            return;
        }
        self.note(last);
        if let Some(life) = &mut *self.life.lock() {
            life.is_over = true;
            life.over.notify_one();
        }
    }

    /// Something happened.
    pub(crate) fn note(&self, entry: Entry) {
        if self.is_over() {
            return;
        }
        let at = self.now();
        let mut record = self.record.lock();
        let Record { entries, checker, breach, tally } = &mut *record;
        if breach.is_some() {
            return;
        }
        match &entry {
            Entry::Stored(_) => tally.events += 1,
            Entry::Begun { .. } => tally.attempts += 1,
            Entry::Crashed { .. } => tally.crashes += 1,
            Entry::Drained { .. } => tally.drains += 1,
            Entry::Configured { .. } => tally.changes += 1,
            Entry::PutBack(names) => tally.put_back += names.len() as u64,
            _ => {}
        }
        tally.entries += 1;
        let judged = match entries.len() {
            ENTRIES_MAX.. => Err(format!("the world runs away: more than {ENTRIES_MAX} things happened")),
            _ => checker.handle(at, &entry),
        };
        entries.push((at, entry));
        if let Err(why) = judged {
            *breach = Some((at, why));
            drop(record);
            if let Some(life) = &mut *self.life.lock() {
                life.is_over = true;
                life.over.notify_one();
            }
        }
    }

    pub(crate) fn note_fault(&self, text: impl Into<String>) {
        self.record.lock().tally.disk_faults += 1;
        self.note(Entry::Note(text.into()));
    }

    pub(crate) fn owed_count(&self) -> usize {
        self.record.lock().checker.owed_count()
    }

    pub(crate) fn breach(&self) -> Option<(WorldNs, String)> {
        self.record.lock().breach.clone()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.record.lock().tally
    }

    pub(crate) fn entries(&self) -> Vec<(WorldNs, Entry)> {
        self.record.lock().entries.clone()
    }

    pub(crate) fn next_attempt(&self) -> AttemptNo {
        let mut next = self.next_attempt.lock();
        *next += 1;
        *next
    }

    /// A webhook is stored like this: who signs with what, and what it is called.
    pub(crate) fn learn(&self, webhook: &Webhook) -> usize {
        let mut known = self.known.lock();
        known.numbers.insert(webhook.id, webhook.no);
        let secrets = known.secrets.entry(webhook.no).or_default();
        if let Some(signing) = &webhook.signing
            && secrets.last() != Some(&signing.current.0)
        {
            secrets.push(signing.current.0);
        }
        secrets.len()
    }

    /// From now on nothing fails any more.
    pub(crate) fn heal(&self) {
        self.is_healing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_healing(&self) -> bool {
        self.is_healing.load(Ordering::Relaxed)
    }

    pub(crate) fn mood_of(&self, url: &str) -> Mood {
        self.moods.lock().get(url).cloned().unwrap_or_default()
    }

    /// A draw for the receivers.
    pub(crate) fn draw(&self, percent: u32) -> bool {
        self.receivers_rng.lock().random_range(0..100) < percent
    }
}
