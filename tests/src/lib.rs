//! What the suites that run the real binary share: starting it, talking to it, and looking through all it writes.
//!
//! What it is: [`Node`] starts `fanfare serve` in a directory of its own and always ends it; [`Api`] calls it over
//! HTTP; [`Program`] runs any other command; [`events`] makes events, [`guests`] plugins. The suites are `e2e/` (one property a test) and
//! `recovery/` (killed again and again under load); `golden/` needs no process.
//!
//! What it is not: a double of anything. Receivers come from `fanfare_testkit::receiver`.
//!
//! Where to start: [`Node::dev`].
//!
//! Invariants: ports are chosen by the system; a wait has a generous guard against hanging and no other limit; whatever
//! secret passes through an [`Api`] is looked for in everything its node writes, at debug level, when the node goes.

pub mod api;
pub mod binary;
mod compiled;
pub mod events;
pub mod foreign;
pub mod guests;
pub mod node;
pub mod program;
pub mod secrets;

pub use api::{Answer, Api};
pub use node::{Node, NodeOptions};
pub use program::Program;

use std::future::Future;
use std::time::Duration;

/// No wait of a test takes longer unless something hangs.
pub const HANG_GUARD: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody when it changes.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
///
/// # Panics
/// After [`HANG_GUARD`], naming `what`.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = tokio::time::timeout(HANG_GUARD, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("hung while waiting for {what}"))
}

/// Unix time, milliseconds.
///
/// # Panics
/// When the clock stands before 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with times that another process put into headers"
    )]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).expect("the clock stands after 1970");
    u64::try_from(since.as_millis()).expect("fits for 500 million years")
}
