//! Quota, overflow policies, full disks.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;

use common::{NEVER, Ready, Rig, SPILL_ALL, config, drain, lease, seqs};
use edgehub_store::{
    Commit, LossCause, OverflowPolicy, Queue, QueueListener, Quota, SpillConfig, StoreConfig, StoreError,
    SyncPolicy, Target,
};

const SEGMENT: u64 = 4096;
const BODY: [u8; 900] = [7; 900];

fn target(queue: &Queue) -> [Target; 1] {
    [Target { queue: queue.id(), expires_at: NEVER }]
}

fn limited(sync: SyncPolicy, bytes_max: u64, policy: OverflowPolicy) -> Rig {
    let rig = Rig::new(config(sync));
    rig.store.set_quota(Some(Quota { bytes_max, policy }));
    rig
}

fn listen(rig: &Rig) -> Arc<Ready> {
    let ready = Arc::new(Ready::default());
    rig.store.set_listener(Arc::<Ready>::clone(&ready) as Arc<dyn QueueListener>);
    ready
}

/// Appends until the store refuses; how many it took, and why it took no more.
fn fill(rig: &mut Rig, queue: &Queue) -> (u64, StoreError) {
    let mut stored = 0;
    loop {
        match rig.try_append(&target(queue), &[&BODY]) {
            Ok(Commit::Pending) => rig.store.tick(),
            Ok(Commit::Done) => {}
            Err(error) => return (stored, error),
        }
        stored += 1;
        assert!(stored < 10_000, "never full");
    }
}

fn settle(rig: &Rig) {
    (0..60).for_each(|_| rig.pass(100));
}

const POLICIES: [SyncPolicy; 3] =
    [SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 50 }, SyncPolicy::None];

#[test]
fn a_used_up_quota_refuses_until_acks_make_room() {
    for sync in POLICIES {
        let mut rig = limited(sync, 8 * SEGMENT, OverflowPolicy::RejectNew);
        let ready = listen(&rig);
        let queue = rig.store.open_queue("e", 0).unwrap();
        let (stored, error) = fill(&mut rig, &queue);
        assert!(matches!(error, StoreError::QuotaFull { used, max: 32_768 } if used >= 32_768), "{error}");
        assert!(error.is_retryable() && rig.store.pressure());
        let stats = rig.store.stats();
        assert!((30..36).contains(&stored), "{stored}");
        assert!(stats.used_bytes < 9 * SEGMENT && stats.quota_refused == 1 && stats.index_entries == stored);
        // Time alone changes nothing; consumers do.
        settle(&rig);
        assert!(rig.store.pressure());
        assert_eq!(*ready.relieved.lock(), 0);
        assert_eq!(drain(&queue, rig.now()).len() as u64, stored);
        rig.pass(100);
        assert_eq!(*ready.relieved.lock(), 1, "{sync:?}");
        assert!(!rig.store.pressure());
        rig.append(&[&queue], &[&BODY]);
        assert_eq!(rig.store.stats().quota_dropped, 0);
        let rig = rig.killed();
        assert_eq!(seqs(&drain(&rig.store.queues()[0], rig.now())), [stored]);
    }
}

#[test]
fn checkpoints_are_written_although_the_quota_is_used_up() {
    let mut rig = limited(SyncPolicy::None, 4 * SEGMENT, OverflowPolicy::RejectNew);
    let queue = rig.store.open_queue("e", 0).unwrap();
    let (stored, _) = fill(&mut rig, &queue);
    for _ in 0..2 {
        let got = lease(&queue, rig.now(), 1);
        queue.ack(got[0].seq, got[0].epoch);
        rig.store.checkpoint_dirty().unwrap();
        assert!(rig.store.pressure(), "the first segment is not spent yet");
    }
    rig.store.open_queue("another", 0).unwrap();
    let rig = rig.killed();
    assert_eq!(rig.report.entries, stored - 2);
}

