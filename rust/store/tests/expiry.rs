//! Expired messages behind something that holds the front of their queue.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Got, NEVER, Rig, SPILL_ALL, config, drain, lease, seqs};
use edgehub_store::{
    Batch, CommitWaiter, LossCause, Queue, SpillConfig, Store, StoreConfig, SyncPolicy, Target,
};
use edgehub_types::UnixMs;

const SECOND: u64 = 1000;
const POLICIES: [SyncPolicy; 3] =
    [SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 50 }, SyncPolicy::None];
/// Messages that fill several segments of 4 KiB.
const MANY: u64 = 60;

/// A store on disk under each policy, and one in memory with segments as small.
fn rigs() -> Vec<Rig> {
    let on_disk = POLICIES.map(|policy| Rig::new(config(policy)));
    on_disk.into_iter().chain([Rig::in_memory(config(SyncPolicy::None))]).collect()
}

/// Has the store run for so long, a tenth of a second at a time.
fn run(rig: &Rig, ms: u64) {
    (0..ms / 100).for_each(|_| rig.pass(100));
}

/// One batch for each message, so that they spread over segments.
fn append_many(rig: &mut Rig, queues: &[&Queue], count: u64, until: UnixMs) {
    for n in 0..count {
        rig.append_until(queues, &[&[n as u8; 400]], until);
    }
}

fn in_a_second(rig: &Rig) -> UnixMs {
    UnixMs(rig.now().0 + SECOND)
}

fn expired_total(rig: &Rig) -> u64 {
    rig.store.losses().iter().filter(|loss| loss.cause == LossCause::Expired).map(|loss| loss.count).sum()
}

fn ack(queue: &Queue, got: &[Got]) {
    for got in got {
        queue.ack(got.seq, got.epoch);
    }
}

#[test]
fn a_first_message_that_never_expires_holds_nothing_back() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("a", 0).unwrap();
        rig.append(&[&queue], &[b"for ever"]);
        let until = in_a_second(&rig);
        append_many(&mut rig, &[&queue], MANY, until);
        let before = rig.store.stats();
        assert!(before.segments >= 6, "{before:?}");
        // A second until they expire, two until their space is back.
        run(&rig, 3 * SECOND);
        let after = rig.store.stats();
        assert!(after.segments <= 3, "{after:?}");
        assert!(after.expired >= MANY - 20, "{after:?}");
        assert_eq!(queue.lost(LossCause::Expired), after.expired);
        assert_eq!(queue.len(), 1 + MANY - after.expired);
        assert_eq!(seqs(&lease(&queue, rig.now(), usize::MAX)), [0]);
        assert_eq!((queue.len(), queue.expired(), expired_total(&rig)), (1, MANY, MANY));
    }
}

#[test]
fn a_lease_at_the_front_holds_nothing_back() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("a", 0).unwrap();
        let until = in_a_second(&rig);
        append_many(&mut rig, &[&queue], MANY, until);
        let held = lease(&queue, rig.now(), 2);
        run(&rig, 3 * SECOND);
        assert!(rig.store.stats().segments <= 3, "{:?}", rig.store.stats());
        assert_eq!((queue.len(), queue.expired()), (2, MANY - 2), "what is leased stays");
        assert_eq!(rig.store.stats().index_entries, 2);
        assert!(!queue.has_ready());
        ack(&queue, &held);
        assert_eq!((queue.len(), queue.expired()), (0, MANY - 2));
        assert_eq!(rig.store.stats().index_entries, 0);
    }
}

#[test]
fn leased_messages_in_the_middle_stay_until_they_are_given_back() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("a", 0).unwrap();
        rig.append(&[&queue], &[b"for ever"]);
        let until = in_a_second(&rig);
        append_many(&mut rig, &[&queue], MANY, until);
        let held = lease(&queue, rig.now(), 31);
        run(&rig, 3 * SECOND);
        let kept = queue.len();
        assert!((31..40).contains(&kept), "{kept}");
        // Of those that come back acknowledged nothing is counted, of those that only come back, all.
        ack(&queue, &held[1..11]);
        queue.release_all();
        run(&rig, 12 * SECOND);
        assert!(rig.store.stats().segments <= 3, "{:?}", rig.store.stats());
        assert_eq!(seqs(&lease(&queue, rig.now(), usize::MAX)), [0]);
        assert_eq!(queue.expired(), MANY - 10);
    }
}

