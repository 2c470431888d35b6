//! Disks that fail and disks that are full, limits that are reached.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::{NEVER, Ready, Rig, START, config, drain, lease, payloads};
use edgehub_store::{Commit, Queue, QueueListener, StoreConfig, StoreError, SyncPolicy, Target};
use edgehub_testkit::{Fault, FaultyStorage, PowerCut, VirtualClock};

fn target(queue: &Queue) -> [Target; 1] {
    [Target { queue: queue.id(), expires_at: NEVER }]
}

#[test]
fn a_failed_write_poisons_the_store_and_loses_nothing_that_was_stored() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append(&[&queue], &[b"stored"]);
    rig.disk.set_fault(Some((0, Fault::Error)));
    let error = rig.try_append(&target(&queue), &[b"lost"]).unwrap_err();
    assert!(matches!(error, StoreError::Poisoned { .. }) && !error.is_retryable());
    rig.disk.set_fault(None);
    let error = rig.try_append(&target(&queue), &[b"too late"]).unwrap_err();
    assert!(matches!(&error, StoreError::Poisoned { cause } if matches!(**cause, StoreError::Io { .. })));
    assert!(rig.store.is_poisoned().is_some());
    assert!(matches!(rig.store.open_queue("f", 0), Err(StoreError::Poisoned { .. })));
    assert!(matches!(rig.store.close(), Err(StoreError::Poisoned { .. })));
    assert_eq!(queue.len(), 1);
    let rig = rig.killed();
    let queue = rig.store.open_queue("e", 0).unwrap();
    assert_eq!(payloads(&drain(&queue, rig.now())), [b"stored"]);
}

#[test]
fn a_failed_sync_fails_its_batches_and_they_are_never_delivered() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append(&[&queue], &[b"stored"]);
    assert_eq!(rig.try_append(&target(&queue), &[b"lost"]).unwrap(), Commit::Pending);
    assert_eq!(rig.try_append(&target(&queue), &[b"lost too"]).unwrap(), Commit::Pending);
    rig.disk.set_fault(Some((1, Fault::Error)));
    rig.store.tick();
    assert_eq!(*rig.tickets.failed.lock(), [2, 3]);
    assert_eq!(*rig.tickets.committed.lock(), [1]);
    rig.disk.set_fault(None);
    rig.pass(5000);
    assert!(matches!(rig.try_append(&target(&queue), &[b"no"]), Err(StoreError::Poisoned { .. })));
    assert_eq!(payloads(&drain(&queue, rig.now())), [b"stored"]);
    assert_eq!(rig.store.stats().unsynced_bytes, 0);
}

/// Works until something fails. Returns how many messages were acknowledged to the sender, and by the consumer.
fn work_until_a_fault(rig: &mut Rig) -> (u64, u64) {
    let queue = rig.store.open_queue("e", 0).unwrap();
    let mut done = 0;
    for n in 0..40_u8 {
        match rig.try_append(&target(&queue), &[&[n; 400]]) {
            // Every other time, two batches are committed together.
            Ok(_) if n % 2 == 0 => continue,
            Ok(_) => rig.pass(30),
            Err(error) => {
                assert!(error.is_retryable() || matches!(error, StoreError::Poisoned { .. }), "{error}");
                break;
            }
        }
        for message in lease(&queue, rig.now(), 1) {
            queue.ack(message.seq, message.epoch);
            done += 1;
        }
    }
    let committed = rig.tickets.committed.lock().len() as u64;
    (if rig.config.sync == SyncPolicy::Group { committed } else { queue.len() + done }, done)
}

/// Whatever operation fails first, and power with it: what was acknowledged is there, once and in order.
#[test]
fn every_operation_may_fail() {
    let faults =
        [Fault::Error, Fault::NoSpace].into_iter().flat_map(|fault| (0..120).map(move |at| (fault, at)));
    let cases = faults.flat_map(|case| [SyncPolicy::Group, SyncPolicy::None].map(|policy| (policy, case)));
    for (policy, (fault, at)) in cases {
        let mut rig = Rig::new(config(policy));
        rig.store.open_queue("e", 0).unwrap();
        rig.disk.set_fault(Some((at, fault)));
        let (acknowledged, done) = work_until_a_fault(&mut rig);
        let disk = if policy == SyncPolicy::Group {
            rig.disk.after_power_cut(PowerCut::random_prefix(at))
        } else {
            rig.disk.after_kill()
        };
        let rig = Rig::on(disk, config(policy), Arc::new(VirtualClock::at(START)));
        let Some(queue) = rig.store.queues().pop() else {
            assert_eq!(acknowledged, 0);
            continue;
        };
        let got = drain(&queue, rig.now());
        let first = got.first().map_or(done, |got| got.seq);
        assert!(first <= done, "{policy:?} {fault:?} {at}: {first} after {done}");
        assert!(first + got.len() as u64 >= acknowledged);
        assert!(got.iter().all(|got| got.payload == [got.seq as u8; 400]));
        assert!(got.is_sorted_by(|a, b| a.seq + 1 == b.seq));
    }
}

