//! Requests to the control plane: how many a client may have there, and what waits for them (M-058, M-062).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{Got, World, ping, puback_bytes, publish_bytes, request};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent, Filters};
use edgehub_mqtt::QoS;
use edgehub_store::SyncPolicy;
use proptest::prelude::*;

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TELEMETRY: &str = "devices/d1/messages/events/";
const GET: &str = "$iothub/twin/GET/?$rid=1";

fn answer_of_method(n: u32) -> Vec<u8> {
    request(&format!("$iothub/methods/res/200/?$rid={n}"), b"{}")
}

/// Topics of the requests that the control plane got, with their packet ids.
fn requests(world: &mut World) -> Vec<(String, Option<u16>)> {
    let mut all = Vec::new();
    for event in world.events() {
        if let ControlEvent::Publish { publish, .. } = event {
            all.push((publish.topic, publish.packet_id));
        }
    }
    all
}

fn plain() -> World {
    let mut world = World::new();
    world.routes(TO_M);
    world
}

#[test]
fn m_062_a_request_without_packet_id_reaches_the_control_plane_and_needs_no_acknowledgement() {
    let mut world = plain();
    let id = world.device("d1");
    world.feed(id, &answer_of_method(7));
    assert_eq!(requests(&mut world), [("$iothub/methods/res/200/?$rid=7".to_owned(), None)]);
    world.command(id, Command::RequestDone { conn: id });
    assert_eq!(world.received(id), []);
}

#[test]
fn m_058_requests_without_packet_id_wait_at_the_limit_and_come_in_order() {
    let mut world = plain();
    let id = world.device("d1");
    let max = world.hub.config().requests_max;
    let all: Vec<u8> = (0..1000).flat_map(answer_of_method).chain(ping()).collect();
    world.feed(id, &all);
    assert_eq!(world.received(id), [Got::PingResp]);
    let mut seen = Vec::new();
    let mut open = 0;
    while seen.len() < 1000 {
        let new = requests(&mut world);
        open += new.len();
        assert!(open <= max as usize, "{open}");
        seen.extend(new.into_iter().map(|(topic, _)| topic));
        world.command(id, Command::RequestDone { conn: id });
        open -= 1;
    }
    let want: Vec<_> = (0..1000).map(|n| format!("$iothub/methods/res/200/?$rid={n}")).collect();
    assert_eq!(seen, want);
    assert!(!world.shard.is_closing(id));
}

#[test]
fn m_058_large_requests_wait_sooner_and_one_always_goes() {
    let mut world = plain();
    let id = world.device("d1");
    let large: Vec<u8> =
        (0..5).flat_map(|n| request(&format!("$iothub/twin/x/?$rid={n}"), &vec![b' '; 40_000])).collect();
    world.feed(id, &large);
    for left in (0..5).rev() {
        assert_eq!(requests(&mut world).len(), 1, "{left}");
        world.command(id, Command::RequestDone { conn: id });
    }
    let huge = request("$iothub/twin/x/?$rid=9", &vec![b' '; 200_000]);
    world.feed(id, &huge);
    assert_eq!(requests(&mut world).len(), 1);
}

#[test]
fn telemetry_and_subscriptions_wait_for_every_request_before_them() {
    let mut world = plain();
    let id = world.device("d1");
    let mut bytes = [answer_of_method(1), answer_of_method(2), publish_bytes(TELEMETRY, b"x", 3)].concat();
    let filter = [("a/#", QoS::AtLeastOnce)];
    edgehub_mqtt::encode_subscribe(&mut bytes, common::packet_id(4), &filter).unwrap();
    bytes.extend(answer_of_method(5));
    world.feed(id, &bytes);
    assert_eq!(requests(&mut world).len(), 2);
    for want in [&[][..], &[Got::PubAck(3)]] {
        assert_eq!(world.received(id), []);
        world.command(id, Command::RequestDone { conn: id });
        assert_eq!(world.received(id), want);
    }
    assert!(matches!(&world.events()[..], [ControlEvent::Subscribe { .. }]), "the answer waits behind it");
    let command = Command::SubAck { conn: id, packet_id: 4, codes: vec![1], filters: Filters::default() };
    world.command(id, command);
    assert_eq!(requests(&mut world).len(), 1);
}

