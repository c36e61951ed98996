//! Which jobs a thread takes next: a lane for each format, in turn, so that none waits for another's slowness.
//!
//! A lane whose plugin just ran into its deadline is *suspect*: each of its jobs may cost a thread the whole deadline.
//! It gets one job at a time, on all threads but one at most, and after the lanes that are not suspect, yet never later
//! than every [`PASSED_OVER_MAX`] of their turns. Renders without a deadline clear it.
//!
//! What bounds it: each job stands for an event that some webhook holds, and those are bounded by the engine's windows.

use std::collections::{BTreeMap, VecDeque};

/// Jobs one thread takes at a time: one lock for many, without leaving the others idle for long.
const BATCH: usize = 16;
/// Turns of others that a suspect lane with jobs waits for at most.
const PASSED_OVER_MAX: u32 = 4;
/// Renders without a deadline after which a lane is not suspect any more.
const CLEARED_AFTER: u32 = 64;

/// Names a lane: one format.
pub(crate) type LaneId = u64;

/// What a turn came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Renders that ended in time.
    pub(crate) in_time: u32,
    /// Whether the last one ran into its deadline.
    pub(crate) is_late: bool,
}

struct Lane<J> {
    jobs: VecDeque<J>,
    /// Threads on it.
    threads: usize,
    /// Renders in time until it is not suspect any more; 0: it is not.
    suspect_for: u32,
}

/// See the module.
pub(crate) struct Queue<J> {
    lanes: BTreeMap<LaneId, Lane<J>>,
    /// Lanes with jobs, in the order of their turns.
    turns: VecDeque<LaneId>,
    passed_over: u32,
    /// Threads a suspect lane may have.
    suspect_threads_max: usize,
}

impl<J> Queue<J> {
    pub(crate) fn new(threads: usize) -> Self {
        Queue {
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            passed_over: 0,
            suspect_threads_max: threads.saturating_sub(1).max(1),
        }
    }

    pub(crate) fn push(&mut self, id: LaneId, job: J) {
        let lane = self.lanes.entry(id).or_insert_with(|| Lane {
            jobs: VecDeque::new(),
            threads: 0,
            suspect_for: 0,
        });
        if lane.jobs.is_empty() {
            self.turns.push_back(id);
        }
        lane.jobs.push_back(job);
    }

    /// The next turn's jobs, if there is one that a thread may take now.
    pub(crate) fn next_turn(&mut self, batch: &mut Vec<J>) -> Option<LaneId> {
        let is_suspect = |id: &LaneId| self.lanes.get(id).is_some_and(|lane| lane.suspect_for > 0);
        let may_take = |id: &LaneId| {
            let most = self.suspect_threads_max;
            !is_suspect(id) || self.lanes.get(id).is_some_and(|lane| lane.threads < most)
        };
        let suspect = self.turns.iter().position(|id| is_suspect(id) && may_take(id));
        let other = self.turns.iter().position(|id| !is_suspect(id));
        let index = match (suspect, other) {
            (Some(suspect), Some(_)) if self.passed_over >= PASSED_OVER_MAX => suspect,
            (_, Some(other)) => other,
            (suspect, None) => suspect?,
        };
        let is_passed_over = suspect.is_some_and(|suspect| suspect != index);
        self.passed_over = if is_passed_over { self.passed_over + 1 } else { 0 };
        let id = self.turns.remove(index)?;
        let lane = self.lanes.get_mut(&id)?;
        let most = if lane.suspect_for > 0 { 1 } else { BATCH };
        batch.extend(lane.jobs.drain(..most.min(lane.jobs.len())));
        lane.threads += 1;
        if !lane.jobs.is_empty() {
            self.turns.push_back(id);
        }
        Some(id)
    }

