//! Points in time as flags name them and as people read them. Everything is UTC.

use super::table::clean;
use crate::exit::Failure;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

/// Units of an age, seconds.
const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600)];

/// A point in time as the API reads it, from RFC 3339 or from an age (`90s`, `30m`, `2h`, `7d`) before `now_ms`.
///
/// # Errors
/// Exit 2, naming the flag.
pub(crate) fn point(flag: &str, text: &str, now_ms: u64) -> Result<String, Failure> {
    let bad = || {
        Failure::usage(format!(
            "{flag} must be a time such as 2026-11-24T20:00:00Z or an age such as 90s, 30m, 2h, 7d"
        ))
    };
    let point = match age_seconds(text) {
        Some(seconds) => {
            let now = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_ms) * 1_000_000);
            let age = i64::try_from(seconds).map(Duration::seconds);
            now.ok().zip(age.ok()).and_then(|(now, age)| now.checked_sub(age)).ok_or_else(bad)?
        }
        None => OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad())?,
    };
    // Before the year 0 nothing was delivered, and RFC 3339 cannot say it.
    point.to_offset(UtcOffset::UTC).format(&Rfc3339).map_err(|_| bad())
}

fn age_seconds(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let number = text.get(..text.len() - unit.len_utf8())?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    number.parse::<u64>().ok()?.checked_mul(seconds)
}

/// `2026-11-24 20:00:00` from what the API says (`…T20:00:00.123Z`, `…+0000`); anything else as it came.
pub(crate) fn shown(text: &str) -> String {
    let whole = text.get(..19).filter(|_| text.is_ascii());
    let rest = text.get(19..).unwrap_or_default();
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    match whole.and_then(|whole| whole.split_once('T')) {
        Some((day, hour)) if ["Z", "+0000", "+00:00"].contains(&zone) => clean(&format!("{day} {hour}")),
        _ => clean(text),
    }
}

/// The same, or a dash.
pub(crate) fn shown_or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), shown)
}

/// A length of time in its two largest units: `3 d 4 h`, `12 s`.
pub(crate) fn age(seconds: u64) -> String {
    let mut parts = Vec::new();
    let mut rest = seconds;
    for (name, unit) in UNITS.into_iter().rev() {
        let name = if name == 'm' { "min".to_owned() } else { name.to_string() };
        if rest >= unit {
            parts.push(format!("{} {name}", rest / unit));
            rest %= unit;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    /// 2026-11-24T20:00:00Z.
    const NOW_MS: u64 = 1_795_550_400_000;

    #[test]
    fn a_time_or_an_age_becomes_a_time_in_utc() {
        for (text, expected) in [
            ("2026-11-24T20:00:00Z", "2026-11-24T20:00:00Z"),
            ("2026-11-24T20:00:00.25+02:00", "2026-11-24T18:00:00.25Z"),
            ("0s", "2026-11-24T20:00:00Z"),
            ("90s", "2026-11-24T19:58:30Z"),
            ("30m", "2026-11-24T19:30:00Z"),
            ("2h", "2026-11-24T18:00:00Z"),
            ("7d", "2026-11-17T20:00:00Z"),
        ] {
            assert_eq!(point("--from", text, NOW_MS).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_by_the_name_of_its_flag() {
        let too_far = format!("{}d", u64::MAX / 100_000);
        for bad in
            ["", "h", "-1h", "1.5h", "2w", "yesterday", "2026-11-24", "9999999d", &too_far, "+1h", "2é"]
        {
            let failure = point("--to", bad, NOW_MS).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.starts_with("--to must be a time such as"), "{bad}: {failure}");
        }
    }

    #[test]
    fn times_are_shown_without_what_nobody_reads() {
        for text in ["2026-11-24T20:00:00Z", "2026-11-24T20:00:00.123+0000", "2026-11-24T20:00:00.5+00:00"] {
            assert_eq!(shown(text), "2026-11-24 20:00:00");
        }
        assert_eq!(shown("2026-11-24T20:00:00+02:00"), "2026-11-24T20:00:00+02:00");
        assert_eq!(shown("é\u{1b}"), "é\u{FFFD}");
        assert_eq!(shown_or_dash(None), "-");
    }

    #[test]
    fn ages_have_two_units_at_most() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (270_000, "3 d 3 h")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
