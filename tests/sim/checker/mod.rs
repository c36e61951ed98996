//! The standing checker: hears of everything that happens in a world and says what breaks a promise
//! (`fanfare_core::invariants`), by id.
//!
//! It shares no code with the engine: what may happen is worked out anew from what a receiver, a producer and a disk
//! can see. Where two things race (a change of a webhook and an attempt), both orders are allowed, for the 100 ms that
//! the contract gives; nowhere else.
//!
//! | id | checked |
//! | --- | --- |
//! | D1 | a 202 means stored; who is owed is who was subscribed; every owed body ends once, and as it is said to |
//! | D2 | nothing is sent of a dead delivery until it is put back |
//! | D3 | body and signature are what they must be; attempt numbers rise |
//! | D4 | nothing comes twice but what was in flight at a crash, or had ended within 100 ms before it |
//! | D5 | with keys: one in flight of a key, none begins before an earlier one is over |
//! | D6 | the rate limit over every window, as a leaky bucket in exact time |
//! | D7 | attempts in flight |
//! | D8 | a gate worked out from what attempts came to; a paused or deleted webhook is left alone |
//! | D9 | bytes of events in memory |
//! | D10 | rows and events left at the end |

mod config;
mod deliveries;
mod gate;
mod keys;
mod limit;
mod tests;

use crate::journal::{AttemptNo, Ended, Entry, MS, Sent, WorldNs};
use config::Versions;
use deliveries::Deliveries;
use fanfare_core::WebhookNo;
use fanfare_core::policy::gate::GatePolicy;
use gate::GateView;
use keys::KeyView;
use limit::LimitView;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What breaks a promise: the id and what was seen.
pub(crate) type Breach = String;

/// A change takes effect so long after it was answered, at the latest.
const CHANGE_NS: WorldNs = 100 * MS;
/// A crash may forget so much.
const FORGET_NS: WorldNs = 100 * MS;

/// An attempt under way.
#[derive(Debug)]
struct Attempt {
    webhook: WebhookNo,
    begun: WorldNs,
    delivery: Option<crate::journal::DeliveryName>,
}

/// One webhook, as the checker sees it.
#[derive(Default)]
struct Watched {
    versions: Versions,
    gate: GateView,
    limit: LimitView,
    keys: KeyView,
    in_flight: usize,
    /// A 410 came: nothing may begin until it is enabled again.
    gone_at: Option<WorldNs>,
    was_ever_gone: bool,
}

/// An ingest call under way.
struct Push {
    at: WorldNs,
    ids: Vec<Option<Arc<str>>>,
}

#[derive(Default)]
pub(crate) struct Checker {
    webhooks: BTreeMap<WebhookNo, Watched>,
    deliveries: Deliveries,
    attempts: HashMap<AttemptNo, Attempt>,
    pushes: BTreeMap<u32, Push>,
    /// By id: the calls that may store the event.
    pushed: HashMap<Arc<str>, Vec<u32>>,
    accepted: usize,
    stored: usize,
    excuses: Vec<(WorldNs, WorldNs)>,
    gate: GatePolicy,
}

impl Checker {
    /// Judges one thing that happened.
    pub(crate) fn handle(&mut self, at: WorldNs, entry: &Entry) -> Result<(), Breach> {
        match entry {
            Entry::Started { gate } => {
                self.gate = *gate;
                self.deliveries.begin_life();
                for watched in self.webhooks.values_mut() {
                    watched.versions.restart(at);
                    watched.gate = GateView::open(*gate);
                    watched.gone_at = None;
                }
                Ok(())
            }
            Entry::Crashed { .. } => {
                let horizon = self.horizon(at);
                self.end_life(horizon);
                Ok(())
            }
            Entry::Drained { is_clean } => {
                let horizon = if *is_clean { WorldNs::MAX } else { self.horizon(at) };
                self.end_life(horizon);
                Ok(())
            }
            Entry::Pushed { push, events, .. } => {
                let ids: Vec<Option<Arc<str>>> = events.iter().map(|(id, _)| id.clone()).collect();
                for id in ids.iter().flatten() {
                    self.pushed.entry(Arc::clone(id)).or_default().push(*push);
                }
                self.pushes.insert(*push, Push { at, ids });
                Ok(())
            }
            Entry::Accepted { push, accepted, duplicates } => self.accept(*push, *accepted, *duplicates),
            Entry::Refused { push } => {
                self.close_push(*push);
                Ok(())
            }
            Entry::Stored(stored) => self.store(stored),
            Entry::Configured { webhook, state, secrets } => {
                self.configure(at, *webhook, state.as_deref(), *secrets)
            }
            Entry::ConfigAnswered { webhook } => {
                if let Some(watched) = self.webhooks.get_mut(webhook) {
                    watched.versions.answered(at);
                }
                Ok(())
            }
            Entry::Excused { from } => {
                self.excuses.push((*from, at));
                Ok(())
            }
            Entry::Handed(settled) => {
                for one in settled {
                    self.deliveries.handed(one)?;
                    if let Some(watched) = self.webhooks.get_mut(&one.delivery.webhook) {
                        watched.keys.handed(one);
                    }
                }
                Ok(())
            }
            Entry::Committed(settled) => {
                for one in settled {
                    let watched = self.webhooks.get(&one.delivery.webhook);
                    let was_gone = watched.is_none_or(|watched| watched.was_ever_gone);
                    self.deliveries.committed(one, was_gone)?;
                }
                Ok(())
            }
            Entry::PutBack(names) => {
                for name in names {
                    self.deliveries.put_back(*name)?;
                    if let Some(watched) = self.webhooks.get_mut(&name.webhook) {
                        watched.keys.put_back(*name);
                    }
                }
                Ok(())
            }
            Entry::Begun { webhook, attempt } => self.begin(at, *webhook, *attempt),
            Entry::Sent(sent) => self.send(at, sent),
            Entry::Ended { attempt, ended } => self.end(at, *attempt, *ended),
            Entry::Memory { bytes, bytes_max } if bytes > bytes_max => {
                Err(format!("D9: {bytes} bytes of events in memory, at most {bytes_max} are allowed"))
            }
            Entry::Panics { count } if *count > 0 => Err(format!("{count} actors panicked")),
            Entry::Left { events, retry_rows, backlog_rows } => {
                self.finish(*events, *retry_rows, *backlog_rows)
            }
            Entry::Memory { .. } | Entry::Panics { .. } | Entry::Note(_) => Ok(()),
        }
    }

