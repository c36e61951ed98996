//! The History port in memory: an executable description of what `crates/store` tells of deliveries.

use super::{EntryState, MemoryStore, Row, State};
use fanfare_core::delivery::{AttemptRecord, DeliveryKey, DeliveryStatus, Ending, Progress, Settlement};
use fanfare_core::ports::history::{
    Backlog, DeliveryDetail, DeliveryPage, DeliveryView, History, ListRequest, RedriveRequest, Redriven,
};
use fanfare_core::ports::{SendFuture, StoreError};
use fanfare_core::{EventId, Seq, WebhookNo};

impl State {
    fn settlements(&self, no: WebhookNo, key: DeliveryKey) -> impl Iterator<Item = &Settlement> {
        let is_its =
            move |s: &&Settlement| s.webhook == no && DeliveryKey { seq: s.seq, part: s.part } == key;
        self.settled.iter().filter(is_its)
    }

    fn attempts(&self, no: WebhookNo, key: DeliveryKey) -> Vec<AttemptRecord> {
        self.settlements(no, key).filter_map(|s| s.attempt.clone()).collect()
    }

    /// How a delivery looks whose event is `seq`.
    fn view(&self, no: WebhookNo, key: DeliveryKey, status: DeliveryStatus) -> Option<DeliveryView> {
        let event = self.events.get(&key.seq).map(|stored| &stored.event);
        let last = self.settlements(no, key).last();
        let event_id = event.map(|e| e.id.clone()).or_else(|| last.map(|s| s.event_id.clone()))?;
        let attempts = self.attempts(no, key);
        let attempt = attempts.last();
        let reason = last.and_then(|s| match &s.ending {
            Ending::Dead { reason, .. } | Ending::Skipped { reason } => Some(reason.clone()),
            _ => None,
        });
        let is_pending = status == DeliveryStatus::Pending;
        let due_ms = |(owner, due_ms, seq, part): &(WebhookNo, u64, Seq, u16)| {
            (*owner == no && DeliveryKey { seq: *seq, part: *part } == key).then_some(*due_ms)
        };
        Some(DeliveryView {
            key,
            event_id: Some(event_id),
            kind: event.map(|e| e.kind).or_else(|| last.map(|s| s.kind)),
            status,
            reason: reason.filter(|_| !is_pending),
            accepted_ms: event.map(|e| e.accepted_at_ms).or_else(|| last.map(|s| s.accepted_ms))?,
            ended_ms: last.map(|s| s.at_ms).filter(|_| !is_pending),
            attempt_count: attempt.map_or(0, |attempt| attempt.attempt_number),
            next_attempt_ms: self.retries.keys().find_map(due_ms).filter(|_| is_pending),
            last_failure: attempt.and_then(|attempt| attempt.failure),
            last_status: attempt.and_then(|attempt| attempt.status),
        })
    }

    /// Everything known of a webhook, in the order of lists.
    fn deliveries(&self, no: WebhookNo) -> Vec<DeliveryView> {
        let mut keys = Vec::new();
        for (owner, _, seq, part) in self.retries.keys() {
            if *owner == no {
                keys.push((DeliveryKey { seq: *seq, part: *part }, DeliveryStatus::Pending));
            }
        }
        for (seq, stored) in self.events.iter().rev() {
            let is_open = |(owner, state): &(WebhookNo, EntryState)| {
                *owner == no && matches!(state, EntryState::Waiting | EntryState::Parked)
            };
            if stored.owed.iter().any(is_open) {
                keys.push((DeliveryKey { seq: *seq, part: 0 }, DeliveryStatus::Pending));
            }
        }
        for (owner, seq, part) in self.dead.keys().rev() {
            if *owner == no {
                keys.push((DeliveryKey { seq: *seq, part: *part }, DeliveryStatus::Dead));
            }
        }
        for settled in self.settled.iter().rev().filter(|s| s.webhook == no) {
            let status = match settled.ending {
                Ending::Delivered if settled.attempt.is_some() => DeliveryStatus::Delivered,
                Ending::Skipped { .. } => DeliveryStatus::Skipped,
                _ => continue,
            };
            keys.push((DeliveryKey { seq: settled.seq, part: settled.part }, status));
        }
        keys.into_iter().filter_map(|(key, status)| self.view(no, key, status)).collect()
    }

