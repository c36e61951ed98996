//! What one run plays on: an engine with an empty directory, a receiver, webhooks between them, and legs of load.

use super::child::Part;
use super::engine::{Engine, EngineOrder, receiver_url};
use super::watching::Watching;
use super::{Bench, News};
use crate::clock::{self, Watch};
use crate::error::{Error, Trying as _};
use crate::findings::Run;
use crate::generator::mix::Mix;
use crate::generator::{GeneratorOptions, Pushed};
use crate::part::{Order, Told, WorkOrder};
use crate::process::{Usage, as_float};
use crate::receiver::behaviour::Behaviour;
use crate::receiver::check::WebhookSecret;
use crate::receiver::counts::Stats;
use crate::receiver::{Ready, ReceiverOptions};
use crate::scenario::{LoadSpec, Plan, ReceiverSpec, Scenario};
use crate::wire::Client;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;

/// Channels of the load.
pub(crate) const CHANNEL_PREFIX: &str = "load-";
/// Channels of what goes on beside it.
pub(crate) const BESIDE_PREFIX: &str = "beside-";
/// Without load for so long, an engine has the memory that it keeps.
pub(crate) const REST: Duration = Duration::from_secs(2);
/// Delivery ids a receiver remembers: up to 600 MB.
const IDS_MAX: usize = 40_000_000;
/// Secrets told in one call.
const SECRETS_CHUNK: usize = 1000;
/// A push that gets nothing through for so long gives up, seconds.
const GIVE_UP_SECONDS: u64 = 60;

/// A receiver in a process of its own.
pub(crate) struct Receiver {
    part: Part,
    pub(crate) ready: Ready,
    /// Where it takes deliveries, one for each of its addresses.
    pub(crate) urls: Vec<String>,
}

impl Receiver {
    pub(crate) async fn start(bench: &Bench<'_>, spec: &ReceiverSpec, folder: &Path) -> Result<Self, Error> {
        let options = ReceiverOptions {
            protocol: spec.protocol,
            tls: spec.tls,
            behaviour: spec.behaviour,
            threads: spec.threads,
            addresses: spec.addresses,
            check_every: spec.check_every,
            ids_max: IDS_MAX,
        };
        let order = Order { processors: bench.pins.others.clone(), work: WorkOrder::Receiver(options) };
        let mut part = Part::start(&bench.program, &bench.part_arguments, &order, folder).await?;
        let Told::Ready(ready) = part.first().await? else {
            return Err(Error::work("the receiver told other than its ports"));
        };
        let is_http2 = spec.protocol == crate::receiver::Protocol::Http2;
        let urls = (1..=spec.addresses.max(1)).map(|last| {
            let address = SocketAddr::from(([127, 0, 0, last], ready.address.port()));
            receiver_url(address, spec.tls, is_http2)
        });
        Ok(Receiver { part, urls: urls.collect(), ready })
    }

    async fn call(&self, path: &str, body: &[u8]) -> Result<(), Error> {
        let calling = || format!("cannot call {path} of the receiver");
        let mut client = Client::<TcpStream>::connect(self.ready.control).await.trying(calling)?;
        let answer = client.call("POST", path, "", body).await.trying(calling)?;
        if answer.status == 200 { Ok(()) } else { Err(Error::work(answer.excerpt())) }
    }

    pub(crate) async fn behave(&self, behaviour: &Behaviour) -> Result<(), Error> {
        let body = serde_json::to_vec(behaviour).map_err(|error| Error::work(error.to_string()))?;
        self.call("/behaviour", &body).await
    }

    /// Ends it.
    pub(crate) async fn end(self) {
        self.part.kill().await;
    }

    pub(crate) async fn mark(&self) -> Result<(), Error> {
        self.call("/mark", b"").await
    }

    pub(crate) async fn learn(&self, secrets: &[WebhookSecret]) -> Result<(), Error> {
        for chunk in secrets.chunks(SECRETS_CHUNK) {
            let body = serde_json::to_vec(chunk).map_err(|error| Error::work(error.to_string()))?;
            self.call("/secrets", &body).await?;
        }
        Ok(())
    }
}

