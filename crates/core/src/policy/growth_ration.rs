//! How often webhooks of one event loop may open a further connection to a receiver that has not answered yet.
//!
//! One receiver that holds its answers back gets one more each half second (`delivery`); a thousand that never answer
//! share these turns, or their connections would take what the healthy ones beside them need.

use crate::Now;

/// From one turn to the next, nanoseconds: 25 a second.
const TURN_NS: u64 = 40_000_000;

/// The turns of one event loop.
#[derive(Debug, Default)]
pub struct GrowthRation {
    /// Monotonic nanoseconds.
    next_ns: u64,
}

impl GrowthRation {
    /// The next turn that is free, monotonic nanoseconds: now, or later, but at `latest_ns` even if none is free by then.
    pub fn next_turn(&mut self, now: Now, latest_ns: u64) -> u64 {
        let turn_ns = self.next_ns.max(now.mono_ns);
        if turn_ns > latest_ns {
            return latest_ns;
        }
        self.next_ns = turn_ns.saturating_add(TURN_NS);
        turn_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { unix_ms: ms, mono_ns: ms * 1_000_000 }
    }

    #[test]
    fn turns_come_one_after_the_other_and_none_is_saved_up() {
        let mut ration = GrowthRation::default();
        let mut turn_ms =
            |now_ms: u64, latest_ms: u64| ration.next_turn(at(now_ms), latest_ms * 1_000_000) / 1_000_000;
        assert_eq!([turn_ms(5000, 9000), turn_ms(5000, 9000), turn_ms(5001, 9000)], [5000, 5040, 5080]);
        assert_eq!(turn_ms(5001, 5100), 5100, "nobody waits longer than is of use");
        assert_eq!(turn_ms(5001, 9000), 5120, "and takes nobody's turn");
        assert_eq!([turn_ms(8000, 9000), turn_ms(8000, 9000)], [8000, 8040]);
    }
}
