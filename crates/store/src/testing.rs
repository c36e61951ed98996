//! For unit tests that need an opened directory without its threads.

use crate::open::{self, Opened};
use crate::options::StoreOptions;
use fanfare_core::Now;
use fanfare_core::ports::Clock;
use std::sync::Arc;

/// Stands still.
pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Now {
        Now { mono_ns: 0, unix_ms: 1_700_000_000_000 }
    }
}

pub(crate) fn opened(tweak: impl FnOnce(&mut StoreOptions)) -> (Opened, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(dir.path(), [1; 32], Arc::new(StillClock));
    tweak(&mut options);
    (open::open(&options).unwrap(), dir)
}
