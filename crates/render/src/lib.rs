//! Event bytes to payload bytes: the ingest envelope, DEFAULT and Z_API.
//!
//! What it is: pure functions. [`event`] reads what a producer submits into [`ParsedEvent`]s without copying the
//! payload; [`render_default`] and [`render_z_api`] turn an accepted event into the exact bytes a receiver gets.
//!
//! What it is not: it knows no webhook's settings, no HTTP, no secret, no actor, no clock and no disk. It has no
//! configuration: the same event renders to the same bytes on every attempt.
//!
//! Where to start: [`parse_event`] for the way in, `z_api/mod.rs` for the way out; `payload.rs` is how a payload is
//! read (simd-json over a private copy, texts of numbers taken from the original).
//!
//! Invariants:
//! - the bytes of an event are never written to: simd-json rewrites its input, so it only ever sees a copy;
//! - DEFAULT is the payload's slice of the envelope, not a serialisation of it;
//! - numbers leave as the text they came in, whatever their size or precision;
//! - no text of a payload stands in an error, but for a `type` cut to 64 characters.

mod default;
mod escape;
pub mod event;
#[doc(hidden)]
pub mod fuzzing;
mod party;
mod payload;
mod request;
mod z_api;

pub use default::render_default;
pub use event::{EventError, EventErrorKind, ParsedEvent, bare_event, parse_event};
pub use party::{connected_phone, customer_identifier};
pub use request::{RequestForm, split_request};
pub use z_api::render_z_api;

use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use fanfare_core::webhook::FormatName;

/// Renders in a format that is built in; `None` when `format` is not one of them (a plugin's, then).
#[must_use]
pub fn render_builtin(format: &FormatName, event: &Event) -> Option<Rendered> {
    match format.as_str() {
        FormatName::DEFAULT => Some(render_default(event)),
        FormatName::Z_API => Some(render_z_api(event)),
        _ => None,
    }
}
