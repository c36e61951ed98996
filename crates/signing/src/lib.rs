//! Signature headers of a delivery, and the check a receiver makes.
//!
//! What it is: two signatures over one body. The hub's own (`sha256=<hex>` over the body alone, keyed with the 64
//! ASCII characters of the secret: [`HubKey`]) and that of Standard Webhooks (`v1,<base64>` over `id.timestamp.body`,
//! keyed with the 32 bytes: [`StandardKey`]); [`SigningKeys`] makes both for one attempt. [`verify_hub`] and
//! [`verify_standard`] are the other side of them.
//!
//! What it is not: it keeps no secret, reads no clock, knows no header name and no HTTP. `now` is an argument.
//!
//! Where to start: [`SigningKeys::sign`].
//!
//! Invariants: keys and their states never print; signatures are compared in constant time; the bytes signed are the
//! bytes given, nothing is re-serialised.

mod keys;
mod verify;

pub use keys::{HubKey, SignatureHeaders, SigningKeys, StandardKey, secret_hex, standard_secret};
pub use verify::{SIGNATURES_MAX, TOLERANCE_S, VerifyError, verify_hub, verify_standard};
