//! Old backlog in spill files: it comes back whole and in order, whatever happens meanwhile.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::{Got, NEVER, NO_SPILL, Rig, SPILL_ALL, START, config, drain, lease, payloads, seqs};
use edgehub_store::{LossCause, Queue, SpillConfig, StoreConfig, StoreError, SyncPolicy};
use edgehub_testkit::{Fault, FaultyStorage, PowerCut, VirtualClock};
use edgehub_types::{Clock, Storage, UnixMs};

const POLICIES: [SyncPolicy; 3] =
    [SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 40 }, SyncPolicy::None];

fn spilling(sync: SyncPolicy) -> StoreConfig {
    StoreConfig { spill: SPILL_ALL, ..config(sync) }
}

/// So much at a time that most of it is in full segments.
fn fill(rig: &mut Rig, queues: &[&Queue], count: u32) {
    fill_until(rig, queues, 0..count, NEVER);
}

fn fill_until(rig: &mut Rig, queues: &[&Queue], numbers: std::ops::Range<u32>, expires_at: UnixMs) {
    let bodies: Vec<_> = numbers.map(body).collect();
    for some in bodies.chunks(5) {
        let some: Vec<_> = some.iter().map(|body| &body[..]).collect();
        rig.append_until(queues, &some, expires_at);
    }
}

fn body(number: u32) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(100 + number as usize % 50, number as u8);
    body
}

fn settle(rig: &Rig) {
    for _ in 0..30 {
        rig.pass(100);
    }
}

fn check(got: &[Got], numbers: std::ops::Range<u32>) {
    let wanted: Vec<_> = numbers.map(body).collect();
    assert_eq!(payloads(got), wanted);
    assert!(got.is_sorted_by(|a, b| a.seq < b.seq));
}

fn files(disk: &FaultyStorage) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.starts_with("spill-"));
    names.sort();
    names
}

fn segments(disk: &FaultyStorage) -> usize {
    disk.list().unwrap().iter().filter(|name| name.starts_with("journal-")).count()
}

#[test]
fn backlog_leaves_the_journal_and_comes_back_in_order() {
    for policy in POLICIES {
        let mut rig = Rig::new(spilling(policy));
        let queue = rig.store.open_queue("e", 0).unwrap();
        fill(&mut rig, &[&queue], 400);
        settle(&rig);
        let stats = rig.store.stats();
        assert!(stats.spill_files >= 2 && stats.spilled >= 370, "{policy:?} {stats:?}");
        assert!(stats.index_entries <= 30 && stats.live_messages == 400, "{stats:?}");
        assert!(segments(&rig.disk) <= 2, "the journal holds only what is new");
        assert_eq!(queue.len(), 400);
        check(&drain(&queue, rig.now()), 0..400);
        settle(&rig);
        assert_eq!(files(&rig.disk), Vec::<String>::new());
        let stats = rig.store.stats();
        assert_eq!((stats.spill_files, stats.spill_bytes, stats.live_messages), (0, 0, 0));
    }
}

#[test]
fn a_restart_finds_what_was_spilled() {
    for policy in POLICIES {
        for closed in [true, false] {
            let mut rig = Rig::new(spilling(policy));
            let queue = rig.store.open_queue("e", 3).unwrap();
            fill(&mut rig, &[&queue], 300);
            settle(&rig);
            for message in lease(&queue, rig.now(), 75) {
                queue.ack(message.seq, message.epoch);
            }
            settle(&rig);
            if closed {
                rig.store.close().unwrap();
            }
            drop(queue);
            let rig = rig.killed();
            assert_eq!((rig.report.entries, rig.report.lost, rig.report.quarantined), (225, 0, 0));
            assert!(rig.report.spilled > 190);
            let queue = rig.store.open_queue("e", 3).unwrap();
            check(&lease(&queue, rig.now(), usize::MAX), 75..300);
        }
    }
}

