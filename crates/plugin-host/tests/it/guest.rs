//! Guests as text (`fanfare_testkit::guest`), packed by the crate itself.

use bytes::Bytes;
use fanfare_core::delivery::{Body, Rendered};
use fanfare_core::event::{Event, EventKind};
use fanfare_core::ports::formats::{FormatError, FormatStanding, Formats as _};
use fanfare_core::ports::{Clock, Formatter as _};
use fanfare_core::webhook::FormatName;
use fanfare_core::{ChannelId, EventId, Now, Seq};
use fanfare_plugin_host::{FormatsOptions, Limits, Manifest, PluginFormats, SignaturePolicy, pack};
use fanfare_testkit::guest::GuestText;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use fanfare_testkit::guest::{ECHO, SPIN, TRAP};

/// A guest under way: what is not said is as in one that behaves.
pub(crate) struct Guest<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// Body of `render`; `$at` and `$size` are the event's.
    pub(crate) render: &'a str,
    /// Body of `configure`.
    pub(crate) configure: &'a str,
    /// Further fields of the module.
    pub(crate) fields: &'a str,
    pub(crate) memory_pages: u32,
    pub(crate) edit: fn(&mut Manifest),
}

impl Default for Guest<'_> {
    fn default() -> Self {
        let GuestText { name, version, render, configure, fields, memory_pages } = GuestText::default();
        Guest { name, version, render, configure, fields, memory_pages, edit: |_| {} }
    }
}

impl Guest<'_> {
    pub(crate) fn core(&self) -> Vec<u8> {
        let Guest { name, version, render, configure, fields, memory_pages, .. } = *self;
        let text = GuestText { name, version, render, configure, fields, memory_pages };
        wat::parse_str(text.module()).expect("the guest is well formed")
    }

    /// One that is not meant to loop has plenty of time: the machine may have much to do.
    pub(crate) fn manifest(&self) -> Manifest {
        let render_ms = if self.render.contains(SPIN) { 20 } else { 1000 };
        let mut manifest = Manifest {
            name: self.name.into(),
            version: self.version.into(),
            content_type: "application/json".into(),
            limits: Limits { render_ms, ..Limits::default() },
            settings_schema: None,
            vectors: Vec::new(),
        };
        (self.edit)(&mut manifest);
        manifest
    }

    pub(crate) fn component(&self) -> Vec<u8> {
        pack(&self.core(), &self.manifest()).expect("packs")
    }
}

/// The usual guest with this `render`.
pub(crate) fn component(render: &str) -> Vec<u8> {
    Guest { render, ..Guest::default() }.component()
}

/// The usual guest under this name or of this version.
pub(crate) fn named(name: &str, render: &str) -> Vec<u8> {
    Guest { name, render, ..Guest::default() }.component()
}

pub(crate) fn versioned(version: &str) -> Vec<u8> {
    let (text, size) = (format!("{version:>8}"), 8);
    // Answers with its version, so that one can tell.
    let fields = format!(r#"(data (i32.const 1500) "{text}")"#);
    let render = format!("(call $one (i32.const 1500) (i32.const {size}))");
    Guest { version, render: &render, fields: &fields, ..Guest::default() }.component()
}

/// An event that is of no store.
pub(crate) fn event(envelope: &str) -> Arc<Event> {
    numbered(0, envelope)
}

pub(crate) fn numbered(seq: u64, envelope: &str) -> Arc<Event> {
    Arc::new(Event {
        seq: Seq(seq),
        id: EventId::parse("E").expect("id"),
        kind: EventKind::Block,
        channel: ChannelId::parse("c").expect("id"),
        channel_phone: None,
        key: None,
        occurred_at_ms: None,
        accepted_at_ms: 0,
        envelope: Bytes::copy_from_slice(envelope.as_bytes()),
        payload: 0..0,
    })
}

/// Moves on by 3 µs each time it is read.
#[derive(Debug, Default)]
pub(crate) struct Ticking(AtomicU64);

impl Ticking {
    pub(crate) fn pass(&self, time: std::time::Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).expect("short"), Ordering::Relaxed);
    }
}

impl Clock for Ticking {
    fn now(&self) -> Now {
        let mono_ns = self.0.fetch_add(3_000, Ordering::Relaxed);
        Now { mono_ns, unix_ms: 1_700_000_000_000 }
    }
}

/// A host with one format or more, in a folder of its own.
pub(crate) struct Site {
    pub(crate) formats: PluginFormats,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn options(folder: &std::path::Path) -> FormatsOptions {
    FormatsOptions {
        folder: None,
        kept: folder.join("kept"),
        cache: Some(folder.join("cache")),
        threads: 1,
        signatures: SignaturePolicy::default(),
        shipped: Vec::new(),
        settings: BTreeMap::new(),
        fresh: BTreeSet::new(),
        clock: Arc::new(Ticking::default()),
    }
}

pub(crate) fn name(text: &str) -> FormatName {
    FormatName::parse(text).expect("a name")
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime").block_on(future)
}

impl Site {
    pub(crate) fn empty() -> Self {
        Self::open(|_| {})
    }

    pub(crate) fn open(edit: impl FnOnce(&mut FormatsOptions)) -> Self {
        Self::open_in(tempfile::tempdir().expect("a folder"), edit)
    }

    pub(crate) fn open_in(folder: tempfile::TempDir, edit: impl FnOnce(&mut FormatsOptions)) -> Self {
        let mut options = options(folder.path());
        edit(&mut options);
        Site { formats: PluginFormats::open(options).expect("opens"), folder }
    }

    /// Ends and starts again.
    pub(crate) fn again(self, edit: impl FnOnce(&mut FormatsOptions)) -> Self {
        let Site { formats, folder } = self;
        drop(formats);
        Self::open_in(folder, edit)
    }

    pub(crate) fn with(render: &str) -> Self {
        let site = Self::empty();
        site.put("ECHO", &component(render)).expect("admitted");
        site
    }

    pub(crate) fn put(&self, under: &str, bytes: &[u8]) -> Result<FormatStanding, FormatError> {
        wait(self.formats.put(name(under), Bytes::copy_from_slice(bytes), None))
    }

    pub(crate) fn standing(&self, under: &str) -> FormatStanding {
        let all = self.formats.list();
        all.into_iter().find(|standing| standing.name == name(under)).expect("it is there")
    }

    pub(crate) fn render(&self, envelope: &str) -> Rendered {
        wait(self.formats.render(&name("ECHO"), event(envelope)))
    }

    /// The one body's text.
    pub(crate) fn text(&self) -> String {
        let bodies = bodies(self.render("{}"));
        let body = bodies.first().expect("one body");
        String::from_utf8(body.bytes.to_vec()).expect("text").trim().to_owned()
    }

    pub(crate) fn faults(&self, kind: &str) -> u64 {
        let meters = self.standing("ECHO").meters;
        meters.faults.iter().find(|(name, _)| *name == kind).expect("a kind of fault").1
    }
}

pub(crate) fn bodies(rendered: Rendered) -> Vec<Body> {
    match rendered {
        Rendered::Bodies(bodies) => bodies,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn fault(rendered: Rendered) -> String {
    match rendered {
        Rendered::Fault { message } => message,
        other => panic!("{other:?}"),
    }
}
