//! DEFAULT: the hub's own body, byte for byte.

use fanfare_core::delivery::{Body, Rendered};
use fanfare_core::event::Event;

/// The payload as the producer wrote it: same whitespace, same order, same numbers. Costs one reference count.
#[must_use]
pub fn render_default(event: &Event) -> Rendered {
    Rendered::Bodies(vec![Body::json(event.payload())])
}
