//! Rules of a session, each with the row of the conformance table that it stands for.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{EDGE, Got, World, bodies, device_grants, packet_id, publish_bytes};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent, EngineConfig, Filters, NoticeKind};
use edgehub_mqtt::{
    Connect, Publish, QoS, Will, encode_connect, encode_disconnect, encode_pingreq, encode_pubcomp,
    encode_publish, encode_pubrec, encode_pubrel,
};
use edgehub_store::SyncPolicy;

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TELEMETRY: &str = "devices/d1/messages/events/";

fn plain() -> World {
    let mut world = World::new();
    world.routes(TO_M);
    world
}

/// A device that connected with this keep-alive and will.
fn device_with(world: &mut World, keep_alive_s: u16, will: Option<Will<'_>>) -> ConnId {
    let connect = Connect {
        clean_session: false,
        keep_alive_s,
        client_id: "d1",
        will,
        user_name: Some("u"),
        password: Some(b"p"),
    };
    let mut bytes = Vec::new();
    encode_connect(&mut bytes, &connect).unwrap();
    let id = world.open();
    world.feed(id, &bytes);
    let (grants, filters) = (Box::new(device_grants("d1")), Filters::default());
    world.command(id, Command::Accept { conn: id, grants, session_present: false, filters });
    world.received(id);
    world.events();
    id
}

fn will(topic: &str, retain: bool) -> Will<'_> {
    Will { topic, message: b"gone", qos: QoS::AtLeastOnce, retain }
}

fn close_reason(world: &mut World) -> Option<CloseReason> {
    world.events().into_iter().find_map(|event| match event {
        ControlEvent::Closed { reason, .. } => Some(reason),
        _ => None,
    })
}

fn notices(world: &mut World) -> Vec<NoticeKind> {
    let mut all = Vec::new();
    for event in world.events() {
        if let ControlEvent::Notice { kind, .. } = event {
            all.push(kind);
        }
    }
    all
}

fn dropped(world: &World, reason: &str) -> u64 {
    let rows = world.hub.stats().dropped.snapshot();
    rows.iter().filter(|(labels, _)| labels[0] == reason).map(|(_, count)| count).sum()
}

#[test]
fn m_020_keep_alive_is_one_and_a_half_times_the_value_up_to_the_cap() {
    const DEFAULT_MS: u64 = 600_000;
    for (cap_ms, keep_alive_s, want_ms) in [
        (DEFAULT_MS, 0, DEFAULT_MS),
        (DEFAULT_MS, 1, 1500),
        (DEFAULT_MS, 60, 90_000),
        (DEFAULT_MS, 399, 598_500),
        (DEFAULT_MS, 400, DEFAULT_MS),
        (DEFAULT_MS, 401, DEFAULT_MS),
        (DEFAULT_MS, u16::MAX, DEFAULT_MS),
        (30_000, 0, 30_000),
        (30_000, 20, 30_000),
        (30_000, 19, 28_500),
        (30_000, 21, 30_000),
    ] {
        let mut world = World::with(SyncPolicy::None, |config| config.keep_alive_max_ms = cap_ms);
        let id = device_with(&mut world, keep_alive_s, None);
        world.advance(want_ms - 1);
        assert!(!world.shard.is_closing(id), "{keep_alive_s} s below {cap_ms} ms");
        world.advance(1);
        assert_eq!(close_reason(&mut world), Some(CloseReason::KeepAliveTimeout), "{keep_alive_s} s");
    }
}

#[test]
fn m_020_every_packet_of_the_client_counts_and_half_a_packet_does_not() {
    let telemetry = publish_bytes(TELEMETRY, b"x", 1);
    let mut ping = Vec::new();
    encode_pingreq(&mut ping);
    for (bytes, counts) in [
        (telemetry.clone(), true),
        (ping, true),
        (common::puback_bytes(9), true),
        (telemetry[..telemetry.len() - 1].to_vec(), false),
    ] {
        let mut world = plain();
        let id = device_with(&mut world, 60, None);
        world.advance(80_000);
        world.feed(id, &bytes);
        world.advance(20_000);
        assert_eq!(world.shard.is_closing(id), !counts, "{bytes:02x?}");
    }
}

/// How a connection with a will may end.
type End = fn(&mut World, ConnId);

fn end_by_bytes(world: &mut World, id: ConnId, bytes: &[u8]) {
    world.feed(id, bytes);
}

