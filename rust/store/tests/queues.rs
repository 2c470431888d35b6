//! What queues promise, under every policy.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::{NEVER, Ready, Rig, config, drain, lease, payloads, seqs};
use edgehub_store::{Commit, QueueListener, StoreConfig, StoreError, SyncPolicy, Target};
use edgehub_testkit::PowerCut;
use edgehub_types::UnixMs;

fn rigs() -> Vec<Rig> {
    vec![
        Rig::new(config(SyncPolicy::None)),
        Rig::new(config(SyncPolicy::Interval { interval_ms: 50 })),
        Rig::new(config(SyncPolicy::Group)),
        Rig::in_memory(config(SyncPolicy::Group)),
    ]
}

#[test]
fn messages_come_out_in_order_and_go_when_acknowledged() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("iothub", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b"]);
        rig.append(&[&queue], &[b"c"]);
        assert_eq!(queue.len(), 3);
        let got = lease(&queue, rig.now(), 10);
        assert_eq!(payloads(&got), [b"a", b"b", b"c"]);
        assert_eq!(seqs(&got), [0, 1, 2]);
        assert!(!queue.has_ready());
        assert!(lease(&queue, rig.now(), 10).is_empty());
        for message in &got {
            queue.ack(message.seq, message.epoch);
        }
        assert_eq!(queue.len(), 0);
    }
}

#[test]
fn one_body_serves_all_queues_and_each_counts_for_itself() {
    for mut rig in rigs() {
        let queues: Vec<_> = (0..3).map(|n| rig.store.open_queue(&format!("m{n}"), 0).unwrap()).collect();
        rig.append(&[&queues[0]], &[b"first"]);
        rig.append(&queues.iter().collect::<Vec<_>>(), &[b"all"]);
        assert_eq!(seqs(&drain(&queues[0], rig.now())), [0, 1]);
        assert_eq!(seqs(&drain(&queues[1], rig.now())), [0]);
        assert_eq!(queues[2].len(), 1);
        assert_eq!(rig.store.stats().live_messages, 1);
    }
}

#[test]
fn a_message_is_not_leased_before_its_commit() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    assert_eq!(rig.try_append(&target, &[b"x"]).unwrap(), Commit::Pending);
    assert!(!queue.has_ready());
    assert!(rig.tickets.committed.lock().is_empty());
    rig.store.tick();
    assert_eq!(*rig.tickets.committed.lock(), [1]);
    assert_eq!(drain(&queue, rig.now()).len(), 1);
}

#[test]
fn one_sync_commits_all_that_gathered() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let (writes, syncs) = (rig.disk.writes(), rig.disk.syncs());
    for _ in 0..5 {
        assert_eq!(rig.try_append(&target, &[b"x"]).unwrap(), Commit::Pending);
    }
    rig.store.tick();
    assert_eq!(*rig.tickets.committed.lock(), [1, 2, 3, 4, 5]);
    assert_eq!((rig.disk.writes() - writes, rig.disk.syncs() - syncs), (1, 1));
}

#[test]
fn what_nobody_waits_for_is_delivered_before_its_sync() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    rig.pass(1000);
    let syncs = rig.disk.syncs();
    for payload in [b"a", b"b"] {
        assert_eq!(rig.try_append_unawaited(&target, &[payload]).unwrap(), Commit::Pending);
        rig.store.tick();
    }
    assert_eq!(*rig.tickets.committed.lock(), [1, 2]);
    assert_eq!(payloads(&drain(&queue, rig.now())), [b"a", b"b"]);
    assert_eq!(rig.disk.syncs(), syncs);
    rig.pass(999);
    assert_eq!(rig.disk.syncs(), syncs);
    rig.pass(1);
    assert_eq!(rig.disk.syncs(), syncs + 1, "within a second");
}

