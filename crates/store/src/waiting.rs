//! Where each webhook's waiting entries stand in the tail, for webhooks that let go of their memory one after the other.
//!
//! One of them is served by a pass over the tail. When a thousand receivers fail together, a pass for each would take the
//! writer for seconds: from the second on within a while, the pass is made once and remembered, and only what came
//! since is passed again. What was remembered may have ended meanwhile; who asks looks at the tail.
//!
//! Bounds: 16 bytes an entry, no more entries than three times the tail's, and nothing from the next commit on after nobody
//! has asked for a while.

use crate::record::chunk::Listed;
use crate::standing::{EventState, Standing};
use crate::tail::Tail;
use std::collections::{HashMap, HashSet};

/// How long the last one who asked is remembered.
const KEPT_MS: u64 = 2_000;
/// Entries that are always few enough.
const ENTRIES_FEW: usize = 4096;

/// See the module.
#[derive(Default)]
pub(crate) struct Waiting {
    /// When somebody last asked, Unix ms.
    asked_ms: Option<u64>,
    by_webhook: HashMap<u32, Vec<Listed>>,
    entry_count: usize,
    /// Events before it were passed.
    next_seq: u64,
}

impl Waiting {
    /// What may wait of some webhooks, of each in order.
    pub(crate) fn find(&mut self, tail: &Tail, webhooks: &HashSet<u32>, now_ms: u64) -> Vec<(u32, Listed)> {
        self.forget_if_old(now_ms);
        if self.asked_ms.replace(now_ms).is_none() {
            let all = tail.iter().flat_map(|(seq, state)| waiting(seq, state));
            return all.filter(|(webhook, _)| webhooks.contains(webhook)).collect();
        }
        if self.entry_count > ENTRIES_FEW.max(2 * tail.entry_count()) {
            *self = Waiting { asked_ms: self.asked_ms, ..Waiting::default() };
        }
        for (seq, state) in tail.from(self.next_seq) {
            for (webhook, listed) in waiting(seq, state) {
                self.by_webhook.entry(webhook).or_default().push(listed);
                self.entry_count += 1;
            }
            self.next_seq = seq + 1;
        }
        let mut found = Vec::new();
        for webhook in webhooks {
            let listed = self.by_webhook.remove(webhook).unwrap_or_default();
            self.entry_count -= listed.len();
            found.extend(listed.into_iter().map(|listed| (*webhook, listed)));
        }
        found
    }

    /// Nobody has asked for a while, or the clock was set.
    pub(crate) fn forget_if_old(&mut self, now_ms: u64) {
        if self.asked_ms.is_some_and(|asked_ms| now_ms.abs_diff(asked_ms) > KEPT_MS) {
            *self = Waiting::default();
        }
    }
}

fn waiting(seq: u64, state: &EventState) -> impl Iterator<Item = (u32, Listed)> + '_ {
    state
        .iter()
        .filter(|(_, _, standing)| *standing == Standing::Waiting)
        .map(move |(index, webhook, _)| (webhook, Listed { seq, index }))
}
