//! A certificate authority of the receiver's own.

use super::{ReceiverOptions, Spoken};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

pub(crate) struct TlsSetup {
    pub(crate) ca_pem: String,
    pub(crate) acceptor: tokio_rustls::TlsAcceptor,
}

impl TlsSetup {
    pub(crate) fn new(names: &[String], options: &ReceiverOptions) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).expect("no names are good names");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "fanfare scripted receiver authority");
        let ca_key = KeyPair::generate().expect("a key");
        let ca_certificate = ca.self_signed(&ca_key).expect("a self-signed authority");
        let issuer = Issuer::new(ca, ca_key);

        let leaf = CertificateParams::new(names.to_vec()).expect("host names and addresses");
        let leaf_key = KeyPair::generate().expect("a key");
        let certificate = leaf.signed_by(&leaf_key, &issuer).expect("a signed certificate");

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the key fits the certificate");
        config.alpn_protocols = match (options.ignores_alpn, options.spoken) {
            (true, _) => Vec::new(),
            (false, Spoken::Http1) => vec![b"http/1.1".to_vec()],
            (false, Spoken::Http2) => vec![b"h2".to_vec()],
            (false, Spoken::Both) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        TlsSetup { ca_pem: ca_certificate.pem(), acceptor: tokio_rustls::TlsAcceptor::from(Arc::new(config)) }
    }
}
