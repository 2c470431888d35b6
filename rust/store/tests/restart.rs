//! What is there again after the end of the process, however it ended.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::{NEVER, Rig, config, drain, lease, payloads, seqs};
use edgehub_store::{FileStorage, Media, Store, StoreError, SyncPolicy, Target};

const POLICIES: [SyncPolicy; 3] =
    [SyncPolicy::None, SyncPolicy::Interval { interval_ms: 50 }, SyncPolicy::Group];

fn queue(rig: &Rig, endpoint: &str) -> edgehub_store::Queue {
    rig.store.queues().into_iter().find(|queue| queue.endpoint() == endpoint).unwrap()
}

#[test]
fn everything_not_acknowledged_is_back_in_order() {
    for policy in POLICIES {
        let mut rig = Rig::new(config(policy));
        let (a, b) = (rig.store.open_queue("a", 1).unwrap(), rig.store.open_queue("b", 2).unwrap());
        for n in 0..40_u8 {
            rig.append(&[&a, &b], &[&[n; 300]]);
        }
        for message in lease(&a, rig.now(), 25) {
            a.ack(message.seq, message.epoch);
        }
        rig.pass(100);
        let mut rig = rig.killed();
        assert_eq!((rig.report.entries, rig.report.queues), (55, 2));
        assert_eq!((rig.report.torn_bytes, rig.report.quarantined), (0, 0));
        let (a, b) = (queue(&rig, "a"), queue(&rig, "b"));
        assert_eq!((a.priority(), b.priority()), (1, 2));
        rig.append(&[&a], &[b"new"]);
        let got = drain(&a, rig.now());
        assert_eq!(seqs(&got), (25..41).collect::<Vec<_>>());
        assert_eq!(got[0].payload, [25; 300]);
        assert_eq!(drain(&b, rig.now()).len(), 40);
    }
}

#[test]
fn what_was_delivered_but_not_checkpointed_comes_again_in_order() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue_a = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&queue_a], &[b"x", b"y", b"z"]);
    rig.pass(200);
    let got = lease(&queue_a, rig.now(), 3);
    queue_a.ack(0, got[0].epoch);
    queue_a.ack(2, got[0].epoch);
    rig.pass(100);
    let rig = rig.killed();
    let got = drain(&queue(&rig, "a"), rig.now());
    assert_eq!(payloads(&got), [b"y", b"z"]);
}

#[test]
fn numbers_go_on_when_the_queue_is_empty() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let a = rig.store.open_queue("a", 0).unwrap();
    for _ in 0..42 {
        rig.append(&[&a], &[&[0; 400]]);
    }
    drain(&a, rig.now());
    for _ in 0..20 {
        rig.pass(100);
    }
    assert_eq!(rig.store.stats().segments, 1);
    let mut rig = rig.killed().killed().killed();
    let a = queue(&rig, "a");
    rig.append(&[&a], &[b"next"]);
    assert_eq!(seqs(&drain(&a, rig.now())), [42]);
}

#[test]
fn numbers_go_on_when_the_newest_messages_are_gone_before_the_oldest() {
    for policy in POLICIES {
        let mut rig = Rig::new(config(policy));
        let (a, other) = (rig.store.open_queue("a", 0).unwrap(), rig.store.open_queue("other", 0).unwrap());
        for _ in 0..7 {
            rig.append(&[&a], &[&[1; 2500]]);
        }
        for message in lease(&a, rig.now(), 7).iter().skip(1) {
            a.ack(message.seq, message.epoch);
        }
        for _ in 0..3 {
            rig.append(&[&other], &[&[2; 2500]]);
        }
        for _ in 0..40 {
            rig.pass(100);
        }
        assert!(rig.store.stats().unlinked >= 2, "segments in between are gone");
        let mut rig = rig.killed();
        assert_eq!(rig.report.quarantined, 0, "and nobody takes that for damage");
        assert_eq!(rig.report.lost, 0);
        let a = queue(&rig, "a");
        rig.append(&[&a], &[b"next"]);
        assert_eq!(seqs(&drain(&a, rig.now())), [0, 7]);
        assert_eq!(drain(&queue(&rig, "other"), rig.now()).len(), 3);
    }
}

