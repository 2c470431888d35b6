//! What a recovery says of the messages that damage took.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{BATCH_MSGS, BATCHES, DONE, Rig, START, backlog_folder, config, lease, segments};
use edgehub_store::{LossCause, SyncPolicy};
use edgehub_testkit::{FaultyStorage, VirtualClock};

const ALL: u64 = BATCHES as u64 * BATCH_MSGS as u64;

fn folder() -> FaultyStorage {
    backlog_folder(4096)
}

fn open(disk: &FaultyStorage) -> Rig {
    Rig::on(disk.after_kill(), config(SyncPolicy::Group), Arc::new(VirtualClock::at(START)))
}

/// Messages that are neither done nor there any more, by endpoint.
fn missing(rig: &Rig) -> BTreeMap<String, u64> {
    let all = [("a".to_owned(), ALL), ("b".to_owned(), ALL - DONE as u64)];
    let mut missing = BTreeMap::from(all);
    for queue in rig.store.queues() {
        let wanted = missing.get_mut(queue.endpoint()).unwrap();
        *wanted = wanted.saturating_sub(queue.len());
    }
    missing
}

/// What the ledger says of it.
fn told(rig: &Rig) -> BTreeMap<String, u64> {
    let mut told = BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), 0)]);
    for loss in rig.store.losses() {
        assert_eq!((loss.cause, loss.at), (LossCause::Damaged, START));
        *told.get_mut(&*loss.endpoint).unwrap() += loss.count;
    }
    for queue in rig.store.queues() {
        assert_eq!(queue.lost(LossCause::Damaged), told[queue.endpoint()]);
    }
    assert_eq!(rig.report.lost, told.values().sum::<u64>());
    told
}

#[test]
fn a_folder_without_damage_has_lost_nothing() {
    let rig = open(&folder());
    assert_eq!((rig.report.lost, rig.store.losses()), (0, vec![]));
}

#[test]
fn a_recovery_says_which_numbers_a_flipped_bit_took() {
    let disk = folder();
    let segments = segments(&disk);
    // Behind it is at most a prepared file, of zeros.
    let last = segments.iter().rposition(|(_, content)| content.starts_with(b"EDGEHUBJ")).unwrap();
    let mut lossy = 0;
    for (place, (name, content)) in segments.iter().enumerate() {
        for at in (0..content.len()).step_by(7) {
            let mut damaged = content.clone();
            damaged[at] ^= 1;
            disk.set_content(name, &damaged);
            let rig = open(&disk);
            let (missing, told) = (missing(&rig), told(&rig));
            // Behind the end of the log nothing tells any more what was there.
            assert!(told == missing || place == last, "{name} at {at}: {told:?} of {missing:?}");
            assert!(told.iter().all(|(endpoint, count)| *count <= missing[endpoint]));
            lossy += usize::from(told["a"] > 0);
        }
        disk.set_content(name, content);
    }
    assert!(lossy > 100, "{lossy}");
}

#[test]
fn a_segment_that_is_put_aside_is_counted_message_by_message() {
    let disk = folder();
    let (name, content) = segments(&disk).swap_remove(1);
    disk.set_content(&name, &vec![7; content.len()]);
    let rig = open(&disk);
    assert!(missing(&rig)["a"] > 0);
    assert_eq!(told(&rig), missing(&rig));
}

/// A folder with the first and the last messages of a queue, from the middle of which segments were unlinked.
fn folder_with_spent_segments() -> FaultyStorage {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let queue = rig.store.open_queue("e", 0).unwrap();
    for n in 0..40 {
        rig.append(&[&queue], &[&[n; 400]]);
    }
    for message in lease(&queue, rig.now(), 40).iter().skip(1).take(30) {
        queue.ack(message.seq, message.epoch);
    }
    (0..30).for_each(|_| rig.pass(1000));
    assert!(rig.store.stats().unlinked > 0);
    rig.disk.after_kill()
}

#[test]
fn what_a_spent_segment_held_is_not_lost() {
    let rig = open(&folder_with_spent_segments());
    assert_eq!((rig.report.lost, rig.store.losses()), (0, vec![]));
}

#[test]
fn behind_spent_segments_a_damaged_header_costs_no_more_than_itself() {
    let disk = folder_with_spent_segments();
    let (name, mut content) = segments(&disk).swap_remove(1);
    content[30] ^= 1;
    disk.set_content(&name, &content);
    let rig = open(&disk);
    assert_eq!((rig.report.quarantined, rig.report.lost), (1, 0));
    assert_eq!(rig.store.losses(), []);
}
