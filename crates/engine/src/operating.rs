//! The handle's part for operators: accounts, keys, channels.

use crate::EngineError;
use crate::handle::Engine;
use fanfare_core::webhook::{Account, ApiKey, Channel, Scopes};
use fanfare_core::{AccountId, ChannelId, KeyId, Secret};

impl Engine {
    /// Makes or changes an account.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn put_account(&self, account: Account) -> Result<(), EngineError> {
        self.inner.registry.put_account(account).await
    }

    /// Reads an account.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<Account> {
        self.inner.registry.catalog.accounts.get(id).map(|account| account.clone())
    }

    /// Makes a key; the text is shown once.
    ///
    /// # Errors
    /// [`EngineError::UnknownAccount`].
    pub async fn create_key(
        &self,
        account: &AccountId,
        scopes: Scopes,
    ) -> Result<(ApiKey, Secret), EngineError> {
        self.inner.registry.create_key(account, scopes).await
    }

    /// Reads a key's record.
    #[must_use]
    pub fn key(&self, account: &AccountId, id: &KeyId) -> Option<ApiKey> {
        self.inner.registry.catalog.key(account, id)
    }

    /// All keys of an account, by creation time.
    #[must_use]
    pub fn keys(&self, account: &AccountId) -> Vec<ApiKey> {
        self.inner.registry.catalog.keys(account)
    }

    /// Removes a key; it stops working at once.
    ///
    /// # Errors
    /// [`EngineError::UnknownKey`].
    pub async fn delete_key(&self, account: &AccountId, id: &KeyId) -> Result<(), EngineError> {
        self.inner.registry.delete_key(account, id).await
    }

    /// Makes or changes a channel. `phone: None` keeps what is known.
    ///
    /// # Errors
    /// [`EngineError::UnknownAccount`].
    pub async fn put_channel(
        &self,
        id: ChannelId,
        account: AccountId,
        phone: Option<String>,
    ) -> Result<Channel, EngineError> {
        self.inner.registry.put_channel(id, account, phone).await
    }

    /// Reads a channel.
    #[must_use]
    pub fn channel(&self, id: &ChannelId) -> Option<Channel> {
        self.inner.registry.channel(id).map(|entry| entry.to_channel())
    }
}