/// What a leg came to.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) pushed: Pushed,
    /// Deliveries, each counted once.
    pub(crate) delivered: u64,
    /// What should have arrived; `None`: only the engine knows.
    pub(crate) expected: Option<u64>,
    /// From the first event to the last arrival.
    pub(crate) seconds: f64,
    /// The engine's, without what was there before.
    pub(crate) engine_cpu_s: f64,
    pub(crate) receiver_cpu_s: f64,
    /// The receiver's counts at the end: latencies of this leg, the rest since it began.
    pub(crate) end: Stats,
    pub(crate) begin: Stats,
}

impl Leg {
    pub(crate) fn per_second(&self) -> f64 {
        as_float(self.delivered) / self.seconds.max(1e-3)
    }

    pub(crate) fn events_per_second(&self) -> f64 {
        as_float(self.pushed.taken()) / self.seconds.max(1e-3)
    }
}

/// Where a leg began.
pub(crate) struct Begun {
    stats: Stats,
    engine: Usage,
    receiver: Usage,
    at_us: u64,
}

/// One run's processes.
pub(crate) struct Stage<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) scenario: &'a Scenario,
    pub(crate) receiver: Receiver,
    /// Absent only while it is killed and started again.
    engine: Option<Engine>,
    pub(crate) watching: Watching,
    pub(crate) folder: &'a Path,
    /// The engine's memory with nothing in it, bytes.
    pub(crate) empty_bytes: u64,
}

impl<'a> Stage<'a> {
    /// Starts receiver and engine and makes the webhooks.
    pub(crate) async fn set(
        bench: &'a Bench<'a>,
        scenario: &'a Scenario,
        folder: &'a Path,
    ) -> Result<Self, Error> {
        let receiver = Receiver::start(bench, &scenario.receiver, folder).await?;
        let mut settings = scenario.engine.flags();
        if let Some(pem) = &receiver.ready.ca_pem {
            let file = folder.join("authority.pem");
            std::fs::write(&file, pem).trying(|| "cannot write the receiver's certificate".into())?;
            settings.push(format!("egress.ca_file={}", file.display()));
        }
        let mut engine = Engine::start(EngineOrder {
            program: bench.program.clone(),
            part_arguments: bench.part_arguments.clone(),
            processors: bench.pins.engine.clone(),
            settings,
            folder: folder.to_owned(),
            address: None,
        })
        .await?;
        if scenario.plan == Plan::Registered {
            // What webhooks cost is told of an engine that was started on them: so what is without them must be, too.
            // A first start needs memory of its own (it compiles formats) that later ones do not.
            engine = engine.kill_and_start().await?;
            tokio::time::sleep(REST).await;
        }
        let watching = Watching::start(receiver.ready.control).await?;
        watching.pids.receiver.store(receiver.part.pid, Ordering::Relaxed);
        watching.pids.engine.store(engine.part.pid, Ordering::Relaxed);
        let empty_bytes = Usage::of(engine.part.pid).unwrap_or_default().anonymous_bytes;
        let stage = Stage { bench, scenario, receiver, engine: Some(engine), watching, folder, empty_bytes };
        let channels = scenario.load.channels;
        let total = channels * scenario.webhooks.per_channel;
        let said = |made| stage.say(News::Live(format!("{made} of {total} webhooks made")));
        let made = stage.engine()?.make_webhooks(
            &scenario.webhooks,
            CHANNEL_PREFIX,
            channels,
            &stage.receiver.urls,
            &said,
        );
        let secrets = made.await?;
        stage.receiver.learn(&secrets).await?;
        Ok(stage)
    }

    pub(crate) fn say(&self, news: News) {
        (self.bench.said)(news);
    }

    pub(crate) fn engine(&self) -> Result<&Engine, Error> {
        self.engine.as_ref().ok_or_else(|| Error::work("the engine could not be started again"))
    }

    pub(crate) fn engine_usage(&self) -> Usage {
        self.engine.as_ref().and_then(|engine| Usage::of(engine.part.pid)).unwrap_or_default()
    }

    /// `kill -9` and a new start; from there to ready, seconds.
    pub(crate) async fn kill_and_start(&mut self) -> Result<f64, Error> {
        let Some(engine) = self.engine.take() else { return Err(Error::work("there is no engine to kill")) };
        self.watching.pids.engine.store(0, Ordering::Relaxed);
        let engine = engine.kill_and_start().await?;
        self.watching.pids.engine.store(engine.part.pid, Ordering::Relaxed);
        let ready_s = engine.ready_s;
        self.engine = Some(engine);
        Ok(ready_s)
    }

