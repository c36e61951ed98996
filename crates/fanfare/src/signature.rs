//! The check a receiver makes, over the headers of one request: shared by `verify`, `listen` and `demo`.

use crate::exit::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fanfare_core::Secret;
use fanfare_signing::{VerifyError, secret_hex, verify_hub, verify_standard};
use http::HeaderMap;

/// Names of Standard Webhooks.
pub(crate) const WEBHOOK_ID: &str = "webhook-id";
/// When the attempt was made, Unix seconds.
pub(crate) const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// One or more `v1,<base64>`.
pub(crate) const WEBHOOK_SIGNATURE: &str = "webhook-signature";
/// The hub's signature header, unless the engine was told another name.
pub(crate) const HUB_SIGNATURE: &str = "X-Hub-Signature-256";

/// A secret as the API showed it, in either of its two forms.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverSecret {
    /// As given.
    text: Secret,
    /// 64 hex digits, which key the hub's signature; none for a `whsec_` that is not 32 bytes long.
    hex: Option<Secret>,
}

impl ReceiverSecret {
    /// Reads 64 hex digits, or `whsec_` and base64.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let bad =
            || Failure::usage("a secret must be 64 hex digits, or whsec_ and base64, as the API showed it");
        let hex = match text.strip_prefix("whsec_") {
            Some(base64) => {
                let bytes = BASE64.decode(base64).ok().filter(|bytes| !bytes.is_empty()).ok_or_else(bad)?;
                <[u8; 32]>::try_from(bytes).ok().map(|bytes| Secret::new(secret_hex(&bytes)))
            }
            None if text.len() == 64 && hex::decode(text).is_ok() => Some(Secret::new(text)),
            None => return Err(bad()),
        };
        Ok(ReceiverSecret { text: Secret::new(text), hex })
    }
}

/// The signatures one request carries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signatures<'a> {
    /// Value of the hub's signature header.
    pub(crate) hub: Option<&'a str>,
    /// `webhook-signature`.
    pub(crate) standard: Option<&'a str>,
    /// `webhook-id`.
    pub(crate) id: Option<&'a str>,
    /// `webhook-timestamp`.
    pub(crate) timestamp: Option<&'a str>,
}

impl<'a> Signatures<'a> {
    /// Reads them from a request.
    pub(crate) fn of(headers: &'a HeaderMap, hub_name: &str) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Signatures {
            hub: text(hub_name),
            standard: text(WEBHOOK_SIGNATURE),
            id: text(WEBHOOK_ID),
            timestamp: text(WEBHOOK_TIMESTAMP),
        }
    }
}

/// What was found about one of the two signatures.
pub(crate) type Check = Result<(), String>;

/// Both checks; `None` for a signature that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checks {
    /// The hub's.
    pub(crate) hub: Option<Check>,
    /// That of Standard Webhooks.
    pub(crate) standard: Option<Check>,
}

/// Both checks in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every signature there is fits, and there is one.
    Verified,
    /// A signature is there and does not fit.
    NotVerified(String),
    /// No signature is there.
    Unsigned,
    /// No secret to check with.
    Unchecked,
}

impl Checks {
    /// Both in one word.
    pub(crate) fn verdict(&self) -> Verdict {
        let found = [&self.hub, &self.standard];
        let bad = found.into_iter().flatten().find_map(|check| check.as_ref().err());
        match bad {
            Some(why) => Verdict::NotVerified(why.clone()),
            None if found.into_iter().all(Option::is_none) => Verdict::Unsigned,
            None => Verdict::Verified,
        }
    }
}

/// Checks the signatures of a body; a signature is good when any one of the secrets fits.
pub(crate) fn check(
    secrets: &[ReceiverSecret],
    signatures: Signatures<'_>,
    body: &[u8],
    now_s: u64,
    tolerance_s: u64,
) -> Checks {
    let hub = signatures.hub.map(|value| {
        any(secrets
            .iter()
            .filter_map(|secret| secret.hex.as_ref())
            .map(|key| verify_hub(key.expose(), value, body)))
    });
    let standard = signatures.standard.map(|value| {
        let id = signatures.id.ok_or("webhook-id is missing")?;
        let timestamp = signatures.timestamp.ok_or("webhook-timestamp is missing")?;
        any(secrets.iter().map(|secret| {
            verify_standard(secret.text.expose(), id, timestamp, value, body, now_s, tolerance_s)
        }))
    });
    Checks { hub, standard }
}

