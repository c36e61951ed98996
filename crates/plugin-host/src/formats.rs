//! The formats there are now, each with its generations, and the `Formatter` port over them.
//!
//! A change builds the new generation completely, then swaps it in: events rendered from then on use it, calls under way
//! end with the former one, which is kept for a rollback. What comes by API is stored in a folder of the data directory
//! (whole file, synced, then renamed) before anyone is told.

use crate::admission::{Admitted, SignaturePolicy, admit};
use crate::engine::Host;
use crate::error::PluginError;
use crate::instance::{Fault, Faulted};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::pool::{Job, Outcome, Pool};
use arc_swap::ArcSwap;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use fanfare_core::ports::{Formatter, SendFuture};
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use tokio::sync::oneshot;
use wasmtime::component::Component;

/// Faults in a row after which a plugin is left alone.
const FAULTS_MAX: u32 = 5;
/// Deadlines in a row: a machine with too much to do can make an innocent plugin late.
const DEADLINES_MAX: u32 = 20;

/// How formats are set up.
#[derive(Clone, Debug)]
pub struct FormatsOptions {
    /// Components to load at start (`plugins.dir`), `*.wasm`, each with a detached signature beside it as `*.wasm.sig`
    /// (64 bytes) when it has one. One that is refused is logged and left out.
    pub folder: Option<PathBuf>,
    /// Where those that come by API are kept; made when it is not there.
    pub kept: PathBuf,
    /// Where compiled code is kept; only this process' user may write there.
    pub cache: Option<PathBuf>,
    /// Threads that render; at least 1.
    pub threads: usize,
    /// Whose plugins are taken.
    pub signatures: SignaturePolicy,
}

/// What a generation did.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    renders: AtomicU64,
    instances: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
    faults_in_a_row: AtomicU32,
    deadlines_in_a_row: AtomicU32,
}

impl Meters {
    pub(crate) fn note_instance(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is enough: the plugin is to be left alone.
    fn note(&self, outcome: &Outcome) -> bool {
        self.renders.fetch_add(1, Ordering::Relaxed);
        let Err((kind, _)) = outcome else {
            self.faults_in_a_row.store(0, Ordering::Relaxed);
            self.deadlines_in_a_row.store(0, Ordering::Relaxed);
            return false;
        };
        if let Some(count) = self.faults.get(*kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let (count, most) = match kind {
            Fault::Deadline => (&self.deadlines_in_a_row, DEADLINES_MAX),
            _ => (&self.faults_in_a_row, FAULTS_MAX),
        };
        count.fetch_add(1, Ordering::Relaxed) + 1 == most
    }
}

/// One version of a format, in use or kept.
pub(crate) struct Generation {
    /// Never given twice.
    pub(crate) no: u64,
    pub(crate) component: Component,
    manifest: Manifest,
    pub(crate) default_type: Arc<str>,
    pub(crate) settings: String,
    /// A fresh instance for each call, for plugins that are not trusted to forget.
    pub(crate) is_fresh_each: bool,
    source: &'static str,
    is_retired: AtomicBool,
    is_quarantined: AtomicBool,
    pub(crate) meters: Meters,
}

impl Generation {
    pub(crate) fn limits(&self) -> Limits {
        self.manifest.limits
    }

    /// Whether another took its place.
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }
}

struct Slot {
    current: Arc<Generation>,
    former: Option<Arc<Generation>>,
}

/// One format, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatStanding {
    /// Its name.
    pub name: String,
    /// `folder` or `api`.
    pub source: &'static str,
    /// The plugin's own version.
    pub version: String,
    /// Rises with each change.
    pub generation: u64,
    /// Whether it is left alone after faults, its deliveries waiting.
    pub is_quarantined: bool,
    /// Whether there is a former one to go back to.
    pub has_former: bool,
}

