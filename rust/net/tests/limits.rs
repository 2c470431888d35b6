//! Limits on connections: on all of them, on how fast they come, and on those whose clients left meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Client, Got, Server, Stopwatch, connect_bytes, wait_until};
use edgehub_net::NetConfig;
use edgehub_store::{Media, StoreConfig};

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn the_limit_is_that_of_all_threads_together() {
    let server = Server::start(2, |config| config.connections_max = 3);
    let mut clients: Vec<_> = (0..3).map(|n| server.client(&format!("d{n}"))).collect();
    for _ in 0..4 {
        assert_eq!(Client::open(server.port).next(), None);
    }
    drop(clients.pop());
    wait_until(|| get(&server.hub.stats().connections_open) < 3);
    clients.push(server.client("d2"));
    clients[0].publish("d0", b"x", 1);
    assert_eq!(clients[0].next(), Some(Got::PubAck(1)));
    assert_eq!(get(&server.hub.stats().connections_refused), 4);
    server.stop();
}

#[test]
fn connections_beyond_the_rate_wait_in_the_kernel_and_all_come_in() {
    let net = NetConfig { connects_per_s: 20, ..NetConfig::default() };
    let server = Server::start_with(Media::Memory, StoreConfig::small(), 2, net, |_| {});
    // The first second's worth at once, the others at their pace; a session is not slowed.
    let mut clients: Vec<_> = (0..30).map(|_| Client::open(server.port)).collect();
    let since = Stopwatch::start();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(|out| out.extend(connect_bytes(&format!("d{n}"))));
    }
    for client in &mut clients {
        assert_eq!(client.next(), Some(Got::ConnAck));
    }
    assert!(since.elapsed() > Duration::from_millis(300), "ten more than the bucket holds");
    assert!(get(&server.hub.stats().io.accepts_held) > 0);
    clients[0].publish("d0", b"x", 1);
    assert_eq!(clients[0].next(), Some(Got::PubAck(1)));
    server.stop();
}

#[test]
fn a_client_that_leaves_before_its_verdict_frees_its_place() {
    let server = Server::start(1, |config| config.connections_max = 4);
    for round in 0..5 {
        let mut ghosts: Vec<_> = (0..3).map(|_| Client::open(server.port)).collect();
        for (n, ghost) in ghosts.iter_mut().enumerate() {
            ghost.send(|out| out.extend(connect_bytes(&format!("ghost{n}"))));
        }
        // One with its CONNECT still under way, one after it, one that only says that it sends nothing more.
        if round % 2 == 0 {
            wait_until(|| get(&server.hub.stats().connections_open) == 3);
        }
        ghosts[0].stream.shutdown(Shutdown::Write).unwrap();
        drop(ghosts);
        let stats = server.hub.stats();
        wait_until(|| get(&stats.connections_opened) == 3 * (round + 1));
        wait_until(|| get(&stats.connections_open) == 0);
    }
    let reasons = server.stop();
    assert_eq!(reasons.len(), 15);
    assert!(reasons.iter().all(|reason| *reason == "eof"), "{reasons:?}");
}

#[test]
fn what_a_session_sent_before_its_end_still_counts() {
    let server = Server::start(1, |_| {});
    let mut module = server.client("e/m");
    module.subscribe();
    let mut device = server.client("d");
    // A subscription keeps what follows waiting, and the end comes meanwhile.
    device.send(|out| {
        let filter = [("x", edgehub_mqtt::QoS::AtLeastOnce)];
        edgehub_mqtt::encode_subscribe(out, edgehub_mqtt::PacketId::MIN, &filter).unwrap();
    });
    device.publish("d", b"last words", 2);
    device.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(module.take(), b"last words");
    server.stop();
}

/// Everybody who has a session works on, and whoever is silent makes room for those who wait.
#[test]
fn a_flood_of_silent_connections_holds_nobody_up_for_long() {
    let server = Server::start(2, |config| {
        config.unauthenticated_max = 20;
        config.pressed_connect_timeout_ms = 300;
    });
    let mut before = server.client("d");
    let flood: Vec<_> = (0..60).map(|_| Client::open(server.port)).collect();
    wait_until(|| server.hub.unauthenticated() >= 20);
    before.publish("d", b"x", 1);
    assert_eq!(before.next(), Some(Got::PubAck(1)));
    let mut late = server.client("late");
    late.publish("late", b"x", 1);
    assert_eq!(late.next(), Some(Got::PubAck(1)));
    assert!(get(&server.hub.stats().io.accepts_held) > 0);
    assert_eq!(get(&server.hub.stats().connections_refused), 0, "they wait, they are not turned away");
    drop(flood);
    let reasons = server.stop();
    assert!(reasons.iter().filter(|reason| **reason == "connect_timeout").count() >= 20, "{reasons:?}");
}

#[test]
fn a_pair_beyond_the_limit_without_session_is_closed_at_once() {
    let server = Server::start(1, |config| config.unauthenticated_max = 1);
    let _silent = Client::open(server.port);
    wait_until(|| server.hub.unauthenticated() == 1);
    let (mut own, engines) = UnixStream::pair().unwrap();
    server.threads.adopt(engines, String::new(), 0).unwrap();
    assert_eq!(own.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(get(&server.hub.stats().connections_refused), 1);
    server.stop();
}
