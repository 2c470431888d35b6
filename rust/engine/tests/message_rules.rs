//! Rules of messages on their way through: flags of packets and their properties, quality of service, spelling of
//! topics, acknowledgements. Names begin with the row of docs/conformance.md where there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{EDGE, Got, World, bodies, ids, module_grants, packet_id, puback_bytes, repeats};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent, EngineConfig, Filters, Grants};
use edgehub_mqtt::{Connect, Publish, QoS, Will, encode_connect, encode_publish};
use edgehub_store::SyncPolicy;

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TOPIC: &str = "devices/d1/messages/events/";
const INPUT: &str = "devices/edge1/modules/m/inputs/i/";

/// A device, and a module with one filter.
fn world(change: impl FnOnce(&mut EngineConfig), filter: &str, qos: u8) -> (World, ConnId, ConnId) {
    let mut world = World::with(SyncPolicy::None, change);
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.client(module_grants("m")));
    subscribe(&mut world, module, filter, qos);
    (world, device, module)
}

fn subscribe(world: &mut World, module: ConnId, filter: &str, qos: u8) {
    let filters = Filters { added: vec![(filter.to_owned(), qos, 0)], inputs_active: true };
    world.command(module, Command::SubAck { conn: module, packet_id: 9, codes: vec![qos], filters });
    world.received(module);
}

fn plain(change: impl FnOnce(&mut EngineConfig)) -> (World, ConnId, ConnId) {
    world(change, &format!("{}#", "devices/edge1/modules/m/inputs/"), 1)
}

/// Property bag and quality of service of the messages that came.
fn bags(got: &[Got]) -> Vec<(String, u8)> {
    got.iter()
        .filter_map(|got| match got {
            Got::Publish { topic, qos, .. } => Some((topic.strip_prefix(INPUT).unwrap().to_owned(), *qos)),
            _ => None,
        })
        .collect()
}

fn publish(topic: &str, qos: QoS, retain: bool, dup: bool) -> Vec<u8> {
    let publish = Publish { retain, dup, ..Publish::new(topic, qos, b"x") };
    let publish = if qos == QoS::AtMostOnce { publish } else { publish.with_id(1).unwrap() };
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &publish).unwrap();
    bytes
}

fn closed(world: &mut World) -> Option<CloseReason> {
    world.events().into_iter().find_map(|event| match event {
        ControlEvent::Closed { reason, .. } => Some(reason),
        _ => None,
    })
}

#[test]
fn m_029_and_m_030_flags_become_properties_and_are_not_set_on_delivery() {
    let (mut world, device, module) = plain(|_| {});
    for (retain, dup, want) in [
        (false, false, "%24.cdid=d1"),
        (true, false, "mqtt-retain=true&%24.cdid=d1"),
        (false, true, "mqtt-dup=true&%24.cdid=d1"),
        (true, true, "mqtt-retain=true&mqtt-dup=true&%24.cdid=d1"),
    ] {
        world.feed(device, &publish(TOPIC, QoS::AtLeastOnce, retain, dup));
        let got = world.received(module);
        assert_eq!((bags(&got), repeats(&got)), (vec![(want.to_owned(), 1)], vec![("x".to_owned(), false)]));
    }
}

#[test]
fn flags_become_properties_of_the_names_that_are_configured() {
    let (mut world, device, module) = plain(|config| {
        config.retain_property = "kept".to_owned();
        config.dup_property = "again".to_owned();
    });
    world.feed(device, &publish(TOPIC, QoS::AtLeastOnce, true, true));
    assert_eq!(bags(&world.received(module)), [("kept=true&again=true&%24.cdid=d1".to_owned(), 1)]);
}

#[test]
fn m_031_delivery_takes_the_least_quality_of_subscription_and_property() {
    for (granted, bag, want) in [
        (1, "", 1),
        (1, "mqtt-qos=0", 0),
        (1, "mqtt-qos=1", 1),
        (1, "mqtt-qos=2", 1),
        (1, "mqtt-qos=many", 1),
        (0, "mqtt-qos=1", 0),
        (0, "", 0),
    ] {
        let (mut world, device, module) = world(|_| {}, "devices/edge1/modules/m/inputs/#", granted);
        world.feed(device, &publish(&format!("{TOPIC}{bag}"), QoS::AtLeastOnce, false, false));
        let got = world.received(module);
        assert!(matches!(got[..], [Got::Publish { qos, .. }] if qos == want), "{granted} {bag}: {got:?}");
        // What nobody acknowledges is done when it is sent.
        assert_eq!(world.hub.queue_lengths()[0].2, u64::from(want));
    }
}

