//! How a receiver answers; may be changed while it runs.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What comes back for a request. The default: 200 at once on a kept connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Behaviour {
    /// Waits so long before it answers, milliseconds.
    pub(crate) delay_ms: u32,
    /// This share of requests is answered 503, 0 to 1, evenly spread.
    pub(crate) fail_share: f64,
    /// Reads requests and never answers.
    pub(crate) never: bool,
    /// Closes each connection behind its answer, so that every delivery needs a new one.
    pub(crate) closes: bool,
}

impl Behaviour {
    /// # Errors
    /// The member that is out of its range.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.fail_share) {
            return Err(format!("fail_share must be 0 to 1, not {}", self.fail_share));
        }
        if self.delay_ms > 60_000 {
            return Err(format!("delay_ms of {} exceeds 60000", self.delay_ms));
        }
        Ok(())
    }
}

/// What to do with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// `None`: never.
    pub(crate) status: Option<u16>,
    pub(crate) delay: Duration,
    pub(crate) closes: bool,
}

const MILLION: u32 = 1_000_000;
const NEVER: u32 = 1;
const CLOSES: u32 = 2;

/// A behaviour that all connections read without waiting for each other.
#[derive(Debug, Default)]
pub(crate) struct Current {
    delay_ms: AtomicU32,
    fail_per_million: AtomicU32,
    flags: AtomicU32,
    /// Sum of shares so far: a request that crosses a whole one fails.
    failing: AtomicU32,
}

impl Current {
    pub(crate) fn new(behaviour: &Behaviour) -> Self {
        let current = Current::default();
        current.set(behaviour);
        current
    }

    pub(crate) fn set(&self, behaviour: &Behaviour) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: 0 to 1")]
        let per_million = (behaviour.fail_share * f64::from(MILLION)).round() as u32;
        self.fail_per_million.store(per_million, Ordering::Relaxed);
        self.delay_ms.store(behaviour.delay_ms, Ordering::Relaxed);
        let flags = if behaviour.never { NEVER } else { 0 } | if behaviour.closes { CLOSES } else { 0 };
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// For the next request.
    pub(crate) fn reply(&self) -> Reply {
        let flags = self.flags.load(Ordering::Relaxed);
        let status = if flags & NEVER != 0 { None } else { Some(if self.fails() { 503 } else { 200 }) };
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed).into());
        Reply { status, delay, closes: flags & CLOSES != 0 }
    }

    fn fails(&self) -> bool {
        let share = self.fail_per_million.load(Ordering::Relaxed);
        if share == 0 || share >= MILLION {
            return share >= MILLION;
        }
        let before = self
            .failing
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some((sum + share) % MILLION));
        before.is_ok_and(|before| before + share >= MILLION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(share: f64, requests: usize) -> usize {
        let current = Current::new(&Behaviour { fail_share: share, ..Behaviour::default() });
        (0..requests).filter(|_| current.reply().status == Some(503)).count()
    }

    #[test]
    fn a_share_fails_evenly() {
        assert_eq!(
            [fails(0.0, 1000), fails(1.0, 1000), fails(0.25, 1000), fails(0.003, 1000)],
            [0, 1000, 250, 3]
        );
    }

    #[test]
    fn behaviour_changes_while_it_runs() {
        let current = Current::new(&Behaviour { delay_ms: 5, closes: true, ..Behaviour::default() });
        let reply = current.reply();
        assert_eq!(reply, Reply { status: Some(200), delay: Duration::from_millis(5), closes: true });
        current.set(&Behaviour { never: true, ..Behaviour::default() });
        assert_eq!(current.reply(), Reply { status: None, delay: Duration::ZERO, closes: false });
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let bad = Behaviour { fail_share: 1.5, ..Behaviour::default() };
        assert_eq!(bad.check(), Err("fail_share must be 0 to 1, not 1.5".into()));
        assert!(Behaviour { delay_ms: 60_001, ..Behaviour::default() }.check().is_err());
        assert!(Behaviour::default().check().is_ok());
    }
}
