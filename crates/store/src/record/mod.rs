//! What the rows look like. Each module draws its grammar; all share [`frame`].

pub(crate) mod attempt;
pub(crate) mod chunk;
pub(crate) mod dead;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod ids;
pub(crate) mod progress;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod state;
