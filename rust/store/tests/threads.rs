//! The store with its own thread, real files and several senders.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{NEVER, SPILL_ALL, START, drain, lease};
use edgehub_store::{
    Batch, CommitWaiter, FileStorage, Media, Queue, SpillConfig, Store, StoreConfig, StoreError, SyncPolicy,
    Target,
};
use edgehub_testkit::{Dice, VirtualClock};
use parking_lot::{Condvar, Mutex};

const SENDERS: u32 = 3;
const MSGS: u32 = 2000;

/// A folder of its own that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("edgehub-store-{}-{number}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn open(folder: &Folder, sync: SyncPolicy) -> Store {
    let config = StoreConfig { sync, segment_bytes: 256 << 10, ..StoreConfig::small() };
    let media = Media::Disk(Arc::new(FileStorage::open(&folder.0).unwrap()));
    Store::open(media, config, Arc::new(VirtualClock::at(START))).unwrap().0
}

/// Counts committed batches and lets a sender wait for them.
#[derive(Default)]
struct Counter {
    committed: Mutex<u64>,
    changed: Condvar,
}

impl Counter {
    fn wait_for(&self, count: u64) {
        let mut committed = self.committed.lock();
        while *committed < count {
            self.changed.wait(&mut committed);
        }
    }
}

impl CommitWaiter for Counter {
    fn committed(&self, ticket: u64) {
        *self.committed.lock() = ticket;
        self.changed.notify_all();
    }

    fn failed(&self, ticket: u64, error: &StoreError) {
        panic!("batch {ticket} failed: {error}");
    }
}

fn send(store: &Store, queue: &Queue, sender: u32) {
    let counter = Arc::new(Counter::default());
    let waiter: Arc<dyn CommitWaiter> = Arc::<Counter>::clone(&counter);
    let mut batch = Batch::new();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let mut pending = 0;
    for n in 0..MSGS {
        let body = [sender.to_le_bytes(), n.to_le_bytes()].concat();
        batch.push(&target, body.len(), |out| out.extend_from_slice(&body)).unwrap();
        if batch.len_msgs() == 10 {
            let ticket = u64::from(n);
            if store.append(&mut batch, &waiter, ticket).unwrap() == edgehub_store::Commit::Pending {
                pending = ticket;
            }
            if n % 100 == 99 {
                counter.wait_for(pending);
            }
        }
    }
    counter.wait_for(pending);
}

/// What is received, per sender, in order.
fn receive(queue: &Queue, received: &mut [Vec<u32>]) {
    for got in drain(queue, START) {
        let sender = u32::from_le_bytes(got.payload[..4].try_into().unwrap());
        let number = u32::from_le_bytes(got.payload[4..].try_into().unwrap());
        received[sender as usize].push(number);
    }
}

#[test]
fn senders_and_a_consumer_on_their_threads() {
    for sync in [SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 5 }, SyncPolicy::None] {
        let folder = Folder::new();
        let store = open(&folder, sync);
        let queue = store.open_queue("e", 0).unwrap();
        let mut received = vec![Vec::new(); SENDERS as usize];
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    scope.spawn({
                        let (store, queue) = (store.clone(), queue.clone());
                        move || send(&store, &queue, sender)
                    })
                })
                .collect();
            while received.iter().map(Vec::len).sum::<usize>() < (SENDERS * MSGS / 2) as usize {
                receive(&queue, &mut received);
            }
            for sender in senders {
                sender.join().unwrap();
            }
        });
        store.close().unwrap();
        drop((store, queue));
        let store = open(&folder, sync);
        let queue = store.open_queue("e", 0).unwrap();
        receive(&queue, &mut received);
        for numbers in received {
            assert_eq!(numbers, (0..MSGS).collect::<Vec<_>>());
        }
    }
}

/// Takes some messages, acknowledges them out of order, and now and then goes away before it has done so.
struct Consumer {
    dice: Dice,
    done: HashSet<u64>,
    first_deliveries: Vec<(u64, Vec<u8>)>,
}

