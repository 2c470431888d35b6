//! What the control plane publishes to one client: every token ends exactly once, in the order of sending.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::sync::atomic::Ordering;

use common::{EDGE, Got, World, bodies, device_grants, ids, puback_bytes};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent, Filters, SendOutcome};

const TOPIC: &str = "devices/d1/messages/devicebound/x=1";
const FILTER: &str = "devices/d1/messages/devicebound/#";
const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
/// Messages with a token in flight to one client.
const WINDOW: u64 = 64;

/// A device with one subscription of this quality of service and time.
fn subscriber(world: &mut World, qos: u8, created_ms: u64) -> ConnId {
    let id = world.device("d1");
    let filters = Filters { added: vec![(FILTER.to_owned(), qos, created_ms)], inputs_active: false };
    world.command(id, Command::SubAck { conn: id, packet_id: 1, codes: vec![qos], filters });
    world.received(id);
    id
}

fn send(conn: ConnId, token: u64, qos: u8) -> Command {
    let payload = token.to_string().into_bytes();
    Command::Send { conn, topic: TOPIC.to_owned(), payload, qos, token: Some(token), created_ms: None }
}

fn outcomes(world: &mut World) -> Vec<(u64, SendOutcome)> {
    let mut all = Vec::new();
    for event in world.events() {
        if let ControlEvent::SendDone { token, outcome, .. } = event {
            all.push((token, outcome));
        }
    }
    all
}

#[test]
fn a_token_ends_with_the_acknowledgement_whenever_that_comes() {
    let mut world = World::new();
    let id = subscriber(&mut world, 1, 0);
    for token in 1..=3 {
        world.command(id, send(id, token, 1));
    }
    let got = world.received(id);
    assert_eq!(bodies(&got), ["1", "2", "3"]);
    assert_eq!(outcomes(&mut world), []);
    // Long past every other time limit; the client stays alive with pings.
    for _ in 0..10 {
        world.advance(60_000);
        world.feed(id, &[0xc0, 0]);
    }
    let packets = ids(&got);
    for packet in [packets[1], packets[0], packets[2], packets[2]] {
        world.feed(id, &puback_bytes(packet));
    }
    let acked = [2, 1, 3].map(|token| (token, SendOutcome::Acked));
    assert_eq!(outcomes(&mut world), acked);
    assert_eq!(world.received(id), [const { Got::PingResp }; 10]);
}

#[test]
fn with_quality_of_service_zero_a_token_ends_at_once() {
    let mut world = World::new();
    let (id, low) = (subscriber(&mut world, 1, 0), world.device("d2"));
    world.command(id, send(id, 1, 0));
    let filters = Filters { added: vec![(FILTER.to_owned(), 0, 0)], inputs_active: false };
    world.command(low, Command::SubAck { conn: low, packet_id: 1, codes: vec![0], filters });
    world.received(low);
    world.command(low, send(low, 2, 1));
    let sent = [1, 2].map(|token| (token, SendOutcome::Sent));
    assert_eq!(outcomes(&mut world), sent);
    for conn in [id, low] {
        assert!(matches!(&world.received(conn)[..], [Got::Publish { qos: 0, id: None, .. }]));
    }
}

#[test]
fn t_014_m_054_without_a_matching_filter_nothing_is_sent_and_that_is_told() {
    let mut world = World::new();
    let id = world.device("d1");
    world.command(id, send(id, 7, 1));
    assert_eq!(outcomes(&mut world), [(7, SendOutcome::NoSubscription)]);
    assert_eq!(world.received(id), []);
}

#[test]
fn m_053_a_message_older_than_the_subscription_is_not_sent() {
    const SUBSCRIBED_MS: u64 = 5000;
    let mut world = World::new();
    let id = subscriber(&mut world, 1, SUBSCRIBED_MS);
    for (token, created_ms) in [(1, 0), (2, SUBSCRIBED_MS - 1), (3, SUBSCRIBED_MS), (4, u64::MAX)] {
        let (topic, payload) = (TOPIC.to_owned(), token.to_string().into_bytes());
        let created_ms = Some(created_ms);
        world.command(id, Command::Send { conn: id, topic, payload, qos: 0, token: Some(token), created_ms });
    }
    let (old, sent) = (SendOutcome::TooOld, SendOutcome::Sent);
    assert_eq!(outcomes(&mut world), [(1, old), (2, old), (3, sent), (4, sent)]);
    assert_eq!(bodies(&world.received(id)), ["3", "4"]);
}

