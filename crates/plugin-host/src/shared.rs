//! One render per event and generation, whoever asks and whenever: a thousand webhooks of one format cost one render.
//!
//! Those who ask while it is under way wait for the same answer. What was finished is kept for those who come a little
//! later (the next webhook's turn, a retry), first in first out, inside a bound. Faults are never kept.
//!
//! Cost: one lock of a shard when asked and one when answered, about 0.1 µs each.

use crate::generation::Generation;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Consecutive events lie in different shards.
const SHARDS: usize = 4;
/// Bytes of bodies kept, all shards together. What is larger than one shard's part is not kept.
const BYTES_MAX: usize = 8 << 20;
/// Finished renders kept, all shards together.
const ENTRIES_MAX: usize = 4096;

/// Generation and event.
type Key = (u64, u64);

/// See the module.
#[derive(Default)]
pub(crate) struct SharedRenders {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    slots: HashMap<Key, Slot>,
    /// Finished ones, the oldest first, with their bytes.
    finished: VecDeque<(Key, usize)>,
    bytes: usize,
}

enum Slot {
    UnderWay(Vec<oneshot::Sender<Rendered>>),
    Finished(Rendered),
}

/// What one who asks gets.
pub(crate) enum Asked {
    /// It is there.
    Finished(Rendered),
    /// Somebody else asked before: wait for the same answer.
    Wait(oneshot::Receiver<Rendered>),
    /// Nobody did: have it rendered, and wait.
    Render(Reply, oneshot::Receiver<Rendered>),
}

/// Where the answer of a render goes. Dropped without one, those who wait are told to
/// come again.
pub(crate) struct Reply(Option<To>);

enum To {
    One(oneshot::Sender<Rendered>),
    All(Arc<SharedRenders>, Key),
}

impl SharedRenders {
    pub(crate) fn ask(self: &Arc<Self>, generation: &Generation, event: &Event) -> Asked {
        let (answer, waiting) = oneshot::channel();
        let seq = event.seq.0;
        // No event of the store: a test of a webhook, or offline. Nothing tells two of them apart.
        if seq == 0 {
            return Asked::Render(Reply(Some(To::One(answer))), waiting);
        }
        let key = (generation.id, seq);
        let mut shard = self.shard(seq).lock();
        match shard.slots.get_mut(&key) {
            Some(Slot::Finished(rendered)) => Asked::Finished(rendered.clone()),
            Some(Slot::UnderWay(all)) => {
                all.push(answer);
                Asked::Wait(waiting)
            }
            None => {
                shard.slots.insert(key, Slot::UnderWay(vec![answer]));
                drop(shard);
                Asked::Render(Reply(Some(To::All(Arc::clone(self), key))), waiting)
            }
        }
    }

    fn shard(&self, seq: u64) -> &Mutex<Shard> {
        let index = usize::try_from(seq % SHARDS as u64).unwrap_or(0);
        self.shards.get(index).expect("the index is a remainder")
    }
}

impl Shard {
    /// Keeps what may be kept and gives back who waited.
    fn finish(&mut self, key: Key, rendered: &Rendered) -> Vec<oneshot::Sender<Rendered>> {
        let waiting = match self.slots.remove(&key) {
            Some(Slot::UnderWay(waiting)) => waiting,
            Some(Slot::Finished(_)) | None => Vec::new(),
        };
        let bytes = match rendered {
            Rendered::Bodies(bodies) => bodies.iter().map(|body| body.bytes.len()).sum(),
            Rendered::Skipped { .. } | Rendered::Invalid { .. } => 0,
            Rendered::Fault { .. } | Rendered::Later { .. } => return waiting,
        };
        if bytes > BYTES_MAX / SHARDS {
            return waiting;
        }
        self.bytes += bytes;
        self.finished.push_back((key, bytes));
        self.slots.insert(key, Slot::Finished(rendered.clone()));
        while self.bytes > BYTES_MAX / SHARDS || self.finished.len() > ENTRIES_MAX / SHARDS {
            let Some((oldest, bytes)) = self.finished.pop_front() else { break };
            self.bytes -= bytes;
            self.slots.remove(&oldest);
        }
        waiting
    }
}

impl Reply {
    /// Whether nobody waits for it any more; then nobody will.
    pub(crate) fn is_abandoned(&mut self) -> bool {
        let is_abandoned = match &self.0 {
            None => true,
            Some(To::One(one)) => one.is_closed(),
            Some(To::All(shared, key)) => {
                let mut shard = shared.shard(key.1).lock();
                let is_closed = match shard.slots.get(key) {
                    Some(Slot::UnderWay(waiting)) => waiting.iter().all(oneshot::Sender::is_closed),
                    Some(Slot::Finished(_)) | None => true,
                };
                if is_closed {
                    // Under the same lock, so that nobody joins what is not going to be rendered.
                    shard.slots.remove(key);
                }
                is_closed
            }
        };
        if is_abandoned {
            self.0 = None;
        }
        is_abandoned
    }

    /// The answer, once; later ones are passed over.
    pub(crate) fn give(&mut self, rendered: Rendered) {
        // Sending fails when nobody waits for it any more.
        match self.0.take() {
            None => {}
            Some(To::One(one)) => drop(one.send(rendered)),
            Some(To::All(shared, key)) => {
                let mut waiting = shared.shard(key.1).lock().finish(key, &rendered);
                let last = waiting.pop();
                for one in waiting {
                    drop(one.send(rendered.clone()));
                }
                drop(last.map(|one| one.send(rendered)));
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.give(Rendered::Later { message: "the host ended before it was rendered".to_owned() });
        }
    }
}
