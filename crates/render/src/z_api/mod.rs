//! Z_API: the callback bodies of Z-API, made from hub events.
//!
//! `message.rs` is what every message body shares, `content.rs` one function per kind of item, `status.rs` the state
//! tables, `channel.rs` the events without a message. `contact.rs` and `mime.rs` serve `content.rs`.
//!
//! Cost for a 1.5 KB event: one copy and one parse of the payload, one pass of writing, four allocations (body list,
//! bytes of the bodies and what keeps them shared). Member order is fixed, so a retry renders the same bytes.

mod channel;
mod contact;
mod content;
mod message;
mod mime;
mod status;

use crate::escape::Writer;
use crate::payload::{Refusal, with_payload};
use bytes::Bytes;
use fanfare_core::delivery::{Body, Rendered};
use fanfare_core::event::{Event, EventKind};
use message::Message;
use std::ops::Range;

/// Reason codes of a skipped event.
mod skip {
    pub(super) const NO_COUNTERPART: &str = "no_z_api_counterpart";
    pub(super) const UNSUPPORTED_CONTENT: &str = "unsupported_content";
    pub(super) const EMPTY_MESSAGE: &str = "empty_message";
    pub(super) const BAD_LOCATION: &str = "bad_location";
}

/// Renders the event's Z-API callbacks: one body per item for a received message, else one or none.
#[must_use]
pub fn render_z_api(event: &Event) -> Rendered {
    let payload = event.envelope.get(event.payload.clone()).unwrap_or_default();
    let rendered = with_payload(payload, |root, out| {
        let mut out = Writer::new(out);
        let mut bodies = Bodies::default();
        match event.kind {
            EventKind::MessageReceived => {
                Message::of(root, event)?.write_received(&mut out, &mut bodies)?;
            }
            EventKind::MessageDelivery => {
                let message = Message::of(root, event)?;
                bodies.one(&mut out, |out| message.write_delivery(out))?;
            }
            EventKind::MessageStatus => {
                let message = Message::of(root, event)?;
                bodies.one(&mut out, |out| message.write_status(out))?;
            }
            _ => bodies.one(&mut out, |out| channel::write(out, root, event))?,
        }
        Ok(bodies.cut(out.written()))
    });
    match rendered {
        Ok(bodies) => Rendered::Bodies(bodies),
        Err(Refusal::Skip(reason)) => Rendered::Skipped { reason: reason.into() },
        Err(Refusal::Invalid(message)) => Rendered::Invalid { message },
    }
}

/// Where each finished body stands in the output buffer.
#[derive(Default)]
struct Bodies {
    first: Option<Range<usize>>,
    further: Vec<Range<usize>>,
}

impl Bodies {
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.further.len()
    }

    /// Writes one body; a refused one leaves nothing behind.
    fn one(
        &mut self,
        out: &mut Writer<'_>,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let start = out.begin();
        if let Err(refusal) = write(out) {
            out.truncate(start);
            return Err(refusal);
        }
        out.close();
        let range = start..out.written().len();
        if self.first.is_none() {
            self.first = Some(range);
        } else {
            self.further.push(range);
        }
        Ok(())
    }

    /// The bodies, in one allocation of their own.
    fn cut(self, written: &[u8]) -> Vec<Body> {
        let bytes = Bytes::copy_from_slice(written);
        if self.further.is_empty() {
            return vec![Body::json(bytes)];
        }
        self.first.into_iter().chain(self.further).map(|range| Body::json(bytes.slice(range))).collect()
    }
}
