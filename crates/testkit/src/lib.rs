//! Doubles of the ports, a scripted receiver and builders; only ever a dev-dependency.

pub mod receiver;
