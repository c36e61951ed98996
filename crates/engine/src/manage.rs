//! Changes of configuration: checked, stored, then in force. One change of a channel's webhooks at a time.

use crate::EngineError;
use crate::catalog::{Catalog, ChannelEntry, WebhookShared};
use crate::handle::{NewWebhook, SigningChange};
use fanfare_core::limits::WEBHOOKS_PER_CHANNEL_MAX;
use fanfare_core::ports::{CatalogChange, Clock, Store};
use fanfare_core::secret::SigningSecret;
use fanfare_core::webhook::{Account, ApiKey, Channel, Scopes, Signing, Webhook, WebhookStatus};
use fanfare_core::{AccountId, ChannelId, KeyId, Secret, WebhookId, WebhookNo};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use std::sync::Arc;

/// The registry with the store behind it; shared by the handle and the workers.
pub(crate) struct Registry {
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Cryptographic: makes secrets and keys.
    pub(crate) rng: Mutex<StdRng>,
    /// Held while a channel is made, so that two calls do not make it twice.
    pub(crate) making_channel: tokio::sync::Mutex<()>,
}

/// A PATCH, applied to the stored webhook.
pub(crate) type Change = Box<dyn FnOnce(&mut Webhook) -> Result<(), EngineError> + Send>;

impl Registry {
    pub(crate) fn random_u128(&self) -> u128 {
        self.rng.lock().random()
    }

    fn new_secret(&self) -> SigningSecret {
        let mut bytes = [0; 32];
        self.rng.lock().fill_bytes(&mut bytes);
        SigningSecret(bytes)
    }

    pub(crate) fn channel(&self, id: &ChannelId) -> Option<Arc<ChannelEntry>> {
        self.catalog.channels.get(id).map(|entry| Arc::clone(&entry))
    }

    async fn store(&self, change: CatalogChange) -> Result<(), EngineError> {
        self.store.change(vec![change]).await.map_err(EngineError::from)
    }

    pub(crate) async fn put_account(&self, account: Account) -> Result<(), EngineError> {
        self.store(CatalogChange::PutAccount(account.clone())).await?;
        self.catalog.accounts.insert(account.id.clone(), account);
        Ok(())
    }

    pub(crate) async fn create_key(
        &self,
        account: &AccountId,
        scopes: Scopes,
    ) -> Result<(ApiKey, Secret), EngineError> {
        if !self.catalog.accounts.contains_key(account) {
            return Err(EngineError::UnknownAccount);
        }
        let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
        self.rng.lock().fill_bytes(bytes.as_mut());
        let text = Secret::new(format!("fk_{}", fanfare_signing::secret_hex(&bytes)));
        let now_ms = self.clock.now().unix_ms;
        let id = KeyId::parse(&WebhookId::generate(now_ms, self.random_u128()).to_string())
            .map_err(|error| EngineError::Internal(error.to_string()))?;
        let hash = self.store.key_hash(&text);
        let key = ApiKey { id, account: account.clone(), scopes, hash, created_at_ms: now_ms };
        self.store(CatalogChange::PutKey(key.clone())).await?;
        self.catalog.put_key(key.clone());
        Ok((key, text))
    }

    pub(crate) async fn delete_key(&self, account: &AccountId, id: &KeyId) -> Result<(), EngineError> {
        let key = self.catalog.key(account, id).ok_or(EngineError::UnknownKey)?;
        self.store(CatalogChange::DeleteKey(key.id.clone())).await?;
        self.catalog.remove_key(&key.id);
        Ok(())
    }

    pub(crate) async fn put_channel(
        &self,
        id: ChannelId,
        account: AccountId,
        phone: Option<String>,
    ) -> Result<Channel, EngineError> {
        if !self.catalog.accounts.contains_key(&account) {
            return Err(EngineError::UnknownAccount);
        }
        let _making = self.making_channel.lock().await;
        let known = self.channel(&id);
        let channel = Channel {
            no: known.as_ref().map_or_else(|| self.store.next_channel_no(), |entry| entry.no),
            id,
            account,
            phone: phone.or_else(|| known.as_ref().and_then(|entry| entry.to_channel().phone)),
        };
        self.store(CatalogChange::PutChannel(channel.clone())).await?;
        match known {
            Some(entry) => {
                *entry.account.lock() = channel.account.clone();
                *entry.phone.lock() = channel.phone.clone().map(String::into_boxed_str);
            }
            None => {
                self.catalog.channels.insert(channel.id.clone(), ChannelEntry::new(channel.clone()));
            }
        }
        Ok(channel)
    }

    /// Makes a channel for `account` unless it is there; who it belongs to then is for the caller to check.
    pub(crate) async fn ensure_channel(
        &self,
        id: &ChannelId,
        account: &AccountId,
    ) -> Result<(), EngineError> {
        if self.channel(id).is_some() {
            return Ok(());
        }
        self.put_channel(id.clone(), account.clone(), None).await.map(|_| ())
    }