#[test]
fn the_property_and_the_quality_without_it_are_configured() {
    let (mut world, device, module) = plain(|config| {
        config.qos_property = "q".to_owned();
        config.delivery_qos = QoS::AtMostOnce;
    });
    for (bag, want) in [("", 0), ("mqtt-qos=1", 0), ("q=1", 1), ("q=2", 1), ("q=0", 0), ("q=x", 0)] {
        world.feed(device, &publish(&format!("{TOPIC}{bag}"), QoS::AtLeastOnce, false, false));
        let got = world.received(module);
        assert!(matches!(got[..], [Got::Publish { qos, .. }] if qos == want), "{bag}: {got:?}");
    }
}

#[test]
fn m_027_quality_zero_is_stored_and_delivered_without_an_answer() {
    let (mut world, device, module) = plain(|_| {});
    world.feed(device, &publish(TOPIC, QoS::AtMostOnce, false, false));
    assert_eq!(world.received(device), []);
    assert_eq!(bags(&world.received(module)), [("%24.cdid=d1".to_owned(), 1)]);
}

/// A device with a retained will leaves without DISCONNECT.
fn leave_with_will(world: &mut World) {
    let will = Will { topic: TOPIC, message: b"gone", qos: QoS::AtLeastOnce, retain: true };
    let connect = Connect {
        clean_session: true,
        keep_alive_s: 60,
        client_id: "d1",
        will: Some(will),
        user_name: Some("hub/user"),
        password: Some(b"secret"),
    };
    let mut bytes = Vec::new();
    encode_connect(&mut bytes, &connect).unwrap();
    let id = world.open();
    world.feed(id, &bytes);
    let grants = Box::new(common::device_grants("d1"));
    let filters = Filters::default();
    world.command(id, Command::Accept { conn: id, grants, session_present: false, filters });
    world.turn(|shard| shard.eof(id, CloseReason::Eof, ""));
}

#[test]
fn wills_say_so_in_a_property_with_the_prefix_that_is_configured() {
    for (prefix, want) in [
        ("", "mqtt-retain=true&MessageType=Will&%24.cdid=d1"),
        ("svc-", "mqtt-retain=true&svc-MessageType=Will&%24.cdid=d1"),
    ] {
        let (mut world, _, module) = plain(|config| config.will_property = format!("{prefix}MessageType"));
        leave_with_will(&mut world);
        let got = world.received(module);
        assert_eq!((bags(&got), bodies(&got)), (vec![(want.to_owned(), 1)], vec!["gone".to_owned()]));
    }
}

#[test]
fn m_040_the_bag_names_the_sender() {
    let (mut world, device, module) = plain(|_| {});
    let sender = world.client(module_grants("f"));
    world.publish(device, TOPIC, b"x", 1);
    world.publish(sender, "devices/edge1/modules/f/messages/events/a=%25", b"x", 1);
    let want = [("%24.cdid=d1".to_owned(), 1), ("a=%25&%24.cdid=edge1&%24.cmid=f".to_owned(), 1)];
    assert_eq!(bags(&world.received(module)), want);
}

#[test]
fn m_063_a_filter_for_all_of_the_module_brings_its_inputs() {
    let (mut world, device, module) = world(|_| {}, "devices/edge1/modules/m/#", 1);
    world.publish(device, TOPIC, b"x", 1);
    assert_eq!(bags(&world.received(module)), [("%24.cdid=d1".to_owned(), 1)]);
}

#[test]
fn m_065_properties_named_like_ids_change_nothing() {
    let (mut world, device, module) = plain(|_| {});
    world.publish(device, &format!("{TOPIC}deviceId=other&moduleId=fake"), b"x", 1);
    let want = "deviceId=other&moduleId=fake&%24.cdid=d1".to_owned();
    assert_eq!(bags(&world.received(module)), [(want, 1)]);
}

/// As the control plane grants a module whose ids are spelled in two ways.
fn odd_grants() -> Grants {
    let spelled =
        |device: &str, module: &str, rest: &str| format!("devices/{device}/modules/{module}/{rest}");
    let both = |rest: &str| vec![spelled(EDGE, "m$:1", rest), spelled(EDGE, "m%24%3A1", rest)];
    Grants {
        device_id: EDGE.to_owned(),
        module_id: "m$:1".to_owned(),
        telemetry_topics: both("messages/events"),
        inputs_endpoint_prefix: format!("{EDGE}/m$:1/"),
        inputs_topic_prefixes: both("inputs/"),
        model_id: None,
    }
}

