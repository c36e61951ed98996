//! The sending side: keyed states kept per webhook, cloned per attempt.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

pub(crate) type HmacSha256 = Hmac<Sha256>;

/// Text before the base64 of a Standard Webhooks secret.
pub(crate) const STANDARD_SECRET_PREFIX: &str = "whsec_";
/// Text before the hex of the hub's signature.
pub(crate) const HUB_PREFIX: &str = "sha256=";
/// Text before the base64 of a Standard Webhooks signature.
pub(crate) const STANDARD_PREFIX: &str = "v1,";

pub(crate) fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// MAC of the parts, one after the other.
pub(crate) fn mac(keyed: &HmacSha256, parts: &[&[u8]]) -> [u8; 32] {
    // Cloning the keyed state saves hashing the two key blocks again: about a tenth of a signature.
    let mut state = keyed.clone();
    for part in parts {
        state.update(part);
    }
    state.finalize().into_bytes().into()
}

/// Appends the hex of 32 bytes; `digits` holds it meanwhile, so that who makes that of a secret can wipe it.
fn push_hex(text: &mut String, bytes: &[u8; 32], digits: &mut [u8; 64]) {
    hex::encode_to_slice(bytes, digits).expect("32 bytes are 64 digits");
    text.push_str(str::from_utf8(digits).expect("digits are ASCII"));
}

/// The secret as the API shows it and as the hub's signature is keyed: 64 lower-case hex digits.
#[must_use]
pub fn secret_hex(secret: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    push_hex(&mut text, secret, &mut Zeroizing::new([0; 64]));
    text
}

/// The same secret as Standard Webhooks libraries take it: `whsec_` and base64.
#[must_use]
pub fn standard_secret(secret: &[u8; 32]) -> String {
    let mut text = String::with_capacity(STANDARD_SECRET_PREFIX.len() + 44);
    text.push_str(STANDARD_SECRET_PREFIX);
    BASE64.encode_string(secret, &mut text);
    text
}

/// Key of `X-Hub-Signature-256`: HMAC-SHA256 keyed with the 64 ASCII characters of the secret, not with its 32 bytes.
#[derive(Clone)]
pub struct HubKey(HmacSha256);

impl HubKey {
    /// Keys the state once; [`HubKey::sign`] clones it.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let text = Zeroizing::new(secret_hex(secret));
        HubKey(keyed(text.as_bytes()))
    }

    /// `sha256=<64 hex digits>` over the body.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        let mut text = String::with_capacity(HUB_PREFIX.len() + 64);
        text.push_str(HUB_PREFIX);
        push_hex(&mut text, &mac(&self.0, &[body]), &mut [0; 64]);
        text
    }
}

impl fmt::Debug for HubKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubKey(…)")
    }
}

/// Key of `webhook-signature`: HMAC-SHA256 keyed with the 32 bytes.
#[derive(Clone)]
pub struct StandardKey(HmacSha256);

impl StandardKey {
    /// Keys the state once; [`StandardKey::sign`] clones it.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        StandardKey(keyed(secret))
    }

    /// `v1,<44 characters of base64>` over `id.timestamp.body`.
    #[must_use]
    pub fn sign(&self, id: &[u8], timestamp_s: u64, body: &[u8]) -> String {
        let mut text = String::with_capacity(STANDARD_PREFIX.len() + 44);
        self.push_signature(&mut text, id, Decimal::new(timestamp_s).bytes(), body);
        text
    }

    fn push_signature(&self, text: &mut String, id: &[u8], timestamp: &[u8], body: &[u8]) {
        let mut base64 = [0; 44];
        let mac = mac(&self.0, &[id, b".", timestamp, b".", body]);
        BASE64.encode_slice(mac, &mut base64).expect("32 bytes are 44 characters");
        text.push_str(STANDARD_PREFIX);
        text.push_str(str::from_utf8(&base64).expect("base64 is ASCII"));
    }
}

impl fmt::Debug for StandardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandardKey(…)")
    }
}

/// A number in decimal without an allocation.
struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        for (index, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            start = index;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Decimal { digits, start }
    }

    fn bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or(&[])
    }
}

