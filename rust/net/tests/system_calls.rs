//! System calls of the I/O threads per message. They are counted where they are made, so that no quiet machine is
//! needed; those of the store are its own.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use common::{Client, Got, Server, Stopwatch, WAIT};
use edgehub_mqtt::{PacketId, QoS, encode_puback, encode_publish};
use edgehub_net::SystemClock;
use edgehub_types::{Clock, MonoTime, UnixMs};

/// Reads, writes and polls.
fn calls(server: &Server) -> u64 {
    let io = &server.hub.stats().io;
    [&io.reads, &io.writes, &io.polls, &io.wakes].iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Totals are told at the end of a turn: what belongs to the last message is in when nothing moves any more.
fn settled_calls(server: &Server) -> u64 {
    let (mut last, mut since) = (calls(server), Stopwatch::start());
    while since.elapsed() < Duration::from_millis(20) {
        std::thread::sleep(Duration::from_millis(2));
        let now = calls(server);
        if now != last {
            (last, since) = (now, Stopwatch::start());
        }
    }
    last
}

fn publishes(ids: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in ids {
        let topic = "devices/d/messages/events/";
        let publish = edgehub_mqtt::Publish::new(topic, QoS::AtLeastOnce, &[7; 256]).with_id(id).unwrap();
        encode_publish(&mut bytes, &publish).unwrap();
    }
    bytes
}

/// The next message's number at the consumer.
fn delivered(module: &mut Client) -> PacketId {
    let Some(Got::Publish(_, id)) = module.next() else { panic!("no message") };
    id
}

/// One exchange: `count` messages in one write, their acknowledgements, their deliveries, and one write with the
/// consumer's acknowledgements.
fn exchange(device: &mut Client, module: &mut Client, first: u16, count: u16) {
    device.send(|out| out.extend(publishes(first..first + count)));
    let mut acks = Vec::new();
    for _ in 0..count {
        encode_puback(&mut acks, delivered(module));
    }
    for id in first..first + count {
        assert_eq!(device.next(), Some(Got::PubAck(id)));
    }
    module.send(|out| out.extend(acks));
}

/// Calls per message of each batch of 100 exchanges, the first left out, in ascending order.
fn measure(window: u16) -> Vec<f64> {
    let server = Server::start(1, |_| {});
    let (mut module, mut device) = (server.client("e/m"), server.client("d"));
    module.subscribe();
    let mut ratios = Vec::new();
    for batch in 0..11 {
        let before = settled_calls(&server);
        for round in 0..100 {
            exchange(&mut device, &mut module, (batch * 100 + round) * window % 60_000 + 1, window);
        }
        let per_message = (settled_calls(&server) - before) as f64 / f64::from(100 * window);
        if batch > 0 {
            ratios.push(per_message);
        }
    }
    server.stop();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios
}

/// Six when the consumer's acknowledgement and the next message each find the thread asleep. They come together
/// when nobody else needs the processor.
#[test]
fn one_message_at_a_time() {
    let ratios = measure(1);
    assert!(ratios[0] <= 5.3, "{ratios:?}");
    assert!(ratios[9] <= 6.05, "{ratios:?}");
}

#[test]
fn twenty_in_flight() {
    let ratios = measure(20);
    assert!(ratios[5] <= 0.3 + 1e-9, "{ratios:?}");
}

/// Holds the I/O thread at the start of its next turn for as long as the lock is held.
#[derive(Default)]
struct Gate(SystemClock, RwLock<()>);

impl Clock for Gate {
    fn mono(&self) -> MonoTime {
        let _open = self.1.read().unwrap();
        self.0.mono()
    }

    fn unix(&self) -> UnixMs {
        self.0.unix()
    }
}

/// All of them have sent when the thread gets to work, as when it is the bottleneck.
#[test]
fn a_hundred_publishers() {
    const PUBLISHERS: usize = 100;
    let gate = Arc::new(Gate::default());
    let server = Server::start_at(gate.clone(), 1);
    let mut module = server.client("e/m");
    module.subscribe();
    let mut devices: Vec<_> = (0..PUBLISHERS).map(|n| server.client(&format!("d{n}"))).collect();
    let mut ratios = Vec::new();
    for round in 0..11_u16 {
        let before = settled_calls(&server);
        let closed = gate.1.write().unwrap();
        for (n, device) in devices.iter_mut().enumerate() {
            device.publish(&format!("d{n}"), &[7; 256], round + 1);
        }
        drop(closed);
        let mut acks = Vec::new();
        let ids: HashSet<_> = (0..PUBLISHERS).map(|_| delivered(&mut module)).collect();
        assert_eq!(ids.len(), PUBLISHERS);
        for id in ids {
            encode_puback(&mut acks, id);
        }
        module.send(|out| out.extend(acks));
        for device in &mut devices {
            assert_eq!(device.next(), Some(Got::PubAck(round + 1)));
        }
        ratios.push((settled_calls(&server) - before) as f64 / PUBLISHERS as f64);
    }
    server.stop();
    ratios.sort_unstable_by(f64::total_cmp);
    assert!(ratios[5] <= 2.1, "{ratios:?}");
}

/// With sessions open and nothing to do, the threads sleep until a keep-alive is due.
#[test]
fn an_idle_hub_makes_no_calls() {
    let server = Server::start(2, |_| {});
    let (mut module, mut device) = (server.client("e/m"), server.client("d"));
    module.subscribe();
    exchange(&mut device, &mut module, 1, 20);
    let since = Stopwatch::start();
    loop {
        let before = settled_calls(&server);
        std::thread::sleep(Duration::from_secs(1));
        if calls(&server) == before {
            break;
        }
        // What the exchange needed is given back first.
        assert!(since.elapsed() < WAIT, "it never comes to rest");
    }
    server.stop();
}
