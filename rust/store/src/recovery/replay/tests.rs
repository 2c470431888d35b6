//! Batches that are taken over, refused, or only counted.

use super::*;
use crate::batch::{Batch, Placement, Target};
use crate::format::{BatchHeader, put_queue_defined, put_queue_removed};

/// A sealed batch with one message per number, all for queue 1.
fn batch(first_seq: u64, count: u32) -> Vec<u8> {
    let mut batch = Batch::new();
    for _ in 0..count {
        let target = Target { queue: QueueId(1), expires_at: UnixMs::MAX };
        batch.push(&[target], 1, |out| out.push(1)).unwrap();
    }
    batch.inner.slots[0].first_seq = first_seq;
    seal(&mut batch)
}

fn control(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut batch = Batch::new();
    batch.inner.begin();
    put(&mut batch.inner.buf);
    batch.inner.add_control();
    seal(&mut batch)
}

fn seal(batch: &mut Batch) -> Vec<u8> {
    batch.inner.seal(&Placement { salt: 1, address: 8, durable: 0, written_ms: 0 }, &[]);
    std::mem::take(&mut batch.inner.buf)
}

fn apply(replay: &mut Replay, bytes: &[u8]) -> bool {
    let header = BatchHeader::decode(bytes).unwrap();
    replay.apply(&BatchView::decode(header, bytes).unwrap())
}

fn defined() -> Replay {
    let mut replay = Replay::default();
    assert!(apply(&mut replay, &control(|buf| put_queue_defined(buf, 1, 0, "e"))));
    replay
}

#[test]
fn numbers_that_were_given_before_are_refused() {
    let mut replay = defined();
    assert!(apply(&mut replay, &batch(0, 3)));
    assert!(!apply(&mut replay, &batch(2, 2)));
    assert!(apply(&mut replay, &batch(3, 1)));
    assert_eq!((replay.seqs(), replay.entries().count()), (vec![4], 4));
}

#[test]
fn a_range_that_says_other_than_its_records_is_refused() {
    let mut replay = defined();
    let mut bytes = batch(0, 2);
    let table = bytes.len() - 24;
    let range = [1_u32, 3, 0, 0].map(u32::to_le_bytes).concat();
    let at = bytes[table..].windows(4).position(|four| four == [1, 0, 0, 0]).unwrap() + table;
    bytes[at..at + 16].copy_from_slice(&range);
    let tables_crc = crc32fast::hash(&range);
    let header = BatchHeader { tables_crc, ..BatchHeader::decode(&bytes).unwrap() };
    header.write_to(&mut bytes);
    assert!(!apply(&mut replay, &bytes));
    assert!(apply(&mut replay, &batch(0, 2)), "and leaves no trace");
}

#[test]
fn messages_of_a_removed_queue_only_count() {
    let mut replay = defined();
    assert!(apply(&mut replay, &batch(0, 2)));
    assert!(apply(&mut replay, &control(|buf| put_queue_removed(buf, 1, 2))));
    assert!(apply(&mut replay, &batch(2, 2)));
    assert_eq!((replay.entries().count(), replay.orphaned), (0, 0));
    assert!(apply(&mut replay, &control(|buf| put_queue_defined(buf, 1, 0, "e"))));
    assert!(apply(&mut replay, &batch(4, 1)));
    assert_eq!((replay.seqs(), replay.entries().count()), (vec![5], 1));
}

#[test]
fn messages_without_a_known_queue_are_orphans() {
    let mut replay = Replay::default();
    assert!(apply(&mut replay, &batch(0, 2)));
    assert_eq!(replay.orphaned, 2);
    let losses = replay.losses();
    let told: Vec<_> = losses.iter().map(|loss| (&*loss.endpoint, loss.first_seq, loss.count)).collect();
    assert_eq!(told, [("", 0, 2)]);
    replay.drop_unreachable();
    assert!(replay.into_table().iter().all(Option::is_none));
}

#[test]
fn two_ids_for_one_queue_leave_the_first() {
    let mut replay = defined();
    assert!(apply(&mut replay, &control(|buf| put_queue_defined(buf, 2, 0, "e"))));
    replay.drop_unreachable();
    let table = replay.into_table();
    assert_eq!(table.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}
