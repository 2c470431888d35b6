//! Messages on their way to a module: fair among its inputs, complete, and not twice without need.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::sync::atomic::Ordering;

use common::{EDGE, World, bodies, ids, puback_bytes, publish_bytes};
use edgehub_engine::Command;
use edgehub_store::SyncPolicy;

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TOPIC: &str = "devices/d1/messages/events/";

fn redeliveries(world: &World) -> u64 {
    world.hub.stats().redeliveries.load(Ordering::Relaxed)
}

#[test]
fn a_busy_input_leaves_room_for_the_other() {
    let mut world = World::with(SyncPolicy::None, |config| config.delivery_window = 1);
    world.routes(&[
        ("a", r#"FROM /messages/* WHERE k = 'a' INTO BrokeredEndpoint("/modules/m/inputs/a")"#),
        ("b", r#"FROM /messages/* WHERE k = 'b' INTO BrokeredEndpoint("/modules/m/inputs/b")"#),
    ]);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    for n in 1..=10_u16 {
        let key = if n % 2 == 0 { "a" } else { "b" };
        world.publish(device, &format!("{TOPIC}k={key}"), key.as_bytes(), n);
    }
    let mut all = Vec::new();
    for _ in 0..10 {
        let got = world.received(module);
        all.extend(bodies(&got));
        for id in ids(&got) {
            world.feed(module, &puback_bytes(id));
        }
    }
    assert_eq!(all.len(), 10);
    assert!(all[1..].chunks_exact(2).all(|pair| pair[0] != pair[1]), "in turn: {all:?}");
}

#[test]
fn a_message_whose_topic_grows_too_long_is_dropped_and_the_others_are_not_sent_again() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    // A quote takes one byte on the way in and three, percent-encoded, on the way out.
    world.publish(device, &format!("{TOPIC}k={}", "\"".repeat(30_000)), b"x", 1);
    world.publish(device, TOPIC, b"y", 2);
    let got = world.received(module);
    assert_eq!(bodies(&got), ["y"]);
    world.feed(module, &puback_bytes(ids(&got)[0]));
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
    world.advance(31_000);
    assert_eq!(redeliveries(&world), 0);
}

#[test]
fn an_unacknowledged_answer_of_the_control_plane_does_not_repeat_messages_of_queues() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    let topic = format!("devices/{EDGE}/modules/m/inputs/x");
    let (payload, token, created_ms) = (Vec::new(), None, None);
    world.command(module, Command::Send { conn: module, topic, payload, qos: 1, token, created_ms });
    assert_eq!(world.received(module).len(), 1);
    world.advance(29_000);
    world.publish(device, TOPIC, b"x", 1);
    let got = world.received(module);
    world.advance(2_000);
    assert_eq!(redeliveries(&world), 0);
    world.feed(module, &puback_bytes(ids(&got)[0]));
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn an_acknowledgement_that_waits_unread_is_not_late() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    world.publish(device, TOPIC, b"x", 1);
    let got = world.received(module);
    world.publish(module, "$iothub/twin/GET/?$rid=1", b"", 1);
    let mut bytes = publish_bytes(&format!("devices/{EDGE}/modules/m/messages/events/"), b"y", 2);
    bytes.extend(puback_bytes(ids(&got)[0]));
    world.feed(module, &bytes);
    world.advance(31_000);
    assert_eq!(redeliveries(&world), 0);
    world.command(module, Command::PubAck { conn: module, packet_id: 1 });
    world.advance(1);
    assert_eq!(redeliveries(&world), 0);
    // From then on the client has the whole time again.
    let late = bodies(&world.received(module));
    assert_eq!(late, ["y"]);
    world.advance(29_998);
    assert_eq!(redeliveries(&world), 0);
    world.advance(2);
    assert_eq!(redeliveries(&world), 1);
}

#[test]
fn a_queue_of_which_all_expired_keeps_none_of_lower_priority_waiting() {
    let mut world = World::new();
    let route = |name: &str, kind: &str, priority, ttl_secs| edgehub_router::RouteDecl {
        priority: Some(priority),
        ttl_secs,
        ..edgehub_router::RouteDecl::new(
            name,
            format!(r#"FROM /messages/* WHERE k = '{kind}' INTO BrokeredEndpoint("/modules/m/inputs/i")"#),
        )
    };
    world.hub.set_routes(&[route("short", "a", 0, 1), route("long", "b", 1, 0)], 7200).unwrap();
    world.turn(|_| {});
    let device = world.device("d1");
    world.publish(device, "devices/d1/messages/events/k=a", b"short", 1);
    world.publish(device, "devices/d1/messages/events/k=b", b"long", 2);
    world.advance(2000);
    let module = world.module("m");
    assert_eq!(bodies(&world.received(module)), ["long"]);
}
