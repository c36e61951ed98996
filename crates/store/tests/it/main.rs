//! The store from outside, on real directories: what is acknowledged is owed until it has ended, whatever happens.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

mod backlog;
mod crash;
mod damage;
mod damage_rows;
mod deletion;
mod frozen;
mod history;
mod idempotency;
mod lifecycle;
mod model;
mod opening;
mod redrive;
mod retention;
mod rotation;
mod space;
mod stats;
mod support;