#[test]
fn what_somebody_waits_for_takes_the_others_along_to_the_disk() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let _ = rig.try_append_unawaited(&target, &[b"a"]).unwrap();
    rig.store.tick();
    let _ = rig.try_append(&target, &[b"b"]).unwrap();
    let _ = rig.try_append_unawaited(&target, &[b"c"]).unwrap();
    let syncs = rig.disk.syncs();
    rig.store.tick();
    assert_eq!(rig.disk.syncs(), syncs + 1);
    let disk = rig.disk.after_power_cut(PowerCut::all_lost());
    let rig = Rig::on(disk, rig.config, rig.clock);
    let queue = rig.store.open_queue("e", 0).unwrap();
    assert_eq!(payloads(&drain(&queue, rig.now())), [b"a", b"b", b"c"]);
}

#[test]
fn much_that_nobody_waits_for_is_synced_before_the_second_is_over() {
    let config = config(SyncPolicy::Group);
    let mut rig = Rig::new(StoreConfig { unsynced_bytes_max: 40_000, segment_bytes: 1 << 20, ..config });
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let syncs = rig.disk.syncs();
    for _ in 0..30 {
        let _ = rig.try_append_unawaited(&target, &[&[0; 1000]]).unwrap();
        rig.store.tick();
    }
    assert_eq!(rig.disk.syncs() - syncs, 3, "every 10,000 bytes");
    assert_eq!(rig.tickets.committed.lock().len(), 30);
}

#[test]
fn syncs_keep_their_distance_when_told_to() {
    let mut rig = Rig::new(StoreConfig { sync_min_interval_ms: 20, ..config(SyncPolicy::Group) });
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let _ = rig.try_append(&target, &[b"x"]).unwrap();
    rig.store.tick();
    let _ = rig.try_append(&target, &[b"y"]).unwrap();
    rig.pass(19);
    assert_eq!(*rig.tickets.committed.lock(), [1]);
    rig.pass(1);
    assert_eq!(*rig.tickets.committed.lock(), [1, 2]);
}

#[test]
fn the_interval_policy_answers_at_once_and_syncs_later() {
    let mut rig = Rig::new(config(SyncPolicy::Interval { interval_ms: 50 }));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    rig.pass(60);
    let syncs = rig.disk.syncs();
    assert_eq!(rig.try_append(&target, &[b"x"]).unwrap(), Commit::Done);
    rig.store.tick();
    assert_eq!(rig.disk.syncs(), syncs);
    assert!(rig.store.stats().unsynced_bytes > 0);
    rig.pass(50);
    assert_eq!(rig.disk.syncs(), syncs + 1);
    assert_eq!(rig.store.stats().unsynced_bytes, 0);
}

#[test]
fn acknowledgements_may_come_in_any_order_and_more_than_once() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b", b"c"]);
        let got = lease(&queue, rig.now(), 3);
        for seq in [2, 2, 0, 7, 1, 0] {
            queue.ack(seq, got[0].epoch);
        }
        assert_eq!(queue.len(), 0);
        assert_eq!(rig.store.stats().index_entries, 0);
    }
}

#[test]
fn acknowledging_what_was_never_leased_does_nothing() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a"]);
        queue.ack(0, queue.epoch());
        assert_eq!(payloads(&lease(&queue, rig.now(), 1)), [b"a"]);
    }
}

#[test]
fn a_consumer_that_leaves_gives_everything_back_in_order() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b", b"c", b"d"]);
        let first = lease(&queue, rig.now(), 3);
        queue.ack(1, first[0].epoch);
        queue.release_all();
        queue.ack(0, first[0].epoch);
        assert_eq!(queue.len(), 3, "a late acknowledgement of the old consumer is ignored");
        let second = lease(&queue, rig.now(), 10);
        assert_eq!(seqs(&second), [0, 2, 3]);
        assert_eq!(second.iter().map(|got| got.redelivered).collect::<Vec<_>>(), [true, true, false]);
        queue.ack_all(&seqs(&second), second[0].epoch);
        assert_eq!(queue.len(), 0);
    }
}

#[test]
fn what_the_old_consumer_says_of_a_message_that_the_new_one_holds_is_ignored() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b"]);
        let old = lease(&queue, rig.now(), 2);
        queue.release_all();
        let new = lease(&queue, rig.now(), 2);
        queue.ack(0, old[0].epoch);
        queue.ack_all(&[0, 1], old[0].epoch);
        assert_eq!(queue.len(), 2);
        queue.ack(0, new[0].epoch);
        assert_eq!(queue.len(), 1);
    }
}

