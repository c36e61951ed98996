//! The whole API against a real engine on doubles of its ports.

mod document;
mod harness;
mod ingest;
mod operator;
mod order;
mod socket;
mod webhooks;
