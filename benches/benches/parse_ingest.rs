//! What does it cost to read an ingest request: one event, NDJSON and JSON arrays of many, and one broken event among them?
//!
//! The events are the demo's, 1.1 KB on average, over and over. Unit: time per request; elements a second are events. The
//! table before it says allocations per event. Nothing is copied: an event keeps a slice of the request.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::allocations::{Allocations, CountingAllocator};
use fanfare_benches::samples::{DEMO, demo_event};
use fanfare_render::{RequestForm, bare_event, parse_event, split_request};
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A text of 1.2 KB.
const TEXT: &str = "19AA";

struct Request {
    label: String,
    form: RequestForm,
    body: Bytes,
    events: usize,
}

fn lines(events: usize) -> Vec<&'static str> {
    DEMO.lines().cycle().take(events).collect()
}

fn requests() -> Vec<Request> {
    let request = |label: &str, form, body: String, events| Request {
        label: format!("{label}_{events}"),
        form,
        body: Bytes::from(body),
        events,
    };
    let ndjson = |events| request("ndjson", RequestForm::Ndjson, lines(events).join("\n"), events);
    let array =
        |events| request("json_array", RequestForm::Json, format!("[{}]", lines(events).join(",")), events);
    let mut broken = lines(100);
    if let Some(line) = broken.get_mut(50) {
        *line = line.get(..line.len() - 2).unwrap_or_default();
    }
    let broken = request("ndjson_one_broken", RequestForm::Ndjson, broken.join("\n"), 100);
    vec![ndjson(1), ndjson(100), ndjson(1000), array(100), broken]
}

fn benches(criterion: &mut Criterion) {
    let requests = requests();
    let read = |request: &Request| split_request(request.body.clone(), request.form).expect("a request");
    for request in &requests {
        let is_broken = request.label.contains("broken");
        let events = read(request);
        assert_eq!(events.iter().filter(|event| event.is_err()).count(), usize::from(is_broken));
        assert_eq!(events.len(), request.events);
        let all = Allocations::of_each(|| read(request));
        let each = |of: f64| of / request.events as f64;
        let per_event = Allocations { count: each(all.count), bytes: each(all.bytes) };
        per_event.print(&format!("parse_ingest/{}, an event", request.label));
    }

    let mut group = criterion.benchmark_group("parse_ingest");
    for request in &requests {
        group.throughput(Throughput::Elements(request.events as u64));
        group.bench_function(&request.label, |bencher| bencher.iter(|| read(black_box(request))));
    }
    let text = demo_event(TEXT);
    group.throughput(Throughput::Bytes(text.envelope.len() as u64));
    group.bench_function("event_1200b", |bencher| {
        bencher.iter(|| parse_event(black_box(&text).envelope.clone()).expect("an event"));
    });
    group.bench_function("bare_event_1200b", |bencher| {
        let payload = text.payload();
        bencher.iter(|| {
            let payload = black_box(&payload).clone();
            bare_event(text.channel.clone(), text.kind, text.id.clone(), payload).expect("an event")
        });
    });
    group.finish();
}

criterion_group! {
    name = parse_ingest;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = benches
}
criterion_main!(parse_ingest);
