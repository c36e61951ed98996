//! Answers: JSON bodies, and texts that many of them share.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Content type of nearly every body.
pub(crate) const JSON: &str = "application/json";

/// A JSON answer.
pub(crate) fn json(status: StatusCode, view: &impl Serialize) -> Response {
    // Views are structs of strings, numbers and checked raw JSON: they have no way to fail.
    let body = serde_json::to_vec(view).expect("a view serialises");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// Marks an answer that shows a secret: no cache may keep it.
pub(crate) fn not_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 204.
pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

const HUB_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000");
const RFC_3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A webhook's time, as the hub shows it: milliseconds always, offset without colon.
pub(crate) fn hub_time(unix_ms: u64) -> String {
    format_time(unix_ms, HUB_TIME)
}

/// Every other time: RFC 3339, milliseconds always, `Z`.
pub(crate) fn rfc_3339(unix_ms: u64) -> String {
    format_time(unix_ms, RFC_3339)
}

fn format_time(unix_ms: u64, format: &[BorrowedFormatItem<'_>]) -> String {
    // The last moment of the year 9999, beyond which the formats have no text.
    const LAST_MS: u64 = 253_402_300_799_999;
    let nanos = i128::from(unix_ms.min(LAST_MS)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(format).ok())
        .expect("a time before the year 10000 has a text")
}

/// A caller's own text inside a message: cut to 64 characters, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_always_carry_milliseconds() {
        assert_eq!(hub_time(1_773_065_100_000), "2026-03-09T14:05:00.000+0000");
        assert_eq!(hub_time(7), "1970-01-01T00:00:00.007+0000");
        assert_eq!(rfc_3339(1_773_065_100_120), "2026-03-09T14:05:00.120Z");
        assert_eq!(rfc_3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn quoted_text_is_short_and_clean() {
        assert_eq!(quoted("A\nB"), "AB");
        assert_eq!(quoted(&"é".repeat(100)).chars().count(), 64);
    }
}