#[test]
fn a_receiver_that_stops_has_not_taken_the_message() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b", b"c"]);
        let mut seen = Vec::new();
        let count = queue.lease(rig.now(), 10, usize::MAX, |leased| {
            seen.push(leased.seq);
            leased.seq < 1
        });
        assert_eq!((count.unwrap(), seen), (1, vec![0, 1]));
        assert!(queue.has_ready());
        let rest = lease(&queue, rig.now(), 10);
        assert_eq!(seqs(&rest), [1, 2]);
        assert!(!rest[0].redelivered);
    }
}

#[test]
fn limits_of_a_lease_hold_but_let_one_large_message_pass() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        let large = vec![7; 2000];
        rig.append(&[&queue], &[&large, &large, b"small"]);
        assert_eq!(lease(&queue, rig.now(), 1).len(), 1);
        let count = queue.lease(rig.now(), 10, 100, |_| true).unwrap();
        assert_eq!(count, 1);
        assert_eq!(queue.lease(rig.now(), 10, 100, |_| true).unwrap(), 1);
        let huge = vec![7; 100_000];
        rig.append(&[&queue], &[b"small", &huge, &huge]);
        assert_eq!(queue.lease(rig.now(), 10, 90_000, |_| true).unwrap(), 1, "the next one is too long");
        assert_eq!(queue.lease(rig.now(), 10, 250_000, |_| true).unwrap(), 2);
    }
}

#[test]
fn messages_much_larger_than_a_segment_are_stored() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        rig.append(&[&queue], &[b"before", &large, b"after"]);
        let got = drain(&queue, rig.now());
        assert_eq!(payloads(&got), [b"before", &large[..], b"after"]);
    }
}

#[test]
fn expired_messages_are_never_delivered() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        let now = rig.now();
        rig.append_until(&[&queue], &[b"gone"], now);
        rig.append_until(&[&queue], &[b"soon"], UnixMs(now.0 + 1500));
        rig.append(&[&queue], &[b"stays"]);
        rig.clock.advance_ms(1499);
        assert_eq!(payloads(&lease(&queue, rig.now(), 1)), [b"soon"]);
        queue.release_all();
        rig.clock.advance_ms(1);
        assert_eq!(payloads(&drain(&queue, rig.now())), [b"stays"]);
        assert_eq!(rig.store.stats().expired, 2);
        assert_eq!((queue.len(), rig.store.stats().index_entries), (0, 0));
    }
}

#[test]
fn a_great_many_expired_messages_are_passed_over_at_once() {
    let mut rig = Rig::in_memory(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let until = UnixMs(rig.now().0 + 1000);
    for _ in 0..100 {
        rig.append_until(&[&queue], &[&b"x"[..]; 300], until);
    }
    rig.append(&[&queue], &[b"stays"]);
    rig.clock.advance_ms(2000);
    assert_eq!(payloads(&lease(&queue, rig.now(), 10)), [b"stays"]);
    assert_eq!((queue.expired(), queue.len()), (30_000, 1));
}

#[test]
fn expired_messages_that_nobody_reads_give_their_space_back() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        let until = UnixMs(rig.now().0 + 1000);
        for _ in 0..10 {
            rig.append_until(&[&queue], &[&[1; 1500], &[2; 1500]], until);
        }
        let before = rig.store.stats().segments;
        for _ in 0..30 {
            rig.pass(500);
        }
        assert_eq!(rig.store.stats().expired, 20);
        assert!(rig.store.stats().segments <= 2, "{before} segments before");
    }
}

#[test]
fn a_leased_message_can_be_read_again_until_it_is_done() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a"]);
        assert!(!queue.read(0, |_| ()).unwrap(), "not leased yet");
        let epoch = lease(&queue, rig.now(), 1)[0].epoch;
        let mut payload = Vec::new();
        assert!(queue.read(0, |leased| payload = leased.payload.to_vec()).unwrap());
        assert_eq!(payload, b"a");
        queue.ack(0, epoch);
        assert!(!queue.read(0, |_| ()).unwrap());
    }
}

