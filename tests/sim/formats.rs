//! A format that is not built in, as a plugin's host behaves: renders end late and in any order, some fail, and at times
//! the format cannot be rendered at all. What it gives is the payload with a word before it, always the same.

use crate::journal::{MS, SECOND, WorldNs};
use crate::world::World;
use bytes::Bytes;
use fanfare_core::delivery::{Body, Rendered};
use fanfare_core::event::{Event, EventKind};
use fanfare_core::ports::{Formatter, SendFuture};
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// Its name.
pub(crate) const NAME: &str = "SIMULATED";
/// So long it keeps a mood.
const MOOD_FOR: WorldNs = 15 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// One in three renders fails.
    Faulty,
    /// Left alone after faults.
    Away,
}

/// What it gives for an event, when it gives something.
pub(crate) fn render(event: &Event) -> Rendered {
    if event.kind == EventKind::PresenceChat {
        return Rendered::Skipped { reason: "no_presence".into() };
    }
    Rendered::Bodies(vec![Body::json(Bytes::from([b"simulated ", &event.payload()[..]].concat()))])
}

pub(crate) struct SimFormatter {
    world: Arc<World>,
    seed: u64,
    rng: Mutex<SmallRng>,
}

impl SimFormatter {
    pub(crate) fn new(world: &Arc<World>, seed: u64) -> Arc<Self> {
        let rng = Mutex::new(SmallRng::seed_from_u64(seed));
        Arc::new(SimFormatter { world: Arc::clone(world), seed, rng })
    }

    fn mood(&self) -> Mood {
        if self.world.is_healing() {
            return Mood::Well;
        }
        let mut hasher = DefaultHasher::new();
        (self.seed, self.world.now() / MOOD_FOR).hash(&mut hasher);
        match hasher.finish() % 8 {
            0 => Mood::Away,
            1 | 2 => Mood::Faulty,
            _ => Mood::Well,
        }
    }
}

impl Formatter for SimFormatter {
    fn names(&self) -> Vec<FormatName> {
        FormatName::parse(NAME).into_iter().collect()
    }

    fn is_ready(&self, _format: &FormatName) -> bool {
        self.mood() != Mood::Away
    }

    fn render(&self, _format: &FormatName, event: Arc<Event>) -> SendFuture<Rendered> {
        let mut rng = self.rng.lock();
        let rendered = match self.mood() {
            Mood::Away => Rendered::Later { message: "away".to_owned() },
            Mood::Faulty if rng.random_ratio(1, 3) => Rendered::Fault { message: "trap".to_owned() },
            Mood::Well | Mood::Faulty => render(&event),
        };
        let wait = if rng.random_ratio(1, 2) { 0 } else { rng.random_range(0..30 * MS) };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_nanos(wait)).await;
            rendered
        })
    }
}