    /// Deliveries that have not ended.
    pub(crate) fn owed_count(&self) -> usize {
        self.deliveries.owed_count()
    }

    /// What had ended before this moment was on stable storage when the process died `at`.
    fn horizon(&self, at: WorldNs) -> WorldNs {
        let mut horizon = at.saturating_sub(FORGET_NS);
        for (from, until) in self.excuses.iter().rev() {
            if *until >= horizon {
                horizon = horizon.min(from.saturating_sub(FORGET_NS));
            }
        }
        horizon
    }

    fn end_life(&mut self, horizon: WorldNs) {
        self.deliveries.end_life(horizon);
        self.attempts.clear();
        self.pushes.clear();
        self.pushed.clear();
        for watched in self.webhooks.values_mut() {
            watched.in_flight = 0;
            watched.keys.end_life();
        }
    }

    fn close_push(&mut self, push: u32) -> Option<Push> {
        let closed = self.pushes.remove(&push)?;
        for id in closed.ids.iter().flatten() {
            if let Some(pushes) = self.pushed.get_mut(id) {
                pushes.retain(|other| *other != push);
            }
        }
        Some(closed)
    }

    fn accept(&mut self, push: u32, accepted: usize, duplicates: usize) -> Result<(), Breach> {
        let Some(closed) = self.close_push(push) else { return Ok(()) };
        if accepted + duplicates != closed.ids.len() {
            let count = closed.ids.len();
            return Err(format!("D1: of {count} events {accepted} are accepted and {duplicates} known"));
        }
        self.accepted += accepted;
        if self.accepted > self.stored {
            return Err(format!("D1: {} events accepted, but {} stored", self.accepted, self.stored));
        }
        let missing = closed.ids.iter().flatten().find(|id| !self.deliveries.knows(id));
        missing.map_or(Ok(()), |id| Err(format!("D1: event {id} is answered with 202 but not stored")))
    }

    fn store(&mut self, stored: &crate::journal::Stored) -> Result<(), Breach> {
        self.stored += 1;
        let calls = self.pushed.get(&stored.id).into_iter().flatten();
        let mut times: Vec<WorldNs> =
            calls.filter_map(|push| self.pushes.get(push)).map(|push| push.at).collect();
        if times.is_empty() {
            // Without an id of the producer's: any call with such an event.
            let has_unnamed = |push: &&Push| push.ids.iter().any(Option::is_none);
            times.extend(self.pushes.values().filter(has_unnamed).map(|push| push.at));
        }
        let mut mismatch = "no call under way holds it".to_owned();
        let is_explained = times.iter().any(|at| {
            let odd = self.webhooks.iter().find(|(no, watched)| {
                let is_owed = stored.owed.iter().any(|(owed, _)| owed == *no);
                !watched.versions.may_be_owed(*at, &stored.channel, stored.kind_bit, is_owed)
            });
            if let Some((no, _)) = odd {
                mismatch = format!("w{} is wrong among those owed", no.0);
            }
            odd.is_none()
        });
        if !is_explained {
            return Err(format!("D1: event {} is stored as e{}: {mismatch}", stored.id, stored.seq.0));
        }
        self.deliveries.store(stored)?;
        for (no, form) in &stored.owed {
            if let Some(watched) = self.webhooks.get_mut(no)
                && watched.versions.is_ordered()
            {
                watched.keys.store(*no, stored.seq, stored.key, form);
            }
        }
        Ok(())
    }

