//! Renders with one plugin, as the server does, and remembers what all checks want to know.

use super::ConformanceOptions;
use crate::admission::Admitted;
use crate::engine::Host;
use crate::instance::{Fault, Faulted, Instance};
use crate::limits::Limits;
use crate::output;
use fanfare_core::delivery::Rendered;
use fanfare_core::ports::Clock;
use std::sync::Arc;

/// Instances that must miss a deadline before it counts.
pub(super) const DEADLINE_TRIES: u32 = 3;

pub(super) struct Bench<'a> {
    pub(super) settings: &'a str,
    pub(super) clock: &'a dyn Clock,
    pub(super) memory_bytes_max: usize,
    host: Arc<Host>,
    admitted: Admitted,
    default_type: Arc<str>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(host: Arc<Host>, admitted: Admitted, options: &ConformanceOptions<'a>) -> Self {
        let default_type = admitted.manifest.content_type.as_str().into();
        let (settings, clock) = (options.settings, options.clock);
        Bench { settings, clock, memory_bytes_max: 0, host, admitted, default_type }
    }

    pub(super) fn limits(&self) -> Limits {
        self.admitted.manifest.limits
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now().mono_ns
    }

    pub(super) fn start(&self) -> Result<Instance, Faulted> {
        Instance::start(&self.host, &self.admitted.component, self.limits(), self.settings)
    }

    /// One render on this instance, which must not be used again after `Err`. What the plugin says is its own fault, or
    /// may not be sent, is [`Rendered::Fault`].
    pub(super) fn render(&mut self, instance: &mut Instance, event: &[u8]) -> Result<Rendered, Faulted> {
        let given = {
            let _running = self.host.run();
            instance.render(event)
        };
        self.memory_bytes_max = self.memory_bytes_max.max(instance.memory_bytes());
        output::checked(given?, &self.limits(), &self.default_type)
            .map_or_else(|message| Ok(Rendered::Fault { message }), Ok)
    }

    /// On the kept instance, made when there is none and kept while it is good. A deadline is tried again.
    pub(super) fn render_kept(
        &mut self,
        kept: &mut Option<Instance>,
        event: &[u8],
    ) -> Result<Rendered, Faulted> {
        let mut tries = 1;
        loop {
            let mut instance = match kept.take() {
                Some(instance) => instance,
                None => self.start()?,
            };
            match self.render(&mut instance, event) {
                Ok(rendered) => {
                    *kept = Some(instance);
                    return Ok(rendered);
                }
                Err((Fault::Deadline, _)) if tries < DEADLINE_TRIES => tries += 1,
                Err(faulted) => return Err(faulted),
            }
        }
    }

    /// On an instance of its own.
    pub(super) fn render_fresh(&mut self, event: &[u8]) -> Result<Rendered, Faulted> {
        self.render_kept(&mut None, event)
    }
}

/// For a line of the report.
pub(super) fn told((kind, text): &Faulted) -> String {
    format!("{}: {text}", kind.name())
}
