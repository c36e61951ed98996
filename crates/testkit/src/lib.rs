//! Doubles of the ports, a scripted receiver and builders; only ever a dev-dependency.
//!
//! What it is: a store in memory ([`store`]), a transport without sockets ([`transport`]), a format that
//! gives what it is told ([`formatter`]), formats that operators change ([`formats`]) and a clock that follows
//! tokio's ([`clock`]), for actors on paused time; a store and a transport that cost next to nothing ([`forgetful`]), for
//! benches; and a receiver on a real socket that misbehaves on demand
//! ([`receiver`]), for what speaks HTTP; and what runs fuzz targets over their corpus ([`fuzz`]).
//!
//! What it is not: part of the product; nothing here may be reached from a release build.
//!
//! Where to start: [`transport::ScriptedTransport`] for actor tests, [`receiver`] for end-to-end tests.

pub mod clock;
pub mod forgetful;
pub mod formats;
pub mod formatter;
pub mod fuzz;
pub mod guest;
pub mod receiver;
pub mod store;
pub mod transport;
