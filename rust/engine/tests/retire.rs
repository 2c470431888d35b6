//! Connections whose time is over get the acknowledgements of what they published before they are closed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::{Got, World, bodies, ping, publish_bytes};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent};
use edgehub_store::{FileStorage, Media, SyncPolicy};

const TO_M: &[(&str, &str)] = &[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)];
const TOPIC: &str = "devices/d1/messages/events/";

/// Removed after the world that works in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A world whose commits wait for `Store::tick`, and its folder.
struct Site {
    world: World,
    _folder: Folder,
}

impl Site {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("edgehub-retire-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let media = Media::Disk(Arc::new(FileStorage::open(&folder).unwrap()));
        let mut world = World::on(media, SyncPolicy::Group, |_| {});
        world.routes(TO_M);
        Self { world, _folder: Folder(folder) }
    }

    fn retire(&mut self, conn: ConnId) {
        self.world.command(conn, Command::Retire { conn, reason: "over".to_owned() });
    }

    fn commit(&mut self) {
        self.world.hub.store().tick();
        self.world.turn(|_| {});
    }

    fn ends(&mut self) -> Vec<(CloseReason, String)> {
        let ends = self.world.events().into_iter().filter_map(|event| match event {
            ControlEvent::Closed { reason, detail, .. } => Some((reason, detail)),
            _ => None,
        });
        ends.collect()
    }
}

fn over() -> Vec<(CloseReason, String)> {
    vec![(CloseReason::Server, "over".to_owned())]
}

#[test]
fn what_it_published_is_acknowledged_and_nothing_after_it_is_read() {
    let mut site = Site::new("acks");
    let (device, other) = (site.world.device("d1"), site.world.device("d2"));
    site.world.publish(device, TOPIC, b"x", 1);
    site.retire(device);
    site.world.feed(device, &publish_bytes(TOPIC, b"late", 2));
    site.world.feed(device, &ping());
    assert_eq!(site.world.received(device), []);
    assert_eq!(site.ends(), []);
    assert!(!site.world.shard.wants_input(device));
    site.commit();
    assert_eq!(site.world.received(device), [Got::PubAck(1)]);
    assert!(site.world.shard.is_closing(device));
    assert_eq!(site.ends(), over());
    let module = site.world.module("m");
    assert_eq!(bodies(&site.world.received(module)), ["x"]);
    assert!(!site.world.shard.is_closing(other));
}

#[test]
fn without_anything_in_flight_it_is_closed_at_once() {
    let mut site = Site::new("idle");
    let device = site.world.device("d1");
    site.world.publish(device, TOPIC, b"x", 1);
    site.commit();
    site.retire(device);
    assert_eq!(site.ends(), over());
    assert_eq!(site.world.received(device), [Got::PubAck(1)]);
}

#[test]
fn connections_end_in_the_order_of_their_commits() {
    let mut site = Site::new("order");
    let (one, two) = (site.world.device("d1"), site.world.device("d2"));
    site.world.publish(one, TOPIC, b"1", 1);
    site.retire(one);
    site.world.publish(two, "devices/d2/messages/events/", b"2", 7);
    site.retire(two);
    site.commit();
    assert_eq!(site.ends().len(), 2);
    assert_eq!(site.world.received(one), [Got::PubAck(1)]);
    assert_eq!(site.world.received(two), [Got::PubAck(7)]);
}

#[test]
fn the_wait_ends_when_it_is_asked_for_again_much_later() {
    let mut site = Site::new("stuck");
    let device = site.world.device("d1");
    site.world.publish(device, TOPIC, b"x", 1);
    site.retire(device);
    site.world.advance(29_999);
    site.retire(device);
    assert_eq!(site.ends(), []);
    site.world.advance(1);
    site.retire(device);
    assert_eq!(site.ends(), over());
    assert_eq!(site.world.received(device), []);
    site.commit();
    assert_eq!(site.world.received(device), []);
}

#[test]
fn one_that_is_gone_meanwhile_ends_once() {
    let mut site = Site::new("gone");
    let device = site.world.device("d1");
    site.world.publish(device, TOPIC, b"x", 1);
    site.retire(device);
    site.world.turn(|shard| shard.eof(device, CloseReason::Eof, ""));
    assert_eq!(site.ends(), [(CloseReason::Eof, String::new())]);
    site.commit();
    site.retire(device);
    assert_eq!(site.ends(), []);
}
