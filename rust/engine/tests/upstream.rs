//! Messages for the parent hub: nothing stays behind what expired or cannot be read.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::sync::Arc;

use common::{EPOCH, World};
use edgehub_engine::Outcome;
use edgehub_store::{Media, OverflowPolicy, Quota, StoreConfig, StoreError, SyncPolicy};
use edgehub_testkit::FaultyStorage;
use edgehub_types::{Storage, UnixMs};

const UP: &[(&str, &str)] = &[("up", "FROM /* INTO $upstream")];

/// Token, sender and number of messages of each batch.
fn take(world: &World) -> Result<Vec<(u64, String, usize)>, StoreError> {
    let batches = world.hub.upstream_take(10, 262_144, 10)?;
    Ok(batches.into_iter().map(|batch| (batch.token, batch.sender, batch.count)).collect())
}

/// Causes and numbers of what was lost on the way.
fn lost(world: &World) -> Vec<(&'static str, u64)> {
    world.hub.queue_losses().into_iter().map(|(_, _, cause, count)| (cause, count)).collect()
}

fn dropped(world: &World, reason: &str) -> u64 {
    let rows = world.hub.stats().dropped.snapshot();
    rows.iter().filter(|(labels, _)| labels[0] == reason).map(|(_, count)| count).sum()
}

fn publish(world: &mut World, device: &str, body: &[u8]) {
    let id = world.device(device);
    world.publish(id, &format!("devices/{device}/messages/events/"), body, 1);
}

#[test]
fn what_comes_behind_a_window_of_expired_messages_goes_at_once() {
    let mut world = World::with(SyncPolicy::None, |config| config.upstream_window_msgs = 2);
    world.routes(UP);
    publish(&mut world, "a", b"old");
    publish(&mut world, "b", b"old");
    assert_eq!(take(&world).unwrap().len(), 2);
    world.hub.upstream_link_down();
    world.clock.advance_ms(7_200_000);
    for _ in 0..3 {
        publish(&mut world, "a", b"new");
    }
    let batches = take(&world).unwrap();
    assert_eq!(batches.len(), 1, "{batches:?}");
    world.hub.upstream_settle(batches[0].0, Outcome::Delivered);
    let rest = take(&world).unwrap();
    world.hub.upstream_settle(rest[0].0, Outcome::Delivered);
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
    assert_eq!((lost(&world), dropped(&world, "ttl_expiry")), (vec![("expired", 2)], 2));
}

/// A board without a battery, or an administrator: messages keep the time they have left.
#[test]
fn a_step_of_the_wall_clock_makes_no_message_older_or_younger() {
    const YEAR_MS: u64 = 365 * 86_400_000;
    for wall in [EPOCH.0 + 56 * YEAR_MS, EPOCH.0 - 20 * YEAR_MS, 0] {
        let mut world = World::new();
        world.routes(UP);
        publish(&mut world, "a", b"before");
        world.clock.step_unix(UnixMs(wall));
        publish(&mut world, "b", b"after");
        let leased = take(&world).unwrap();
        assert_eq!(leased.len(), 2, "wall clock at {wall}");
        world.hub.upstream_link_down();
        world.clock.advance_ms(7_199_000);
        assert_eq!(take(&world).unwrap().len(), 2);
        world.hub.upstream_link_down();
        world.clock.advance_ms(1_000);
        assert_eq!(take(&world).unwrap().len(), 0);
        assert_eq!(dropped(&world, "ttl_expiry"), 2);
    }
}

#[test]
fn a_route_that_left_and_came_back_with_a_full_window_goes_on() {
    let mut world = World::with(SyncPolicy::None, |config| config.upstream_window_msgs = 2);
    world.routes(UP);
    publish(&mut world, "a", b"1");
    publish(&mut world, "b", b"1");
    assert_eq!(take(&world).unwrap().len(), 2);
    world.hub.upstream_link_down();
    world.routes(&[]);
    assert_eq!(take(&world).unwrap().len(), 0);
    world.routes(UP);
    publish(&mut world, "c", b"2");
    let batches = take(&world).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.1.as_str()).collect::<Vec<_>>(), ["c"]);
}

/// A world whose store reads every message from a disk that a test can damage.
fn world_on(storage: &Arc<FaultyStorage>) -> World {
    let store = StoreConfig {
        sync: SyncPolicy::None,
        background_thread: false,
        tail_cache_bytes: 0,
        ..StoreConfig::small()
    };
    World::with_store(Media::Disk(storage.clone()), store, |_| {})
}