/// Values of the two signature headers of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// Value of the hub's signature header.
    pub hub: String,
    /// Value of `webhook-signature`: one signature, or two separated by a space during an overlap, the new one first.
    pub standard: String,
}

/// Everything needed to sign for one webhook: the current secret, and the one before while it is still valid.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    hub: HubKey,
    standard: StandardKey,
    previous: Option<StandardKey>,
}

impl SigningKeys {
    /// Keys all states. `previous` is the old secret during a rotation's overlap; the caller drops it (by making new
    /// keys) when the overlap ends.
    #[must_use]
    pub fn new(current: &[u8; 32], previous: Option<&[u8; 32]>) -> Self {
        SigningKeys {
            hub: HubKey::new(current),
            standard: StandardKey::new(current),
            previous: previous.map(StandardKey::new),
        }
    }

    /// Signs one attempt. `id` is `webhook-id`, `timestamp_s` is `webhook-timestamp`, `body` the exact bytes sent.
    ///
    /// Cost: two passes of SHA-256 over the body (three in an overlap) and two allocations of the exact size, which
    /// `Bytes::from` takes over without a copy.
    #[must_use]
    pub fn sign(&self, id: &[u8], timestamp_s: u64, body: &[u8]) -> SignatureHeaders {
        let timestamp = Decimal::new(timestamp_s);
        let count = 1 + usize::from(self.previous.is_some());
        // A space between two: 47 characters each.
        let mut standard = String::with_capacity(count * (STANDARD_PREFIX.len() + 44) + (count - 1));
        self.standard.push_signature(&mut standard, id, timestamp.bytes(), body);
        if let Some(previous) = &self.previous {
            standard.push(' ');
            previous.push_signature(&mut standard, id, timestamp.bytes(), body);
        }
        SignatureHeaders { hub: self.hub.sign(body), standard }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex_mac(key: &[u8], data: &[u8]) -> String {
        hex::encode(mac(&keyed(key), &[data]))
    }

    #[test]
    fn hmac_sha256_vectors_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 5] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &[0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size data. The key \
                  needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, data, expected) in cases {
            assert_eq!(hex_mac(key, data), expected);
        }
    }

    #[test]
    fn githubs_documented_vector() {
        assert_eq!(
            hex_mac(b"It's a Secret to Everybody", b"Hello, World!"),
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn the_hub_key_is_the_ascii_text_of_the_secret() {
        let secret = [0xab; 32];
        let text = "ab".repeat(32);
        assert_eq!(secret_hex(&secret), text);
        assert_eq!(
            HubKey::new(&secret).sign(b"body"),
            format!("sha256={}", hex_mac(text.as_bytes(), b"body"))
        );
    }

    #[test]
    fn an_overlap_carries_both_signatures_the_new_one_first() {
        let (new, old) = ([1; 32], [2; 32]);
        let alone = SigningKeys::new(&new, None).sign(b"id", 7, b"body");
        let both = SigningKeys::new(&new, Some(&old)).sign(b"id", 7, b"body");
        assert_eq!(alone.standard, StandardKey::new(&new).sign(b"id", 7, b"body"));
        let old_one = StandardKey::new(&old).sign(b"id", 7, b"body");
        assert_eq!(both.standard, format!("{} {old_one}", alone.standard));
        assert_eq!(both.hub, alone.hub);
        // Exact sizes, so that `Bytes::from` need not shrink them.
        assert_eq!(both.standard.len(), both.standard.capacity());
        assert_eq!(alone.standard.len(), alone.standard.capacity());
        assert_eq!(both.hub.len(), both.hub.capacity());
    }

    #[test]
    fn decimals() {
        for number in [0, 7, 10, 1_614_265_330, u64::MAX] {
            assert_eq!(Decimal::new(number).bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn keys_do_not_print() {
        let text = format!("{:?}", SigningKeys::new(&[7; 32], Some(&[8; 32])));
        assert_eq!(
            text,
            "SigningKeys { hub: HubKey(…), standard: StandardKey(…), previous: Some(StandardKey(…)) }"
        );
    }
}
