//! What a burst needed is given back when nobody needs it any more.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{World, puback_bytes, publish_bytes};
use edgehub_engine::{ConnId, EngineConfig, Waker};
use edgehub_pool::{BUFFER_BYTES, TRIM_STEP_MS};
use edgehub_store::SyncPolicy;

const DEVICES: usize = 60;
/// Steps after which an idle shard keeps nothing, whatever came before.
const STEPS_MAX: usize = 10;

#[derive(Default)]
struct Count(AtomicUsize);

impl Waker for Count {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn world(change: impl FnOnce(&mut EngineConfig)) -> (World, Vec<ConnId>, ConnId) {
    let mut world = World::with(SyncPolicy::None, change);
    world.routes(&[("in", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")"#)]);
    let devices = (0..DEVICES).map(|n| world.device(&format!("d{n}"))).collect();
    let module = world.module("m");
    world.received(module);
    (world, devices, module)
}

/// Every device sends a message in two parts; all are delivered and acknowledged.
fn burst(world: &mut World, devices: &[ConnId], module: ConnId) {
    let packets: Vec<_> = (0..devices.len())
        .map(|n| publish_bytes(&format!("devices/d{n}/messages/events/"), &[b'x'; 2000], 1))
        .collect();
    for part in [0..1000, 1000..packets[0].len().max(packets[packets.len() - 1].len())] {
        world.turn(|shard| {
            for (device, packet) in devices.iter().zip(&packets) {
                shard.feed(*device, &packet[part.start..part.end.min(packet.len())]);
            }
        });
    }
    while let Some((_, id)) = world.shard.pop_dirty() {
        let Some(out) = world.shard.out(id).map(|out| out.split_off(0)) else { continue };
        world.shard.out(id).unwrap().clear();
        world.shard.written(id);
        let ids = if id == module { common::ids(&common::parse(&out)) } else { Vec::new() };
        world.turn(|shard| ids.iter().for_each(|packet| shard.feed(module, &puback_bytes(*packet))));
    }
    assert_eq!(world.hub.store().stats().live_messages, 0, "everything was delivered and acknowledged");
}

/// Steps until nothing is kept.
fn steps_until_empty(world: &mut World) -> usize {
    let mut steps = 0;
    while world.shard.kept_bytes() > 0 {
        let before = world.shard.kept_bytes();
        world.advance(TRIM_STEP_MS);
        assert!(world.shard.kept_bytes() <= before);
        steps += 1;
        assert!(steps <= STEPS_MAX, "{} bytes are kept", world.shard.kept_bytes());
    }
    steps
}

#[test]
fn after_load_and_idle_nothing_is_kept() {
    let (mut world, devices, module) = world(|_| {});
    burst(&mut world, &devices, module);
    assert!(world.shard.kept_bytes() > DEVICES * BUFFER_BYTES / 2, "{}", world.shard.kept_bytes());
    assert!(steps_until_empty(&mut world) > 1, "it is given back in steps");
    assert_eq!(world.hub.reclaim().kept_bytes(), 0);
    // And the next burst works as the first.
    burst(&mut world, &devices, module);
    assert!(world.shard.kept_bytes() > 0);
    steps_until_empty(&mut world);
}

#[test]
fn a_shard_wakes_for_its_steps_and_then_no_more() {
    let (mut world, devices, module) = world(|_| {});
    burst(&mut world, &devices, module);
    while world.shard.kept_bytes() > 0 {
        let deadline = world.shard.deadline().expect("a step is due");
        assert!(deadline <= world.now().mono.plus_ms(TRIM_STEP_MS));
        world.advance(TRIM_STEP_MS);
    }
    let deadline = world.shard.deadline().expect("keep alive");
    assert!(deadline > world.now().mono.plus_ms(10 * TRIM_STEP_MS), "{deadline:?}");
}

#[test]
fn what_is_in_use_stays() {
    let (mut world, devices, module) = world(|_| {});
    for _ in 0..STEPS_MAX {
        burst(&mut world, &devices, module);
        world.clock.advance_ms(TRIM_STEP_MS);
    }
    assert!(world.shard.kept_bytes() > DEVICES * BUFFER_BYTES / 2, "{}", world.shard.kept_bytes());
}

#[test]
fn without_a_pool_only_the_batch_is_kept_and_that_goes_too() {
    let (mut world, devices, module) = world(|config| config.pool_bytes_max = 0);
    burst(&mut world, &devices, module);
    let batch_bytes = 2 * DEVICES * 2200;
    assert!(world.shard.kept_bytes() < 2 * batch_bytes, "{}", world.shard.kept_bytes());
    assert!(steps_until_empty(&mut world) <= 2);
}

#[test]
fn the_pool_keeps_no_more_than_its_limit() {
    let limit = 8 * BUFFER_BYTES;
    let (mut world, devices, module) = world(|config| config.pool_bytes_max = limit);
    let (mut without, others, other_module) = self::world(|config| config.pool_bytes_max = 0);
    burst(&mut world, &devices, module);
    burst(&mut without, &others, other_module);
    assert!(world.shard.kept_bytes() <= without.shard.kept_bytes() + limit);
}

#[test]
fn what_was_freed_is_told_and_counted() {
    let (mut world, devices, module) = world(|_| {});
    let count = Arc::new(Count::default());
    world.hub.reclaim().set_waker(count.clone());
    burst(&mut world, &devices, module);
    let kept = world.shard.kept_bytes();
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    let steps = steps_until_empty(&mut world);
    assert!(world.hub.reclaim().freed_bytes() >= kept as u64);
    let woken = count.0.load(Ordering::Relaxed);
    assert!((1..=steps).contains(&woken), "{woken} of {steps}");
}
