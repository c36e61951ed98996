//! The receiving side: what `fanfare verify` and `fanfare listen` run, and what a receiver should do.

use crate::keys::{HUB_PREFIX, STANDARD_PREFIX, STANDARD_SECRET_PREFIX, keyed, mac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// How far `webhook-timestamp` may be from the receiver's clock, both ways, seconds: what Standard Webhooks libraries
/// allow.
pub const TOLERANCE_S: u64 = 300;
/// Signatures looked at in one `webhook-signature`; more is refused, so that a caller cannot make us hash for long.
pub const SIGNATURES_MAX: usize = 16;

/// Why a request is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The secret given is not one.
    #[error("secret must be 64 hex digits, or whsec_ and base64")]
    BadSecret,
    /// The signature header cannot be read.
    #[error("signature header is malformed: expected {expected}")]
    MalformedSignature {
        /// What it should look like.
        expected: &'static str,
    },
    /// The header holds more signatures than are looked at.
    #[error("signature header holds more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// The timestamp is not a number of seconds.
    #[error("webhook-timestamp is not a whole number of unix seconds")]
    MalformedTimestamp,
    /// Sent too long ago: possibly a replay.
    #[error("webhook-timestamp is {age_s} s old; at most {tolerance_s} s are allowed")]
    TooOld {
        /// Age by the receiver's clock, seconds.
        age_s: u64,
        /// Allowed, seconds.
        tolerance_s: u64,
    },
    /// Sent in the future: a clock is wrong.
    #[error("webhook-timestamp is {ahead_s} s ahead; at most {tolerance_s} s are allowed")]
    TooNew {
        /// How far ahead by the receiver's clock, seconds.
        ahead_s: u64,
        /// Allowed, seconds.
        tolerance_s: u64,
    },
    /// No signature fits: another secret, or changed bytes.
    #[error("no signature matches: wrong secret, or the body was changed on its way")]
    Mismatch,
}

/// Checks the hub's signature (`sha256=<hex>`) of a body.
///
/// `secret` is the 64 hex digits as the API returned them; they are the key as they stand, whatever their case.
///
/// # Errors
/// [`VerifyError`] says what does not fit.
pub fn verify_hub(secret: &str, header_value: &str, body: &[u8]) -> Result<(), VerifyError> {
    if secret.len() != 64 || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(VerifyError::BadSecret);
    }
    let malformed = VerifyError::MalformedSignature { expected: "sha256= and 64 hex digits" };
    let digits = header_value.trim().strip_prefix(HUB_PREFIX).ok_or(malformed)?;
    let mut given = [0_u8; 32];
    hex::decode_to_slice(digits, &mut given).map_err(|_| malformed)?;
    // The engine keys with lower-case digits; a secret pasted in upper case is the same secret.
    let key = Zeroizing::new(secret.to_ascii_lowercase());
    let expected = mac(&keyed(key.as_bytes()), &[body]);
    if bool::from(expected.ct_eq(&given)) { Ok(()) } else { Err(VerifyError::Mismatch) }
}

