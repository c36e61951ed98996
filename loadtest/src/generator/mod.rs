//! The generator: a process of its own that pushes events, on a schedule that does not wait for answers (open loop) or
//! as fast as they are taken, as NDJSON over connections that stay open.

pub(crate) mod mix;
mod push;

use crate::clock::{self, Watch};
use crate::error::{Error, Trying as _};
use crate::latency::{Latencies, Summary};
use mix::{Mix, MixOptions};
use push::{Bunch, Source, Work};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinSet, LocalSet};

/// Time between bunches of the schedule.
const TICK: Duration = Duration::from_millis(1);
/// Bunches that may be late; beyond that, events are counted as unsent.
const LATE_MAX: usize = 60_000;
/// Time between reports of progress.
const PROGRESS: Duration = Duration::from_millis(200);

/// How to push.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GeneratorOptions {
    /// The engine's face.
    pub(crate) address: SocketAddr,
    /// A key with scope `ingest`.
    pub(crate) key: String,
    /// Distinguishes the ids of this push from those of others.
    pub(crate) run: u16,
    /// Connections, each with one request at a time.
    pub(crate) connections: usize,
    /// Events of one request at most.
    pub(crate) batch_events: u64,
    /// Events a second; `None`: as fast as they are taken.
    pub(crate) rate: Option<f64>,
    /// So many and no more.
    pub(crate) events_max: u64,
    /// So long and no longer; `None`: until the number is reached.
    pub(crate) seconds: Option<f64>,
    pub(crate) channel_prefix: String,
    pub(crate) channels: u64,
    pub(crate) mix: MixOptions,
    /// A batch that was not taken for so long ends the push.
    pub(crate) give_up_seconds: u64,
    /// Pushes no more events than it is allowed to meanwhile, so that what waits in the engine stays bounded.
    pub(crate) waits_for_allowance: bool,
}

/// How many events may be pushed in all; may grow meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    pub(crate) fn unlimited() -> Self {
        Allowance(Arc::new(AtomicU64::new(u64::MAX)))
    }

    pub(crate) fn set(&self, events: u64) {
        self.0.store(events, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    pub(crate) accepted: u64,
    /// Known ids: of batches that were sent again because their answer was lost.
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
    pub(crate) first_rejection: Option<String>,
    /// Requests answered.
    pub(crate) requests: u64,
    /// Answers 429 and 503.
    pub(crate) refusals: u64,
    /// Connections that broke or could not be had.
    pub(crate) breaks: u64,
    /// Events of the schedule that were so late that they were left out.
    pub(crate) unsent: u64,
    /// From the first event to the last answer, seconds.
    pub(crate) seconds: f64,
    /// Events taken, by variant of the mix.
    pub(crate) by_variant: Vec<u64>,
    /// From a request's sending to its answer, repetitions included.
    pub(crate) ingest: Summary,
}

impl Pushed {
    /// Events that the engine has: accepted once, whichever answer told it.
    pub(crate) fn taken(&self) -> u64 {
        self.accepted + self.duplicates
    }
}

/// A line of progress.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) taken: u64,
}

/// Pushes to the end; tells its progress meanwhile.
///
/// # Errors
/// When the options cannot be used, or the server takes nothing any more.
pub(crate) fn run(
    options: GeneratorOptions,
    allowance: Allowance,
    tell: impl Fn(Progress) + 'static,
) -> Result<Pushed, Error> {
    if options.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e7)) {
        return Err(Error::usage("rate must be above 0 and at most 10000000 events a second"));
    }
    if options.batch_events == 0 || options.connections == 0 {
        return Err(Error::usage("batch_events and connections must be at least 1"));
    }
    let mix = Mix::new(&options.mix, &options.channel_prefix, options.channels)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .trying(|| "cannot start an event loop".into())?;
    LocalSet::new().block_on(&runtime, push_all(options, mix, allowance, tell))
}

