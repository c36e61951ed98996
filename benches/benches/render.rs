//! What does it cost to render one event: DEFAULT, and Z_API for every kind of body that it knows?
//!
//! Unit: time per event, all its bodies; bytes a second are those of the event's payload. `render_z_api` has a golden case
//! for each kind of body, `render_1500b` the events that the bar is about (at most 3 µs for 1.5 KB). The table before
//! it says allocations per event, and how large the payload and the bodies are.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::allocations::{Allocations, CountingAllocator};
use fanfare_benches::samples::{accepted, demo_event, golden_event};
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use fanfare_render::{render_default, render_z_api};
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

type Render = fn(&Event) -> Rendered;

/// Kinds of body, each with the golden case that shows it.
const Z_API_KINDS: [(&str, &str); 27] = [
    ("text", "text_from_customer"),
    ("text_with_escapes", "text_needing_escapes"),
    ("text_in_a_group", "group_message_with_name"),
    ("text_sent", "text_from_us"),
    ("reply", "reply_names_what_it_answers"),
    ("image", "image_with_everything"),
    ("audio", "audio_voice_note"),
    ("video", "video_with_seconds"),
    ("document", "document_with_name_and_extension"),
    ("sticker", "sticker"),
    ("contact", "contact_single"),
    ("contacts", "contact_array_of_two"),
    ("location", "location_numbers_keep_their_digits"),
    ("reaction", "reaction_from_customer"),
    ("button_reply", "button_reply"),
    ("list_reply", "list_reply"),
    ("interactive", "interactive_button_image"),
    ("template", "template_image_header"),
    ("several_items", "items_contents_then_attachments"),
    ("delivery", "delivery_with_platform_id"),
    ("status", "status_from_us_read"),
    ("revoke", "status_revoke_in_a_group"),
    ("presence", "presence_typing"),
    ("connected", "connected"),
    ("disconnected", "disconnected"),
    ("block", "block"),
    ("initial_data", "initial_data_passed_on_as_it_came"),
];

/// The demo's events with a payload of about 1.5 KB, by the end of their id.
const OF_1500_BYTES: [(&str, &str); 3] =
    [("z_api_delivery", "1A10"), ("z_api_interactive", "1C52"), ("z_api_template", "1CFC")];

struct Case {
    label: &'static str,
    event: Event,
    render: Render,
}

impl Case {
    fn print(&self, group: &str) {
        let Rendered::Bodies(bodies) = (self.render)(&self.event) else {
            panic!("{group}/{} has no body", self.label)
        };
        let body_bytes: usize = bodies.iter().map(|body| body.bytes.len()).sum();
        let (count, payload_bytes) = (bodies.len(), self.event.payload.len());
        let of_each = Allocations::of_each(|| (self.render)(&self.event));
        of_each.print(&format!(
            "{group}/{}: {payload_bytes} B to {count} x {} B",
            self.label,
            body_bytes / count
        ));
    }
}

fn run(criterion: &mut Criterion, name: &str, cases: &[Case]) {
    cases.iter().for_each(|case| case.print(name));
    let mut group = criterion.benchmark_group(name);
    for Case { label, event, render } in cases {
        group.throughput(Throughput::Bytes(event.payload.len() as u64));
        group.bench_function(*label, |bencher| bencher.iter(|| render(black_box(event))));
    }
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    let mut of_1500_bytes: Vec<Case> = OF_1500_BYTES
        .map(|(label, id_end)| Case { label, event: accepted(demo_event(id_end)), render: render_z_api })
        .into();
    let event = accepted(demo_event("1C52"));
    of_1500_bytes.push(Case { label: "default_interactive", event, render: render_default });
    run(criterion, "render_1500b", &of_1500_bytes);
    let kinds =
        Z_API_KINDS.map(|(label, case)| Case { label, event: golden_event(case), render: render_z_api });
    run(criterion, "render_z_api", &kinds);
}

criterion_group! {
    name = render;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20);
    targets = benches
}
criterion_main!(render);
