//! The way of a message: stage, commit, acknowledge, deliver, redeliver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Got, World, bodies, device_grants, ids, puback_bytes, publish_bytes};
use edgehub_engine::{CloseReason, Command, ControlEvent, NoticeKind, Outcome};
use edgehub_store::{FileStorage, Media, SyncPolicy};
use proptest::prelude::*;

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const UP: &[(&str, &str)] = &[("up", "FROM /* INTO $upstream")];
const TOPIC: &str = "devices/d1/messages/events/";

fn dropped(world: &World, reason: &str) -> u64 {
    let rows = world.hub.stats().dropped.snapshot();
    rows.iter().filter(|(labels, _)| labels[0] == reason).map(|(_, count)| count).sum()
}

#[test]
fn a_message_is_acknowledged_and_delivered_with_its_sender() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    world.publish(device, "devices/d1/messages/events/a=1&%24.mid=7", b"body", 5);
    assert_eq!(world.received(device), [Got::PubAck(5)]);
    let got = world.received(module);
    let topic = "devices/edge1/modules/m/inputs/i/a=1&%24.mid=7&%24.cdid=d1";
    let (topic, payload, id) = (topic.to_owned(), b"body".to_vec(), Some(ids(&got)[0]));
    let want = Got::Publish { topic, payload, qos: 1, id, dup: false };
    assert_eq!(got, [want]);
    assert_eq!(world.hub.queue_lengths()[0].2, 1);
    world.feed(module, &puback_bytes(ids(&got)[0]));
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn module_output_carries_both_ids_and_routes_by_output() {
    let mut world = World::new();
    world.routes(&[(
        "o",
        r#"FROM /messages/modules/f/outputs/o1 INTO BrokeredEndpoint("/modules/m/inputs/i")"#,
    )]);
    let (filter, module) = (world.module("f"), world.module("m"));
    world.received(filter);
    world.received(module);
    let topic = |output: &str| format!("devices/edge1/modules/f/messages/events/%24.on={output}/");
    world.publish(filter, &topic("o1"), b"yes", 1);
    world.publish(filter, &topic("o2"), b"no", 2);
    assert_eq!(world.received(filter), [Got::PubAck(1), Got::PubAck(2)]);
    let got = world.received(module);
    assert_eq!(bodies(&got), ["yes"]);
    assert!(matches!(&got[0], Got::Publish { topic, .. } if topic.ends_with("%24.cdid=edge1&%24.cmid=f")));
    assert_eq!(dropped(&world, "no_route"), 1);
}

#[test]
fn t_021_without_a_consumer_messages_wait_and_come_in_order() {
    let mut world = World::new();
    world.routes(TO_M);
    let device = world.device("d1");
    for n in 1..=5_u16 {
        world.publish(device, TOPIC, n.to_string().as_bytes(), n);
    }
    assert_eq!(world.received(device).len(), 5);
    let module = world.module("m");
    assert_eq!(bodies(&world.received(module)), ["1", "2", "3", "4", "5"]);
}

#[test]
fn what_was_not_acknowledged_goes_to_the_next_connection() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, old) = (world.device("d1"), world.module("m"));
    world.received(old);
    for n in 1..=3_u16 {
        world.publish(device, TOPIC, n.to_string().as_bytes(), n);
    }
    let first = world.received(old);
    world.feed(old, &puback_bytes(ids(&first)[0]));
    // The newer connection of the same module takes over while the older one still exists.
    let new = world.module("m");
    assert_eq!(bodies(&world.received(new)), ["2", "3"]);
    world.feed(old, &puback_bytes(ids(&first)[1]));
    assert_eq!(world.hub.queue_lengths()[0].2, 2, "an acknowledgement of the old one counts no more");
    world.command(old, Command::Close { conn: old, reason: "taken over".to_owned() });
    world.publish(device, TOPIC, b"4", 4);
    assert_eq!(bodies(&world.received(new)), ["4"]);
}

