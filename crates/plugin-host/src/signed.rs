//! Detached Ed25519 signatures over a component's exact bytes: making them, and checking one against one key.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// A private key.
pub struct SigningKey(Ed25519KeyPair);

/// Never its bytes.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Of its seed: the private key as RFC 8032 has it. `None`: it cannot be a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(SigningKey)
    }

    /// The public key, as `plugins.signing_keys` takes it (in hexadecimal).
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// Signs a component.
    #[must_use]
    pub fn sign(&self, component: &[u8]) -> [u8; 64] {
        self.0.sign(component).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// Whether the signature is of this key over exactly these bytes.
#[must_use]
pub fn is_signed_by(component: &[u8], signature: &[u8], public_key: &[u8; 32]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(component, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn it_signs_as_the_standard_has_it() {
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_seed(&seed.expect("hex").try_into().expect("32 bytes")).expect("a key");
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(hex::encode(key.public()), public);
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex::encode(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(is_signed_by(&[0x72], &signature, &key.public()));
        assert!(!is_signed_by(&[0x73], &signature, &key.public()));
        assert!(!is_signed_by(&[0x72], &signature[..63], &key.public()));
    }
}
