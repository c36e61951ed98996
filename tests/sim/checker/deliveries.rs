//! D1 to D4: every body owed, from its commit to its end.

use super::Breach;
use crate::journal::{At, DeliveryName, End, Form, Sent, Settled, Stored, WorldNs};
use fanfare_core::{Seq, WebhookNo};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// How the end of something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Not ended.
    No,
    /// By the process that lives now, not by the disk yet.
    Process,
    /// By the disk.
    Disk,
}

#[derive(Debug)]
struct Delivery {
    /// Hash of the body; `None`: it has none to send.
    body: Option<u64>,
    form: FormKind,
    is_in_flight: bool,
    /// The last attempt's number, and in which process it began.
    last_number: Option<(u32, u32)>,
    /// When its last attempt ended, in which process.
    last_end: Option<(WorldNs, u32)>,
    /// When it first succeeded since it was (last) forgotten.
    success: Option<(WorldNs, u32)>,
    /// The number of the last attempt on stable storage.
    stored_number: u32,
    end: Option<End>,
    known: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FormKind {
    Body,
    Skipped,
    Invalid,
}

#[derive(Default)]
pub(super) struct Deliveries {
    /// By the event's id.
    seqs: HashMap<Arc<str>, Seq>,
    all: BTreeMap<DeliveryName, Delivery>,
    life: u32,
    /// By process: what had ended before was on stable storage when it died.
    horizons: Vec<WorldNs>,
    dropped: BTreeSet<WebhookNo>,
    owed: usize,
}

impl Deliveries {
    pub(super) fn begin_life(&mut self) {
        self.life = u32::try_from(self.horizons.len()).unwrap_or(u32::MAX);
    }

    pub(super) fn end_life(&mut self, horizon: WorldNs) {
        self.horizons.push(horizon);
        for delivery in self.all.values_mut() {
            delivery.is_in_flight = false;
            if delivery.known == Known::Process {
                (delivery.known, delivery.end) = (Known::No, None);
            }
        }
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.seqs.contains_key(id)
    }

    pub(super) fn owed_count(&self) -> usize {
        self.owed
    }

    pub(super) fn store(&mut self, stored: &Stored) -> Result<(), Breach> {
        let Stored { id, seq, owed, .. } = stored;
        if self.seqs.insert(Arc::clone(id), *seq).is_some() {
            return Err(format!("D1: event {id} is stored twice"));
        }
        for (webhook, form) in owed {
            if self.dropped.contains(webhook) {
                continue;
            }
            let (kind, bodies): (FormKind, Vec<Option<u64>>) = match form {
                Form::Bodies(bodies) => (FormKind::Body, bodies.iter().copied().map(Some).collect()),
                Form::Skipped => (FormKind::Skipped, vec![None]),
                Form::Invalid => (FormKind::Invalid, vec![None]),
                Form::Unknown => continue,
            };
            for (part, body) in (0_u16..).zip(bodies) {
                let delivery = Delivery {
                    body,
                    form: kind,
                    is_in_flight: false,
                    last_number: None,
                    last_end: None,
                    success: None,
                    stored_number: 0,
                    end: None,
                    known: Known::No,
                };
                self.owed += 1;
                self.all.insert(DeliveryName { webhook: *webhook, seq: *seq, part }, delivery);
            }
        }
        Ok(())
    }

    /// A webhook is deleted with all it was owed.
    pub(super) fn drop_webhook(&mut self, no: WebhookNo) {
        self.dropped.insert(no);
        for (_, delivery) in self.all.range_mut(all_of(no)) {
            if delivery.known != Known::Disk {
                self.owed -= 1;
            }
            (delivery.end, delivery.known) = (Some(End::Dropped), Known::Disk);
        }
    }

    /// A request is sent. `is_again`: of the same attempt, on a new connection.
    pub(super) fn send(&mut self, sent: &Sent, is_again: bool) -> Result<DeliveryName, Breach> {
        let Some(seq) = self.seqs.get(&sent.event_id).copied() else {
            return Err(format!("D1: {}/{} is sent but was never stored", sent.event_id, sent.part));
        };
        let name = DeliveryName { webhook: sent.webhook, seq, part: sent.part };
        let is_dropped = self.dropped.contains(&sent.webhook);
        let Some(delivery) = self.all.get(&name) else {
            // Stored for a webhook that was gone already, and sent before its actor heard of that.
            let why = format!("D1: {name} is sent but not owed");
            return if is_dropped { Ok(name) } else { Err(why) };
        };
        if delivery.body != Some(sent.body_hash) {
            return Err(format!("D3: {name} is sent with another body"));
        }
        let number = sent.attempt_number;
        if is_again {
            let is_same = delivery.last_number.is_some_and(|(last, _)| last == number);
            return if is_same {
                Ok(name)
            } else {
                Err(format!("D3: {name} has a new number on a new connection"))
            };
        }
        if delivery.is_in_flight {
            return Err(format!("D4: {name} is sent while it is in flight"));
        }
        match (&delivery.end, delivery.known) {
            (None, _) | (_, Known::No) => {}
            (Some(End::Dropped), _) if is_dropped => {}
            (Some(End::Dead(why)), _) => {
                return Err(format!("D2: {name} is sent although it is dead ({why})"));
            }
            (Some(end), _) => return Err(format!("D4: {name} is sent although it ended: {end:?}")),
        }
        if let Some((at, life)) = delivery.success {
            if life == self.life {
                return Err(format!("D4: {name} comes again although nothing crashed"));
            }
            if is_remembered(&self.horizons, life, at) {
                return Err(format!(
                    "D4: {name} comes again although it succeeded at {}, too early to be forgotten",
                    At(at)
                ));
            }
        }
        if number <= delivery.stored_number {
            let stored = delivery.stored_number;
            return Err(format!("D3: {name} is sent as attempt {number} although {stored} is on disk"));
        }
        if let Some((last, life)) = delivery.last_number
            && number <= last
        {
            if life == self.life {
                return Err(format!("D3: {name} is sent as attempt {number} after {last}"));
            }
            if let Some((at, life)) = delivery.last_end
                && is_remembered(&self.horizons, life, at)
            {
                return Err(format!("D4: attempt {last} of {name} failed at {} and is forgotten", At(at)));
            }
        }
        let life = self.life;
        if let Some(delivery) = self.all.get_mut(&name) {
            delivery.is_in_flight = true;
            delivery.last_number = Some((number, life));
            delivery.last_end = None;
            delivery.success = None;
        }
        Ok(name)
    }

