//! The ledger between two runs, and as tools see it.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::{BATCH_MSGS, NEVER, Rig, START, backlog_folder, config, lease, segments};
use edgehub_store::inspect::Inspection;
use edgehub_store::{LOSSES_KEPT, LossBook, LossBookError, LossCause, SyncPolicy};
use edgehub_testkit::{Call, Fault, FaultPlan, FaultyStorage, VirtualClock};
use edgehub_types::{Storage, UnixMs};

const NAME: &str = "losses.txt";

fn rig() -> Rig {
    Rig::new(config(SyncPolicy::Group))
}

fn book(disk: &FaultyStorage) -> LossBook {
    Inspection::of_storage(disk).unwrap().losses().unwrap().clone()
}

/// Endpoint, cause and messages of each total.
fn totals(book: &LossBook) -> Vec<(String, LossCause, u64)> {
    book.totals.iter().map(|total| (total.endpoint.to_string(), total.cause, total.count)).collect()
}

/// Lets `count` messages of the endpoint expire.
fn expire(rig: &mut Rig, endpoint: &str, count: usize) {
    let queue = rig.store.open_queue(endpoint, 0).unwrap();
    let now = rig.now();
    for _ in 0..count {
        rig.append_until(&[&queue], &[b"x"], now);
        assert!(lease(&queue, now, 10).is_empty());
    }
}

#[test]
fn without_losses_there_is_no_file() {
    let mut rig = rig();
    let queue = rig.store.open_queue("e", 0).unwrap();
    rig.append(&[&queue], &[b"a"]);
    rig.pass(100_000);
    rig.store.close().unwrap();
    assert_eq!(book(&rig.disk), LossBook::default());
    assert!(!rig.disk.list().unwrap().iter().any(|name| name.starts_with("losses")));
}

#[test]
fn in_memory_there_is_no_file() {
    let mut rig = Rig::in_memory(config(SyncPolicy::None));
    expire(&mut rig, "e", 1);
    rig.pass(100_000);
    rig.store.close().unwrap();
    assert!(rig.disk.list().unwrap().is_empty());
}

#[test]
fn a_loss_is_in_the_file_a_second_later() {
    let mut rig = rig();
    expire(&mut rig, "e", 1);
    rig.pass(999);
    assert_eq!(book(&rig.disk), LossBook::default());
    rig.pass(1);
    let book = book(&rig.disk);
    assert_eq!(totals(&book), [("e".to_owned(), LossCause::Expired, 1)]);
    assert_eq!((&book.last, book.written_at), (&rig.store.losses(), Some(UnixMs(START.0 + 1000))));
}

#[test]
fn while_losses_go_on_the_file_is_written_once_a_minute() {
    let mut rig = rig();
    let mut written = Vec::new();
    for _ in 0..1500 {
        expire(&mut rig, "e", 1);
        rig.pass(100);
        written.extend(rig.disk.content(NAME).is_some().then(|| book(&rig.disk).written_at.unwrap().0));
    }
    written.dedup();
    let gaps: Vec<_> = written.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [60_000, 60_000]);
}

#[test]
fn closing_writes_what_is_new() {
    let mut rig = rig();
    expire(&mut rig, "e", 3);
    rig.store.close().unwrap();
    assert_eq!(totals(&book(&rig.disk)), [("e".to_owned(), LossCause::Expired, 3)]);
}

#[test]
fn another_run_goes_on_counting() {
    let mut rig = rig();
    expire(&mut rig, "e", 3);
    rig.store.close().unwrap();
    let mut rig = rig.killed();
    assert_eq!(rig.store.losses(), []);
    expire(&mut rig, "f", 1);
    expire(&mut rig, "e", 1);
    rig.store.close().unwrap();
    assert_eq!(rig.store.losses().len(), 2);
    let book = book(&rig.disk);
    let wanted = [("e".to_owned(), LossCause::Expired, 4), ("f".to_owned(), LossCause::Expired, 1)];
    assert_eq!(totals(&book), wanted);
    let endpoints: Vec<_> = book.last.iter().map(|loss| &*loss.endpoint).collect();
    assert_eq!(endpoints, ["e", "e", "e", "f", "e"]);
}

#[test]
fn the_number_that_is_kept_is_limited_over_runs() {
    let mut rig = rig();
    expire(&mut rig, "e", LOSSES_KEPT - 1);
    rig.store.close().unwrap();
    let mut rig = rig.killed();
    expire(&mut rig, "f", 3);
    rig.store.close().unwrap();
    assert_eq!(rig.store.losses().len(), 3);
    let book = book(&rig.disk);
    assert_eq!(book.last.len(), LOSSES_KEPT);
    assert_eq!(totals(&book)[0].2 + totals(&book)[1].2, LOSSES_KEPT as u64 + 2);
}