    /// A generator for the load's channels.
    pub(crate) fn load(
        &self,
        rate: Option<f64>,
        seconds: Option<f64>,
        events_max: u64,
    ) -> Result<GeneratorOptions, Error> {
        let LoadSpec { connections, batch_events, channels, events, .. } = &self.scenario.load;
        let engine = self.engine()?;
        Ok(GeneratorOptions {
            address: engine.address,
            key: engine.key.clone(),
            run: self.bench.next_run(),
            connections: *connections,
            batch_events: *batch_events,
            rate,
            events_max,
            seconds,
            channel_prefix: CHANNEL_PREFIX.into(),
            channels: *channels,
            mix: events.clone(),
            give_up_seconds: GIVE_UP_SECONDS,
            waits_for_allowance: rate.is_none() && self.scenario.load.waiting_max > 0,
        })
    }

    /// Starts a generator process.
    pub(crate) async fn start_push(&self, options: GeneratorOptions) -> Result<Part, Error> {
        let order = Order { processors: self.bench.pins.others.clone(), work: WorkOrder::Generator(options) };
        let part = Part::start(&self.bench.program, &self.bench.part_arguments, &order, self.folder).await?;
        self.watching.pids.generator.store(part.pid, Ordering::Relaxed);
        Ok(part)
    }

