//! Nouns, policy and ports of fanfare.
//!
//! What it is: the words every other crate speaks ([`event`], [`webhook`], [`delivery`], [`outcome`]), the rules of
//! delivery as pure state machines ([`policy`]), and the traits heavy parts implement ([`ports`]).
//!
//! What it is not: it has no clock, no source of randomness, no async runtime, no actor, no wire or disk shape.
//! `now` and `rng` are always arguments.
//!
//! Where to start: [`policy::delivery`] is what a webhook's actor drives; [`ports`] is what meets it from outside.
//!
//! Invariants are numbered and named where they are held: see [`invariants`].

pub mod clock;
pub mod delivery;
pub mod event;
pub mod id;
pub mod invariants;
pub mod limits;
pub mod outcome;
pub mod policy;
pub mod ports;
pub mod secret;
pub mod webhook;

pub use clock::Now;
pub use id::{AccountId, ChannelId, ChannelNo, EventId, KeyId, Seq, WebhookId, WebhookNo};
pub use secret::Secret;
