//! The actors on paused time with doubles of all ports: sleeping is free, real waiting would be a bug.

mod bench;
mod changing_formats;
mod delivering;
mod failing;
mod formats;
mod history;
mod managing;
mod memory;
mod ordering;
mod recovering;
mod runtime;