    pub(crate) async fn create_webhook(
        &self,
        channel: &Arc<ChannelEntry>,
        new: NewWebhook,
    ) -> Result<(Webhook, Option<SigningSecret>), EngineError> {
        let _changing = channel.changing.lock().await;
        if channel.routes.load().len() >= WEBHOOKS_PER_CHANNEL_MAX {
            return Err(EngineError::Invalid(format!(
                "a channel holds at most {WEBHOOKS_PER_CHANNEL_MAX} webhooks"
            )));
        }
        let now_ms = self.clock.now().unix_ms;
        let secret = new.signing.then(|| self.new_secret());
        let webhook = Webhook {
            no: self.store.next_webhook_no(),
            id: WebhookId::generate(now_ms, self.random_u128()),
            channel: channel.id.clone(),
            url: new.url,
            description: new.description,
            events: new.events,
            status: WebhookStatus::Enabled,
            disabled_reason: None,
            is_given_up: false,
            failing_since_ms: None,
            signing: secret.clone().map(|current| Signing { current, previous: None }),
            auth: new.auth,
            payload_format: new.payload_format,
            custom_attributes: new.custom_attributes,
            delivery: new.delivery,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        };
        self.store(CatalogChange::PutWebhook(Box::new(webhook.clone()))).await?;
        let shared = WebhookShared::new(webhook.no, webhook.id, webhook.kinds(), true, webhook.is_ordered());
        self.catalog.webhooks.insert(webhook.no, Arc::clone(&shared));
        channel.add_route(shared);
        Ok((webhook, secret))
    }

    pub(crate) fn find(
        &self,
        channel: &ChannelEntry,
        id: WebhookId,
    ) -> Result<Arc<WebhookShared>, EngineError> {
        let routes = channel.routes.load();
        routes.iter().find(|shared| shared.id == id).cloned().ok_or(EngineError::UnknownWebhook)
    }

    pub(crate) fn read(&self, no: WebhookNo) -> Result<Webhook, EngineError> {
        self.store.webhook(no)?.ok_or(EngineError::UnknownWebhook)
    }

    pub(crate) async fn update_webhook(
        &self,
        channel: &Arc<ChannelEntry>,
        id: WebhookId,
        signing: SigningChange,
        change: Change,
    ) -> Result<(Webhook, Option<SigningSecret>, Arc<WebhookShared>), EngineError> {
        let _changing = channel.changing.lock().await;
        let shared = self.find(channel, id)?;
        let before = self.read(shared.no)?;
        let mut after = before.clone();
        change(&mut after)?;
        let now_ms = self.clock.now().unix_ms;
        let mut secret = None;
        match signing {
            SigningChange::Keep => {}
            SigningChange::Off => after.signing = None,
            SigningChange::Rotate { overlap_seconds } => {
                let current = self.new_secret();
                let until_ms = now_ms.saturating_add(u64::from(overlap_seconds) * 1000);
                let previous = before
                    .signing
                    .as_ref()
                    .filter(|_| overlap_seconds > 0)
                    .map(|old| (old.current.clone(), until_ms));
                secret = Some(current.clone());
                after.signing = Some(Signing { current, previous });
            }
        }
        // Not for the caller to change.
        (after.no, after.id, after.created_at_ms) = (before.no, before.id, before.created_at_ms);
        let is_enabled_again = before.status != after.status && after.status == WebhookStatus::Enabled;
        if is_enabled_again || after.url != before.url {
            after.failing_since_ms = None;
        }
        if after != before {
            after.updated_at_ms = now_ms;
            self.store(CatalogChange::PutWebhook(Box::new(after.clone()))).await?;
            shared.set_route(after.kinds(), after.status == WebhookStatus::Enabled, after.is_ordered());
            if is_enabled_again || after.url != before.url {
                shared.reset_gate();
            }
        }
        Ok((after, secret, shared))
    }

    pub(crate) async fn delete_webhook(
        &self,
        channel: &Arc<ChannelEntry>,
        id: WebhookId,
    ) -> Result<Arc<WebhookShared>, EngineError> {
        let _changing = channel.changing.lock().await;
        let shared = self.find(channel, id)?;
        self.store(CatalogChange::DeleteWebhook(shared.no)).await?;
        shared.close_route();
        channel.remove_route(shared.no);
        self.catalog.webhooks.remove(&shared.no);
        Ok(shared)
    }

    /// Changes what the engine itself notes of a webhook; nobody else changes it meanwhile.
    pub(crate) async fn note(
        &self,
        no: WebhookNo,
        edit: impl FnOnce(&mut Webhook) + Send,
    ) -> Result<(), EngineError> {
        let channel = self.channel(&self.read(no)?.channel).ok_or(EngineError::UnknownChannel)?;
        let _changing = channel.changing.lock().await;
        let before = self.read(no)?;
        let mut after = before.clone();
        edit(&mut after);
        if after == before {
            return Ok(());
        }
        self.store(CatalogChange::PutWebhook(Box::new(after))).await
    }

    /// The engine itself disables a webhook. `false`: it was not enabled any more.
    pub(crate) async fn disable(&self, no: WebhookNo, why: &str) -> Result<bool, EngineError> {
        let channel = self.channel(&self.read(no)?.channel).ok_or(EngineError::UnknownChannel)?;
        let _changing = channel.changing.lock().await;
        let mut webhook = self.read(no)?;
        if webhook.status == WebhookStatus::Disabled {
            return Ok(false);
        }
        webhook.status = WebhookStatus::Disabled;
        webhook.disabled_reason = Some(why.to_owned());
        webhook.is_given_up = false;
        webhook.updated_at_ms = self.clock.now().unix_ms;
        let (kinds, is_ordered) = (webhook.kinds(), webhook.is_ordered());
        self.store(CatalogChange::PutWebhook(Box::new(webhook))).await?;
        if let Some(shared) = self.catalog.webhooks.get(&no) {
            shared.set_route(kinds, false, is_ordered);
        }
        Ok(true)
    }
}
