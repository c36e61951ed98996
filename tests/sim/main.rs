//! Simulation: the real engine on paused time with doubles of all its ports, in worlds that a seed decides: receivers
//! that fail, stall and recover, a disk that is slow, full or crowded, a wall clock that steps, people who change
//! webhooks meanwhile, and processes that die at any call of the store.
//!
//! What it is: a world ([`world`]) lives through several processes ([`life`]); everything that can be seen from outside
//! goes into its journal ([`journal`]), and a checker ([`checker`]) that stands beside it says what breaks a promise
//! (D1 to D10, `fanfare_core::invariants`).
//!
//! What it is not: a test of the store on disk, of HTTP or of threads; those have suites of their own.
//!
//! Where to start: `SIM_SEED=7 cargo test -p fanfare-tests --test sim -- --nocapture` lives one world and prints all of
//! it; `cargo xtask sim --seeds 10000` lives many.
#![cfg(test)]

mod checker;
mod disk;
mod events;
mod formats;
mod hub;
mod journal;
mod life;
mod plan;
mod receiver;
mod seeds;
mod world;