#[test]
fn a_recovered_store_knows_what_it_holds() {
    let mut rig = limited(SyncPolicy::Group, 4 * SEGMENT, OverflowPolicy::RejectNew);
    let queue = rig.store.open_queue("e", 0).unwrap();
    fill(&mut rig, &queue);
    let before = rig.store.stats().used_bytes;
    let mut rig = rig.killed();
    assert!(rig.store.stats().used_bytes.abs_diff(before) < 512);
    rig.store.set_quota(Some(Quota { bytes_max: 4 * SEGMENT, policy: OverflowPolicy::RejectNew }));
    let queue = rig.store.queues().swap_remove(0);
    assert!(matches!(fill(&mut rig, &queue), (0 | 1, StoreError::QuotaFull { .. })));
}

#[test]
fn the_oldest_make_room_and_every_message_is_accounted_for() {
    for sync in POLICIES {
        let mut rig = limited(sync, 8 * SEGMENT, OverflowPolicy::DropOldest);
        let (a, b) = (rig.store.open_queue("a", 0).unwrap(), rig.store.open_queue("b", 9).unwrap());
        let mut refused = 0;
        for n in 0..400_u64 {
            let queue = if n % 3 == 0 { &b } else { &a };
            while let Err(error) = rig.try_append(&target(queue), &[&BODY]) {
                assert!(matches!(error, StoreError::QuotaFull { .. }), "{error}");
                refused += 1;
                rig.pass(10);
            }
            rig.pass(1);
            assert!(rig.store.stats().used_bytes < 9 * SEGMENT);
        }
        settle(&rig);
        let (kept_a, kept_b) = (drain(&a, rig.now()), drain(&b, rig.now()));
        let lost = a.lost(LossCause::Quota) + b.lost(LossCause::Quota);
        assert_eq!(kept_a.len() as u64 + kept_b.len() as u64 + lost, 400, "{sync:?}");
        assert_eq!(rig.store.stats().quota_dropped, lost);
        assert!(kept_a.len() + kept_b.len() > 15, "{sync:?}");
        // The newest of each queue, without a hole.
        for (kept, sent) in [(&kept_a, 266), (&kept_b, 134)] {
            let first = kept[0].seq;
            assert_eq!(seqs(kept), (first..sent).collect::<Vec<_>>());
        }
        assert_eq!((a.len(), b.len(), rig.store.stats().index_entries), (0, 0, 0));
        assert!(refused < 40, "{sync:?}: dropping begins before the quota is used up, {refused}");
        assert!(rig.store.losses().iter().all(|loss| loss.cause == LossCause::Quota));
        settle(&rig);
        let rig = rig.killed();
        assert_eq!(rig.report.entries, 0, "what was dropped does not come back");
    }
}

#[test]
fn the_least_important_make_room_first() {
    let mut rig = limited(SyncPolicy::None, 8 * SEGMENT, OverflowPolicy::DropLowestPriority);
    let (high, low) = (rig.store.open_queue("e", 0).unwrap(), rig.store.open_queue("e", 5).unwrap());
    for queue in [&high, &low] {
        for _ in 0..14 {
            rig.append(&[queue], &[&BODY]);
            rig.pass(1);
        }
    }
    for _ in 0..8 {
        rig.append(&[&high], &[&BODY]);
        rig.pass(1);
    }
    assert_eq!(high.lost(LossCause::Quota), 0, "although they are the oldest");
    assert!((4..=14).contains(&low.lost(LossCause::Quota)), "{}", low.lost(LossCause::Quota));
    assert_eq!(drain(&high, rig.now()).len(), 22);
    assert_eq!(drain(&low, rig.now()).len() as u64, 14 - low.lost(LossCause::Quota));
}

#[test]
fn leased_messages_are_never_dropped() {
    let mut rig = limited(SyncPolicy::None, 4 * SEGMENT, OverflowPolicy::DropOldest);
    let queue = rig.store.open_queue("e", 0).unwrap();
    for _ in 0..4 {
        rig.append(&[&queue], &[&BODY]);
    }
    let leased = lease(&queue, rig.now(), 1);
    for _ in 0..40 {
        while rig.try_append(&target(&queue), &[&BODY]).is_err() {
            rig.pass(10);
        }
        rig.pass(1);
    }
    let lost = queue.lost(LossCause::Quota);
    assert!(lost > 20);
    let mut again = Vec::new();
    assert!(queue.read(0, |message| again.extend_from_slice(message.payload)).unwrap());
    assert_eq!(again, BODY);
    queue.ack(0, leased[0].epoch);
    let rest = drain(&queue, rig.now());
    assert_eq!(1 + rest.len() as u64 + lost, 44);
    assert_eq!(rest.last().unwrap().seq, 43);
}