/// Checks a Standard Webhooks signature.
///
/// `secret`: `whsec_` and base64, or the 64 hex digits of the API. `id`, `timestamp`, `signatures`: the headers
/// `webhook-id`, `webhook-timestamp`, `webhook-signature`. Any one fitting `v1` signature is enough; signatures of
/// other versions are passed over. Prefer [`TOLERANCE_S`].
///
/// # Errors
/// [`VerifyError`] says what does not fit.
pub fn verify_standard(
    secret: &str,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now_s: u64,
    tolerance_s: u64,
) -> Result<(), VerifyError> {
    let key = standard_key(secret)?;
    check_time(timestamp, now_s, tolerance_s)?;

    let malformed = VerifyError::MalformedSignature { expected: "v1,<base64>, separated by spaces" };
    let expected = mac(&keyed(&key), &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    let mut count = 0_usize;
    let mut is_good = Choice::from(0);
    for signature in signatures.split_ascii_whitespace() {
        count += 1;
        if count > SIGNATURES_MAX {
            return Err(VerifyError::TooManySignatures);
        }
        let (_version, _value) = signature.split_once(',').ok_or(malformed)?;
        let Some(text) = signature.strip_prefix(STANDARD_PREFIX) else { continue };
        let given = BASE64.decode(text).map_err(|_| malformed)?;
        // Another length is unequal; slices of equal length are compared without an early end.
        is_good |= expected.as_slice().ct_eq(&given);
    }
    if count == 0 {
        return Err(malformed);
    }
    if bool::from(is_good) { Ok(()) } else { Err(VerifyError::Mismatch) }
}

fn standard_key(secret: &str) -> Result<Zeroizing<Vec<u8>>, VerifyError> {
    let bytes = match secret.strip_prefix(STANDARD_SECRET_PREFIX) {
        Some(text) => BASE64.decode(text).map_err(|_| VerifyError::BadSecret)?,
        None if secret.len() == 64 => hex::decode(secret).map_err(|_| VerifyError::BadSecret)?,
        None => return Err(VerifyError::BadSecret),
    };
    if bytes.is_empty() { Err(VerifyError::BadSecret) } else { Ok(Zeroizing::new(bytes)) }
}

fn check_time(timestamp: &str, now_s: u64, tolerance_s: u64) -> Result<(), VerifyError> {
    // `parse` would take a leading plus, which no sender writes and which would be signed differently.
    let is_number = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent_s: u64 = timestamp.parse().ok().filter(|_| is_number).ok_or(VerifyError::MalformedTimestamp)?;
    let age_s = now_s.saturating_sub(sent_s);
    let ahead_s = sent_s.saturating_sub(now_s);
    if age_s > tolerance_s {
        return Err(VerifyError::TooOld { age_s, tolerance_s });
    }
    if ahead_s > tolerance_s {
        return Err(VerifyError::TooNew { ahead_s, tolerance_s });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HubKey, SigningKeys, StandardKey, secret_hex, standard_secret};
    use proptest::prelude::*;

    // The vector of the Standard Webhooks specification's libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SENT: &str = "1614265330";
    const SENT_S: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verify(signatures: &str, now_s: u64) -> Result<(), VerifyError> {
        verify_standard(SECRET, ID, SENT, signatures, BODY, now_s, TOLERANCE_S)
    }

    #[test]
    fn the_specifications_vector_verifies() {
        assert_eq!(verify(SIGNATURE, SENT_S), Ok(()));
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(verify(&format!("{other} {SIGNATURE}"), SENT_S), Ok(()));
        assert_eq!(verify(&format!("v1a,bm90IG91cnM= v2,x {SIGNATURE} {other}"), SENT_S), Ok(()));
        assert_eq!(verify(&format!("{other} {other}"), SENT_S), Err(VerifyError::Mismatch));
    }

    #[test]
    fn time_is_tolerated_both_ways_to_the_second() {
        assert_eq!(verify(SIGNATURE, SENT_S + 300), Ok(()));
        assert_eq!(verify(SIGNATURE, SENT_S - 300), Ok(()));
        assert_eq!(
            verify(SIGNATURE, SENT_S + 301),
            Err(VerifyError::TooOld { age_s: 301, tolerance_s: 300 })
        );
        assert_eq!(
            verify(SIGNATURE, SENT_S - 301),
            Err(VerifyError::TooNew { ahead_s: 301, tolerance_s: 300 })
        );
    }

    #[test]
    fn anything_changed_is_a_mismatch() {
        let at = |secret: &str, id: &str, time: &str, body: &[u8]| {
            verify_standard(secret, id, time, SIGNATURE, body, SENT_S, TOLERANCE_S)
        };
        assert_eq!(at(&standard_secret(&[9; 32]), ID, SENT, BODY), Err(VerifyError::Mismatch));
        assert_eq!(at(SECRET, "msg_other", SENT, BODY), Err(VerifyError::Mismatch));
        assert_eq!(at(SECRET, ID, "1614265331", BODY), Err(VerifyError::Mismatch));
        assert_eq!(at(SECRET, ID, SENT, br#"{"test":2432232314}"#), Err(VerifyError::Mismatch));
    }

    #[test]
    fn malformed_headers_say_so() {
        let malformed = VerifyError::MalformedSignature { expected: "v1,<base64>, separated by spaces" };
        for bad in ["", "   ", "v1", "g0hM9SsE", "v1,not base64!", "v1,###"] {
            assert_eq!(verify(bad, SENT_S), Err(malformed), "{bad:?}");
        }
        // Decodes, but is no 32 bytes long.
        assert_eq!(verify("v1,AAAA", SENT_S), Err(VerifyError::Mismatch));
        assert_eq!(verify(&"v1,AAAA ".repeat(17), SENT_S), Err(VerifyError::TooManySignatures));
        for bad in ["", "soon", "-5", "+1614265330", "1614265330.5", "99999999999999999999999"] {
            let result = verify_standard(SECRET, ID, bad, SIGNATURE, BODY, SENT_S, TOLERANCE_S);
            assert_eq!(result, Err(VerifyError::MalformedTimestamp), "{bad:?}");
        }
        for bad in ["", "whsec_", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &"g".repeat(64)] {
            let result = verify_standard(bad, ID, SENT, SIGNATURE, BODY, SENT_S, TOLERANCE_S);
            assert_eq!(result, Err(VerifyError::BadSecret), "{bad:?}");
        }
    }

    #[test]
    fn hub_signatures_verify_and_fail() {
        let secret = [0x5a; 32];
        let text = secret_hex(&secret);
        let header = HubKey::new(&secret).sign(b"body");
        assert_eq!(verify_hub(&text, &header, b"body"), Ok(()));
        assert_eq!(verify_hub(&text.to_uppercase(), &header, b"body"), Ok(()));
        assert_eq!(verify_hub(&text, &header, b"Body"), Err(VerifyError::Mismatch));
        assert_eq!(verify_hub(&secret_hex(&[1; 32]), &header, b"body"), Err(VerifyError::Mismatch));
        for bad in ["short", &"g".repeat(64), &standard_secret(&secret)] {
            assert_eq!(verify_hub(bad, &header, b"body"), Err(VerifyError::BadSecret), "{bad}");
        }
        let malformed = VerifyError::MalformedSignature { expected: "sha256= and 64 hex digits" };
        let sha1 = header.replace("sha256", "sha1");
        for bad in ["", "sha256=", "sha256=zz", &sha1, &format!("{header}00")] {
            assert_eq!(verify_hub(&text, bad, b"body"), Err(malformed), "{bad}");
        }
    }

    proptest! {
        // What we sign verifies in every form of the secret, during an overlap with either secret, and a flipped bit
        // anywhere in the body does not.
        #[test]
        fn signed_bodies_verify(
            current: [u8; 32],
            previous: [u8; 32],
            id in "[A-Za-z0-9_-]{1,64}",
            time in 0..u64::MAX / 2,
            mut body in prop::collection::vec(any::<u8>(), 1..200),
            flip: prop::sample::Index,
        ) {
            let headers = SigningKeys::new(&current, Some(&previous)).sign(id.as_bytes(), time, &body);
            let timestamp = time.to_string();
            let check = |secret: &str, body: &[u8]| {
                verify_standard(secret, &id, &timestamp, &headers.standard, body, time + 20, 300)
            };
            for secret in [secret_hex(&current), standard_secret(&current), standard_secret(&previous)] {
                prop_assert_eq!(check(&secret, &body), Ok(()));
            }
            prop_assert_eq!(verify_hub(&secret_hex(&current), &headers.hub, &body), Ok(()));
            let alone = StandardKey::new(&current).sign(id.as_bytes(), time, &body);
            prop_assert!(headers.standard.starts_with(&alone));

            let index = flip.index(body.len());
            body[index] ^= 1;
            prop_assert_eq!(check(&secret_hex(&current), &body), Err(VerifyError::Mismatch));
            prop_assert_eq!(verify_hub(&secret_hex(&current), &headers.hub, &body), Err(VerifyError::Mismatch));
        }
    }
}
