//! Plugins written by hand, as WebAssembly text: no toolchain, and each does just what it says.

use fanfare_plugin_host::{Limits, Manifest, pack};

/// `render` that gives one body: the event itself.
pub const ECHO: &str = "(call $one (local.get $at) (local.get $size))";
/// `render` that never ends.
pub const SPIN: &str = "(loop $on (br $on)) (unreachable)";
/// `render` that takes memory until there is none.
pub const GROW: &str = "(loop $on (drop (memory.grow (i32.const 16))) (br $on)) (unreachable)";
/// `render` that breaks off.
pub const TRAP: &str = "(unreachable)";
/// `render` that calls itself until the stack ends.
pub const DEEP: &str = "(call $deep (local.get $at))";
/// `render` that gives 100 MB.
pub const HUGE: &str = "(drop (memory.grow (i32.const 900))) (call $one (i32.const 0) (i32.const 100000000))";
/// `render` that gives as much as fits into its memory, over its own limit.
pub const LARGE: &str = "(drop (memory.grow (i32.const 120))) (call $one (i32.const 0) (i32.const 7000000))";
/// `render` that sets `authorization`.
pub const HEADER: &str = "(i32.store (i32.const 256) (local.get $at)) (i32.store (i32.const 260) (local.get $size))
    (i32.store8 (i32.const 264) (i32.const 0)) (i32.store (i32.const 276) (i32.const 320)) (i32.store (i32.const 280) (i32.const 1))
    (i32.store (i32.const 320) (i32.const 80)) (i32.store (i32.const 324) (i32.const 13))
    (i32.store (i32.const 328) (i32.const 93)) (i32.store (i32.const 332) (i32.const 3))
    (i32.store8 (i32.const 192) (i32.const 0)) (i32.store (i32.const 196) (i32.const 256))
    (i32.store (i32.const 200) (i32.const 1)) (i32.const 192)";
/// `render` that skips every event as `no_form`.
pub const SKIP: &str = "(call $fail (i32.const 0) (i32.const 64) (i32.const 7))";
/// `render` that finds every event invalid.
pub const INVALID: &str = "(call $fail (i32.const 1) (i32.const 64) (i32.const 7))";
/// `render` that says it failed.
pub const INTERNAL: &str = "(call $fail (i32.const 2) (i32.const 64) (i32.const 7))";

/// A plugin whose `render` is this text; `$at` and `$size` are the event's.
///
/// # Panics
/// When the text is no WebAssembly, or the name none of a format.
#[must_use]
pub fn plugin(name: &str, version: &str, render: &str) -> Vec<u8> {
    let described = format!("{name}{version}application/json");
    let little = |number: usize| u32::try_from(number).expect("short").to_le_bytes();
    let at = [16, 16 + name.len(), 16 + name.len() + version.len()];
    let lengths = [name.len(), version.len(), "application/json".len()];
    let table: String = at
        .iter()
        .zip(lengths)
        .flat_map(|(at, length)| [little(*at), little(length)].concat())
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    assert!(described.len() <= 48, "name and version are short");
    let text = format!(
        r#"(module
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (data (i32.const 16) "{described}")
  (data (i32.const 64) "no_form")
  (data (i32.const 80) "authorizationabc")
  (data (i32.const 128) "{table}")
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
  (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))
  (func $one (param $at i32) (param $size i32) (result i32)
    (i32.store (i32.const 256) (local.get $at)) (i32.store (i32.const 260) (local.get $size))
    (i32.store8 (i32.const 264) (i32.const 0)) (i32.store (i32.const 276) (i32.const 0))
    (i32.store (i32.const 280) (i32.const 0))
    (i32.store8 (i32.const 192) (i32.const 0)) (i32.store (i32.const 196) (i32.const 256))
    (i32.store (i32.const 200) (i32.const 1)) (i32.const 192))
  (func $fail (param $kind i32) (param $at i32) (param $size i32) (result i32)
    (i32.store8 (i32.const 192) (i32.const 1)) (i32.store8 (i32.const 196) (local.get $kind))
    (i32.store (i32.const 200) (local.get $at)) (i32.store (i32.const 204) (local.get $size)) (i32.const 192))
  (func (export "fanfare:format/format@1.0.0#render") (param $at i32) (param $size i32) (result i32)
    {render})
  (func (export "cabi_post_fanfare:format/format@1.0.0#render") (param i32)
    (global.set $free (i32.const 4096)))
)"#
    );
    let core = wat::parse_str(text).expect("the guest is well formed");
    let manifest = Manifest {
        name: name.to_owned(),
        version: version.to_owned(),
        content_type: "application/json".to_owned(),
        limits: Limits::default(),
        settings_schema: None,
        vectors: Vec::new(),
    };
    pack(&core, &manifest).expect("it packs")
}
