//! Events to measure with: those of the demo and those of the golden cases, as they are.

use bytes::Bytes;
use fanfare_core::EventId;
use fanfare_core::event::Event;
use fanfare_render::{ParsedEvent, parse_event};
use std::fs;
use std::path::Path;

/// When they were accepted.
const ACCEPTED_MS: u64 = 1_790_000_999_999;

/// The events of `fanfare demo`, one a line: twenty, of every kind, 1.1 KB on average.
pub const DEMO: &str = include_str!("../../crates/fanfare/samples/events.ndjson");

/// The demo's event whose id ends so.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn demo_event(id_end: &str) -> ParsedEvent {
    let mut events = DEMO.lines().map(|line| parse_event(Bytes::from(line)).expect("a sample is an event"));
    let is_it = |event: &ParsedEvent| event.id.as_ref().is_some_and(|id| id.as_str().ends_with(id_end));
    events.find(is_it).expect("the demo has such an event")
}

/// What it becomes when it is accepted.
///
/// # Panics
/// When it brings no id.
#[must_use]
pub fn accepted(event: ParsedEvent) -> Event {
    let id = event.id.clone().expect("a sample has an id");
    event.into_event(id, None, ACCEPTED_MS)
}

/// The event of a golden case of Z_API.
///
/// # Panics
/// When there is no such case.
#[must_use]
pub fn golden_event(case: &str) -> Event {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/z_api");
    let text = fs::read(folder.join(format!("{case}.event.json"))).expect("a golden case of that name");
    let event = parse_event(Bytes::from(text)).expect("a golden event is one");
    let id = event.id.clone().unwrap_or_else(|| EventId::generate(0, 0));
    event.into_event(id, None, ACCEPTED_MS)
}
