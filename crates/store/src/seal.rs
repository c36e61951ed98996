//! Secrets at rest: XChaCha20-Poly1305 under a key derived from the master key, a random nonce each, bound to the
//! table, the row and the field it stands in, so that a box moved elsewhere does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::Mac;
use rand::TryRng;
use zeroize::{Zeroize, Zeroizing};

type HmacSha256 = hmac::Hmac<sha2::Sha256>;
const NONCE_BYTES: usize = 24;

/// A box did not open, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("sealed value does not open under this master key")]
    DoesNotOpen,
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

/// Seals and opens.
pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
    format_1_hash_key: Zeroizing<[u8; HASH_KEY_BYTES]>,
}

/// Hashes API keys. Its key is random and lies sealed in the store, so that another master key changes no hash: the keys
/// themselves are not kept, so no hash could be made anew.
pub(crate) struct KeyHasher(HmacSha256);

/// Bytes of the key of [`KeyHasher`].
pub(crate) const HASH_KEY_BYTES: usize = 32;

fn keyed(key: &[u8]) -> HmacSha256 {
    <HmacSha256 as hmac::KeyInit>::new_from_slice(key).expect("hmac takes keys of any length")
}

fn derive(master: &[u8; 32], label: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(keyed(master).chain_update(label).finalize().into_bytes().into())
}

fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    rand::rngs::SysRng.try_fill_bytes(bytes).map_err(|_| SealError::NoRandomness)
}

/// A new key for [`KeyHasher`].
pub(crate) fn new_hash_key() -> Result<Zeroizing<[u8; HASH_KEY_BYTES]>, SealError> {
    let mut key = Zeroizing::new([0; HASH_KEY_BYTES]);
    random(&mut *key)?;
    Ok(key)
}

impl KeyHasher {
    /// Of this key.
    pub(crate) fn new(key: &[u8]) -> Self {
        KeyHasher(keyed(key))
    }

    /// Keyed hash of an API key's text.
    pub(crate) fn hash(&self, key: &str) -> [u8; 32] {
        self.0.clone().chain_update(key).finalize().into_bytes().into()
    }
}

impl Sealer {
    /// Derives the key.
    pub(crate) fn new(mut master: [u8; 32]) -> Self {
        let sealing = derive(&master, "fanfare store: sealing, version 1");
        let format_1_hash_key = derive(&master, "fanfare store: api key hash, version 1");
        master.zeroize();
        Sealer { cipher: XChaCha20Poly1305::new(Key::from_slice(&*sealing)), format_1_hash_key }
    }

    /// The key that directories of format 1 hashed API keys with: it came from the master key.
    pub(crate) fn format_1_hash_key(&self) -> &[u8] {
        &*self.format_1_hash_key
    }

    /// Nonce, then the sealed bytes and their tag.
    pub(crate) fn seal(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce)?;
        let payload = Payload { msg: plain, aad: place };
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("a secret is far below the cipher's limit of 256 GiB");
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] made for the same place.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or(SealError::DoesNotOpen)?;
        self.cipher
            .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: place })
            .map(Zeroizing::new)
            .map_err(|_| SealError::DoesNotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_only_at_its_place_and_under_its_key() {
        let sealer = Sealer::new([1; 32]);
        let sealed = sealer.seal(b"webhooks/1/secrets", b"hunter2").unwrap();
        assert_eq!(&sealer.open(b"webhooks/1/secrets", &sealed).unwrap()[..], b"hunter2");
        assert!(sealer.open(b"webhooks/2/secrets", &sealed).is_err());
        assert!(Sealer::new([2; 32]).open(b"webhooks/1/secrets", &sealed).is_err());
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(
            sealed,
            sealer.seal(b"webhooks/1/secrets", b"hunter2").unwrap(),
            "a nonce is never used twice"
        );
    }

    #[test]
    fn every_damage_of_a_box_is_noticed() {
        let sealer = Sealer::new([1; 32]);
        let sealed = sealer.seal(b"x", b"secret").unwrap();
        crate::record::frame::check_every_damage(&sealed, |sealed| sealer.open(b"x", sealed).is_ok());
    }

    #[test]
    fn hashes_depend_on_the_key_they_are_made_with() {
        let [one, other] = [new_hash_key().unwrap(), new_hash_key().unwrap()];
        assert_ne!(one, other, "each is random");
        assert_ne!(KeyHasher::new(&*one).hash("k"), KeyHasher::new(&*other).hash("k"));
        assert_eq!(KeyHasher::new(&*one).hash("k"), KeyHasher::new(&*one).hash("k"));
        assert_ne!(KeyHasher::new(&*one).hash("k"), KeyHasher::new(&*one).hash("l"));
    }
}
