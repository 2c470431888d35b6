//! Certificates made by the system's openssl, and TLS clients.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use edgehub_net::TlsIdentity;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SignatureScheme, SupportedProtocolVersion, version,
};

use super::WAIT;

pub const TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
pub const TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// A certificate of its own for localhost, with an ECDSA key.
pub fn make_identity() -> TlsIdentity {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("edgehub-net-tls-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&chain)
        .output()
        .expect("the openssl program");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let identity =
        TlsIdentity { chain_pem: std::fs::read(&chain).unwrap(), key_pem: std::fs::read(&key).unwrap() };
    std::fs::remove_dir_all(&folder).unwrap();
    identity
}

/// The leaf of an identity.
pub fn der(identity: &TlsIdentity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&identity.chain_pem).unwrap()
}

/// Shows a certificate with the key of another.
#[derive(Debug)]
pub struct Shown(pub Arc<CertifiedKey>);

impl Shown {
    pub fn new(certificate: &TlsIdentity, key: &TlsIdentity) -> Self {
        let key = PrivateKeyDer::from_pem_slice(&key.key_pem).unwrap();
        let key = ring::sign::any_supported_type(&key).unwrap();
        Self(Arc::new(CertifiedKey::new(vec![der(certificate)], key)))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client that trusts these servers.
pub fn client_config(
    trusted: &[&TlsIdentity],
    versions: &[&'static SupportedProtocolVersion],
    shown: Option<Shown>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for identity in trusted {
        roots.add(der(identity)).unwrap();
    }
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_webpki_verifier(verifier);
    Arc::new(match shown {
        Some(shown) => builder.with_client_cert_resolver(Arc::new(shown)),
        None => builder.with_no_client_auth(),
    })
}

/// A connected socket and the client's side of a session that has not begun.
pub fn open(config: &Arc<ClientConfig>, port: u16) -> (ClientConnection, TcpStream) {
    let tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    socket.set_nodelay(true).unwrap();
    (tls, socket)
}
