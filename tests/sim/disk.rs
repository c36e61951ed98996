//! What the disk does: how long commits take, what is refused, at which call the process dies.

use crate::journal::{DeliveryName, End, Entry, Form, MS, Settled, Stored, WorldNs};
use crate::world::World;
use fanfare_core::WebhookNo;
use fanfare_core::delivery::{Ending, Rendered, Settlement};
use fanfare_core::event::{Event, key_hash};
use fanfare_core::ports::{CatalogChange, IngestVerdict, SettleBatch, StoreError};
use fanfare_core::webhook::FormatName;
use fanfare_testkit::store::faulty::{Call, CommitFate, Done, Faults, Verdict};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// The disk's mood, as the world's plan sets it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// A commit takes up to so long; above 40 ms the store cannot keep its 100 ms, and says so.
    pub(crate) commit_ms_max: u64,
    /// Events are refused until then.
    pub(crate) full_until: WorldNs,
    /// Settlements are given back until then.
    pub(crate) crowded_until: WorldNs,
    /// Of a hundred reads (and parkings), so many fail.
    pub(crate) bad_reads: u32,
    /// Of a hundred reads, so many are answered late.
    pub(crate) late_reads: u32,
    /// Of a hundred changes, so many fail.
    pub(crate) bad_changes: u32,
    /// The process dies at the call after so many.
    pub(crate) dies_at_call: Option<u32>,
    /// And so at a commit: before it, or when it is made.
    pub(crate) dies_at_commit: Option<(u32, bool)>,
}

pub(crate) struct Disk {
    rng: SmallRng,
    pub(crate) weather: Weather,
    /// Since when settlements are given back.
    given_back_since: Option<WorldNs>,
    /// Since when a commit takes longer than the store may.
    stalled_since: Option<WorldNs>,
}

impl Disk {
    pub(crate) fn new(rng: SmallRng) -> Self {
        Disk { rng, weather: Weather::default(), given_back_since: None, stalled_since: None }
    }

    fn draw(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }
}

/// Hash of a body.
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

impl World {
    /// What an event must look like for a webhook.
    fn form(&self, event: &Event, no: WebhookNo, cache: &mut HashMap<FormatName, Form>) -> Form {
        let webhook = fanfare_core::ports::Store::webhook(&**self.memory.lock(), no);
        let Ok(Some(webhook)) = webhook else { return Form::Unknown };
        let format = webhook.payload_format;
        let render = || {
            fanfare_render::render_builtin(&format, event).unwrap_or_else(|| crate::formats::render(event))
        };
        let make = || match render() {
            Rendered::Bodies(bodies) => {
                Form::Bodies(bodies.iter().map(|body| hash_of(&body.bytes)).collect())
            }
            Rendered::Skipped { .. } => Form::Skipped,
            _ => Form::Invalid,
        };
        cache.entry(format.clone()).or_insert_with(make).clone()
    }

    fn stored(&self, event: &Event, owed: &[(WebhookNo, bool)]) -> Stored {
        let key = match &event.key {
            Some(key) => Some(key_hash(key)),
            None => fanfare_render::customer_identifier(&event.payload()).map(|key| key_hash(&key)),
        };
        let mut cache = HashMap::new();
        Stored {
            id: Arc::from(event.id.as_str()),
            seq: event.seq,
            channel: Arc::from(event.channel.as_str()),
            kind_bit: fanfare_core::event::KindSet::of(event.kind).0,
            key,
            owed: owed.iter().map(|(no, _)| (*no, self.form(event, *no, &mut cache))).collect(),
        }
    }
}

fn settled(settlements: &[Settlement]) -> Vec<Settled> {
    let one = |s: &Settlement| Settled {
        delivery: DeliveryName { webhook: s.webhook, seq: s.seq, part: s.part },
        end: match &s.ending {
            Ending::Delivered => End::Delivered,
            Ending::Skipped { .. } => End::Skipped,
            Ending::Dead { reason, .. } => End::Dead(reason.clone()),
            Ending::Retry { .. } => End::Retry,
            Ending::Dropped => End::Dropped,
        },
        attempt_number: s.attempt.as_ref().map(|attempt| attempt.attempt_number),
    };
    settlements.iter().map(one).collect()
}

/// A world's faults, as the store's double asks for them.
pub(crate) struct WorldFaults(pub(crate) Arc<World>);

