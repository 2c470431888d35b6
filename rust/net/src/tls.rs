//! Server-side TLS 1.2 and 1.3 with rustls.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion, version};

use crate::client_certificate::AnyClientCertificate;
use crate::error::NetError;

/// Certificate chain and key of a server, as PEM text.
#[derive(Clone)]
pub struct TlsIdentity {
    /// Leaf first, then intermediates.
    pub chain_pem: Vec<u8>,
    /// Private key: PKCS #8, PKCS #1 or SEC 1.
    pub key_pem: Vec<u8>,
}

/// Versions that a listener offers; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 alone.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
    /// The newer one that the client knows.
    Both,
}

impl TlsVersions {
    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&version::TLS12],
            Self::Tls13 => vec![&version::TLS13],
            Self::Both => vec![&version::TLS13, &version::TLS12],
        }
    }
}

/// What a TLS listener is to be.
#[derive(Clone)]
pub struct TlsOptions {
    /// Its first certificate; [`crate::IoThreads::set_tls`] replaces it.
    pub identity: TlsIdentity,
    /// Versions to offer.
    pub versions: TlsVersions,
    /// Whether clients are asked for a certificate. They need not have one, and any is taken that they prove to
    /// have the key of: the verdict on it is the control plane's.
    pub asks_certificates: bool,
}

impl TlsOptions {
    /// Both versions, without certificates of clients.
    pub fn new(identity: TlsIdentity) -> Self {
        Self { identity, versions: TlsVersions::Both, asks_certificates: false }
    }
}

/// TLS of one listener. The certificate may be replaced; whoever is connected or within a handshake keeps the
/// one that it began with.
pub(crate) struct TlsAcceptor {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
    asks_certificates: bool,
}

impl TlsAcceptor {
    /// # Errors
    /// [`NetError::Certificate`] when a PEM cannot be read or key and certificate do not belong together.
    pub fn new(options: &TlsOptions) -> Result<Self, NetError> {
        let provider = Arc::new(ring::default_provider());
        let key = certified_key(&options.identity, &provider)?;
        let certificate = Arc::new(Certificate(ArcSwap::from_pointee(key)));
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&options.versions.list())
            .map_err(|error| bad(error.to_string()))?;
        let builder = if options.asks_certificates {
            builder.with_client_cert_verifier(Arc::new(AnyClientCertificate::new(&provider)))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(certificate.clone());
        if options.asks_certificates {
            // A resumed session brings the old certificate without a new proof of its key.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), certificate, asks_certificates: options.asks_certificates })
    }

    /// The certificate of handshakes from now on.
    ///
    /// # Errors
    /// As [`TlsAcceptor::new`]; the certificate in force stays.
    pub fn replace(&self, identity: &TlsIdentity) -> Result<(), NetError> {
        let key = certified_key(identity, self.config.crypto_provider())?;
        self.certificate.0.store(Arc::new(key));
        Ok(())
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    /// Those of rustls.
    pub fn session(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.config.clone())
    }

    /// Whether a client may have sent a certificate.
    pub fn asks_certificates(&self) -> bool {
        self.asks_certificates
    }
}

#[derive(Debug)]
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn certified_key(identity: &TlsIdentity, provider: &CryptoProvider) -> Result<CertifiedKey, NetError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("the chain is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(bad("the file holds no certificate; expected the chain as PEM, leaf first".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key_pem)
        .map_err(|error| bad(format!("the private key is not PEM: {error}")))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| bad(error.to_string()))
}

fn bad(detail: String) -> NetError {
    NetError::Certificate { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let identity = TlsIdentity { chain_pem: b"no pem".to_vec(), key_pem: Vec::new() };
        let text = TlsAcceptor::new(&TlsOptions::new(identity)).err().unwrap().to_string();
        assert!(text.contains("no certificate"), "{text}");
    }
}
