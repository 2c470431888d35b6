//! A store that takes nothing now: publishers wait, consumers do not, nobody gets an acknowledgement for
//! what is not stored.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{Got, World, bodies, ids, puback_bytes, publish_bytes};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent};
use edgehub_store::{LossCause, Media, OverflowPolicy, Quota, SpillConfig, StoreConfig, SyncPolicy};

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TOPIC: &str = "devices/d1/messages/events/";
const ENTRIES_MAX: usize = 3;
const QUOTA_BYTES: u64 = 20_000;

/// Whether what the client sends waits: then it is read a little way on, for its pings and acknowledgements.
fn is_held(world: &World, id: ConnId) -> bool {
    world.shard.input_bytes_max(id) <= world.hub.config().held_bytes_max
}

fn small_world() -> World {
    let store = StoreConfig {
        sync: SyncPolicy::None,
        background_thread: false,
        index_entries_max: ENTRIES_MAX,
        ..StoreConfig::small()
    };
    let mut world = World::with_store(Media::Memory, store, |config| config.store_full_grace_ms = 1000);
    world.routes(TO_M);
    world
}

#[test]
fn publishers_wait_until_a_consumer_makes_room() {
    let mut world = small_world();
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    for n in 1..=5_u16 {
        world.publish(device, TOPIC, n.to_string().as_bytes(), n);
    }
    let acked = world.received(device);
    assert_eq!(acked, [Got::PubAck(1), Got::PubAck(2), Got::PubAck(3)]);
    assert!(is_held(&world, device), "the fifth waits behind the fourth");
    let got = world.received(module);
    assert_eq!(bodies(&got), ["1", "2", "3"]);
    for id in ids(&got) {
        world.feed(module, &puback_bytes(id));
    }
    world.advance(20);
    assert_eq!(world.received(device), [Got::PubAck(4), Got::PubAck(5)]);
    assert_eq!(bodies(&world.received(module)), ["4", "5"]);
    assert!(!is_held(&world, device));
}

#[test]
fn after_the_grace_publishers_are_closed_without_an_acknowledgement() {
    let mut world = small_world();
    let (device, other) = (world.device("d1"), world.device("d2"));
    for n in 1..=4_u16 {
        world.publish(device, TOPIC, n.to_string().as_bytes(), n);
    }
    world.feed(other, &publish_bytes("devices/d2/messages/events/", b"x", 1));
    assert_eq!(world.received(device).len(), 3);
    world.advance(1100);
    assert!(world.shard.is_closing(device) && world.shard.is_closing(other));
    assert_eq!(world.received(device), []);
    let reasons: Vec<_> = world
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ControlEvent::Closed { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [CloseReason::StoreError, CloseReason::StoreError]);
    let unacked: u64 = world.hub.stats().unacked.snapshot().iter().map(|(_, count)| count).sum();
    assert_eq!(unacked, 2, "one message of each waited");
    // The store works on: a consumer gets what was acknowledged.
    let module = world.module("m");
    assert_eq!(bodies(&world.received(module)), ["1", "2", "3"]);
}

#[test]
fn an_answer_of_the_control_plane_acknowledges_nothing_that_is_not_stored() {
    let mut world = small_world();
    let (device, other) = (world.device("d1"), world.device("d2"));
    world.publish(other, "$iothub/twin/GET/?$rid=1", b"", 7);
    for n in 1..=2_u16 {
        world.publish(device, TOPIC, b"x", n);
    }
    assert_eq!(world.received(device).len(), 2);
    world.feed(device, &[publish_bytes(TOPIC, b"x", 3), publish_bytes(TOPIC, b"x", 4)].concat());
    world.command(other, Command::PubAck { conn: other, packet_id: 7 });
    assert_eq!(world.received(device), [], "there is no room for both");
    let module = world.module("m");
    for id in ids(&world.received(module)) {
        world.feed(module, &puback_bytes(id));
    }
    world.advance(20);
    assert_eq!(world.received(device), [Got::PubAck(3), Got::PubAck(4)]);
    assert_eq!(world.received(other), [Got::PubAck(7)]);
}

#[test]
fn publishers_that_wait_are_closed_when_the_store_fails_for_good() {
    let mut world = small_world();
    let (device, other) = (world.device("d1"), world.device("d2"));
    for n in 1..=4_u16 {
        world.publish(device, TOPIC, b"x", n);
    }
    world.publish(other, "devices/d2/messages/events/", b"x", 1);
    assert!(is_held(&world, other));
    world.hub.store().close().unwrap();
    world.advance(100);
    assert!(world.shard.is_closing(device) && world.shard.is_closing(other));
    assert_eq!(world.received(other), []);
    assert!(world.events().iter().any(|event| matches!(event, ControlEvent::StoreFailed { .. })));
}