    /// Waits for a generator's last word. `begun`: where its leg did, when it is part of one.
    pub(crate) async fn finish_push(&self, mut part: Part, begun: Option<&Begun>) -> Result<Pushed, Error> {
        let LoadSpec { waiting_max, events, .. } = &self.scenario.load;
        let mix = Mix::new(events, CHANNEL_PREFIX, 1)?;
        let per_channel = as_float(self.scenario.webhooks.per_channel);
        let per_event = mix.bodies_mean(&self.scenario.webhooks.format)?.map(|mean| mean * per_channel);
        let pushed = loop {
            match part.next().await? {
                Told::Progress(progress) => {
                    self.say(News::Live(format!("{} events taken", progress.taken)));
                    let Some(begun) = begun else { continue };
                    let waiting = self.waiting(begun, progress.taken, per_event).await;
                    let room = (as_float(*waiting_max) - waiting).max(0.0)
                        / per_event.unwrap_or(per_channel).max(0.01);
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "not negative"
                    )]
                    part.allow(progress.taken + room as u64).await;
                }
                Told::Pushed(pushed) => break pushed,
                _ => return Err(Error::work("the generator told what is not its business")),
            }
        };
        self.watching.pids.generator.store(0, Ordering::Relaxed);
        part.wait().await?;
        Ok(pushed)
    }

    /// Deliveries of the leg that wait in the engine. What the engine counts as waiting would do for every format, but
    /// includes what waits for the receivers beside; an engine that is being started again says nothing.
    async fn waiting(&self, begun: &Begun, taken: u64, per_event: Option<f64>) -> f64 {
        match per_event {
            Some(per_event) => {
                let delivered = self.watching.delivered().saturating_sub(begun.stats.delivered);
                as_float(taken) * per_event - as_float(delivered)
            }
            None => match self.engine() {
                Ok(engine) => engine.metric("fanfare_backlog_deliveries").await.unwrap_or_default(),
                Err(_) => 0.0,
            },
        }
    }

    /// Notes where a leg begins; nothing may be under way.
    pub(crate) async fn begin(&mut self) -> Result<Begun, Error> {
        self.receiver.mark().await?;
        let stats = self.watching.next().await?;
        Ok(Begun {
            stats,
            engine: self.engine_usage(),
            receiver: Usage::of(self.receiver.part.pid).unwrap_or_default(),
            at_us: clock::unix_us(),
        })
    }

    /// How many deliveries a push owes; `None`: only the engine knows.
    pub(crate) fn expected(&self, pushed: &Pushed) -> Result<Option<u64>, Error> {
        let mix = Mix::new(&self.scenario.load.events, CHANNEL_PREFIX, 1)?;
        let Some(bodies) = mix.bodies(&self.scenario.webhooks.format)? else { return Ok(None) };
        let owed: u64 = bodies.iter().zip(&pushed.by_variant).map(|(bodies, events)| bodies * events).sum();
        Ok(Some(owed * self.scenario.webhooks.per_channel))
    }

    /// Waits until all of a push has arrived, or nothing has for a while.
    pub(crate) async fn settle(&mut self, begun: &Begun, expected: Option<u64>) -> Result<Stats, Error> {
        let mut last = (u64::MAX, Watch::start());
        loop {
            let stats = self.watching.next().await?;
            let delivered = stats.delivered.saturating_sub(begun.stats.delivered);
            let is_done = match expected {
                Some(expected) => delivered >= expected,
                // Twice the same count and nothing owed.
                None => {
                    delivered == last.0 && self.engine()?.metric("fanfare_backlog_deliveries").await? == 0.0
                }
            };
            if is_done {
                return Ok(stats);
            }
            let expected = expected.map_or_else(String::new, |expected| format!(" of {expected}"));
            self.say(News::Live(format!("{delivered}{expected} deliveries arrived")));
            if delivered != last.0 {
                last = (delivered, Watch::start());
            } else if last.1.seconds() > self.scenario.stall_seconds {
                return Ok(stats);
            }
        }
    }

    /// Closes a leg.
    pub(crate) fn end(&self, begun: Begun, pushed: Pushed, expected: Option<u64>, end: Stats) -> Leg {
        let receiver = Usage::of(self.receiver.part.pid).unwrap_or_default();
        Leg {
            pushed,
            delivered: end.delivered - begun.stats.delivered,
            expected,
            seconds: as_float(end.last_arrival_us.saturating_sub(begun.at_us)) / 1e6,
            engine_cpu_s: self.engine_usage().cpu_s - begun.engine.cpu_s,
            receiver_cpu_s: receiver.cpu_s - begun.receiver.cpu_s,
            end,
            begin: begun.stats,
        }
    }

    /// A whole leg: load, then wait until all has arrived.
    pub(crate) async fn leg(
        &mut self,
        rate: Option<f64>,
        seconds: f64,
        events_max: u64,
    ) -> Result<Leg, Error> {
        let begun = self.begin().await?;
        let part = self.start_push(self.load(rate, Some(seconds), events_max)?).await?;
        let pushed = self.finish_push(part, Some(&begun)).await?;
        let expected = self.expected(&pushed)?;
        let end = self.settle(&begun, expected).await?;
        Ok(self.end(begun, pushed, expected, end))
    }

    /// Load that is not measured, so that connections are open and caches warm.
    pub(crate) async fn warm_up(&mut self) -> Result<(), Error> {
        let seconds = self.scenario.warm_up_seconds;
        if seconds > 0.0 {
            self.say(News::Phase("warming up".into()));
            self.leg(self.scenario.load.rate, seconds, self.scenario.events_max).await?;
        }
        Ok(())
    }

    /// What must hold of every leg; `may_repeat`: the engine was killed meanwhile.
    pub(crate) fn judge(&self, run: &mut Run, leg: &Leg, may_repeat: bool) {
        let pushed = &leg.pushed;
        let first = pushed.first_rejection.as_deref().unwrap_or("none");
        run.check(
            "every event was accepted",
            pushed.rejected == 0,
            format!("{} rejected: {first}", pushed.rejected),
        );
        run.check("the schedule was kept", pushed.unsent == 0, format!("{} events left out", pushed.unsent));
        match leg.expected {
            Some(expected) => run.check(
                "every delivery arrived",
                leg.delivered == expected,
                format!("{} of {expected}", leg.delivered),
            ),
            None => run.check("deliveries arrived", leg.delivered > 0, format!("{}", leg.delivered)),
        }
        let repeated = leg.end.repeated - leg.begin.repeated;
        if !may_repeat {
            run.check("no delivery came twice", repeated == 0, format!("{repeated} repeated"));
        }
        let bad = leg.end.signatures_bad - leg.begin.signatures_bad;
        let good = leg.end.signatures_good - leg.begin.signatures_good;
        let is_sampled = self.scenario.webhooks.signing && self.scenario.receiver.check_every > 0;
        let enough = good > 0 || !is_sampled || leg.delivered < self.scenario.receiver.check_every * 4;
        run.check("every sampled signature fits", bad == 0 && enough, format!("{good} fit, {bad} do not"));
    }

    /// Ends every process of the run.
    pub(crate) async fn strike(self) {
        drop(self.watching);
        if let Some(engine) = self.engine {
            engine.part.kill().await;
        }
        self.receiver.part.kill().await;
    }
}
