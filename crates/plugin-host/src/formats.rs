//! The formats there are now, and the `Formatter` port over them. `changes.rs` has what is done to them while they run.
//!
//! What stands under a name: what was put by API, else a file of `plugins.dir`, else what is in the binary. Where the
//! topmost is refused, nothing below takes its place, for its receivers would get other bodies than they were
//! promised: its deliveries wait.

use crate::admission::{Admitted, SignaturePolicy, admit, inspect};
use crate::engine::Host;
use crate::error::{FormatError, internal, refused};
use crate::generation::{Generation, Meters};
use crate::kept::{Kept, Stored, sha256};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::pool::{Job, Pool};
use crate::queue::LaneId;
use crate::shared::{Asked, SharedRenders};
use arc_swap::ArcSwap;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use fanfare_core::ports::formats::{FormatSource, FormatStanding};
use fanfare_core::ports::{Clock, Formatter, SendFuture};
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How formats are set up.
#[derive(Clone)]
pub struct FormatsOptions {
    /// Components to load at start (`plugins.dir`), `*.wasm`, each with a detached signature beside it as `*.wasm.sig`
    /// (128 hex digits) when it has one. One that is refused is logged and left out.
    pub folder: Option<PathBuf>,
    /// Where those that come by API are kept; made when it is not there. No other process may use it meanwhile.
    pub kept: PathBuf,
    /// Where compiled code is kept; only this process' user may write there.
    pub cache: Option<PathBuf>,
    /// Threads that render; at least 1.
    pub threads: usize,
    /// Whose plugins are taken, from the folder and by API.
    pub signatures: SignaturePolicy,
    /// Components that are in the binary; they need no signature.
    pub shipped: Vec<&'static [u8]>,
    /// What formats are told at their start; `{}` to those that are not here.
    pub settings: BTreeMap<FormatName, serde_json::Value>,
    /// Formats that get a fresh instance for each event.
    pub fresh: BTreeSet<FormatName>,
    /// For measuring renders and for instances that nobody uses.
    pub clock: Arc<dyn Clock>,
}

/// Settings may hold secrets, so they are left out.
impl std::fmt::Debug for FormatsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FormatsOptions")
            .field("folder", &self.folder)
            .field("kept", &self.kept)
            .field("cache", &self.cache)
            .field("threads", &self.threads)
            .field("signatures", &self.signatures)
            .field("shipped", &self.shipped.len())
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}

/// What goes on under a name as long as the process lives.
#[derive(Clone)]
pub(crate) struct Track {
    lane: LaneId,
    meters: Arc<Meters>,
}

/// A version that was looked at: it may be used, or why not.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) source: FormatSource,
    pub(crate) version: String,
    pub(crate) sha256: String,
    pub(crate) admitted: Result<Admitted, String>,
}

/// What stands under a name beneath the API.
pub(crate) struct Under {
    pub(crate) piece: Piece,
    pub(crate) origin: Origin,
}

/// Where its bytes are.
pub(crate) enum Origin {
    Binary(&'static [u8]),
    File(PathBuf),
}

pub(crate) enum Used {
    Ready(Arc<Generation>),
    Refused(String),
}

/// One name.
pub(crate) struct Slot {
    track: Track,
    pub(crate) source: FormatSource,
    version: String,
    generation: u64,
    pub(crate) used: Used,
    former_version: Option<String>,
    has_under: bool,
}

impl Slot {
    pub(crate) fn standing(&self, name: &FormatName) -> FormatStanding {
        FormatStanding {
            name: name.clone(),
            source: self.source,
            version: self.version.clone(),
            generation: self.generation,
            is_quarantined: !self.is_ready(),
            former_version: self.former_version.clone(),
            meters: self.track.meters.read(),
        }
    }

