//! D5: of one key at most one delivery in flight, and none begins before the earlier ones are over. A delivery that was
//! put back after its death has lost its place.
//!
//! An end without a success is known to the engine before the store hears of it. So one that seems to overtake is kept
//! as a suspicion, until what it overtook is settled as ended (it was over) or is sent again (it was not).
//!
//! Not judged: who overtakes whom in a key of which something was put back, until the key is empty again. That only one of
//! a key is in flight is judged always.

use super::Breach;
use crate::journal::{At, DeliveryName, End, Form, Settled, WorldNs};
use fanfare_core::{Seq, WebhookNo};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub(super) struct KeyView {
    keys: HashMap<DeliveryName, u64>,
    /// By key: what is not over, in order.
    open: BTreeMap<u64, BTreeSet<DeliveryName>>,
    in_flight: BTreeMap<u64, DeliveryName>,
    /// What seems to be overtaken, by what, when.
    suspected: BTreeMap<DeliveryName, (DeliveryName, WorldNs)>,
    /// Keys whose order is not judged for now.
    disturbed: BTreeSet<u64>,
}

impl KeyView {
    pub(super) fn store(&mut self, webhook: WebhookNo, seq: Seq, key: Option<u64>, form: &Form) {
        let Some(key) = key else { return };
        let count = match form {
            Form::Bodies(bodies) => bodies.len(),
            Form::Skipped | Form::Invalid => 1,
            Form::Unknown => 0,
        };
        for part in (0_u16..).take(count) {
            let name = DeliveryName { webhook, seq, part };
            self.keys.insert(name, key);
            let open = self.open.entry(key).or_default();
            open.insert(name);
        }
    }

    fn close(&mut self, name: DeliveryName) {
        let Some(key) = self.keys.get(&name) else { return };
        if let Some(open) = self.open.get_mut(key) {
            open.remove(&name);
            if open.is_empty() {
                self.disturbed.remove(key);
            }
        }
    }

    pub(super) fn send(&mut self, at: WorldNs, name: DeliveryName) -> Result<(), Breach> {
        let Some(key) = self.keys.get(&name).copied() else { return Ok(()) };
        if let Some((by, when)) = self.suspected.get(&name) {
            return Err(format!("D5: {by} began at {} before {name} was over", At(*when)));
        }
        if let Some(other) = self.in_flight.insert(key, name) {
            return Err(format!("D5: {name} begins while {other} of the same key is in flight"));
        }
        if self.disturbed.contains(&key) {
            return Ok(());
        }
        let earlier = self.open.get(&key).into_iter().flatten().take_while(|other| **other < name);
        for other in earlier {
            self.suspected.entry(*other).or_insert((name, at));
        }
        Ok(())
    }

    pub(super) fn end(&mut self, name: DeliveryName, is_delivered: bool) {
        if let Some(key) = self.keys.get(&name) {
            self.in_flight.remove(key);
        }
        if is_delivered {
            self.close(name);
        }
    }

    pub(super) fn handed(&mut self, settled: &Settled) {
        if settled.end != End::Retry {
            self.close(settled.delivery);
            self.suspected.remove(&settled.delivery);
        }
    }

    pub(super) fn put_back(&mut self, name: DeliveryName) {
        if let Some(key) = self.keys.get(&name) {
            self.disturbed.insert(*key);
        }
        self.close(name);
        self.suspected.remove(&name);
    }

    /// What was not settled yet is forgotten, and with it whether it was over.
    pub(super) fn end_life(&mut self) {
        self.in_flight.clear();
        for (name, _) in std::mem::take(&mut self.suspected) {
            self.close(name);
        }
    }

    pub(super) fn finish(&self) -> Result<(), Breach> {
        self.suspected.iter().next().map_or(Ok(()), |(name, (by, when))| {
            Err(format!("D5: {by} began at {} before {name}, which is not over", At(*when)))
        })
    }
}
