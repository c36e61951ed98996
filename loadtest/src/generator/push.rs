//! One connection of the generator: makes a batch, sends it, repeats it until it is answered.

use super::{Allowance, GeneratorOptions, Pushed};
use crate::clock::{self, Watch};
use crate::error::Error;
use crate::generator::mix::Mix;
use crate::latency::Latencies;
use crate::wire::{Answer, Client};
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// Wait before a batch that was not taken is sent again.
const WAIT: Duration = Duration::from_millis(20);
/// How often a connection without events looks whether more are allowed.
const ALLOWANCE_PERIOD: Duration = Duration::from_millis(2);
/// Longest wait a server may ask for.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Longest answer waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Events that are due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bunch {
    /// Number of the first.
    pub(super) first: u64,
    pub(super) count: u64,
    /// When they are sent, or should have been, Unix µs.
    pub(super) sent_us: u64,
}

/// Where the connections get their events from.
pub(super) enum Source {
    /// From a schedule that does not wait for answers.
    Schedule(Mutex<mpsc::Receiver<Bunch>>),
    /// As many as are taken, up to a number and a time.
    AsTaken { next: Cell<u64>, events_max: u64, seconds: Option<f64>, watch: Watch, allowance: Allowance },
}

impl Source {
    /// The next bunches, together at most `max` events if a single one is not more; `None` at the end.
    async fn next(&self, max: u64, bunches: &mut Vec<Bunch>) -> bool {
        bunches.clear();
        match self {
            Source::Schedule(schedule) => {
                let mut schedule = schedule.lock().await;
                let Some(bunch) = schedule.recv().await else { return false };
                let mut total = bunch.count;
                bunches.push(bunch);
                while total < max
                    && let Ok(bunch) = schedule.try_recv()
                {
                    total += bunch.count;
                    bunches.push(bunch);
                }
            }
            Source::AsTaken { next, events_max, seconds, watch, allowance } => loop {
                let first = next.get();
                let left = max.min(events_max.saturating_sub(first));
                if left == 0 || seconds.is_some_and(|seconds| watch.seconds() >= seconds) {
                    return false;
                }
                let count = left.min(allowance.get().saturating_sub(first));
                if count == 0 {
                    tokio::time::sleep(ALLOWANCE_PERIOD).await;
                    continue;
                }
                next.set(first + count);
                bunches.push(Bunch { first, count, sent_us: clock::unix_us() });
                break;
            },
        }
        true
    }
}

/// What all connections of a generator share.
pub(super) struct Work {
    pub(super) options: GeneratorOptions,
    pub(super) mix: Mix,
    pub(super) source: Source,
    pub(super) pushed: RefCell<Pushed>,
    pub(super) latencies: RefCell<Latencies>,
}

#[derive(Deserialize)]
struct Ingested {
    accepted: u64,
    duplicates: u64,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    error: String,
}

/// Sends until the source ends.
///
/// # Errors
/// When the server refuses for good, or takes nothing for longer than the options' patience.
pub(super) async fn push(work: Rc<Work>) -> Result<(), Error> {
    let options = &work.options;
    let headers = format!("authorization: Bearer {}\r\ncontent-type: application/x-ndjson\r\n", options.key);
    let mut client = None;
    let (mut bunches, mut body, mut id) = (Vec::new(), Vec::new(), String::new());
    let mut variants = vec![0_u64; work.mix.variant_count()];
    while work.source.next(options.batch_events, &mut bunches).await {
        body.clear();
        variants.fill(0);
        let mut count = 0;
        for bunch in &bunches {
            for number in bunch.first..bunch.first + bunch.count {
                let variant = work.mix.append(&mut body, &mut id, options.run, number, bunch.sent_us);
                if let Some(made) = variants.get_mut(variant) {
                    *made += 1;
                }
            }
            count += bunch.count;
        }
        let watch = Watch::start();
        let answer = send(&work, &mut client, &headers, &body).await?;
        let us = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        work.latencies.borrow_mut().record(us);
        take_answer(&work, &answer, count, &variants)?;
    }
    Ok(())
}

/// Until the batch is answered for good. It goes out again as it was: the server knows its ids.
async fn send(work: &Work, client: &mut Option<Client>, headers: &str, body: &[u8]) -> Result<Answer, Error> {
    let patience = Duration::from_secs(work.options.give_up_seconds);
    let watch = Watch::start();
    loop {
        let (wait, problem) = match exchange(work, client, headers, body).await {
            Ok(answer) if matches!(answer.status, 429 | 503) => {
                work.pushed.borrow_mut().refusals += 1;
                let asked = answer.retry_after_s.map_or(WAIT, Duration::from_secs);
                (asked.clamp(WAIT, WAIT_MAX), format!("{} {}", answer.status, answer.excerpt()))
            }
            Ok(answer) => return Ok(answer),
            Err(error) => {
                *client = None;
                work.pushed.borrow_mut().breaks += 1;
                (WAIT, error.to_string())
            }
        };
        if watch.elapsed() > patience {
            let seconds = patience.as_secs();
            return Err(Error::work(format!("the server took no events for {seconds} s: {problem}")));
        }
        tokio::time::sleep(wait).await;
    }
}

async fn exchange(
    work: &Work,
    client: &mut Option<Client>,
    headers: &str,
    body: &[u8],
) -> std::io::Result<Answer> {
    let connected = match client {
        Some(connected) => connected,
        None => client.insert(Client::connect(work.options.address).await?),
    };
    tokio::time::timeout(ANSWER_TIMEOUT, connected.call("POST", "/v1/events", headers, body)).await?
}

fn take_answer(work: &Work, answer: &Answer, count: u64, variants: &[u64]) -> Result<(), Error> {
    let refused =
        || Error::work(format!("the server refused the events: {} {}", answer.status, answer.excerpt()));
    if !matches!(answer.status, 202 | 400) {
        return Err(refused());
    }
    let ingested: Ingested = serde_json::from_slice(&answer.body).map_err(|_| refused())?;
    let mut pushed = work.pushed.borrow_mut();
    let rejected = ingested.rejected.len() as u64;
    if ingested.accepted + ingested.duplicates + rejected != count {
        return Err(Error::work(format!("the server told of other than the {count} events of a batch")));
    }
    pushed.requests += 1;
    pushed.accepted += ingested.accepted;
    pushed.duplicates += ingested.duplicates;
    pushed.rejected += rejected;
    if let Some(first) = ingested.rejected.into_iter().next() {
        pushed.first_rejection.get_or_insert(first.error);
    } else {
        // Which of a batch were rejected does not matter: a run that has rejections fails.
        for (sum, made) in pushed.by_variant.iter_mut().zip(variants) {
            *sum += made;
        }
    }
    Ok(())
}
