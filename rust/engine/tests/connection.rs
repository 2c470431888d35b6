//! Life of a connection: CONNECT and its verdicts, bad input, timeouts, requests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

mod common;

use common::{Got, World, connect_bytes, device_grants, packet_id, publish_bytes};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent, Filters};
use edgehub_mqtt::{QoS, encode_disconnect, encode_pingreq, encode_publish, encode_subscribe};

fn close_of(world: &mut World, id: ConnId) -> (CloseReason, String) {
    let events = world.events();
    let closes: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            ControlEvent::Closed { conn, reason, detail, .. } if conn == id => Some((reason, detail)),
            _ => None,
        })
        .collect();
    assert_eq!(closes.len(), 1, "{closes:?}");
    closes.into_iter().next().unwrap()
}

#[test]
fn a_refused_client_gets_its_code_and_the_end() {
    let mut world = World::new();
    let id = world.open();
    world.feed(id, &connect_bytes("d1"));
    world.events();
    world.command(id, Command::Refuse { conn: id, code: 5 });
    assert!(world.shard.is_closing(id));
    assert_eq!(world.received(id), [Got::ConnAck { session_present: false, code: 5 }]);
    assert_eq!(close_of(&mut world, id).0, CloseReason::Refused);
}

#[test]
fn another_protocol_level_is_answered_with_code_one() {
    let mut world = World::new();
    let id = world.open();
    let mut bytes = connect_bytes("d1");
    let level = bytes.windows(4).position(|w| w == b"MQTT").unwrap() + 4;
    bytes[level] = 5;
    world.feed(id, &bytes);
    assert_eq!(world.received(id), [Got::ConnAck { session_present: false, code: 1 }]);
    assert_eq!(close_of(&mut world, id).0, CloseReason::UnsupportedProtocolLevel);
}

#[test]
fn the_first_packet_must_be_connect_and_there_is_only_one() {
    let mut world = World::new();
    let id = world.open();
    world.feed(id, &publish_bytes("t", b"", 1));
    let (reason, detail) = close_of(&mut world, id);
    assert_eq!(reason, CloseReason::ProtocolError);
    assert!(detail.contains("PUBLISH") && detail.contains("CONNECT"), "{detail}");
    let id = world.device("d1");
    world.feed(id, &connect_bytes("d1"));
    assert_eq!(close_of(&mut world, id).0, CloseReason::ProtocolError);
}

