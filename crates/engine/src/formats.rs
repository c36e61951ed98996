//! The handle's part about payload formats: which there are, and changing them while webhooks use them.
//!
//! No webhook may come to name a format that is gone, and the engine does not keep in memory which webhook has which:
//! a hundred bytes each is all a webhook costs. So a removal first says which format is leaving, waits until every call
//! that judged a webhook's format before that has stored its webhook, and then reads all webhooks from the store.

use crate::EngineError;
use crate::handle::{Engine, Inner};
use bytes::Bytes;
use fanfare_core::WebhookNo;
use fanfare_core::ports::formats::{FormatSource, FormatStanding};
use fanfare_core::webhook::{FormatName, Webhook};
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{RwLock, RwLockReadGuard};

/// Who judges formats, and which one is leaving.
#[derive(Debug, Default)]
pub(crate) struct FormatChanges {
    /// Held for reading from before a webhook's format is judged until the webhook is stored.
    judging: RwLock<()>,
    leaving: Mutex<Option<FormatName>>,
    /// Held while a format is changed: one change at a time.
    changing: tokio::sync::Mutex<()>,
}

impl FormatChanges {
    pub(crate) async fn begin_judging(&self) -> RwLockReadGuard<'_, ()> {
        self.judging.read().await
    }

    /// Completes when nobody can come to use `name` any more: from then on until the value is dropped.
    async fn begin_leaving(&self, name: &FormatName) -> Leaving<'_> {
        *self.leaving.lock() = Some(name.clone());
        let leaving = Leaving(self);
        // Those who judged before have stored what they judged when this is granted; the others see what is leaving.
        drop(self.judging.write().await);
        leaving
    }
}

/// A format is being removed; dropped, it is gone, or it stays after all.
struct Leaving<'a>(&'a FormatChanges);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        *self.0.leaving.lock() = None;
    }
}

/// Webhooks that use a format.
struct Uses {
    count: usize,
    first: Webhook,
}

impl Inner {
    fn format_names(&self) -> impl Iterator<Item = FormatName> {
        let builtin = [FormatName::DEFAULT, FormatName::Z_API].into_iter().filter_map(FormatName::parse);
        builtin.chain(self.options.formatter.names())
    }

    /// Only while judging: a format that is there now is there when the webhook is stored.
    pub(crate) fn refuse_unknown_format(&self, name: &FormatName) -> Result<(), EngineError> {
        let is_leaving = self.format_changes.leaving.lock().as_ref() == Some(name);
        if !is_leaving && self.format_names().any(|known| known == *name) {
            return Ok(());
        }
        let known: Vec<String> = self.format_names().map(|name| name.as_str().to_owned()).collect();
        let (name, known) = (name.as_str(), known.join(", "));
        Err(EngineError::Invalid(if is_leaving {
            format!("payloadFormat {name} is being removed: known are {known}")
        } else {
            format!("unknown payloadFormat `{name}`: known are {known}")
        }))
    }

    /// Reads every webhook there is: a thread of its own does it, for there may be a million.
    async fn uses_of(self: &Arc<Self>, name: &FormatName) -> Result<Option<Uses>, EngineError> {
        let (inner, name) = (Arc::clone(self), name.clone());
        let reading = tokio::task::spawn_blocking(move || {
            // Copied, for whoever makes or removes a webhook waits while the map is read. 4 bytes each.
            let mut all: Vec<WebhookNo> =
                inner.registry.catalog.webhooks.iter().map(|entry| *entry.key()).collect();
            all.sort_unstable();
            let mut uses: Option<Uses> = None;
            for no in all {
                // One that was deleted meanwhile uses nothing; one that cannot be read may use anything.
                let Some(webhook) = inner.options.store.webhook(no)? else { continue };
                if webhook.payload_format == name {
                    uses.get_or_insert(Uses { count: 0, first: webhook }).count += 1;
                }
            }
            Ok(uses)
        });
        reading.await.map_err(|error| EngineError::Internal(format!("reading webhooks: {error}")))?
    }

