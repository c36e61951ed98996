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
        let format: &FormatName = &config.webhook.payload_format;
        match incoming.live.builtin(format, &config.format, &*self.worker.clock) {
            Some(rendered) => self.take_rendered(incoming, rendered, now),
            None => {
                let rendering = self.worker.formatter.render(format, Arc::clone(incoming.live.event()));
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.rendering.insert(ticket, incoming);
                let inbox = Rc::clone(&self.inbox);
                tokio::task::spawn_local(async move {
                    let rendered = Arc::new(rendering.await);
                    inbox.write(|unread| unread.rendered.push(RenderedNews { ticket, rendered }));
                });
            }
        }
    }

    pub(super) fn handle_rendered(&mut self, news: &RenderedNews, now: Now) {
        if let Some(incoming) = self.rendering.remove(&news.ticket) {
            self.take_rendered(incoming, Arc::clone(&news.rendered), now);
        }
    }

    pub(super) fn take_rendered(&mut self, incoming: Incoming, rendered: Arc<Rendered>, now: Now) {
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
            Rendered::Fault { .. } | Rendered::Later { .. } => 1,
        };
        let parts: Vec<u16> = match incoming.retried_part {
            Some(part) if part < part_count => vec![part],
            Some(_) => Vec::new(),
            None => (0..part_count).filter(|part| !incoming.settled_parts.contains(part)).collect(),
        };
        let Some(machine) = &mut self.machine else { return };
        if parts.is_empty() {
            // Nothing of it is left to send: the format was changed, and gives fewer bodies now.
            let ending = Ending::Skipped { reason: reason::FORMAT_CHANGED.to_owned() };
            return self.settle_whole(&incoming, ending, None, now);
        }
        if incoming.retried_part.is_none() && parts.len() > 1 {
            self.books.set_parts(incoming.live.event().seq, u16::try_from(parts.len()).unwrap_or(u16::MAX));
        }
        let key = machine.policy().ordering.is_key().then(|| incoming.live.key()).flatten();
        let row_due_ms = match incoming.origin {
            Origin::Retry { due_ms } => Some(due_ms),
            Origin::Direct | Origin::Parked { .. } => None,
        };
        let mut back = Vec::new();
        for part in parts {
            let payload = Payload {
                live: Arc::clone(&incoming.live),
                index: incoming.index,
                retried_part: incoming.retried_part,
                part,
                part_count,
                rendered: Arc::clone(&rendered),
            };
            let place = key.map(|key| KeyPlace {
                key,
                id: DeliveryKey { seq: incoming.live.event().seq, part },
                row_due_ms,
                at_ms: now.unix_ms,
                read_no: incoming.read_no,
            });
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
            settled_parts: owed.settled_parts,
            progress: owed.progress,
            origin: owed.origin,
            read_no: self.due_reads,
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
