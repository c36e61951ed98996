//! What it costs to store an event and to settle it: CPU and elapsed time, commits and bytes, for fan-out 1 in groups
//! of 64 and 512, and for fan-out 1,000.
//!
//! `cargo run --release -p fanfare-store --example append [directory]`
//!
//! One caller ingests a group, waits for its receipt, settles every delivery of it as delivered, and goes on: the
//! endings share the commit of the next group. Each line is the median of five runs on a directory of its own, the
//! lowest and the highest beside it. CPU is the whole process: encoding, the writer, and the kernel's part of writing.

use bytes::Bytes;
use fanfare_core::delivery::{Ending, Origin, Settlement};
use fanfare_core::event::{Event, EventKind, Subscription};
use fanfare_core::ports::{CatalogChange, Clock, IngestEvent, IngestVerdict, SettleBatch, Store};
use fanfare_core::webhook::{Auth, Channel, DeliverySettings, FormatName, Webhook, WebhookStatus};
use fanfare_core::{AccountId, ChannelId, ChannelNo, EventId, Now, Seq, WebhookId, WebhookNo};
use fanfare_store::{LmdbStore, StoreOptions};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const RUNS: usize = 5;
const EVENT_BYTES: usize = 1200;

struct Scenario {
    name: &'static str,
    fan_out: u32,
    group_events: usize,
    groups: usize,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "fan-out 1, groups of 64", fan_out: 1, group_events: 64, groups: 500 },
    Scenario { name: "fan-out 1, groups of 512", fan_out: 1, group_events: 512, groups: 100 },
    Scenario { name: "fan-out 1,000, one at a time", fan_out: 1000, group_events: 1, groups: 300 },
];

/// What one run cost.
struct Cost {
    cpu_us_per_event: f64,
    elapsed_us_per_event: f64,
    events_per_commit: f64,
    file_bytes: u64,
}

struct RealClock(Instant);

impl RealClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this measures, and is the port's real implementation here"
    )]
    fn start() -> Self {
        RealClock(Instant::now())
    }
}

impl Clock for RealClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this measures, and is the port's real implementation here"
    )]
    fn now(&self) -> Now {
        let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Now {
            mono_ns: u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX),
            unix_ms: u64::try_from(since(SystemTime::now())).unwrap_or(u64::MAX),
        }
    }
}

/// CPU time of the process so far, user and system, microseconds.
fn cpu_us() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    #[expect(unsafe_code, reason = "the standard library does not tell a process's CPU time")]
    // SAFETY: `usage` is a valid place for the call to fill, and all zeroes are a valid value if it does not.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let us = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

fn configuration(webhooks: u32) -> Result<Vec<CatalogChange>, Box<dyn Error>> {
    let channel = ChannelId::parse("channel").map_err(|_| "channel id")?;
    let account = AccountId::parse("account").map_err(|_| "account id")?;
    let mut changes = vec![CatalogChange::PutChannel(Channel {
        no: ChannelNo(1),
        id: channel.clone(),
        account,
        phone: None,
    })];
    changes.extend((1..=webhooks).map(|no| {
        CatalogChange::PutWebhook(Box::new(Webhook {
            no: WebhookNo(no),
            id: WebhookId(u128::from(no)),
            channel: channel.clone(),
            url: "https://receiver.example/in".into(),
            description: None,
            events: vec![Subscription::Kind(EventKind::MessageReceived)],
            status: WebhookStatus::Enabled,
            disabled_reason: None,
            is_given_up: false,
            failing_since_ms: None,
            signing: None,
            auth: Auth::None,
            payload_format: FormatName::default(),
            custom_attributes: "{}".into(),
            delivery: DeliverySettings::default(),
            created_at_ms: 0,
            updated_at_ms: 0,
        }))
    }));
    Ok(changes)
}

