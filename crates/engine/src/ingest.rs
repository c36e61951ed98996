//! The way in: who is owed what, stored in one commit with the events, then handed to the event loops.
//!
//! Expected cost of an event with n webhooks: one look-up of its channel, n reservations, two clones of the event's
//! shared parts, one place in a store batch; after the commit one allocation and n places in the workers' mails. One
//! mail per worker and batch, not per delivery.

use crate::EngineError;
use crate::catalog::{ChannelEntry, WebhookShared};
use crate::handle::{IngestAnswer, Inner, Principal};
use crate::live::LiveEvent;
use crate::worker::{OwedFor, WorkerMail};
use bytes::Bytes;
use fanfare_core::event::{Event, EventKind};
use fanfare_core::ports::{IngestEvent, IngestReceipt, IngestVerdict, StoreError};
use fanfare_core::{AccountId, ChannelId, EventId, Seq, WebhookNo};
use fanfare_render::event::{EventError, ParsedEvent};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An event on its way to the store, with what is needed after the commit.
struct Routed {
    event: Event,
    /// Who is owed, in the order of the stored list, and whether a place in memory was reserved.
    owed: Vec<(Arc<WebhookShared>, bool)>,
}

/// A routed batch.
#[derive(Default)]
struct Batch {
    store: Vec<IngestEvent>,
    routed: Vec<Routed>,
}

impl Batch {
    /// Frees the reserved places of an event that is not handed over after all.
    fn release(routed: &Routed) {
        for (webhook, is_direct) in &routed.owed {
            if *is_direct {
                webhook.release(1);
            }
        }
    }
}

pub(crate) async fn ingest(
    inner: &Arc<Inner>,
    principal: &Principal,
    events: Vec<Result<ParsedEvent, EventError>>,
) -> Result<IngestAnswer, EngineError> {
    inner.refuse_when_draining()?;
    if inner.options.makes_channels {
        make_channels(inner, principal, &events).await?;
    }
    let mut answer = IngestAnswer::default();
    let batch = route(inner, principal, events, &mut answer);
    inner.ingest.rejected.fetch_add(answer.rejected.len() as u64, Ordering::Relaxed);
    if batch.store.is_empty() {
        return Ok(answer);
    }
    // A task of its own: a caller that goes away must not stop the hand-over of what was stored.
    let owner = Arc::clone(inner);
    let stored = tokio::spawn(async move { store_and_hand_over(&owner, batch).await })
        .await
        .map_err(|error| EngineError::Internal(format!("ingest task: {error}")))?;
    match stored {
        Ok((accepted, duplicates)) => {
            answer.accepted = accepted;
            answer.duplicates = duplicates;
            inner.ingest.accepted.fetch_add(accepted as u64, Ordering::Relaxed);
            inner.ingest.duplicates.fetch_add(duplicates as u64, Ordering::Relaxed);
            Ok(answer)
        }
        Err(error) => {
            inner.ingest.unavailable.fetch_add(1, Ordering::Relaxed);
            Err(error)
        }
    }
}

/// Tells the operator once that events are refused, and once that they are taken again.
fn tell_refusal(inner: &Inner, refusal: Option<&StoreError>) {
    let is_limit = matches!(refusal, Some(StoreError::Full(_) | StoreError::Backlog { .. }));
    if inner.is_refusing.load(Ordering::Relaxed) == is_limit || (refusal.is_some() && !is_limit) {
        return;
    }
    inner.is_refusing.store(is_limit, Ordering::Relaxed);
    match refusal {
        Some(reason) => tracing::warn!(%reason, "events are refused (503); deliveries go on"),
        None => tracing::info!("events are taken again"),
    }
}

async fn make_channels(
    inner: &Arc<Inner>,
    principal: &Principal,
    events: &[Result<ParsedEvent, EventError>],
) -> Result<(), EngineError> {
    let Some(account) = &principal.account else { return Ok(()) };
    let mut last: Option<&ChannelId> = None;
    for event in events.iter().flatten() {
        if last != Some(&event.channel) {
            inner.registry.ensure_channel(&event.channel, account).await?;
            last = Some(&event.channel);
        }
    }
    Ok(())
}

fn reaches(principal: &Principal, owner: &AccountId) -> bool {
    principal.scopes.operate || principal.account.as_ref() == Some(owner)
}

fn route(
    inner: &Inner,
    principal: &Principal,
    events: Vec<Result<ParsedEvent, EventError>>,
    answer: &mut IngestAnswer,
) -> Batch {
    let now_ms = inner.options.clock.now().unix_ms;
    let has_room = inner.budget.has_room();
    let mut batch =
        Batch { store: Vec::with_capacity(events.len()), routed: Vec::with_capacity(events.len()) };
    let mut last: Option<Arc<ChannelEntry>> = None;
    for (index, parsed) in events.into_iter().enumerate() {
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                answer.rejected.push((index, error.to_string()));
                continue;
            }
        };
        let channel = match &last {
            Some(entry) if entry.id == parsed.channel => Some(Arc::clone(entry)),
            _ => inner
                .registry
                .channel(&parsed.channel)
                .filter(|entry| reaches(principal, &entry.account.lock())),
        };
        let Some(channel) = channel else {
            answer.rejected.push((index, "unknown channel".to_owned()));
            continue;
        };
        let (stored, routed) = route_one(inner, &channel, parsed, now_ms, has_room);
        batch.store.push(stored);
        batch.routed.push(routed);
        last = Some(channel);
    }
    batch
}

