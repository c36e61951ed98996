//! simd-json refuses two things JSON allows: numbers beyond 64 bits and lone surrogates (`\ud83d`, an emoji cut in
//! half). A copy of such a payload is changed, byte for byte of the same length, so that positions stay what they were.
//! Rare: a payload comes here only after a first parse failed.

use super::number_text;
use simd_json::INPUT_PADDING;

/// Whether it is JSON after all, and simd-json only could not take it. Asked before mending, which would also mend
/// what never was a number.
#[cold]
pub(super) fn is_json(payload: &[u8]) -> bool {
    std::str::from_utf8(payload).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// A copy of `payload` (padded) in which every number is `0` and every lone surrogate U+FFFD, each filled to its old
/// length. Numbers are read from the source anyway; a lone surrogate has no UTF-8 to send.
#[cold]
pub(super) fn mend(payload: &[u8]) -> Vec<u8> {
    let mut text = payload.to_vec();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at = match byte {
            b'"' => mend_string(&mut text, at + 1),
            b'-' | b'0'..=b'9' => {
                let end = at + number_text(text.get(at..).unwrap_or_default()).len();
                if let Some(number) = text.get_mut(at..end) {
                    number.fill(b' ');
                    if let Some(first) = number.first_mut() {
                        *first = b'0';
                    }
                }
                end.max(at + 1)
            }
            _ => at + 1,
        };
    }
    text.resize(payload.len() + INPUT_PADDING, 0);
    text
}

/// Mends the string whose text begins at `at`; returns where it ends.
fn mend_string(text: &mut [u8], mut at: usize) -> usize {
    const REPLACEMENT: &[u8; 6] = b"\\ufffd";
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => match surrogate(text, at) {
                Some(0xD800..=0xDBFF) if matches!(surrogate(text, at + 6), Some(0xDC00..)) => at += 12,
                Some(_) => {
                    if let Some(escape) = text.get_mut(at..at + 6) {
                        escape.copy_from_slice(REPLACEMENT);
                    }
                    at += 6;
                }
                None => at += 2,
            },
            _ => at += 1,
        }
    }
    at
}

/// The surrogate written as `\uXXXX` at `at`, if that is what stands there.
fn surrogate(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let unit = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (0xD800..=0xDFFF).contains(&unit).then_some(unit)
}