#[test]
fn a_removed_endpoint_stays_removed_and_keeps_its_numbers() {
    for policy in POLICIES {
        let mut rig = Rig::new(config(policy));
        let a = rig.store.open_queue("a", 0).unwrap();
        rig.append(&[&a], &[b"x", b"y"]);
        rig.store.remove_endpoint("a").unwrap();
        rig.append(&[&a], &[b"late"]);
        let mut rig = rig.killed();
        assert!(rig.store.queues().is_empty());
        let a = rig.store.open_queue("a", 0).unwrap();
        rig.append(&[&a], &[b"new"]);
        let rig = rig.killed();
        let got = drain(&queue(&rig, "a"), rig.now());
        assert_eq!((seqs(&got), payloads(&got)), (vec![3], vec![&b"new"[..]]));
    }
}

#[test]
fn a_removal_is_known_also_when_the_segment_that_says_so_is_gone() {
    for policy in POLICIES {
        let mut rig = Rig::new(config(policy));
        let (a, b) = (rig.store.open_queue("a", 0).unwrap(), rig.store.open_queue("b", 0).unwrap());
        rig.append(&[&a], &[b"x"]);
        rig.store.remove_endpoint("a").unwrap();
        for _ in 0..6 {
            rig.append(&[&b], &[&[1; 2500]]);
            drain(&b, rig.now());
        }
        for _ in 0..40 {
            rig.pass(1000);
        }
        assert_eq!(rig.store.stats().segments, 1);
        let rig = rig.killed();
        assert_eq!(rig.store.queues().len(), 1);
        let mut rig = rig.killed();
        let a = rig.store.open_queue("a", 0).unwrap();
        rig.append(&[&a], &[b"y"]);
        assert_eq!(seqs(&drain(&a, rig.now())), [1]);
    }
}

#[test]
fn closing_commits_what_gathered_and_writes_the_checkpoints() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let a = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&a], &[b"x", b"y"]);
    let got = lease(&a, rig.now(), 1);
    a.ack(0, got[0].epoch);
    let target = [Target { queue: a.id(), expires_at: NEVER }];
    let _ = rig.try_append(&target, &[b"z"]).unwrap();
    rig.store.close().unwrap();
    assert_eq!(*rig.tickets.committed.lock(), [1, 2]);
    assert_eq!(rig.disk.unsynced_ops(), 0);
    assert!(matches!(rig.try_append(&target, &[b"no"]), Err(StoreError::Closed)));
    assert!(matches!(rig.store.open_queue("b", 0), Err(StoreError::Closed)));
    rig.store.close().unwrap();
    let rig = rig.killed();
    assert_eq!(payloads(&drain(&queue(&rig, "a"), rig.now())), [b"y", b"z"]);
}

#[test]
fn many_restarts_do_not_pile_up_segments() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let a = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&a], &[b"kept"]);
    for _ in 0..20 {
        rig = rig.killed();
        for _ in 0..20 {
            rig.pass(200);
        }
    }
    assert!(rig.store.stats().segments <= 3);
    assert_eq!(queue(&rig, "a").len(), 1);
}

#[test]
fn a_folder_serves_one_store_at_a_time() {
    let folder = std::env::temp_dir().join(format!("edgehub-store-lock-{}", std::process::id()));
    let storage = Arc::new(FileStorage::open(&folder).unwrap());
    let clock = Arc::new(edgehub_testkit::VirtualClock::at(common::START));
    let (store, _) = Store::open(Media::Disk(storage), config(SyncPolicy::Group), clock).unwrap();
    let error = FileStorage::open(&folder).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"));
    drop(store);
    drop(FileStorage::open(&folder).unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
}
