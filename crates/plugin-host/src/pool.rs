//! Threads that render: batches in, bodies out. No event loop that delivers ever waits for a guest.
//!
//! What bounds the queue: each job stands for an event that some webhook holds, and those are bounded by the engine's
//! windows; a caller that gives up leaves a job that is passed over.

use crate::engine::Host;
use crate::error::PluginError;
use crate::formats::Generation;
use crate::instance::{Fault, Faulted, Instance};
use crate::output;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Jobs one thread takes at a time: one lock for many, without leaving the others idle for long.
const BATCH: usize = 16;

/// What a render came to; a fault is the plugin's own.
pub(crate) type Outcome = Result<Rendered, Faulted>;

/// One event to be rendered by one generation.
pub(crate) struct Job {
    pub(crate) generation: Arc<Generation>,
    pub(crate) event: Arc<Event>,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

/// The threads. They end when it is dropped, after the jobs that were queued.
pub(crate) struct Pool {
    queue: Arc<Queue>,
}

impl Pool {
    pub(crate) fn start(host: &Arc<Host>, threads: usize) -> Result<Self, PluginError> {
        let queue = Arc::new(Queue::default());
        for index in 0..threads.max(1) {
            let (queue, host) = (Arc::clone(&queue), Arc::clone(host));
            std::thread::Builder::new()
                .name(format!("render-{index}"))
                .spawn(move || Renderer { host, instances: HashMap::new() }.run(&queue))
                .map_err(|error| PluginError::internal("no thread", error))?;
        }
        Ok(Pool { queue })
    }

    pub(crate) fn render(&self, job: Job) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.jobs.push_back(job);
        drop(state);
        self.queue.wake.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.queue.wake.notify_all();
    }
}

impl Queue {
    /// Waits for jobs; empty: there will be none any more.
    fn take(&self, batch: &mut Vec<Job>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.jobs.is_empty() && !state.is_closed {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.jobs.len().min(BATCH);
        batch.extend(state.jobs.drain(..count));
    }
}

/// One thread: a warm instance for each generation it renders with.
struct Renderer {
    host: Arc<Host>,
    instances: HashMap<u64, Instance>,
}

impl Renderer {
    fn run(mut self, queue: &Queue) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            queue.take(&mut batch);
            if batch.is_empty() {
                return;
            }
            let running = self.host.run();
            for job in batch.drain(..) {
                if job.reply.is_closed() {
                    continue;
                }
                let outcome = self.render(&job.generation, &job.event.envelope);
                // Fails when nobody waits for it any more.
                drop(job.reply.send(outcome));
            }
            drop(running);
        }
    }

    fn render(&mut self, generation: &Generation, event: &[u8]) -> Outcome {
        if generation.is_retired() {
            self.instances.remove(&generation.no);
        }
        let mut instance = match self.instances.remove(&generation.no) {
            Some(instance) => instance,
            None => {
                generation.meters.note_instance();
                Instance::start(&self.host, &generation.component, generation.limits(), &generation.settings)?
            }
        };
        // Only an instance that gave an answer is kept: after a trap it is dead for good.
        let given = instance.render(event)?;
        if !instance.is_used_up() && !generation.is_retired() && !generation.is_fresh_each {
            self.instances.insert(generation.no, instance);
        }
        let checked = output::checked(given, &generation.limits(), &generation.default_type);
        if checked.is_err() {
            // It may have lost its way: the next event gets a fresh one.
            self.instances.remove(&generation.no);
        }
        checked.map_err(|text| (Fault::Own, text))
    }
}
