//! Threads that render: batches in, bodies out. No event loop that delivers ever waits for a guest.

use crate::engine::Host;
use crate::envelope;
use crate::error::{FormatError, internal};
use crate::generation::{Generation, Outcome};
use crate::instance::{Fault, Instance};
use crate::limits::INSTANCE_IDLE;
use crate::output;
use crate::queue::{LaneId, Queue, Turn};
use crate::shared::Reply;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use fanfare_core::ports::Clock;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Turns after which a thread that is never idle looks for instances that it does not use.
const TURNS_PER_TIDY: u32 = 4096;

/// One event to be rendered by one generation.
pub(crate) struct Job {
    pub(crate) generation: Arc<Generation>,
    pub(crate) event: Arc<Event>,
    pub(crate) reply: Reply,
}

struct Waiting {
    queue: Queue<Job>,
    /// Rises when there may be instances to drop.
    retired: u64,
    is_closed: bool,
}

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// The threads. They end when it is dropped, after the jobs that were queued.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    pub(crate) fn start(
        host: &Arc<Host>,
        clock: &Arc<dyn Clock>,
        threads: usize,
    ) -> Result<Self, FormatError> {
        let threads = threads.max(1);
        let waiting = Waiting { queue: Queue::new(threads), retired: 0, is_closed: false };
        let pool = Pool { shared: Arc::new(Shared { waiting: Mutex::new(waiting), wake: Condvar::new() }) };
        for index in 0..threads {
            let renderer = Renderer {
                host: Arc::clone(host),
                clock: Arc::clone(clock),
                instances: HashMap::new(),
                retired_seen: 0,
            };
            let shared = Arc::clone(&pool.shared);
            std::thread::Builder::new()
                .name(format!("render-{index}"))
                .spawn(move || renderer.run(&shared))
                .map_err(|error| internal("no thread", error))?;
        }
        Ok(pool)
    }

    pub(crate) fn render(&self, lane: LaneId, job: Job) {
        self.shared.lock().queue.push(lane, job);
        self.shared.wake.notify_one();
    }

    /// Every thread drops its instances of retired generations.
    pub(crate) fn drop_retired(&self) {
        self.shared.lock().retired += 1;
        self.shared.wake.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread does next.
enum Next {
    Turn(LaneId),
    Tidy,
    End,
}

/// A warm instance and when it was last used.
struct Warm {
    instance: Instance,
    generation: Arc<Generation>,
    used_ns: u64,
}

/// One thread: a warm instance for each generation it renders with.
struct Renderer {
    host: Arc<Host>,
    clock: Arc<dyn Clock>,
    instances: HashMap<u64, Warm>,
    retired_seen: u64,
}

impl Renderer {
    fn run(mut self, shared: &Shared) {
        let mut batch = Vec::new();
        let mut turns = 0_u32;
        loop {
            match self.next(shared, &mut batch) {
                Next::Turn(lane) => {
                    turns = turns.wrapping_add(1);
                    if turns.is_multiple_of(TURNS_PER_TIDY) {
                        self.tidy();
                    }
                    let turn = self.take_turn(&mut batch);
                    shared.lock().queue.handle_turn_ended(lane, turn, &mut batch);
                    // A lane that had its share of threads may have a thread again.
                    shared.wake.notify_one();
                }
                Next::Tidy => self.tidy(),
                Next::End => return,
            }
        }
    }

    /// Waits for jobs, and for a reason to tidy up.
    fn next(&mut self, shared: &Shared, batch: &mut Vec<Job>) -> Next {
        let mut waiting = shared.lock();
        loop {
            if waiting.retired != self.retired_seen {
                self.retired_seen = waiting.retired;
                return Next::Tidy;
            }
            if let Some(lane) = waiting.queue.next_turn(batch) {
                return Next::Turn(lane);
            }
            if waiting.is_closed {
                return Next::End;
            }
            if self.instances.is_empty() {
                waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let woken = shared.wake.wait_timeout(waiting, INSTANCE_IDLE / 2);
            let (again, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            waiting = again;
            if timeout.timed_out() {
                return Next::Tidy;
            }
        }
    }

    /// Drops what is retired, and what was not used for long.
    fn tidy(&mut self) {
        let now_ns = self.clock.now().mono_ns;
        let idle_ns = u64::try_from(INSTANCE_IDLE.as_nanos()).unwrap_or(u64::MAX);
        self.instances
            .retain(|_, warm| !warm.generation.is_retired() && now_ns.saturating_sub(warm.used_ns) < idle_ns);
    }

    /// Renders the batch up to its end or its first deadline.
    fn take_turn(&mut self, batch: &mut Vec<Job>) -> Turn {
        let mut turn = Turn::default();
        let mut begun = 0;
        let _running = self.host.run();
        let mut now_ns = self.clock.now().mono_ns;
        for job in batch.iter_mut() {
            begun += 1;
            if job.reply.is_abandoned() {
                continue;
            }
            let generation = Arc::clone(&job.generation);
            if generation.is_quarantined() {
                job.reply.give(generation.left_alone());
                continue;
            }
            let mut outcome = self.render_caught(&generation, &job.event, now_ns);
            // A machine with too much to do makes an innocent plugin late: once it is tried again at once, so that its
            // delivery does not wait for its schedule.
            if matches!(outcome, Err((Fault::Deadline, _))) && generation.forgives_deadline() {
                outcome = self.render_caught(&generation, &job.event, now_ns);
            }
            let ended_ns = self.clock.now().mono_ns;
            let took_us = ended_ns.saturating_sub(now_ns) / 1000;
            now_ns = ended_ns;
            generation.note(took_us, &outcome);
            turn.is_late = matches!(outcome, Err((Fault::Deadline, _)));
            job.reply.give(outcome.unwrap_or_else(|(kind, message)| Rendered::Fault {
                message: format!("{}: {message}", kind.name()),
            }));
            if turn.is_late {
                break;
            }
            turn.in_time += 1;
        }
        batch.drain(..begun);
        turn
    }

    /// A panic here is ours, but caused by this plugin's output: its fault, and the thread goes on.
    fn render_caught(&mut self, generation: &Arc<Generation>, event: &Event, now_ns: u64) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| self.render(generation, &envelope::given(event), now_ns)))
            .unwrap_or_else(|_| Err((Fault::Trap, "its output made the host panic".to_owned())))
    }

    fn render(&mut self, generation: &Arc<Generation>, event: &[u8], now_ns: u64) -> Outcome {
        // Taken out, so that only an instance that gave an answer is there again: after a trap it is dead for good.
        let mut instance = match self.instances.remove(&generation.id) {
            Some(warm) => warm.instance,
            None => {
                generation.meters.note_instance();
                Instance::start(&self.host, &generation.component, generation.limits(), &generation.settings)?
            }
        };
        let given = instance.render(event);
        generation.meters.note_memory(instance.memory_bytes());
        let checked = output::checked(given?, &generation.limits(), &generation.default_type);
        // One that failed by its own word may have lost its way: the next event gets a fresh one.
        let is_kept = checked.is_ok()
            && !instance.is_used_up()
            && !generation.is_retired()
            && !generation.is_fresh_each;
        if is_kept {
            let warm = Warm { instance, generation: Arc::clone(generation), used_ns: now_ns };
            self.instances.insert(generation.id, warm);
        }
        checked.map_err(|text| (Fault::Own, text))
    }
}