#[test]
fn when_all_is_leased_senders_wait() {
    let mut rig = limited(SyncPolicy::None, 4 * SEGMENT, OverflowPolicy::DropOldest);
    let ready = listen(&rig);
    let queue = rig.store.open_queue("e", 0).unwrap();
    let mut leased = Vec::new();
    let error = loop {
        match rig.try_append(&target(&queue), &[&BODY]) {
            Ok(_) => leased.extend(lease(&queue, rig.now(), 10)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::QuotaFull { .. }));
    settle(&rig);
    assert!(rig.store.pressure());
    assert_eq!((queue.lost(LossCause::Quota), queue.len()), (0, leased.len() as u64));
    let seqs: Vec<_> = leased.iter().map(|got| got.seq).collect();
    queue.ack_all(&seqs, leased[0].epoch);
    settle(&rig);
    assert_eq!(*ready.relieved.lock(), 1);
    rig.append(&[&queue], &[&BODY]);
}

#[test]
fn a_quota_can_be_changed_while_the_store_is_in_use() {
    let mut rig = Rig::new(StoreConfig { segment_bytes: 4 << 20, ..config(SyncPolicy::None) });
    let queue = rig.store.open_queue("e", 0).unwrap();
    let body = vec![1; 100_000];
    for _ in 0..30 {
        rig.append(&[&queue], &[&body]);
    }
    // All of it lies in one large segment. Small ones follow, and that one is given up as a whole.
    rig.store.set_quota(Some(Quota { bytes_max: 2 << 20, policy: OverflowPolicy::RejectNew }));
    assert!(matches!(rig.try_append(&target(&queue), &[b"x"]), Err(StoreError::QuotaFull { .. })));
    rig.store.set_quota(Some(Quota { bytes_max: 2 << 20, policy: OverflowPolicy::DropOldest }));
    settle(&rig);
    assert_eq!((queue.lost(LossCause::Quota), rig.store.stats().used_bytes), (30, 0));
    for _ in 0..30 {
        rig.append(&[&queue], &[&body]);
        rig.pass(100);
    }
    let kept = queue.len();
    assert!((13..=20).contains(&kept), "{kept}");
    settle(&rig);
    let stats = rig.store.stats();
    assert!(stats.used_bytes <= 2 << 20, "{stats:?}");
    rig.store.set_quota(None);
    for _ in 0..60 {
        rig.append(&[&queue], &[&body]);
    }
    assert_eq!((queue.len(), rig.store.stats().quota_bytes), (kept + 60, u64::MAX));
    assert_eq!(drain(&queue, rig.now()).len() as u64, kept + 60);
}

#[test]
fn a_quota_of_nothing_refuses_all_and_keeps_what_is_there() {
    for policy in [OverflowPolicy::RejectNew, OverflowPolicy::DropOldest] {
        let mut rig = Rig::new(config(SyncPolicy::None));
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[&BODY]);
        rig.store.set_quota(Some(Quota { bytes_max: 0, policy }));
        settle(&rig);
        assert!(rig.store.pressure());
        assert!(matches!(rig.try_append(&target(&queue), &[b"x"]), Err(StoreError::QuotaFull { .. })));
        assert_eq!(drain(&queue, rig.now()).len(), 1);
        assert!(matches!(
            rig.try_append(&target(&queue), &[b"x"]),
            Err(StoreError::QuotaFull { max: 0, .. })
        ));
        rig.store.set_quota(None);
        assert!(!rig.store.pressure());
        rig.append(&[&queue], &[b"x"]);
    }
}

