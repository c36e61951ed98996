//! The `Formats` port: what operators see, and change while everything runs.
//!
//! A change is durable before it is in force: the component, then the index that names it, then the swap in memory.
//! Events rendered from then on use the new generation; renders under way end with the former. Each change runs on a
//! thread of its own, for compiling takes up to seconds, and goes on when whoever asked does not wait for it.

use crate::error::{FormatError, internal};
use crate::formats::{Changing, Inner, Origin, Piece, PluginFormats, Used, read_signature};
use crate::kept::{Stored, sha256};
use bytes::Bytes;
use fanfare_core::ports::SendFuture;
use fanfare_core::ports::formats::{FormatSource, FormatStanding, Formats};
use fanfare_core::webhook::FormatName;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Inner {
    fn put(
        &self,
        name: &FormatName,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<FormatStanding, FormatError> {
        let mut changing = self.changing.lock();
        let admitted = self.admit_named(name, bytes, signature)?;
        let version = admitted.manifest.version.clone();
        let stored = changing.kept.store(bytes, &version, signature)?;
        let entry = changing.kept.index().formats.get(name.as_str()).cloned().unwrap_or_default();
        let is_usable = matches!(self.slots.load().get(name).map(|slot| &slot.used), Some(Used::Ready(_)));
        // Nothing comes before itself, and one that is refused is nothing to go back to.
        let former = match entry.current {
            Some(current) if current.sha256 == stored.sha256 || !is_usable => entry.former,
            Some(current) => Some(current),
            None => self.keep_under(&mut changing, name).filter(|under| under.sha256 != stored.sha256),
        };
        let piece = Piece {
            source: FormatSource::Api,
            version,
            sha256: stored.sha256.clone(),
            admitted: Ok(admitted),
        };
        self.commit(&mut changing, name, Some(stored), former, Some(piece))
            .and_then(|standing| standing.ok_or_else(|| FormatError::Unknown(name.as_str().to_owned())))
    }

    /// What stands under the name beneath the API, kept as if it had been put, so that one can go back to it.
    fn keep_under(&self, changing: &mut Changing, name: &FormatName) -> Option<Stored> {
        let under = changing.under.get(name).filter(|under| under.piece.admitted.is_ok())?;
        let version = under.piece.version.clone();
        let (bytes, signature) = match &under.origin {
            Origin::Binary(bytes) => (bytes.to_vec(), None),
            Origin::File(file) => {
                let bytes = std::fs::read(file).ok().filter(|bytes| sha256(bytes) == under.piece.sha256);
                let signature = read_signature(file).ok()?;
                let bytes = bytes.or_else(|| {
                    let file = file.display();
                    tracing::warn!(%file, "changed since it was loaded: nothing to go back to");
                    None
                })?;
                (bytes, signature)
            }
        };
        let kept = changing.kept.store(&bytes, &version, signature.as_deref());
        kept.inspect_err(|error| tracing::warn!(%error, "nothing to go back to")).ok()
    }

    fn rollback(&self, name: &FormatName) -> Result<FormatStanding, FormatError> {
        let mut changing = self.changing.lock();
        let unknown = || FormatError::Unknown(name.as_str().to_owned());
        if !self.slots.load().contains_key(name) {
            return Err(unknown());
        }
        let entry = changing.kept.index().formats.get(name.as_str()).cloned().unwrap_or_default();
        let Some(former) = entry.former else {
            let name = name.as_str();
            return Err(FormatError::Conflict(format!("{name} has no former version to go back to")));
        };
        let admitted = self.admit_kept(&changing.kept, name, &former)?;
        let piece = Piece {
            source: FormatSource::Api,
            version: former.version.clone(),
            sha256: former.sha256.clone(),
            admitted: Ok(admitted),
        };
        self.commit(&mut changing, name, Some(former), entry.current, Some(piece))?.ok_or_else(unknown)
    }

    fn delete(&self, name: &FormatName) -> Result<(), FormatError> {
        let mut changing = self.changing.lock();
        let slots = self.slots.load_full();
        let slot = slots.get(name).ok_or_else(|| FormatError::Unknown(name.as_str().to_owned()))?;
        let name_text = name.as_str();
        match slot.source {
            FormatSource::Api => {}
            FormatSource::Folder => {
                return Err(FormatError::Conflict(format!(
                    "{name_text} is a file of plugins.dir: remove the file and restart"
                )));
            }
            FormatSource::Shipped => {
                return Err(FormatError::Conflict(format!(
                    "{name_text} is in the binary and stays: put another version over it instead"
                )));
            }
        }
        let under = changing.under.get(name).map(|under| under.piece.clone());
        self.commit(&mut changing, name, None, None, under).map(drop)
    }

    /// Writes the index, then swaps in what it says.
    fn commit(
        &self,
        changing: &mut Changing,
        name: &FormatName,
        current: Option<Stored>,
        former: Option<Stored>,
        piece: Option<Piece>,
    ) -> Result<Option<FormatStanding>, FormatError> {
        let mut index = changing.kept.index().clone();
        let entry = index.entry(name.as_str());
        entry.generation += 1;
        entry.in_use = piece.as_ref().map(|piece| piece.sha256.clone()).unwrap_or_default();
        (entry.current, entry.former) = (current, former);
        changing.kept.commit(index)?;
        let standing = self.swap_in(changing, name, piece);
        let version = standing.as_ref().map_or("none", |standing| &standing.version);
        tracing::info!(format = name.as_str(), version, "plugin format changed");
        Ok(standing)
    }
}

impl PluginFormats {
    /// [`Formats::put`] on this thread, for programs without a runtime.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub fn put_blocking(
        &self,
        name: &FormatName,
        component: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<FormatStanding, FormatError> {
        self.inner.put(name, component, signature)
    }

    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Inner) -> Result<T, FormatError> + Send + 'static,
    ) -> SendFuture<Result<T, FormatError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let (answer, waiting) = oneshot::channel();
            let work = move || drop(answer.send(change(&inner)));
            std::thread::Builder::new()
                .name("plugin-change".into())
                .spawn(work)
                .map_err(|error| internal("no thread", error))?;
            waiting.await.unwrap_or_else(|_| {
                Err(FormatError::Internal("the change ended without an answer".to_owned()))
            })
        })
    }
}

