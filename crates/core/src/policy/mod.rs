//! Pure rules of delivery. Each takes `now` (and `rng` where it draws) as arguments, holds no clock, awaits nothing.
//!
//! [`delivery`] is the machine of one webhook and drives the others: [`backoff`] plans waits, [`gate`] says whether
//! the webhook may be attempted now, [`rate_limit`] how often.

pub mod backoff;
pub mod delivery;
pub mod gate;
pub mod rate_limit;