#[test]
fn in_memory_too() {
    let small = StoreConfig { memory_bytes_max: 16 * SEGMENT, ..config(SyncPolicy::None) };
    let mut rig = Rig::in_memory(small.clone());
    rig.store.set_quota(Some(Quota { bytes_max: 4 * SEGMENT, policy: OverflowPolicy::RejectNew }));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let (stored, error) = fill(&mut rig, &queue);
    assert!(
        matches!(error, StoreError::QuotaFull { max: 16_384, .. }) && (14..20).contains(&stored),
        "{stored}"
    );
    drain(&queue, rig.now());
    rig.pass(100);
    rig.append(&[&queue], &[&BODY]);

    // Without a limit of its own the policy keeps within the memory there is.
    let mut rig = Rig::in_memory(small);
    rig.store.set_quota(Some(Quota { bytes_max: u64::MAX, policy: OverflowPolicy::DropOldest }));
    let queue = rig.store.open_queue("e", 0).unwrap();
    for _ in 0..200 {
        while rig.try_append(&target(&queue), &[&BODY]).is_err() {
            rig.pass(10);
        }
        rig.pass(1);
        assert!(!rig.store.pressure());
    }
    let kept = drain(&queue, rig.now());
    assert_eq!(kept.last().unwrap().seq, 199);
    assert_eq!(kept.len() as u64 + queue.lost(LossCause::Quota), 200);
}

#[test]
fn on_a_full_disk_dropping_keeps_the_store_going() {
    for sync in POLICIES {
        for policy in [OverflowPolicy::DropOldest, OverflowPolicy::DropLowestPriority] {
            let mut rig = limited(sync, u64::MAX, policy);
            let queue = rig.store.open_queue("e", 0).unwrap();
            rig.disk.set_bytes_max(Some(6 * SEGMENT));
            let mut refused = 0;
            for _ in 0..100 {
                loop {
                    match rig.try_append(&target(&queue), &[&BODY]) {
                        Ok(_) => break,
                        Err(error) => assert!(matches!(error, StoreError::DiskFull { .. }), "{error}"),
                    }
                    refused += 1;
                    assert!(refused < 1000, "{sync:?}: stuck");
                    rig.pass(100);
                }
                rig.pass(100);
            }
            (0..40).for_each(|_| rig.pass(300));
            let lost = queue.lost(LossCause::Quota);
            assert!((60..95).contains(&lost), "{sync:?}: {lost}");
            // With space again, it is as before.
            rig.disk.set_bytes_max(None);
            settle(&rig);
            for _ in 0..50 {
                rig.append(&[&queue], &[&BODY]);
                rig.pass(10);
            }
            assert_eq!(queue.lost(LossCause::Quota), lost);
            let kept = drain(&queue, rig.now());
            assert_eq!(kept.len() as u64 + lost, 150);
            assert_eq!(seqs(&kept), (lost..150).collect::<Vec<_>>());
            assert!(!rig.store.pressure());
        }
    }
}

#[test]
fn a_full_disk_drops_nothing_without_a_policy_that_says_so() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.disk.set_bytes_max(Some(4 * SEGMENT));
    let (stored, error) = fill(&mut rig, &queue);
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    settle(&rig);
    assert_eq!((queue.lost(LossCause::Quota), queue.len()), (0, stored));
}

/// The segment that is prepared has space, but less than this batch needs.
#[test]
fn on_a_full_disk_messages_give_way_to_a_large_batch_too() {
    let mut rig = limited(SyncPolicy::None, u64::MAX, OverflowPolicy::DropOldest);
    let queue = rig.store.open_queue("e", 0).unwrap();
    for _ in 0..18 {
        rig.append(&[&queue], &[&BODY]);
        rig.pass(100);
    }
    rig.disk.set_bytes_max(Some(7 * SEGMENT));
    let large = [1; 9000];
    let mut tries = 0;
    while let Err(error) = rig.try_append(&target(&queue), &[&large]) {
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        tries += 1;
        assert!(tries < 100, "stuck");
        rig.pass(100);
    }
    let lost = queue.lost(LossCause::Quota);
    assert!((3..18).contains(&lost), "{lost}");
    let kept = drain(&queue, rig.now());
    assert_eq!((kept.len() as u64 + lost, kept.last().unwrap().payload.len()), (19, 9000));
}

/// Bytes that do not become fewer when compressed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(900).collect()
}

