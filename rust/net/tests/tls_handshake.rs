//! Handshakes: versions, certificates of clients, a server certificate that changes, and bytes cut anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use common::certs::{Shown, TLS12, TLS13, client_config, der, make_identity, open};
use common::{Server, connect_bytes, wait_until};
use edgehub_mqtt::{Packet, QoS, decode, encode_publish};
use edgehub_net::{NetError, TlsIdentity, TlsOptions, TlsVersions};
use rustls::{ClientConnection, ProtocolVersion, SupportedProtocolVersion};

type Client = (ClientConnection, TcpStream);

fn identity() -> &'static TlsIdentity {
    static IDENTITY: OnceLock<TlsIdentity> = OnceLock::new();
    IDENTITY.get_or_init(make_identity)
}

/// Another server's, or a client's.
fn other() -> &'static TlsIdentity {
    static IDENTITY: OnceLock<TlsIdentity> = OnceLock::new();
    IDENTITY.get_or_init(make_identity)
}

fn listen(server: &Server, versions: TlsVersions, asks_certificates: bool) -> (u32, u16) {
    let options = TlsOptions { identity: identity().clone(), versions, asks_certificates };
    server.threads.listen("127.0.0.1", 0, Some(&options)).unwrap()
}

/// Handshake and CONNECT; how many writes they took.
///
/// # Errors
/// The connection ended before the CONNACK.
fn connect((tls, socket): &mut Client, id: &str) -> Result<usize, String> {
    tls.writer().write_all(&connect_bytes(id)).unwrap();
    let (mut writes, mut answer) = (0, Vec::new());
    while answer.len() < 4 {
        let mut segment = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut segment).unwrap();
        }
        if !segment.is_empty() {
            socket.write_all(&segment).map_err(|error| error.to_string())?;
            writes += 1;
        }
        if tls.read_tls(socket).map_err(|error| error.to_string())? == 0 {
            return Err("closed".to_owned());
        }
        tls.process_new_packets().map_err(|error| error.to_string())?;
        match tls.reader().read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.to_string()),
            _ => {}
        }
    }
    assert!(matches!(decode(&answer, 100), Ok(Some((Packet::ConnAck(_), 4)))));
    Ok(writes)
}

fn publish_bytes(device: &str, id: u16) -> Vec<u8> {
    let topic = format!("devices/{device}/messages/events/");
    let publish = edgehub_mqtt::Publish::new(&topic, QoS::AtLeastOnce, b"x").with_id(id).unwrap();
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &publish).unwrap();
    bytes
}

/// One publish, and the wait for its acknowledgement.
fn publish((tls, socket): &mut Client, device: &str, id: u16) {
    let mut stream = rustls::Stream::new(tls, socket);
    stream.write_all(&publish_bytes(device, id)).unwrap();
    let mut ack = [0; 4];
    stream.read_exact(&mut ack).unwrap();
    assert_eq!(ack, [0x40, 2, (id >> 8) as u8, id as u8]);
}

const BOTH: &[&SupportedProtocolVersion] = &[TLS13[0], TLS12[0]];

/// M-001: what a listener offers, and nothing else.
#[test]
fn m_001_each_version_is_offered_or_refused() {
    let server = Server::start(1, |_| {});
    let (v12, v13) = (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3);
    for (offered, client, expected) in [
        (TlsVersions::Tls12, TLS12, Some(v12)),
        (TlsVersions::Tls12, TLS13, None),
        (TlsVersions::Tls12, BOTH, Some(v12)),
        (TlsVersions::Tls13, TLS12, None),
        (TlsVersions::Tls13, TLS13, Some(v13)),
        (TlsVersions::Tls13, BOTH, Some(v13)),
        (TlsVersions::Both, TLS12, Some(v12)),
        (TlsVersions::Both, TLS13, Some(v13)),
        (TlsVersions::Both, BOTH, Some(v13)),
    ] {
        let (id, port) = listen(&server, offered, true);
        let mut session = open(&client_config(&[identity()], client, None), port);
        let connected = connect(&mut session, "d").is_ok();
        assert_eq!(connected.then(|| session.0.protocol_version().unwrap()), expected, "{offered:?}");
        server.threads.close_listener(id);
    }
    server.stop();
}

#[test]
fn the_end_of_the_handshake_and_connect_in_one_segment() {
    let server = Server::start(1, |_| {});
    for asks in [false, true] {
        let (_, port) = listen(&server, TlsVersions::Both, asks);
        let mut session = open(&client_config(&[identity()], TLS13, None), port);
        assert_eq!(connect(&mut session, "d"), Ok(2), "hello; finished and CONNECT");
        publish(&mut session, "d", 1);
    }
    // A client of TLS 1.2 has the last word only when it resumes a session.
    let (_, port) = listen(&server, TlsVersions::Tls12, false);
    let config = client_config(&[identity()], TLS12, None);
    assert_eq!(connect(&mut open(&config, port), "d"), Ok(3));
    let mut resumed = open(&config, port);
    assert_eq!(connect(&mut resumed, "d"), Ok(2), "hello; finished and CONNECT");
    publish(&mut resumed, "d", 1);
    server.stop();
}

/// Writes one byte after the other; the server has taken each before the next comes.
struct ByteByByte<'a>(&'a mut TcpStream, &'a Server);

