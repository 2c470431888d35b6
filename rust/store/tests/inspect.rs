//! Looking at a store from outside: it says what a store would find that is opened on the same files, and changes
//! nothing.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::io;
use std::sync::Arc;

use common::{NEVER, NO_SPILL, Rig, SPILL_ALL, START, config, drain, lease};
use edgehub_store::inspect::{
    Finding, FindingFile, FindingKind, Inspection, Messages, QueueInfo, SegmentState, SpillState,
};
use edgehub_store::{Queue, Recovery, SpillConfig, StoreConfig, StoreError, SyncPolicy};
use edgehub_testkit::{Dice, FaultyStorage, PowerCut, VirtualClock};
use edgehub_types::{Storage, StorageFile, UnixMs};
use parking_lot::Mutex;
use proptest::prelude::*;

/// A folder in which every change is a failure of the test.
struct Sealed {
    disk: FaultyStorage,
    /// What `list` answers at first, one answer a call.
    stale: Mutex<Vec<Vec<String>>>,
    /// A file of which the first read finds nothing, as if it were written only then.
    late: Mutex<Option<String>>,
}

impl Sealed {
    fn new(disk: &FaultyStorage) -> Self {
        Self { disk: disk.clone(), stale: Mutex::default(), late: Mutex::default() }
    }
}

struct SealedFile {
    file: Box<dyn StorageFile>,
    late: Mutex<bool>,
}

impl StorageFile for SealedFile {
    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        panic!("written")
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if std::mem::take(&mut *self.late.lock()) {
            buf.fill(0);
            return Ok(buf.len());
        }
        self.file.read_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        panic!("synced")
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        panic!("cut")
    }
}

impl Storage for Sealed {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        assert!(!create, "created {name}");
        let late = self.late.lock().take_if(|late| late == name).is_some();
        Ok(Box::new(SealedFile { file: self.disk.open(name, false)?, late: Mutex::new(late) }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.stale.lock().pop().map_or_else(|| self.disk.list(), Ok)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        panic!("removed {name}")
    }

    fn rename(&self, from: &str, _to: &str) -> io::Result<()> {
        panic!("renamed {from}")
    }

    fn sync_dir(&self) -> io::Result<()> {
        panic!("synced")
    }
}

fn image(disk: &FaultyStorage) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list().unwrap();
    names.sort();
    names.into_iter().map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}

fn inspect(disk: &FaultyStorage) -> Arc<Inspection> {
    let (before, ops) = (image(disk), disk.unsynced_ops());
    let inspection = Inspection::of_storage(&Sealed::new(disk)).unwrap();
    assert!(image(disk) == before, "the files are as before");
    assert_eq!(disk.unsynced_ops(), ops);
    inspection
}

