//! Two connections of one module on two shards, for as long as the older one is not closed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{EDGE, EPOCH, World, bodies, connect_bytes, module_grants, packet_id};
use edgehub_engine::{Command, ConnId, EngineConfig, Filters, Hub, Shard, Waker};
use edgehub_mqtt::{QoS, encode_subscribe};
use edgehub_router::RouteDecl;
use edgehub_store::{Media, Store, StoreConfig, SyncPolicy};
use edgehub_testkit::VirtualClock;

const TO_M: &str = r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#;
const FILTER: &str = "devices/edge1/modules/m/inputs/#";
const TOPIC: &str = "devices/d1/messages/events/";

/// A hub of two shards: that of the world, and the other one, for which the world can be turned round.
struct Pair {
    world: World,
    other: Shard,
}

impl Pair {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::at(EPOCH));
        let store = StoreConfig { sync: SyncPolicy::None, background_thread: false, ..StoreConfig::small() };
        let (store, _) = Store::open(Media::Memory, store, clock.clone()).unwrap();
        let config = EngineConfig { edge_device_id: EDGE.to_owned(), ..EngineConfig::default() };
        let hub = Hub::new(config, store, 2);
        let (shard, other) = (Shard::new(hub.clone(), 0), Shard::new(hub.clone(), 1));
        let mut pair = Self { world: World::from_parts(clock, hub, shard), other };
        pair.route();
        pair
    }

    fn route(&mut self) {
        self.world.hub.set_routes(&[RouteDecl::new("r", TO_M)], 7200).unwrap();
        for _ in 0..2 {
            self.world.turn(|_| {});
            self.swap();
        }
    }

    fn swap(&mut self) {
        std::mem::swap(&mut self.world.shard, &mut self.other);
    }

    /// On the other shard: a connection that waits for its verdict.
    fn newer(&mut self) -> ConnId {
        self.swap();
        let id = self.world.open();
        self.world.feed(id, &connect_bytes("edge1/m"));
        self.world.events();
        self.swap();
        id
    }
}

fn filters() -> Filters {
    Filters { added: vec![(FILTER.to_owned(), 1, 0)], inputs_active: true }
}

#[test]
fn an_older_connection_that_subscribes_late_leaves_the_messages_to_the_newer_one() {
    let mut pair = Pair::new();
    let old = pair.world.client(module_grants("m"));
    let mut bytes = Vec::new();
    encode_subscribe(&mut bytes, packet_id(9), &[(FILTER, QoS::AtLeastOnce)]).unwrap();
    pair.world.feed(old, &bytes);
    let new = pair.newer();
    let (hub, grants) = (pair.world.hub.clone(), Box::new(module_grants("m")));
    hub.command(old, Command::SubAck { conn: old, packet_id: 9, codes: vec![1], filters: filters() });
    hub.command(new, Command::Accept { conn: new, grants, session_present: true, filters: filters() });
    hub.command(old, Command::Close { conn: old, reason: "taken over".to_owned() });
    // The newer one's shard is faster, although its request was made later.
    pair.swap();
    pair.world.turn(|_| {});
    pair.swap();
    pair.world.turn(|_| {});
    let device = pair.world.device("d1");
    pair.world.publish(device, TOPIC, b"x", 1);
    pair.swap();
    pair.world.turn(|_| {});
    assert_eq!(bodies(&pair.world.received(new)), ["x"]);
}

#[test]
fn a_change_of_routes_gives_nothing_back_to_a_connection_that_was_taken_over() {
    let mut pair = Pair::new();
    pair.world.routes(&[]);
    let old = pair.world.module("m");
    let new = pair.newer();
    let grants = Box::new(module_grants("m"));
    pair.swap();
    pair.world.command(new, Command::Accept { conn: new, grants, session_present: true, filters: filters() });
    // The older one's shard comes last.
    pair.route();
    pair.swap();
    let device = pair.world.device("d1");
    pair.world.publish(device, TOPIC, b"x", 1);
    pair.world.received(old);
    pair.world.command(old, Command::Close { conn: old, reason: "taken over".to_owned() });
    pair.swap();
    pair.world.turn(|_| {});
    assert_eq!(bodies(&pair.world.received(new)), ["x"]);
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Waker for Wakes {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn requests_that_are_sent_together_wake_each_shard_once_and_keep_their_order() {
    let mut pair = Pair::new();
    let old = pair.world.client(module_grants("m"));
    let new = pair.newer();
    let hub = pair.world.hub.clone();
    let wakes = [0, 1].map(|index| {
        let wakes = Arc::new(Wakes::default());
        let mailbox = hub.mailbox(index).unwrap();
        mailbox.set_waker(wakes.clone());
        assert!(mailbox.may_sleep());
        wakes
    });
    let close = |conn, reason: &str| (conn, Command::Close { conn, reason: reason.to_owned() });
    let grants = Box::new(module_grants("m"));
    let accept = Command::Accept { conn: new, grants, session_present: false, filters: filters() };
    hub.commands(vec![close(old, "first"), (new, accept), close(old, "second"), close(new, "third")]);
    assert_eq!(wakes.map(|wakes| wakes.0.load(Ordering::SeqCst)), [1, 1]);
    for (conn, reason) in [(old, "first"), (new, "third")] {
        pair.world.turn(|_| {});
        let closed = format!("{:?}", pair.world.events());
        assert!(closed.contains(reason) && !closed.contains("second"), "{conn:?}: {closed}");
        pair.swap();
    }
}
