//! Attempts: begun as the machine says, settled when they end.

use super::*;
use crate::EngineError;
use fanfare_core::policy::delivery::Leaving;

/// Failing for less is not worth a row.
const NOTE_FAILING_AFTER_MS: u64 = 3_600_000;

impl WebhookActor {
    pub(super) fn begin_attempts(&mut self, now: Now) {
        if self.worker.outbox.is_full() || self.worker.is_draining() || self.is_config_stale {
            return;
        }
        if self.config.as_ref().and_then(|c| c.overlap_until_ms).is_some_and(|until| now.unix_ms >= until) {
            self.make_keys(now);
        }
        let Some(machine) = &mut self.machine else { return };
        machine.ask_to_grow(&mut self.worker.growth_ration.borrow_mut(), now);
        loop {
            let Some(machine) = &mut self.machine else { return };
            match machine.next_step(now) {
                None => return,
                Some(Step::Start { slot, attempt_number }) => self.begin(slot, attempt_number, now),
                Some(Step::Expire { slot }) => {
                    if let Some(Leaving { payload, progress }) = machine.expire(slot) {
                        self.worker.metrics.dead.add(1);
                        let ending = Ending::Dead { reason: reason::EXPIRED.to_owned(), progress };
                        self.settle(&payload, ending, None, now);
                    }
                }
            }
        }
    }

    pub(super) fn begin(&self, slot: Slot, attempt_number: u32, now: Now) {
        let (Some(machine), Some(config)) = (&self.machine, &self.config) else { return };
        let Some(payload) = machine.payload(slot) else { return };
        let Some(body) = payload.body() else {
            let message = match &*payload.rendered {
                Rendered::Fault { message } => message.clone(),
                _ => "no such body".to_owned(),
            };
            let report = AttemptReport::failed(FailureClass::Render, message);
            let end = AttemptEnd { slot, report, started_ms: now.unix_ms, duration_ms: 0 };
            return self.inbox.push_end(end);
        };
        let event = payload.live.event();
        let delivery_id = delivery_id_bytes(event.id.as_str(), &config.id_text, payload.part);
        let request = config.request(event, delivery_id, attempt_number, body, now);
        attempt::begin(Attempt {
            connections: Rc::clone(&config.connections),
            request,
            timeout: config.timeout,
            slot,
            started: now,
            inbox: Rc::clone(&self.inbox),
            worker: Rc::clone(&self.worker),
        });
    }

    pub(super) fn handle_end(&mut self, end: AttemptEnd, now: Now) {
        let Some(machine) = &mut self.machine else { return };
        let outcome = end.report.outcome;
        let verdict = {
            let mut rng = self.worker.rng.borrow_mut();
            machine.handle_outcome(end.slot, outcome, now, &mut *rng)
        };
        let Some(verdict) = verdict else { return };
        let metrics = &self.worker.metrics;
        let failure = match outcome {
            Outcome::Delivered => None,
            Outcome::Retryable { class, .. } | Outcome::Permanent { class } => {
                metrics.failed(class);
                Some(class)
            }
        };
        self.vitals.note(failure, &end.report, end.duration_ms, now);
        let is_recorded = match (failure, self.worker.successes) {
            (Some(_), _) | (None, Successes::All) => true,
            (None, Successes::None) => false,
            (None, Successes::Sampled) => self.worker.rng.borrow_mut().random_ratio(1, 100),
        };
        let record = is_recorded.then(|| AttemptRecord {
            attempt_number: verdict.progress.attempt_number,
            started_ms: end.started_ms,
            duration_ms: end.duration_ms,
            status: end.report.status,
            failure,
            snippet: end.report.snippet,
            detail: end.report.detail,
        });
        let given_up = match self.mode {
            Mode::GiveUp(why) if verdict.fate != Fate::Delivered => {
                Some(self.given_up(why, verdict.progress))
            }
            _ => None,
        };
        let ending = match verdict.fate {
            _ if given_up.is_some() => given_up.unwrap_or(Ending::Dropped),
            Fate::Delivered => {
                metrics.delivered.add(1);
                metrics.latency(now.unix_ms.saturating_sub(verdict.payload.live.event().accepted_at_ms));
                self.shared.widen_window(1);
                Ending::Delivered
            }
            Fate::Retry { due_ms, progress } => {
                self.next_due_ms = self.next_due_ms.min(due_ms);
                Ending::Retry { due_ms, progress }
            }
            Fate::Dead { reason } => {
                metrics.dead.add(1);
                Ending::Dead { reason: reason.to_owned(), progress: verdict.progress }
            }
        };
        self.settle(&verdict.payload, ending, record, now);
        if let Fate::Retry { due_ms, .. } = verdict.fate {
            for leaving in &verdict.behind {
                self.send_back(leaving, due_ms, now);
            }
        }
        self.handle_news(verdict.news);
        self.note_failing(now);
    }

    /// Keeps on disk since when the webhook has been failing, once that is long ago, and that it no longer is.
    fn note_failing(&mut self, now: Now) {
        let (Some(machine), Some(config)) = (&self.machine, &mut self.config) else { return };
        let since_ms = machine.gate().failing_since_ms();
        let is_worth_noting =
            since_ms.is_none_or(|since| now.unix_ms.saturating_sub(since) >= NOTE_FAILING_AFTER_MS);
        if since_ms == config.webhook.failing_since_ms || !is_worth_noting {
            return;
        }
        config.webhook.failing_since_ms = since_ms;
        let (worker, no, id) = (Rc::clone(&self.worker), self.shared.no, self.shared.id);
        tokio::task::spawn_local(async move {
            let noted = worker.registry.note(no, |webhook| webhook.failing_since_ms = since_ms).await;
            if let Err(error) = noted {
                tracing::warn!(webhook = %id, %error, "cannot note since when a webhook fails");
            }
        });
    }

