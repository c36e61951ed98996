//! Pure rules of delivery. Each takes `now` (and `rng` where it draws) as arguments, holds no clock, awaits nothing.
//!
//! [`delivery`] is the machine of one webhook and drives the others: [`backoff`] plans waits, [`gate`] says whether
//! the webhook may be attempted now, [`rate_limit`] how often, [`key_order`] in which order within a key,
//! [`growth_ration`] how often connections are opened to what does not answer.

pub mod backoff;
pub mod delivery;
pub mod gate;
pub mod growth_ration;
pub mod key_order;
pub mod rate_limit;
