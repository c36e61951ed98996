//! What the receiver saw of each delivery.

use fanfare_testkit::receiver::{Received, Reply};
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

struct Seen {
    body_hash: u64,
    attempt_number: u32,
    successes: Vec<Instant>,
}

#[derive(Default)]
struct State {
    deliveries: HashMap<String, Seen>,
    /// Events that the healthy webhook has.
    events: HashSet<String>,
    requests: usize,
    failures: usize,
    /// What must never be, as text.
    wrong: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

impl Ledger {
    pub(crate) fn note(&self, request: &Received, reply: &Reply) {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        let attempt_number: u32 =
            request.header("x-hub-attempt").and_then(|text| text.parse().ok()).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        request.body.hash(&mut hasher);
        let body_hash = hasher.finish();
        let is_success = !matches!(reply, Reply::ResetAfterRequest) && !is_500(reply);

        let mut state = self.0.lock().unwrap();
        let state = &mut *state;
        state.requests += 1;
        state.failures += usize::from(!is_success);
        if request.path == "/healthy" {
            state.events.insert(id.split('-').next().unwrap_or_default().to_owned());
        }
        let seen = match state.deliveries.entry(id) {
            Entry::Occupied(entry) => {
                let id = entry.key().clone();
                let seen = entry.into_mut();
                if seen.body_hash != body_hash {
                    state.wrong.push(format!("{id} came with another body"));
                }
                if attempt_number < seen.attempt_number {
                    let before = seen.attempt_number;
                    state.wrong.push(format!("{id} came as attempt {attempt_number} after attempt {before}"));
                }
                seen
            }
            Entry::Vacant(entry) => {
                if attempt_number != 1 {
                    state.wrong.push(format!("{} came first as attempt {attempt_number}", entry.key()));
                }
                entry.insert(Seen { body_hash, attempt_number, successes: Vec::new() })
            }
        };
        seen.attempt_number = attempt_number;
        if is_success {
            seen.successes.push(Instant::now());
        }
    }

    /// Events that the healthy webhook has.
    pub(crate) fn events_seen(&self) -> usize {
        self.0.lock().unwrap().events.len()
    }

    /// How many of `expected` never succeeded.
    pub(crate) fn missing(&self, expected: &[String]) -> usize {
        let state = self.0.lock().unwrap();
        let has = |id: &String| state.deliveries.get(id).is_some_and(|seen| !seen.successes.is_empty());
        expected.iter().filter(|id| !has(id)).count()
    }

    /// Nothing is missing, nothing came that is not owed, and nothing impossible was seen.
    pub(crate) fn check(&self, expected: &[String]) {
        assert_eq!(self.missing(expected), 0);
        let state = self.0.lock().unwrap();
        assert_eq!(state.wrong, Vec::<String>::new());
        let owed: HashSet<&String> = expected.iter().collect();
        let strangers: Vec<&String> = state.deliveries.keys().filter(|id| !owed.contains(id)).collect();
        assert!(strangers.is_empty(), "came and are not owed: {strangers:?}");
    }

    /// Of each delivery that succeeded again: how long before the last kill in between it had succeeded first.
    ///
    /// Panics where there was no kill in between.
    pub(crate) fn repeats(&self, kills: &[Instant]) -> Vec<Duration> {
        let state = self.0.lock().unwrap();
        let mut ages = Vec::new();
        for (id, seen) in &state.deliveries {
            for pair in seen.successes.windows(2) {
                let (first, again) = (pair[0], pair[1]);
                // The first kill after the success: what it did not forget the later ones do not know.
                let kill = kills.iter().find(|kill| first <= **kill + IN_THE_SOCKET && **kill <= again);
                let kill =
                    kill.unwrap_or_else(|| panic!("{id} came twice and nothing was killed in between"));
                ages.push(kill.saturating_duration_since(first));
            }
        }
        ages
    }
}

/// A request that the engine had sent may be read by the receiver only after the engine is gone.
const IN_THE_SOCKET: Duration = Duration::from_millis(500);

fn is_500(reply: &Reply) -> bool {
    // A status is all that tells the two kinds of answers apart.
    matches!(reply, Reply::Answer(_)) && format!("{reply:?}").contains("status: 500")
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock().unwrap();
        write!(f, "{} requests ({} failed)", state.requests, state.failures)
    }
}
