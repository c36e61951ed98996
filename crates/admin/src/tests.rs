//! The whole API against a real engine on doubles of its ports.

mod deliveries;
mod document;
mod formats;
mod harness;
mod ingest;
mod operator;
mod order;
mod routes;
mod scopes;
mod socket;
mod webhooks;
