//! Damaged files: whatever is wrong with them, the store opens, says what was lost, and delivers the rest in order.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{
    BATCH_MSGS, BATCHES, Got, Rig, START, backlog_folder, config, drain, lease, payloads, segments, seqs,
};
use edgehub_store::format::{BATCH_HEADER_BYTES, BatchHeader, SegmentHeader};
use edgehub_store::{StoreConfig, StoreError, SyncPolicy};
use edgehub_testkit::{Dice, FaultyStorage, VirtualClock};
use edgehub_types::Storage;

/// A folder with a backlog in several segments, closed in order.
fn folder() -> FaultyStorage {
    backlog_folder(4096)
}

fn open(disk: &FaultyStorage) -> Rig {
    Rig::on(disk.after_kill(), config(SyncPolicy::Group), Arc::new(VirtualClock::at(START)))
}

/// All that is there, by endpoint; every message is one that was sent, with the number it was sent with.
fn found(rig: &Rig) -> BTreeMap<String, Vec<Got>> {
    let mut found = BTreeMap::new();
    for queue in rig.store.queues() {
        let got = lease(&queue, rig.now(), usize::MAX);
        assert!(got.is_sorted_by(|a, b| a.seq < b.seq));
        for got in &got {
            assert!(
                got.payload.iter().all(|byte| u64::from(*byte) == got.seq),
                "a changed message is delivered"
            );
        }
        found.insert(queue.endpoint().to_owned(), got);
    }
    assert_eq!(rig.store.stats().damaged, 0);
    found
}

fn lost(rig: &Rig) -> usize {
    let found = found(rig);
    let count = |endpoint: &str| found.get(endpoint).map_or(0, Vec::len);
    let all = usize::from(BATCHES) * BATCH_MSGS;
    (all - count("a")).max((all - 10) - count("b").min(all - 10))
}

#[test]
fn an_undamaged_folder_has_everything() {
    let rig = open(&folder());
    assert_eq!(lost(&rig), 0);
    assert_eq!((rig.report.quarantined, rig.report.torn_bytes), (0, 0));
    assert_eq!(found(&rig).len(), 2);
}

#[test]
fn a_flipped_bit_costs_one_batch_at_most() {
    let disk = folder();
    let mut dice = Dice::new(1);
    let segments = segments(&disk);
    assert!(segments.len() > 4);
    let mut noticed = 0;
    for (name, content) in &segments {
        for at in (0..content.len()).step_by(3) {
            let mut damaged = content.clone();
            damaged[at] ^= 1 << dice.below(8);
            disk.set_content(name, &damaged);
            let rig = open(&disk);
            let lost = lost(&rig);
            assert!(lost <= BATCH_MSGS, "{name} at {at}: {lost} lost");
            let told = rig.report.quarantined > 0 || rig.report.torn_bytes > 0;
            assert!(lost == 0 || told, "{name} at {at}: lost without a word");
            noticed += usize::from(told);
        }
        disk.set_content(name, content);
    }
    let bytes: usize = segments.iter().map(|(_, content)| content.len()).sum();
    assert!(noticed * 3 > bytes / 2, "most of the bytes are covered by a checksum");
}

#[test]
fn the_store_works_on_after_damage() {
    let disk = folder();
    let (name, mut content) = segments(&disk).swap_remove(2);
    content[600] ^= 1;
    disk.set_content(&name, &content);
    let mut rig = open(&disk);
    assert_eq!(rig.report.quarantined, 1);
    assert_eq!(lost(&rig), BATCH_MSGS);
    let queues = rig.store.queues();
    let queue = queues.iter().find(|queue| queue.endpoint() == "a").unwrap();
    queue.release_all();
    rig.append(&[queue], &[&[72; 10]]);
    let got = drain(queue, rig.now());
    assert_eq!(got.last().unwrap().seq, 72, "lost numbers are not given again");
    assert_eq!(got.len(), 70);
    assert_eq!(queue.len(), 0);
}

#[test]
fn random_damage_never_keeps_the_store_from_opening() {
    let whole = folder();
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let disk = whole.after_kill();
        for (name, mut content) in segments(&disk) {
            let len = content.len() as u64;
            let start = dice.below(len) as usize;
            let end = (start + dice.below(2000) as usize).min(content.len());
            match dice.below(8) {
                0 => content[start..end].fill(0),
                1 => content[start..end].iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
                2 => content.truncate(start),
                3 => content.extend((0..dice.below(3000)).map(|n| n as u8)),
                4 => disk.remove(&name).unwrap(),
                5 => {
                    content.drain(start..end);
                }
                _ => continue,
            }
            if disk.content(&name).is_some() {
                disk.set_content(&name, &content);
            }
        }
        let rig = open(&disk);
        found(&rig);
        let sent = 2 * u64::from(BATCHES) * BATCH_MSGS as u64;
        assert!(rig.report.lost <= sent, "each counts once per queue (seed {seed})");
        let rig = rig.killed();
        assert_eq!(rig.report.torn_bytes, 0, "the first recovery cleaned up (seed {seed})");
        found(&rig);
    }
}

