//! TLS on real sockets: the end that a client announces, and what it sends after it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use common::{Client, Got, Server, WAIT, connect_bytes};
use edgehub_mqtt::{Packet, decode};
use edgehub_net::TlsIdentity;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const CERTIFICATE: &[u8] = include_bytes!("common/keys/cert.pem");
const KEY: &[u8] = include_bytes!("common/keys/key.pem");

fn listen(server: &Server) -> u16 {
    let identity = TlsIdentity { chain_pem: CERTIFICATE.to_vec(), key_pem: KEY.to_vec() };
    server.threads.listen("127.0.0.1", 0, Some(&identity)).unwrap().1
}

/// A client with a session over TLS.
fn connect(port: u16, id: &str) -> (ClientConnection, TcpStream) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    stream.write_all(&connect_bytes(id)).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert!(matches!(decode(&answer, 100), Ok(Some((Packet::ConnAck(_), 4)))));
    (tls, socket)
}

/// The announced end, encrypted.
fn close_notify(tls: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    tls.send_close_notify();
    tls.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_follows_an_announced_end_does_not_hold_the_thread() {
    let server = Server::start(1, |_| {});
    let (mut tls, mut socket) = connect(listen(&server), "d");
    let mut bytes = close_notify(&mut tls);
    // More than the session takes in one go.
    bytes.resize(bytes.len() + 64 * 1024, 7);
    socket.write_all(&bytes).unwrap();
    let mut other = Client::open(server.port);
    other.send(|out| out.extend(connect_bytes("e")));
    assert_eq!(other.next(), Some(Got::ConnAck));
    drop(other);
    server.stop();
}

#[test]
fn an_announced_end_is_the_end() {
    let server = Server::start(1, |_| {});
    let (mut tls, mut socket) = connect(listen(&server), "d");
    socket.write_all(&close_notify(&mut tls)).unwrap();
    // The socket stays open on this side: the server closes it.
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert_eq!(server.stop(), ["eof"]);
}
