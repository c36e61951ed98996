//! Event ids that tell when their event was sent: the `webhook-id` of a delivery begins with the event's id, so a
//! receiver knows the latency of each delivery to the microsecond whatever the payload's format makes of the event.
//! (`occurredAt` says the same in milliseconds, which is too coarse for a delivery of half a millisecond.)
//!
//! `L` run (4 hex digits) sent (14 hex digits, Unix µs) number (10 hex digits).

use std::fmt::Write as _;

const SENT_FROM: usize = 5;
const SENT_TO: usize = 19;

/// Writes an event's id. `run` and `number` together are never used twice.
pub(crate) fn write(out: &mut String, run: u16, sent_us: u64, number: u64) {
    out.clear();
    let _infallible = write!(out, "L{run:04X}{sent_us:014X}{number:010X}");
}

/// When the event of a `webhook-id` was sent, Unix µs; `None` when it is not one of ours.
pub(crate) fn sent_us(webhook_id: &[u8]) -> Option<u64> {
    if webhook_id.first() != Some(&b'L') {
        return None;
    }
    let digits = webhook_id.get(SENT_FROM..SENT_TO)?;
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_tells_when_its_event_was_sent() {
        let mut id = String::new();
        write(&mut id, 0xBEEF, 1_790_000_000_123_456, 77);
        assert_eq!(id.len(), 29);
        assert_eq!(
            sent_us(format!("{id}-0190F3A27C5B7E118D2A4C6B9E01F3D5-1").as_bytes()),
            Some(1_790_000_000_123_456)
        );
        for other in ["", "L", "0190F3B140007E11AA00BB01009E1911-x", "LBEEFxxxxxxxxxxxxxx"] {
            assert_eq!(sent_us(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn numbers_and_runs_make_ids_differ() {
        let (mut first, mut second, mut third) = (String::new(), String::new(), String::new());
        write(&mut first, 1, 5, 1);
        write(&mut second, 1, 5, 2);
        write(&mut third, 2, 5, 1);
        assert!(first != second && first != third && second != third);
    }
}