#[test]
fn a_record_that_rots_while_the_store_runs_is_skipped() {
    let mut rig = Rig::new(StoreConfig { tail_cache_bytes: 0, ..config(SyncPolicy::None) });
    let queue = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&queue], &[b"one", b"two", b"three"]);
    let (name, mut content) = segments(&rig.disk).swap_remove(0);
    let at = content.windows(3).position(|bytes| bytes == b"two").unwrap();
    content[at] ^= 4;
    rig.disk.set_content(&name, &content);
    assert_eq!(payloads(&drain(&queue, rig.now())), [&b"one"[..], b"three"]);
    assert_eq!(rig.store.stats().damaged, 1);
    assert_eq!((queue.len(), rig.store.stats().index_entries), (0, 0));
}

#[test]
fn bad_sectors_cost_what_is_in_them() {
    let disk = backlog_folder(1 << 16);
    let (name, content) = segments(&disk).swap_remove(0);
    disk.set_unreadable(&name, 9000..9100);
    let rig = Rig::on(disk, config(SyncPolicy::Group), Arc::new(VirtualClock::at(START)));
    assert_eq!(rig.report.quarantined, 1);
    let lost = lost(&rig);
    assert!((1..=3 * BATCH_MSGS).contains(&lost), "the batches in two sectors: {lost}");
    assert_eq!(rig.disk.content(&name).unwrap(), content, "nothing is cut off");
}

#[test]
fn a_disk_that_cannot_read_a_header_is_an_error_and_nothing_is_removed() {
    let disk = folder();
    let before = segments(&disk);
    for (name, content) in &before {
        let disk = disk.after_kill();
        disk.set_unreadable(name, 0..content.len() as u64);
        let clock = Arc::new(VirtualClock::at(START));
        let Err(error) = Rig::try_on(disk.clone(), config(SyncPolicy::Group), clock) else {
            panic!("opened without {name}")
        };
        assert_eq!(error.to_string(), format!("cannot read {name}: planned fault of a read"));
        assert_eq!(segments(&disk), before);
    }
}

