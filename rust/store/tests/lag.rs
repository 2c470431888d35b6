//! How much waits in a queue and since when.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use common::{NEVER, Rig, SPILL_ALL, START, config, drain, lease};
use edgehub_store::{LossCause, Queue, SpillConfig, StoreConfig, SyncPolicy};
use edgehub_types::UnixMs;

/// Of the records of the tests, which have one target: at least the payload, at most so much beside it.
const BESIDE: u64 = 64;
/// Times are noted once in so many milliseconds.
const STEP_MS: u64 = 1000;

fn assert_bytes(queue: &Queue, payload: usize, msgs: u64) {
    let least = payload as u64 * msgs;
    let (bytes, most) = (queue.waiting_bytes(), least + msgs * BESIDE);
    assert!((least..=most).contains(&bytes), "{bytes} for {msgs} of {payload} bytes");
    assert_eq!((queue.len(), bytes == 0), (msgs, msgs == 0));
}

fn assert_age(queue: &Queue, ms: u64) {
    let age = queue.oldest_ms().unwrap();
    assert!((ms..=ms + STEP_MS).contains(&age), "{age}, expected {ms}");
}

fn fill(rig: &mut Rig, queue: &Queue, count: usize) {
    for _ in 0..count.div_ceil(5) {
        rig.append(&[queue], &[&[7; 200][..]; 5]);
    }
}

#[test]
fn a_queue_counts_what_waits_and_how_long() {
    for in_memory in [false, true] {
        let mut rig = if in_memory {
            Rig::in_memory(config(SyncPolicy::None))
        } else {
            Rig::new(config(SyncPolicy::Group))
        };
        let queue = rig.store.open_queue("e", 0).unwrap();
        assert_eq!((queue.waiting_bytes(), queue.oldest_ms()), (0, None));
        for _ in 0..10 {
            rig.append(&[&queue], &[&[1; 300][..]]);
            rig.pass(5000);
        }
        assert_bytes(&queue, 300, 10);
        assert_age(&queue, 50_000);
        let got = lease(&queue, rig.now(), 4);
        assert_age(&queue, 50_000);
        // Out of order: the first one still waits.
        queue.ack(got[1].seq, got[1].epoch);
        assert_bytes(&queue, 300, 9);
        assert_age(&queue, 50_000);
        queue.ack_all(&[got[0].seq, got[2].seq], got[0].epoch);
        assert_bytes(&queue, 300, 7);
        assert_age(&queue, 35_000);
        queue.release_all();
        assert_eq!(drain(&queue, rig.now()).len(), 7);
        assert_eq!((queue.waiting_bytes(), queue.oldest_ms()), (0, None));
    }
}

#[test]
fn other_queues_do_not_show() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let (slow, fast) = (rig.store.open_queue("slow", 0).unwrap(), rig.store.open_queue("fast", 0).unwrap());
    for _ in 0..20 {
        rig.append(&[&slow, &fast], &[&[1; 100][..]]);
        rig.pass(2000);
        assert_age(&fast, 2000);
        drain(&fast, rig.now());
        assert_eq!((fast.waiting_bytes(), fast.oldest_ms()), (0, None));
    }
    assert_eq!(slow.len(), 20);
    assert_age(&slow, 40_000);
}

#[test]
fn what_is_dropped_leaves_the_count() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append_until(&[&queue], &[&[1; 100][..]; 3], UnixMs(START.0 + 10_000));
    rig.pass(20_000);
    rig.append(&[&queue], &[&[1; 100][..]; 2]);
    lease(&queue, rig.now(), 1);
    assert_eq!(queue.lost(LossCause::Expired), 3);
    assert_bytes(&queue, 100, 2);
    rig.pass(3000);
    assert_age(&queue, 3000);
    rig.store.remove_endpoint("e").unwrap();
    assert_eq!((queue.waiting_bytes(), queue.oldest_ms()), (0, None));
}

#[test]
fn a_restart_knows_both() {
    for sync in [SyncPolicy::None, SyncPolicy::Group] {
        let mut rig = Rig::new(config(sync));
        let queue = rig.store.open_queue("e", 0).unwrap();
        for _ in 0..10 {
            rig.append(&[&queue], &[&[1; 500][..]]);
            rig.pass(10_000);
        }
        let bytes = queue.waiting_bytes();
        rig.clock.advance_ms(1_000_000);
        let rig = rig.killed();
        let queue = rig.store.queues().remove(0);
        assert_eq!((queue.len(), queue.waiting_bytes()), (10, bytes));
        assert_age(&queue, 1_100_000);
    }
}

#[test]
fn a_step_of_the_wall_clock_does_not_show() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append_until(&[&queue], &[b"x"], NEVER);
    rig.pass(5000);
    rig.clock.step_unix(UnixMs(START.0 + 86_400_000));
    rig.pass(5000);
    assert_age(&queue, 10_000);
    rig.clock.step_unix(UnixMs(START.0 - 86_400_000));
    assert_age(&queue, 10_000);
}

/// A backlog of 500 messages of 200 bytes, twenty a second, almost all in files.
fn spilled() -> (Rig, Queue) {
    let spill = SpillConfig { after_segments: 1, ..SPILL_ALL };
    let mut rig = Rig::new(StoreConfig { spill, ..config(SyncPolicy::Group) });
    let queue = rig.store.open_queue("e", 0).unwrap();
    for _ in 0..25 {
        fill(&mut rig, &queue, 20);
        rig.pass(1000);
    }
    for _ in 0..30 {
        rig.pass(100);
    }
    assert!(rig.store.stats().spilled > 400, "{:?}", rig.store.stats());
    (rig, queue)
}

/// Blocks of files, of which the tests have some seconds in each, are as exact as the times get.
fn assert_age_of_spilled(queue: &Queue, ms: u64) {
    let age = queue.oldest_ms().unwrap();
    assert!((ms..=ms + 4000).contains(&age), "{age}, expected {ms}");
}

#[test]
fn backlog_in_files_counts_too() {
    let (rig, queue) = spilled();
    assert_bytes(&queue, 200, 500);
    assert_age_of_spilled(&queue, 28_000);
    let mut left = 500;
    while left > 0 {
        let got = lease(&queue, rig.now(), 20);
        queue.ack_all(&got.iter().map(|got| got.seq).collect::<Vec<_>>(), got[0].epoch);
        left -= got.len() as u64;
        assert_bytes(&queue, 200, left);
        if left > 0 {
            assert_age_of_spilled(&queue, 3000 + left / 20 * 1000);
        }
    }
    assert_eq!(queue.oldest_ms(), None);
}

#[test]
fn backlog_in_files_is_known_after_a_restart() {
    let (rig, queue) = spilled();
    let got = lease(&queue, rig.now(), 110);
    queue.ack_all(&got.iter().map(|got| got.seq).collect::<Vec<_>>(), got[0].epoch);
    rig.store.checkpoint_dirty().unwrap();
    let rig = rig.killed();
    let queue = rig.store.queues().remove(0);
    assert_bytes(&queue, 200, 390);
    // Before anything was fetched only the file as a whole tells: too long rather than too short.
    assert!((3000 + 19_000..=28_000).contains(&queue.oldest_ms().unwrap()), "{:?}", queue.oldest_ms());
    assert_eq!(drain(&queue, rig.now()).len(), 390);
    assert_eq!((queue.waiting_bytes(), queue.oldest_ms()), (0, None));
}
