//! One attempt on one connection, safely resolved: hyper's client, TLS, the DNS guard.
//!
//! What it is: core's `Transport`, `Receiver` and `Connection` ports over hyper connections driven directly. There is
//! no pool: a connection is a value, owned by whoever asked for it, and dropping it closes its socket.
//!
//! What it is not: it knows no attempt count, no backoff, no rate limit, no store. It keeps no queue, follows no
//! redirect, decompresses nothing, and times nothing out but steps that would starve the next one; the caller bounds
//! an attempt by dropping its future. A connection that nobody uses may be closed for another one's sake.
//!
//! Where to start: [`HttpTransport`]; then `connector` (resolve, check, dial, shake hands), `attempt` (one request
//! and its answer), [`classify`] (what it came to); `cap` for who may open a connection.
//!
//! Invariants:
//! - every address a name resolves to passes [`guard::AddressGuard`], and the address dialled is one of those checked:
//!   a name is resolved once per connection;
//! - the bytes of a body are sent as they were signed;
//! - an answer costs bounded memory, and is read in bounded bytes;
//! - no URL, header value or body reaches a report, a log or a `Debug` text.
//!
//! Everything but [`HttpTransport`] itself stays on one thread: connections must be made and used inside one
//! `tokio::task::LocalSet`.

mod attempt;
mod cap;
pub mod classify;
mod connector;
#[doc(hidden)]
pub mod fuzzing;
pub mod guard;
mod request;
pub mod resolve;
pub mod retry_after;
mod socket;
pub mod tls;
pub mod url;

pub use connector::{HttpTransport, TransportOptions};
pub use guard::{AddressGuard, Network};
pub use resolve::{HickoryResolver, Resolve, ResolveError};
pub use tls::{Tls, TlsError, TlsOptions};
pub use url::{UrlError, check_url};

#[cfg(test)]
mod tests;