#[test]
fn m_053_the_oldest_matching_filter_decides_and_a_session_brings_its_times_along() {
    let mut world = World::new();
    let id = world.open();
    world.feed(id, &common::connect_bytes("d1"));
    let added = vec![(FILTER.to_owned(), 0, 100), ("devices/#".to_owned(), 1, 9000)];
    let (grants, filters) = (Box::new(device_grants("d1")), Filters { added, inputs_active: false });
    world.command(id, Command::Accept { conn: id, grants, session_present: true, filters });
    world.received(id);
    world.events();
    let at = |created_ms| Command::Send {
        conn: id,
        topic: TOPIC.to_owned(),
        payload: Vec::new(),
        qos: 1,
        token: Some(created_ms),
        created_ms: Some(created_ms),
    };
    for created_ms in [99, 100] {
        world.command(id, at(created_ms));
    }
    assert_eq!(outcomes(&mut world), [(99, SendOutcome::TooOld), (100, SendOutcome::Sent)]);
    // Old enough for both: the better grant counts.
    world.command(id, at(9000));
    assert!(matches!(&world.received(id)[..], [_, Got::Publish { qos: 1, .. }]));
}

#[test]
fn beyond_the_window_sends_overflow_until_the_client_acknowledges() {
    let mut world = World::new();
    let id = subscriber(&mut world, 1, 0);
    for token in 1..=WINDOW + 2 {
        world.command(id, send(id, token, 1));
    }
    let got = world.received(id);
    assert_eq!(got.len() as u64, WINDOW);
    let overflow = [WINDOW + 1, WINDOW + 2].map(|token| (token, SendOutcome::Overflow));
    assert_eq!(outcomes(&mut world), overflow);
    // Those without are not bound by it, but by the ids there are.
    let untokened = || Command::Send {
        conn: id,
        topic: TOPIC.to_owned(),
        payload: Vec::new(),
        qos: 1,
        token: None,
        created_ms: None,
    };
    let window = u64::from(world.hub.config().delivery_window);
    for _ in 0..window + 5 {
        world.command(id, untokened());
    }
    assert_eq!(world.received(id).len() as u64, window);
    world.feed(id, &puback_bytes(ids(&got)[0]));
    world.command(id, send(id, 100, 1));
    assert_eq!(bodies(&world.received(id)), ["100"]);
}

#[test]
fn the_end_of_the_connection_ends_what_is_in_flight_and_what_comes_later() {
    let mut world = World::new();
    let id = subscriber(&mut world, 1, 0);
    for token in 1..=2 {
        world.command(id, send(id, token, 1));
    }
    world.turn(|shard| shard.eof(id, CloseReason::Eof, ""));
    world.command(id, send(id, 3, 1));
    world.turn(|shard| shard.forget(id));
    world.command(id, send(id, 4, 1));
    let events = world.events();
    let done = |token| ControlEvent::SendDone { conn: id, token, outcome: SendOutcome::Closed };
    assert_eq!(events[..2], [done(1), done(2)]);
    assert!(matches!(events[2], ControlEvent::Closed { .. }), "{events:?}");
    assert_eq!(events[3..], [done(3), done(4)]);
}

#[test]
fn a_publish_that_is_too_long_for_a_packet_leaves_nothing_in_flight() {
    let mut world = World::new();
    let id = subscriber(&mut world, 1, 0);
    let topic = format!("devices/d1/messages/devicebound/{}", "x".repeat(70_000));
    let (payload, token, created_ms) = (Vec::new(), Some(1), None);
    for _ in 0..=WINDOW {
        let (topic, payload) = (topic.clone(), payload.clone());
        world.command(id, Command::Send { conn: id, topic, payload, qos: 1, token, created_ms });
    }
    let all = outcomes(&mut world);
    assert_eq!(all.len() as u64, WINDOW + 1);
    assert!(all.iter().all(|(_, outcome)| *outcome == SendOutcome::NotEncodable), "{all:?}");
    assert_eq!(world.received(id), []);
}

/// The time limit of deliveries, their repetition and their end leave tokens alone.
#[test]
fn messages_of_queues_are_sent_again_and_tokens_are_not() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    let topic = format!("devices/{EDGE}/modules/m/inputs/x");
    let (payload, token, created_ms) = (b"token".to_vec(), Some(1), None);
    world.received(module);
    world.command(module, Command::Send { conn: module, topic, payload, qos: 1, token, created_ms });
    world.publish(device, "devices/d1/messages/events/", b"queued", 1);
    let first = world.received(module);
    assert_eq!(bodies(&first), ["token", "queued"]);
    // Not a deadline for ever: the thread may sleep until the message of the queue is late.
    assert!(world.shard.deadline().unwrap() > world.now().mono);
    for _ in 0..4 {
        world.advance(10_000);
        world.feed(module, &[0xc0, 0]);
    }
    assert_eq!(world.hub.stats().redeliveries.load(Ordering::Relaxed), 1);
    assert_eq!(bodies(&world.received(module)), ["queued"]);
    assert_eq!(outcomes(&mut world), []);
    world.feed(module, &puback_bytes(ids(&first)[0]));
    assert_eq!(outcomes(&mut world), [(1, SendOutcome::Acked)]);
}