#[test]
fn a_message_that_cannot_be_read_stays_ready() {
    let mut rig = Rig::new(StoreConfig { tail_cache_bytes: 0, ..config(SyncPolicy::None) });
    let queue = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&queue], &[b"one", b"two"]);
    let (name, _) = segments(&rig.disk).swap_remove(0);
    rig.disk.set_unreadable(&name, 100..4096);
    let error = queue.lease(rig.now(), 10, 100, |_| true).unwrap_err();
    assert!(matches!(error, StoreError::Io { action: "read", .. }), "{error}");
    assert!(queue.has_ready());
    assert_eq!(queue.len(), 2);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let disk = folder();
    // The last file may be a prepared one, of zeros.
    let mut begun = segments(&disk).into_iter().filter(|(_, content)| content.starts_with(b"EDGEHUBJ"));
    let (name, mut content) = begun.next_back().unwrap();
    content[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32fast::hash(&content[..12]);
    content[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.set_content(&name, &content);
    let before = segments(&disk);
    let clock = Arc::new(VirtualClock::at(START));
    let Err(error) = Rig::try_on(disk.clone(), config(SyncPolicy::Group), clock) else {
        panic!("a newer format was opened")
    };
    assert!(matches!(&error, StoreError::NewerFormat { found: 2, known: 1, .. }));
    assert_eq!(
        error.to_string(),
        format!("{name}: format version 2 is newer than 1; use the program that wrote it")
    );
    assert_eq!(segments(&disk), before);
}

#[test]
fn a_damaged_version_is_damage_and_not_a_newer_format() {
    let disk = folder();
    let (name, mut content) = segments(&disk).pop().unwrap();
    content[8] = 2;
    disk.set_content(&name, &content);
    assert_eq!(lost(&open(&disk)), 0);
}

#[test]
fn other_files_are_left_alone() {
    let disk = folder();
    for name in
        ["lock", "notes.txt", "journal-1.seg", "journal-000000000001.seg.old", "journal-00000000000x.seg"]
    {
        disk.set_content(name, b"mine");
    }
    let rig = open(&disk);
    assert_eq!(lost(&rig), 0);
    assert_eq!(rig.disk.content("journal-1.seg").as_deref(), Some(&b"mine"[..]));
    assert_eq!(rig.disk.content("notes.txt").as_deref(), Some(&b"mine"[..]));
}

#[test]
fn a_copy_of_a_segment_does_not_double_its_messages() {
    let disk = folder();
    let (_, content) = segments(&disk).swap_remove(1);
    disk.set_content("journal-000000000099.seg", &content);
    assert_eq!(lost(&open(&disk)), 0);
}

#[test]
fn a_segment_of_rubbish_is_put_aside() {
    let disk = folder();
    let (name, content) = segments(&disk).swap_remove(1);
    disk.set_content(&name, &vec![7; content.len()]);
    let rig = open(&disk);
    assert_eq!(rig.report.quarantined, 1);
    assert_eq!(rig.report.quarantined_bytes, content.len() as u64);
    let bad = name.replace(".seg", ".bad");
    assert_eq!(rig.disk.content(&bad).unwrap().len(), content.len());
    let again = rig.killed();
    assert_eq!(again.report.quarantined, 0);
    assert!(again.disk.content(&bad).is_some());
}

/// The address of the next batch in a segment, as a reader of the format finds it.
fn end_of(content: &[u8]) -> usize {
    let header = SegmentHeader::decode(content).unwrap();
    let mut at = header.header_bytes as usize;
    while let Some(batch) = content.get(at..).and_then(BatchHeader::decode) {
        at += batch.bytes as usize;
    }
    at
}

#[test]
fn a_message_that_looks_like_a_batch_is_not_taken_for_one() {
    let mut rig = Rig::new(StoreConfig { segment_bytes: 1 << 16, ..config(SyncPolicy::Group) });
    let queue = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&queue], &[b"first"]);
    let (name, content) = segments(&rig.disk).swap_remove(0);
    let start = SegmentHeader::decode(&content).unwrap().header_bytes as usize;
    let own = BatchHeader::decode(&content[start..]).unwrap();
    // A copy of a batch with the very address that it will have inside the message, but a guessed salt.
    let end = end_of(&content);
    let inner = end + BATCH_HEADER_BYTES + 24;
    let mut forged = content[start..start + own.bytes as usize].to_vec();
    forged[8] ^= 1;
    forged[16..24].copy_from_slice(&(inner as u64).to_le_bytes());
    let crc = crc32fast::hash(&forged[8..64]);
    forged[4..8].copy_from_slice(&crc.to_le_bytes());
    assert!(BatchHeader::decode(&forged).is_some());
    rig.append(&[&queue], &[&forged]);
    rig.append(&[&queue], &[b"last"]);
    rig.store.close().unwrap();
    let mut content = rig.disk.content(&name).unwrap();
    assert_eq!(&content[inner..inner + forged.len()], &forged[..]);
    content[end] ^= 1;
    rig.disk.set_content(&name, &content);
    let rig = rig.killed();
    assert_eq!(rig.report.quarantined, 1);
    let queue = rig.store.queues().swap_remove(0);
    let got = drain(&queue, rig.now());
    assert_eq!((seqs(&got), payloads(&got)), (vec![0, 2], vec![&b"first"[..], b"last"]));
}

/// What the header alone says is said once more right behind it.
#[test]
fn a_damaged_header_of_the_only_segment_costs_no_queue() {
    let mut rig = Rig::new(StoreConfig { segment_bytes: 16 << 10, ..config(SyncPolicy::Group) });
    let queue = rig.store.open_queue("e", 3).unwrap();
    for _ in 0..30 {
        rig.append(&[&queue], &[&[0; 900]]);
        drain(&queue, rig.now());
        rig.pass(1000);
    }
    rig.append(&[&queue], &[b"kept"]);
    rig.store.close().unwrap();
    // The other one is prepared.
    let all = segments(&rig.disk);
    let number = |name: &str, content: &[u8]| {
        let header = SegmentHeader::decode(content).unwrap();
        name.contains(&format!("{:012}", header.number))
    };
    let [(name, content)] =
        &all.iter().filter(|(name, content)| number(name, content)).collect::<Vec<_>>()[..]
    else {
        panic!("{} segments", all.len())
    };
    for at in 0..SegmentHeader::decode(content).unwrap().header_bytes as usize {
        let mut damaged = content.clone();
        damaged[at] ^= 4;
        rig.disk.set_content(name, &damaged);
        let opened = open(&rig.disk);
        assert_eq!(opened.report.orphaned, 0, "byte {at}");
        let queue = opened.store.open_queue("e", 3).unwrap();
        assert_eq!(payloads(&drain(&queue, opened.now())), [b"kept"], "byte {at}");
    }
}
