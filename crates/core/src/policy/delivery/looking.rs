//! What a caller may look at in a machine.

use super::{Machine, Slot};
use crate::policy::gate::Gate;
use crate::webhook::DeliveryPolicy;

impl<T> Machine<T> {
    /// What was handed in with a delivery.
    #[must_use]
    pub fn payload(&self, slot: Slot) -> Option<&T> {
        self.entries.get(slot.0 as usize)?.as_ref().map(|entry| &entry.payload)
    }

    /// The same, to change.
    pub fn payload_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.entries.get_mut(slot.0 as usize)?.as_mut().map(|entry| &mut entry.payload)
    }

    /// Attempts in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// Deliveries ready to be attempted.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.fresh.len() + self.retries.len()
    }

    /// Everything it holds: ready, in flight, or behind an earlier one of its key.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ready() + self.in_flight() + self.behind_key
    }

    /// Keys that have something waiting or in flight.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.order.len()
    }

    /// Number of the last read of the retry table that began, for [`KeyPlace::read_no`] of what it brings.
    ///
    /// [`KeyPlace::read_no`]: super::KeyPlace::read_no
    #[must_use]
    pub fn read_no(&self) -> u64 {
        self.order.read_no()
    }

    /// The gate, for health and tests.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The settings in force.
    #[must_use]
    pub fn policy(&self) -> &DeliveryPolicy {
        &self.policy
    }
}
