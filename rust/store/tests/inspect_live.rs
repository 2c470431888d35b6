//! Looking at a folder of real files that a store has open and locked.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::{NEVER, NO_SPILL, SPILL_ALL, START, Tickets, config, lease};
use edgehub_store::inspect::Inspection;
use edgehub_store::{
    Batch, Commit, CommitWaiter, FileStorage, Media, SpillConfig, Store, StoreConfig, StoreError, SyncPolicy,
    Target,
};
use edgehub_testkit::VirtualClock;
use edgehub_types::UnixMs;

#[test]
fn a_folder_is_read_while_a_store_has_it_locked() {
    let folder = std::env::temp_dir().join(format!("edgehub-inspect-{}", std::process::id()));
    let missing = Inspection::of_folder(&folder).err();
    assert!(matches!(missing, Some(StoreError::Folder { .. })));
    let media = || Media::Disk(Arc::new(FileStorage::open(&folder).unwrap()));
    let clock = Arc::new(VirtualClock::at(START));
    let store = {
        let media = media();
        assert!(matches!(Inspection::of_folder(&folder).err(), Some(StoreError::NoStore { .. })));
        Store::open(media, config(SyncPolicy::Group), clock).unwrap().0
    };
    store.open_queue("a", 0).unwrap();
    let inspection = Inspection::of_folder(&folder).unwrap();
    assert_eq!(&*inspection.queues()[0].endpoint, "a");
    assert!(inspection.is_sound());
    drop(store);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Appends messages that hold their number, and acknowledges most of them: segments come and go.
fn churn(store: &Store, clock: &VirtualClock) {
    let queue = store.open_queue("a", 0).unwrap();
    let waiter: Arc<dyn CommitWaiter> = Arc::new(Tickets::default());
    let mut batch = Batch::new();
    for n in 0..1500_u32 {
        let target = Target { queue: queue.id(), expires_at: NEVER };
        batch.push(&[target], 300, |out| out.extend_from_slice(&[n as u8; 300])).unwrap();
        assert_eq!(store.append(&mut batch, &waiter, u64::from(n)).unwrap(), Commit::Done);
        if n % 40 == 39 {
            for message in lease(&queue, UnixMs(0), 38) {
                queue.ack(message.seq, message.epoch);
            }
        }
        clock.advance_ms(50);
        store.tick();
    }
}

/// No message of the queue is missing, and every one is as it was written.
fn check_live(inspection: &Arc<Inspection>) -> u64 {
    assert!(inspection.is_sound(), "{:?}", inspection.findings());
    let Some(info) = inspection.queues().first() else { return 0 };
    let mut walk = inspection.messages(info.id).unwrap();
    for seq in info.head_seq..info.next_seq {
        match walk.read_next() {
            Ok(stored) => {
                let stored = stored.unwrap();
                assert_eq!((stored.seq, stored.payload), (seq, &[seq as u8; 300][..]));
            }
            Err(error) => assert!(matches!(error, StoreError::GoneMessage { seq: gone, .. } if gone == seq)),
        }
    }
    assert_eq!(walk.left(), 0);
    info.next_seq
}

#[test]
fn segments_that_come_and_go_meanwhile_leave_no_hole() {
    watch("segments", NO_SPILL);
}

#[test]
fn spill_files_that_come_and_go_meanwhile_leave_no_hole() {
    watch("spilled", SPILL_ALL);
    watch("spilled-late", SpillConfig { after_segments: 2, index_entries: 30, ..NO_SPILL });
}

fn watch(name: &str, spill: SpillConfig) {
    let folder = std::env::temp_dir().join(format!("edgehub-inspect-{name}-{}", std::process::id()));
    let clock = Arc::new(VirtualClock::at(START));
    let media = Media::Disk(Arc::new(FileStorage::open(&folder).unwrap()));
    let config = StoreConfig { spill, ..config(SyncPolicy::Interval { interval_ms: 100 }) };
    let store = Store::open(media, config, Arc::<VirtualClock>::clone(&clock)).unwrap().0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| churn(&store, &clock));
        let mut next_seq = 0;
        for read in [Inspection::of_folder, Inspection::verify_folder].into_iter().cycle() {
            if writer.is_finished() {
                break;
            }
            let inspection = read(&folder).unwrap();
            if inspection.missed() == 0 {
                let found = check_live(&inspection);
                assert!(found >= next_seq, "{found} after {next_seq}");
                next_seq = found;
            }
        }
    });
    assert_eq!(check_live(&Inspection::of_folder(&folder).unwrap()), 1500);
    assert!(store.stats().unlinked + store.stats().reused > 0);
    assert_eq!(store.stats().spilled > 0, spill != NO_SPILL);
    drop(store);
    std::fs::remove_dir_all(&folder).unwrap();
}