#[test]
fn a_full_disk_refuses_messages_until_there_is_space() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.disk.set_bytes_max(Some(3 * 4096));
    let body = [1; 1000];
    let mut stored = 0;
    let error = loop {
        match rig.try_append(&target(&queue), &[&body]) {
            Ok(commit) => assert_eq!(commit, Commit::Done),
            Err(error) => break error,
        }
        stored += 1;
        rig.pass(200);
    };
    assert!(matches!(error, StoreError::DiskFull { .. }) && error.is_retryable(), "{error}");
    assert!(rig.store.pressure());
    assert!(rig.store.is_poisoned().is_none());
    assert_eq!((queue.len(), rig.store.stats().index_entries), (stored, stored));
    // What is consumed gives space for more, without help from outside.
    assert_eq!(drain(&queue, rig.now()).len() as u64, stored);
    for _ in 0..20 {
        rig.pass(300);
    }
    assert!(!rig.store.pressure());
    rig.append(&[&queue], &[&body]);
    assert_eq!(drain(&queue, rig.now())[0].seq, stored);
}

#[test]
fn a_batch_too_large_for_the_disk_does_not_keep_out_others() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.disk.set_bytes_max(Some(3 * 4096));
    rig.append(&[&queue], &[&[1; 2500]]);
    rig.pass(100);
    let error = rig.try_append(&target(&queue), &[&[1; 15_000]]).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert!(rig.store.pressure());
    rig.pass(1000);
    assert!(!rig.store.pressure());
    rig.append(&[&queue], &[&[2; 2500]]);
    assert_eq!(drain(&queue, rig.now()).len(), 2);
}

/// Checkpoints may use up what is kept for them, but not what unlinking needs: else a full disk stays full.
#[test]
fn a_full_disk_never_keeps_spent_segments() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.disk.set_bytes_max(Some(4 * 4096));
    while rig.try_append(&target(&queue), &[&[1; 1000]]).is_ok() {}
    let (all, mut refused) = (queue.len(), 0);
    for _ in 0..all {
        let got = lease(&queue, rig.now(), 1);
        queue.ack(got[0].seq, got[0].epoch);
        refused += u64::from(rig.store.checkpoint_dirty().is_err_and(|error| error.is_retryable()));
    }
    assert!(refused < all - 1, "there is room for some checkpoints");
    assert!(refused > 1, "and then there is none");
    for _ in 0..20 {
        rig.pass(300);
    }
    assert!(!rig.store.pressure());
    rig.append(&[&queue], &[&[1; 1000]]);
    let rig = rig.killed();
    assert_eq!(
        drain(&rig.store.queues()[0], rig.now()).len(),
        1,
        "and the checkpoints were written in the end"
    );
}

#[test]
fn under_group_commit_a_full_disk_delays_the_answer() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.disk.set_bytes_max(Some(2 * 4096));
    for _ in 0..12 {
        let _ = rig.try_append(&target(&queue), &[&[1; 900]]).unwrap();
    }
    rig.store.tick();
    let committed = rig.tickets.committed.lock().len();
    assert!((1..12).contains(&committed), "{committed}");
    assert!(rig.store.pressure());
    rig.pass(1000);
    assert_eq!(rig.tickets.committed.lock().len(), committed);
    rig.disk.set_bytes_max(None);
    rig.pass(1000);
    assert_eq!(*rig.tickets.committed.lock(), (1..=12).collect::<Vec<_>>());
    assert!(rig.tickets.failed.lock().is_empty());
    assert_eq!(drain(&queue, rig.now()).len(), 12);
}

#[test]
fn closing_on_a_full_disk_fails_what_cannot_be_committed() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.disk.set_bytes_max(Some(4096));
    for _ in 0..8 {
        let _ = rig.try_append(&target(&queue), &[&[1; 900]]).unwrap();
    }
    let error = rig.store.close().unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    let (committed, failed) = (rig.tickets.committed.lock().len(), rig.tickets.failed.lock().len());
    assert_eq!(committed + failed, 8);
    assert!(committed > 0 && failed > 0);
    let rig = rig.killed();
    assert_eq!(rig.report.entries, committed as u64);
}

#[test]
fn a_store_opens_on_a_full_disk_and_can_be_drained() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    for _ in 0..20 {
        rig.append(&[&queue], &[&[1; 900]]);
    }
    let disk = rig.disk.after_kill();
    disk.set_bytes_max(Some(1));
    let mut rig = Rig::on(disk, config(SyncPolicy::None), Arc::new(VirtualClock::at(START)));
    let queue = rig.store.queues().swap_remove(0);
    assert!(matches!(rig.try_append(&target(&queue), &[b"x"]), Err(StoreError::DiskFull { .. })));
    assert_eq!(drain(&queue, rig.now()).len(), 20);
    rig.disk.set_bytes_max(None);
    rig.pass(1000);
    assert!(!rig.store.pressure());
    rig.append(&[&queue], &[b"x"]);
}

