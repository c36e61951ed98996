//! The handle's part about deliveries that were made, and about one webhook's health: for people, never on the way of a
//! delivery.

use crate::EngineError;
use crate::asking::{ActorHealth, Question, TestOutcome, WebhookHealth};
use crate::catalog::WebhookShared;
use crate::handle::{Engine, Principal};
use crate::worker::Ask;
use fanfare_core::delivery::{DeliveryStatus, parse_delivery_id, reason};
use fanfare_core::event::{Event, EventKind};
use fanfare_core::ports::history::{
    Backlog, DeliveryDetail, DeliveryFilter, DeliveryPage, ListRequest, RedriveRequest, Redriven,
};
use fanfare_core::webhook::WebhookStatus;
use fanfare_core::{ChannelId, EventId, Seq, WebhookId};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Deliveries of a webhook counted for its health; beyond it the answer is "at least".
const BACKLOG_COUNTED_MAX: u64 = 1_000_000;

impl Engine {
    fn found(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
    ) -> Result<Arc<WebhookShared>, EngineError> {
        let entry = self.reach(principal, channel)?;
        self.inner.registry.find(&entry, id)
    }

    /// Part of the list of a webhook's deliveries; `cursor` is empty or a former part's `next`.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`]; [`EngineError::Invalid`] for a cursor that is none.
    pub async fn deliveries(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
        filter: DeliveryFilter,
        cursor: Vec<u8>,
        count_max: usize,
    ) -> Result<DeliveryPage, EngineError> {
        let webhook = self.found(principal, channel, id)?.no;
        let request = ListRequest { webhook, filter, cursor, count_max: count_max.max(1) };
        Ok(self.inner.options.history.list(request).await?)
    }

    /// One delivery with its recorded attempts.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`], then [`EngineError::UnknownDelivery`].
    pub async fn delivery(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
        delivery_id: &str,
    ) -> Result<DeliveryDetail, EngineError> {
        let shared = self.found(principal, channel, id)?;
        let (event, part) = parse_delivery_id(delivery_id, id).ok_or(EngineError::UnknownDelivery)?;
        let found = self.inner.options.history.find(shared.no, event, part).await?;
        found.ok_or(EngineError::UnknownDelivery)
    }

    /// Puts one dead delivery back.
    ///
    /// # Errors
    /// Those of [`Engine::delivery`], then [`EngineError::Conflict`] when it is pending, or its body is not kept.
    pub async fn redrive_delivery(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
        delivery_id: &str,
    ) -> Result<Redriven, EngineError> {
        let shared = self.found(principal, channel, id)?;
        let (event_id, part) = parse_delivery_id(delivery_id, id).ok_or(EngineError::UnknownDelivery)?;
        let redriven = self.put_back(&shared, RedriveRequest::One { event_id, part }).await?;
        if redriven.count > 0 {
            return Ok(redriven);
        }
        let status = self.delivery(principal, channel, id, delivery_id).await?.delivery.status;
        let why = match status {
            DeliveryStatus::Pending => "it is still to be delivered",
            _ => "its body is no longer kept",
        };
        Err(EngineError::Conflict(format!("delivery is {} and cannot be redriven: {why}", status.name())))
    }

    /// Puts back all deliveries that fit; without a status the dead ones.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`]; [`EngineError::Invalid`] for `PENDING`.
    pub async fn redrive(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
        filter: DeliveryFilter,
    ) -> Result<Redriven, EngineError> {
        let shared = self.found(principal, channel, id)?;
        let status = filter.status.unwrap_or(DeliveryStatus::Dead);
        if status == DeliveryStatus::Pending {
            return Err(EngineError::Invalid("status PENDING cannot be redriven: it is still owed".into()));
        }
        let filter = DeliveryFilter { status: Some(status), ..filter };
        self.put_back(&shared, RedriveRequest::Many(filter)).await
    }