/// See the module.
pub struct Formats {
    host: Arc<Host>,
    pool: Pool,
    options: FormatsOptions,
    slots: ArcSwap<BTreeMap<FormatName, Arc<Slot>>>,
    /// Held while a format is changed: one change at a time.
    changing: Mutex<()>,
    next_no: AtomicU64,
}

impl std::fmt::Debug for Formats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Formats").field("list", &self.list()).finish_non_exhaustive()
    }
}

impl Formats {
    /// Loads what is there. Blocks while components are compiled that were not before.
    ///
    /// # Errors
    /// [`PluginError::Internal`] only; a component that is refused is logged and left out.
    pub fn open(options: FormatsOptions) -> Result<Arc<Self>, PluginError> {
        let host = Host::new(options.cache.clone())?;
        std::fs::create_dir_all(&options.kept)
            .map_err(|error| PluginError::internal("cannot make the folder of formats", error))?;
        let formats = Formats {
            pool: Pool::start(&host, options.threads)?,
            host,
            options,
            slots: ArcSwap::default(),
            changing: Mutex::new(()),
            next_no: AtomicU64::new(1),
        };
        if let Some(folder) = formats.options.folder.clone() {
            formats.load(&folder, "folder");
        }
        // Later, so that what came by API stands before a file of the same name.
        formats.load(&formats.options.kept.clone(), "api");
        Ok(Arc::new(formats))
    }

    fn load(&self, folder: &Path, source: &'static str) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                return tracing::error!(folder = %folder.display(), %error, "cannot read the folder of plugins");
            }
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        files.sort();
        for file in files {
            let loaded = std::fs::read(&file)
                .map_err(|error| PluginError::internal("cannot be read", error))
                .and_then(|bytes| {
                    let signature = std::fs::read(file.with_extension("wasm.sig")).ok();
                    self.admit(&bytes, signature.as_deref())
                });
            match loaded {
                Ok(admitted) => {
                    let standing = self.swap_in(admitted, source);
                    let FormatStanding { name, version, .. } = standing;
                    tracing::info!(format = name, version, source, "format loaded");
                }
                Err(error) => {
                    tracing::error!(file = %file.display(), %error, "a plugin is refused and left out");
                }
            }
        }
    }

    fn admit(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<Admitted, PluginError> {
        admit(&self.host, bytes, signature, &self.options.signatures, "{}")
    }

    fn swap_in(&self, admitted: Admitted, source: &'static str) -> FormatStanding {
        let Admitted { manifest, component } = admitted;
        let name = FormatName::parse(&manifest.name).unwrap_or_default();
        let generation = Arc::new(Generation {
            no: self.next_no.fetch_add(1, Ordering::Relaxed),
            component,
            default_type: manifest.content_type.as_str().into(),
            manifest,
            settings: "{}".into(),
            is_fresh_each: false,
            source,
            is_retired: AtomicBool::new(false),
            is_quarantined: AtomicBool::new(false),
            meters: Meters::default(),
        });
        let mut slots = BTreeMap::clone(&self.slots.load());
        let former = slots.get(&name).map(|slot| Arc::clone(&slot.current));
        if let Some(former) = &former {
            former.is_retired.store(true, Ordering::Relaxed);
        }
        let slot = Arc::new(Slot { current: generation, former });
        let standing = standing(&name, &slot);
        slots.insert(name, slot);
        self.slots.store(Arc::new(slots));
        standing
    }

    /// Admits a component, stores it, and puts it in the place of the former one of its name. Blocks for up to seconds.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub fn put(
        &self,
        name: &str,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<FormatStanding, PluginError> {
        let _changing = self.changing.lock();
        let admitted = self.admit(bytes, signature)?;
        if admitted.manifest.name != name {
            let has = &admitted.manifest.name;
            return Err(PluginError::Name(format!("the plugin's own name is {has}, not {name}")));
        }
        let file = self.options.kept.join(format!("{name}.wasm"));
        if file.exists() {
            std::fs::copy(&file, file.with_extension("former"))
                .map_err(|error| PluginError::internal("cannot keep the former plugin", error))?;
        }
        keep(&file, bytes).map_err(|error| PluginError::internal("cannot keep the plugin", error))?;
        if let Some(signature) = signature {
            keep(&file.with_extension("wasm.sig"), signature)
                .map_err(|error| PluginError::internal("cannot keep the signature", error))?;
        }
        Ok(self.swap_in(admitted, "api"))
    }

    /// All plugin formats, by name.
    #[must_use]
    pub fn list(&self) -> Vec<FormatStanding> {
        self.slots.load().iter().map(|(name, slot)| standing(name, slot)).collect()
    }

    /// Tries a plugin again that was left alone after faults.
    ///
    /// # Errors
    /// [`PluginError::Unknown`].
    pub fn lift(&self, name: &str) -> Result<FormatStanding, PluginError> {
        let slots = self.slots.load();
        let name = FormatName::parse(name).ok_or_else(|| PluginError::Unknown(name.to_owned()))?;
        let slot = slots.get(&name).ok_or_else(|| PluginError::Unknown(name.as_str().to_owned()))?;
        slot.current.meters.faults_in_a_row.store(0, Ordering::Relaxed);
        slot.current.meters.deadlines_in_a_row.store(0, Ordering::Relaxed);
        slot.current.is_quarantined.store(false, Ordering::Relaxed);
        Ok(standing(&name, slot))
    }
}