#[test]
fn a_segment_goes_when_all_of_its_queues_are_rid_of_it() {
    for mut rig in rigs() {
        let names = ["a", "b", "c"];
        let queues = names.map(|name| rig.store.open_queue(name, 0).unwrap());
        let [a, b, c] = &queues;
        rig.append(&[a, b, c], &[b"for ever"]);
        let until = in_a_second(&rig);
        append_many(&mut rig, &[a, b, c], MANY, until);
        // A message that lives longer keeps its segment, with what else is in it, and no other one.
        let later = UnixMs(rig.now().0 + 3600 * SECOND);
        rig.append_until(&[b], &[b"later"], later);
        append_many(&mut rig, &[a, c], MANY, until);
        run(&rig, 3 * SECOND);
        assert!(rig.store.stats().segments <= 4, "{:?}", rig.store.stats());
        assert_eq!(seqs(&lease(a, rig.now(), usize::MAX)), [0]);
        assert_eq!(seqs(&lease(b, rig.now(), usize::MAX)), [0, MANY + 1]);
        assert_eq!([a, b, c].map(Queue::expired)[..2], [2 * MANY, MANY]);
        drop(lease(c, rig.now(), usize::MAX));
        assert_eq!((c.expired(), expired_total(&rig)), (2 * MANY, 5 * MANY));
    }
}

#[test]
fn what_expired_while_nobody_ran_goes_at_once() {
    for policy in POLICIES {
        let mut rig = Rig::new(config(policy));
        let queue = rig.store.open_queue("a", 0).unwrap();
        rig.append(&[&queue], &[b"for ever"]);
        let until = in_a_second(&rig);
        append_many(&mut rig, &[&queue], MANY, until);
        rig.store.close().unwrap();
        rig.clock.advance_ms(2 * SECOND);
        let rig = rig.killed();
        let queue = rig.store.open_queue("a", 0).unwrap();
        run(&rig, 2 * SECOND);
        assert!(rig.store.stats().segments <= 3, "{:?}", rig.store.stats());
        assert_eq!(seqs(&lease(&queue, rig.now(), usize::MAX)), [0]);
        assert_eq!(queue.expired(), MANY);
        // The segments that are missing now are no loss for the next one.
        let rig = rig.killed();
        assert_eq!((rig.report.lost, rig.report.quarantined), (0, 0));
        let queue = rig.store.open_queue("a", 0).unwrap();
        assert_eq!(seqs(&lease(&queue, rig.now(), usize::MAX)), [0]);
    }
}

#[test]
fn numbers_and_order_go_on_behind_a_hole() {
    for mut rig in rigs() {
        let queue = rig.store.open_queue("a", 0).unwrap();
        rig.append(&[&queue], &[b"first"]);
        let until = in_a_second(&rig);
        append_many(&mut rig, &[&queue], MANY, until);
        run(&rig, 3 * SECOND);
        rig.append(&[&queue], &[b"last"]);
        let got = lease(&queue, rig.now(), usize::MAX);
        assert_eq!(seqs(&got), [0, MANY + 1]);
        ack(&queue, &got);
        run(&rig, 3 * SECOND);
        assert_eq!((rig.store.stats().index_entries, rig.store.stats().live_messages), (0, 0));
    }
}

#[test]
fn a_million_messages_go_in_few_losses() {
    const BATCH: usize = 10_000;
    const BATCHES: u64 = 100;
    let config =
        StoreConfig { segment_bytes: 2 << 20, index_entries_max: 2_000_000, ..config(SyncPolicy::None) };
    let mut rig = Rig::new(StoreConfig { tail_cache_bytes: 0, ..config });
    let queue = rig.store.open_queue("a", 0).unwrap();
    rig.append(&[&queue], &[b"for ever"]);
    let until = in_a_second(&rig);
    let payloads = vec![&b"x"[..]; BATCH];
    (0..BATCHES).for_each(|_| rig.append_until(&[&queue], &payloads, until));
    rig.append(&[&queue], &[b"behind"]);
    let segments = rig.store.stats().segments;
    assert!(segments >= 12, "{segments}");
    run(&rig, 2 * SECOND);
    // The first and the last segment hold messages that stay.
    assert!(queue.len() < 1_000_000 * 3 / segments, "{}", queue.len());
    assert!(rig.store.stats().index_entries < queue.len() + 5000, "{:?}", rig.store.stats());
    assert!(rig.store.losses().len() <= 5, "{:?}", rig.store.losses());
    assert_eq!(seqs(&lease(&queue, rig.now(), usize::MAX)), [0, 1_000_001]);
    assert_eq!((queue.expired(), rig.store.stats().expired), (1_000_000, 1_000_000));
}