#[test]
fn random_bytes_and_too_large_packets_close_without_an_answer() {
    let mut world = World::new();
    let id = world.open();
    world.feed(id, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(close_of(&mut world, id).0, CloseReason::ProtocolError);
    assert_eq!(world.received(id), []);
    let id = world.device("d1");
    // Refused by its header alone: the body has not come.
    world.feed(id, &[0x30, 0xff, 0xff, 0x7f]);
    assert_eq!(close_of(&mut world, id).0, CloseReason::PacketTooLarge);
}

#[test]
fn what_a_client_sends_before_its_verdict_is_worked_on_after_it() {
    let mut world = World::new();
    world.routes(&[("up", "FROM /* INTO $upstream")]);
    let id = world.open();
    let mut bytes = connect_bytes("d1");
    bytes.extend(publish_bytes("devices/d1/messages/events/", b"x", 3));
    world.feed(id, &bytes);
    assert!(!world.shard.wants_input(id));
    assert_eq!(world.received(id), []);
    world.events();
    let grants = Box::new(device_grants("d1"));
    let filters = Filters::default();
    world.command(id, Command::Accept { conn: id, grants, session_present: true, filters });
    assert_eq!(world.received(id), [Got::ConnAck { session_present: true, code: 0 }, Got::PubAck(3)]);
    assert!(world.shard.wants_input(id));
}

#[test]
fn a_connection_that_never_sends_connect_is_closed_in_time() {
    let mut world = World::new();
    let id = world.open();
    // The first look is for the case that there are too many such connections.
    let pressed_ms = world.hub.config().pressed_connect_timeout_ms;
    assert_eq!(world.shard.deadline(), Some(edgehub_types::MonoTime(pressed_ms)));
    world.advance(pressed_ms);
    assert_eq!(world.shard.deadline(), Some(edgehub_types::MonoTime(60_000)));
    world.advance(59_999 - pressed_ms);
    assert!(!world.shard.is_closing(id));
    world.advance(1);
    assert_eq!(close_of(&mut world, id).0, CloseReason::ConnectTimeout);
}

#[test]
fn keep_alive_counts_one_and_a_half_times_and_any_packet_renews_it() {
    let mut world = World::new();
    let id = world.device("d1");
    world.advance(80_000);
    let mut ping = Vec::new();
    encode_pingreq(&mut ping);
    world.feed(id, &ping);
    assert_eq!(world.received(id), [Got::PingResp]);
    world.advance(89_999);
    assert!(!world.shard.is_closing(id));
    world.advance(1);
    assert_eq!(close_of(&mut world, id).0, CloseReason::KeepAliveTimeout);
}

#[test]
fn a_ping_is_answered_while_a_request_waits_and_later_publishes_wait() {
    let mut world = World::new();
    world.routes(&[("up", "FROM /* INTO $upstream")]);
    let id = world.device("d1");
    let mut bytes = publish_bytes("$iothub/twin/GET/?$rid=1", b"", 1);
    encode_pingreq(&mut bytes);
    bytes.extend(publish_bytes("devices/d1/messages/events/", b"x", 2));
    world.feed(id, &bytes);
    assert_eq!(world.received(id), [Got::PingResp]);
    assert!(matches!(world.events()[..], [ControlEvent::Publish { .. }]));
    world.command(id, Command::PubAck { conn: id, packet_id: 1 });
    assert_eq!(world.received(id), [Got::PubAck(1), Got::PubAck(2)]);
}

#[test]
fn answers_of_the_control_plane_go_only_where_a_filter_asks_for_them() {
    let mut world = World::new();
    let id = world.device("d1");
    let send = |qos| Command::Send {
        conn: id,
        topic: "$iothub/twin/res/200/?$rid=1".to_owned(),
        payload: b"{}".to_vec(),
        qos,
        token: None,
        created_ms: None,
    };
    world.command(id, send(1));
    assert_eq!(world.received(id), []);
    let mut bytes = Vec::new();
    encode_subscribe(&mut bytes, packet_id(4), &[("$iothub/twin/res/#", QoS::AtLeastOnce)]).unwrap();
    world.feed(id, &bytes);
    let filters = Filters { added: vec![("$iothub/twin/res/#".to_owned(), 1, 0)], inputs_active: false };
    world.command(id, Command::SubAck { conn: id, packet_id: 4, codes: vec![1], filters });
    assert_eq!(world.received(id), [Got::SubAck(4, vec![1])]);
    world.command(id, send(1));
    let got = world.received(id);
    assert!(matches!(&got[..], [Got::Publish { qos: 1, id: Some(_), .. }]), "{got:?}");
    world.command(id, send(0));
    let got = world.received(id);
    assert!(matches!(&got[..], [Got::Publish { qos: 0, id: None, .. }]), "{got:?}");
}

#[test]
fn a_full_queue_of_events_makes_the_client_wait_not_the_others() {
    let mut world = World::with(edgehub_store::SyncPolicy::None, |config| config.control_queue_max = 1);
    world.routes(&[("up", "FROM /* INTO $upstream")]);
    let busy = world.device("d1");
    let (first, second) = (world.open(), world.open());
    world.feed(first, &connect_bytes("a"));
    world.feed(second, &connect_bytes("b"));
    world.publish(busy, "devices/d1/messages/events/", b"x", 1);
    assert_eq!(world.received(busy), [Got::PubAck(1)]);
    let connects = |events: &[ControlEvent]| {
        let mut conns = Vec::new();
        for event in events {
            if let ControlEvent::Connect { conn, .. } = event {
                conns.push(*conn);
            }
        }
        conns
    };
    let events = world.events();
    assert_eq!(connects(&events), [first]);
    world.advance(10);
    let events = world.events();
    assert_eq!(connects(&events), [second]);
}

#[test]
fn a_will_is_published_after_an_abnormal_end_only() {
    let mut world = World::new();
    world.routes(&[("in", r#"FROM /* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)]);
    let module = world.module("m");
    world.received(module);
    for (abnormal, want) in [(false, 0), (true, 1)] {
        let id = world.open();
        let connect = edgehub_mqtt::Connect {
            clean_session: false,
            keep_alive_s: 60,
            client_id: "d1",
            will: Some(edgehub_mqtt::Will {
                topic: "devices/d1/messages/events/",
                message: b"gone",
                qos: QoS::AtLeastOnce,
                retain: false,
            }),
            user_name: Some("u"),
            password: Some(b"p"),
        };
        let mut bytes = Vec::new();
        edgehub_mqtt::encode_connect(&mut bytes, &connect).unwrap();
        world.feed(id, &bytes);
        world.events();
        let grants = Box::new(device_grants("d1"));
        let filters = Filters::default();
        world.command(id, Command::Accept { conn: id, grants, session_present: false, filters });
        if abnormal {
            world.turn(|shard| shard.eof(id, CloseReason::Eof, ""));
        } else {
            let mut bytes = Vec::new();
            encode_disconnect(&mut bytes);
            world.feed(id, &bytes);
        }
        let got = world.received(module);
        assert_eq!(common::bodies(&got).len(), want, "{got:?}");
        if let Some(Got::Publish { topic, .. }) = got.first() {
            assert!(topic.contains("MessageType=Will"), "{topic}");
        }
    }
}

#[test]
fn qos_two_closes_before_anything_is_stored() {
    let mut world = World::new();
    world.routes(&[("up", "FROM /* INTO $upstream")]);
    let id = world.device("d1");
    let publish = edgehub_mqtt::Publish::new("devices/d1/messages/events/", QoS::ExactlyOnce, b"x");
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &publish.with_id(1).unwrap()).unwrap();
    world.feed(id, &bytes);
    assert_eq!(close_of(&mut world, id).0, CloseReason::ProtocolError);
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn an_answer_for_a_closed_connection_does_not_reach_its_successor() {
    let mut world = World::new();
    let old = world.open();
    world.feed(old, &connect_bytes("a"));
    world.turn(|shard| {
        shard.eof(old, CloseReason::Eof, "");
        shard.forget(old);
    });
    let new = world.open();
    assert_eq!(old.slot(), new.slot());
    world.feed(new, &connect_bytes("b"));
    world.command(old, Command::Refuse { conn: old, code: 5 });
    assert_eq!(world.received(new), []);
    assert!(!world.shard.is_closing(new));
}

#[test]
fn a_client_whose_input_waits_unread_is_not_silent() {
    let mut world = World::with(edgehub_store::SyncPolicy::None, |config| config.held_bytes_max = 16);
    world.routes(&[("up", "FROM /* INTO $upstream")]);
    let id = world.device("d1");
    let mut bytes = publish_bytes("$iothub/twin/GET/?$rid=1", b"", 1);
    bytes.extend(publish_bytes("devices/d1/messages/events/", b"x", 2));
    world.feed(id, &bytes);
    assert!(!world.shard.wants_input(id));
    world.advance(200_000);
    assert!(!world.shard.is_closing(id));
    world.command(id, Command::PubAck { conn: id, packet_id: 1 });
    assert_eq!(world.received(id), [Got::PubAck(1), Got::PubAck(2)]);
    world.advance(89_999);
    assert!(!world.shard.is_closing(id));
    world.advance(1);
    assert_eq!(close_of(&mut world, id).0, CloseReason::KeepAliveTimeout);
}

fn answer_of_method(n: usize) -> Vec<u8> {
    let topic = format!("$iothub/methods/res/200/?$rid={n}");
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &edgehub_mqtt::Publish::new(&topic, QoS::AtMostOnce, b"")).unwrap();
    bytes
}

#[test]
fn requests_that_need_no_answer_wait_for_room_in_the_queue_of_events_too() {
    let mut world = World::with(edgehub_store::SyncPolicy::None, |config| config.control_queue_max = 1);
    let id = world.device("d1");
    let bytes: Vec<u8> = (1..=4).flat_map(answer_of_method).collect();
    world.feed(id, &bytes);
    let mut topics = Vec::new();
    for _ in 0..5 {
        for event in world.events() {
            if let ControlEvent::Publish { publish, .. } = event {
                topics.extend(publish.topic.chars().last());
            }
        }
        world.advance(10);
    }
    assert_eq!(topics, ['1', '2', '3', '4']);
}

#[test]
fn nothing_is_asked_for_a_connection_after_its_end() {
    let mut world = World::with(edgehub_store::SyncPolicy::None, |config| config.control_queue_max = 2);
    let id = world.device("d1");
    let bytes: Vec<u8> = (1..=3).flat_map(answer_of_method).collect();
    world.feed(id, &bytes);
    assert_eq!(world.events().len(), 2);
    world.command(id, Command::Close { conn: id, reason: String::new() });
    let events = world.events();
    assert!(matches!(events[..], [ControlEvent::Closed { .. }]), "{events:?}");
}