fn world_with_quota(policy: OverflowPolicy) -> World {
    let store = StoreConfig {
        sync: SyncPolicy::None,
        background_thread: false,
        segment_bytes: 4096,
        // Compressed, these bodies would have room for ever.
        spill: SpillConfig { after_segments: usize::MAX, ..SpillConfig::default() },
        ..StoreConfig::small()
    };
    let mut world = World::with_store(Media::Memory, store, |config| config.store_full_grace_ms = 1000);
    world.routes(TO_M);
    world.hub.store().set_quota(Some(Quota { bytes_max: QUOTA_BYTES, policy }));
    world
}

/// Publishes until no acknowledgement comes; how many came.
fn publish_until_held(world: &mut World, device: edgehub_engine::ConnId) -> u16 {
    for n in 1..=100_u16 {
        world.publish(device, TOPIC, &[b'x'; 900], n);
        world.hub.store().tick();
        if world.received(device).is_empty() {
            return n - 1;
        }
    }
    panic!("never held back")
}

#[test]
fn a_used_up_quota_holds_publishers_back_and_nobody_else() {
    let mut world = world_with_quota(OverflowPolicy::RejectNew);
    let (device, idle, module) = (world.device("d1"), world.device("d2"), world.module("m"));
    world.command(module, Command::BindInputs { conn: module });
    let held_at = publish_until_held(&mut world, device);
    assert!((15..30).contains(&held_at), "{held_at}");
    assert!(is_held(&world, device) && !is_held(&world, idle));
    world.feed(idle, &[0xc0, 0]);
    assert_eq!(world.received(idle), [Got::PingResp]);
    assert!(world.shard.deadline().is_some_and(|at| at.0 >= world.now().mono.0 + 50), "no busy waiting");
    // The consumer makes room, and that is told: no time passes.
    let mut got = world.received(module);
    while !got.is_empty() {
        for id in ids(&got) {
            world.feed(module, &puback_bytes(id));
        }
        got = world.received(module);
    }
    world.hub.store().tick();
    world.turn(|_| {});
    assert_eq!(world.received(device), [Got::PubAck(held_at + 1)]);
    assert!(!is_held(&world, device));
    assert_eq!(world.hub.stats().unacked.snapshot(), []);
}

#[test]
fn with_dropping_publishers_go_on() {
    let mut world = world_with_quota(OverflowPolicy::DropOldest);
    let device = world.device("d1");
    let mut acked = 0;
    for n in 1..=100_u16 {
        world.publish(device, TOPIC, &[b'x'; 900], n);
        world.hub.store().tick();
        world.advance(5);
        acked += world.received(device).len();
    }
    assert_eq!(acked, 100);
    let lost: u64 = world.hub.store().queues().iter().map(|queue| queue.lost(LossCause::Quota)).sum();
    assert_eq!(lost + world.hub.store().stats().live_messages, 100);
    assert!(lost > 70);
}

/// Else a module that publishes what it makes of its input could wait for itself.
#[test]
fn what_a_held_consumer_acknowledges_makes_room() {
    let mut world = world_with_quota(OverflowPolicy::RejectNew);
    world.routes(&[
        TO_M[0],
        ("out", r#"FROM /messages/modules/m/outputs/* INTO BrokeredEndpoint("/modules/other/inputs/i")"#),
    ]);
    let (device, module) = (world.device("d1"), world.module("m"));
    publish_until_held(&mut world, device);
    let got = world.received(module);
    let output = format!("devices/{}/modules/m/messages/events/%24.on=out", common::EDGE);
    world.publish(module, &output, &[b'y'; 900], 7);
    assert_eq!(world.received(module), [], "held like everybody");
    assert!(world.shard.wants_input(module));
    // In pieces, behind the publish, with a ping among them.
    let acks: Vec<u8> = ids(&got).iter().flat_map(|id| puback_bytes(*id)).chain([0xc0, 0]).collect();
    for piece in acks.chunks(3) {
        world.feed(module, piece);
    }
    world.hub.store().tick();
    world.turn(|_| {});
    let answers = world.received(module);
    assert!(answers.contains(&Got::PingResp) && answers.contains(&Got::PubAck(7)), "{answers:?}");
    assert!(!world.received(device).is_empty());
}

#[test]
fn a_held_consumer_is_read_up_to_a_limit() {
    let mut world = world_with_quota(OverflowPolicy::RejectNew);
    let (device, module) = (world.device("d1"), world.module("m"));
    publish_until_held(&mut world, device);
    let output = format!("devices/{}/modules/m/messages/events/", common::EDGE);
    let mut fed = 0;
    while world.shard.wants_input(module) {
        world.publish(module, &output, &[b'y'; 900], 7);
        fed += 1;
        assert!(fed < 1000);
    }
    assert!((60..80).contains(&fed), "{fed}");
}