fn end_by_transport(world: &mut World, id: ConnId, reason: CloseReason) {
    world.turn(|shard| shard.eof(id, reason, ""));
}

fn disconnect(world: &mut World, id: ConnId) {
    let mut bytes = Vec::new();
    encode_disconnect(&mut bytes);
    end_by_bytes(world, id, &bytes);
}

const ENDS: &[(&str, End, CloseReason, bool)] = &[
    ("DISCONNECT", disconnect, CloseReason::Disconnect, false),
    (
        "takeover",
        |world, id| world.command(id, Command::Close { conn: id, reason: "taken over".to_owned() }),
        CloseReason::Server,
        false,
    ),
    ("shutdown", |world, _| world.turn(edgehub_engine::Shard::close_all), CloseReason::Shutdown, false),
    ("end of stream", |world, id| end_by_transport(world, id, CloseReason::Eof), CloseReason::Eof, true),
    ("reset", |world, id| end_by_transport(world, id, CloseReason::Reset), CloseReason::Reset, true),
    (
        "broken TLS",
        |world, id| end_by_transport(world, id, CloseReason::TlsError),
        CloseReason::TlsError,
        true,
    ),
    ("silence", |world, _| world.advance(90_000), CloseReason::KeepAliveTimeout, true),
    ("bad packet", |world, id| end_by_bytes(world, id, &[0xf0, 0]), CloseReason::ProtocolError, true),
    (
        "large packet",
        |world, id| end_by_bytes(world, id, &[0x30, 0xff, 0xff, 0x7f]),
        CloseReason::PacketTooLarge,
        true,
    ),
];

#[test]
fn m_055_a_will_is_published_when_the_client_is_lost_and_not_when_somebody_ends_it() {
    for (name, end, reason, published) in ENDS {
        let mut world = plain();
        let id = device_with(&mut world, 60, Some(will(TELEMETRY, false)));
        end(&mut world, id);
        assert_eq!(close_reason(&mut world), Some(*reason), "{name}");
        world.turn(|_| {});
        let module = world.module("m");
        let got = world.received(module);
        assert_eq!(bodies(&got).len(), usize::from(*published), "{name}");
        if let Some(Got::Publish { topic, payload, .. }) =
            got.iter().find(|got| matches!(got, Got::Publish { .. }))
        {
            assert_eq!(payload, b"gone");
            let prefix = format!("devices/{EDGE}/modules/m/inputs/i/");
            assert!(topic.starts_with(&prefix) && topic.contains("MessageType=Will"), "{topic}");
            assert!(!topic.contains("mqtt-retain"), "{topic}");
        }
    }
}

#[test]
fn m_055_a_will_is_told_once_however_often_the_end_comes() {
    let mut world = plain();
    let id = device_with(&mut world, 60, Some(will(TELEMETRY, false)));
    for reason in [CloseReason::Reset, CloseReason::Eof] {
        world.turn(|shard| shard.eof(id, reason, ""));
    }
    disconnect(&mut world, id);
    world.turn(|shard| shard.forget(id));
    assert_eq!(world.hub.queue_lengths()[0].2, 1);
}

#[test]
fn m_055_the_topic_of_a_will_is_that_of_telemetry() {
    for (topic, want, reason) in [
        (format!("{TELEMETRY}k=v"), Some("k=v"), None),
        ("devices/d1/messages/events".to_owned(), Some("MessageType=Will"), None),
        (format!("{TELEMETRY}a=b=c"), None, Some("bad_properties")),
        ("somewhere/else".to_owned(), None, Some("will_topic")),
        ("devices/d2/messages/events/".to_owned(), None, Some("will_topic")),
        ("$iothub/twin/GET/?$rid=1".to_owned(), None, Some("will_topic")),
    ] {
        let mut world = plain();
        let id = device_with(&mut world, 60, Some(will(&topic, true)));
        world.turn(|shard| shard.eof(id, CloseReason::Eof, ""));
        world.turn(|_| {});
        let module = world.module("m");
        let got = world.received(module);
        let topics: Vec<&String> = got
            .iter()
            .filter_map(|got| match got {
                Got::Publish { topic, .. } => Some(topic),
                _ => None,
            })
            .collect();
        assert_eq!(topics.len(), usize::from(want.is_some()), "{topic}");
        for got in topics {
            assert!(got.contains(want.unwrap()) && got.contains("mqtt-retain=true"), "{topic}: {got}");
        }
        assert_eq!(
            reason.map_or(0, |reason| dropped(&world, reason)),
            u64::from(reason.is_some()),
            "{topic}"
        );
    }
}

