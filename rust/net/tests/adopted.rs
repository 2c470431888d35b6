//! Connections that a foreign head hands over: one end of a socket pair each.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::Ordering;

use common::{Server, WAIT, connect_bytes, wait_until};
use edgehub_mqtt::{Packet, QoS, decode, encode_publish};
use edgehub_net::NetError;

/// The end that the foreign head keeps.
fn adopted(server: &Server) -> UnixStream {
    let (own, engines) = UnixStream::pair().unwrap();
    server.threads.adopt(engines, "192.0.2.7:4711".to_owned(), 0).unwrap();
    own.set_read_timeout(Some(WAIT)).unwrap();
    own
}

fn connected(server: &Server, id: &str) -> UnixStream {
    let mut socket = adopted(server);
    socket.write_all(&connect_bytes(id)).unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).unwrap();
    assert!(matches!(decode(&answer, 100), Ok(Some((Packet::ConnAck(_), 4)))));
    socket
}

fn publish(socket: &mut UnixStream, device: &str, body: &[u8]) {
    let topic = format!("devices/{device}/messages/events/");
    let publish = edgehub_mqtt::Publish::new(&topic, QoS::AtLeastOnce, body).with_id(1).unwrap();
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &publish).unwrap();
    socket.write_all(&bytes).unwrap();
    let mut ack = [0; 4];
    socket.read_exact(&mut ack).unwrap();
    assert_eq!(ack, [0x40, 2, 0, 1]);
}

#[test]
fn a_pair_is_a_connection_like_any_other() {
    let server = Server::start(2, |_| {});
    let mut module = server.client("e/m");
    module.subscribe();
    // Both threads get some.
    let mut devices: Vec<_> =
        (0..4).map(|n| (format!("d{n}"), connected(&server, &format!("d{n}")))).collect();
    for (name, socket) in &mut devices {
        let body = vec![7; 100_000];
        publish(socket, name, &body);
        assert_eq!(module.take(), body);
    }
    drop(devices.pop());
    let (_, last) = &devices[2];
    last.shutdown(Shutdown::Both).unwrap();
    wait_until(|| server.hub.stats().connections_open.load(Ordering::Relaxed) == 3);
    let mut reasons = server.stop();
    reasons.sort_unstable();
    assert_eq!(reasons, ["eof", "eof", "shutdown", "shutdown", "shutdown"]);
}

#[test]
fn the_foreign_head_sees_the_end_that_the_engine_makes() {
    let server = Server::start(1, |_| {});
    let mut socket = connected(&server, "d");
    let mut newer = connected(&server, "d");
    assert_eq!(socket.read(&mut [0; 16]).unwrap(), 0, "taken over");
    publish(&mut newer, "d", b"x");
    server.stop();
}

#[test]
fn beyond_the_limit_it_is_closed_at_once() {
    let server = Server::start(1, |config| config.connections_max = 1);
    let _first = server.client("d");
    let mut second = adopted(&server);
    assert_eq!(second.read(&mut [0; 16]).unwrap(), 0);
    server.stop();
}

#[test]
fn stopped_threads_take_nothing() {
    let server = Server::start(1, |_| {});
    server.threads.stop(0);
    let (mut own, engines) = UnixStream::pair().unwrap();
    let refused = server.threads.adopt(engines, String::new(), 0);
    assert!(matches!(refused, Err(NetError::Stopped)));
    assert_eq!(own.read(&mut [0; 16]).map_err(|error: std::io::Error| error.kind()), Ok::<_, ErrorKind>(0));
    server.stop();
}

#[test]
fn only_an_end_of_a_pair_of_streams_is_taken() {
    let server = Server::start(1, |_| {});
    let file = UnixStream::from(OwnedFd::from(File::open("/dev/null").unwrap()));
    let datagrams = UnixStream::from(OwnedFd::from(UnixDatagram::pair().unwrap().0));
    for wrong in [file, datagrams] {
        let refused = server.threads.adopt(wrong, String::new(), 0);
        assert!(matches!(refused, Err(NetError::Adopt(_))));
    }
    server.stop();
}