#[test]
fn m_040_messages_come_to_the_spelling_that_was_subscribed() {
    for (filter, want) in [
        ("devices/edge1/modules/m$:1/inputs/#", "devices/edge1/modules/m$:1/inputs/i/%24.cdid=d1"),
        ("devices/edge1/modules/m%24%3A1/inputs/#", "devices/edge1/modules/m%24%3A1/inputs/i/%24.cdid=d1"),
        ("devices/edge1/modules/m%24%3A1/#", "devices/edge1/modules/m%24%3A1/inputs/i/%24.cdid=d1"),
        ("devices/+/modules/+/inputs/#", "devices/edge1/modules/m$:1/inputs/i/%24.cdid=d1"),
    ] {
        let mut world = World::new();
        world.routes(&[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m$:1/inputs/i")"#)]);
        let (device, module) = (world.device("d1"), world.client(odd_grants()));
        subscribe(&mut world, module, filter, 1);
        world.publish(device, TOPIC, b"x", 1);
        let got = world.received(module);
        assert!(matches!(&got[..], [Got::Publish { topic, .. }] if topic == want), "{filter}: {got:?}");
    }
}

#[test]
fn t_022_what_no_filter_takes_is_dropped_and_counted() {
    let (mut world, device, module) = world(|_| {}, "devices/edge1/modules/m/inputs/other/#", 1);
    world.publish(device, TOPIC, b"x", 1);
    assert_eq!(world.received(module), []);
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
    let dropped = world.hub.stats().dropped.snapshot();
    assert!(dropped.iter().any(|(labels, n)| labels[0] == "rejected" && *n == 1), "{dropped:?}");
}

/// Three messages on their way; the packet ids.
fn three(world: &mut World, device: ConnId, module: ConnId) -> Vec<u16> {
    (1..=3).for_each(|n| world.publish(device, TOPIC, b"x", n));
    let got = ids(&world.received(module));
    assert_eq!(got.len(), 3);
    got
}

#[test]
fn acknowledgements_in_any_order_count_unless_configured_otherwise() {
    let (mut world, device, module) = plain(|_| {});
    let sent = three(&mut world, device, module);
    for id in [sent[2], sent[0], 999, sent[1], sent[1]] {
        world.feed(module, &puback_bytes(id));
    }
    assert_eq!((world.hub.queue_lengths()[0].2, closed(&mut world)), (0, None));
}

#[test]
fn one_out_of_order_ends_the_connection_if_configured() {
    let strict = |config: &mut EngineConfig| config.abort_on_bad_puback = true;
    for bad in [1, 2] {
        let (mut world, device, module) = plain(strict);
        let sent = three(&mut world, device, module);
        world.feed(module, &puback_bytes(sent[bad]));
        assert_eq!(closed(&mut world), Some(CloseReason::ProtocolError));
        assert_eq!(world.hub.queue_lengths()[0].2, 3, "nothing is lost");
    }
    let (mut world, device, module) = plain(strict);
    for id in three(&mut world, device, module) {
        world.feed(module, &puback_bytes(id));
    }
    assert_eq!((world.hub.queue_lengths()[0].2, closed(&mut world)), (0, None));
    world.feed(module, &puback_bytes(999));
    assert_eq!(closed(&mut world), Some(CloseReason::ProtocolError), "for nothing that was sent");
}

#[test]
fn a_late_one_is_nobodys_fault() {
    let (mut world, device, module) = plain(|config| config.abort_on_bad_puback = true);
    let first = three(&mut world, device, module);
    world.advance(30_000);
    world.advance(1_000);
    let again = ids(&world.received(module));
    for id in first.into_iter().chain(again) {
        world.feed(module, &puback_bytes(id));
    }
    assert_eq!((world.hub.queue_lengths()[0].2, closed(&mut world)), (0, None));
}

#[test]
fn a_client_that_never_acknowledges_is_closed_after_so_many_times_if_configured() {
    for (max, closes) in [(Some(2), true), (None, false)] {
        let (mut world, device, module) = plain(|config| {
            (config.ack_timeout_ms, config.retransmissions_max) = (5_000, max);
        });
        world.publish(device, TOPIC, b"x", 1);
        let mut received = bodies(&world.received(module)).len();
        // Time-outs of 5 s and waits of 1, 2 and 4 s between; pings keep the connection alive.
        for _ in 0..18 {
            world.advance(1_000);
            received += bodies(&world.received(module)).len();
        }
        assert_eq!(closed(&mut world), closes.then_some(CloseReason::AckTimeout));
        assert_eq!(received, 3, "once, and twice again");
        assert_eq!(world.hub.queue_lengths()[0].2, 1, "the message stays");
        if closes {
            let module = world.client(module_grants("m"));
            world.command(
                module,
                Command::SubAck {
                    conn: module,
                    packet_id: packet_id(9).get(),
                    codes: vec![1],
                    filters: Filters { added: vec![(format!("{INPUT}#"), 1, 0)], inputs_active: true },
                },
            );
            assert_eq!(repeats(&world.received(module)), [("x".to_owned(), true)]);
        }
    }
}