#[test]
fn large_events_make_their_clients_wait_and_nobody_else() {
    let mut world = World::with(SyncPolicy::None, |config| config.control_queue_bytes_max = 500_000);
    world.routes(TO_M);
    let clients: Vec<ConnId> = (0..4).map(|n| world.device(&format!("d{n}"))).collect();
    let body = vec![b' '; 200_000];
    for id in &clients {
        world.feed(*id, &publish_bytes("$iothub/twin/x/?$rid=1", &body, 1));
    }
    assert!(world.hub.control().bytes() <= 500_000);
    world.publish(clients[3], "devices/d3/messages/events/", b"waits", 2);
    let idle = world.open();
    world.feed(idle, &common::connect_bytes("d9"));
    let first = world.events();
    assert_eq!(first.len(), 3, "two requests and a small CONNECT that fits");
    world.advance(10);
    assert_eq!(requests(&mut world).len(), 2);
    world.command(clients[3], Command::PubAck { conn: clients[3], packet_id: 1 });
    assert_eq!(world.received(clients[3]), [Got::PubAck(1), Got::PubAck(2)]);
}

/// One packet of a client that may do anything.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (1..100_u16).prop_map(|n| publish_bytes(TELEMETRY, b"x", n)),
        2 => (1..100_u16).prop_map(|n| publish_bytes(GET, b"", n)),
        2 => (1..100_u32).prop_map(answer_of_method),
        2 => Just(ping()),
        2 => (1..100_u16).prop_map(puback_bytes),
        1 => Just(vec![0x50, 2, 0, 1]),
        1 => prop_oneof![Just(vec![0xe0, 0]), Just(vec![0xf0, 0]), Just(vec![0x62, 2, 0, 1])],
    ]
}

/// What a client sees and causes: answers, requests, the end, messages in the store.
type Seen = (Vec<Got>, Vec<(String, Option<u16>)>, Option<CloseReason>, u64);

/// Feeds pieces as a driver does, and answers requests when nothing goes on otherwise.
fn converse(bytes: &[u8], mut cut: impl FnMut() -> usize) -> Seen {
    let mut world = plain();
    let id = world.device("d1");
    let (mut rest, mut got, mut asked, mut end) = (bytes, Vec::new(), Vec::new(), None);
    loop {
        // In one turn: where a turn ends decides what is acknowledged before a ping is answered.
        world.turn(|shard| {
            while !rest.is_empty() && shard.wants_input(id) {
                let (now, later) = rest.split_at(cut().clamp(1, rest.len()));
                shard.feed(id, now);
                rest = later;
            }
        });
        got.extend(world.received(id));
        let events = world.events();
        if events.is_empty() {
            return (got, asked, end, world.hub.queue_lengths()[0].2);
        }
        for event in events {
            match event {
                ControlEvent::Publish { publish, .. } => {
                    let answer = match publish.packet_id {
                        Some(packet_id) => Command::PubAck { conn: id, packet_id },
                        None => Command::RequestDone { conn: id },
                    };
                    world.command(id, answer);
                    asked.push((publish.topic, publish.packet_id));
                }
                ControlEvent::Closed { reason, .. } => end = Some(reason),
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_conversation_is_the_same_however_its_bytes_are_cut(
        packets in prop::collection::vec(any_packet(), 1..30),
        cuts in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let bytes = packets.concat();
        let whole = converse(&bytes, || usize::MAX);
        prop_assert_eq!(&converse(&bytes, || 1), &whole);
        let mut cuts = cuts.iter().cycle();
        prop_assert_eq!(&converse(&bytes, || *cuts.next().unwrap_or(&1)), &whole);
    }
}