#[test]
fn damage_that_every_run_finds_counts_once() {
    let disk = backlog_folder(4096);
    let (name, content) = segments(&disk)[1].clone();
    let mut damaged = content.clone();
    damaged[1000] ^= 1;
    disk.set_content(&name, &damaged);
    let open = |disk: &FaultyStorage| {
        Rig::on(disk.after_kill(), config(SyncPolicy::Group), Arc::new(VirtualClock::at(START)))
    };
    let first = open(&disk);
    let found = first.store.losses();
    assert!(!found.is_empty() && found.iter().all(|loss| loss.count >= BATCH_MSGS as u64));
    first.store.close().unwrap();
    let once = book(&first.disk);
    let second = open(&first.disk);
    assert_eq!(second.store.losses(), found);
    second.store.close().unwrap();
    let twice = book(&second.disk);
    assert_eq!((&twice.totals, &twice.last), (&once.totals, &once.last));
    // What was found and then acknowledged around is found with another beginning, or not at all.
    let third = open(&second.disk);
    for queue in third.store.queues() {
        let got = lease(&queue, third.now(), BATCH_MSGS);
        queue.ack_all(&got.iter().map(|got| got.seq).collect::<Vec<_>>(), queue.epoch());
    }
    third.store.close().unwrap();
    let fourth = open(&third.disk);
    fourth.store.close().unwrap();
    assert_eq!(book(&fourth.disk).totals, once.totals);
}

#[test]
fn a_file_that_cannot_be_written_stops_nothing() {
    for call in [Call::Open, Call::Write, Call::SyncData, Call::Rename] {
        let mut rig = rig();
        expire(&mut rig, "e", 1);
        rig.pass(1000);
        expire(&mut rig, "e", 1);
        // Until nothing else is to be written.
        rig.pass(2000);
        rig.pass(2000);
        rig.disk.plan_fault(Some(FaultPlan::new(&[call], 0, 1, Fault::Error)));
        rig.pass(56_000);
        rig.disk.plan_fault(None);
        assert_eq!(totals(&book(&rig.disk)), [("e".to_owned(), LossCause::Expired, 1)], "{call:?}");
        assert!(rig.store.is_poisoned().is_none(), "{call:?}");
        let queue = rig.store.open_queue("e", 0).unwrap();
        rig.append_until(&[&queue], &[b"y"], NEVER);
        assert_eq!(lease(&queue, rig.now(), 10).len(), 1, "{call:?}");
        rig.pass(60_000);
        rig.pass(1000);
        assert_eq!(totals(&book(&rig.disk)), [("e".to_owned(), LossCause::Expired, 2)], "{call:?}");
    }
}

#[test]
fn a_file_that_is_no_ledger_is_put_aside() {
    let mut rig = rig();
    expire(&mut rig, "e", 1);
    rig.store.close().unwrap();
    let mut content = rig.disk.content(NAME).unwrap();
    content[20] ^= 1;
    rig.disk.set_content(NAME, &content);
    let inspection = Inspection::of_storage(&rig.disk).unwrap();
    assert_eq!(inspection.losses(), Err(&LossBookError::Checksum));
    assert!(inspection.is_sound());
    let mut rig = rig.killed();
    assert_eq!(rig.disk.content("losses.bad"), Some(content));
    expire(&mut rig, "f", 1);
    rig.store.close().unwrap();
    assert_eq!(totals(&book(&rig.disk)), [("f".to_owned(), LossCause::Expired, 1)]);
}

#[test]
fn the_file_of_another_store_is_not_taken() {
    let mut other = rig();
    expire(&mut other, "e", 1);
    other.store.close().unwrap();
    let rig = rig();
    let own = rig.disk.clone();
    own.set_content(NAME, b"nothing at all");
    assert_eq!(Inspection::of_storage(&own).unwrap().losses(), Err(&LossBookError::Checksum));
    let text = String::from_utf8(other.disk.content(NAME).unwrap()).unwrap();
    let book = LossBook::from_text(&text, None).unwrap();
    own.set_content(NAME, book.to_text(1).as_bytes());
    assert_eq!(Inspection::of_storage(&own).unwrap().losses(), Err(&LossBookError::OtherStore));
}