async fn push_all(
    options: GeneratorOptions,
    mix: Mix,
    allowance: Allowance,
    tell: impl Fn(Progress) + 'static,
) -> Result<Pushed, Error> {
    let watch = Watch::start();
    let (source, pacer) = match options.rate {
        Some(rate) => {
            let (sender, schedule) = mpsc::channel(LATE_MAX);
            let pace = Pace { rate, events_max: options.events_max, seconds: options.seconds };
            (Source::Schedule(Mutex::new(schedule)), Some((pace, sender)))
        }
        None => {
            let (events_max, seconds) = (options.events_max, options.seconds);
            (Source::AsTaken { next: Cell::new(0), events_max, seconds, watch, allowance }, None)
        }
    };
    let pushed = Pushed { by_variant: vec![0; mix.variant_count()], ..Pushed::default() };
    let connections = options.connections;
    let work = Rc::new(Work {
        options,
        mix,
        source,
        pushed: RefCell::new(pushed),
        latencies: RefCell::new(Latencies::new()),
    });
    let pacer = pacer.map(|(pace, sender)| tokio::task::spawn_local(pace.run(sender)));
    let told = Rc::clone(&work);
    let teller = tokio::task::spawn_local(async move {
        let mut ticks = tokio::time::interval(PROGRESS);
        loop {
            ticks.tick().await;
            tell(Progress { taken: told.pushed.borrow().taken() });
        }
    });
    let mut pushers = JoinSet::new();
    for _ in 0..connections {
        pushers.spawn_local(push::push(Rc::clone(&work)));
    }
    while let Some(ended) = pushers.join_next().await {
        // The first failure ends the push: dropping the set stops the other connections.
        ended.map_err(|error| Error::work(format!("a connection's task ended: {error}")))??;
    }
    teller.abort();
    let unsent = match pacer {
        Some(pacer) => pacer.await.map_err(|error| Error::work(format!("the schedule ended: {error}")))?,
        None => 0,
    };
    let mut pushed = work.pushed.borrow().clone();
    pushed.unsent = unsent;
    pushed.seconds = watch.seconds();
    pushed.ingest = work.latencies.borrow().summary();
    Ok(pushed)
}

/// The schedule.
struct Pace {
    rate: f64,
    events_max: u64,
    seconds: Option<f64>,
}

