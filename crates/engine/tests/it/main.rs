//! The actors on paused time with doubles of all ports: sleeping is free, real waiting would be a bug.

mod bench;
mod delivering;
mod managing;
mod recovering;
mod runtime;