#[test]
fn m_055_a_client_that_was_never_accepted_leaves_no_will() {
    let mut world = plain();
    let id = world.open();
    let connect = Connect {
        clean_session: true,
        keep_alive_s: 60,
        client_id: "d1",
        will: Some(will(TELEMETRY, false)),
        user_name: Some("u"),
        password: None,
    };
    let mut bytes = Vec::new();
    encode_connect(&mut bytes, &connect).unwrap();
    world.feed(id, &bytes);
    world.turn(|shard| shard.eof(id, CloseReason::Eof, ""));
    world.turn(|_| {});
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn m_027_quality_of_service_zero_is_stored_and_not_answered() {
    let mut world = plain();
    let id = world.device("d1");
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, &Publish::new(TELEMETRY, QoS::AtMostOnce, b"x")).unwrap();
    world.feed(id, &bytes);
    assert_eq!(world.received(id), []);
    assert_eq!(world.hub.queue_lengths()[0].2, 1);
    let module = world.module("m");
    assert_eq!(bodies(&world.received(module)), ["x"]);
}

#[test]
fn m_028_quality_of_service_two_is_refused_in_every_form() {
    let publish = Publish::new(TELEMETRY, QoS::ExactlyOnce, b"x").with_id(1).unwrap();
    let (mut at_once, mut release) = (Vec::new(), Vec::new());
    encode_publish(&mut at_once, &publish).unwrap();
    encode_pubrel(&mut release, packet_id(1));
    for bytes in [at_once, release] {
        let mut world = plain();
        let id = world.device("d1");
        world.feed(id, &[publish_bytes(TELEMETRY, b"before", 1), bytes].concat());
        assert_eq!(close_reason(&mut world), Some(CloseReason::ProtocolError));
        assert_eq!(world.hub.queue_lengths()[0].2, 1, "only what came before");
    }
}

#[test]
fn m_028_answers_of_quality_of_service_two_are_ignored_and_told_once() {
    let mut world = plain();
    let id = world.device("d1");
    let mut bytes = Vec::new();
    for _ in 0..3 {
        encode_pubrec(&mut bytes, packet_id(1));
        encode_pubcomp(&mut bytes, packet_id(1));
    }
    encode_pingreq(&mut bytes);
    world.feed(id, &bytes);
    assert_eq!(world.received(id), [Got::PingResp]);
    assert_eq!(notices(&mut world), [NoticeKind::UnexpectedAck]);
}

#[test]
fn m_033_what_matches_no_topic_is_dropped_acknowledged_and_told_once() {
    for (topic, reason, kind) in [
        ("anything", "unknown_topic", NoticeKind::UnknownTopic),
        ("/", "unknown_topic", NoticeKind::UnknownTopic),
        ("devices/d1/messages", "unknown_topic", NoticeKind::UnknownTopic),
        ("$SYS/broker/uptime", "unknown_topic", NoticeKind::UnknownTopic),
        ("x/devices/d1/messages/events/", "unknown_topic", NoticeKind::UnknownTopic),
        ("devices/d2/messages/events/", "foreign_topic", NoticeKind::ForeignTopic),
        ("devices/d1/modules/m/messages/events/", "foreign_topic", NoticeKind::ForeignTopic),
        ("devices/d1/messages/eventsx", "foreign_topic", NoticeKind::ForeignTopic),
    ] {
        let mut world = plain();
        let id = world.device("d1");
        for n in 1..=2 {
            world.publish(id, topic, b"x", n);
        }
        assert_eq!(world.received(id), [Got::PubAck(1), Got::PubAck(2)], "{topic}");
        assert_eq!(notices(&mut world), [kind], "{topic}");
        assert_eq!(dropped(&world, reason), 2, "{topic}");
        assert_eq!(world.hub.queue_lengths()[0].2, 0, "{topic}");
        assert!(!world.shard.is_closing(id));
    }
}