impl Pace {
    /// How many events are due so long after the beginning.
    fn due(&self, seconds: f64) -> u64 {
        let seconds = self.seconds.map_or(seconds, |end| seconds.min(end));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; saturates"
        )]
        let due = (seconds * self.rate) as u64;
        due.min(self.events_max)
    }

    fn is_over(&self, seconds: f64, given: u64) -> bool {
        given >= self.events_max || self.seconds.is_some_and(|end| seconds >= end)
    }

    /// Gives out bunches as they fall due, whatever becomes of them; how many events were left out.
    ///
    /// A bunch's time is when this loop looked, not its place in the millisecond: the runtime's timer is no finer, and
    /// what it adds is not the engine's doing.
    async fn run(self, sender: mpsc::Sender<Bunch>) -> u64 {
        let watch = Watch::start();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut given, mut unsent) = (0, 0);
        loop {
            ticks.tick().await;
            let seconds = watch.seconds();
            let due = self.due(seconds);
            if due > given {
                let bunch = Bunch { first: given, count: due - given, sent_us: clock::unix_us() };
                given = due;
                if sender.try_send(bunch).is_err() {
                    unsent += bunch.count;
                }
            }
            if self.is_over(seconds, given) {
                return unsent;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_bounded_in_time_and_number() {
        let pace = Pace { rate: 1000.0, events_max: 2500, seconds: Some(2.0) };
        assert_eq!([pace.due(0.0), pace.due(0.0015), pace.due(1.0), pace.due(9.0)], [0, 1, 1000, 2000]);
        assert!(!pace.is_over(1.9, 1900) && pace.is_over(2.0, 2000));
        let endless = Pace { seconds: None, ..pace };
        assert_eq!(endless.due(9.0), 2500);
        assert!(endless.is_over(2.5, 2500));
    }

    fn options(address: SocketAddr) -> GeneratorOptions {
        GeneratorOptions {
            address,
            key: "key".into(),
            run: 1,
            connections: 2,
            batch_events: 30,
            rate: None,
            events_max: 100,
            seconds: None,
            channel_prefix: "c".into(),
            channels: 3,
            mix: MixOptions::default(),
            give_up_seconds: 30,
            waits_for_allowance: false,
        }
    }

    /// A server that answers each connection's first request with 503, then takes all; ends with the test.
    fn server() -> SocketAddr {
        use std::io::{BufRead as _, BufReader, Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                std::thread::spawn(move || {
                    for request in 0.. {
                        let (mut length, mut line) = (0, String::new());
                        while line.trim() != "" || line.is_empty() {
                            line.clear();
                            if reader.read_line(&mut line).unwrap_or_default() == 0 {
                                return;
                            }
                            if let Some(value) = line.strip_prefix("content-length: ") {
                                length = value.trim().parse().unwrap();
                            }
                        }
                        let mut body = vec![0; length];
                        reader.read_exact(&mut body).unwrap();
                        let count = body.iter().filter(|byte| **byte == b'\n').count();
                        let answer = format!("{{\"accepted\":{count},\"duplicates\":0,\"rejected\":[]}}");
                        let status = if request == 0 { "503 Busy" } else { "202 Accepted" };
                        let text =
                            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                        reader.get_mut().write_all(text.as_bytes()).unwrap();
                    }
                });
            }
        });
        address
    }

    #[test]
    fn so_many_events_are_pushed_and_no_more() {
        let pushed = run(options(server()), Allowance::unlimited(), |_| {}).unwrap();
        assert_eq!((pushed.accepted, pushed.refusals, pushed.rejected, pushed.unsent), (100, 2, 0, 0));
        assert_eq!((pushed.by_variant.iter().sum::<u64>(), pushed.requests), (100, 4));
        assert_eq!(pushed.ingest.count, 4);
    }

    #[test]
    fn no_more_is_pushed_than_is_allowed() {
        let allowance = Allowance::unlimited();
        allowance.set(60);
        let (told, more) = (allowance.clone(), std::cell::Cell::new(0));
        let seen = move |progress: Progress| {
            // Never beyond what is allowed; when that is reached, the rest is allowed.
            assert!(progress.taken <= told.get(), "{progress:?}");
            if progress.taken == 60 && more.replace(1) == 0 {
                told.set(u64::MAX);
            }
        };
        let pushed = run(options(server()), allowance, seen).unwrap();
        assert_eq!(pushed.accepted, 100);
        let none = Allowance::unlimited();
        none.set(0);
        let short = GeneratorOptions { seconds: Some(0.01), ..options(server()) };
        assert_eq!(run(short, none, |_| {}).unwrap().accepted, 0, "time ends the wait for an allowance too");
    }

    #[test]
    fn a_schedule_sends_all_that_is_due() {
        let pushed =
            run(GeneratorOptions { rate: Some(1e6), ..options(server()) }, Allowance::unlimited(), |_| {})
                .unwrap();
        assert_eq!((pushed.accepted, pushed.unsent), (100, 0));
    }

    #[test]
    fn a_server_that_is_not_there_ends_the_push() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error =
            run(GeneratorOptions { give_up_seconds: 0, ..options(address) }, Allowance::unlimited(), |_| {})
                .unwrap_err();
        assert!(error.to_string().contains("took no events for 0 s"), "{error}");
        let bad = GeneratorOptions { rate: Some(0.0), ..options(address) };
        assert!(run(bad, Allowance::unlimited(), |_| {}).is_err());
    }
}