fn route_one(
    inner: &Inner,
    channel: &Arc<ChannelEntry>,
    parsed: ParsedEvent,
    now_ms: u64,
    has_room: bool,
) -> (IngestEvent, Routed) {
    let new_phone = (parsed.kind == EventKind::Connected)
        .then(|| parsed.envelope.get(parsed.payload.clone()).and_then(fanfare_render::connected_phone))
        .flatten();
    let channel_phone = {
        let mut phone = channel.phone.lock();
        let is_news = new_phone.as_deref().is_some_and(|new| phone.as_deref() != Some(new));
        if is_news {
            *phone = new_phone.clone().map(String::into_boxed_str);
        }
        (phone.clone(), is_news)
    };
    let is_deduplicated = parsed.id.is_some();
    let id = parsed.id.unwrap_or_else(|| EventId::generate(now_ms, inner.registry.random_u128()));
    let event = Event {
        seq: Seq(0),
        id,
        kind: parsed.kind,
        channel: channel.id.clone(),
        channel_phone: channel_phone.0,
        key: parsed.key,
        occurred_at_ms: parsed.occurred_at_ms,
        accepted_at_ms: now_ms,
        envelope: parsed.envelope,
        payload: parsed.payload,
    };
    let routes = channel.routes.load();
    let owed: Vec<(Arc<WebhookShared>, bool)> = routes
        .iter()
        .filter(|webhook| webhook.kinds().contains(event.kind) && webhook.is_enabled())
        .map(|webhook| (Arc::clone(webhook), has_room && webhook.reserve()))
        .collect();
    if !has_room {
        for (webhook, _) in &owed {
            webhook.set_behind(true);
        }
    }
    let stored = IngestEvent {
        event: event.clone(),
        channel_no: channel.no,
        is_deduplicated,
        owed: owed.iter().map(|(webhook, is_direct)| (webhook.no, *is_direct)).collect(),
        new_phone: new_phone.filter(|_| channel_phone.1),
    };
    (stored, Routed { event, owed })
}

async fn store_and_hand_over(inner: &Arc<Inner>, batch: Batch) -> Result<(usize, usize), EngineError> {
    let Batch { store, routed } = batch;
    let receipt = match inner.options.store.ingest(store).await {
        Ok(receipt) => {
            tell_refusal(inner, None);
            receipt
        }
        Err(error) => {
            tell_refusal(inner, Some(&error));
            routed.iter().for_each(Batch::release);
            return Err(error.into());
        }
    };
    let duplicates = receipt.verdicts.iter().filter(|v| **v == IngestVerdict::Duplicate).count();
    let accepted = receipt.verdicts.len() - duplicates;
    let mails = mails(inner, routed, &receipt);
    for (worker, mail) in inner.workers.iter().zip(mails) {
        if !mail.is_empty() {
            // Waits for room in the mailbox. A worker that has stopped (drain) leaves everything to the next start.
            let _ = worker.addr.send(mail).await;
        }
    }
    Ok((accepted, duplicates))
}

fn mails(inner: &Inner, routed: Vec<Routed>, receipt: &IngestReceipt) -> Vec<WorkerMail> {
    let mut mails: Vec<WorkerMail> = inner.workers.iter().map(|_| WorkerMail::default()).collect();
    for (routed, verdict) in routed.into_iter().zip(&receipt.verdicts) {
        let IngestVerdict::Accepted(seq) = *verdict else {
            Batch::release(&routed);
            continue;
        };
        if routed.owed.is_empty() {
            continue;
        }
        let Routed { mut event, owed } = routed;
        event.seq = seq;
        let mut unshared = Some(event);
        let mut live: Option<Arc<LiveEvent>> = None;
        for (index, (webhook, is_direct)) in (0_u32..).zip(owed) {
            let Some(mail) = mails.get_mut(inner.worker_of(webhook.no)) else { continue };
            if !is_direct {
                if mail.parked_after.last().is_none_or(|last| last.no != webhook.no) {
                    mail.parked_after.push(webhook);
                }
                continue;
            }
            if let Some(mut event) = unshared.take() {
                // A copy of its own: the slice that arrived would keep the whole request in memory while one event
                // waits. Not for what waits on disk for all its webhooks.
                event.envelope = Bytes::copy_from_slice(&event.envelope);
                live = Some(LiveEvent::new(Arc::new(event), &inner.budget));
            }
            if let Some(live) = &live {
                mail.owed.push(OwedFor { webhook, live: Arc::clone(live), index });
            }
        }
    }
    for no in &receipt.also_parked {
        if let Some(mail) = mails.get_mut(inner.worker_of(*no))
            && let Some(webhook) = inner.registry.catalog.webhooks.get(no)
        {
            mail.parked_before.push(Arc::clone(&webhook));
        }
    }
    mails
}

impl Inner {
    /// The event loop a webhook lives on: by its number, for good.
    pub(crate) fn worker_of(&self, no: WebhookNo) -> usize {
        no.0 as usize % self.workers.len().max(1)
    }
}
