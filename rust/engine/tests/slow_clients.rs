//! Clients that do not read or do not acknowledge: what they cost the others, and what they get again.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{Got, World, publish_bytes};
use edgehub_engine::{Command, ControlEvent, Filters, SendOutcome};
use edgehub_mqtt::encode_pingreq;
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

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_until_it_does() {
    const OUT_BYTES_MAX: usize = 1024;
    let mut world = World::with(SyncPolicy::None, |config| config.out_bytes_max = OUT_BYTES_MAX);
    let id = world.device("d1");
    let (mut input, mut sent) = (Vec::new(), 0);
    // Nobody takes these publishes: their acknowledgements wait for no commit.
    for n in 1..=100 {
        input.extend(publish_bytes("nothing/known", b"", n));
        encode_pingreq(&mut input);
    }
    while world.shard.wants_input(id) {
        world.feed(id, &input);
        sent += 200;
        assert!(sent < 10_000);
    }
    // The limit, and the acknowledgements of one turn.
    let waiting = world.shard.out(id).unwrap().len();
    assert!((2 * OUT_BYTES_MAX..3 * OUT_BYTES_MAX).contains(&waiting), "{waiting}");
    let topic = "$iothub/methods/POST/m/?$rid=1".to_owned();
    let filters = Filters { added: vec![("$iothub/methods/POST/#".to_owned(), 1, 0)], inputs_active: false };
    world.command(id, Command::SubAck { conn: id, packet_id: 1, codes: vec![1], filters });
    let (token, created_ms) = (Some(9), None);
    world.events();
    world.command(id, Command::Send { conn: id, topic, payload: vec![0; 100], qos: 0, token, created_ms });
    let outcome = SendOutcome::Overflow;
    assert_eq!(world.events(), [ControlEvent::SendDone { conn: id, token: 9, outcome }]);
    let mut answers = 0;
    while answers < sent + 1 {
        let got = world.received(id);
        assert!(!got.is_empty(), "{answers} of {sent}");
        assert!(got.iter().all(|got| !matches!(got, Got::Publish { .. })));
        answers += got.len();
        while world.shard.pop_resumed().is_some() {}
        while !world.shard.may_sleep() {
            world.turn(|_| {});
        }
    }
    assert!(world.shard.wants_input(id));
}
