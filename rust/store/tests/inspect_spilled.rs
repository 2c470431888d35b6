//! Looking at spill files from outside.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;
mod looking;

use common::{NEVER, Rig, SPILL_ALL, START, config, drain, lease};
use edgehub_store::inspect::{FindingKind, Inspection, SpillState};
use edgehub_store::{StoreConfig, SyncPolicy};
use edgehub_testkit::Dice;
use edgehub_types::{Storage, UnixMs};
use looking::{Sealed, assert_agrees, inspect, messages};
use parking_lot::Mutex;

/// Forty messages for queue `a`, most of them in spill files of eight blocks or so.
fn spilled() -> Rig {
    let mut rig = Rig::new(StoreConfig { spill: SPILL_ALL, ..config(SyncPolicy::Group) });
    let a = rig.store.open_queue("a", 0).unwrap();
    let mut dice = Dice::new(1);
    for n in 0..40_u64 {
        let body: Vec<u8> = (0..600).map(|_| dice.below(256) as u8).collect();
        rig.append_until(&[&a], &[&body], if n % 2 == 0 { NEVER } else { UnixMs(START.0 + 3_600_000 + n) });
        rig.pass(1000);
    }
    rig
}

#[test]
fn spilled_messages_count_in_their_queue() {
    let rig = spilled();
    let a = rig.store.open_queue("a", 0).unwrap();
    for message in lease(&a, rig.now(), 10) {
        a.ack(message.seq, message.epoch);
    }
    rig.store.close().unwrap();
    let inspection = inspect(&rig.disk);
    let [info] = inspection.queues() else { panic!("{:?}", inspection.queues()) };
    assert!(info.spilled > 20 && info.spill_bytes > info.spilled * 600, "{info:?}");
    assert_eq!((info.messages, info.head_seq, info.next_seq, info.never_expiring), (30, 10, 40, 15));
    assert_eq!(info.oldest_enqueued.unwrap().0, START.0 + 10_000);
    let files = inspection.spill_files();
    let states: Vec<_> = files.iter().map(|file| file.state).collect();
    assert!(states.contains(&SpillState::Complete) && states.contains(&SpillState::Open), "{states:?}");
    assert!(files.iter().zip(&files[1..]).all(|(one, next)| one.end_seq == next.first_seq));
    assert_eq!(info.spill_bytes, files.iter().map(|file| file.bytes).sum());
    assert_agrees(&rig.disk);
}

#[test]
fn a_damaged_block_is_found_by_verifying_and_left_out_by_reading() {
    let rig = spilled();
    rig.store.close().unwrap();
    let (name, offset) = {
        let inspection = inspect(&rig.disk);
        let blocks = inspection.spill_blocks(inspection.queues()[0].id).unwrap();
        (blocks[3].file.clone(), blocks[3].offset)
    };
    let mut bytes = rig.disk.content(&name).unwrap();
    bytes[offset as usize + 200] ^= 1;
    rig.disk.set_content(&name, &bytes);
    let inspection = Inspection::verify_storage(&Sealed::new(&rig.disk)).unwrap();
    assert!(!inspection.is_sound());
    let [finding] = inspection.findings() else { panic!("{:?}", inspection.findings()) };
    assert_eq!((finding.kind, finding.offset), (FindingKind::Damaged, offset));
    assert_eq!((finding.file.to_string(), finding.bytes), (name, inspection.damaged_bytes()));
    let (found, damaged) = messages(&inspection, &inspection.queues()[0]);
    assert_eq!((found.len(), damaged), (39, 1));
    assert_agrees(&rig.disk);
}

#[test]
fn spill_files_that_come_or_go_meanwhile_are_no_loss() {
    let rig = spilled();
    let all = rig.disk.list().unwrap();
    let before = all.iter().filter(|name| !name.starts_with("spill-")).cloned().collect();
    let late = Sealed { stale: Mutex::new(vec![before]), ..Sealed::new(&rig.disk) };
    let inspection = Inspection::of_storage(&late).unwrap();
    assert!(inspection.is_sound() && inspection.missed() == 0);
    assert_eq!(messages(&inspection, &inspection.queues()[0]).0.len(), 40);
    let a = rig.store.open_queue("a", 0).unwrap();
    while a.has_ready() {
        drain(&a, rig.now());
    }
    (0..100).for_each(|_| rig.pass(1000));
    let files = |names: &[String]| names.iter().filter(|name| name.starts_with("spill-")).count();
    assert!(files(&rig.disk.list().unwrap()) < files(&all));
    let early = Sealed { stale: Mutex::new(vec![all]), ..Sealed::new(&rig.disk) };
    let inspection = Inspection::of_storage(&early).unwrap();
    assert!(inspection.is_sound() && inspection.missed() == 0);
    assert_eq!(inspection.summary().entries, 0);
}
