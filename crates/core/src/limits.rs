//! Every bound of the contract that more than one crate needs, in one place.

/// Largest event envelope, bytes (product.md section 4).
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Largest ingest request body, bytes.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest webhook URL, characters.
pub const URL_CHARS_MAX: usize = 2048;
/// Longest description, characters.
pub const DESCRIPTION_CHARS_MAX: usize = 255;
/// Largest `customAttributes`, bytes of JSON text.
pub const CUSTOM_ATTRIBUTES_BYTES_MAX: usize = 16 * 1024;
/// Longest id, ordering key or account name, characters.
pub const ID_CHARS_MAX: usize = 64;
/// Longest ordering key, bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest credential of a webhook's `auth`, characters.
pub const CREDENTIAL_CHARS_MAX: usize = 4096;
/// Receiver's answer: largest header block read, bytes.
pub const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Receiver's answer: largest body read, bytes.
pub const ANSWER_BODY_BYTES_MAX: usize = 64 * 1024;
/// Response snippet kept with an attempt, bytes.
pub const SNIPPET_BYTES_MAX: usize = 1024;
/// Longest `Retry-After` honoured, seconds.
pub const RETRY_AFTER_SECONDS_MAX: u64 = 24 * 3600;
/// Idempotency window: number of ids over all channels.
pub const IDEMPOTENCY_IDS_MAX: usize = 1_000_000;
/// Idempotency window: age, milliseconds.
pub const IDEMPOTENCY_AGE_MS: u64 = 3_600_000;
/// Default of `limits.backlog_deliveries`.
pub const BACKLOG_DELIVERIES_MAX: u64 = 100_000_000;
/// Bodies one event may render to for one webhook.
pub const PARTS_MAX: usize = 1024;
/// Webhooks one channel may hold.
pub const WEBHOOKS_PER_CHANNEL_MAX: usize = 100_000;
/// Deliveries that one row of a webhook's backlog index names; a page is whole rows.
pub const BACKLOG_ROW_DELIVERIES_MAX: usize = 256;