    /// A thread has ended its turn; `left`: jobs of it that were not begun. They keep their place.
    pub(crate) fn handle_turn_ended(&mut self, id: LaneId, turn: Turn, left: &mut Vec<J>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.threads -= 1;
        lane.suspect_for =
            if turn.is_late { CLEARED_AFTER } else { lane.suspect_for.saturating_sub(turn.in_time) };
        if lane.jobs.is_empty() && !left.is_empty() {
            self.turns.push_back(id);
        }
        for job in left.drain(..).rev() {
            lane.jobs.push_front(job);
        }
        if lane.jobs.is_empty() && lane.threads == 0 && lane.suspect_for == 0 {
            self.lanes.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(queue: &mut Queue<u32>, lane: LaneId, count: u32) {
        for job in 0..count {
            queue.push(lane, job);
        }
    }

    fn turn(queue: &mut Queue<u32>) -> Option<(LaneId, Vec<u32>)> {
        let mut batch = Vec::new();
        queue.next_turn(&mut batch).map(|id| (id, batch))
    }

    const LATE: Turn = Turn { in_time: 0, is_late: true };

    #[test]
    fn lanes_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::new(2);
        fill(&mut queue, 1, 40);
        fill(&mut queue, 2, 3);
        assert_eq!(turn(&mut queue), Some((1, (0..16).collect())));
        assert_eq!(turn(&mut queue), Some((2, vec![0, 1, 2])));
        assert_eq!(turn(&mut queue), Some((1, (16..32).collect())));
        assert_eq!(turn(&mut queue), Some((1, (32..40).collect())));
        assert_eq!(turn(&mut queue), None);
        for lane in [1, 2, 1, 1] {
            queue.handle_turn_ended(lane, Turn { in_time: 3, is_late: false }, &mut Vec::new());
        }
        assert!(queue.lanes.is_empty(), "what has nothing to do costs nothing");
    }

    #[test]
    fn a_deadline_leaves_the_rest_of_the_batch_waiting_in_its_place() {
        let mut queue = Queue::new(2);
        fill(&mut queue, 1, 18);
        let (_, mut batch) = turn(&mut queue).expect("jobs");
        batch.remove(0);
        queue.handle_turn_ended(1, LATE, &mut batch);
        assert_eq!(turn(&mut queue), Some((1, vec![1])), "one at a time");
        assert_eq!(turn(&mut queue), None, "on all threads but one");
        queue.handle_turn_ended(1, LATE, &mut Vec::new());
        assert_eq!(turn(&mut queue), Some((1, vec![2])));
    }

    #[test]
    fn a_suspect_lane_comes_after_the_others_and_is_not_starved() {
        let mut queue = Queue::new(2);
        fill(&mut queue, 1, 500);
        let (_, mut batch) = turn(&mut queue).expect("jobs");
        queue.handle_turn_ended(1, LATE, &mut batch);
        fill(&mut queue, 2, 500);
        let mut taken = Vec::new();
        for _ in 0..15 {
            let (lane, _) = turn(&mut queue).expect("jobs");
            taken.push(lane);
            queue.handle_turn_ended(lane, Turn { in_time: 0, is_late: lane == 1 }, &mut Vec::new());
        }
        assert_eq!(taken, [2, 2, 2, 2, 1, 2, 2, 2, 2, 1, 2, 2, 2, 2, 1]);
    }

    #[test]
    fn renders_in_time_clear_a_lane() {
        let mut queue = Queue::new(2);
        fill(&mut queue, 1, 500);
        let (_, mut batch) = turn(&mut queue).expect("jobs");
        queue.handle_turn_ended(1, LATE, &mut batch);
        for _ in 0..CLEARED_AFTER {
            let (_, batch) = turn(&mut queue).expect("jobs");
            assert_eq!(batch.len(), 1);
            queue.handle_turn_ended(1, Turn { in_time: 1, is_late: false }, &mut Vec::new());
        }
        assert_eq!(turn(&mut queue).expect("jobs").1.len(), BATCH);
    }
}
