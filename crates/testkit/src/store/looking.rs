//! What a test looks at in the memory store.

use super::MemoryStore;
use fanfare_core::delivery::{DeliveryKey, Settlement};
use fanfare_core::webhook::Webhook;
use fanfare_core::{Seq, WebhookNo};
use std::collections::BTreeSet;

impl MemoryStore {
    /// Everything settled so far, in order.
    #[must_use]
    pub fn settled(&self) -> Vec<Settlement> {
        self.state.lock().settled.clone()
    }

    /// Dead letters with their reasons.
    #[must_use]
    pub fn dead(&self) -> Vec<(WebhookNo, Seq, String)> {
        let state = self.state.lock();
        state
            .dead
            .iter()
            .map(|((no, seq, _), row)| (*no, *seq, row.reason.clone().unwrap_or_default()))
            .collect()
    }

    /// The same, by name.
    #[must_use]
    pub fn dead_keys(&self) -> BTreeSet<(WebhookNo, DeliveryKey)> {
        let state = self.state.lock();
        state.dead.keys().map(|(no, seq, part)| (*no, DeliveryKey { seq: *seq, part: *part })).collect()
    }

    /// All webhooks.
    #[must_use]
    pub fn webhooks(&self) -> Vec<Webhook> {
        self.state.lock().webhooks.values().cloned().collect()
    }

    /// Events that are still kept.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.state.lock().events.len()
    }

    /// Rows of the backlog index.
    #[must_use]
    pub fn parked_row_count(&self) -> usize {
        self.state.lock().parked.len()
    }

    /// Rows of the retry table.
    #[must_use]
    pub fn retry_row_count(&self) -> usize {
        self.state.lock().retries.len()
    }
}