fn spilling(bytes_max: u64, policy: OverflowPolicy, spill: SpillConfig) -> Rig {
    let rig = Rig::new(StoreConfig { spill, ..config(SyncPolicy::Group) });
    rig.store.set_quota(Some(Quota { bytes_max, policy }));
    rig
}

#[test]
fn spill_files_count_and_the_oldest_of_them_give_way() {
    let mut rig = spilling(8 * SEGMENT, OverflowPolicy::DropOldest, SPILL_ALL);
    let queue = rig.store.open_queue("e", 0).unwrap();
    for n in 0..300 {
        while rig.try_append(&target(&queue), &[&noise(n)]).is_err() {
            rig.pass(10);
        }
        rig.store.tick();
        rig.pass(20);
        assert!(rig.store.stats().used_bytes < 10 * SEGMENT);
    }
    settle(&rig);
    let (stats, lost) = (rig.store.stats(), queue.lost(LossCause::Quota));
    assert!(stats.spilled > 200 && stats.spill_files > 2, "{stats:?}");
    assert!((260..285).contains(&lost), "not many more than needed: {lost}");
    let rig = rig.killed();
    let queue = rig.store.queues().swap_remove(0);
    let kept = drain(&queue, rig.now());
    assert_eq!(seqs(&kept), (lost..300).collect::<Vec<_>>(), "what was dropped does not come back");
    assert!(kept.iter().all(|got| got.payload == noise(got.seq)));
    assert_eq!(rig.report.lost, 0);
}

#[test]
fn with_spill_files_the_important_ones_stay_although_they_were_written_among_others() {
    let mut rig = spilling(12 * SEGMENT, OverflowPolicy::DropLowestPriority, SPILL_ALL);
    let (high, low) = (rig.store.open_queue("e", 0).unwrap(), rig.store.open_queue("e", 5).unwrap());
    for n in 0..120 {
        let queue = if n % 8 == 0 { &high } else { &low };
        while rig.try_append(&target(queue), &[&noise(n)]).is_err() {
            rig.pass(10);
        }
        rig.store.tick();
        rig.pass(20);
    }
    settle(&rig);
    assert_eq!((high.lost(LossCause::Quota), high.len()), (0, 15));
    assert!((60..90).contains(&low.lost(LossCause::Quota)), "{}", low.lost(LossCause::Quota));
    assert_eq!(low.lost(LossCause::Quota) + low.len(), 105);
    assert_eq!((drain(&high, rig.now()).len(), drain(&low, rig.now()).last().unwrap().seq), (15, 104));
}

#[test]
fn acks_of_what_is_in_spill_files_end_the_pressure() {
    let mut rig = spilling(8 * SEGMENT, OverflowPolicy::RejectNew, SPILL_ALL);
    let ready = listen(&rig);
    let queue = rig.store.open_queue("e", 0).unwrap();
    let mut stored = 0;
    while rig.try_append(&target(&queue), &[&noise(stored)]).is_ok() {
        stored += 1;
        rig.store.tick();
        rig.pass(20);
    }
    assert!(rig.store.pressure() && rig.store.stats().spill_files > 0);
    assert_eq!(drain(&queue, rig.now()).len() as u64, stored);
    settle(&rig);
    assert_eq!(*ready.relieved.lock(), 1);
    assert_eq!((rig.store.stats().used_bytes, queue.lost(LossCause::Quota)), (0, 0));
    rig.append(&[&queue], &[&noise(0)]);
}

#[test]
fn on_a_full_disk_spill_files_give_way() {
    let mut rig = spilling(u64::MAX, OverflowPolicy::DropOldest, SPILL_ALL);
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.disk.set_bytes_max(Some(12 * SEGMENT));
    for n in 0..200 {
        let mut refused = 0;
        while rig.try_append(&target(&queue), &[&noise(n)]).is_err() {
            refused += 1;
            assert!(refused < 1000, "stuck");
            rig.pass(100);
        }
        rig.pass(100);
    }
    rig.disk.set_bytes_max(None);
    settle(&rig);
    let lost = queue.lost(LossCause::Quota);
    assert!(lost > 100, "{lost}");
    assert_eq!(seqs(&drain(&queue, rig.now())), (lost..200).collect::<Vec<_>>());
    assert!(!rig.store.pressure());
}
