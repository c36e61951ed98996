//! What an attempt came to: the one table. `policy` reads the class, never the status.
//!
//! | what happened | outcome |
//! | --- | --- |
//! | 2xx, to its last byte (or past the 64 KiB read of it) | delivered |
//! | 410 | permanent, `gone` |
//! | 429, 503 | retryable, `throttled`, not before its `Retry-After` |
//! | any other status (redirects too) | retryable, `status` |
//! | the name has no address, or its servers do not answer | retryable, `dns` |
//! | an address that may not be called | permanent, `blocked_address` |
//! | refused, unreachable, no route | retryable, `connect` |
//! | handshake or certificate | retryable, `tls` |
//! | the protocol asked for is not spoken, not HTTP, an answer over its bounds | retryable, `protocol` |
//! | a used connection broke before a byte of the answer | retryable, `stale_connection` |
//! | any other break before the answer was complete | retryable, `reset` |
//! | our own fault | retryable, `internal` |
//!
//! Time-outs are the caller's: it drops the future and reports them itself.

use crate::retry_after;
use fanfare_core::outcome::{AttemptReport, FailureClass, Outcome};
use http::{HeaderMap, StatusCode, header};
use std::error::Error as StdError;
use std::io;

/// Longest text about a failure, bytes: some causes quote certificates.
const DETAIL_BYTES_MAX: usize = 200;

/// The outcome of an answer read to its end (or its bound), and a text unless it was a success.
#[must_use]
pub fn of_answer(status: StatusCode, headers: &HeaderMap, now_unix_s: u64) -> (Outcome, Option<String>) {
    if status.is_success() {
        return (Outcome::Delivered, None);
    }
    let outcome = match status.as_u16() {
        410 => Outcome::Permanent { class: FailureClass::Gone },
        429 | 503 => Outcome::Retryable {
            class: FailureClass::Throttled,
            not_before: headers
                .get(header::RETRY_AFTER)
                .and_then(|value| retry_after::parse(value.as_bytes(), now_unix_s)),
        },
        _ => Outcome::Retryable { class: FailureClass::Status, not_before: None },
    };
    (outcome, Some(format!("answered {}", status.as_u16())))
}

/// How things stood when a connection failed under a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circumstances {
    /// The connection had completed a request before.
    pub(crate) is_reused: bool,
    /// A byte of this answer was read (HTTP/2: its head).
    pub(crate) is_answer_begun: bool,
    /// We broke it off: too many bytes.
    pub(crate) is_over_bounds: bool,
}

/// The report of a request that hyper could not finish.
pub(crate) fn of_broken(error: &hyper::Error, circumstances: Circumstances) -> AttemptReport {
    if circumstances.is_over_bounds {
        return AttemptReport::failed(FailureClass::Protocol, "answer exceeds its bounds");
    }
    let http2 = cause::<h2::Error>(error);
    // Found by our own side of the connection: what came was not HTTP.
    if error.is_parse() || http2.is_some_and(|error| error.is_library() && !error.is_io()) {
        return AttemptReport::failed(FailureClass::Protocol, describe(error));
    }
    // A reset of one stream says that the request was seen, but for this one reason.
    let is_stream_reset =
        http2.is_some_and(|error| error.is_reset() && error.reason() != Some(h2::Reason::REFUSED_STREAM));
    if error.is_user() {
        return AttemptReport::failed(FailureClass::Internal, describe(error));
    }
    let class = if circumstances.is_reused && !circumstances.is_answer_begun && !is_stream_reset {
        FailureClass::StaleConnection
    } else {
        FailureClass::Reset
    };
    AttemptReport::failed(class, describe(error))
}

/// The report of a TCP connection that could not be made.
pub(crate) fn of_connect(error: &io::Error) -> AttemptReport {
    AttemptReport::failed(FailureClass::Connect, format!("connect: {}", error.kind()))
}

/// The report of a TLS handshake that failed.
pub(crate) fn of_handshake(error: &io::Error) -> AttemptReport {
    let tls = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)) => {
            AttemptReport::failed(FailureClass::Protocol, "the receiver speaks none of the protocols offered")
        }
        Some(cause) => AttemptReport::failed(FailureClass::Tls, shortened(&format!("tls: {cause}"))),
        None => AttemptReport::failed(FailureClass::Tls, format!("tls handshake: {}", error.kind())),
    }
}

fn cause<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Kinds and library texts only: none of them quotes a request or an answer.
fn describe(error: &hyper::Error) -> String {
    match cause::<io::Error>(error) {
        Some(io) => format!("connection broke: {}", io.kind()),
        None => {
            let text = match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            shortened(&text)
        }
    }
}

fn shortened(text: &str) -> String {
    let end =
        text.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= DETAIL_BYTES_MAX);
    text.get(..end.last().unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW_S: u64 = 1_000_000_000;

    fn outcome(status: u16, retry_after: Option<&'static str>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        }
        of_answer(StatusCode::from_u16(status).unwrap(), &headers, NOW_S).0
    }

    #[test]
    fn every_status_has_one_outcome() {
        for status in 100..1000 {
            let expected = match status {
                200..=299 => Outcome::Delivered,
                410 => Outcome::Permanent { class: FailureClass::Gone },
                429 | 503 => Outcome::Retryable { class: FailureClass::Throttled, not_before: None },
                _ => Outcome::Retryable { class: FailureClass::Status, not_before: None },
            };
            assert_eq!(outcome(status, None), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_counts_where_it_is_promised() {
        let throttled = |seconds| Outcome::Retryable {
            class: FailureClass::Throttled,
            not_before: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(outcome(429, Some("7")), throttled(7));
        assert_eq!(outcome(503, Some("Sun, 09 Sep 2001 01:46:50 GMT")), throttled(10));
        assert_eq!(outcome(503, Some("90000")), throttled(86_400));
        let plain = |class| Outcome::Retryable { class, not_before: None };
        assert_eq!(outcome(429, Some("soon")), plain(FailureClass::Throttled));
        assert_eq!(outcome(500, Some("7")), plain(FailureClass::Status));
        assert_eq!(outcome(302, Some("7")), plain(FailureClass::Status));
        assert_eq!(outcome(200, Some("7")), Outcome::Delivered);
    }

    #[test]
    fn texts_are_shortened_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ä".repeat(150)), "ä".repeat(100));
        assert_eq!(shortened(&format!("x{}", "ä".repeat(150))).len(), 199);
    }
}