    fn configure(
        &mut self,
        at: WorldNs,
        no: WebhookNo,
        state: Option<&fanfare_core::webhook::Webhook>,
        secrets: usize,
    ) -> Result<(), Breach> {
        let watched = self
            .webhooks
            .entry(no)
            .or_insert_with(|| Watched { gate: GateView::open(self.gate), ..Watched::default() });
        let change = watched.versions.configure(at, state, secrets);
        if change.opens_gate {
            watched.gate.reset(at);
        }
        if change.is_enabled_again {
            watched.gone_at = None;
        }
        if change.is_limit_new {
            watched.limit.unsettle();
        }
        if state.is_none() {
            self.deliveries.drop_webhook(no);
            watched.keys = KeyView::default();
        }
        Ok(())
    }

    fn begin(&mut self, at: WorldNs, no: WebhookNo, attempt: AttemptNo) -> Result<(), Breach> {
        let Some(watched) = self.webhooks.get_mut(&no) else {
            return Err(format!("D8: an attempt for w{}, which was never made", no.0));
        };
        if !watched.versions.possible(at, CHANGE_NS).any(|version| version.is_enabled()) {
            return Err(format!("D8: w{} is disabled or deleted, but attempt {attempt} begins", no.0));
        }
        if watched.gone_at.is_some_and(|gone| at > gone) {
            return Err(format!("D8: w{} answered 410, but attempt {attempt} begins", no.0));
        }
        watched.in_flight += 1;
        let in_flight_max = watched.versions.possible(at, CHANGE_NS).filter_map(|v| v.in_flight_max()).max();
        if let Some(max) = in_flight_max
            && watched.in_flight > usize::from(max)
        {
            let count = watched.in_flight;
            return Err(format!("D7: {count} attempts of w{} in flight, at most {max} are allowed", no.0));
        }
        watched.gate.begin(at, attempt).map_err(|why| format!("D8: w{}: {why}", no.0))?;
        let limits = watched.versions.possible(at, CHANGE_NS).filter_map(|version| version.limit());
        watched.limit.begin(at, limits).map_err(|why| format!("D6: w{}: {why}", no.0))?;
        self.attempts.insert(attempt, Attempt { webhook: no, begun: at, delivery: None });
        Ok(())
    }

    fn send(&mut self, at: WorldNs, sent: &Sent) -> Result<(), Breach> {
        let begun = self.attempts.get(&sent.attempt).map_or(at, |attempt| attempt.begun);
        let Some(watched) = self.webhooks.get_mut(&sent.webhook) else { return Ok(()) };
        let mut possible = watched.versions.possible(begun, CHANGE_NS);
        if !possible.any(|version| version.is_at(&sent.url)) {
            return Err(format!("D8: w{} is no longer at {}", sent.webhook.0, sent.url));
        }
        if !watched.versions.possible(begun, CHANGE_NS).any(|version| version.signs_so(sent.signature)) {
            return Err(format!("D3: w{}: signed wrongly: {:?}", sent.webhook.0, sent.signature));
        }
        let is_again = self.attempts.get(&sent.attempt).is_some_and(|attempt| attempt.delivery.is_some());
        let name = self.deliveries.send(sent, is_again)?;
        if watched.versions.is_ordered() && !is_again {
            watched.keys.send(at, name)?;
        }
        if let Some(attempt) = self.attempts.get_mut(&sent.attempt) {
            attempt.delivery = Some(name);
        }
        Ok(())
    }

    fn end(&mut self, at: WorldNs, number: AttemptNo, ended: Ended) -> Result<(), Breach> {
        let Some(attempt) = self.attempts.remove(&number) else { return Ok(()) };
        let Some(watched) = self.webhooks.get_mut(&attempt.webhook) else { return Ok(()) };
        watched.in_flight = watched.in_flight.saturating_sub(1);
        watched.gate.end(at, number, attempt.begun, ended);
        if ended == (Ended::Failed { class: fanfare_core::outcome::FailureClass::Gone, hint_ns: None }) {
            watched.gone_at = watched.gone_at.or(Some(at));
            watched.was_ever_gone = true;
        }
        if let Some(name) = attempt.delivery {
            self.deliveries.end(at, name, ended == Ended::Delivered);
            watched.keys.end(name, ended == Ended::Delivered);
        }
        Ok(())
    }

    fn finish(&self, events: usize, retry_rows: usize, backlog_rows: usize) -> Result<(), Breach> {
        self.deliveries.finish()?;
        for watched in self.webhooks.values() {
            watched.keys.finish()?;
        }
        let kept = self.deliveries.events_kept();
        if events != kept || retry_rows > 0 || backlog_rows > 0 {
            return Err(format!(
                "D10: {events} events are kept for dead letters of {kept}, with {retry_rows} retry rows and \
                 {backlog_rows} backlog rows"
            ));
        }
        Ok(())
    }
}
