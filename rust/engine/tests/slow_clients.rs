//! Clients that do not read or do not acknowledge: what they cost the others, and what they get again.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::World;
use edgehub_store::SyncPolicy;

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TOPIC: &str = "devices/d1/messages/events/";

#[test]
fn a_full_window_behind_a_full_socket_lets_the_thread_sleep() {
    let mut world = World::with(SyncPolicy::None, |config| config.delivery_window = 2);
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    for n in 1..=5_u16 {
        world.publish(device, TOPIC, b"x", n);
    }
    let asleep = (0..5).any(|_| {
        while let Some((_, id)) = world.shard.pop_dirty() {
            world.shard.written(id); // the socket took nothing
        }
        while world.shard.pop_resumed().is_some() {}
        world.shard.may_sleep() || {
            world.turn(|_| {});
            false
        }
    });
    assert!(asleep);
}
