//! TLS settings of the clients.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::LoadError;

/// A client configuration that trusts the certificates of a PEM file and nothing else.
///
/// # Errors
/// The file cannot be read, or has no usable certificate.
pub fn client_config(ca_file: &Path) -> Result<Arc<ClientConfig>, LoadError> {
    let content = |reason: String| LoadError::Content { path: ca_file.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(ca_file).map_err(|err| content(err.to_string()))? {
        let cert = cert.map_err(|err| content(err.to_string()))?;
        roots.add(cert).map_err(|err| content(err.to_string()))?;
    }
    if roots.is_empty() {
        return Err(content("no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|err| LoadError::Tls(err.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let missing = client_config(Path::new("/nowhere/ca.pem")).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/ca.pem: "), "{missing}");
        let other = client_config(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")));
        assert!(other.unwrap_err().to_string().contains("no certificate in it"));
    }
}
