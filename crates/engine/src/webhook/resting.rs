//! When to wake up again, and when to sleep.

use super::reading_on::Appetite;
use super::*;
use crate::asking::Asleep;

impl WebhookActor {
    pub(super) fn plan(&mut self, now: Now, ctx: &mut Context<Self>) {
        let Some(machine) = &self.machine else {
            if matches!(self.mode, Mode::GiveUp(GiveUp::Deleted)) && self.books.len() == 0 {
                self.stop(ctx);
            }
            return;
        };
        let is_idle = machine.held() == 0
            && self.rendering.is_still()
            && self.books.len() == 0
            && !self.books.is_reading()
            && self.inbox.is_empty();
        if matches!(self.mode, Mode::GiveUp(GiveUp::Deleted)) && is_idle {
            return self.stop(ctx);
        }
        let is_given_up = self.mode == Mode::GiveUp(GiveUp::Gone)
            && is_idle
            && self.books.cursor().is_none()
            && self.next_due_ms == u64::MAX
            && !self.shared.is_behind();
        if is_given_up && !std::mem::replace(&mut self.is_noting_given_up, true) {
            self.note_given_up();
        }
        let mut at_ns = if self.is_config_stale { self.not_before_ns } else { u64::MAX };
        if let Some(wait) = machine.next_wakeup(now) {
            at_ns = at_ns.min(now.after(wait.max(Duration::from_millis(1))).mono_ns);
        }
        let is_giving_up = self.mode == Mode::GiveUp(GiveUp::Gone);
        let is_reader = self.shared.is_enabled() || is_giving_up;
        let wants_more = self.books.cursor().is_some() && is_reader;
        if !self.books.is_reading() && is_reader && !self.is_waiting_for_room {
            // While the gate is shut nothing is read.
            let shut_ns = match machine.gate().state() {
                GateState::Shut { until_ns, .. } if !is_giving_up => until_ns,
                _ => 0,
            };
            let shut_ns = if is_giving_up { 0 } else { shut_ns.max(self.rendering.waits_until_ns) };
            // Beside a probe nothing is read; its outcome wakes.
            let at_opening = Now { mono_ns: now.mono_ns.max(shut_ns), ..now };
            let has_appetite = is_giving_up || self.appetite(machine, at_opening) != Appetite::None;
            let may_read_due =
                self.books.retries_held() < self.due_held_max() && has_appetite && !self.is_index_first;
            if self.next_due_ms != u64::MAX && may_read_due {
                let wait_ms = self.next_due_ms.saturating_sub(now.unix_ms).max(1);
                at_ns = at_ns.min(now.after(Duration::from_millis(wait_ms)).mono_ns.max(shut_ns));
            }
            // With a gate that is open whatever is held wakes when it ends.
            let is_room = is_idle || (shut_ns > 0 && self.books.len() * 2 <= self.shared.window() as usize);
            if wants_more && has_appetite && is_room {
                at_ns = at_ns.min(now.after(Duration::from_millis(5)).mono_ns.max(shut_ns));
            }
        }
        if self.rendering.waits_until_ns > now.mono_ns {
            at_ns = at_ns.min(self.rendering.waits_until_ns);
        }
        if self.worker.outbox.is_full() && machine.ready() > 0 {
            at_ns = at_ns.min(now.after(Duration::from_millis(5)).mono_ns);
        }
        let idle_ns = now.mono_ns.saturating_sub(self.last_active_ns);
        if machine.in_flight() == 0
            && idle_ns >= IDLE_CONNECTIONS.as_nanos() as u64
            && let Some(config) = &self.config
        {
            config.connections.close_idle();
        }
        let sleep_ns = self.worker.idle_sleep.as_nanos() as u64;
        let may_sleep = !is_reader || (!wants_more && !self.shared.is_behind());
        if is_idle && may_sleep && self.shared.queued() == 0 && idle_ns >= sleep_ns {
            return self.sleep(ctx);
        }
        let idle_at_ns =
            self.last_active_ns.saturating_add(if idle_ns < IDLE_CONNECTIONS.as_nanos() as u64 {
                (IDLE_CONNECTIONS.as_nanos() as u64).min(sleep_ns)
            } else {
                sleep_ns
            });
        at_ns = at_ns.min(idle_at_ns.max(now.after(Duration::from_secs(1)).mono_ns));
        self.set_timer(at_ns, now, ctx);
    }

    /// One timer; an earlier one that stands already is left to fire and plan anew.
    pub(super) fn set_timer(&mut self, at_ns: u64, now: Now, ctx: &mut Context<Self>) {
        if let Some((handle, set_ns)) = self.timer {
            if set_ns <= at_ns && set_ns > now.mono_ns {
                return;
            }
            ctx.cancel_future(handle);
        }
        let wait = Duration::from_nanos(at_ns.saturating_sub(now.mono_ns)).max(Duration::from_millis(1));
        let handle = ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.pump(ctx);
        });
        self.timer = Some((handle, at_ns));
    }

    pub(super) fn sleep(&mut self, ctx: &mut Context<Self>) {
        if let Some(machine) = self.machine.take() {
            let asleep =
                Asleep { memory: machine.into_memory(), last_failure: self.vitals.last_failure.take() };
            let is_kept = !asleep.memory.is_at_rest() || asleep.last_failure.is_some();
            *self.shared.asleep.lock() = is_kept.then(|| Box::new(asleep));
        }
        if self.books.cursor().is_some() {
            // Of a disabled one: to be read when it is enabled.
            self.shared.set_behind(true);
        }
        self.shared.next_due_ms.store(self.next_due_ms, Ordering::Relaxed);
        if self.next_due_ms != u64::MAX {
            self.worker.wake_at(self.next_due_ms, self.shared.no);
        }
        self.stop(ctx);
    }

    pub(super) fn stop(&mut self, ctx: &mut Context<Self>) {
        self.is_stopping = true;
        self.worker.forget(self.shared.no);
        ctx.stop();
    }
}