    fn is_ready(&self) -> bool {
        matches!(&self.used, Used::Ready(generation) if !generation.is_quarantined())
    }
}

pub(crate) type Slots = BTreeMap<FormatName, Arc<Slot>>;

/// Held while a format is changed: one change at a time.
pub(crate) struct Changing {
    pub(crate) kept: Kept,
    pub(crate) under: BTreeMap<FormatName, Under>,
    tracks: BTreeMap<FormatName, Track>,
}

pub(crate) struct Inner {
    host: Arc<Host>,
    pub(crate) pool: Pool,
    options: FormatsOptions,
    pub(crate) slots: ArcSwap<Slots>,
    shared: Arc<SharedRenders>,
    pub(crate) changing: Mutex<Changing>,
    next_id: AtomicU64,
}

/// Payload formats that are plugins; both ports over them. Cheap to clone: all clones are the same formats. Its threads
/// end with the last one.
#[derive(Clone)]
pub struct PluginFormats {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for PluginFormats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginFormats").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl PluginFormats {
    /// Loads what is there. Blocks while components are compiled that were not before.
    ///
    /// # Errors
    /// [`FormatError::Internal`] only; a component that is refused is logged and left out.
    pub fn open(options: FormatsOptions) -> Result<Self, FormatError> {
        let host = Host::new(options.cache.clone())?;
        let kept = Kept::open(&options.kept, options.clock.now().unix_seconds())?;
        let inner = Inner {
            pool: Pool::start(&host, &options.clock, options.threads)?,
            host,
            slots: ArcSwap::default(),
            shared: Arc::default(),
            changing: Mutex::new(Changing { kept, under: BTreeMap::new(), tracks: BTreeMap::new() }),
            next_id: AtomicU64::new(1),
            options,
        };
        inner.load()?;
        Ok(PluginFormats { inner: Arc::new(inner) })
    }
}

fn report(piece: &Piece, name: &str, place: &str) {
    let (source, version) = (piece.source.name(), piece.version.as_str());
    match &piece.admitted {
        Ok(_) => tracing::info!(format = name, version, source, "plugin format loaded"),
        Err(why) => tracing::error!(
            format = name,
            version,
            source,
            file = place,
            why,
            "a plugin is refused and left out: deliveries in its format wait"
        ),
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    let most = COMPONENT_BYTES_MAX as u64 + 1;
    std::fs::File::open(file)
        .and_then(|opened| opened.take(most).read_to_end(&mut bytes))
        .map_err(|error| internal("cannot be read", error))?;
    Ok(bytes)
}

/// The signature beside a file, if there is one.
pub(crate) fn read_signature(file: &Path) -> Result<Option<Vec<u8>>, FormatError> {
    match std::fs::read_to_string(file.with_extension("wasm.sig")) {
        Ok(text) => {
            let mut signature = vec![0; 64];
            hex::decode_to_slice(text.trim_end(), &mut signature)
                .map_err(|_| refused("its .sig file does not hold 128 hex digits"))?;
            Ok(Some(signature))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(internal("its .sig file cannot be read", error)),
    }
}

impl Inner {
    /// At start: everything there is, and the counters of what is another than at the last start.
    fn load(&self) -> Result<(), FormatError> {
        let mut changing = self.changing.lock();
        if let Some(folder) = &self.options.folder {
            self.load_folder(folder, &mut changing.under);
        }
        self.load_shipped(&mut changing.under);
        let mut index = changing.kept.index().clone();
        let mut pieces: BTreeMap<FormatName, Piece> =
            changing.under.iter().map(|(name, under)| (name.clone(), under.piece.clone())).collect();
        for (name, entry) in &index.formats {
            if let (Some(name), Some(stored)) = (FormatName::parse(name), &entry.current) {
                let piece = self.load_kept(&changing.kept, &name, stored);
                report(&piece, name.as_str(), &format!("{}.wasm", stored.sha256));
                pieces.insert(name, piece);
            }
        }
        for (name, entry) in &mut index.formats {
            // Should it come back, it counts as a change.
            if FormatName::parse(name).is_none_or(|name| !pieces.contains_key(&name)) {
                entry.in_use.clear();
            }
        }
        for (name, piece) in &pieces {
            let entry = index.entry(name.as_str());
            if entry.in_use != piece.sha256 {
                entry.in_use.clone_from(&piece.sha256);
                entry.generation += 1;
            }
        }
        if index != *changing.kept.index() {
            changing.kept.commit(index)?;
        }
        let told = self.options.settings.keys().chain(&self.options.fresh);
        for name in told.filter(|name| !pieces.contains_key(*name)) {
            tracing::warn!(format = name.as_str(), "settings of a plugin format that is not there");
        }
        for (name, piece) in pieces {
            self.swap_in(&mut changing, &name, Some(piece));
        }
        Ok(())
    }

    fn load_folder(&self, folder: &Path, under: &mut BTreeMap<FormatName, Under>) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                return tracing::error!(folder = %folder.display(), %error, "cannot read the folder of plugins");
            }
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let place = file.display().to_string();
            let is_of = |ending: &str| file.extension().is_some_and(|extension| extension == ending);
            if is_of("cwasm") {
                tracing::error!(file = place, "compiled code is never taken: give the component (.wasm)");
            }
            if !is_of("wasm") {
                continue;
            }
            // Without a name nothing can be held back in its place.
            let (name, piece) = match read_file(&file).and_then(|bytes| {
                let manifest = inspect(&bytes)?;
                let name = FormatName::parse(&manifest.name).unwrap_or_default();
                let admitted = read_signature(&file)
                    .and_then(|signature| self.admit(&bytes, signature.as_deref(), &self.options.signatures));
                Ok((name, self.piece(FormatSource::Folder, manifest.version, &bytes, admitted)))
            }) {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(file = place, %error, "a plugin is refused and left out");
                    continue;
                }
            };
            if let Some(first) = under.get(&name) {
                let Origin::File(first) = &first.origin else { continue };
                let name = name.as_str();
                tracing::error!(file = place, first = %first.display(), "a second file of format {name} is left out");
                continue;
            }
            report(&piece, name.as_str(), &place);
            under.insert(name, Under { piece, origin: Origin::File(file) });
        }
    }

    fn load_shipped(&self, under: &mut BTreeMap<FormatName, Under>) {
        for bytes in &self.options.shipped {
            let manifest = match inspect(bytes) {
                Ok(manifest) => manifest,
                Err(error) => {
                    tracing::error!(%error, "a plugin in the binary is refused and left out");
                    continue;
                }
            };
            let name = FormatName::parse(&manifest.name).unwrap_or_default();
            if under.contains_key(&name) {
                continue;
            }
            let admitted = self.admit(bytes, None, &SignaturePolicy::default());
            let piece = self.piece(FormatSource::Shipped, manifest.version, bytes, admitted);
            report(&piece, name.as_str(), "in the binary");
            under.insert(name, Under { piece, origin: Origin::Binary(bytes) });
        }
    }

    fn piece(
        &self,
        source: FormatSource,
        version: String,
        bytes: &[u8],
        admitted: Result<Admitted, FormatError>,
    ) -> Piece {
        Piece {
            source,
            version,
            sha256: sha256(bytes),
            admitted: admitted.map_err(|error| error.to_string()),
        }
    }

    fn load_kept(&self, kept: &Kept, name: &FormatName, stored: &Stored) -> Piece {
        let admitted = self.admit_kept(kept, name, stored).map_err(|error| error.to_string());
        let (version, sha256) = (stored.version.clone(), stored.sha256.clone());
        Piece { source: FormatSource::Api, version, sha256, admitted }
    }

    /// One that was admitted before, by what holds now.
    pub(crate) fn admit_kept(
        &self,
        kept: &Kept,
        name: &FormatName,
        stored: &Stored,
    ) -> Result<Admitted, FormatError> {
        let (bytes, signature) = kept.read(stored).map_err(FormatError::Internal)?;
        self.admit_named(name, &bytes, signature.as_deref())
    }

    /// One that came by API.
    pub(crate) fn admit_named(
        &self,
        name: &FormatName,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<Admitted, FormatError> {
        let has = inspect(bytes)?.name;
        if has != name.as_str() {
            let name = name.as_str();
            return Err(FormatError::Name(format!("the plugin's own name is {has}, not {name}")));
        }
        self.admit(bytes, signature, &self.options.signatures)
    }

    fn admit(
        &self,
        bytes: &[u8],
        signature: Option<&[u8]>,
        policy: &SignaturePolicy,
    ) -> Result<Admitted, FormatError> {
        let name = FormatName::parse(&inspect(bytes)?.name).unwrap_or_default();
        admit(&self.host, bytes, signature, policy, &self.settings(&name))
    }

    fn settings(&self, name: &FormatName) -> String {
        self.options.settings.get(name).map_or_else(|| "{}".to_owned(), serde_json::Value::to_string)
    }

    /// From now on `piece` stands under the name; `None`: nothing does. The index says so already.
    pub(crate) fn swap_in(
        &self,
        changing: &mut Changing,
        name: &FormatName,
        piece: Option<Piece>,
    ) -> Option<FormatStanding> {
        let mut slots = Slots::clone(&self.slots.load());
        let before = slots.remove(name);
        let after = piece.map(|piece| Arc::new(self.slot(changing, name, piece)));
        if let Some(slot) = &after {
            slots.insert(name.clone(), Arc::clone(slot));
        }
        self.slots.store(Arc::new(slots));
        if let Some(Used::Ready(generation)) = before.as_deref().map(|slot| &slot.used) {
            generation.retire();
            self.pool.drop_retired();
        }
        after.map(|slot| slot.standing(name))
    }

    fn slot(&self, changing: &mut Changing, name: &FormatName, piece: Piece) -> Slot {
        let lane = changing.tracks.len() as LaneId;
        let track = changing.tracks.entry(name.clone());
        let track = track.or_insert_with(|| Track { lane, meters: Arc::default() }).clone();
        let used = match piece.admitted {
            Ok(admitted) => Used::Ready(Generation::new(
                self.next_id.fetch_add(1, Ordering::Relaxed),
                name.clone(),
                admitted,
                self.settings(name),
                self.options.fresh.contains(name),
                Arc::clone(&track.meters),
            )),
            Err(why) => Used::Refused(why),
        };
        let entry = changing.kept.index().formats.get(name.as_str());
        Slot {
            track,
            source: piece.source,
            version: piece.version,
            generation: entry.map_or(0, |entry| entry.generation),
            used,
            former_version: entry
                .and_then(|entry| entry.former.as_ref())
                .map(|former| former.version.clone()),
            has_under: changing.under.contains_key(name),
        }
    }

    /// Whether something would stay without the API.
    pub(crate) fn remains_without_api(&self, name: &FormatName) -> bool {
        self.slots.load().get(name).is_some_and(|slot| slot.has_under)
    }
}