    pub(super) fn handle_news(&mut self, news: WebhookNews) {
        let id = self.shared.id;
        match news {
            WebhookNews::None => {}
            WebhookNews::GateShut(shut_for) => {
                self.worker.metrics.gates_shut.add(1);
                self.shared.narrow_window();
                tracing::info!(webhook = %id, shut_ms = shut_for.as_millis() as u64, "gate shut");
            }
            WebhookNews::GateOpened => tracing::info!(webhook = %id, "gate opened"),
            WebhookNews::Gone => self.disable(reason::GONE),
            WebhookNews::FailingTooLong => self.disable("failing"),
        }
    }

    /// Pauses at once and disables durably; the change comes back as a reconfiguration.
    pub(super) fn disable(&mut self, why: &'static str) {
        let Some(machine) = &mut self.machine else { return };
        machine.set_paused(true);
        self.is_disabling.set(true);
        let is_disabling = Rc::clone(&self.is_disabling);
        let (worker, inbox, no, id) =
            (Rc::clone(&self.worker), Rc::clone(&self.inbox), self.shared.no, self.shared.id);
        tokio::task::spawn_local(async move {
            loop {
                match worker.registry.disable(no, why).await {
                    Ok(true) => {
                        worker.metrics.disabled(why);
                        tracing::warn!(webhook = %id, reason = why, "webhook disabled");
                    }
                    Ok(false) | Err(EngineError::UnknownWebhook | EngineError::UnknownChannel) => {}
                    Err(error) if matches!(worker.store.health(), Err(StoreError::Poisoned(_))) => {
                        // Nothing is written any more. It stays paused until the restart that it takes.
                        return tracing::error!(webhook = %id, %error, "cannot disable a webhook");
                    }
                    Err(error) => {
                        tracing::error!(webhook = %id, %error, "cannot disable a webhook; tried again");
                        tokio::time::sleep(STORE_RETRY).await;
                        continue;
                    }
                }
                break;
            }
            is_disabling.set(false);
            inbox.write(|unread| unread.is_reconfigured = true);
        });
    }

    pub(super) fn give_up(&mut self, why: GiveUp, now: Now) {
        let ready = self.machine.as_mut().map(Machine::drain_ready).unwrap_or_default();
        for Leaving { payload, progress } in ready {
            let ending = self.given_up(why, progress);
            self.settle(&payload, ending, None, now);
        }
        // What is still being rendered for a gone webhook comes back, and is given up then.
        let unrendered = match why {
            GiveUp::Deleted => self.rendering.take_all(),
            GiveUp::Gone => self.rendering.take_put_off(),
        };
        for incoming in unrendered {
            let ending = self.given_up(why, incoming.progress);
            self.settle_whole(&incoming, ending, None, now);
        }
    }

    /// Nothing is left of what a gone webhook was owed: what comes now was put back, and waits for it to be enabled.
    pub(super) fn note_given_up(&self) {
        self.worker.outbox.flush();
        let (worker, inbox, no, id) =
            (Rc::clone(&self.worker), Rc::clone(&self.inbox), self.shared.no, self.shared.id);
        tokio::task::spawn_local(async move {
            if let Err(error) = worker.registry.note(no, |webhook| webhook.is_given_up = true).await {
                tracing::error!(webhook = %id, %error, "cannot note that a gone webhook's deliveries are given up");
            }
            inbox.write(|unread| unread.is_reconfigured = true);
        });
    }

    /// How a delivery ends that is given up with its webhook.
    pub(super) fn given_up(&self, why: GiveUp, progress: Progress) -> Ending {
        match why {
            GiveUp::Deleted => Ending::Dropped,
            GiveUp::Gone => {
                self.worker.metrics.dead.add(1);
                Ending::Dead { reason: reason::GONE.to_owned(), progress }
            }
        }
    }

    pub(super) fn settle(
        &mut self,
        payload: &Payload,
        ending: Ending,
        attempt: Option<AttemptRecord>,
        now: Now,
    ) {
        let event = payload.live.event();
        let origin = self.books.origin(event.seq, payload.retried_part).unwrap_or(Origin::Direct);
        // Whatever the webhook's `ordering` is now: it may be another when the row is read.
        let key = match ending {
            Ending::Retry { .. } | Ending::Dead { .. } => payload.live.key(),
            Ending::Delivered | Ending::Skipped { .. } | Ending::Dropped => None,
        };
        self.worker.outbox.settle(Settlement {
            webhook: self.shared.no,
            seq: event.seq,
            event_id: event.id.clone(),
            kind: event.kind,
            accepted_ms: event.accepted_at_ms,
            key,
            index: payload.index,
            part: payload.part,
            part_count: payload.part_count,
            origin,
            ending,
            at_ms: now.unix_ms,
            attempt,
        });
        if self.books.end(event.seq, payload.retried_part, payload.part) {
            self.free_place();
        }
    }

    /// Settles a delivery whose bodies were never taken apart.
    pub(super) fn settle_whole(
        &mut self,
        incoming: &Incoming,
        ending: Ending,
        attempt: Option<AttemptRecord>,
        now: Now,
    ) {
        let payload = Payload {
            live: Arc::clone(&incoming.live),
            index: incoming.index,
            retried_part: incoming.retried_part,
            part: incoming.retried_part.unwrap_or(0),
            part_count: 1,
            rendered: Arc::new(Rendered::Bodies(Vec::new())),
        };
        self.settle(&payload, ending, attempt, now);
    }
}