fn standing(name: &FormatName, slot: &Slot) -> FormatStanding {
    FormatStanding {
        name: name.as_str().to_owned(),
        source: slot.current.source,
        version: slot.current.manifest.version.clone(),
        generation: slot.current.no,
        is_quarantined: slot.current.is_quarantined.load(Ordering::Relaxed),
        has_former: slot.former.is_some(),
    }
}

/// Whole or not at all.
fn keep(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = file.with_extension("part");
    let mut written = std::fs::File::create(&part)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    std::fs::rename(&part, file)?;
    if let Some(folder) = file.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn told(name: &FormatName, generation: &Generation, outcome: Outcome) -> Rendered {
    let is_enough = generation.meters.note(&outcome);
    match outcome {
        Ok(rendered) => rendered,
        Err((kind, message)) => {
            if is_enough && !generation.is_quarantined.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    format = name.as_str(),
                    version = generation.manifest.version,
                    fault = kind.name(),
                    message,
                    "plugin left alone after faults in a row; its deliveries wait for a new version or an operator"
                );
            }
            Rendered::Fault { message: format!("{}: {message}", kind.name()) }
        }
    }
}

impl Formatter for Formats {
    fn names(&self) -> Vec<FormatName> {
        self.slots.load().keys().cloned().collect()
    }

    fn is_ready(&self, format: &FormatName) -> bool {
        let slots = self.slots.load();
        slots.get(format).is_some_and(|slot| !slot.current.is_quarantined.load(Ordering::Relaxed))
    }

    fn render(&self, format: &FormatName, event: Arc<Event>) -> SendFuture<Rendered> {
        let Some(generation) = self.slots.load().get(format).map(|slot| Arc::clone(&slot.current)) else {
            let message = format!("no plugin format named {}", format.as_str());
            return Box::pin(async move { Rendered::Fault { message } });
        };
        if generation.is_quarantined.load(Ordering::Relaxed) {
            let message = "the plugin is left alone after faults in a row".to_owned();
            return Box::pin(async move { Rendered::Later { message } });
        }
        let (reply, answer) = oneshot::channel();
        self.pool.render(Job { generation: Arc::clone(&generation), event, reply });
        let name = format.clone();
        Box::pin(async move {
            let outcome: Outcome =
                answer.await.unwrap_or_else(|_| Err::<_, Faulted>((Fault::Trap, "its thread ended".into())));
            told(&name, &generation, outcome)
        })
    }
}
