//! Certificates of clients: any is taken at this level, if the client proves to have its key.
//!
//! Who a certificate stands for, its dates and its chain are policy, and the control plane's business.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Certificates that a client may send: its own and intermediates. More: the handshake fails.
pub(crate) const CERTIFICATES_MAX: usize = 9;
/// Bytes of all certificates of a client together. More: the handshake fails.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 32 * 1024;

/// Asks for a certificate, takes none or any.
#[derive(Debug)]
pub(crate) struct AnyClientCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClientCertificate {
    /// With the signatures that the provider can check.
    pub fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No names: a client shows what it has, whoever issued it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes = leaf.len() + intermediates.iter().map(|certificate| certificate.len()).sum::<usize>();
        if intermediates.len() >= CERTIFICATES_MAX || bytes > CERTIFICATE_BYTES_MAX {
            return Err(Error::General(format!(
                "the client sent {} certificates of {bytes} bytes; {CERTIFICATES_MAX} of {CERTIFICATE_BYTES_MAX} \
                 bytes are taken",
                intermediates.len() + 1
            )));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::ring;

    fn takes(intermediates: usize, bytes: usize) -> bool {
        let verifier = AnyClientCertificate::new(&ring::default_provider());
        let chain = vec![CertificateDer::from(Vec::new()); intermediates];
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        verifier.verify_client_cert(&CertificateDer::from(vec![0; bytes]), &chain, now).is_ok()
    }

    #[test]
    fn chains_have_a_limit_in_number_and_in_bytes() {
        assert!(takes(CERTIFICATES_MAX - 1, 10));
        assert!(!takes(CERTIFICATES_MAX, 10));
        assert!(takes(0, CERTIFICATE_BYTES_MAX));
        assert!(!takes(0, CERTIFICATE_BYTES_MAX + 1));
    }
}