#[test]
fn a_second_lease_at_the_same_time_is_refused() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a", b"b"]);
        let now = rig.now();
        let count = queue.lease(now, 1, 100, |_| {
            assert!(matches!(queue.lease(now, 1, 100, |_| true), Err(StoreError::LeaseBusy { .. })));
            true
        });
        assert_eq!(count.unwrap(), 1);
        assert_eq!(lease(&queue, now, 5).len(), 1);
    }
}

#[test]
fn the_listener_hears_of_a_queue_once_until_it_is_drained() {
    for mut rig in rigs() {
        let ready = Arc::new(Ready::default());
        rig.store.set_listener(Arc::<Ready>::clone(&ready) as Arc<dyn QueueListener>);
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"a"]);
        rig.append(&[&queue], &[b"b"]);
        assert_eq!(*ready.queues.lock(), [queue.id()]);
        lease(&queue, rig.now(), 5);
        rig.append(&[&queue], &[b"c"]);
        assert_eq!(ready.queues.lock().len(), 2);
    }
}

#[test]
fn a_removed_endpoint_loses_its_messages_and_keeps_its_numbers() {
    for mut rig in rigs() {
        let (low, high) = (rig.store.open_queue("e", 5).unwrap(), rig.store.open_queue("e", 0).unwrap());
        let other = rig.store.open_queue("f", 0).unwrap();
        rig.append(&[&low, &high, &other], &[b"a", b"b"]);
        let old = lease(&high, rig.now(), 1);
        assert_eq!(rig.store.remove_endpoint("e").unwrap(), 4);
        assert_eq!(rig.store.remove_endpoint("e").unwrap(), 0);
        assert_eq!(rig.store.queues().len(), 1);
        assert_eq!((high.len(), high.has_ready()), (0, false));
        rig.append(&[&low, &other], &[b"late"]);
        assert_eq!(low.len(), 0, "a message for a removed queue is dropped");
        let again = rig.store.open_queue("e", 0).unwrap();
        assert_eq!(again.id(), high.id());
        rig.append(&[&again], &[b"c"]);
        again.ack(old[0].seq, old[0].epoch);
        let got = drain(&again, rig.now());
        assert_eq!((seqs(&got), payloads(&got)), (vec![2], vec![&b"c"[..]]));
        assert_eq!(drain(&other, rig.now()).len(), 3);
        assert_eq!(rig.store.stats().index_entries, 0);
    }
}

#[test]
fn what_is_acknowledged_frees_its_segments() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("e", 0).unwrap();
        let body = vec![1; 1500];
        for _ in 0..2000 {
            rig.append(&[&queue], &[&body]);
            drain(&queue, rig.now());
            rig.pass(100);
        }
        let stats = rig.store.stats();
        assert!(stats.segments <= 3, "{stats:?}");
        assert!(stats.unlinked + stats.reused > 0);
    }
}

#[test]
fn misuse_is_refused_and_changes_nothing() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let target = Target { queue: queue.id(), expires_at: NEVER };
    let refused = |error: Result<Commit, StoreError>| error.unwrap_err();
    assert!(matches!(refused(rig.try_append(&[], &[b"x"])), StoreError::TargetCount { count: 0, .. }));
    assert!(matches!(refused(rig.try_append(&[target; 2], &[b"x"])), StoreError::DuplicateTarget { .. }));
    let large = vec![0; edgehub_store::PAYLOAD_BYTES_MAX + 1];
    assert!(matches!(refused(rig.try_append(&[target], &[&large])), StoreError::PayloadTooLong { .. }));
    assert!(matches!(rig.store.open_queue("", 0), Err(StoreError::EndpointLength { .. })));
    let many = Rig::new(config(SyncPolicy::None));
    let foreign: Vec<_> = (0..3).map(|n| many.store.open_queue(&format!("{n}"), 0).unwrap()).collect();
    let foreign = Target { queue: foreign[2].id(), ..target };
    assert!(matches!(refused(rig.try_append(&[foreign], &[b"x"])), StoreError::UnknownQueue { .. }));
    assert_eq!((queue.len(), rig.store.stats().index_entries), (0, 0));
    rig.append(&[&queue], &[b"x"]);
    assert_eq!(seqs(&drain(&queue, rig.now())), [0]);
}
