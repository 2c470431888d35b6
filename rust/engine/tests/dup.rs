//! DUP says that a message may have been sent before, and only then: whoever sees none twice without it can count
//! on its own memory.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::sync::Arc;

use common::{EDGE, Got, World, bodies, ids, module_grants, packet_id, puback_bytes, repeats};
use edgehub_engine::{Command, ConnId, Filters};
use edgehub_mqtt::{QoS, encode_subscribe};
use edgehub_store::{Media, StoreConfig, SyncPolicy};
use edgehub_testkit::FaultyStorage;

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TOPIC: &str = "devices/d1/messages/events/";

fn new(body: &str) -> (String, bool) {
    (body.to_owned(), false)
}

fn again(body: &str) -> (String, bool) {
    (body.to_owned(), true)
}

/// A device has sent three messages, the module has got them and acknowledged the first.
fn delivered() -> (World, ConnId, ConnId) {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    for (body, packet) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
        world.publish(device, TOPIC, body, packet);
    }
    let got = world.received(module);
    assert_eq!(repeats(&got), [new("a"), new("b"), new("c")]);
    world.feed(module, &puback_bytes(ids(&got)[0]));
    (world, device, module)
}

/// What was sent and not acknowledged comes with DUP, what comes after it without.
fn expect_repeats(world: &mut World, device: ConnId, module: ConnId) {
    let got = world.received(module);
    assert_eq!(repeats(&got), [again("b"), again("c")]);
    world.publish(device, TOPIC, b"d", 4);
    let more = world.received(module);
    assert_eq!(repeats(&more), [new("d")]);
    for id in ids(&got).into_iter().chain(ids(&more)) {
        world.feed(module, &puback_bytes(id));
    }
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn t_020_after_a_time_out() {
    let (mut world, device, module) = delivered();
    world.advance(30_000);
    world.advance(1_000);
    expect_repeats(&mut world, device, module);
}

#[test]
fn after_a_reconnect() {
    let (mut world, device, module) = delivered();
    world.turn(|shard| shard.eof(module, edgehub_engine::CloseReason::Eof, ""));
    let module = world.module("m");
    let suback = world.received(module);
    // SUBACK and messages come in one read.
    assert_eq!(repeats(&suback), [again("b"), again("c")]);
    world.publish(device, TOPIC, b"d", 4);
    assert_eq!(repeats(&world.received(module)), [new("d")]);
}

#[test]
fn after_a_takeover() {
    let (mut world, device, old) = delivered();
    let module = world.client(module_grants("m"));
    let filter = format!("devices/{EDGE}/modules/m/inputs/#");
    let filters = Filters { added: vec![(filter, 1, 0)], inputs_active: true };
    world.command(module, Command::SubAck { conn: module, packet_id: 9, codes: vec![1], filters });
    let got = world.received(module);
    assert_eq!(repeats(&got), [again("b"), again("c")]);
    // What the older connection says of them does not count any more.
    world.feed(old, &puback_bytes(2));
    world.publish(device, TOPIC, b"d", 4);
    assert_eq!(repeats(&world.received(module)), [new("d")]);
    assert_eq!(world.hub.queue_lengths()[0].2, 3);
}

#[test]
fn after_a_restart_for_all_that_was_stored_before() {
    let disk = FaultyStorage::new();
    let config = || StoreConfig { sync: SyncPolicy::None, background_thread: false, ..StoreConfig::small() };
    let mut world = World::with_store(Media::Disk(Arc::new(disk.clone())), config(), |_| {});
    world.routes(TO_M);
    let device = world.device("d1");
    world.publish(device, TOPIC, b"a", 1);
    world.publish(device, TOPIC, b"b", 2);
    let mut world = World::with_store(Media::Disk(Arc::new(disk.after_kill())), config(), |_| {});
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.publish(device, TOPIC, b"c", 1);
    assert_eq!(repeats(&world.received(module)), [again("a"), again("b"), new("c")]);
}

#[test]
fn never_with_qos_zero() {
    let (mut world, _, module) = delivered();
    world.turn(|shard| shard.eof(module, edgehub_engine::CloseReason::Eof, ""));
    let module = world.client(module_grants("m"));
    let filter = format!("devices/{EDGE}/modules/m/inputs/#");
    let mut bytes = Vec::new();
    encode_subscribe(&mut bytes, packet_id(9), &[(&filter, QoS::AtMostOnce)]).unwrap();
    world.feed(module, &bytes);
    let filters = Filters { added: vec![(filter, 0, 0)], inputs_active: true };
    world.command(module, Command::SubAck { conn: module, packet_id: 9, codes: vec![0], filters });
    let got = world.received(module);
    assert_eq!((bodies(&got), repeats(&got)), (vec!["b".into(), "c".into()], vec![new("b"), new("c")]));
    assert!(got.iter().all(|got| !matches!(got, Got::Publish { qos: 1, .. })));
}
