//! TLS of receivers: rustls with ring, the web's roots and the operator's own, TLS 1.2 or newer, always verified.

use fanfare_core::webhook::Protocol;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Sessions kept for resumption, for each of the three configurations; some KiB each. More distinct receivers than
/// this pay full handshakes when they are called rarely.
const SESSIONS_MAX: usize = 1024;

/// Where trust comes from.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// PEM files with further certificate authorities.
    pub extra_ca_files: Vec<PathBuf>,
    /// Further certificate authorities as PEM text.
    pub extra_ca_pem: Vec<String>,
}

/// Why TLS could not be set up: the operator's files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds something else.
    #[error("certificate authority {name}: cannot be read as pem")]
    Pem {
        /// The file, or `(text)`.
        name: String,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// Nothing in it: trusting nobody more than before is hardly what was meant.
    #[error("certificate authority {name}: holds no certificate")]
    Empty {
        /// The file, or `(text)`.
        name: String,
    },
    /// A certificate that cannot be trusted as an authority.
    #[error("certificate authority {name}: not usable as a root")]
    Root {
        /// The file, or `(text)`.
        name: String,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

/// One configuration for each list of protocols offered by ALPN, shared by all connections.
#[derive(Clone)]
pub struct Tls {
    auto: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the operator's authorities, on top of the web's.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for path in &options.extra_ca_files {
            let name = path.display().to_string();
            match CertificateDer::pem_file_iter(path) {
                Ok(certificates) => add_all(&mut roots, &name, certificates)?,
                Err(source) => return Err(TlsError::Pem { name, source }),
            }
        }
        for pem in &options.extra_ca_pem {
            add_all(&mut roots, "(text)", CertificateDer::pem_slice_iter(pem.as_bytes()))?;
        }
        let roots = Arc::new(roots);
        Ok(Tls {
            auto: config(&roots, &[b"h2", b"http/1.1"]),
            http1: config(&roots, &[b"http/1.1"]),
            http2: config(&roots, &[b"h2"]),
        })
    }

    /// The configuration that offers what `protocol` allows.
    pub(crate) fn config(&self, protocol: Protocol) -> Arc<ClientConfig> {
        Arc::clone(match protocol {
            Protocol::Auto => &self.auto,
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        })
    }
}

fn add_all(
    roots: &mut RootCertStore,
    name: &str,
    certificates: impl Iterator<Item = Result<CertificateDer<'static>, rustls_pki_types::pem::Error>>,
) -> Result<(), TlsError> {
    let mut count = 0_usize;
    for certificate in certificates {
        let certificate = certificate.map_err(|source| TlsError::Pem { name: name.to_owned(), source })?;
        roots.add(certificate).map_err(|source| TlsError::Root { name: name.to_owned(), source })?;
        count += 1;
    }
    if count == 0 { Err(TlsError::Empty { name: name.to_owned() }) } else { Ok(()) }
}

fn config(roots: &Arc<RootCertStore>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring speaks both versions")
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(pem: &str) -> TlsError {
        let options = TlsOptions { extra_ca_pem: vec![pem.to_owned()], ..TlsOptions::default() };
        Tls::new(&options).expect_err("not a certificate authority")
    }

    #[test]
    fn unusable_authorities_are_named() {
        assert!(matches!(error_of("nothing here"), TlsError::Empty { .. }));
        assert!(matches!(
            error_of("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"),
            TlsError::Pem { .. }
        ));
        assert!(matches!(
            error_of("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            TlsError::Root { .. }
        ));
        let options =
            TlsOptions { extra_ca_files: vec![PathBuf::from("no-such-file.pem")], ..TlsOptions::default() };
        let error = Tls::new(&options).expect_err("no such file");
        assert_eq!(error.to_string(), "certificate authority no-such-file.pem: cannot be read as pem");
    }

    #[test]
    fn each_protocol_offers_its_own_alpn() {
        let tls = Tls::new(&TlsOptions::default()).unwrap();
        let alpn = |protocol| tls.config(protocol).alpn_protocols.clone();
        assert_eq!(alpn(Protocol::Auto), [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(alpn(Protocol::Http1), [b"http/1.1".to_vec()]);
        assert_eq!(alpn(Protocol::Http2), [b"h2".to_vec()]);
    }
}