/// Number, expiry and payload of every message of a queue, and how many are in damaged blocks of spill files.
fn walk(mut walk: Messages) -> (Vec<(u64, UnixMs, Vec<u8>)>, u64) {
    let (mut found, mut damaged) = (Vec::new(), 0);
    loop {
        match walk.read_next() {
            Ok(Some(stored)) => found.push((stored.seq, stored.expires_at, stored.payload.to_vec())),
            Ok(None) => break,
            Err(StoreError::DamagedBlock { messages, .. }) => damaged += messages,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(walk.left(), 0);
    (found, damaged)
}

fn messages(inspection: &Arc<Inspection>, queue: &QueueInfo) -> (Vec<(u64, UnixMs, Vec<u8>)>, u64) {
    let all = inspection.messages(queue.id).unwrap();
    assert_eq!(all.left() as u64, queue.messages);
    let (found, damaged) = walk(all);
    assert_eq!(found.len() as u64 + damaged, queue.messages);
    let (in_journal, _) = walk(inspection.journal_messages(queue.id).unwrap());
    assert!(found.ends_with(&in_journal));
    let blocks = inspection.spill_blocks(queue.id).unwrap();
    let spilled: u64 = blocks.iter().map(|block| block.messages).sum();
    assert_eq!((spilled, queue.messages - spilled), (queue.spilled, in_journal.len() as u64));
    (found, damaged)
}

/// The same of a store, nothing of which counts as expired.
fn stored(queue: &Queue) -> Vec<(u64, UnixMs, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let more = queue.lease(UnixMs(0), usize::MAX, usize::MAX, |leased| {
            found.push((leased.seq, leased.expires_at, leased.payload.to_vec()));
            true
        });
        if more.unwrap() == 0 && !queue.has_ready() {
            return found;
        }
    }
}

/// Looks at the folder, then opens a store on it, and compares.
fn assert_agrees(disk: &FaultyStorage) {
    let inspection = inspect(disk);
    let rig = Rig::on(disk.after_kill(), config(SyncPolicy::Group), Arc::new(VirtualClock::at(START)));
    assert_eq!(inspection.summary(), rig.report);
    let mut queues = rig.store.queues();
    queues.sort_by_key(Queue::id);
    let present: Vec<_> = inspection.queues().iter().filter(|queue| !queue.removed).collect();
    assert_eq!(present.len(), queues.len());
    for (info, queue) in present.iter().zip(&queues) {
        assert_eq!((info.id, &*info.endpoint), (queue.id(), queue.endpoint()));
        assert_eq!((info.priority, info.messages), (queue.priority(), queue.len()));
        let (found, damaged) = messages(&inspection, info);
        let own = stored(queue);
        assert_eq!(numbers(&found), numbers(&own), "{damaged} damaged");
        assert!(found == own, "other contents");
        if damaged == 0 {
            check_info(info, &found);
        }
        let files = inspection.spill_files().iter().filter(|file| file.queue == info.id);
        let in_files = files.map(|file| file.messages).sum();
        assert_eq!(info.spilled, in_files);
    }
    let in_segments: u64 = inspection.segments().iter().map(|segment| segment.messages).sum();
    let Recovery { entries, spilled, .. } = inspection.summary();
    assert_eq!(in_segments, entries - spilled);
    assert_eq!(spilled, present.iter().map(|queue| queue.spilled).sum());
    let in_log = |finding: &&Finding| matches!(finding.file, FindingFile::Segment(_));
    let damaged = inspection.findings().iter().filter(in_log);
    let damaged = damaged.filter(|finding| finding.kind == FindingKind::Damaged);
    let damaged_bytes: u64 = damaged.map(|finding| finding.bytes).sum();
    assert_eq!(damaged_bytes, rig.report.quarantined_bytes);
}

fn numbers(found: &[(u64, UnixMs, Vec<u8>)]) -> Vec<u64> {
    found.iter().map(|(seq, ..)| *seq).collect()
}

fn check_info(info: &QueueInfo, found: &[(u64, UnixMs, Vec<u8>)]) {
    let seq = |at: Option<&(u64, UnixMs, Vec<u8>)>| at.map(|message| message.0);
    let first = seq(found.first()).unwrap_or(info.next_seq);
    assert!(first == info.head_seq || (info.spilled > 0 && first > info.head_seq));
    assert!(seq(found.last()).is_none_or(|last| last < info.next_seq));
    let rounded = |(_, at, _): &(u64, UnixMs, Vec<u8>)| (*at != NEVER).then(|| at.0.div_ceil(1000) * 1000);
    let expiries = || found.iter().filter_map(rounded).map(UnixMs);
    assert_eq!((info.first_expiry, info.last_expiry), (expiries().min(), expiries().max()));
    assert_eq!(info.never_expiring, (found.len() - expiries().count()) as u64);
    assert_eq!(info.oldest_enqueued.is_some(), !found.is_empty());
    assert!(info.oldest_enqueued <= info.newest_enqueued);
    let payload_bytes: u64 = found.iter().map(|(_, _, payload)| payload.len() as u64).sum();
    assert!(info.bytes >= payload_bytes);
}

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
        assert_agrees(&rig.disk);
        for cut in [PowerCut::all_lost(), PowerCut::random_prefix(seed), PowerCut::scattered(seed)] {
            let disk = rig.disk.after_power_cut(cut);
            assert_agrees(&disk);
            if !disk.list().unwrap().is_empty() {
                (0..spoiled).for_each(|_| spoil(&disk, &mut dice));
                assert_agrees(&disk);
            }
        }
    }
}
