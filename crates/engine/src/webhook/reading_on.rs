//! More of what is owed, read from disk when there is room: the backlog index and due retries.

use super::*;
use crate::live::SetAside;
use fanfare_core::Seq;
use fanfare_core::limits::BACKLOG_ROW_DELIVERIES_MAX;

/// Bytes asked for a delivery that will be read, about: its event and what it costs in memory beside it.
const DELIVERY_BYTES: u64 = 2 * 1024;
/// A receiver whose gate stays shut so long gets its deliveries back from disk when it is tried again.
const LET_GO_AFTER: Duration = Duration::from_secs(2);

/// How much may be read from disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appetite {
    /// Whatever there is room for.
    Any,
    /// One delivery, to try with.
    One,
    /// Nothing.
    None,
}

impl WebhookActor {
    pub(super) fn read_on(&mut self, now: Now) {
        if self.books.is_reading() || self.worker.is_draining() || now.mono_ns < self.not_before_ns {
            return;
        }
        let is_giving_up = matches!(self.mode, Mode::GiveUp(GiveUp::Gone));
        if !is_giving_up && self.is_waiting_for_format(now) {
            return;
        }
        let Some(machine) = &self.machine else { return };
        if !self.shared.is_enabled() && !is_giving_up {
            return;
        }
        let appetite = if is_giving_up { Appetite::Any } else { self.appetite(machine, now) };
        if appetite == Appetite::None {
            return;
        }
        let is_trying = appetite == Appetite::One;
        if !self.learning.is_done() && !is_giving_up {
            return self.learn_on();
        }
        let window = self.shared.window() as usize;
        let is_due = self.next_due_ms <= now.unix_ms || (is_giving_up && self.next_due_ms != u64::MAX);
        let held_max = self.due_held_max();
        self.is_index_first &= self.is_recovering || self.books.cursor().is_some();
        if is_due && !self.is_index_first && self.books.retries_held() < held_max {
            let count = if is_trying { 1 } else { DUE_COUNT.max(held_max / 2) };
            return self.read_due(if is_giving_up { u64::MAX } else { now.unix_ms }, count);
        }
        if let Some(from) = self.books.cursor()
            && self.books.len() * 2 <= window
        {
            let room = (window - self.books.len()).min(PAGE_DELIVERIES);
            let deliveries_max = if is_trying { 1 } else { room };
            self.read_page(from, deliveries_max);
        }
    }

    /// Until its gate may open, or its format may be there again, a webhook needs nothing, and then no more than the
    /// probe: none beside one that is under way or about to begin. Attempts that still hang from before the gate shut
    /// are no probe.
    pub(super) fn appetite(&self, machine: &Machine<Payload>, now: Now) -> Appetite {
        let (is_shut, is_probing) = match machine.gate().state() {
            GateState::Open { .. } if self.rendering.waits_until_ns > 0 => (false, self.books.len() > 0),
            GateState::Open { .. } => return Appetite::Any,
            GateState::Shut { until_ns, .. } => {
                (now.mono_ns < until_ns, machine.ready() > 0 || !self.rendering.is_still())
            }
            GateState::Probing { .. } => (false, self.books.len() > 0),
        };
        if is_shut || is_probing { Appetite::None } else { Appetite::One }
    }

    /// Room in the budget of all webhooks for so many deliveries, or for fewer; without any the actor is woken when
    /// there is some.
    fn room_for(&mut self, count_max: usize, count_min: usize) -> Option<(SetAside, usize)> {
        let aside = self.worker.budget.set_aside(count_max, count_min, DELIVERY_BYTES);
        if aside.is_none() && !std::mem::replace(&mut self.is_waiting_for_room, true) {
            self.worker.wait_for_room(&self.inbox);
        }
        aside
    }