    async fn delete_format(self: &Arc<Self>, name: FormatName) -> Result<(), EngineError> {
        let formats = &self.options.formats;
        let list = formats.list();
        let standing =
            list.iter().find(|standing| standing.name == name).ok_or(EngineError::UnknownFormat)?;
        // What was not put by API is not removed by it either: the answer says what to do.
        if standing.source != FormatSource::Api || formats.remains_without_api(&name) {
            return Ok(formats.delete(name).await?);
        }
        let _leaving = self.format_changes.begin_leaving(&name).await;
        if let Some(Uses { count, first }) = self.uses_of(&name).await? {
            let (name, id, channel) = (name.as_str(), first.id, first.channel);
            let webhooks =
                if count == 1 { "1 webhook uses".to_owned() } else { format!("{count} webhooks use") };
            return Err(EngineError::Conflict(format!(
                "{webhooks} {name}: give each another format first; one is {id} of the channel {channel}"
            )));
        }
        Ok(formats.delete(name).await?)
    }
}

/// Those in the binary's own code are never changed.
fn refuse_builtin(name: &FormatName) -> Result<(), String> {
    if name.is_builtin() {
        Err(format!("{} is built in and cannot be changed", name.as_str()))
    } else {
        Ok(())
    }
}

impl Engine {
    /// Ends what was begun, whether or not the caller waits for it.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let ended = tokio::spawn(work).await;
        ended.map_err(|error| EngineError::Internal(format!("a change broke off: {error}")))?
    }

    /// Names of all payload formats, the two built-in ones first.
    #[must_use]
    pub fn formats(&self) -> Vec<FormatName> {
        self.inner.format_names().collect()
    }

    /// All plugin formats, by name.
    #[must_use]
    pub fn format_standings(&self) -> Vec<FormatStanding> {
        self.inner.options.formats.list()
    }

    /// Puts a plugin in the place of what is there under its name; the second value: there was nothing. What was begun
    /// is finished even when the future is dropped.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when it is not admitted, or the name is built in or not the plugin's own.
    pub async fn put_format(
        &self,
        name: FormatName,
        component: Bytes,
        signature: Option<Bytes>,
    ) -> Result<(FormatStanding, bool), EngineError> {
        refuse_builtin(&name).map_err(EngineError::Invalid)?;
        let inner = Arc::clone(&self.inner);
        self.finish(async move {
            let _changing = inner.format_changes.changing.lock().await;
            let formats = &inner.options.formats;
            let is_new = !formats.list().iter().any(|standing| standing.name == name);
            let standing = formats.put(name, component, signature).await?;
            tell("format put", &standing);
            Ok((standing, is_new))
        })
        .await
    }

    /// Puts the version before in the place of the present one, which is then the one before. What was begun is
    /// finished even when the future is dropped.
    ///
    /// # Errors
    /// [`EngineError::UnknownFormat`]; [`EngineError::Conflict`] when there is no version before.
    pub async fn rollback_format(&self, name: FormatName) -> Result<FormatStanding, EngineError> {
        refuse_builtin(&name).map_err(EngineError::Conflict)?;
        let inner = Arc::clone(&self.inner);
        self.finish(async move {
            let _changing = inner.format_changes.changing.lock().await;
            let standing = inner.options.formats.rollback(name).await?;
            tell("format rolled back", &standing);
            Ok(standing)
        })
        .await
    }

    /// Removes what was put by API; what the binary or `plugins.dir` has under the name is used again. What was begun
    /// is finished even when the future is dropped.
    ///
    /// # Errors
    /// [`EngineError::UnknownFormat`]; [`EngineError::Conflict`] when a webhook would be left without its format, or
    /// the format was not put by API.
    pub async fn delete_format(&self, name: FormatName) -> Result<(), EngineError> {
        refuse_builtin(&name).map_err(EngineError::Conflict)?;
        let inner = Arc::clone(&self.inner);
        self.finish(async move {
            let _changing = inner.format_changes.changing.lock().await;
            inner.delete_format(name.clone()).await?;
            tracing::info!(format = name.as_str(), "format removed");
            Ok(())
        })
        .await
    }

    /// Tries a plugin again that is left alone after faults.
    ///
    /// # Errors
    /// [`EngineError::UnknownFormat`].
    pub fn lift_format(&self, name: &FormatName) -> Result<FormatStanding, EngineError> {
        let standing = self.inner.options.formats.lift(name)?;
        tell("format tried again", &standing);
        Ok(standing)
    }
}

fn tell(what: &'static str, standing: &FormatStanding) {
    let FormatStanding { name, source, version, generation, .. } = standing;
    tracing::info!(format = name.as_str(), version, generation, source = source.name(), "{what}");
}
