//! Packets that wait for the control plane or the store, and what is worked on behind them (M-061).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{EDGE, Got, World, bodies, ids, ping, puback_bytes, publish_bytes, request};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent};
use edgehub_mqtt::{Publish, QoS, encode_disconnect, encode_publish};
use edgehub_store::{Media, StoreConfig, SyncPolicy};

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TELEMETRY: &str = "devices/d1/messages/events/";
const GET: &str = "$iothub/twin/GET/?$rid=1";

fn close_reason(world: &mut World) -> Option<CloseReason> {
    world.events().into_iter().find_map(|event| match event {
        ControlEvent::Closed { reason, .. } => Some(reason),
        _ => None,
    })
}

/// What makes a client wait: a hub for it, and the packets.
struct Case {
    name: &'static str,
    hub: fn() -> World,
    packets: [Vec<u8>; 2],
}

fn cases() -> [Case; 4] {
    let (get, telemetry) = (publish_bytes(GET, b"", 7), publish_bytes(TELEMETRY, b"y", 8));
    let case = |name, hub, first: &Vec<u8>| Case { name, hub, packets: [first.clone(), telemetry.clone()] };
    [
        case("answer", plain, &get),
        case("end of a request", plain, &request(GET, b"")),
        case("events", full_queue, &get),
        case("store", full_store, &telemetry),
    ]
}

/// A store that takes one message.
fn full_store() -> World {
    let store = StoreConfig {
        sync: SyncPolicy::None,
        background_thread: false,
        index_entries_max: 1,
        ..StoreConfig::small()
    };
    let mut world = World::with_store(Media::Memory, store, |_| {});
    world.routes(TO_M);
    let device = world.device("d0");
    world.publish(device, "devices/d0/messages/events/", b"x", 1);
    world
}

/// A queue of events without room.
fn full_queue() -> World {
    let mut world = World::with(SyncPolicy::None, |config| config.control_queue_max = 2);
    world.routes(TO_M);
    for _ in 0..2 {
        let other = world.open();
        world.feed(other, &common::connect_bytes("other"));
    }
    world
}

fn plain() -> World {
    let mut world = World::new();
    world.routes(TO_M);
    world
}

/// Feeds `bytes` in pieces of this size as far as the shard asks for them.
fn feed_pieces(world: &mut World, id: ConnId, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        assert!(world.shard.wants_input(id));
        world.feed(id, piece);
    }
}

#[test]
fn m_061_a_ping_is_answered_whatever_the_publish_before_it_waits_for() {
    for Case { name: case, hub, packets } in cases() {
        for piece in [1, 3, usize::MAX] {
            let mut world = hub();
            let id = if case == "events" { accepted_in_full(&mut world) } else { world.device("d1") };
            let bytes = [packets.concat(), ping()].concat();
            feed_pieces(&mut world, id, &bytes, piece.min(bytes.len()));
            assert_eq!(world.received(id), [Got::PingResp], "{case}, pieces of {piece}");
            assert!(world.shard.input_bytes_max(id) < 100_000, "{case}: still held");
        }
    }
}

/// A session of a hub whose queue of events is full again afterwards.
fn accepted_in_full(world: &mut World) -> ConnId {
    world.events();
    let id = world.device("d1");
    for _ in 0..2 {
        let other = world.open();
        world.feed(other, &common::connect_bytes("other"));
    }
    id
}

#[test]
fn m_061_acknowledgements_behind_a_request_keep_deliveries_going() {
    let mut world = World::with(SyncPolicy::None, |config| config.delivery_window = 2);
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    for n in 1..=6_u16 {
        world.publish(device, TELEMETRY, n.to_string().as_bytes(), n);
    }
    let output = format!("devices/{EDGE}/modules/m/messages/events/");
    world.feed(module, &[publish_bytes(GET, b"", 1), publish_bytes(&output, b"y", 2)].concat());
    let mut delivered = Vec::new();
    for _ in 0..3 {
        let got = world.received(module);
        delivered.extend(bodies(&got));
        let acks: Vec<u8> = ids(&got).iter().flat_map(|id| puback_bytes(*id)).collect();
        world.feed(module, &acks);
    }
    assert_eq!(delivered, ["1", "2", "3", "4", "5", "6"]);
    world.command(module, Command::PubAck { conn: module, packet_id: 1 });
    let answers = world.received(module);
    assert!(answers.starts_with(&[Got::PubAck(1), Got::PubAck(2)]), "{answers:?}");
}

