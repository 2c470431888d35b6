//! TLS on real sockets: the end that a client announces, and what it sends after it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;

use common::certs::{TLS12, TLS13, client_config, make_identity, open};
use common::{Client, Got, Server, connect_bytes};
use edgehub_mqtt::{Packet, PacketId, QoS, decode, encode_puback, encode_publish, encode_subscribe};
use edgehub_net::{TlsIdentity, TlsOptions};
use rustls::ClientConnection;

fn identity() -> &'static TlsIdentity {
    static IDENTITY: OnceLock<TlsIdentity> = OnceLock::new();
    IDENTITY.get_or_init(make_identity)
}

fn listen(server: &Server) -> u16 {
    server.threads.listen("127.0.0.1", 0, Some(&TlsOptions::new(identity().clone()))).unwrap().1
}

/// A client with a session over TLS.
fn connect(port: u16, id: &str) -> (ClientConnection, TcpStream) {
    let versions = [TLS13[0], TLS12[0]];
    let (mut tls, mut socket) = open(&client_config(&[identity()], &versions, None), port);
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

/// Reads until `count` packets came; what `answer` makes of each is sent.
fn exchange(
    (tls, socket): &mut (ClientConnection, TcpStream),
    count: usize,
    mut answer: impl FnMut(&Packet<'_>) -> Vec<u8>,
) {
    let mut stream = rustls::Stream::new(tls, socket);
    let (mut buffer, mut chunk, mut got) = (Vec::new(), vec![0; 64 * 1024], 0);
    while got < count {
        let len = stream.read(&mut chunk).unwrap();
        buffer.extend_from_slice(&chunk[..len]);
        while let Some((packet, used)) = decode(&buffer, usize::MAX).unwrap() {
            let bytes = answer(&packet);
            stream.write_all(&bytes).unwrap();
            buffer.drain(..used);
            got += 1;
        }
    }
}

fn publish_bytes(device: &str, body: &[u8], id: u16) -> Vec<u8> {
    let topic = format!("devices/{device}/messages/events/");
    let publish = edgehub_mqtt::Publish::new(&topic, QoS::AtLeastOnce, body).with_id(id).unwrap();
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &publish).unwrap();
    bytes
}

#[test]
fn what_came_encrypted_while_the_input_waited_is_worked_on_after_it() {
    const COUNT: u16 = 3000;
    let server = Server::start(2, |_| {});
    let mut client = connect(listen(&server), "d");
    // A subscription waits for the control plane, and all behind it in the same session.
    let mut bytes = Vec::new();
    encode_subscribe(&mut bytes, PacketId::MIN, &[("x", QoS::AtLeastOnce)]).unwrap();
    (1..=COUNT).for_each(|id| bytes.extend(publish_bytes("d", &[7; 100], id)));
    rustls::Stream::new(&mut client.0, &mut client.1).write_all(&bytes).unwrap();
    let mut acked = 0;
    exchange(&mut client, usize::from(COUNT) + 1, |packet| {
        if let Packet::PubAck(id) = packet {
            acked += 1;
            assert_eq!(id.get(), acked);
        }
        Vec::new()
    });
    assert_eq!(acked, COUNT);
    server.stop();
}

#[test]
fn bodies_larger_than_the_buffers_of_tls_arrive_whole_at_a_client_that_reads_late() {
    const COUNT: u16 = 40;
    let server = Server::start(2, |_| {});
    let port = listen(&server);
    let mut module = connect(port, "e/m");
    let mut bytes = Vec::new();
    let filter = [("devices/e/modules/m/inputs/#", QoS::AtLeastOnce)];
    encode_subscribe(&mut bytes, PacketId::MIN, &filter).unwrap();
    rustls::Stream::new(&mut module.0, &mut module.1).write_all(&bytes).unwrap();
    exchange(&mut module, 1, |_| Vec::new());
    let mut device = connect(port, "d");
    for id in 1..=COUNT {
        let bytes = publish_bytes("d", &vec![id as u8; 200_000], id);
        rustls::Stream::new(&mut device.0, &mut device.1).write_all(&bytes).unwrap();
        exchange(&mut device, 1, |_| Vec::new());
    }
    let mut next = 1;
    exchange(&mut module, usize::from(COUNT), |packet| {
        let Packet::Publish(publish) = packet else { panic!("unexpected {packet:?}") };
        assert!(publish.payload.len() == 200_000 && publish.payload.iter().all(|byte| *byte == next));
        next += 1;
        let mut bytes = Vec::new();
        encode_puback(&mut bytes, publish.packet_id.unwrap());
        bytes
    });
    server.stop();
}
