//! Plugin formats in memory: a "component" is the text `NAME VERSION`, and renders to `NAME VERSION EVENT-ID`.

use bytes::Bytes;
use fanfare_core::delivery::{Body, Rendered};
use fanfare_core::event::Event;
use fanfare_core::ports::formats::{FormatError, FormatMeters, FormatSource, FormatStanding, Formats};
use fanfare_core::ports::{Formatter, SendFuture};
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What is there under one name.
#[derive(Clone, Debug, Default)]
struct Slot {
    shipped: Option<String>,
    api: Option<String>,
    former: Option<String>,
    generation: u64,
    is_quarantined: bool,
    renders: u64,
}

impl Slot {
    fn version(&self) -> Option<&String> {
        self.api.as_ref().or(self.shipped.as_ref())
    }

    fn standing(&self, name: &FormatName) -> Option<FormatStanding> {
        Some(FormatStanding {
            name: name.clone(),
            source: if self.api.is_some() { FormatSource::Api } else { FormatSource::Shipped },
            version: self.version()?.clone(),
            generation: self.generation,
            is_quarantined: self.is_quarantined,
            former_version: self.former.clone(),
            meters: FormatMeters {
                renders: self.renders,
                faults: vec![("trap", 0)],
                ..FormatMeters::default()
            },
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct MemoryFormats {
    slots: Mutex<BTreeMap<FormatName, Slot>>,
    /// Whether changes wait.
    is_held: watch::Sender<bool>,
}

impl MemoryFormats {
    /// With these in the binary, as `NAME VERSION` each.
    ///
    /// # Panics
    /// When one is not of that form.
    #[must_use]
    pub fn new(shipped: &[&str]) -> Arc<Self> {
        let slots = shipped.iter().map(|text| {
            let (name, version) = parse(text.as_bytes()).expect("NAME VERSION");
            (name, Slot { shipped: Some(version), generation: 1, ..Slot::default() })
        });
        Arc::new(MemoryFormats { slots: Mutex::new(slots.collect()), is_held: watch::Sender::new(false) })
    }

    /// While held, no change goes on.
    pub fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    /// Leaves a format alone, as after faults.
    ///
    /// # Panics
    /// When it is not there.
    pub fn quarantine(&self, name: &str) {
        let name = FormatName::parse(name).expect("a name");
        self.slots.lock().get_mut(&name).expect("a format").is_quarantined = true;
    }

    fn change(
        self: &Arc<Self>,
        name: FormatName,
        edit: impl FnOnce(&mut Slot) -> Result<(), FormatError> + Send + 'static,
    ) -> SendFuture<Result<FormatStanding, FormatError>> {
        let formats = Arc::clone(self);
        Box::pin(async move {
            let mut held = formats.is_held.subscribe();
            held.wait_for(|is_held| !is_held).await.expect("the sender is ours");
            let mut slots = formats.slots.lock();
            let mut slot = slots.get(&name).cloned().unwrap_or_default();
            edit(&mut slot)?;
            slot.generation += 1;
            slot.is_quarantined = false;
            slots.insert(name.clone(), slot.clone());
            // One that is gone has none; who asked for that does not read it.
            Ok(slot.standing(&name).unwrap_or_else(|| gone(&name)))
        })
    }
}

fn gone(name: &FormatName) -> FormatStanding {
    Slot { shipped: Some(String::new()), ..Slot::default() }.standing(name).expect("it has a version")
}

fn parse(component: &[u8]) -> Option<(FormatName, String)> {
    let (name, version) = str::from_utf8(component).ok()?.split_once(' ')?;
    Some((FormatName::parse(name)?, version.to_owned()))
}

/// Shared, as an engine takes it: both ports over the same formats.
#[derive(Clone, Debug)]
pub struct SharedFormats(pub Arc<MemoryFormats>);

impl Formats for SharedFormats {
    fn list(&self) -> Vec<FormatStanding> {
        self.0.slots.lock().iter().filter_map(|(name, slot)| slot.standing(name)).collect()
    }

    fn remains_without_api(&self, name: &FormatName) -> bool {
        self.0.slots.lock().get(name).is_some_and(|slot| slot.shipped.is_some())
    }

    /// A signature of 64 zeros is taken for a wrong one.
    fn put(
        &self,
        name: FormatName,
        component: Bytes,
        signature: Option<Bytes>,
    ) -> SendFuture<Result<FormatStanding, FormatError>> {
        let refused = match parse(&component) {
            None => FormatError::Refused("not a component".to_owned()),
            Some(_) if signature.is_some_and(|signature| signature.iter().all(|byte| *byte == 0)) => {
                FormatError::Refused("the signature is of no key that is known".to_owned())
            }
            Some((own, _)) if own != name => {
                FormatError::Name(format!("the plugin's own name is {}, not {}", own.as_str(), name.as_str()))
            }
            Some((_, version)) => {
                return self.0.change(name, move |slot| {
                    // Held until then, as by whoever compiles it.
                    drop(component);
                    slot.former = slot.version().cloned();
                    slot.api = Some(version);
                    Ok(())
                });
            }
        };
        Box::pin(async move { Err(refused) })
    }

    fn rollback(&self, name: FormatName) -> SendFuture<Result<FormatStanding, FormatError>> {
        let text = name.as_str().to_owned();
        self.0.change(name, move |slot| {
            let present = slot.version().cloned().ok_or(FormatError::Unknown(text.clone()))?;
            let former = slot.former.replace(present);
            slot.api = Some(former.ok_or(FormatError::Conflict(format!("{text} has no former version")))?);
            Ok(())
        })
    }

    fn delete(&self, name: FormatName) -> SendFuture<Result<(), FormatError>> {
        let text = name.as_str().to_owned();
        let changed = self.0.change(name, move |slot| {
            slot.version().ok_or(FormatError::Unknown(text.clone()))?;
            let put = slot.api.take();
            put.ok_or(FormatError::Conflict(format!("{text} is in the binary: it was not put by API")))?;
            slot.former = None;
            Ok(())
        });
        Box::pin(async move { changed.await.map(drop) })
    }

    fn lift(&self, name: &FormatName) -> Result<FormatStanding, FormatError> {
        let mut slots = self.0.slots.lock();
        let slot = slots.get_mut(name).ok_or_else(|| FormatError::Unknown(name.as_str().to_owned()))?;
        slot.is_quarantined = false;
        slot.standing(name).ok_or_else(|| FormatError::Unknown(name.as_str().to_owned()))
    }
}

impl Formatter for SharedFormats {
    fn names(&self) -> Vec<FormatName> {
        let slots = self.0.slots.lock();
        slots.iter().filter(|(_, slot)| slot.version().is_some()).map(|(name, _)| name.clone()).collect()
    }

    fn is_ready(&self, format: &FormatName) -> bool {
        let slots = self.0.slots.lock();
        slots.get(format).is_some_and(|slot| slot.version().is_some() && !slot.is_quarantined)
    }

    fn render(&self, format: &FormatName, event: Arc<Event>) -> SendFuture<Rendered> {
        let mut slots = self.0.slots.lock();
        let rendered = match slots.get_mut(format) {
            Some(slot) if !slot.is_quarantined && slot.version().is_some() => {
                slot.renders += 1;
                let version = slot.version().map_or("", String::as_str);
                let text = format!("{} {version} {}", format.as_str(), event.id);
                Rendered::Bodies([Body::json(Bytes::from(text))].into_iter().collect())
            }
            _ => Rendered::Later { message: "not there, or left alone".to_owned() },
        };
        Box::pin(async move { rendered })
    }
}
