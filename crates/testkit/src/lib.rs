//! Doubles of the ports, a scripted receiver and builders; only ever a dev-dependency.

pub mod clock;
pub mod receiver;
pub mod store;
pub mod transport;
