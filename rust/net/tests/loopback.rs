//! The I/O threads over real sockets on the loopback address.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::{Client, Got, Server};

#[test]
fn messages_cross_threads_in_order() {
    const COUNT: u16 = 500;
    let server = Server::start(2, |_| {});
    // Connections go to the threads in turn: device and module are on different ones.
    let mut module = server.client("e/m");
    module.subscribe();
    let mut device = server.client("d");
    for n in 1..=COUNT {
        device.publish("d", &n.to_be_bytes(), n);
    }
    for n in 1..=COUNT {
        assert_eq!(device.next(), Some(Got::PubAck(n)));
        assert_eq!(module.take(), n.to_be_bytes());
    }
    assert_eq!(server.stop(), ["shutdown", "shutdown"]);
}

#[test]
fn what_came_before_the_end_of_a_connection_counts() {
    let server = Server::start(1, |_| {});
    let mut module = server.client("e/m");
    module.subscribe();
    let mut device = server.client("d");
    device.publish("d", b"last words", 1);
    device.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(module.take(), b"last words");
    while device.next().is_some() {}
    drop(module);
    let mut reasons = server.stop();
    reasons.sort_unstable();
    assert_eq!(reasons[0], "eof");
}

#[test]
fn a_body_larger_than_every_buffer_arrives_whole() {
    let server = Server::start(1, |config| config.packet_bytes_max = 4 << 20);
    let mut module = server.client("e/m");
    module.subscribe();
    let mut device = server.client("d");
    let body: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    for n in 1..=20 {
        device.publish("d", &body, n);
        assert_eq!(device.next(), Some(Got::PubAck(n)));
    }
    for _ in 1..=20 {
        assert_eq!(module.take(), body);
    }
    server.stop();
}

#[test]
fn beyond_the_limit_a_connection_is_closed_and_the_others_stay() {
    let server = Server::start(1, |config| config.connections_max = 2);
    let mut first = server.client("d");
    let _second = server.client("e/m");
    let mut third = Client::open(server.port);
    assert_eq!(third.next(), None);
    first.publish("d", b"still here", 1);
    assert_eq!(first.next(), Some(Got::PubAck(1)));
    server.stop();
}

#[test]
fn a_closed_listener_takes_no_more_and_its_port_is_free() {
    let server = Server::start(1, |_| {});
    let (id, port) = server.threads.listen("127.0.0.1", 0, None).unwrap();
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    server.threads.close_listener(id);
    let closed = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(closed);
    server.stop();
}