    fn redrive_one(&mut self, no: WebhookNo, key: DeliveryKey, now_ms: u64) -> Redriven {
        let Some(row) = self.dead.remove(&(no, key.seq, key.part)) else { return Redriven::default() };
        let was_attempted = self.settlements(no, key).last().is_some_and(|s| s.attempt.is_some());
        let progress = Progress {
            attempt_number: row.progress.attempt_number + u32::from(was_attempted),
            schedule_step: 0,
            owed_since_ms: now_ms,
        };
        self.retries.insert((no, now_ms, key.seq, key.part), Row { progress, reason: None, ..row });
        Redriven { count: 1, without_body: 0 }
    }
}

impl History for MemoryStore {
    fn list(&self, request: ListRequest) -> SendFuture<Result<DeliveryPage, StoreError>> {
        let all = self.state.lock().deliveries(request.webhook);
        let filter = request.filter;
        let mut fitting = all.into_iter().filter(|view| {
            filter.status.is_none_or(|status| status == view.status) && filter.spans(view.accepted_ms)
        });
        let from = match <[u8; 8]>::try_from(request.cursor.as_slice()) {
            Ok(bytes) => usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX),
            Err(_) if request.cursor.is_empty() => 0,
            Err(_) => return Box::pin(async { Err(StoreError::Cursor) }),
        };
        let items: Vec<DeliveryView> = fitting.by_ref().skip(from).take(request.count_max).collect();
        let next = fitting.next().map(|_| ((from + items.len()) as u64).to_be_bytes().to_vec());
        Box::pin(async move { Ok(DeliveryPage { items, next }) })
    }

    fn find(
        &self,
        webhook: WebhookNo,
        event_id: EventId,
        part: u16,
    ) -> SendFuture<Result<Option<DeliveryDetail>, StoreError>> {
        let state = self.state.lock();
        let is_meant =
            |view: &DeliveryView| view.event_id.as_ref() == Some(&event_id) && view.key.part == part;
        let found = state.deliveries(webhook).into_iter().find(is_meant);
        let detail = found
            .map(|delivery| DeliveryDetail { attempts: state.attempts(webhook, delivery.key), delivery });
        Box::pin(async move { Ok(detail) })
    }

    fn redrive(
        &self,
        webhook: WebhookNo,
        request: RedriveRequest,
        now_ms: u64,
    ) -> SendFuture<Result<Redriven, StoreError>> {
        let mut state = self.state.lock();
        let is_meant = |view: &DeliveryView| match &request {
            RedriveRequest::One { event_id, part } => {
                view.event_id.as_ref() == Some(event_id) && view.key.part == *part
            }
            RedriveRequest::Many(filter) => filter.spans(view.accepted_ms),
        };
        let mut sum = Redriven::default();
        for view in state.deliveries(webhook) {
            if view.status == DeliveryStatus::Dead && is_meant(&view) {
                sum.count += state.redrive_one(webhook, view.key, now_ms).count;
            }
        }
        Box::pin(async move { Ok(sum) })
    }

    fn backlog(&self, webhook: WebhookNo, count_max: u64) -> SendFuture<Result<Backlog, StoreError>> {
        let pending: Vec<u64> = self
            .state
            .lock()
            .deliveries(webhook)
            .into_iter()
            .filter(|view| view.status == DeliveryStatus::Pending)
            .map(|view| view.accepted_ms)
            .collect();
        let count = pending.len() as u64;
        Box::pin(async move {
            Ok(Backlog {
                deliveries: count.min(count_max),
                is_at_least: count > count_max,
                oldest_accepted_ms: pending.into_iter().min(),
            })
        })
    }
}
