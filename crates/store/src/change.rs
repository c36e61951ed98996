//! Changes of configuration: encoded and sealed on the caller's thread, applied whole or not at all.

use crate::catalog;
use crate::ledger::{Group, Ledger};
use crate::record::route;
use crate::seal::Sealer;
use crate::tables::no_key;
use fanfare_core::event::KindSet;
use fanfare_core::ports::{CatalogChange, StoreError, WebhookRoute};
use fanfare_core::webhook::{Channel, WebhookStatus};
use fanfare_core::{ChannelId, ChannelNo, WebhookId, WebhookNo};
use heed::RwTxn;
use std::collections::HashSet;

/// One change, ready for the tables.
pub(crate) enum PreparedChange {
    Account {
        key: Vec<u8>,
        row: Vec<u8>,
    },
    Key {
        key: Vec<u8>,
        row: Vec<u8>,
    },
    DeleteKey {
        key: Vec<u8>,
    },
    Channel {
        channel: Channel,
        row: Vec<u8>,
    },
    Webhook {
        no: WebhookNo,
        id: WebhookId,
        channel: ChannelId,
        kinds: KindSet,
        is_enabled: bool,
        is_ordered: bool,
        row: Vec<u8>,
    },
    DeleteWebhook(WebhookNo),
}

impl PreparedChange {
    /// Encodes and seals.
    pub(crate) fn new(sealer: &Sealer, change: CatalogChange) -> Result<Self, StoreError> {
        Ok(match change {
            CatalogChange::PutAccount(account) => PreparedChange::Account {
                key: account.id.as_str().into(),
                row: catalog::encode_account(&account),
            },
            CatalogChange::PutKey(key) => {
                PreparedChange::Key { key: key.id.as_str().into(), row: catalog::encode_key(&key) }
            }
            CatalogChange::DeleteKey(id) => PreparedChange::DeleteKey { key: id.as_str().into() },
            CatalogChange::PutChannel(channel) => {
                PreparedChange::Channel { row: catalog::encode_channel(&channel), channel }
            }
            CatalogChange::PutWebhook(webhook) => PreparedChange::Webhook {
                no: webhook.no,
                id: webhook.id,
                kinds: webhook.kinds(),
                is_enabled: webhook.status == WebhookStatus::Enabled,
                is_ordered: webhook.is_ordered(),
                row: catalog::encode_webhook(sealer, &webhook)
                    .map_err(|error| StoreError::Other(error.to_string()))?,
                channel: webhook.channel.clone(),
            },
            CatalogChange::DeleteWebhook(no) => PreparedChange::DeleteWebhook(no),
        })
    }
}

impl Ledger {
    /// Applies a list of changes. The inner error refuses it; then nothing of it was written.
    pub(crate) fn change(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        changes: Vec<PreparedChange>,
    ) -> heed::Result<Result<(), StoreError>> {
        if let Err(refusal) = self.check_changes(txn, &changes)? {
            return Ok(Err(refusal));
        }
        for change in changes {
            self.apply_change(txn, group, change)?;
        }
        Ok(Ok(()))
    }

    fn check_changes(
        &self,
        txn: &RwTxn<'_>,
        changes: &[PreparedChange],
    ) -> heed::Result<Result<(), StoreError>> {
        let mut made = HashSet::new();
        for change in changes {
            match change {
                PreparedChange::Channel { channel, .. } => {
                    made.insert(&channel.id);
                }
                PreparedChange::Webhook { no, channel, .. } => {
                    if !made.contains(channel)
                        && self.tables.channel_names.get(txn, channel.as_str().as_bytes())?.is_none()
                    {
                        return Ok(Err(StoreError::Other(format!("webhook of unknown channel {channel}"))));
                    }
                    if self.reaping.iter().any(|(reaped, _)| *reaped == no.0) {
                        return Ok(Err(StoreError::Other(format!("webhook number {} was deleted", no.0))));
                    }
                }
                _ => {}
            }
        }
        Ok(Ok(()))
    }

    fn apply_change(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        change: PreparedChange,
    ) -> heed::Result<()> {
        let tables = self.tables;
        match change {
            PreparedChange::Account { key, row } => tables.accounts.put(txn, &key, &row),
            PreparedChange::Key { key, row } => tables.keys.put(txn, &key, &row),
            PreparedChange::DeleteKey { key } => tables.keys.delete(txn, &key).map(drop),
            PreparedChange::Channel { channel, row } => {
                let key = no_key(channel.no.0);
                let old = tables
                    .channels
                    .get(txn, &key)?
                    .and_then(|row| catalog::decode_channel(channel.no, row).ok());
                if let Some(old) = old.filter(|old| old.id != channel.id) {
                    tables.channel_names.delete(txn, old.id.as_str().as_bytes())?;
                }
                self.state.channels_reserved =
                    self.state.channels_reserved.max(channel.no.0.saturating_add(1));
                tables.channels.put(txn, &key, &row)?;
                let name = catalog::encode_channel_no(&channel.id, channel.no);
                tables.channel_names.put(txn, channel.id.as_str().as_bytes(), &name)
            }
            PreparedChange::Webhook { no, id, channel, kinds, is_enabled, is_ordered, row } => {
                let channel_no = self.channel_no(txn, &channel)?;
                let key = no_key(no.0);
                let route = WebhookRoute { no, id, channel_no, kinds, is_enabled, is_ordered };
                tables.routes.put(txn, &key, &route::encode(&route))?;
                tables.webhooks.put(txn, &key, &row)?;
                self.live.insert(no.0);
                self.state.webhooks_reserved = self.state.webhooks_reserved.max(no.0.saturating_add(1));
                Ok(())
            }
            PreparedChange::DeleteWebhook(no) => {
                if !self.live.contains(no.0) {
                    return Ok(());
                }
                group.parking.flush(tables.parked, txn)?;
                let key = no_key(no.0);
                tables.routes.delete(txn, &key)?;
                tables.webhooks.delete(txn, &key)?;
                tables.reaping.put(txn, &key, &[])?;
                self.live.remove(no.0);
                self.reaping.push_back((no.0, 0));
                Ok(())
            }
        }
    }

    fn channel_no(&self, txn: &RwTxn<'_>, channel: &ChannelId) -> heed::Result<ChannelNo> {
        let row = self.tables.channel_names.get(txn, channel.as_str().as_bytes())?;
        match row.map(|row| catalog::decode_channel_no(channel, row)) {
            Some(Ok(no)) => Ok(no),
            _ => {
                // Damaged: the channels themselves tell.
                for row in self.tables.channels.iter(txn)? {
                    let (key, row) = row?;
                    let no = ChannelNo(crate::tables::key_no(key));
                    if catalog::decode_channel(no, row).is_ok_and(|found| found.id == *channel) {
                        return Ok(no);
                    }
                }
                Err(heed::Error::Mdb(heed::MdbError::NotFound))
            }
        }
    }
}