    pub(super) fn end(&mut self, at: WorldNs, name: DeliveryName, is_delivered: bool) {
        let life = self.life;
        if let Some(delivery) = self.all.get_mut(&name) {
            delivery.is_in_flight = false;
            delivery.last_end = Some((at, life));
            if is_delivered {
                delivery.success = Some((at, life));
            }
        }
    }

    pub(super) fn handed(&mut self, settled: &Settled) -> Result<(), Breach> {
        let name = settled.delivery;
        let Some(delivery) = self.all.get_mut(&name) else { return Ok(()) };
        if settled.end == End::Retry {
            return Ok(());
        }
        if let Some(end) = &delivery.end
            && delivery.known != Known::No
            && *end != End::Dropped
        {
            return Err(format!("D1: {name} ended as {end:?} and is settled again as {:?}", settled.end));
        }
        if delivery.known != Known::Disk {
            (delivery.end, delivery.known) = (Some(settled.end.clone()), Known::Process);
        }
        Ok(())
    }

    pub(super) fn committed(&mut self, settled: &Settled, was_gone: bool) -> Result<(), Breach> {
        let name = settled.delivery;
        let is_dropped = self.dropped.contains(&name.webhook);
        let Some(delivery) = self.all.get_mut(&name) else {
            let why = format!("D1: {name} is settled but not owed");
            return if is_dropped { Ok(()) } else { Err(why) };
        };
        if is_dropped {
            return Ok(());
        }
        if let Some(number) = settled.attempt_number {
            delivery.stored_number = delivery.stored_number.max(number);
        }
        let is_true = match &settled.end {
            End::Retry => return Ok(()),
            End::Delivered => delivery.success.is_some_and(|(_, life)| life == self.life),
            End::Skipped => delivery.form == FormKind::Skipped,
            End::Dropped => false,
            End::Dead(reason) => match reason.as_str() {
                "gone" => was_gone,
                "invalid_event" => delivery.form == FormKind::Invalid,
                // One that succeeded before a crash may be attempted again, and then fail for good.
                "exhausted" | "expired" | "blocked_address" => delivery
                    .success
                    .is_none_or(|(at, life)| life < self.life && !is_remembered(&self.horizons, life, at)),
                _ => false,
            },
        };
        if !is_true {
            return Err(format!("D1: {name} is settled as {:?}, which is not what happened", settled.end));
        }
        if delivery.known != Known::Disk {
            self.owed -= 1;
        }
        (delivery.end, delivery.known) = (Some(settled.end.clone()), Known::Disk);
        Ok(())
    }

    pub(super) fn put_back(&mut self, name: DeliveryName) -> Result<(), Breach> {
        let Some(delivery) = self.all.get_mut(&name) else { return Ok(()) };
        if !matches!((&delivery.end, delivery.known), (Some(End::Dead(_)), Known::Disk)) {
            return Err(format!("D1: {name} is put back although it is not dead"));
        }
        (delivery.end, delivery.known) = (None, Known::No);
        self.owed += 1;
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), Breach> {
        let owed = self.all.iter().find(|(_, delivery)| delivery.known != Known::Disk);
        owed.map_or(Ok(()), |(name, _)| Err(format!("D1: {name} never ended ({} are owed)", self.owed)))
    }

    /// Events of which a dead letter is kept.
    pub(super) fn events_kept(&self) -> usize {
        let is_dead = |(_, delivery): &(&DeliveryName, &Delivery)| matches!(delivery.end, Some(End::Dead(_)));
        let seqs: BTreeSet<Seq> = self.all.iter().filter(is_dead).map(|(name, _)| name.seq).collect();
        seqs.len()
    }
}

/// Whether what ended at that time in that process was on stable storage when it died.
fn is_remembered(horizons: &[WorldNs], life: u32, at: WorldNs) -> bool {
    horizons.get(life as usize).is_some_and(|horizon| at < *horizon)
}

fn all_of(webhook: WebhookNo) -> std::ops::RangeInclusive<DeliveryName> {
    let first = DeliveryName { webhook, seq: Seq(0), part: 0 };
    let last = DeliveryName { webhook, seq: Seq(u64::MAX), part: u16::MAX };
    first..=last
}
