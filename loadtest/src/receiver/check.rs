//! Sampled signatures: the check a receiver makes, with the secrets of the webhooks it was told of.

use super::counts::Signature;
use fanfare_signing::{TOLERANCE_S, verify_hub, verify_standard};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Secrets kept; of webhooks beyond them no signature is checked.
const SECRETS_MAX: usize = 100_000;

/// One webhook's secret; `None`: it does not sign.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WebhookSecret {
    pub(crate) webhook: String,
    pub(crate) secret: Option<String>,
}

/// What a request carries for the check.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) id: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) hub: Option<&'a str>,
    pub(crate) standard: Option<&'a str>,
}

#[derive(Default)]
pub(crate) struct Secrets(RwLock<HashMap<String, Option<String>>>);

impl Secrets {
    pub(crate) fn add(&self, secrets: Vec<WebhookSecret>) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for WebhookSecret { webhook, secret } in secrets {
            if kept.len() < SECRETS_MAX {
                kept.insert(webhook, secret);
            }
        }
    }

    pub(crate) fn check(&self, carried: &Carried<'_>, body: &[u8], now_us: u64) -> Signature {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(secret) = kept.get(carried.webhook) else { return Signature::Unknown };
        let is_signed = carried.hub.is_some() || carried.standard.is_some();
        let Some(secret) = secret else {
            // A webhook that does not sign must not seem to.
            return if is_signed { Signature::Bad } else { Signature::Unsampled };
        };
        let (Some(hub), Some(standard)) = (carried.hub, carried.standard) else { return Signature::Bad };
        let now_s = now_us / 1_000_000;
        let is_good = verify_hub(secret, hub, body).is_ok()
            && verify_standard(secret, carried.id, carried.timestamp, standard, body, now_s, TOLERANCE_S)
                .is_ok();
        if is_good { Signature::Good } else { Signature::Bad }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_signing::{SigningKeys, secret_hex};

    #[test]
    fn both_signatures_must_fit() {
        let secrets = Secrets::default();
        secrets.add(vec![
            WebhookSecret { webhook: "signed".into(), secret: Some(secret_hex(&[7; 32])) },
            WebhookSecret { webhook: "plain".into(), secret: None },
        ]);
        let made = SigningKeys::new(&[7; 32], None).sign(b"id-1", 1_790_000_000, b"body");
        let good = Carried {
            webhook: "signed",
            id: "id-1",
            timestamp: "1790000000",
            hub: Some(&made.hub),
            standard: Some(&made.standard),
        };
        let check = |carried: Carried<'_>, body: &[u8]| secrets.check(&carried, body, 1_790_000_001_000_000);
        assert_eq!(check(good, b"body"), Signature::Good);
        assert_eq!(check(good, b"bodY"), Signature::Bad);
        assert_eq!(check(Carried { id: "id-2", ..good }, b"body"), Signature::Bad);
        assert_eq!(check(Carried { hub: None, ..good }, b"body"), Signature::Bad);
        assert_eq!(check(Carried { standard: None, ..good }, b"body"), Signature::Bad);
        assert_eq!(check(Carried { webhook: "other", ..good }, b"body"), Signature::Unknown);
        assert_eq!(check(Carried { webhook: "plain", ..good }, b"body"), Signature::Bad);
        assert_eq!(check(Carried { webhook: "plain", ..Carried::default() }, b"body"), Signature::Unsampled);
    }
}