impl Faults for WorldFaults {
    fn at_call(&self, call: Call) -> Verdict {
        let now = self.0.now();
        let mut disk = self.0.disk.lock();
        if let Some(left) = &mut disk.weather.dies_at_call {
            if *left == 0 {
                disk.weather.dies_at_call = None;
                return Verdict::Crash;
            }
            *left -= 1;
        }
        let refusal = match call {
            Call::Ingest if now < disk.weather.full_until => Some(StoreError::Full("simulated".into())),
            Call::Settle if now < disk.weather.crowded_until => {
                disk.given_back_since.get_or_insert(now);
                Some(StoreError::Busy)
            }
            Call::Page | Call::Due | Call::WaitingKeys | Call::Webhook | Call::ParkAll => {
                let percent = disk.weather.bad_reads;
                disk.draw(percent).then(|| StoreError::Other("simulated".into()))
            }
            Call::Change | Call::Redrive => {
                let percent = disk.weather.bad_changes;
                disk.draw(percent).then_some(StoreError::Busy)
            }
            Call::Ingest | Call::Settle => None,
        };
        drop(disk);
        match refusal {
            Some(error) => {
                self.0.note_fault(format!("{call:?} refused: {error}"));
                Verdict::Refuse(error)
            }
            None => Verdict::Take,
        }
    }

    fn commit_time(&self) -> Duration {
        let now = self.0.now();
        let mut disk = self.0.disk.lock();
        let max = disk.weather.commit_ms_max;
        let ms = disk.rng.random_range(0..=max);
        if ms > COMMIT_MS_MAX {
            disk.stalled_since = Some(now);
        }
        Duration::from_millis(ms)
    }

    fn at_commit(&self) -> CommitFate {
        let since = self.0.disk.lock().stalled_since.take();
        if let Some(from) = since {
            self.0.note_fault("a commit stalled");
            self.0.note(Entry::Excused { from });
        }
        let mut disk = self.0.disk.lock();
        let Some((left, is_before)) = &mut disk.weather.dies_at_commit else { return CommitFate::Go };
        if *left > 0 {
            *left -= 1;
            return CommitFate::Go;
        }
        let fate = if *is_before { CommitFate::CrashBefore } else { CommitFate::CrashAfter };
        disk.weather.dies_at_commit = None;
        fate
    }

    fn answer_time(&self, _call: Call) -> Duration {
        let mut disk = self.0.disk.lock();
        let percent = disk.weather.late_reads;
        if !disk.draw(percent) {
            return Duration::ZERO;
        }
        Duration::from_millis(disk.rng.random_range(1..2000))
    }

    fn handed(&self, batch: &SettleBatch) {
        if !batch.settlements.is_empty() {
            self.0.note(Entry::Handed(settled(&batch.settlements)));
        }
    }

    fn committed(&self, done: &Done<'_>) {
        match done {
            Done::Ingest(batch, receipt) => {
                for (item, verdict) in batch.iter().zip(&receipt.verdicts) {
                    if let IngestVerdict::Accepted(seq) = verdict {
                        let event = Event { seq: *seq, ..item.event.clone() };
                        self.0.note(Entry::Stored(self.0.stored(&event, &item.owed)));
                    }
                }
            }
            Done::Settle(batch) => {
                let since = self.0.disk.lock().given_back_since.take();
                if let Some(from) = since {
                    self.0.note(Entry::Excused { from });
                }
                if !batch.settlements.is_empty() {
                    self.0.note(Entry::Committed(settled(&batch.settlements)));
                }
            }
            Done::Change(changes) => {
                for change in *changes {
                    let (webhook, state) = match change {
                        CatalogChange::PutWebhook(webhook) => (webhook.no, Some(webhook.clone())),
                        CatalogChange::DeleteWebhook(no) => (*no, None),
                        _ => continue,
                    };
                    let secrets = state.as_ref().map_or(0, |webhook| self.0.learn(webhook));
                    self.0.note(Entry::Configured { webhook, state, secrets });
                }
            }
            Done::Redrive(no, keys) => {
                let name = |key: &fanfare_core::delivery::DeliveryKey| DeliveryName {
                    webhook: *no,
                    seq: key.seq,
                    part: key.part,
                };
                self.0.note(Entry::PutBack(keys.iter().map(name).collect()));
            }
        }
    }

    fn change_answered(&self, changes: &[CatalogChange]) {
        for change in changes {
            match change {
                CatalogChange::PutWebhook(webhook) => {
                    self.0.note(Entry::ConfigAnswered { webhook: webhook.no });
                }
                CatalogChange::DeleteWebhook(no) => self.0.note(Entry::ConfigAnswered { webhook: *no }),
                _ => {}
            }
        }
    }

    fn crashed(&self) {
        let since = {
            let mut disk = self.0.disk.lock();
            [disk.given_back_since.take(), disk.stalled_since.take()]
        };
        for from in since.into_iter().flatten() {
            self.0.note(Entry::Excused { from });
        }
        self.0.end_life(Entry::Crashed { why: "at a call of the store, or by a signal" });
    }
}

/// A commit of this length is never in the way of the 100 ms: two in a row and the engine's own 5 ms fit.
pub(crate) const COMMIT_MS_MAX: u64 = 40;

const _: () = assert!(2 * COMMIT_MS_MAX * MS + 5 * MS < 100 * MS);
