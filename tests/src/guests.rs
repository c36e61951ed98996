//! Plugins of `fanfare_testkit::guest`, packed: ones that behave, and hostile ones.

use fanfare_plugin_host::{Limits, Manifest, pack};
use fanfare_testkit::guest::GuestText;

pub use fanfare_testkit::guest::{ECHO, SPIN, TRAP, VERSION_AT};

/// `render` that takes memory until there is none.
pub const GROW: &str = "(loop $on (drop (memory.grow (i32.const 16))) (br $on)) (unreachable)";
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
    let fields = r#"(data (i32.const 80) "authorizationabc")"#;
    let guest = GuestText { name, version, render, fields, ..GuestText::default() };
    let core = wat::parse_str(guest.module()).expect("the guest is well formed");
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