#[test]
fn a_message_that_rots_while_it_waits_is_lost_and_counted() {
    let storage = Arc::new(FaultyStorage::new());
    let mut world = world_on(&storage);
    world.routes(UP);
    for body in ["1", "rotten", "3"] {
        publish(&mut world, "a", body.as_bytes());
    }
    // All are leased, none is read again for a batch yet.
    assert_eq!(world.hub.upstream_take(10, 262_144, 0).unwrap(), []);
    let name = storage.list().unwrap().into_iter().find(|name| name.starts_with("journal-")).unwrap();
    let mut content = storage.content(&name).unwrap();
    let at = content.windows(6).position(|bytes| bytes == b"rotten").unwrap();
    content[at] ^= 1;
    storage.set_content(&name, &content);
    let batches = take(&world).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.2).collect::<Vec<_>>(), [2]);
    world.hub.upstream_settle(batches[0].0, Outcome::Delivered);
    assert_eq!(world.hub.queue_lengths()[0].2, 0);
    assert_eq!((lost(&world), dropped(&world, "damaged")), (vec![("damaged", 1)], 1));
}

#[test]
fn a_message_that_cannot_be_read_stops_its_sender_alone_and_loses_nothing() {
    let storage = Arc::new(FaultyStorage::new());
    let mut world = world_on(&storage);
    world.routes(UP);
    for (device, body) in [("a", "1"), ("a", "unreadable"), ("a", "3"), ("b", "1")] {
        publish(&mut world, device, body.as_bytes());
    }
    // All are leased, none is read again for a batch yet.
    assert_eq!(world.hub.upstream_take(10, 262_144, 0).unwrap(), []);
    let name = storage.list().unwrap().into_iter().find(|name| name.starts_with("journal-")).unwrap();
    let content = storage.content(&name).unwrap();
    let at = content.windows(10).position(|bytes| bytes == b"unreadable").unwrap() as u64;
    storage.set_unreadable(&name, at..at + 1);
    for _ in 0..2 {
        let batches = take(&world).unwrap();
        let got: Vec<_> = batches.iter().map(|(_, sender, count)| (sender.as_str(), *count)).collect();
        assert_eq!(got, [("a", 1), ("b", 1)]);
        world.hub.upstream_link_down();
    }
    for (token, ..) in take(&world).unwrap() {
        world.hub.upstream_settle(token, Outcome::Delivered);
    }
    assert!(matches!(take(&world), Err(StoreError::Io { .. })));
    publish(&mut world, "c", b"1");
    let batches = take(&world).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.1.as_str()).collect::<Vec<_>>(), ["c"]);
    world.hub.upstream_settle(batches[0].0, Outcome::Delivered);
    assert_eq!(world.hub.queue_lengths()[0].2, 2, "the unreadable one and the one behind it");
}

/// The store cannot drop what is leased, so an outage must not keep a window of messages from it.
#[test]
fn where_the_store_may_drop_messages_a_lost_link_gives_them_back() {
    let mut world = World::with(SyncPolicy::None, |_| {});
    let quota = Quota { bytes_max: 1 << 20, policy: OverflowPolicy::DropOldest };
    world.hub.store().set_quota(Some(quota));
    world.routes(UP);
    for body in ["1", "2", "3"] {
        publish(&mut world, "a", body.as_bytes());
    }
    publish(&mut world, "b", b"1");
    let before = take(&world).unwrap();
    assert_eq!(before.len(), 2);
    assert!(!world.hub.store().queues()[0].has_ready());
    world.hub.upstream_link_down();
    assert!(world.hub.store().queues()[0].has_ready());
    world.hub.upstream_settle(before[0].0, Outcome::Delivered);
    assert_eq!(world.hub.queue_lengths()[0].2, 4, "too late");
    let after = take(&world).unwrap();
    let got: Vec<_> = after.iter().map(|(_, sender, count)| (sender.as_str(), *count)).collect();
    assert_eq!(got, [("a", 3), ("b", 1)]);
    for (token, ..) in after {
        world.hub.upstream_settle(token, Outcome::Delivered);
    }
    assert_eq!((world.hub.queue_lengths()[0].2, take(&world).unwrap().len()), (0, 0));
}