#[test]
fn a_client_that_does_not_acknowledge_gets_everything_again_in_order() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    for n in 1..=2_u16 {
        world.publish(device, TOPIC, n.to_string().as_bytes(), n);
    }
    let first = world.received(module);
    world.advance(30_000);
    assert_eq!(world.received(module), []);
    world.advance(1_000);
    let again = world.received(module);
    assert_eq!(bodies(&again), ["1", "2"]);
    for id in ids(&first) {
        world.feed(module, &puback_bytes(id)); // late answers to the first attempt
    }
    for id in ids(&again) {
        world.feed(module, &puback_bytes(id));
    }
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn m_032_the_window_bounds_what_is_in_flight() {
    let mut world = World::with(SyncPolicy::None, |config| config.delivery_window = 2);
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    for n in 1..=5_u16 {
        world.publish(device, TOPIC, n.to_string().as_bytes(), n);
    }
    let mut all = Vec::new();
    for _ in 0..5 {
        let got = world.received(module);
        assert!(got.len() <= 2, "{got:?}");
        assert!(got.len() < 2 || ids(&got)[0] != ids(&got)[1], "{got:?}");
        all.extend(bodies(&got));
        for id in ids(&got) {
            world.feed(module, &puback_bytes(id));
        }
    }
    assert_eq!(all, ["1", "2", "3", "4", "5"]);
}

