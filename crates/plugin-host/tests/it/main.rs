//! The host against guests written by hand: one that behaves, and hostile ones.

mod admission;
mod changing;
mod fairness;
mod guest;
mod hostile;
mod rendering;
mod sharing;
mod sources;
