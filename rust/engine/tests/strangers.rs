//! Connections without session: how many, and what they may keep.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{World, connect_bytes, device_grants};
use edgehub_engine::{CloseReason, Command, ConnId, ControlEvent, EngineConfig, Filters};
use edgehub_mqtt::{Connect, QoS, Will, encode_connect};
use edgehub_store::SyncPolicy;

const FREE: usize = 1000;
const SHARED: usize = 50_000;

fn world() -> World {
    World::with(SyncPolicy::None, |config: &mut EngineConfig| {
        config.connect_bytes_free = FREE;
        config.connect_bytes_max = SHARED;
        config.unauthenticated_max = 3;
    })
}

/// A CONNECT with a will of this size.
fn long_connect(bytes: usize) -> Vec<u8> {
    let message = vec![b'x'; bytes];
    let connect = Connect {
        clean_session: true,
        keep_alive_s: 60,
        client_id: "d1",
        will: Some(Will { topic: "t", message: &message, qos: QoS::AtMostOnce, retain: false }),
        user_name: Some("u"),
        password: Some(b"p"),
    };
    let mut out = Vec::new();
    encode_connect(&mut out, &connect).unwrap();
    out
}

/// Feeds as a driver does: as much as the shard wants. What was left over.
fn feed_wanted<'a>(world: &mut World, id: ConnId, mut bytes: &'a [u8]) -> &'a [u8] {
    while !bytes.is_empty() {
        let room = world.shard.input_bytes_max(id).min(bytes.len()).min(300);
        if room == 0 {
            break;
        }
        let (now, later) = bytes.split_at(room);
        world.feed(id, now);
        bytes = later;
    }
    bytes
}

fn connects(world: &mut World) -> Vec<ConnId> {
    let mut all = Vec::new();
    for event in world.events() {
        if let ControlEvent::Connect { conn, .. } = event {
            all.push(conn);
        }
    }
    all
}

fn accept(world: &mut World, conn: ConnId) {
    let (grants, filters) = (Box::new(device_grants("d1")), Filters::default());
    world.command(conn, Command::Accept { conn, grants, session_present: false, filters });
}

fn resumed(world: &mut World) -> Vec<ConnId> {
    std::iter::from_fn(|| world.shard.pop_resumed()).map(|(_, id)| id).collect()
}

#[test]
fn a_connect_that_fits_into_what_all_may_keep_never_waits() {
    let mut world = world();
    let bytes = connect_bytes("d1");
    assert!(bytes.len() < FREE);
    let long = long_connect(40_000);
    let greedy = world.open();
    let rest = feed_wanted(&mut world, greedy, &long[..39_000]);
    assert!(rest.is_empty(), "alone it has room");
    let hungry = world.open();
    assert!(!feed_wanted(&mut world, hungry, &long).is_empty());
    let modest = world.open();
    assert!(feed_wanted(&mut world, modest, &bytes).is_empty());
    assert_eq!(connects(&mut world), [modest]);
}

#[test]
fn long_connects_share_room_and_are_read_in_turn() {
    let mut world = world();
    let long = long_connect(30_000);
    let ids: Vec<ConnId> = (0..3).map(|_| world.open()).collect();
    let rests: Vec<&[u8]> = ids.iter().map(|id| feed_wanted(&mut world, *id, &long)).collect();
    assert_eq!(rests.iter().map(|rest| rest.is_empty()).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(rests[1].len(), long.len() - FREE);
    assert_eq!(connects(&mut world), [ids[0]]);
    assert_eq!(resumed(&mut world), []);
    // A verdict gives the room on; the other waits on.
    accept(&mut world, ids[0]);
    assert_eq!(resumed(&mut world), [ids[0], ids[1]]);
    assert!(feed_wanted(&mut world, ids[1], rests[1]).is_empty());
    assert_eq!(connects(&mut world), [ids[1]]);
    world.command(ids[1], Command::Refuse { conn: ids[1], code: 5 });
    assert_eq!(resumed(&mut world), [ids[2]]);
    assert!(feed_wanted(&mut world, ids[2], rests[2]).is_empty());
    assert_eq!(connects(&mut world), [ids[2]]);
}

#[test]
fn m_005_room_comes_back_from_those_that_time_out_or_leave() {
    let mut world = world();
    let long = long_connect(30_000);
    let ids: Vec<ConnId> = (0..4).map(|_| world.open()).collect();
    let timeout_ms = world.hub.config().connect_timeout_ms;
    for id in &ids {
        feed_wanted(&mut world, *id, &long[..20_000]);
    }
    resumed(&mut world);
    // One that waits in line goes, then the one that is read.
    world.turn(|shard| shard.eof(ids[1], CloseReason::Eof, ""));
    assert_eq!(resumed(&mut world), []);
    world.turn(|shard| shard.forget(ids[0]));
    assert_eq!(resumed(&mut world), [ids[2]]);
    world.advance(timeout_ms);
    assert_eq!(world.hub.unauthenticated(), 0);
    let late = world.open();
    assert!(feed_wanted(&mut world, late, &long).is_empty());
    assert_eq!(connects(&mut world), [late]);
}

#[test]
fn a_connect_longer_than_all_the_room_is_read_when_it_is_alone() {
    let mut world = world();
    let id = world.open();
    assert!(feed_wanted(&mut world, id, &long_connect(SHARED + 1)).is_empty());
    assert_eq!(connects(&mut world), [id]);
}

#[test]
fn connections_without_session_are_counted_until_their_verdict_or_end() {
    let mut world = world();
    let ids: Vec<ConnId> = (0..5).map(|_| world.open()).collect();
    let count = |world: &World| (world.hub.unauthenticated(), world.hub.may_accept());
    assert_eq!(count(&world), (5, false));
    for id in &ids[..2] {
        world.feed(*id, &connect_bytes("d1"));
    }
    assert_eq!(count(&world).0, 5, "nobody decided yet");
    accept(&mut world, ids[0]);
    world.command(ids[1], Command::Refuse { conn: ids[1], code: 5 });
    assert_eq!(count(&world), (3, false));
    world.turn(|shard| {
        shard.forget(ids[1]);
        shard.eof(ids[2], CloseReason::Eof, "");
        shard.forget(ids[2]);
        shard.forget(ids[3]);
    });
    assert_eq!(count(&world), (1, true));
    world.turn(|shard| shard.eof(ids[0], CloseReason::Eof, ""));
    world.feed(ids[4], b"not mqtt");
    assert_eq!(count(&world), (0, true));
}

#[test]
fn silent_connections_make_room_sooner_when_there_are_too_many() {
    let mut world = world();
    let pressed_ms = world.hub.config().pressed_connect_timeout_ms;
    world.open();
    world.open();
    world.advance(pressed_ms);
    assert_eq!(world.hub.unauthenticated(), 2, "there is room: they have all their time");
    let waiting = world.open();
    world.feed(waiting, &connect_bytes("d"));
    assert!(!world.hub.may_accept());
    world.advance(pressed_ms - 1);
    assert_eq!(world.hub.unauthenticated(), 3);
    world.advance(1);
    assert_eq!(world.hub.unauthenticated(), 1, "whoever waits for its verdict is not silent");
}