impl Consumer {
    fn take(&mut self, queue: &Queue) {
        let mut got = lease(queue, START, 1 + self.dice.below(60) as usize);
        for message in &got {
            assert!(!self.done.contains(&message.seq), "{} came back", message.seq);
            if self.first_deliveries.last().is_none_or(|(last, _)| message.seq > *last) {
                self.first_deliveries.push((message.seq, message.payload.clone()));
            }
        }
        if self.dice.below(3) == 0 {
            got.reverse();
        }
        if self.dice.below(5) == 0 {
            got.truncate(self.dice.below(40) as usize);
        }
        for message in got {
            queue.ack(message.seq, message.epoch);
            self.done.insert(message.seq);
        }
        if self.dice.below(4) == 0 {
            queue.release_all();
        }
    }
}

#[test]
fn backlog_moves_to_files_while_senders_and_a_consumer_are_at_work() {
    const ALL: usize = (SENDERS * MSGS) as usize;
    for (seed, sync) in
        (0..).zip([SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 5 }, SyncPolicy::None])
    {
        let folder = Folder::new();
        let spill = SpillConfig { file_bytes: 10_000, ..SPILL_ALL };
        let config = StoreConfig { sync, spill, segment_bytes: 16 << 10, ..StoreConfig::small() };
        let media = Media::Disk(Arc::new(FileStorage::open(&folder.0).unwrap()));
        let clock = Arc::new(VirtualClock::at(START));
        let store = Store::open(media, config, Arc::<VirtualClock>::clone(&clock)).unwrap().0;
        let queue = store.open_queue("e", 0).unwrap();
        let mut consumer =
            Consumer { dice: Dice::new(seed), done: HashSet::new(), first_deliveries: Vec::new() };
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (store, queue) = (&store, &queue);
                scope.spawn(move || send(store, queue, sender));
            }
            while consumer.done.len() < ALL {
                clock.advance_ms(100);
                store.tick();
                if store.stats().spilled > 0 {
                    consumer.take(&queue);
                }
            }
        });
        assert!(queue.is_empty());
        assert_eq!((store.stats().damaged, store.stats().expired), (0, 0));
        let mut received = vec![Vec::new(); SENDERS as usize];
        for (_, body) in &consumer.first_deliveries {
            let (sender, number) = body.split_first_chunk::<4>().unwrap();
            let number = u32::from_le_bytes(number.try_into().unwrap());
            received[u32::from_le_bytes(*sender) as usize].push(number);
        }
        for numbers in received {
            assert_eq!(numbers, (0..MSGS).collect::<Vec<_>>());
        }
    }
}

/// Panics when it is told of its second batch, and remembers all it was told.
#[derive(Default)]
struct Panics(Mutex<Vec<(u64, bool)>>);

impl CommitWaiter for Panics {
    fn committed(&self, ticket: u64) {
        self.0.lock().push((ticket, true));
        assert!(ticket != 2, "planned");
    }

    fn failed(&self, ticket: u64, _error: &StoreError) {
        self.0.lock().push((ticket, false));
    }
}

/// A waiter that breaks its contract must not leave senders waiting for ever.
#[test]
fn a_panic_on_the_stores_thread_poisons_the_store() {
    let folder = Folder::new();
    let store = open(&folder, SyncPolicy::Group);
    let queue = store.open_queue("e", 0).unwrap();
    let told = Arc::new(Panics::default());
    let waiter: Arc<dyn CommitWaiter> = Arc::<Panics>::clone(&told);
    let mut batch = Batch::new();
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let mut pending = 0;
    for ticket in 1..=4 {
        batch.push(&target, 0, |out| out.push(1)).unwrap();
        pending += u64::from(store.append(&mut batch, &waiter, ticket).is_ok());
    }
    while store.is_poisoned().is_none() || (told.0.lock().len() as u64) < pending {
        std::thread::yield_now();
    }
    let mut told: Vec<_> = told.0.lock().iter().map(|(ticket, _)| *ticket).collect();
    told.sort_unstable();
    assert_eq!(told, (1..=pending).collect::<Vec<_>>(), "each exactly once");
    batch.clear();
    batch.push(&target, 0, |out| out.push(2)).unwrap();
    let error = store.append(&mut batch, &waiter, 9).unwrap_err();
    assert!(error.to_string().contains("planned"), "{error}");
}

#[test]
fn dropping_the_last_handle_frees_the_folder() {
    let folder = Folder::new();
    let store = open(&folder, SyncPolicy::Group);
    let other = store.clone();
    drop(store);
    assert!(matches!(FileStorage::open(&folder.0), Err(StoreError::Locked { .. })));
    drop(other);
    drop(FileStorage::open(&folder.0).unwrap());
}
