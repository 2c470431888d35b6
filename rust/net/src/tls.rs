//! Server-side TLS 1.2 and 1.3 with rustls.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::NetError;

/// Certificate chain and key of a server, as PEM text.
#[derive(Clone)]
pub struct TlsIdentity {
    /// Leaf first, then intermediates.
    pub chain_pem: Vec<u8>,
    /// Private key: PKCS #8, PKCS #1 or SEC 1.
    pub key_pem: Vec<u8>,
}

/// Builds the configuration of a listener.
///
/// # Errors
/// [`NetError::Certificate`] when a PEM cannot be read or key and certificate do not belong together.
pub fn server_config(identity: &TlsIdentity) -> Result<Arc<ServerConfig>, NetError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("the chain is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(bad("the file holds no certificate; expected the chain as PEM, leaf first".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key_pem)
        .map_err(|error| bad(format!("the private key is not PEM: {error}")))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| bad(error.to_string()))?;
    Ok(Arc::new(config))
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
        let text = server_config(&identity).unwrap_err().to_string();
        assert!(text.contains("no certificate"), "{text}");
    }
}
