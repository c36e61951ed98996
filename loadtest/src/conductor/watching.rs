//! A look at everything five times a second: the receiver's counts and each process's use of the machine.

use crate::clock::Watch;
use crate::error::{Error, Trying as _};
use crate::findings::Sample;
use crate::process::{self, Usage};
use crate::receiver::counts::{Stats, locked};
use crate::wire::Client;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PERIOD: Duration = Duration::from_millis(200);
/// Descriptors are counted in one sample of so many.
const DESCRIPTORS_EVERY: usize = 25;
/// Samples kept; a longer run is sampled to its end, but no longer drawn.
const SAMPLES_MAX: usize = 500_000;

/// Who is looked at; 0: nobody now.
#[derive(Debug, Default)]
pub(crate) struct Pids {
    pub(crate) engine: AtomicU32,
    pub(crate) receiver: AtomicU32,
    pub(crate) generator: AtomicU32,
}

/// Looks until it goes.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) pids: Arc<Pids>,
    samples: Arc<Mutex<Vec<Sample>>>,
    latest: watch::Receiver<Result<Stats, String>>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Begins to look.
    ///
    /// # Errors
    /// When the receiver's second port cannot be reached.
    pub(crate) async fn start(control: SocketAddr) -> Result<Self, Error> {
        let pids: Arc<Pids> = Arc::default();
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let mut client = Client::connect(control).await.trying(|| "cannot reach the receiver".into())?;
        let (sender, latest) = watch::channel(Ok(Stats::default()));
        let (seen, kept) = (Arc::clone(&pids), Arc::clone(&samples));
        let task = tokio::spawn(async move {
            let watch = Watch::start();
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for number in 0_usize.. {
                ticks.tick().await;
                let stats = read(&mut client).await;
                if let Ok(stats) = &stats {
                    let sample = look(&seen, stats, watch.seconds(), number % DESCRIPTORS_EVERY == 0);
                    let mut kept = locked(&kept);
                    if kept.len() < SAMPLES_MAX {
                        kept.push(sample);
                    }
                }
                let is_over = stats.is_err();
                // The look before is not needed any more.
                let _before = sender.send_replace(stats);
                if is_over {
                    return;
                }
            }
        });
        Ok(Watching { pids, samples, latest, task })
    }

    /// The receiver's counts of the next look.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub(crate) async fn next(&mut self) -> Result<Stats, Error> {
        let gone = |text: &str| Error::work(format!("the receiver is gone: {text}"));
        self.latest.changed().await.map_err(|_| gone("nobody looks"))?;
        self.latest.borrow_and_update().clone().map_err(|text| gone(&text))
    }

    /// Deliveries as of the last look.
    pub(crate) fn delivered(&self) -> u64 {
        self.latest.borrow().as_ref().map_or(0, |stats| stats.delivered)
    }

    /// All looks so far.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        locked(&self.samples).clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(client: &mut Client) -> Result<Stats, String> {
    let answer = client.call("GET", "/stats", "", b"").await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
}

fn look(pids: &Pids, stats: &Stats, at_s: f64, counts_descriptors: bool) -> Sample {
    let usage = |pid: &AtomicU32| match pid.load(Ordering::Relaxed) {
        0 => Usage::default(),
        pid => Usage::of(pid).unwrap_or_default(),
    };
    let engine = usage(&pids.engine);
    let engine_descriptors = match pids.engine.load(Ordering::Relaxed) {
        pid if counts_descriptors && pid > 0 => process::descriptor_count(pid),
        _ => 0,
    };
    Sample {
        at_s,
        delivered: stats.delivered,
        p50_us: stats.interval.p50_us,
        p99_us: stats.interval.p99_us,
        engine_cpu_s: engine.cpu_s,
        receiver_cpu_s: usage(&pids.receiver).cpu_s,
        generator_cpu_s: usage(&pids.generator).cpu_s,
        engine_anonymous_bytes: engine.anonymous_bytes,
        engine_descriptors,
    }
}
