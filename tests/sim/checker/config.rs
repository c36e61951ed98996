//! How a webhook may be configured at a moment: as it was stored last, or, while a change is not in force yet for
//! certain, as before.

use crate::journal::{Signature, WorldNs};
use fanfare_core::webhook::{DeliveryPolicy, RateLimit, Webhook, WebhookStatus};

/// One state of a webhook.
pub(super) struct Version {
    /// When whoever made it was told.
    answered: Option<WorldNs>,
    /// `None`: deleted.
    state: Option<Webhook>,
    /// Secrets the webhook had so far.
    secrets: usize,
}

/// What a change means to the other views.
pub(super) struct Change {
    pub(super) opens_gate: bool,
    pub(super) is_enabled_again: bool,
    pub(super) is_limit_new: bool,
}

#[derive(Default)]
pub(super) struct Versions(Vec<Version>);

impl Version {
    pub(super) fn is_enabled(&self) -> bool {
        self.state.as_ref().is_some_and(|webhook| webhook.status == WebhookStatus::Enabled)
    }

    pub(super) fn is_at(&self, url: &str) -> bool {
        self.state.as_ref().is_some_and(|webhook| webhook.url == url)
    }

    fn is_owed(&self, channel: &str, kind_bit: u8) -> bool {
        let wants =
            |webhook: &Webhook| webhook.channel.as_str() == channel && webhook.kinds().0 & kind_bit != 0;
        self.is_enabled() && self.state.as_ref().is_some_and(wants)
    }

    pub(super) fn in_flight_max(&self) -> Option<u16> {
        let webhook = self.state.as_ref()?;
        Some(webhook.delivery.effective(&DeliveryPolicy::default()).max_in_flight)
    }

    pub(super) fn limit(&self) -> Option<Option<RateLimit>> {
        self.state.as_ref().map(|webhook| webhook.delivery.rate_limit)
    }

    /// The newest secret signs; beside it the one before may, when a rotation left it valid.
    pub(super) fn signs_so(&self, signature: Signature) -> bool {
        let Some(webhook) = &self.state else { return false };
        match (&webhook.signing, signature) {
            (None, Signature::None) => true,
            (Some(signing), Signature::By { secret, also }) => {
                secret + 1 == self.secrets
                    && also.is_none_or(|also| signing.previous.is_some() && also + 1 == secret)
            }
            _ => false,
        }
    }
}

impl Versions {
    pub(super) fn configure(&mut self, _at: WorldNs, state: Option<&Webhook>, secrets: usize) -> Change {
        let former = self.0.last().and_then(|version| version.state.as_ref());
        let url_of = |webhook: Option<&Webhook>| webhook.map(|webhook| webhook.url.clone());
        let limit_of = |webhook: Option<&Webhook>| webhook.and_then(|webhook| webhook.delivery.rate_limit);
        let was_enabled = former.is_some_and(|webhook| webhook.status == WebhookStatus::Enabled);
        let is_enabled = state.is_some_and(|webhook| webhook.status == WebhookStatus::Enabled);
        let change = Change {
            opens_gate: former.is_some() && (url_of(former) != url_of(state) || (is_enabled && !was_enabled)),
            is_enabled_again: is_enabled && !was_enabled,
            is_limit_new: former.is_some() && limit_of(former) != limit_of(state),
        };
        self.0.push(Version { answered: None, state: state.cloned(), secrets });
        change
    }

    /// The oldest change that was not answered yet is.
    pub(super) fn answered(&mut self, at: WorldNs) {
        if let Some(version) = self.0.iter_mut().find(|version| version.answered.is_none()) {
            version.answered = Some(at);
        }
    }

    /// A process read what is stored.
    pub(super) fn restart(&mut self, at: WorldNs) {
        if let Some(mut last) = self.0.pop() {
            last.answered = Some(at);
            self.0 = vec![last];
        }
    }

    /// The states it may be in at that moment, when a change is in force so long after its answer.
    pub(super) fn possible(&self, at: WorldNs, slack: WorldNs) -> impl Iterator<Item = &Version> {
        let is_in_force = |version: &Version| version.answered.is_some_and(|answered| answered + slack < at);
        let from = self.0.iter().rposition(is_in_force).unwrap_or(0);
        self.0.iter().skip(from)
    }

    /// Whether an event routed at that moment may be owed (or not owed).
    pub(super) fn may_be_owed(&self, at: WorldNs, channel: &str, kind_bit: u8, is_owed: bool) -> bool {
        let is_in_force = |version: &Version| version.answered.is_some_and(|answered| answered < at);
        let from = self.0.iter().rposition(is_in_force);
        // Before its first state is in force it was not there at all.
        let may_be_absent = from.is_none() && !is_owed;
        let mut versions = self.0.iter().skip(from.unwrap_or(0));
        may_be_absent || versions.any(|version| version.is_owed(channel, kind_bit) == is_owed)
    }

    /// Whether it has `ordering: KEY` (which is never changed here).
    pub(super) fn is_ordered(&self) -> bool {
        self.0.last().and_then(|version| version.state.as_ref()).is_some_and(Webhook::is_ordered)
    }
}
