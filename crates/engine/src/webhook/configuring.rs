//! What the actor knows of its webhook: read from the store at its start and after each change.

use super::*;

impl WebhookActor {
    /// Reads the webhook from the store; `false`: not now.
    pub(super) fn load(&mut self, now: Now) -> bool {
        let webhook = match self.worker.store.webhook(self.shared.no) {
            Ok(Some(webhook)) => webhook,
            Ok(None) => {
                self.mode = Mode::GiveUp(GiveUp::Deleted);
                self.shared.close_route();
                if let Some(config) = &self.config {
                    config.connections.close_idle();
                }
                return true;
            }
            Err(error) => {
                tracing::error!(webhook = %self.shared.id, %error, "cannot read a webhook; tried again");
                self.not_before_ns = now.after(STORE_RETRY).mono_ns;
                return false;
            }
        };
        let policy = webhook.delivery.effective(&self.worker.defaults);
        let is_enabled = webhook.status == WebhookStatus::Enabled;
        self.mode = match webhook.disabled_reason.as_deref() {
            Some(reason::GONE) if !is_enabled && !webhook.is_given_up => Mode::GiveUp(GiveUp::Gone),
            _ => Mode::Deliver,
        };
        let timeout = Duration::from_millis(policy.timeout_ms.into());
        let destination = destination(&webhook, &self.worker.hub_signature_name);
        let former = self.config.take();
        let is_same_receiver = former.as_ref().is_some_and(|f| {
            f.webhook.url == webhook.url
                && f.webhook.auth == webhook.auth
                && f.webhook.delivery.protocol == webhook.delivery.protocol
                && f.webhook.signing.is_some() == webhook.signing.is_some()
        });
        if former.as_ref().is_some_and(|former| former.webhook.payload_format != webhook.payload_format) {
            self.rendering.waits_until_ns = 0;
        }
        let connections = match &former {
            Some(former) if is_same_receiver => Rc::clone(&former.connections),
            _ => match self.worker.transport.receiver(&destination) {
                Ok(receiver) => {
                    let is_tls = webhook.url.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("https:"));
                    Connections::new(receiver, policy.protocol, is_tls)
                }
                Err(error) => {
                    tracing::error!(webhook = %self.shared.id, %error, "cannot prepare a receiver; tried again");
                    self.config = former;
                    self.not_before_ns = now.after(STORE_RETRY).mono_ns;
                    return false;
                }
            },
        };
        let is_gate_reset = self.shared.takes_gate_reset();
        let was_ordered = self.machine.as_ref().is_some_and(|m| m.policy().ordering.is_key());
        if policy.ordering.is_key() && !was_ordered {
            self.learning.begin();
        }
        let machine = match &mut self.machine {
            Some(machine) => {
                machine.handle_policy(policy, now);
                machine
            }
            None => {
                let memory = match self.shared.asleep.lock().take() {
                    Some(asleep) => {
                        self.vitals.last_failure = asleep.last_failure;
                        asleep.memory
                    }
                    None if self.shared.takes_over() => Memory::after_restart(webhook.failing_since_ms),
                    None => Memory::default(),
                };
                self.machine.insert(Machine::new(policy, self.worker.gate_policy, memory, now))
            }
        };
        machine.set_paused(!is_enabled || self.worker.is_draining() || self.is_disabling.get());
        if is_gate_reset {
            machine.open_gate(now);
        }
        let overlap_until_ms =
            webhook.signing.as_ref().and_then(|s| s.previous.as_ref()).map(|(_, until_ms)| *until_ms);
        self.config = Some(Config {
            id_text: webhook.id.to_string(),
            keys: None,
            overlap_until_ms,
            connections,
            timeout,
            format: self.worker.metrics.format(&webhook.payload_format),
            webhook,
        });
        self.make_keys(now);
        true
    }

    pub(super) fn make_keys(&mut self, now: Now) {
        let Some(config) = &mut self.config else { return };
        let is_overlap = config.overlap_until_ms.is_some_and(|until_ms| now.unix_ms < until_ms);
        if !is_overlap {
            config.overlap_until_ms = None;
        }
        config.keys = config.webhook.signing.as_ref().map(|signing| {
            let previous = signing.previous.as_ref().filter(|_| is_overlap).map(|(secret, _)| &secret.0);
            SigningKeys::new(&signing.current.0, previous)
        });
    }
}
