//! More of what is owed, read from disk when there is room: the backlog index and due retries.

use super::*;

impl WebhookActor {
    pub(super) fn read_on(&mut self, now: Now) {
        if self.books.is_reading() || self.worker.is_draining.get() || now.mono_ns < self.not_before_ns {
            return;
        }
        let Some(machine) = &self.machine else { return };
        let is_giving_up = matches!(self.mode, Mode::GiveUp(GiveUp::Gone));
        if !self.shared.is_enabled() && !is_giving_up {
            return;
        }
        // With its gate shut it needs no more than the probe.
        let is_shut =
            matches!(machine.gate().state(), GateState::Shut { until_ns, .. } if now.mono_ns < until_ns);
        if is_shut && self.books.len() > 0 && !is_giving_up {
            return;
        }
        if !self.learning.is_done() && !is_giving_up {
            return self.learn_on();
        }
        let window = self.shared.window() as usize;
        let is_due = self.next_due_ms <= now.unix_ms || (is_giving_up && self.next_due_ms != u64::MAX);
        if is_due && self.books.retries_held() < self.due_held_max() {
            return self.read_due(if is_giving_up { u64::MAX } else { now.unix_ms });
        }
        if let Some(from) = self.books.cursor()
            && self.books.len() * 2 <= window
        {
            self.read_page(PageRequest {
                webhook: self.shared.no,
                from,
                deliveries_max: (window - self.books.len()).min(PAGE_DELIVERIES),
                bytes_max: PAGE_BYTES,
            });
        }
    }

    /// Reads come after what was settled: the store carries requests out in their order.
    pub(super) fn read_page(&mut self, request: PageRequest) {
        self.worker.outbox.flush();
        if !self.worker.outbox.is_empty() {
            return;
        }
        self.books.begin_read();
        let page = self.worker.store.page(request);
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let page = page.await;
            inbox.write(|unread| unread.pages.push(page));
        });
    }

    pub(super) fn read_due(&mut self, until_ms: u64) {
        self.worker.outbox.flush();
        if !self.worker.outbox.is_empty() {
            return;
        }
        self.books.begin_read();
        self.next_due_ms = u64::MAX;
        let count = DUE_COUNT + self.books.retries_held();
        let due = self.worker.store.due(self.shared.no, until_ms, count);
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let due = due.await;
            inbox.write(|unread| unread.due.push(due));
        });
    }

    pub(super) fn handle_page(
        &mut self,
        page: Result<fanfare_core::ports::Page, fanfare_core::ports::StoreError>,
        now: Now,
    ) {
        match page {
            Ok(page) => {
                let fresh = self.books.handle_page(page);
                self.reserve_places(fresh.len());
                for owed in fresh {
                    let incoming = self.incoming(owed);
                    self.take_in(incoming, now);
                }
                let used_up = self.books.take_used_up();
                self.worker.outbox.drop_chunks(self.shared.no, used_up);
                if self.books.cursor().is_none() {
                    self.shared.set_behind(false);
                }
            }
            Err(error) => {
                tracing::error!(webhook = %self.shared.id, %error, "cannot read a backlog; tried again");
                self.books.fail_read();
                self.not_before_ns = now.after(STORE_RETRY).mono_ns;
            }
        }
    }

    pub(super) fn handle_due(
        &mut self,
        due: Result<fanfare_core::ports::DueRetries, fanfare_core::ports::StoreError>,
        now: Now,
    ) {
        match due {
            Ok((owed, next_ms)) => {
                self.next_due_ms = self.next_due_ms.min(next_ms.unwrap_or(u64::MAX));
                let fresh = self.books.handle_due(owed);
                self.reserve_places(fresh.len());
                for owed in fresh {
                    let incoming = self.incoming(owed);
                    self.take_in(incoming, now);
                }
            }
            Err(error) => {
                tracing::error!(webhook = %self.shared.id, %error, "cannot read due retries; tried again");
                self.books.fail_read();
                self.next_due_ms = self.next_due_ms.min(now.unix_ms);
                self.not_before_ns = now.after(STORE_RETRY).mono_ns;
            }
        }
    }
}