/// Deliveries of the hub are no sign of life of the client, unless the hub is told to take them for one (DEV-20).
#[test]
fn dev_20_what_the_hub_sends_counts_only_if_it_is_told_so() {
    for counts in [false, true] {
        let change = |config: &mut EngineConfig| config.sent_renews_keep_alive = counts;
        let mut world = World::with(SyncPolicy::None, change);
        world.routes(TO_M);
        let (device, module) = (world.device("d1"), world.module("m"));
        world.received(module);
        for n in 1..=4 {
            world.advance(50_000);
            world.publish(device, &format!("{TELEMETRY}mqtt-qos=0"), b"x", n);
        }
        assert_eq!(world.shard.is_closing(module), !counts);
        assert!(!world.shard.is_closing(device));
    }
}

#[test]
fn dev_20_answers_of_the_control_plane_count_then_too() {
    for counts in [false, true] {
        let change = |config: &mut EngineConfig| config.sent_renews_keep_alive = counts;
        let mut world = World::with(SyncPolicy::None, change);
        let id = device_with(&mut world, 60, None);
        let filters = Filters { added: vec![("a/#".to_owned(), 0, 0)], inputs_active: false };
        world.command(id, Command::SubAck { conn: id, packet_id: 1, codes: vec![0], filters });
        for _ in 0..4 {
            world.advance(50_000);
            let (topic, payload, token, created_ms) = ("a/b".to_owned(), Vec::new(), None, None);
            world.command(id, Command::Send { conn: id, topic, payload, qos: 0, token, created_ms });
        }
        assert_eq!(world.shard.is_closing(id), !counts);
    }
}

#[test]
fn dev_6_lenient_takes_the_sender_of_a_will_from_its_topic() {
    let mut world = World::with(SyncPolicy::None, |config| config.sender_of_topic = true);
    world.routes(TO_M);
    let id = device_with(&mut world, 60, Some(will("devices/d2/modules/o/messages/events/k=v", false)));
    world.turn(|shard| shard.eof(id, CloseReason::Eof, ""));
    world.turn(|_| {});
    let module = world.module("m");
    let got = world.received(module);
    let Some(Got::Publish { topic, .. }) = got.last() else { panic!("{got:?}") };
    assert!(topic.ends_with("k=v&MessageType=Will&%24.cdid=d2&%24.cmid=o"), "{topic}");
}

/// What cannot be stored ends its connection where the hub says so, and is not acknowledged.
#[test]
fn a_publish_that_is_dropped_may_end_its_connection() {
    for closes in [false, true] {
        for topic in ["elsewhere", "devices/d2/messages/events/", "devices/d1/messages/events/=v"] {
            let mut world = World::with(SyncPolicy::None, |config| config.closes_on_drop = closes);
            world.routes(TO_M);
            let id = world.device("d1");
            world.received(id);
            world.publish(id, topic, b"x", 7);
            let acked = world.received(id).iter().any(|got| matches!(got, Got::PubAck(_)));
            assert_eq!((acked, world.shard.is_closing(id)), (!closes, closes), "{topic}");
        }
    }
}

/// With the switch for DEV-6 the topic names the sender, whoever sends.
#[test]
fn dev_6_lenient_takes_the_sender_from_the_topic() {
    let mut world = World::with(SyncPolicy::None, |config| config.sender_of_topic = true);
    world.routes(TO_M);
    let (id, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    let topics = [
        "devices/d2/messages/events/k=v",
        "devices/d1/messages/events",
        "devices/d2/modules/other/messages/events/",
        "devices/d2/modules/other/messages/events/%24.mid=7/",
    ];
    for (topic, n) in topics.into_iter().zip(1_u16..) {
        world.publish(id, topic, b"x", n);
    }
    assert_eq!(world.received(id), [1, 2, 3, 4].map(Got::PubAck));
    let senders: Vec<_> = world
        .received(module)
        .into_iter()
        .filter_map(|got| match got {
            Got::Publish { topic, .. } => Some(topic.rsplit_once('/').unwrap().1.to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(
        senders,
        [
            "k=v&%24.cdid=d2",
            "%24.cdid=d1",
            "%24.cdid=d2&%24.cmid=other",
            "%24.mid=7&%24.cdid=d2&%24.cmid=other"
        ]
    );
    for topic in ["devices//messages/events/", "devices/d2/messages/eventsx", "devices/d2/a/messages/events/"]
    {
        world.publish(id, topic, b"x", 9);
    }
    assert_eq!(dropped(&world, "foreign_topic"), 3);
}