    /// Reads come after what was settled: the store carries requests out in their order.
    fn read_page(&mut self, from: Seq, deliveries_max: usize) {
        self.worker.outbox.flush();
        if !self.worker.outbox.is_empty() {
            return;
        }
        // A page ends with a whole row, however few are asked for.
        let row = BACKLOG_ROW_DELIVERIES_MAX - 1;
        let Some((aside, count)) = self.room_for(deliveries_max + row, 1 + row) else { return };
        let deliveries_max = count - row;
        self.books.begin_read();
        let bytes = deliveries_max.saturating_mul(DELIVERY_BYTES as usize);
        let request = PageRequest {
            webhook: self.shared.no,
            from,
            deliveries_max,
            bytes_max: bytes.clamp(PAGE_BYTES_MIN, PAGE_BYTES),
        };
        let page = self.worker.store.page(request);
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let page = page.await;
            inbox.write(|unread| unread.pages.push((page, aside)));
        });
    }

    fn read_due(&mut self, until_ms: u64, count: usize) {
        self.worker.outbox.flush();
        if !self.worker.outbox.is_empty() {
            return;
        }
        let Some((aside, count)) = self.room_for(count, 1) else { return };
        self.books.begin_read();
        self.next_due_ms = u64::MAX;
        if let Some(machine) = &mut self.machine {
            machine.begin_read();
        }
        let due = self.worker.store.due(self.shared.no, until_ms, count + self.books.retries_held());
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let due = due.await;
            inbox.write(|unread| unread.due.push((due, aside)));
        });
    }

    /// While its gate stays shut, or its format cannot be rendered, a webhook holds nothing in memory: however many are down, they cost their backlog on
    /// disk and nothing else. What it had is there already, or is put there, as after a restart.
    pub(super) fn let_go(&mut self, now: Now) {
        let Some(machine) = &mut self.machine else { return };
        let is_shut_for_long = match machine.gate().state() {
            GateState::Shut { until_ns, shut_for, .. } => shut_for >= LET_GO_AFTER && now.mono_ns < until_ns,
            GateState::Open { .. } | GateState::Probing { .. } => false,
        };
        // What is rendered already is delivered first.
        let is_without_format = self.rendering.has_put_off() && machine.held() == 0;
        if !(is_shut_for_long || is_without_format)
            || self.mode != Mode::Deliver
            || self.books.len() == 0
            || self.books.is_reading()
            || machine.in_flight() > 0
            || !self.rendering.is_still()
            || self.has_lost_memory
        {
            return;
        }
        let used_up = self.books.take_used_up();
        self.worker.outbox.drop_chunks(self.shared.no, used_up);
        self.worker.outbox.flush();
        if !self.worker.outbox.is_empty() {
            return;
        }
        drop(machine.drain_ready());
        drop(self.rendering.take_put_off());
        if machine.policy().ordering.is_key() {
            self.learning.begin();
        }
        let places = u32::try_from(self.books.len()).unwrap_or(u32::MAX);
        self.shared.release(places);
        self.inbox.free_places(places);
        if self.books.retries_held() > 0 {
            // Their rows are still there.
            self.next_due_ms = self.next_due_ms.min(now.unix_ms);
        }
        let holds_direct = self.books.holds_direct();
        self.books = HeldBooks::default();
        if holds_direct {
            self.recover_memory();
        } else {
            self.shared.set_behind(true);
            self.books.handle_news(true);
        }
    }

    pub(super) fn handle_page(
        &mut self,
        page: Result<fanfare_core::ports::Page, fanfare_core::ports::StoreError>,
        now: Now,
    ) {
        match page {
            Ok(page) => {
                self.is_index_first = false;
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

    /// With `ordering: KEY`: whether older ones of its key may be known to the unread part of the backlog index alone. So
    /// it is with a row that found no room in memory behind others of its key, which were there then and are not now (a
    /// restart, or the actor let go); such a row was never attempted.
    fn is_behind_index(&self, owed: &Owed) -> bool {
        let is_ordered = self.machine.as_ref().is_some_and(|machine| machine.policy().ordering.is_key());
        let is_unread = || self.books.cursor().is_some_and(|cursor| cursor <= owed.event.seq);
        self.mode == Mode::Deliver
            && is_ordered
            && owed.progress.attempt_number == 1
            && (self.is_recovering || is_unread())
    }

    pub(super) fn handle_due(
        &mut self,
        due: Result<fanfare_core::ports::DueRetries, fanfare_core::ports::StoreError>,
        now: Now,
    ) {
        match due {
            Ok((owed, next_ms)) => {
                self.next_due_ms = self.next_due_ms.min(next_ms.unwrap_or(u64::MAX));
                let mut fresh = self.books.handle_due(owed);
                let count = fresh.len();
                fresh.retain(|owed| !self.is_behind_index(owed));
                if fresh.len() < count {
                    self.is_index_first = true;
                    self.next_due_ms = self.next_due_ms.min(now.unix_ms);
                }
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
