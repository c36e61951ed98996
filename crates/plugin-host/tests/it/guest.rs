//! Guests as text: core modules of the interface's canonical ABI, packed by the crate itself.

use bytes::Bytes;
use fanfare_core::event::{Event, EventKind};
use fanfare_core::{ChannelId, EventId, Seq};
use fanfare_plugin_host::{Formats, FormatsOptions, Limits, Manifest, SignaturePolicy, pack};
use std::sync::Arc;

/// Gives one body: the event itself.
pub(crate) const ECHO: &str = "
    (call $one (local.get $at) (local.get $size))";

/// A core module whose `render` is this; `$at` and `$size` are the event's.
pub(crate) fn core(render: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 16) "ECHO1.0.0application/json")
  (data (i32.const 64) "no_form")
  ;; name, version, content type
  (data (i32.const 128) "\10\00\00\00\04\00\00\00\14\00\00\00\05\00\00\00\19\00\00\00\10\00\00\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.add (i32.div_u (local.get 3) (i32.const 65536)) (i32.const 1)))))
    (local.get $at))
  (func (export "fanfare:format/format@1.0.0#describe") (result i32) (i32.const 128))
  (func (export "fanfare:format/format@1.0.0#configure") (param i32 i32) (result i32)
    (i32.store8 (i32.const 160) (i32.const 0)) (i32.const 160))
  ;; one body without anything beside it
  (func $one (param $at i32) (param $size i32) (result i32)
    (i32.store (i32.const 256) (local.get $at)) (i32.store (i32.const 260) (local.get $size))
    (i32.store8 (i32.const 264) (i32.const 0)) (i32.store (i32.const 276) (i32.const 0))
    (i32.store (i32.const 280) (i32.const 0))
    (i32.store8 (i32.const 192) (i32.const 0)) (i32.store (i32.const 196) (i32.const 256))
    (i32.store (i32.const 200) (i32.const 1)) (i32.const 192))
  ;; a failure of kind 0 skip, 1 invalid, 2 internal
  (func $fail (param $kind i32) (param $at i32) (param $size i32) (result i32)
    (i32.store8 (i32.const 192) (i32.const 1)) (i32.store8 (i32.const 196) (local.get $kind))
    (i32.store (i32.const 200) (local.get $at)) (i32.store (i32.const 204) (local.get $size)) (i32.const 192))
  (func (export "fanfare:format/format@1.0.0#render") (param $at i32) (param $size i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    {render})
  (func (export "cabi_post_fanfare:format/format@1.0.0#render") (param i32)
    (global.set $free (i32.const 4096)))
)"#
    );
    wat::parse_str(text).expect("the guest is well formed")
}

pub(crate) fn manifest() -> Manifest {
    Manifest {
        name: "ECHO".into(),
        version: "1.0.0".into(),
        content_type: "application/json".into(),
        limits: Limits::default(),
        settings_schema: None,
        vectors: Vec::new(),
    }
}

pub(crate) fn component(render: &str) -> Vec<u8> {
    pack(&core(render), &manifest()).expect("packs")
}

pub(crate) fn event(envelope: &str) -> Arc<Event> {
    Arc::new(Event {
        seq: Seq(1),
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

/// A host with one format, of this `render`.
pub(crate) struct Site {
    pub(crate) formats: Arc<Formats>,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn options(folder: &std::path::Path) -> FormatsOptions {
    FormatsOptions {
        folder: None,
        kept: folder.join("kept"),
        cache: Some(folder.join("cache")),
        threads: 1,
        signatures: SignaturePolicy::default(),
    }
}

impl Site {
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Site { formats: Formats::open(options(folder.path())).expect("opens"), folder }
    }

    pub(crate) fn with(render: &str) -> Self {
        let site = Self::empty();
        site.formats.put("ECHO", &component(render), None).expect("admitted");
        site
    }
}
