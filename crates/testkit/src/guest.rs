//! Guests of the plugin host as WebAssembly text: core modules of the interface's canonical ABI, ready to be assembled and
//! packed. No toolchain, and each does just what it says.

/// Gives one body: the event itself.
pub const ECHO: &str = "(call $one (local.get $at) (local.get $size))";
/// Never ends.
pub const SPIN: &str = "(loop $on (br $on)) (unreachable)";
/// Traps at once.
pub const TRAP: &str = "(unreachable)";

/// Where a guest's version lies in its memory.
pub const VERSION_AT: u32 = 1100;

/// What a guest is made of; what is not said is as in one that behaves.
#[derive(Clone, Copy, Debug)]
pub struct GuestText<'a> {
    /// Of its format.
    pub name: &'a str,
    /// Its own.
    pub version: &'a str,
    /// Body of `render`; `$at` and `$size` are the event's, `$one` gives one body, `$fail` a failure, `$deep` recurses.
    pub render: &'a str,
    /// Body of `configure`.
    pub configure: &'a str,
    /// Further fields of the module.
    pub fields: &'a str,
    /// Memory at its start.
    pub memory_pages: u32,
}

impl Default for GuestText<'_> {
    fn default() -> Self {
        GuestText {
            name: "ECHO",
            version: "1.0.0",
            render: ECHO,
            configure: "(i32.store8 (i32.const 160) (i32.const 0)) (i32.const 160)",
            fields: "",
            memory_pages: 2,
        }
    }
}

impl GuestText<'_> {
    /// The core module.
    #[must_use]
    pub fn module(&self) -> String {
        let GuestText { name, version, render, configure, fields, memory_pages } = self;
        let size = |text: &str| format!(r"\{:02x}\00\00\00", text.len());
        let (name_size, version_size) = (size(name), size(version));
        format!(
            r#"(module
  (memory (export "memory") {memory_pages})
  (global $free (mut i32) (i32.const 4096))
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 1024) "{name}")
  (data (i32.const {VERSION_AT}) "{version}")
  (data (i32.const 1150) "application/json")
  (data (i32.const 64) "no_form")
  ;; name, version, content type
  (data (i32.const 128) "\00\04\00\00{name_size}\4c\04\00\00{version_size}\7e\04\00\00\10\00\00\00")
  {fields}
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.add (i32.div_u (local.get 3) (i32.const 65536)) (i32.const 1)))))
    (local.get $at))
  (func (export "fanfare:format/format@1.0.0#describe") (result i32) (i32.const 128))
  (func (export "fanfare:format/format@1.0.0#configure") (param $at i32) (param $size i32) (result i32)
    {configure})
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
  (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
  (func (export "fanfare:format/format@1.0.0#render") (param $at i32) (param $size i32) (result i32)
    (local $i i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    {render})
  (func (export "cabi_post_fanfare:format/format@1.0.0#render") (param i32)
    (global.set $free (i32.const 4096)))
)"#
        )
    }
}
