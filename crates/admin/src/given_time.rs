//! Times that callers give.

use crate::error::Invalid;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Unix milliseconds of an RFC 3339 time, a fraction of one counted up: for "at or after" and "before" alike that is
/// the same set of whole milliseconds. What is before 1970 is 1970.
pub(crate) fn read_rfc_3339(name: &str, text: &str) -> Result<u64, Invalid> {
    let refusal = || Invalid(format!("{name} must be an RFC 3339 time, such as 2026-03-09T14:05:00Z"));
    // A plus sign that was not encoded arrives from a query as a space.
    let mended = match text.rsplit_once(' ') {
        Some((time, offset)) if offset.len() == 5 => format!("{time}+{offset}"),
        _ => text.to_owned(),
    };
    let time = OffsetDateTime::parse(&mended, &Rfc3339).map_err(|_| refusal())?;
    let nanos = u128::try_from(time.unix_timestamp_nanos()).unwrap_or(0);
    u64::try_from(nanos.div_ceil(1_000_000)).map_err(|_| refusal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset_and_fraction() {
        for (text, ms) in [
            ("1970-01-01T00:00:01Z", 1000),
            ("1970-01-01T01:00:01+01:00", 1000),
            ("1970-01-01T01:00:01 01:00", 1000),
            ("1969-12-31T23:00:01-01:00", 1000),
            ("1970-01-01T00:00:00.0001Z", 1),
            ("1970-01-01T00:00:00.001Z", 1),
            ("1812-01-01T00:00:00Z", 0),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(read_rfc_3339("from", text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_has_no_offset_is_no_time() {
        for text in ["", "1970-01-01", "1970-01-01T00:00:01", "1970-13-01T00:00:01Z", "now", "7"] {
            let refusal = Invalid::new("from must be an RFC 3339 time, such as 2026-03-09T14:05:00Z");
            assert_eq!(read_rfc_3339("from", text), Err(refusal), "{text}");
        }
    }
}