/// Appends messages by their number, most of which live for a second.
fn send(store: &Store, waiter: &Arc<dyn CommitWaiter>, queue: &Queue, messages: u64) {
    let mut batch = Batch::new();
    for number in 0..messages {
        let expires_at = if is_mortal(number) { UnixMs(store.now().0 + SECOND) } else { NEVER };
        let target = [Target { queue: queue.id(), expires_at }];
        batch.push(&target, 8, |out| out.extend_from_slice(&number.to_le_bytes())).unwrap();
        while batch.len_msgs() == 7 && store.append(&mut batch, waiter, 0).is_err() {
            std::thread::yield_now();
        }
    }
    assert!(store.append(&mut batch, waiter, 0).is_ok());
}

/// Whole stretches of messages that do not expire, so that segments of both kinds come about.
fn is_mortal(number: u64) -> bool {
    !(number / 500).is_multiple_of(8)
}

/// Leases, acknowledges most, and gives the rest back from time to time. Returns what it acknowledged.
fn receive(store: &Store, queue: &Queue, done: &AtomicBool) -> Vec<Got> {
    let (mut kept, mut round) = (Vec::new(), 0);
    while !done.load(Ordering::SeqCst) {
        let got = lease(queue, store.now(), 20);
        let (first, rest) = got.split_at(got.len() * 2 / 3);
        ack(queue, if round % 2 == 0 { first } else { rest });
        kept.extend_from_slice(if round % 2 == 0 { first } else { rest });
        if round % 10 == 0 {
            queue.release_all();
        }
        round += 1;
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    queue.release_all();
    kept
}

/// Sender, consumer and sweep at the same time.
fn side_by_side(rig: &Rig, messages: u64) {
    let queue = rig.store.open_queue("a", 0).unwrap();
    let (sent, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut got = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            send(&rig.store, &rig.waiter, &queue, messages);
            sent.store(true, Ordering::SeqCst);
        });
        let consumer = scope.spawn(|| receive(&rig.store, &queue, &done));
        while !sent.load(Ordering::SeqCst) {
            rig.pass(300);
        }
        sender.join().unwrap();
        run(rig, 3 * SECOND);
        done.store(true, Ordering::SeqCst);
        consumer.join().unwrap()
    });
    run(rig, 15 * SECOND);
    got.append(&mut drain(&queue, rig.now()));
    let numbers: Vec<u64> =
        got.iter().map(|got| u64::from_le_bytes(got.payload[..8].try_into().unwrap())).collect();
    let distinct: HashSet<u64> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), numbers.len(), "nothing is acknowledged twice");
    assert!((0..messages).all(|number| is_mortal(number) || distinct.contains(&number)));
    assert_eq!(queue.expired() + numbers.len() as u64, messages);
    let stats = rig.store.stats();
    assert_eq!((stats.live_messages, stats.index_entries), (0, 0));
    assert!(stats.expired > messages / 2, "{stats:?}");
}

#[test]
fn nothing_is_lost_or_kept_side_by_side_in_memory() {
    side_by_side(
        &Rig::in_memory(StoreConfig { segment_bytes: 16 << 10, ..config(SyncPolicy::None) }),
        200_000,
    );
}

#[test]
fn nothing_is_lost_or_kept_side_by_side_with_spill_files() {
    let sync = SyncPolicy::Interval { interval_ms: 50 };
    let spill = SpillConfig { after_segments: 4, ..SPILL_ALL };
    let rig = Rig::new(StoreConfig { segment_bytes: 16 << 10, spill, ..config(sync) });
    side_by_side(&rig, 60_000);
    assert!(rig.store.stats().spilled > 0, "{:?}", rig.store.stats());
}

#[test]
fn what_comes_behind_spill_files_expires_too() {
    for policy in POLICIES {
        let spill = SpillConfig { after_segments: 1, ..SPILL_ALL };
        let mut rig = Rig::new(StoreConfig { spill, ..config(policy) });
        let queue = rig.store.open_queue("a", 0).unwrap();
        append_many(&mut rig, &[&queue], 40, NEVER);
        let held = lease(&queue, rig.now(), 3);
        run(&rig, 5 * SECOND);
        let spilled = rig.store.stats().spilled;
        assert!(spilled > 10, "{policy:?}: {spilled}");
        let until = in_a_second(&rig);
        append_many(&mut rig, &[&queue], 2 * MANY, until);
        append_many(&mut rig, &[&queue], 5, NEVER);
        run(&rig, 4 * SECOND);
        let stats = rig.store.stats();
        assert!(stats.expired > MANY && stats.segments <= 5, "{stats:?}");
        let mut all = seqs(&held);
        all.extend(seqs(&lease(&queue, rig.now(), usize::MAX)));
        let wanted: Vec<u64> = (0..40).chain(40 + 2 * MANY..45 + 2 * MANY).collect();
        assert_eq!(all, wanted, "{policy:?}");
        assert_eq!((queue.len(), queue.expired()), (45, 2 * MANY));
    }
}
