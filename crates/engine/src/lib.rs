//! The actors: route, deliver, retry, dead-letter, drain.
//!
//! What it is: [`Engine`] (the handle everything outside talks to), a registry of accounts, channels and webhooks
//! (`catalog`, changed through `manage`), the way in (`ingest`: who is owed what, stored, handed over), and one event
//! loop per worker (`worker`) on which each awake webhook has an actor (`webhook`).
//!
//! What it is not: it names no HTTP client, no database, no plugin engine; those come as ports. All rules (retry,
//! gate, limiter) are pure and live in `fanfare_core::policy`.
//!
//! Where to start: [`Engine::ingest`] for the way in, `webhook.rs` for the way out.
//!
//! Only this crate names actix, whose framework is in maintenance mode upstream: leaving it means rewriting
//! `worker.rs` and the shell in `webhook.rs`, and nothing else.

mod asking;
mod attempt;
mod catalog;
mod destination;
mod error;
mod formats;
mod handle;
mod held;
mod history;
mod inbox;
mod ingest;
mod live;
mod manage;
mod metrics;
mod operating;
mod outbox;
mod start;
mod vitals;
mod webhook;
mod worker;

pub use asking::{GateHealth, TestOutcome, WebhookHealth};
pub use error::EngineError;
pub use handle::{Engine, EngineOptions, IngestAnswer, NewWebhook, Principal, SigningChange};
pub use vitals::{LastFailure, Latency};
pub use worker::Successes;