impl Formats for PluginFormats {
    fn list(&self) -> Vec<FormatStanding> {
        self.inner.slots.load().iter().map(|(name, slot)| slot.standing(name)).collect()
    }

    fn remains_without_api(&self, name: &FormatName) -> bool {
        self.inner.remains_without_api(name)
    }

    fn put(
        &self,
        name: FormatName,
        component: Bytes,
        signature: Option<Bytes>,
    ) -> SendFuture<Result<FormatStanding, FormatError>> {
        self.change(move |inner| inner.put(&name, &component, signature.as_deref()))
    }

    fn rollback(&self, name: FormatName) -> SendFuture<Result<FormatStanding, FormatError>> {
        self.change(move |inner| inner.rollback(&name))
    }

    fn delete(&self, name: FormatName) -> SendFuture<Result<(), FormatError>> {
        self.change(move |inner| inner.delete(&name))
    }

    fn lift(&self, name: &FormatName) -> Result<FormatStanding, FormatError> {
        let slots = self.inner.slots.load();
        let slot = slots.get(name).ok_or_else(|| FormatError::Unknown(name.as_str().to_owned()))?;
        match &slot.used {
            Used::Ready(generation) => {
                generation.lift();
                Ok(slot.standing(name))
            }
            Used::Refused(why) => {
                let name = name.as_str();
                Err(FormatError::Conflict(format!("{name} is refused ({why}): put a version that is not")))
            }
        }
    }
}
