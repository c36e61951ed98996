//! D6 in exact time. "In any window of w seconds at most `burst + perSecond × w` attempts begin" holds for all windows
//! at once exactly when a bucket that leaks `perSecond` a second never holds more than `burst`.

use crate::journal::{SECOND, WorldNs};
use fanfare_core::webhook::RateLimit;

/// Rounding of the sum, far below one attempt.
const ROUNDING: f64 = 1e-6;

#[derive(Default)]
pub(super) struct LimitView {
    level: f64,
    last: WorldNs,
    /// The limit was changed: windows begin anew when only one is possible.
    is_unsettled: bool,
}

impl LimitView {
    pub(super) fn unsettle(&mut self) {
        self.is_unsettled = true;
    }

    /// An attempt begins under one of these limits.
    pub(super) fn begin(
        &mut self,
        at: WorldNs,
        mut limits: impl Iterator<Item = Option<RateLimit>>,
    ) -> Result<(), String> {
        let Some(first) = limits.next() else { return Ok(()) };
        if limits.any(|other| other != first) {
            // Which of them it was counted under cannot be told.
            self.is_unsettled = true;
            return Ok(());
        }
        if std::mem::take(&mut self.is_unsettled) {
            self.level = 0.0;
        }
        let Some(RateLimit { per_second, burst }) = first else { return Ok(()) };
        let leaked = at.saturating_sub(self.last) as f64 / SECOND as f64 * per_second;
        self.level = (self.level - leaked).max(0.0) + 1.0;
        self.last = at;
        if self.level > f64::from(burst) + ROUNDING {
            return Err(format!(
                "over {per_second} a second with a burst of {burst}: level {:.6}",
                self.level
            ));
        }
        Ok(())
    }
}