impl Formatter for PluginFormats {
    fn names(&self) -> Vec<FormatName> {
        self.inner.slots.load().keys().cloned().collect()
    }

    fn is_ready(&self, format: &FormatName) -> bool {
        self.inner.slots.load().get(format).is_some_and(|slot| slot.is_ready())
    }

    fn render(&self, format: &FormatName, event: Arc<Event>) -> SendFuture<Rendered> {
        let slots = self.inner.slots.load();
        let later = |message: String| -> SendFuture<Rendered> {
            Box::pin(std::future::ready(Rendered::Later { message }))
        };
        let name = format.as_str();
        let Some(slot) = slots.get(format) else {
            return later(format!("no plugin format named {name} is loaded"));
        };
        let generation = match &slot.used {
            Used::Ready(generation) => generation,
            Used::Refused(why) => return later(format!("plugin {name} is refused: {why}")),
        };
        let waiting = match self.inner.shared.ask(generation, &event) {
            Asked::Finished(rendered) => return Box::pin(std::future::ready(rendered)),
            Asked::Wait(waiting) => waiting,
            Asked::Render(mut reply, waiting) => {
                if generation.is_quarantined() {
                    reply.give(generation.left_alone());
                } else {
                    let job = Job { generation: Arc::clone(generation), event, reply };
                    self.inner.pool.render(slot.track.lane, job);
                }
                waiting
            }
        };
        let name = format.clone();
        Box::pin(async move {
            waiting.await.unwrap_or_else(|_| Rendered::Later {
                message: format!("plugin {} went away while it rendered", name.as_str()),
            })
        })
    }
}