fn group(scenario: &Scenario, first: usize, envelope: &Bytes) -> Result<Vec<IngestEvent>, Box<dyn Error>> {
    let channel = ChannelId::parse("channel").map_err(|_| "channel id")?;
    (first..first + scenario.group_events)
        .map(|n| {
            let event = Event {
                seq: Seq(0),
                id: EventId::parse(&format!("event-{n:012}")).map_err(|_| "event id")?,
                kind: EventKind::MessageReceived,
                channel: channel.clone(),
                channel_phone: Some("5511999999999".into()),
                key: None,
                occurred_at_ms: None,
                accepted_at_ms: 1,
                envelope: envelope.clone(),
                payload: 0..envelope.len(),
            };
            let owed = (1..=scenario.fan_out).map(|no| (WebhookNo(no), true)).collect();
            let is_deduplicated = true;
            Ok(IngestEvent { event, channel_no: ChannelNo(1), is_deduplicated, owed, new_phone: None })
        })
        .collect()
}

fn endings(scenario: &Scenario, seq: Seq, id: &EventId) -> impl Iterator<Item = Settlement> {
    let id = id.clone();
    (0..scenario.fan_out).map(move |index| Settlement {
        webhook: WebhookNo(index + 1),
        seq,
        event_id: id.clone(),
        kind: EventKind::Block,
        accepted_ms: 1,
        key: None,
        index,
        part: 0,
        part_count: 1,
        origin: Origin::Direct,
        ending: Ending::Delivered,
        at_ms: 2,
        attempt: None,
    })
}

fn run(scenario: &Scenario, dir: &Path) -> Result<Cost, Box<dyn Error>> {
    let clock = Arc::new(RealClock::start());
    let store = LmdbStore::open(StoreOptions::new(dir, [1; 32], Arc::clone(&clock) as Arc<dyn Clock>))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        store.change(configuration(scenario.fan_out)?).await?;
        let envelope = Bytes::from(vec![b'x'; EVENT_BYTES]);
        let (cpu, began, commits) = (cpu_us(), clock.now().mono_ns, store.stats().commits);
        for n in 0..scenario.groups {
            let events = group(scenario, n * scenario.group_events, &envelope)?;
            let ids: Vec<EventId> = events.iter().map(|event| event.event.id.clone()).collect();
            let receipt = store.ingest(events).await?;
            let mut batch = SettleBatch::default();
            for (verdict, id) in receipt.verdicts.iter().zip(&ids) {
                let IngestVerdict::Accepted(seq) = verdict else {
                    return Err("taken for a duplicate".into());
                };
                batch.settlements.extend(endings(scenario, *seq, id));
            }
            store.settle(batch).map_err(|_| "settlements were given back")?;
        }
        // Served after everything before it is committed.
        store.due(WebhookNo(1), 0, 1).await?;
        let (cpu, elapsed_ns) = (cpu_us() - cpu, clock.now().mono_ns - began);
        let stats = store.stats();
        if stats.backlog_deliveries != 0 {
            return Err(format!("{} deliveries are left", stats.backlog_deliveries).into());
        }
        let events = (scenario.groups * scenario.group_events) as f64;
        store.close().await;
        Ok(Cost {
            cpu_us_per_event: cpu / events,
            elapsed_us_per_event: elapsed_ns as f64 / 1000.0 / events,
            events_per_commit: events / (stats.commits - commits) as f64,
            file_bytes: std::fs::metadata(dir.join("data.mdb"))?.len(),
        })
    })
}

/// Median, lowest and highest.
fn spread(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> String {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    format!("{:8.1} ({:.1}–{:.1})", at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("events of {EVENT_BYTES} bytes, ids remembered; median (lowest–highest) of {RUNS} runs");
    for scenario in &SCENARIOS {
        let mut costs = Vec::new();
        for _ in 0..RUNS {
            let dir = tempfile::tempdir_in(&parent)?;
            costs.push(run(scenario, dir.path())?);
        }
        println!(
            "{:30} CPU µs/event {}   elapsed µs/event {}   events/commit {}   file MB {}",
            scenario.name,
            spread(&costs, |cost| cost.cpu_us_per_event),
            spread(&costs, |cost| cost.elapsed_us_per_event),
            spread(&costs, |cost| cost.events_per_commit),
            spread(&costs, |cost| cost.file_bytes as f64 / 1e6),
        );
    }
    Ok(())
}