#[test]
fn a_full_index_refuses_and_acknowledgements_end_it() {
    let mut rig = Rig::new(StoreConfig { index_entries_max: 80, ..config(SyncPolicy::None) });
    let ready = Arc::new(Ready::default());
    rig.store.set_listener(Arc::<Ready>::clone(&ready) as Arc<dyn QueueListener>);
    let (a, b) = (rig.store.open_queue("a", 0).unwrap(), rig.store.open_queue("b", 0).unwrap());
    for _ in 0..34 {
        rig.append(&[&a, &b], &[b"x"]);
    }
    assert!(!rig.store.pressure());
    rig.append(&[&a, &b], &[b"x"]);
    assert!(rig.store.pressure(), "from seven eighths on");
    for _ in 0..5 {
        rig.append(&[&a, &b], &[b"x"]);
    }
    let error = rig.try_append(&target(&a), &[b"x"]).unwrap_err();
    assert!(matches!(error, StoreError::IndexFull { entries: 81, max: 80 }) && error.is_retryable());
    let got = lease(&a, rig.now(), 100);
    for message in got.iter().skip(1) {
        a.ack(message.seq, message.epoch);
    }
    assert_eq!(*ready.relieved.lock(), 0, "behind the first message nothing is free");
    a.ack(got[0].seq, got[0].epoch);
    assert_eq!(*ready.relieved.lock(), 1);
    assert!(!rig.store.pressure());
    rig.append(&[&a], &[b"x"]);
}

#[test]
fn unsynced_bytes_press_and_then_refuse() {
    for policy in [SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 10_000 }] {
        let mut rig = Rig::new(StoreConfig { unsynced_bytes_max: 4_500, ..config(policy) });
        let ready = Arc::new(Ready::default());
        rig.store.set_listener(Arc::<Ready>::clone(&ready) as Arc<dyn QueueListener>);
        let queue = rig.store.open_queue("e", 0).unwrap();
        let mut appended = 0;
        let error = loop {
            match rig.try_append(&target(&queue), &[&[1; 900]]) {
                Ok(_) => appended += 1,
                Err(error) => break error,
            }
            assert_eq!(rig.store.pressure(), appended >= 5);
        };
        assert!(matches!(error, StoreError::Busy { max: 9_000, .. }) && error.is_retryable());
        rig.store.tick();
        assert_eq!(*ready.relieved.lock(), 1, "{policy:?}");
        assert!(!rig.store.pressure());
        rig.append(&[&queue], &[b"x"]);
        rig.pass(20_000);
        assert_eq!(drain(&queue, rig.now()).len(), appended + 1);
        assert_eq!(rig.store.stats().unsynced_bytes, 0);
    }
}

#[test]
fn memory_has_a_limit_too() {
    let mut rig = Rig::in_memory(StoreConfig { memory_bytes_max: 40_000, ..config(SyncPolicy::Group) });
    let queue = rig.store.open_queue("e", 0).unwrap();
    let mut appended = 0;
    let error = loop {
        match rig.try_append(&target(&queue), &[&[1; 900]]) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::MemoryFull { max: 40_000, .. }) && error.is_retryable());
    assert!(appended > 25);
    assert!(rig.store.pressure());
    drain(&queue, rig.now());
    for _ in 0..20 {
        rig.pass(100);
    }
    assert!(!rig.store.pressure());
    rig.append(&[&queue], &[b"x"]);
}

#[test]
fn a_batch_that_was_refused_can_be_appended_later() {
    let mut rig = Rig::new(StoreConfig { index_entries_max: 1, ..config(SyncPolicy::None) });
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append(&[&queue], &[b"first"]);
    let mut batch = edgehub_store::Batch::new();
    batch.push(&target(&queue), 0, |out| out.extend_from_slice(b"second")).unwrap();
    let bytes = batch.len_bytes();
    let refused = rig.store.append(&mut batch, &rig.waiter, 1);
    assert!(matches!(refused, Err(StoreError::IndexFull { .. })));
    assert_eq!((batch.len_msgs(), batch.len_bytes()), (1, bytes));
    drain(&queue, rig.now());
    assert_eq!(rig.store.append(&mut batch, &rig.waiter, 1).unwrap(), Commit::Done);
    assert!(batch.is_empty());
    assert_eq!(payloads(&drain(&queue, rig.now())), [b"second"]);
}

#[test]
fn a_folder_that_cannot_be_read_is_an_error() {
    let disk = FaultyStorage::new();
    disk.set_fault(Some((0, Fault::Error)));
    let opened = Rig::try_on(disk, config(SyncPolicy::Group), Arc::new(VirtualClock::at(START)));
    assert!(opened.is_err());
}
