//! Runs payload formats that are WebAssembly components, inside limits.
//!
//! What it is: the `Formatter` port on wasmtime. A component is admitted (`admission`: size, signature, no imports,
//! interface version, manifest, its own vectors), compiled off to the side (`engine`, with a cache of compiled code), and
//! becomes a *generation* of its format (`formats`; `changes` and `kept` for those that come by API). An event is rendered
//! once for all who ask (`shared`), on threads of their own (`pool`) that take formats in turn (`queue`), each with one
//! warm instance per generation (`instance`).
//!
//! What it is not: it knows no delivery, no webhook, no store and no network; a plugin has no import at all.
//!
//! Where to start: [`PluginFormats::open`], then `pool.rs` for a render from end to end.
//!
//! Invariants: compiled code is only ever loaded from a file that this process' user wrote; an instance that trapped is
//! never called again; a render ends in its deadline, whatever the guest does; never another format in a plugin's place.

mod admission;
mod changes;
mod conformance;
mod engine;
mod envelope;
mod error;
mod formats;
mod generation;
mod inspect;
mod instance;
mod kept;
mod limits;
mod manifest;
mod offline;
mod output;
mod pack;
mod pool;
mod queue;
mod settings;
mod shared;
mod signed;

pub use admission::{Admitted, SignaturePolicy};
pub use conformance::{
    Check, ConformanceOptions, Cost, ENDURANCE_RENDERS, Report, Status, VectorCost, check_conformance,
};
pub use fanfare_core::ports::formats::FormatError;
pub use formats::{FormatsOptions, PluginFormats};
pub use inspect::{Inspection, inspect_component};
pub use limits::Limits;
pub use manifest::{Expect, Manifest, Vector};
pub use offline::OfflinePlugin;
pub use pack::{pack, read_manifest, read_vectors};
pub use signed::{SigningKey, is_signed_by};

/// The components that go into the binary, for [`FormatsOptions::shipped`].
pub const SHIPPED: &[&[u8]] =
    &[include_bytes!("../shipped/cloudevents.wasm"), include_bytes!("../shipped/whatsapp-cloud.wasm")];

/// Bindings of the interface's first version (`plugins/wit/v1`).
mod v1 {
    wasmtime::component::bindgen!({ path: "../../plugins/wit/v1", world: "plugin" });
}
