//! The hot path neither allocates nor calls the system per message.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{NEVER, Rig, config};
use edgehub_store::{Batch, Queue, StoreConfig, SyncPolicy, Target};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts what this thread allocates.
struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches a thread-local number only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(action: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    action();
    ALLOCATIONS.get() - before
}

fn fill(batch: &mut Batch, queues: &[Queue; 2]) {
    let targets = queues.each_ref().map(|queue| Target { queue: queue.id(), expires_at: NEVER });
    for _ in 0..50 {
        batch.push(&targets, 100, |out| out.extend_from_slice(&[7; 100])).unwrap();
    }
}

fn consume(rig: &Rig, queues: &[Queue; 2]) {
    for queue in queues {
        let mut last = (0, 0);
        let count = queue.lease(rig.now(), 100, usize::MAX, |leased| {
            last = (leased.seq, leased.epoch);
            true
        });
        let count = count.unwrap() as u64;
        for seq in last.0 + 1 - count..=last.0 {
            queue.ack(seq, last.1);
        }
    }
}

fn rig(sync: SyncPolicy) -> (Rig, [Queue; 2]) {
    let rig = Rig::new(StoreConfig { segment_bytes: 64 << 20, tail_cache_bytes: 1 << 20, ..config(sync) });
    let queues = ["a", "b"].map(|endpoint| rig.store.open_queue(endpoint, 0).unwrap());
    (rig, queues)
}

/// The disk of the test allocates for every write: that much is not the store's.
const PER_WRITE_OF_THE_TEST_DISK: usize = 1;

#[test]
fn append_and_lease_allocate_nothing_per_message() {
    let (rig, queues) = rig(SyncPolicy::None);
    let mut batch = Batch::new();
    let mut round = |rounds: usize| {
        for _ in 0..rounds {
            fill(&mut batch, &queues);
            let commit = rig.store.append(&mut batch, &rig.waiter, 0).unwrap();
            assert_eq!(commit, edgehub_store::Commit::Done);
            consume(&rig, &queues);
        }
    };
    round(200);
    let writes = rig.disk.writes();
    let count = allocations(|| round(200));
    assert_eq!(rig.disk.writes() - writes, 200, "one write per batch");
    // The list of unsynced writes in the test disk grows as well, now and then.
    assert!(count <= 200 * PER_WRITE_OF_THE_TEST_DISK + 10, "{count} allocations for 10000 messages");
}

#[test]
fn handing_a_batch_to_the_stores_thread_allocates_nothing() {
    let (rig, queues) = rig(SyncPolicy::Group);
    let mut batch = Batch::new();
    let mut round = || {
        fill(&mut batch, &queues);
        let count = allocations(|| {
            let commit = rig.store.append(&mut batch, &rig.waiter, 0).unwrap();
            assert_eq!(commit, edgehub_store::Commit::Pending);
        });
        rig.store.tick();
        count + allocations(|| consume(&rig, &queues))
    };
    (0..50).for_each(|_| _ = round());
    assert_eq!((0..100).map(|_| round()).sum::<usize>(), 0);
}
