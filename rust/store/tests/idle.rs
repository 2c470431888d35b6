//! What a burst left behind in the store is given back when nobody needs it any more.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use common::{Rig, config};
use edgehub_store::{Batch, Commit, Queue, StoreConfig, SyncPolicy, Target};

/// Time of one step, and steps after which an idle store keeps nothing.
const STEP_MS: u64 = 2000;
const STEPS_MAX: usize = 7;

fn group() -> StoreConfig {
    StoreConfig { recycled_batches_max: 8, segment_bytes: 1 << 20, ..config(SyncPolicy::Group) }
}

/// Batches that are committed together, leased and acknowledged.
fn burst(rig: &mut Rig, queue: &Queue, batches: usize) {
    let targets = [Target { queue: queue.id(), expires_at: common::NEVER }];
    for _ in 0..batches {
        assert_eq!(rig.try_append(&targets, &[&[7_u8; 3000][..]; 4]).unwrap(), Commit::Pending);
    }
    rig.store.tick();
    let mut leased = Vec::new();
    queue
        .lease(rig.now(), usize::MAX, usize::MAX, |message| {
            leased.push((message.seq, message.epoch));
            true
        })
        .unwrap();
    assert_eq!(leased.len(), batches * 4);
    for (seq, epoch) in leased {
        queue.ack(seq, epoch);
    }
}

fn kept(rig: &Rig) -> u64 {
    rig.store.stats().kept_bytes
}

#[test]
fn after_load_and_idle_nothing_is_kept() {
    let mut rig = Rig::new(group());
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.pass(STEP_MS);
    for _ in 0..2 {
        burst(&mut rig, &queue, 12);
        rig.pass(STEP_MS);
        assert!(kept(&rig) > 4 * 4 * 3000, "{}", kept(&rig));
        let mut steps = 0;
        while kept(&rig) > 0 {
            let before = kept(&rig);
            rig.pass(STEP_MS);
            assert!(kept(&rig) <= before);
            steps += 1;
            assert!(steps <= STEPS_MAX, "{} bytes are kept", kept(&rig));
        }
        assert!(steps > 1, "it is given back in steps");
    }
}

#[test]
fn the_limits_of_what_is_kept_hold() {
    let limits = StoreConfig {
        recycled_batches_max: 2,
        recycled_batch_bytes_max: 8 << 10,
        scratches_max: 1,
        write_bytes: 16 << 10,
        ..group()
    };
    let mut rig = Rig::new(limits.clone());
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.pass(STEP_MS);
    burst(&mut rig, &queue, 30);
    rig.pass(STEP_MS);
    let buffers = limits.recycled_batches_max * limits.recycled_batch_bytes_max
        + 2 * limits.write_bytes
        + limits.scratches_max * (128 << 10);
    let lists = 32 << 10; // of thirty batches and their messages
    let buffers = buffers + limits.tail_cache_bytes;
    assert!(kept(&rig) as usize <= buffers + lists, "{}", kept(&rig));
}

#[test]
fn a_batch_gives_back_what_a_large_message_needed() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let targets = [Target { queue: queue.id(), expires_at: common::NEVER }];
    let mut batch = Batch::new();
    assert_eq!(batch.kept_bytes(), 0);
    batch.push(&targets, 100_000, |out| out.resize(out.len() + 100_000, 1)).unwrap();
    assert_eq!(rig.store.append(&mut batch, &rig.waiter, 1).unwrap(), Commit::Done);
    assert!(batch.kept_bytes() > 100_000);
    batch.shrink_to(10_000);
    assert!(batch.kept_bytes() < 12_000, "{}", batch.kept_bytes());
    rig.append(&[&queue], &[b"next"]);
}
