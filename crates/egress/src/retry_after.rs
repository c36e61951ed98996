//! `Retry-After`: seconds or an HTTP date (RFC 9110, section 10.2.3).

use fanfare_core::limits::RETRY_AFTER_SECONDS_MAX;
use std::time::{Duration, UNIX_EPOCH};

/// Reads the value of a `Retry-After` header at `now_unix_s`: how long to wait, at most 24 h.
///
/// A date in the past is no wait. `None`: not a value of this header (negative, a fraction, text).
#[must_use]
pub fn parse(value: &[u8], now_unix_s: u64) -> Option<Duration> {
    // Only these two may stand around a header's value (RFC 9110, section 5.5).
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let seconds = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds is a long wait, not garbage.
        text.parse().unwrap_or(u64::MAX)
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        let until_s = until.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        until_s.saturating_sub(now_unix_s)
    };
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Sun, 06 Nov 1994 08:49:37 GMT
    const NOW_S: u64 = 784_111_777;

    fn seconds(value: &str) -> Option<u64> {
        parse(value.as_bytes(), NOW_S).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates() {
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 7 "), Some(7));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:57 GMT"), Some(20));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:57 GMT"), Some(20));
        assert_eq!(seconds("Sun Nov  6 08:49:57 1994"), Some(20));
    }

    #[test]
    fn the_past_is_no_wait_and_the_far_future_is_a_day() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:36 GMT"), Some(0));
        assert_eq!(seconds("86400"), Some(86_400));
        assert_eq!(seconds("86401"), Some(86_400));
        assert_eq!(seconds("99999999999999999999999999"), Some(86_400));
        assert_eq!(seconds("Sat, 06 Nov 2094 08:49:37 GMT"), Some(86_400));
    }

    #[test]
    fn garbage_is_none() {
        for bad in [
            "",
            " ",
            "-1",
            "+5",
            "1.5",
            "soon",
            "10s",
            "Sun, 06 Nov 1994",
            "0x10",
            "１２",
            "7\u{b}",
            "\u{3000}7",
        ] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
        assert_eq!(parse(&[0xff, 0xfe], NOW_S), None);
    }

    proptest! {
        // Whatever a receiver sends: no panic, and never more than a day.
        #[test]
        fn never_more_than_a_day(value in prop::collection::vec(any::<u8>(), 0..40), now: u64) {
            if let Some(wait) = parse(&value, now) {
                prop_assert!(wait.as_secs() <= RETRY_AFTER_SECONDS_MAX);
            }
        }
    }
}
