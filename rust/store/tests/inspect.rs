//! Looking at a store from outside: it says what a store would find that is opened on the same files, and changes
//! nothing.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;
mod looking;

use common::{NEVER, NO_SPILL, Rig, SPILL_ALL, START, config, drain, lease};
use edgehub_store::inspect::{FindingKind, Inspection, SegmentState};
use edgehub_store::{SpillConfig, StoreConfig, StoreError, SyncPolicy};
use edgehub_testkit::{Dice, FaultyStorage, PowerCut};
use edgehub_types::{Storage, UnixMs};
use looking::{Sealed, assert_agrees, inspect};
use parking_lot::Mutex;
use proptest::prelude::*;

fn filled() -> Rig {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let (a, b) = (rig.store.open_queue("a", 0).unwrap(), rig.store.open_queue("b", 3).unwrap());
    for n in 0..20_u8 {
        rig.append(&[&a, &b], &[&[n; 300][..], &[n; 10][..]]);
        rig.pass(1000);
    }
    rig
}

#[test]
fn a_store_in_use_is_read_while_it_is_written() {
    let mut rig = filled();
    let a = rig.store.open_queue("a", 0).unwrap();
    let before = inspect(&rig.disk).queues()[0].messages;
    rig.append(&[&a], &[b"more"]);
    assert_eq!(inspect(&rig.disk).queues()[0].messages, before + 1);
    assert_agrees(&rig.disk);
}

#[test]
fn times_are_those_of_the_first_and_the_last_message() {
    let rig = filled();
    let b = rig.store.open_queue("b", 3).unwrap();
    for message in lease(&b, rig.now(), 10) {
        b.ack(message.seq, message.epoch);
    }
    rig.store.close().unwrap();
    let inspection = inspect(&rig.disk);
    let times = |at: usize| {
        let queue = &inspection.queues()[at];
        (queue.oldest_enqueued.unwrap().0 - START.0, queue.newest_enqueued.unwrap().0 - START.0)
    };
    assert_eq!((times(0), times(1)), ((0, 19_000), (5000, 19_000)));
}

#[test]
fn states_tell_what_becomes_of_segments() {
    let rig = filled();
    let states = |disk: &FaultyStorage| -> Vec<_> {
        inspect(disk).segments().iter().map(|segment| segment.state).collect()
    };
    let all = states(&rig.disk);
    assert_eq!(all.iter().filter(|state| **state == SegmentState::Last).count(), 1);
    assert!(all.starts_with(&[SegmentState::Full, SegmentState::Full]), "{all:?}");
    rig.disk.set_content("journal-000000000900.seg", &[0; 4096]);
    rig.disk.set_content("journal-000000000000.bad", b"x");
    let all = states(&rig.disk);
    assert_eq!(all.first(), Some(&SegmentState::Aside));
    assert_eq!(all.last(), Some(&SegmentState::Prepared));
    assert_agrees(&rig.disk);
}

#[test]
fn damage_has_its_place() {
    let rig = filled();
    rig.store.close().unwrap();
    let name = inspect(&rig.disk).segments()[0].name.clone();
    let mut bytes = rig.disk.content(&name).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    rig.disk.set_content(&name, &bytes);
    let inspection = inspect(&rig.disk);
    assert!(!inspection.is_sound());
    let [finding] = inspection.findings() else { panic!("{:?}", inspection.findings()) };
    assert_eq!(finding.kind, FindingKind::Damaged);
    assert!((finding.offset..finding.offset + finding.bytes).contains(&(at as u64)));
    assert_eq!(finding.file.to_string(), inspection.segments()[0].name);
    assert_agrees(&rig.disk);
}

#[test]
fn a_torn_end_is_no_damage() {
    let mut rig = Rig::new(config(SyncPolicy::None));
    let a = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&a], &[b"one"]);
    rig.append(&[&a], &[b"two"]);
    let end = inspect(&rig.disk).segments()[0].used_bytes as usize;
    let name = inspect(&rig.disk).segments()[0].name.clone();
    let mut bytes = rig.disk.content(&name).unwrap();
    bytes[end - 40] ^= 1;
    rig.disk.set_content(&name, &bytes);
    let inspection = inspect(&rig.disk);
    assert!(inspection.is_sound());
    assert_eq!(inspection.queues()[0].messages, 1);
    assert_eq!(inspection.findings()[0].kind, FindingKind::Torn);
    assert_agrees(&rig.disk);
}

#[test]
fn a_segment_that_goes_meanwhile_makes_a_new_list() {
    let rig = filled();
    let stale = rig.disk.list().unwrap();
    let a = rig.store.open_queue("a", 0).unwrap();
    drain(&a, rig.now());
    drain(&rig.store.open_queue("b", 3).unwrap(), rig.now());
    (0..100).for_each(|_| rig.pass(1000));
    let now = rig.disk.list().unwrap();
    assert!(stale.iter().any(|name| !now.contains(name)), "something was unlinked");
    let once = Sealed { stale: Mutex::new(vec![stale.clone(); 2]), ..Sealed::new(&rig.disk) };
    let inspection = Inspection::of_storage(&once).unwrap();
    assert_eq!((inspection.missed(), inspection.summary().entries), (0, 0));
    let always = Sealed { stale: Mutex::new(vec![stale; 100]), ..Sealed::new(&rig.disk) };
    assert!(Inspection::of_storage(&always).unwrap().missed() > 0);
}

