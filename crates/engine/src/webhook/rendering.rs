//! Deliveries on their way through a plugin.
//!
//! While a format cannot be rendered at all (its plugin is left alone after faults, or is not loaded) a webhook holds
//! nothing in memory, as while its gate is shut: what it is owed waits on disk without using an attempt. One delivery at a
//! time is tried again.

use super::*;

/// While a format cannot be rendered at all: how often to look again.
const FORMAT_RETRY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rendering {
    /// In the order they came in, with what they gave: renderings end in any order, deliveries go on in theirs.
    under_way: VecDeque<(Incoming, Option<Arc<Rendered>>)>,
    /// Ticket of the first of them.
    first_ticket: u64,
    /// Those that cannot be rendered now, until they are let go of.
    put_off: Vec<Incoming>,
    /// Nothing is read before; 0: the format renders, as far as is known.
    pub(super) waits_until_ns: u64,
}

impl Rendering {
    /// Nothing is to come back from a plugin.
    pub(super) fn is_still(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// Everything that was not rendered.
    pub(super) fn take_all(&mut self) -> Vec<Incoming> {
        self.first_ticket += self.under_way.len() as u64;
        let under_way = self.under_way.drain(..).map(|(incoming, _)| incoming);
        under_way.chain(self.put_off.drain(..)).collect()
    }

    pub(super) fn take_put_off(&mut self) -> Vec<Incoming> {
        std::mem::take(&mut self.put_off)
    }

    fn push(&mut self, incoming: Incoming, rendered: Option<Arc<Rendered>>) -> u64 {
        self.under_way.push_back((incoming, rendered));
        self.first_ticket + self.under_way.len() as u64 - 1
    }

    fn pop(&mut self) -> Option<(Incoming, Arc<Rendered>)> {
        match self.under_way.pop_front()? {
            (incoming, Some(rendered)) => {
                self.first_ticket += 1;
                Some((incoming, rendered))
            }
            unrendered => {
                self.under_way.push_front(unrendered);
                None
            }
        }
    }
}

impl WebhookActor {
    /// Takes a delivery in whose event another webhook's delivery, or the engine itself, rendered already.
    pub(super) fn take_in_rendered(&mut self, incoming: Incoming, rendered: Arc<Rendered>, now: Now) {
        if self.rendering.is_still() {
            self.take_rendered(incoming, rendered, now);
        } else {
            self.rendering.push(incoming, Some(rendered));
        }
    }

    /// Sends a delivery through its webhook's plugin.
    pub(super) fn render(&mut self, incoming: Incoming, now: Now) {
        let Some(config) = &self.config else { return };
        let format = config.webhook.payload_format.clone();
        let rendering = self.worker.formatter.render(&format, Arc::clone(incoming.live.event()));
        let (inbox, metrics) = (Rc::clone(&self.inbox), Arc::clone(&config.format));
        let (live, clock) = (Arc::clone(&incoming.live), Arc::clone(&self.worker.clock));
        let ticket = self.rendering.push(incoming, None);
        tokio::task::spawn_local(async move {
            let rendered = Arc::new(rendering.await);
            if live.keep(&format, &rendered) && metrics.begin() {
                metrics.end(clock.now().mono_ns.saturating_sub(now.mono_ns));
            }
            inbox.write(|unread| unread.rendered.push(RenderedNews { ticket, rendered }));
        });
    }

    pub(super) fn handle_rendered(&mut self, news: RenderedNews, now: Now) {
        let place = news.ticket.checked_sub(self.rendering.first_ticket);
        if let Some(place) = place.and_then(|place| usize::try_from(place).ok())
            && let Some((_, rendered)) = self.rendering.under_way.get_mut(place)
        {
            *rendered = Some(news.rendered);
        }
        while let Some((incoming, rendered)) = self.rendering.pop() {
            self.take_rendered(incoming, rendered, now);
        }
    }

    /// Whether a delivery must not be taken in although it was rendered: one before it could not be.
    pub(super) fn is_behind_put_off(&self) -> bool {
        let is_ordered = self.machine.as_ref().is_some_and(|machine| machine.policy().ordering.is_key());
        is_ordered && self.rendering.has_put_off() && self.mode == Mode::Deliver
    }

    /// A delivery that cannot be rendered now: to be let go of, and what comes after it waits on disk as well.
    pub(super) fn put_off(&mut self, incoming: Incoming, message: &str, now: Now) {
        if self.rendering.waits_until_ns == 0 {
            tracing::info!(webhook = %self.shared.id, message, "deliveries wait for their format");
        }
        self.rendering.waits_until_ns = now.after(FORMAT_RETRY).mono_ns;
        self.rendering.put_off.push(incoming);
        self.shared.set_behind(true);
    }

    /// Whether what is read could not be rendered anyway. Asks the formatter when it is time to.
    pub(super) fn is_waiting_for_format(&mut self, now: Now) -> bool {
        if self.rendering.has_put_off() {
            return true;
        }
        if self.rendering.waits_until_ns == 0 {
            return false;
        }
        let Some(config) = &self.config else { return false };
        let format = &config.webhook.payload_format;
        if now.mono_ns >= self.rendering.waits_until_ns
            && !format.is_builtin()
            && !self.worker.formatter.is_ready(format)
        {
            self.rendering.waits_until_ns = now.after(FORMAT_RETRY).mono_ns;
        }
        now.mono_ns < self.rendering.waits_until_ns
    }
}
