//! Durable events, deliveries, attempts and configuration in one directory (LMDB).
//!
//! What it is: [`LmdbStore`] behind core's `Store` and `History` ports. One writer thread commits everything that
//! arrived in one transaction (`writer`), by the rules of `ledger`, `ingest`, `settle`, `checkpoint`, `change`, `reap`,
//! `redrive` and `sweep`; one reader thread serves pages and due retries (`reader`), two others what people ask (`history`). `record` draws every row as a grammar, `standing` holds the two bits
//! that say where a delivery stands, `open` is recovery. [`rotate_master_key`] seals a closed store
//! under another key.
//!
//! What it is not: it knows no reason to retry, no actor, no HTTP; it never decides what becomes of a delivery. It has
//! no compaction and no background thread beside these.
//!
//! Where to start: `design/0001-records-and-recovery.md`, then `ledger`.
//!
//! Invariants:
//! - An answer to `ingest` or `change` comes after its sync; a refusal leaves nothing behind.
//! - An event's row exists while someone is owed it, a dead letter keeps it or retention does, and no longer.
//! - Below C (`tail_start`), everything owed is named by a chunk or a retry row.
//! - In key order, a webhook's chunks list its events in order.
//! - What the writer knows is a function of what is on disk.

mod catalog;
mod change;
mod checkpoint;
mod dead_letters;
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod ingest;
mod ledger;
mod migrate;
mod number_set;
mod open;
mod options;
mod parking;
mod reader;
mod reap;
mod record;
mod redrive;
mod rotate;
mod seal;
mod settle;
mod shared;
mod space;
mod standing;
mod store;
mod sweep;
mod tables;
mod tail;
#[cfg(test)]
mod testing;
mod waiting;
mod window;
mod writer;

pub use options::{OpenError, Retention, StoreOptions};
pub use rotate::{Rotated, rotate_master_key};
pub use store::LmdbStore;