impl Write for ByteByByte<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let turns = || self.1.hub.stats().turns.load(Ordering::Relaxed);
        for byte in bytes {
            let before = turns();
            self.0.write_all(&[*byte])?;
            wait_until(|| turns() != before);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for ByteByByte<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

#[test]
fn every_byte_in_its_own_segment() {
    for (versions, shown) in [(TLS12, false), (TLS13, false), (TLS12, true), (TLS13, true)] {
        let server = Server::start(1, |_| {});
        let (_, port) = listen(&server, TlsVersions::Both, true);
        let shown = shown.then(|| Shown::new(other(), other()));
        let certificates = usize::from(shown.is_some());
        let (mut tls, mut socket) = open(&client_config(&[identity()], versions, shown), port);
        let mut pieces = ByteByByte(&mut socket, &server);
        let mut stream = rustls::Stream::new(&mut tls, &mut pieces);
        stream.write_all(&connect_bytes("d")).unwrap();
        stream.write_all(&publish_bytes("d", 1)).unwrap();
        let mut answers = [0; 8];
        stream.read_exact(&mut answers).unwrap();
        assert_eq!(answers[4..], [0x40, 2, 0, 1]);
        assert_eq!(server.shown.lock().unwrap()[0].len(), certificates);
        server.stop();
    }
}

#[test]
fn the_certificate_of_a_client_comes_with_its_connect() {
    for versions in [TLS12, TLS13] {
        let server = Server::start(1, |_| {});
        let (_, port) = listen(&server, TlsVersions::Both, true);
        let (_, silent_port) = listen(&server, TlsVersions::Both, false);
        let with = || client_config(&[identity()], versions, Some(Shown::new(other(), other())));
        let without = client_config(&[identity()], versions, None);
        for (config, port) in [(&with(), port), (&without, port), (&with(), silent_port)] {
            connect(&mut open(config, port), "d").unwrap();
        }
        let none: Box<[Vec<u8>]> = Box::default();
        let shown = server.shown.lock().unwrap().clone();
        assert_eq!(shown, [Box::from([der(other()).to_vec()]), none.clone(), none]);
        server.stop();
    }
}

#[test]
fn whoever_asks_for_certificates_resumes_no_session() {
    let server = Server::start(1, |_| {});
    let (_, port) = listen(&server, TlsVersions::Both, true);
    for versions in [TLS12, TLS13] {
        let config = client_config(&[identity()], versions, Some(Shown::new(other(), other())));
        for _ in 0..3 {
            let mut session = open(&config, port);
            connect(&mut session, "d").unwrap();
            assert_eq!(session.0.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
    assert!(server.shown.lock().unwrap().iter().all(|shown| shown.len() == 1));
    server.stop();
}

#[test]
fn a_certificate_without_its_key_ends_the_handshake() {
    for versions in [TLS12, TLS13] {
        let server = Server::start(1, |_| {});
        let (_, port) = listen(&server, TlsVersions::Both, true);
        let stolen = Shown::new(other(), identity());
        let error = connect(&mut open(&client_config(&[identity()], versions, Some(stolen)), port), "d");
        assert!(error.is_err());
        assert!(server.shown.lock().unwrap().is_empty(), "its CONNECT went to nobody");
        assert_eq!(server.stop(), ["tls_error"]);
    }
}

fn leaf_seen(port: u16) -> Vec<u8> {
    let mut session = open(&client_config(&[identity(), other()], BOTH, None), port);
    connect(&mut session, "new").unwrap();
    session.0.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_replaced_certificate_is_for_new_connections_and_traffic_goes_on() {
    let server = Server::start(2, |_| {});
    let (listener, port) = listen(&server, TlsVersions::Both, true);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic: Vec<_> = (0..3)
            .map(|n| {
                let (name, done) = (format!("d{n}"), &done);
                let mut session = open(&client_config(&[identity()], BOTH, None), port);
                connect(&mut session, &name).unwrap();
                scope.spawn(move || {
                    let mut id = 0;
                    while !done.load(Ordering::Relaxed) {
                        id = id % 60_000 + 1;
                        publish(&mut session, &name, id);
                    }
                })
            })
            .collect();
        for round in 0..20 {
            let next = if round % 2 == 0 { other() } else { identity() };
            server.threads.set_tls(listener, next).unwrap();
            assert_eq!(leaf_seen(port), der(next).to_vec());
        }
        done.store(true, Ordering::Relaxed);
        for thread in traffic {
            thread.join().unwrap();
        }
    });
    server.stop();
}

#[test]
fn what_cannot_be_used_leaves_the_certificate_in_force() {
    let server = Server::start(1, |_| {});
    let (listener, port) = listen(&server, TlsVersions::Both, false);
    let no_pem = TlsIdentity { chain_pem: b"rubbish".to_vec(), key_pem: b"rubbish".to_vec() };
    let mixed = TlsIdentity { chain_pem: other().chain_pem.clone(), key_pem: identity().key_pem.clone() };
    for wrong in [no_pem, mixed] {
        let refused = server.threads.set_tls(listener, &wrong);
        assert!(matches!(refused, Err(NetError::Certificate { .. })));
    }
    assert_eq!(leaf_seen(port), der(identity()).to_vec());
    let (plain, _) = server.threads.listen("127.0.0.1", 0, None).unwrap();
    server.threads.close_listener(listener);
    for gone in [plain, listener, 4711] {
        let refused = server.threads.set_tls(gone, other());
        assert!(matches!(refused, Err(NetError::NoTlsListener { listener }) if listener == gone));
    }
    server.stop();
}
