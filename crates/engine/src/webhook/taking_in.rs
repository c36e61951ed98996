//! Deliveries on their way into the machine: rendered, taken apart into bodies, or ended without an attempt.

use super::*;
use fanfare_core::policy::delivery::{KeyPlace, Taken};

impl WebhookActor {
    pub(super) fn take_in(&mut self, incoming: Incoming, now: Now) {
        let seq = incoming.live.event().seq;
        if !self.books.take_in(seq, incoming.retried_part, incoming.origin, 1) {
            return self.free_place();
        }
        let Some(config) = &self.config else {
            // Deleted: ends at once.
            return self.settle_whole(&incoming, Ending::Dropped, None, now);
        };
        let format = &config.webhook.payload_format;
        match incoming.live.rendered(format, &config.format, &*self.worker.clock) {
            Some(rendered) => self.take_in_rendered(incoming, rendered, now),
            None => self.render(incoming, now),
        }
    }

    pub(super) fn take_rendered(&mut self, incoming: Incoming, rendered: Arc<Rendered>, now: Now) {
        if self.is_behind_put_off() {
            return self.put_off(incoming, "one before it waits for its format", now);
        }
        if !matches!(*rendered, Rendered::Later { .. }) && !self.rendering.has_put_off() {
            self.rendering.waits_until_ns = 0;
        }
        let part_count = match &*rendered {
            Rendered::Bodies(bodies) => u16::try_from(bodies.len()).unwrap_or(u16::MAX),
            Rendered::Skipped { reason } => {
                self.worker.metrics.skipped.add(1);
                let ending = Ending::Skipped { reason: reason.clone().into_owned() };
                return self.settle_whole(&incoming, ending, None, now);
            }
            Rendered::Invalid { message } => {
                self.worker.metrics.dead.add(1);
                let ending =
                    Ending::Dead { reason: reason::INVALID_EVENT.to_owned(), progress: incoming.progress };
                let record = AttemptRecord {
                    attempt_number: 0,
                    started_ms: now.unix_ms,
                    duration_ms: 0,
                    status: None,
                    failure: Some(FailureClass::Render),
                    snippet: Bytes::new(),
                    detail: Some(message.clone()),
                };
                return self.settle_whole(&incoming, ending, Some(record), now);
            }
            // Goes through the machine as an attempt that fails at once, and so by the retry schedule.
            Rendered::Fault { .. } => 1,
            Rendered::Later { message } => return self.put_off(incoming, message, now),
        };
        let parts: Vec<u16> = match incoming.retried_part {
            Some(_) if incoming.is_alone => (0..part_count).collect(),
            Some(part) if part < part_count => vec![part],
            Some(_) => Vec::new(),
            None => (0..part_count).filter(|part| !incoming.settled_parts.contains(part)).collect(),
        };
        if self.machine.is_none() {
            return;
        }
        if parts.is_empty() {
            // Nothing of it is left to send: the format was changed, and gives fewer bodies now.
            let ending = Ending::Skipped { reason: reason::FORMAT_CHANGED.to_owned() };
            return self.settle_whole(&incoming, ending, None, now);
        }
        if incoming.retried_part.is_none() && parts.len() > 1 {
            self.books.set_parts(incoming.live.event().seq, u16::try_from(parts.len()).unwrap_or(u16::MAX));
        }
        let is_ordered = self.machine.as_ref().is_some_and(|machine| machine.policy().ordering.is_key());
        let key = is_ordered.then(|| incoming.live.key()).flatten();
        let row_due_ms = match incoming.origin {
            Origin::Retry { due_ms } => Some(due_ms),
            Origin::Direct | Origin::Parked { .. } => None,
        };
        let mut back = Vec::new();
        for part in parts {
            let seq = incoming.live.event().seq;
            let retried_part = incoming.retried_part.map(|_| part);
            if retried_part.is_some() && part > 0 && incoming.is_alone {
                // It stood for all bodies, and gets rows for the others with the first of them that is settled.
                if !self.books.take_in(seq, retried_part, incoming.origin, 1) {
                    continue;
                }
                self.reserve_places(1);
            }
            let payload = Payload {
                live: Arc::clone(&incoming.live),
                index: incoming.index,
                retried_part,
                part,
                part_count,
                rendered: Arc::clone(&rendered),
            };
            let place = key.map(|key| KeyPlace {
                key,
                id: DeliveryKey { seq, part },
                row_due_ms,
                at_ms: now.unix_ms,
                read_no: incoming.read_no,
            });
            let Some(machine) = &mut self.machine else { return };
            if let Taken::Back { leaving, due_ms } = machine.handle_owed(payload, incoming.progress, place) {
                back.push((leaving, due_ms));
            }
        }
        for (leaving, due_ms) in back {
            self.send_back(&leaving, due_ms, now);
        }
    }

    pub(super) fn incoming(&self, owed: Owed) -> Incoming {
        Incoming {
            live: LiveEvent::new(owed.event, &self.worker.budget),
            index: owed.index,
            retried_part: owed.part,
            is_alone: owed.is_alone,
            settled_parts: owed.settled_parts,
            progress: owed.progress,
            origin: owed.origin,
            read_no: self.machine.as_ref().map_or(0, Machine::read_no),
        }
    }

    pub(super) fn reserve_places(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.shared.add_queued(count);
        self.inbox.add_places(count);
    }

    pub(super) fn free_place(&self) {
        self.shared.release(1);
        self.inbox.free_places(1);
    }
}
