//! HTTP face: management API, ingest, health; translates to engine commands and back.
//!
//! What it is: request and answer structs, the rules of every member (`webhook_body.rs`), and handlers that each make
//! one call to the engine's handle. [`router`] is the whole API as a service; [`serve`] puts it on a socket, in
//! bounds.
//!
//! What it is not: it knows no store table, no retry rule, no plugin engine and no HTTP client. It keeps no state
//! between calls but the budget of ingest bytes and how far producers have used their rates.
//!
//! Where to start: `webhooks.rs` for a management call from end to end, `events.rs` for ingest, `auth.rs` for the
//! order of the checks.
//!
//! Invariants:
//! - every error is `{"error": <status>, "message": "<text>"}`, unknown routes and methods included;
//! - checks come as 401, 403, 422, 404 (channel), 404 (webhook), 400; each handler's first argument makes them;
//! - no body, key or URL reaches a log; a credential has no member in any answer, a secret only in the one that made
//!   it;
//! - a route and its part of the OpenAPI document are added in one call (`openapi.rs`), so neither is without the other;
//! - every body, pause and number of connections has a bound ([`AdminLimits`]).

mod accounts;
mod answer;
mod auth;
mod body;
mod channels;
mod deliveries;
mod delivery_view;
mod error;
mod events;
mod formats;
mod given_time;
mod health;
mod json;
mod linger;
mod names;
mod openapi;
mod path;
mod producers;
mod query;
mod server;
mod starting;
mod state;
mod webhook_body;
mod webhook_health;
mod webhook_view;
mod webhooks;

#[cfg(test)]
mod tests;

pub use server::{serve, serve_starting};
pub use starting::{Starter, Starting, starting};
pub use state::{AdminLimits, AdminState, UrlCheck};

use error::ApiError;
use http::StatusCode;

/// The whole API.
pub fn router(state: AdminState) -> axum::Router {
    let (router, document) = webhooks::routes()
        .merge(deliveries::routes())
        .merge(webhook_health::routes())
        .merge(events::routes())
        .merge(accounts::routes())
        .merge(channels::routes())
        .merge(formats::routes())
        .merge(health::routes())
        .merge(openapi::routes())
        .finish(&state.version);
    router
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        })
        .fallback(async || ApiError::not_found("Not found"))
        .with_state(state::Inner::share(state, document))
}
