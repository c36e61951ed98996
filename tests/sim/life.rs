//! The life of a world: processes one after the other over what the disk kept, a hub that pushes, people who change
//! things, a disk and receivers whose mood changes; then everything heals, and nothing may be left.

use crate::disk::{COMMIT_MS_MAX, Weather, WorldFaults};
use crate::formats::SimFormatter;
use crate::hub::Hub;
use crate::journal::{Entry, SECOND, WorldNs};
use crate::plan::Plan;
use crate::receiver::{Mood, SimTransport};
use crate::world::{Tally, World};
use fanfare_core::Secret;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::ports::NoFormats;
use fanfare_core::webhook::{DeliveryPolicy, WebhookStatus};
use fanfare_engine::{Engine, EngineOptions};
use fanfare_testkit::clock::TestClock;
use fanfare_testkit::store::faulty::FaultyStore;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

/// What became of a seed.
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) breach: Option<(WorldNs, String)>,
    pub(crate) tally: Tally,
    pub(crate) entries: Vec<(WorldNs, Entry)>,
}

/// Looks at a healed world, about a minute apart, until nothing is owed.
const LOOKS_MAX: usize = 600;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(65);
/// Waits of hours and days are shortened by stepping the wall clock.
const HEAL_STEP_MS: i64 = 3 * 3_600_000;

/// Lives a whole world.
pub(crate) fn run(seed: u64) -> Report {
    let world = World::new(seed);
    let mut rng = SmallRng::seed_from_u64(seed);
    let plan = Plan::draw(&mut rng);
    let hub = Hub::new(&world, SmallRng::seed_from_u64(seed ^ 0x40B5));
    for number in 0..plan.lives {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be built");
        let tasks = tokio::task::LocalSet::new();
        let process = Process { world: &world, plan: &plan, hub: &hub, number };
        tasks.block_on(&runtime, Box::pin(process.live(&mut rng)));
        drop(tasks);
        drop(runtime);
        if world.breach().is_some() {
            break;
        }
        let left = world.memory.lock().reopen();
        *world.memory.lock() = left;
    }
    let breach = world.breach();
    // Only a failing world is told: the others would fill the memory.
    Report { seed, breach, tally: world.tally(), entries: world.entries() }
}

/// One process.
struct Process<'a> {
    world: &'a Arc<World>,
    plan: &'a Plan,
    hub: &'a Hub,
    number: u32,
}

/// A process that runs.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) clock: Arc<TestClock>,
}

impl Process<'_> {
    async fn live(&self, rng: &mut SmallRng) {
        let (down, step_ms) = self.plan.pause(rng);
        let (clock, over) = self.world.begin_life(down, step_ms);
        self.world.note(Entry::Started { gate: self.plan.gate });
        if self.number == 0 {
            self.world.disk.lock().weather = Weather::default();
        }
        tokio::select! {
            biased;
            () = over.notified() => {}
            () = self.work(clock, rng) => {}
        }
        self.world.close_life();
    }

    async fn work(&self, clock: Arc<TestClock>, rng: &mut SmallRng) {
        let memory = Arc::clone(&self.world.memory.lock());
        let store = FaultyStore::start(memory, Arc::new(WorldFaults(Arc::clone(self.world))));
        let options = EngineOptions {
            clock: Arc::clone(&clock) as _,
            store: Arc::clone(&store) as _,
            history: Arc::clone(&store) as _,
            samples: "",
            transport: Arc::new(SimTransport(Arc::clone(self.world))),
            formatter: SimFormatter::new(self.world, rng.random()),
            formats: Arc::new(NoFormats),
            workers: self.plan.workers,
            seed: rng.random(),
            bootstrap_key: Some(Secret::new("boot")),
            makes_channels: false,
            defaults: DeliveryPolicy::default(),
            gate: self.plan.gate,
            successes: self.plan.successes,
            window_bytes_max: self.plan.window_bytes,
            idle_sleep: self.plan.idle_sleep,
            hub_signature_name: "x-hub-signature-256".into(),
        };
        let engine = Engine::start_here(options).await.expect("the memory store can be read");
        let running = Running { engine, store, clock };
        if self.number == 0 {
            self.hub.set_up(&running, self.plan, rng).await;
        }
        let is_last = self.number + 1 == self.plan.lives;
        for _ in 0..self.plan.steps {
            tokio::time::sleep(self.plan.gap(rng)).await;
            if self.hub.act(&running, self.plan, rng, is_last).await {
                break;
            }
        }
        if is_last {
            self.heal(&running, rng).await;
        }
        self.drain(&running).await;
    }

    /// No more faults; everything owed must end.
    async fn heal(&self, running: &Running, rng: &mut SmallRng) {
        let world = self.world;
        world.note(Entry::Note("everything heals".into()));
        world.heal();
        world.disk.lock().weather = Weather { commit_ms_max: COMMIT_MS_MAX / 8, ..Weather::default() };
        world.moods.lock().values_mut().for_each(|mood| *mood = Mood::Well { ms_max: 20 });
        // What is under way may still disable something.
        tokio::time::sleep(LOOK_EVERY).await;
        for look in 0..LOOKS_MAX {
            self.enable_all(running, rng).await;
            if world.owed_count() == 0 {
                break;
            }
            if look % 2 == 1 {
                running.clock.step_wall(HEAL_STEP_MS);
                world.note(Entry::Note("the wall clock steps ahead".into()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // For what follows an end: rows dropped, notes made.
        tokio::time::sleep(LOOK_EVERY).await;
        self.hub.sample(running, self.plan);
        let memory = Arc::clone(&world.memory.lock());
        world.note(Entry::Left {
            events: memory.event_count(),
            retry_rows: memory.retry_row_count(),
            backlog_rows: memory.parked_row_count(),
        });
    }

    /// Enables what is disabled; a webhook that is gone may stay so, for all it was owed is dead.
    async fn enable_all(&self, running: &Running, rng: &mut SmallRng) {
        let webhooks = self.world.memory.lock().webhooks();
        for webhook in webhooks {
            let is_gone = webhook.disabled_reason.as_deref() == Some("gone");
            let stays = is_gone && rng.random_ratio(1, 2);
            if webhook.status == WebhookStatus::Disabled && !stays {
                self.hub.enable(running, &webhook.channel, webhook.id).await;
            }
        }
    }

    async fn drain(&self, running: &Running) {
        let begun = self.world.now();
        let limit = Duration::from_secs(30);
        self.world.note(Entry::Note("drain begins".into()));
        running.engine.drain(limit).await;
        let is_clean = self.world.now() - begun < 30 * SECOND;
        self.world.end_life(Entry::Drained { is_clean });
    }
}

/// The gate as it is by default, or quicker, so that a world sees more of it.
pub(crate) fn quick_gate() -> GatePolicy {
    GatePolicy {
        failures_max: 3,
        shut_first: Duration::from_millis(500),
        shut_max: Duration::from_secs(20),
        disable_after: Duration::from_secs(3600),
    }
}