/// Good when one is; else the last reason.
fn any(results: impl Iterator<Item = Result<(), VerifyError>>) -> Check {
    let mut why = "no secret of 32 bytes to check with".to_owned();
    for result in results {
        match result {
            Ok(()) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fanfare_signing::{SigningKeys, standard_secret};

    const KEY: [u8; 32] = [0x42; 32];
    const NOW_S: u64 = 1_790_000_000;
    const BODY: &[u8] = br#"{"a":1}"#;

    /// Headers as the engine sends them.
    pub(crate) fn signed(key: &[u8; 32], id: &str, timestamp_s: u64, body: &[u8]) -> HeaderMap {
        let made = SigningKeys::new(key, None).sign(id.as_bytes(), timestamp_s, body);
        let mut headers = HeaderMap::new();
        headers.insert("x-hub-signature-256", made.hub.parse().unwrap());
        headers.insert(WEBHOOK_SIGNATURE, made.standard.parse().unwrap());
        headers.insert(WEBHOOK_ID, id.parse().unwrap());
        headers.insert(WEBHOOK_TIMESTAMP, timestamp_s.into());
        headers
    }

    fn verdict(secrets: &[&str], headers: &HeaderMap, body: &[u8], now_s: u64) -> Verdict {
        let secrets: Vec<_> = secrets.iter().map(|text| ReceiverSecret::parse(text).unwrap()).collect();
        check(&secrets, Signatures::of(headers, HUB_SIGNATURE), body, now_s, 300).verdict()
    }

    #[test]
    fn either_form_of_the_secret_verifies_both_signatures() {
        let headers = signed(&KEY, "e-1", NOW_S, BODY);
        for secret in [secret_hex(&KEY), standard_secret(&KEY)] {
            assert_eq!(verdict(&[&secret], &headers, BODY, NOW_S), Verdict::Verified);
        }
    }

    #[test]
    fn one_of_several_secrets_is_enough() {
        let headers = signed(&KEY, "e-1", NOW_S, BODY);
        let other = secret_hex(&[1; 32]);
        assert_eq!(verdict(&[&other, &secret_hex(&KEY)], &headers, BODY, NOW_S), Verdict::Verified);
        assert!(matches!(verdict(&[&other], &headers, BODY, NOW_S), Verdict::NotVerified(_)));
    }

    #[test]
    fn one_bad_signature_beside_a_good_one_is_not_verified() {
        let mut headers = signed(&KEY, "e-1", NOW_S, BODY);
        let foreign = signed(&[1; 32], "e-1", NOW_S, BODY);
        headers.insert("x-hub-signature-256", foreign.get("x-hub-signature-256").unwrap().clone());
        let found = verdict(&[&secret_hex(&KEY)], &headers, BODY, NOW_S);
        assert!(
            matches!(&found, Verdict::NotVerified(why) if why.contains("no signature matches")),
            "{found:?}"
        );
    }

    #[test]
    fn age_missing_parts_and_missing_signatures_are_told_apart() {
        let mut headers = signed(&KEY, "e-1", NOW_S, BODY);
        let secret = secret_hex(&KEY);
        let old = verdict(&[&secret], &headers, BODY, NOW_S + 301);
        assert!(matches!(&old, Verdict::NotVerified(why) if why.contains("301 s old")), "{old:?}");
        headers.remove(WEBHOOK_ID);
        assert_eq!(
            verdict(&[&secret], &headers, BODY, NOW_S),
            Verdict::NotVerified("webhook-id is missing".into())
        );
        assert_eq!(verdict(&[&secret], &HeaderMap::new(), BODY, NOW_S), Verdict::Unsigned);
    }

    #[test]
    fn secrets_that_are_none_are_refused_without_being_shown() {
        for bad in ["", "hunter2", "whsec_", "whsec_!!", &"g".repeat(64), &"a".repeat(63)] {
            let failure = ReceiverSecret::parse(bad).unwrap_err();
            assert!(!failure.message.contains("hunter2"), "{failure}");
        }
        let secret = ReceiverSecret::parse(&secret_hex(&KEY)).unwrap();
        assert!(!format!("{secret:?}").contains("42"), "{secret:?}");
    }

    #[test]
    fn a_standard_secret_of_another_length_checks_its_own_signature_only() {
        // The vector that Standard Webhooks libraries share: 24 bytes.
        let secret = ReceiverSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signatures = Signatures {
            hub: None,
            standard: Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
            timestamp: Some("1614265330"),
        };
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(check(&[secret], signatures, body, 1_614_265_330, 300).verdict(), Verdict::Verified);
    }
}