    async fn put_back(
        &self,
        shared: &Arc<WebhookShared>,
        request: RedriveRequest,
    ) -> Result<Redriven, EngineError> {
        let webhook = self.inner.registry.read(shared.no)?;
        if webhook.status == WebhookStatus::Disabled
            && webhook.disabled_reason.as_deref() == Some(reason::GONE)
            && !webhook.is_given_up
        {
            // Its actor may sleep, when the process died between the last dead letter and the note of it.
            self.ask(shared, Question::Redriven(u64::MAX)).await;
            return Err(EngineError::Unavailable {
                message: "what the webhook was owed is still being given up after its 410; try again".into(),
                retry_after_s: 1,
            });
        }
        let now_ms = self.inner.options.clock.now().unix_ms;
        let history = Arc::clone(&self.inner.options.history);
        let (engine, shared) = (self.clone(), Arc::clone(shared));
        // A task of its own: a caller that goes away must not stop the word to the actor of what was put back.
        let redriven = tokio::spawn(async move {
            let redriven = history.redrive(shared.no, request, now_ms).await;
            // Told even after a failure: some slices may have been put back before it.
            engine.ask(&shared, Question::Redriven(now_ms)).await;
            redriven
        })
        .await
        .map_err(|error| EngineError::Internal(format!("redrive task: {error}")))??;
        Ok(redriven)
    }

    async fn ask(&self, shared: &Arc<WebhookShared>, question: Question) {
        if let Some(worker) = self.inner.workers.get(self.inner.worker_of(shared.no)) {
            // A worker that has stopped answers nothing: the asker's end tells.
            let _ = worker.addr.send(Ask { webhook: Arc::clone(shared), question }).await;
        }
    }

    /// Sends the webhook a sample event of `kind` (the first it subscribes to, when `None`) and tells what came of it.
    /// One attempt, nothing stored; also while it is disabled or its gate is shut.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`]; [`EngineError::RateLimited`] when its rate limit leaves no room.
    pub async fn test_webhook(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
        kind: Option<EventKind>,
    ) -> Result<TestOutcome, EngineError> {
        self.inner.refuse_when_draining()?;
        let shared = self.found(principal, channel, id)?;
        let kinds = self.inner.registry.read(shared.no)?.kinds();
        let kind = kind.or_else(|| EventKind::ALL.into_iter().find(|kind| kinds.contains(*kind)));
        let event = self.sample(channel, kind.unwrap_or(EventKind::MessageReceived))?;
        let (reply, answer) = oneshot::channel();
        self.ask(&shared, Question::Test(Arc::new(event), reply)).await;
        answer.await.map_err(|_| EngineError::Internal("the webhook's actor gave no answer".into()))?
    }

    fn sample(&self, channel: &ChannelId, kind: EventKind) -> Result<Event, EngineError> {
        let options = &self.inner.options;
        let parsed = options
            .samples
            .lines()
            .filter_map(|line| fanfare_render::parse_event(line.as_bytes().to_vec().into()).ok())
            .find(|event| event.kind == kind)
            .ok_or_else(|| EngineError::Internal(format!("no sample of kind {}", kind.name())))?;
        // The sample speaks of a channel of its own: its payload names the webhook's instead.
        let text =
            String::from_utf8_lossy(&parsed.envelope).replace(parsed.channel.as_str(), channel.as_str());
        let parsed = fanfare_render::parse_event(text.into_bytes().into())
            .map_err(|error| EngineError::Internal(format!("sample of kind {}: {error}", kind.name())))?;
        let now_ms = options.clock.now().unix_ms;
        Ok(Event {
            seq: Seq(0),
            id: EventId::generate(now_ms, self.inner.registry.random_u128()),
            kind,
            channel: channel.clone(),
            channel_phone: self
                .channel(channel)
                .and_then(|channel| channel.phone)
                .map(String::into_boxed_str),
            key: None,
            occurred_at_ms: Some(now_ms),
            accepted_at_ms: now_ms,
            envelope: parsed.envelope,
            payload: parsed.payload,
        })
    }

    /// How a webhook fares.
    ///
    /// # Errors
    /// Those of [`Engine::webhook`].
    pub async fn webhook_health(
        &self,
        principal: &Principal,
        channel: &ChannelId,
        id: WebhookId,
    ) -> Result<WebhookHealth, EngineError> {
        let shared = self.found(principal, channel, id)?;
        let webhook = self.inner.registry.read(shared.no)?;
        let backlog: Backlog = self.inner.options.history.backlog(shared.no, BACKLOG_COUNTED_MAX).await?;
        let (reply, answer) = oneshot::channel();
        self.ask(&shared, Question::Health(reply)).await;
        let actor: ActorHealth = match answer.await {
            Ok(health) => health,
            // It stopped meanwhile (or the engine drains): what it left behind tells.
            Err(_) => ActorHealth::asleep(shared.asleep.lock().as_deref(), self.inner.options.clock.now()),
        };
        Ok(WebhookHealth::new(webhook.status, webhook.disabled_reason, backlog, actor))
    }
}