#[test]
fn new_messages_come_after_those_in_files() {
    let mut rig = Rig::new(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    fill(&mut rig, &[&queue], 100);
    settle(&rig);
    fill_until(&mut rig, &[&queue], 100..103, NEVER);
    let got = lease(&queue, rig.now(), 40);
    check(&got, 0..40);
    fill_until(&mut rig, &[&queue], 103..180, NEVER);
    settle(&rig);
    check(&lease(&queue, rig.now(), usize::MAX), 40..180);
}

#[test]
fn what_is_leased_can_be_acknowledged_released_and_read_again_after_it_was_spilled() {
    let mut rig = Rig::new(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    fill(&mut rig, &[&queue], 100);
    let got = lease(&queue, rig.now(), 20);
    settle(&rig);
    assert!(rig.store.stats().spilled > 50);
    for message in got.iter().skip(10) {
        queue.ack(message.seq, message.epoch);
    }
    let mut again = Vec::new();
    assert!(queue.read(got[3].seq, |leased| again = leased.payload.to_vec()).unwrap());
    assert_eq!(again, body(3));
    queue.release_all();
    let got = lease(&queue, rig.now(), usize::MAX);
    let wanted: Vec<_> = (0..10).chain(20..100).map(body).collect();
    assert_eq!(payloads(&got), wanted);
    assert_eq!(got.iter().filter(|message| message.redelivered).count(), 10);
}

#[test]
fn one_wanted_message_does_not_keep_a_segment() {
    let spill = SpillConfig { after_segments: 2, ..NO_SPILL };
    let mut rig = Rig::new(StoreConfig { spill, ..config(SyncPolicy::Group) });
    let (slow, fast) = (rig.store.open_queue("slow", 0).unwrap(), rig.store.open_queue("fast", 0).unwrap());
    for number in 0..40 {
        rig.append(&[&slow], &[&body(number)]);
        fill_until(&mut rig, &[&fast], 0..50, NEVER);
        drain(&fast, rig.now());
        rig.pass(100);
    }
    settle(&rig);
    assert!(segments(&rig.disk) <= 5, "{}", segments(&rig.disk));
    check(&drain(&slow, rig.now()), 0..40);
}

#[test]
fn files_of_expired_messages_go_although_the_front_is_held() {
    let mut rig = Rig::new(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append(&[&queue], &[b"held"]);
    let held = lease(&queue, rig.now(), 1);
    let expires_at = UnixMs(rig.now().0 + 10_000);
    fill_until(&mut rig, &[&queue], 0..400, expires_at);
    settle(&rig);
    let before = rig.store.stats();
    assert!(before.spill_files >= 3, "{before:?}");
    rig.clock.advance_ms(10_000);
    settle(&rig);
    let stats = rig.store.stats();
    assert!(stats.spill_bytes < before.spill_bytes / 2, "{before:?} {stats:?}");
    assert!(stats.expired >= 300, "{stats:?}");
    assert_eq!(queue.lost(LossCause::Expired), stats.expired);
    // The place of their numbers is known after a restart, with and without the checkpoint.
    let rig = rig.killed();
    assert_eq!((rig.report.lost, rig.report.quarantined), (0, 0));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let got = lease(&queue, rig.now(), usize::MAX);
    assert_eq!((payloads(&got), held.len()), (vec![&b"held"[..]], 1));
    queue.ack(got[0].seq, got[0].epoch);
    settle(&rig);
    assert_eq!((queue.len(), files(&rig.disk).len()), (0, 0));
}

#[test]
fn expired_blocks_are_not_even_read() {
    let mut rig = Rig::new(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let expires_at = UnixMs(rig.now().0 + 10_000);
    fill_until(&mut rig, &[&queue], 0..20, expires_at);
    fill_until(&mut rig, &[&queue], 20..60, NEVER);
    settle(&rig);
    rig.clock.advance_ms(10_000);
    check(&drain(&queue, rig.now()), 20..60);
    assert_eq!(rig.store.stats().expired, 20);
}

#[test]
fn removing_an_endpoint_removes_its_files() {
    for waiting in [false, true] {
        let mut rig = Rig::new(spilling(SyncPolicy::Interval { interval_ms: 40 }));
        let queue = rig.store.open_queue("e", 0).unwrap();
        fill(&mut rig, &[&queue], 100);
        settle(&rig);
        fill_until(&mut rig, &[&queue], 100..200, NEVER);
        if waiting {
            // Copies are made and not taken over yet.
            rig.store.tick();
            rig.pass(50);
        }
        assert_eq!(rig.store.remove_endpoint("e").unwrap(), 200);
        settle(&rig);
        assert_eq!(files(&rig.disk), Vec::<String>::new(), "waiting: {waiting}");
        assert_eq!((rig.store.stats().spill_files, rig.store.stats().spill_bytes), (0, 0));
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append(&[&queue], &[b"new"]);
        let rig = rig.killed();
        let queue = rig.store.open_queue("e", 0).unwrap();
        let got = drain(&queue, rig.now());
        assert_eq!((seqs(&got), payloads(&got)), (vec![200], vec![&b"new"[..]]));
    }
}

fn spilled_disk(count: u32) -> FaultyStorage {
    let mut rig = Rig::new(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    fill(&mut rig, &[&queue], count);
    settle(&rig);
    rig.store.close().unwrap();
    rig.disk.after_kill()
}

fn reopen(disk: FaultyStorage) -> Rig {
    Rig::on(disk, spilling(SyncPolicy::Group), Arc::new(VirtualClock::at(START)))
}

#[test]
fn a_damaged_block_costs_its_own_messages() {
    let disk = spilled_disk(300);
    let name = files(&disk)[0].clone();
    let whole = disk.content(&name).unwrap();
    for at in (60..whole.len()).step_by(41) {
        let mut content = whole.clone();
        content[at] ^= 0x10;
        disk.set_content(&name, &content);
        let rig = reopen(disk.after_kill());
        let queue = rig.store.open_queue("e", 0).unwrap();
        let got = drain(&queue, rig.now());
        assert!(got.is_sorted_by(|a, b| a.seq < b.seq));
        for message in &got {
            assert_eq!(message.payload, body(message.seq as u32));
        }
        let lost = queue.lost(LossCause::Damaged);
        assert_eq!(got.len() as u64 + lost, 300, "byte {at}");
        assert!(lost <= 30, "byte {at}: {lost}");
        assert_eq!(queue.len(), 0);
    }
}

#[test]
fn a_missing_file_is_counted_and_the_others_are_there() {
    let disk = spilled_disk(300);
    let names = files(&disk);
    assert!(names.len() >= 3);
    disk.remove(&names[1]).unwrap();
    let rig = reopen(disk);
    let queue = rig.store.open_queue("e", 0).unwrap();
    let got = drain(&queue, rig.now());
    assert_eq!(got.len() as u64 + rig.report.lost, 300);
    assert!(rig.report.lost > 0 && queue.lost(LossCause::Damaged) == rig.report.lost);
    settle(&rig);
    assert_eq!(files(&rig.disk), Vec::<String>::new());
}

#[test]
fn a_later_version_is_refused_and_nothing_is_changed() {
    let disk = spilled_disk(50);
    let name = files(&disk)[0].clone();
    let mut content = disk.content(&name).unwrap();
    content[16] = 9;
    let crc = crc32fast::hash(&content[8..20]);
    content[20..24].copy_from_slice(&crc.to_le_bytes());
    disk.set_content(&name, &content);
    let before = disk.list().unwrap();
    let opened = Rig::try_on(disk.clone(), spilling(SyncPolicy::Group), Arc::new(VirtualClock::at(START)));
    assert!(matches!(opened.err(), Some(StoreError::NewerFormat { found: 9, .. })));
    assert_eq!((disk.list().unwrap(), disk.content(&name)), (before, Some(content)));
}

#[test]
fn a_file_of_another_folder_is_put_aside() {
    let disk = spilled_disk(50);
    let other = spilled_disk(80);
    let name = files(&other)[0].replace("000000000001.lz4", "000000000900.lz4");
    let mut content = other.content(&files(&other)[0]).unwrap();
    content[32..40].copy_from_slice(&900_u64.to_le_bytes());
    let crc = crc32fast::hash(&content[28..56]);
    content[24..28].copy_from_slice(&crc.to_le_bytes());
    drop(disk.open(&name, true).unwrap());
    disk.set_content(&name, &content);
    let rig = reopen(disk);
    let queue = rig.store.open_queue("e", 0).unwrap();
    check(&drain(&queue, rig.now()), 0..50);
    assert!(files(&rig.disk).contains(&name.replace(".lz4", ".bad")), "{:?}", files(&rig.disk));
}

/// A folder with a backlog in the journal, opened by a store that is about to move it.
fn about_to_spill(policy: SyncPolicy) -> Rig {
    let mut rig = Rig::new(StoreConfig { spill: NO_SPILL, ..config(policy) });
    let queue = rig.store.open_queue("e", 0).unwrap();
    fill(&mut rig, &[&queue], 100);
    rig.store.close().unwrap();
    drop(queue);
    let disk = rig.disk.after_power_cut(PowerCut::all_lost());
    Rig::on(disk, spilling(policy), Arc::new(VirtualClock::at(START)))
}

#[test]
fn a_disk_that_fails_at_any_moment_of_it_loses_nothing() {
    for fault in [Fault::Error, Fault::NoSpace] {
        for policy in POLICIES {
            let mut poisoned = 0;
            for after in 0..60 {
                let rig = about_to_spill(policy);
                rig.disk.set_fault(Some((after, fault)));
                settle(&rig);
                rig.disk.set_fault(None);
                settle(&rig);
                poisoned += u32::from(rig.store.is_poisoned().is_some());
                let power = rig.disk.after_power_cut(PowerCut::scattered(after));
                if rig.store.is_poisoned().is_none() {
                    let queue = rig.store.open_queue("e", 0).unwrap();
                    check(&lease(&queue, rig.now(), usize::MAX), 0..100);
                    assert_eq!(rig.store.stats().spilled, 100, "it goes on when the disk does");
                }
                for disk in [rig.disk.after_kill(), power] {
                    let rig = Rig::on(disk, spilling(policy), Arc::new(VirtualClock::at(START)));
                    assert_eq!(
                        (rig.report.lost, rig.report.quarantined),
                        (0, 0),
                        "{fault:?} {policy:?} {after}"
                    );
                    let queue = rig.store.open_queue("e", 0).unwrap();
                    check(&drain(&queue, rig.now()), 0..100);
                }
            }
            assert!(poisoned > 0, "a failed sync poisons");
        }
    }
}

#[test]
fn a_cut_while_copies_are_made_loses_nothing() {
    for policy in POLICIES {
        for ticks in 0..12 {
            for seed in 0..20 {
                let rig = about_to_spill(policy);
                for _ in 0..ticks {
                    rig.pass(30);
                }
                let cut =
                    if seed % 2 == 0 { PowerCut::random_prefix(seed) } else { PowerCut::scattered(seed) };
                let disk = rig.disk.after_power_cut(cut);
                let rig = Rig::on(disk, spilling(policy), Arc::new(VirtualClock::at(START)));
                assert_eq!((rig.report.lost, rig.report.quarantined), (0, 0), "{policy:?} {ticks} {seed}");
                let queue = rig.store.open_queue("e", 0).unwrap();
                check(&drain(&queue, rig.now()), 0..100);
            }
        }
    }
}

#[test]
fn memory_is_compressed_too() {
    let mut rig = Rig::in_memory(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    fill(&mut rig, &[&queue], 400);
    settle(&rig);
    assert!(rig.store.stats().spilled > 300);
    check(&drain(&queue, rig.now()), 0..400);
    settle(&rig);
    assert_eq!(rig.store.stats().spill_files, 0);
}

#[test]
fn a_long_message_is_a_block_of_its_own() {
    let mut rig = Rig::new(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let long: Vec<u8> = (0..300_000_u32).map(|n| n.wrapping_mul(n) as u8).collect();
    rig.append(&[&queue], &[b"before", &long, b"after"]);
    settle(&rig);
    assert_eq!(rig.store.stats().spilled, 3);
    let rig = rig.killed();
    let queue = rig.store.open_queue("e", 0).unwrap();
    assert_eq!(payloads(&drain(&queue, rig.clock.unix())), [&b"before"[..], &long, b"after"]);
}

/// A step may find nothing that it could take out of the index. The next one must not fetch what was done meanwhile.
#[test]
fn what_is_done_while_a_step_waits_does_not_come_back_with_the_next_one() {
    for ticks in 0..12 {
        let mut rig = Rig::new(spilling(SyncPolicy::Group));
        let queue = rig.store.open_queue("e", 0).unwrap();
        fill(&mut rig, &[&queue], 4);
        let got = lease(&queue, rig.now(), 10);
        (0..ticks).for_each(|_| rig.pass(10));
        queue.ack(got[3].seq, got[3].epoch);
        queue.release_all();
        settle(&rig);
        fill_until(&mut rig, &[&queue], 4..8, NEVER);
        settle(&rig);
        let left = drain(&queue, rig.now());
        assert_eq!(seqs(&left), [0, 1, 2, 4, 5, 6, 7], "after {ticks}");
    }
}

#[test]
fn expired_messages_before_others_go_from_files_although_nobody_reads() {
    let mut rig = Rig::new(spilling(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    let expires_at = UnixMs(rig.now().0 + 10_000);
    fill_until(&mut rig, &[&queue], 0..23, expires_at);
    fill_until(&mut rig, &[&queue], 23..40, NEVER);
    settle(&rig);
    assert_eq!((queue.len(), rig.store.stats().spilled), (40, 40));
    rig.clock.advance_ms(10_000);
    settle(&rig);
    assert_eq!((queue.len(), queue.lost(LossCause::Expired)), (17, 23));
    check(&drain(&queue, rig.now()), 23..40);
}

#[test]
fn what_the_disk_cannot_read_holds_a_queue_up_for_a_minute_only() {
    let disk = spilled_disk(300);
    let name = files(&disk)[0].clone();
    disk.set_unreadable(&name, 100..110);
    let rig = reopen(disk);
    let queue = rig.store.open_queue("e", 0).unwrap();
    let refused = |queue: &Queue| queue.lease(rig.now(), 10, usize::MAX, |_| panic!("delivered")).is_err();
    assert!(refused(&queue));
    rig.pass(59_000);
    assert!(refused(&queue) && queue.lost(LossCause::Damaged) == 0, "the fault may pass");
    rig.pass(1_000);
    let got = drain(&queue, rig.now());
    let lost = queue.lost(LossCause::Damaged);
    assert!(lost > 0 && lost < 30, "{lost}");
    assert_eq!(got.len() as u64 + lost, 300);
}