#[test]
fn a_list_with_a_hole_is_made_anew() {
    let rig = filled();
    let mut names = rig.disk.list().unwrap();
    names.sort();
    names.remove(1);
    let holed = Sealed { stale: Mutex::new(vec![names; 2]), ..Sealed::new(&rig.disk) };
    let inspection = Inspection::of_storage(&holed).unwrap();
    assert_eq!((inspection.missed(), inspection.queues()[0].messages), (0, 40));
}

#[test]
fn a_segment_that_is_begun_meanwhile_is_no_damage() {
    let rig = filled();
    let last = inspect(&rig.disk).segments().last().unwrap().name.clone();
    let late = Sealed { late: Mutex::new(Some(last)), ..Sealed::new(&rig.disk) };
    let inspection = Inspection::of_storage(&late).unwrap();
    assert!(inspection.is_sound());
    assert_eq!((inspection.findings(), inspection.queues()[0].messages), (&[][..], 40));
}

#[test]
fn a_newer_format_is_refused() {
    let rig = filled();
    let name = inspect(&rig.disk).segments()[1].name.clone();
    let mut bytes = rig.disk.content(&name).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    rig.disk.set_content(&name, &bytes);
    let refused = Inspection::of_storage(&Sealed::new(&rig.disk)).err();
    assert!(matches!(refused, Some(StoreError::NewerFormat { found: 2, .. })));
}

#[test]
fn a_message_that_goes_bad_later_is_an_error_and_the_next_one_is_read() {
    let rig = filled();
    let inspection = inspect(&rig.disk);
    let segment = &inspection.segments()[0];
    let mut bytes = rig.disk.content(&segment.name).unwrap();
    let at = bytes.windows(300).position(|window| window == [0; 300]).unwrap();
    let at = bytes[at..].iter().position(|byte| *byte == 1).map_or(at, |_| at);
    bytes[at + 100] ^= 1;
    rig.disk.set_content(&segment.name, &bytes);
    let mut walk = inspection.messages(inspection.queues()[0].id).unwrap();
    let mut outcomes = Vec::new();
    while walk.left() > 0 {
        outcomes.push(walk.read_next().map(|stored| stored.map(|stored| stored.seq)));
    }
    let damaged = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::DamagedMessage { .. })));
    assert_eq!((damaged.count(), outcomes.len()), (1, 40));
}

/// Random work on three queues, in the order that the dice give.
fn work(rig: &mut Rig, dice: &mut Dice, steps: u64) {
    for _ in 0..steps {
        let queues: Vec<_> = [("a", 0), ("a", 5), ("b", 1)]
            .map(|(name, priority)| rig.store.open_queue(name, priority).unwrap())
            .into();
        let one = &queues[dice.below(3) as usize];
        match dice.below(8) {
            0..=3 => {
                let body = vec![dice.below(250) as u8 + 1; dice.below(900) as usize];
                let until = if dice.below(2) == 0 { NEVER } else { UnixMs(START.0 + dice.below(90_000)) };
                let all: Vec<_> = queues.iter().collect();
                let to = if dice.below(3) == 0 { &all[..] } else { &[one][..] };
                rig.append_until(to, &[&body, b"x"], until);
            }
            4 => {
                for message in lease(one, rig.now(), 4) {
                    one.ack(message.seq, message.epoch);
                }
            }
            5 if dice.below(6) == 0 => drop(rig.store.remove_endpoint("a")),
            _ => rig.pass(dice.below(700)),
        }
    }
}

/// Overwrites a few bytes of some segment.
fn spoil(disk: &FaultyStorage, dice: &mut Dice) {
    let mut names = disk.list().unwrap();
    names.sort();
    let name = &names[dice.below(names.len() as u64) as usize];
    let mut bytes = disk.content(name).unwrap();
    let at = dice.below(bytes.len() as u64) as usize;
    let end = (at + 1 + dice.below(300) as usize).min(bytes.len());
    bytes[at..end].fill(dice.below(256) as u8);
    disk.set_content(name, &bytes);
}

proptest! {
    #[test]
    fn it_says_what_a_reopened_store_holds(
        seed in any::<u64>(),
        steps in 1_u64..80,
        policy in prop_oneof![
            Just(SyncPolicy::None),
            Just(SyncPolicy::Group),
            Just(SyncPolicy::Interval { interval_ms: 40 }),
        ],
        spoiled in 0_u8..4,
        spill in prop_oneof![
            Just(NO_SPILL),
            Just(SPILL_ALL),
            Just(SpillConfig { after_segments: 1, index_entries: 20, block_bytes: 256, ..NO_SPILL }),
        ],
    ) {
        let mut dice = Dice::new(seed);
        let mut rig = Rig::new(StoreConfig { segment_bytes: 8192, spill, ..config(policy) });
        work(&mut rig, &mut dice, steps);
        assert!(assert_agrees(&rig.disk));
        for cut in [PowerCut::all_lost(), PowerCut::random_prefix(seed), PowerCut::scattered(seed)] {
            let disk = rig.disk.after_power_cut(cut);
            assert!(assert_agrees(&disk), "after a power cut");
            if !disk.list().unwrap().is_empty() {
                (0..spoiled).for_each(|_| spoil(&disk, &mut dice));
                assert_agrees(&disk);
            }
        }
    }
}
