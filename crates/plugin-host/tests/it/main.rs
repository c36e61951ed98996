//! The host against guests written by hand: one that behaves, and hostile ones.

mod admission;
mod guest;
mod rendering;