#[test]
fn m_061_what_comes_behind_the_end_does_not_count() {
    let mut end = Vec::new();
    encode_disconnect(&mut end);
    let qos_2 = Publish::new(TELEMETRY, QoS::ExactlyOnce, b"x").with_id(5).unwrap();
    let mut forbidden = Vec::new();
    encode_publish(&mut forbidden, &qos_2).unwrap();
    let cases = [
        (end, CloseReason::Disconnect),
        (vec![0xf0, 0], CloseReason::ProtocolError),
        (vec![0x30, 0xff, 0xff, 0xff, 0x7f], CloseReason::PacketTooLarge),
        (vec![0x62, 2, 0, 1], CloseReason::ProtocolError),
        (forbidden, CloseReason::ProtocolError),
    ];
    for (bytes, want) in cases {
        let mut world = plain();
        let id = world.device("d1");
        let behind = [ping(), bytes, ping()].concat();
        world.feed(id, &[publish_bytes(GET, b"", 1), publish_bytes(TELEMETRY, b"x", 2), behind].concat());
        assert_eq!(world.received(id), [Got::PingResp], "{want:?}");
        assert!(!world.shard.is_closing(id), "the publishes before it come first");
        assert!(!world.shard.wants_input(id), "nothing behind it counts");
        world.events();
        world.command(id, Command::PubAck { conn: id, packet_id: 1 });
        assert!(world.shard.is_closing(id));
        assert_eq!(close_reason(&mut world), Some(want));
        assert_eq!(world.hub.queue_lengths()[0].2, 1, "what was sent before the end is stored");
    }
}

/// Were every packet looked at again for every ping, this would take minutes.
#[test]
fn m_061_a_packet_that_waits_is_looked_at_once() {
    const WAITING: u16 = 60_000;
    const PINGS: usize = 60_000;
    let mut world = World::with(SyncPolicy::None, |config| config.held_bytes_max = usize::MAX);
    world.routes(TO_M);
    let id = world.device("d1");
    world.feed(id, &publish_bytes(GET, b"", 1));
    let waiting: Vec<u8> = (2..WAITING).flat_map(|n| publish_bytes(TELEMETRY, b"x", n)).collect();
    world.feed(id, &waiting);
    for _ in 0..PINGS {
        world.turn(|shard| shard.feed(id, &[0xc0, 0]));
    }
    assert_eq!(world.received(id).len(), PINGS);
    world.command(id, Command::PubAck { conn: id, packet_id: 1 });
    assert_eq!(world.received(id).len(), usize::from(WAITING) - 1);
}

#[test]
fn m_061_m_020_a_client_that_is_read_while_it_waits_has_to_ping() {
    for pings in [false, true] {
        let mut world = plain();
        let id = world.device("d1");
        world.feed(id, &[publish_bytes(GET, b"", 1), publish_bytes(TELEMETRY, b"x", 2)].concat());
        for _ in 0..3 {
            world.advance(60_000);
            if pings {
                world.feed(id, &ping());
            }
        }
        assert_eq!(world.shard.is_closing(id), !pings);
    }
}

#[test]
fn what_is_kept_of_a_client_that_waits_is_bounded() {
    let mut world = plain();
    let id = world.device("d1");
    world.feed(id, &publish_bytes(GET, b"", 1));
    // The first packet behind the request shows that there is one to wait.
    world.feed(id, &publish_bytes(TELEMETRY, &[b'x'; 900], 2));
    let max = world.hub.config().held_bytes_max;
    let mut fed = publish_bytes(TELEMETRY, &[b'x'; 900], 2).len();
    while world.shard.wants_input(id) {
        let bytes = publish_bytes(TELEMETRY, &[b'x'; 900], 2);
        let room = world.shard.input_bytes_max(id);
        let piece = &bytes[..room.min(bytes.len())];
        world.feed(id, piece);
        fed += piece.len();
    }
    assert!((max..max + 4096).contains(&fed), "{fed}");
    world.command(id, Command::PubAck { conn: id, packet_id: 1 });
    assert!(world.shard.wants_input(id));
    assert!(world.shard.pop_resumed().is_some());
}

/// Answers fill the buffer; when the client reads them, the rest of its pings is worked on though its publish
/// still waits.
#[test]
fn pings_that_stop_for_want_of_room_go_on_when_there_is_some() {
    let mut world = World::with(SyncPolicy::None, |config| config.out_bytes_max = 100);
    let id = world.device("d1");
    world.feed(id, &[publish_bytes(GET, b"", 1), publish_bytes(TELEMETRY, b"x", 2)].concat());
    let pings: Vec<u8> = (0..500).flat_map(|_| ping()).collect();
    world.feed(id, &pings);
    assert!(!world.shard.wants_input(id));
    let mut answers = 0;
    while answers < 500 {
        let got = world.received(id);
        assert!(!got.is_empty(), "{answers}");
        answers += got.len();
    }
    assert!(world.shard.wants_input(id) && world.shard.pop_resumed().is_some());
}