#[test]
fn m_026_under_group_commit_nothing_is_acknowledged_before_the_sync() {
    let folder = std::env::temp_dir().join(format!("edgehub-engine-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let media = Media::Disk(Arc::new(FileStorage::open(&folder).unwrap()));
    let mut world = World::on(media, SyncPolicy::Group, |_| {});
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    world.publish(device, TOPIC, b"x", 1);
    // A publish that no route takes must not overtake the acknowledgement that waits.
    world.publish(device, "nothing/known", b"", 2);
    assert_eq!(world.received(device), []);
    assert_eq!(world.received(module), []);
    world.hub.store().tick();
    world.turn(|_| {});
    assert_eq!(world.received(device), [Got::PubAck(1), Got::PubAck(2)]);
    assert_eq!(bodies(&world.received(module)), ["x"]);
    drop(world);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn m_035_messages_that_are_not_the_clients_to_send_are_dropped_acknowledged_and_told_once() {
    let mut world = World::new();
    world.routes(UP);
    let device = world.device("d1");
    for n in 1..=3 {
        world.publish(device, "devices/other/messages/events/", b"x", n);
    }
    world.publish(device, "devices/d1/messages/events/a=1&", b"x", 4);
    assert_eq!(world.received(device).len(), 4);
    let kinds: Vec<_> = world
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ControlEvent::Notice { kind, .. } => Some(kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [NoticeKind::ForeignTopic, NoticeKind::BadProperties]);
    assert_eq!((dropped(&world, "foreign_topic"), dropped(&world, "bad_properties")), (3, 1));
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn a_message_above_the_limit_is_dropped_and_acknowledged() {
    let mut world = World::with(SyncPolicy::None, |config| config.message_bytes_max = 1000);
    world.routes(UP);
    let device = world.device("d1");
    world.publish(device, TOPIC, &[b'x'; 990], 1);
    world.publish(device, TOPIC, &[b'x'; 600], 2);
    assert_eq!(world.received(device), [Got::PubAck(1), Got::PubAck(2)]);
    assert_eq!(world.hub.queue_lengths()[0].2, 1);
    assert_eq!(dropped(&world, "message_too_large"), 1);
}

#[test]
fn expired_messages_are_never_delivered() {
    let mut world = World::new();
    world.routes(TO_M);
    let device = world.device("d1");
    world.publish(device, TOPIC, b"old", 1);
    world.clock.advance_ms(7_200_000 - 1000);
    world.turn(|shard| shard.feed(device, &publish_bytes(TOPIC, b"young", 2)));
    world.clock.advance_ms(2000);
    let module = world.module("m");
    assert_eq!(bodies(&world.received(module)), ["young"]);
}

#[test]
fn an_endpoint_without_route_loses_its_messages_and_says_so() {
    let mut world = World::new();
    world.routes(TO_M);
    let device = world.device("d1");
    world.publish(device, TOPIC, b"x", 1);
    world.routes(UP);
    assert_eq!(dropped(&world, "endpoint_removed"), 1);
    let module = world.module("m");
    assert_eq!(bodies(&world.received(module)), Vec::<String>::new());
    // Routes that come back find the module that waits.
    world.routes(TO_M);
    world.publish(device, TOPIC, b"y", 2);
    assert_eq!(bodies(&world.received(module)), ["y"]);
}

fn take(world: &World, senders_max: usize) -> Vec<(u64, String, usize)> {
    let batches = world.hub.upstream_take(10, 262_144, senders_max).unwrap();
    batches.into_iter().map(|batch| (batch.token, batch.sender, batch.count)).collect()
}

#[test]
fn upstream_gets_one_batch_per_sender_and_the_rest_after_it() {
    let mut world = World::new();
    world.routes(UP);
    let (a, b) = (world.device("a"), world.device("b"));
    for n in 1..=12_u16 {
        world.publish(a, "devices/a/messages/events/", n.to_string().as_bytes(), n);
    }
    world.publish(b, "devices/b/messages/events/", b"1", 1);
    assert!(world.events().contains(&ControlEvent::UpstreamReady));
    let batches = take(&world, 10);
    let names: Vec<_> = batches.iter().map(|(_, sender, count)| (sender.as_str(), *count)).collect();
    assert_eq!(names, [("a", 10), ("b", 1)]);
    assert_eq!(take(&world, 10), []);
    world.hub.upstream_settle(batches[0].0, Outcome::Delivered);
    let rest = take(&world, 10);
    assert_eq!((rest[0].1.as_str(), rest[0].2), ("a", 2));
    world.hub.upstream_settle(rest[0].0, Outcome::Delivered);
    world.hub.upstream_settle(batches[1].0, Outcome::Delivered);
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
    let sent: u64 = world.hub.stats().sent.snapshot().iter().map(|(_, count)| count).sum();
    assert_eq!(sent, 13);
}

#[test]
fn t_019_a_lost_link_brings_everything_back_in_order() {
    let mut world = World::new();
    world.routes(UP);
    let a = world.device("a");
    for n in 1..=3_u16 {
        world.publish(a, "devices/a/messages/events/", n.to_string().as_bytes(), n);
    }
    let payload = |world: &World| {
        let batches = world.hub.upstream_take(10, 262_144, 10).unwrap();
        batches.into_iter().next().map(|batch| (batch.token, batch.payload))
    };
    let (token, first) = payload(&world).unwrap();
    world.publish(a, "devices/a/messages/events/", b"4", 4);
    world.hub.upstream_link_down();
    world.hub.upstream_settle(token, Outcome::Delivered); // too late: ignored
    let (_, again) = payload(&world).unwrap();
    assert!(again.starts_with(&first), "the same three messages, then the fourth");
    assert_eq!(world.hub.queue_lengths()[0].2, 4);
}

#[test]
fn a_rejected_batch_loses_only_the_message_that_is_bad() {
    let mut world = World::new();
    world.routes(UP);
    let a = world.device("a");
    for n in 1..=3_u16 {
        world.publish(a, "devices/a/messages/events/", n.to_string().as_bytes(), n);
    }
    let batch = take(&world, 10);
    assert_eq!(batch[0].2, 3);
    world.hub.upstream_settle(batch[0].0, Outcome::Rejected);
    for outcome in [Outcome::Delivered, Outcome::Rejected, Outcome::Delivered] {
        let single = take(&world, 10);
        assert_eq!(single[0].2, 1);
        world.hub.upstream_settle(single[0].0, outcome);
    }
    assert_eq!(take(&world, 10), []);
    assert_eq!(dropped(&world, "rejected_upstream"), 1);
    let endpoint = world.hub.queue_lengths()[0].0.clone();
    assert_eq!(world.hub.queue_losses(), [(endpoint, 2_000_000_000, "rejected", 1)]);
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
}

#[test]
fn an_end_frees_the_slot_and_the_queues() {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.device("d1"), world.module("m"));
    world.received(module);
    world.turn(|shard| {
        shard.eof(module, CloseReason::Reset, "");
        shard.forget(module);
    });
    assert_eq!(world.shard.len(), 1);
    world.publish(device, TOPIC, b"x", 1);
    let module = world.module("m");
    assert_eq!(bodies(&world.received(module)), ["x"]);
}

fn conversation(chunks: &[usize]) -> (Vec<Got>, Vec<Got>) {
    let mut world = World::new();
    world.routes(TO_M);
    let (device, module) = (world.client(device_grants("d1")), world.module("m"));
    world.received(module);
    let mut bytes = Vec::new();
    for n in 1..=4_u16 {
        bytes.extend(publish_bytes("devices/d1/messages/events/k=%20v", &vec![b'a'; n as usize * 7], n));
    }
    let mut rest = bytes.as_slice();
    for chunk in chunks {
        let (now, later) = rest.split_at(chunk % (rest.len() + 1));
        world.feed(device, now);
        rest = later;
    }
    world.feed(device, rest);
    (world.received(device), world.received(module))
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_conversation_is_the_same(cuts in prop::collection::vec(0_usize..90, 0..12)) {
        prop_assert_eq!(conversation(&cuts), conversation(&[]));
    }
}
