//! Opens a folder of any bytes: files that a store wrote, cut, changed and mixed with others, with right checksums or not.
//!
//! Whatever is there, opening ends, and the folder it leaves opens again with the same messages.
#![no_main]

mod repair;

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use edgehub_store::{
    Batch, CommitWaiter, Media, SpillConfig, Store, StoreConfig, StoreError, SyncPolicy, Target,
};
use edgehub_testkit::{FaultyStorage, PowerCut, VirtualClock};
use edgehub_types::{Storage, UnixMs};
use libfuzzer_sys::fuzz_target;
use repair::make_segment;

const STEPS_MAX: usize = 40;
const CHANGES_MAX: usize = 20;
const NOW: UnixMs = UnixMs(1_000_000);

/// What an honest store does first.
#[derive(Debug, Arbitrary)]
enum Step {
    Append { queues: u8, count: u8, len: u16, ttl_s: u8 },
    Consume { queue: u8, count: u8 },
    Remove { queue: u8 },
    Return { queue: u8 },
    Pass { ms: u8 },
}

/// What happens to the files then.
#[derive(Debug, Arbitrary)]
enum Change {
    Cut {
        file: u8,
        at: u16,
    },
    Put {
        file: u8,
        at: u16,
        bytes: Vec<u8>,
    },
    Append {
        file: u8,
        bytes: Vec<u8>,
    },
    New {
        number: u8,
        bytes: Vec<u8>,
    },
    Copy {
        file: u8,
        number: u8,
    },
    Remove {
        file: u8,
    },
    /// Right checksums for what is there.
    Repair {
        file: u8,
    },
    Unreadable {
        file: u8,
        at: u16,
        len: u16,
    },
}

struct Nobody;

impl CommitWaiter for Nobody {
    fn committed(&self, _ticket: u64) {}
    fn failed(&self, _ticket: u64, _error: &StoreError) {}
}

fn open(disk: &FaultyStorage) -> Result<Store, StoreError> {
    let config = StoreConfig {
        sync: SyncPolicy::Group,
        segment_bytes: 4096,
        tail_cache_bytes: 0,
        background_thread: false,
        ..StoreConfig::small()
    };
    let clock = Arc::new(VirtualClock::at(NOW));
    Store::open(Media::Disk(Arc::new(disk.clone())), config, clock).map(|(store, _)| store)
}

fn consume(store: &Store, queue: u8, count: u8) {
    let queues = store.queues();
    let Some(queue) = queues.get(usize::from(queue) % queues.len().max(1)) else { return };
    let mut seqs = Vec::new();
    let _ = queue.lease(NOW, usize::from(count), usize::MAX, |leased| {
        seqs.push(leased.seq);
        true
    });
    queue.ack_all(&seqs, queue.epoch());
    queue.release_all();
}

fn append(store: &Store, mask: u8, count: u8, len: u16, ttl_s: u8) {
    let expires_at = if ttl_s < 128 { UnixMs::MAX } else { UnixMs(NOW.0 + u64::from(ttl_s - 128) * 1000) };
    let queues = store.queues().into_iter().enumerate().filter(|(at, _)| mask & 1 << (at % 8) != 0);
    let targets: Vec<_> = queues.map(|(_, queue)| Target { queue: queue.id(), expires_at }).collect();
    let mut batch = Batch::new();
    for n in 0..count % 4 {
        let len = usize::from(len % 2000);
        if batch.push(&targets, len, |out| out.resize(out.len() + len, n)).is_err() {
            return;
        }
    }
    let waiter = Arc::new(Nobody) as Arc<dyn CommitWaiter>;
    let _ = store.append(&mut batch, &waiter, 0);
}

fn work(disk: &FaultyStorage, steps: &[Step]) {
    let clock = Arc::new(VirtualClock::at(NOW));
    // Everything that is durable goes to spill files when time passes.
    let spill = SpillConfig {
        after_segments: 0,
        index_entries: 0,
        after_ms: 0,
        file_bytes: 4096,
        block_bytes: 512,
        cache_bytes: 0,
    };
    let config = StoreConfig { segment_bytes: 4096, spill, background_thread: false, ..StoreConfig::small() };
    let media = Media::Disk(Arc::new(disk.clone()));
    let Ok((store, _)) = Store::open(media, config, Arc::<VirtualClock>::clone(&clock)) else { return };
    let names = ["a", "b", "c"];
    names.iter().for_each(|name| drop(store.open_queue(name, 0)));
    for step in steps.iter().take(STEPS_MAX) {
        match *step {
            Step::Append { queues, count, len, ttl_s } => append(&store, queues, count, len, ttl_s),
            Step::Consume { queue, count } => consume(&store, queue, count),
            Step::Remove { queue } => drop(store.remove_endpoint(names[usize::from(queue % 3)])),
            Step::Return { queue } => drop(store.open_queue(names[usize::from(queue % 3)], 0)),
            Step::Pass { ms } => {
                clock.advance_ms(u64::from(ms) * 10);
                store.tick();
            }
        }
    }
    store.tick();
}

fn name(number: u8) -> String {
    if number % 4 == 3 {
        return format!("spill-{:05}-{:012}.lz4", number / 4 % 3 + 1, number / 12);
    }
    format!("journal-{number:012}.{}", if number < 250 { "seg" } else { "bad" })
}

/// The content of a file, to be changed.
fn with_file(disk: &FaultyStorage, file: u8, change: impl FnOnce(&mut Vec<u8>)) {
    let names = disk.list().unwrap_or_default();
    let Some(name) = names.get(usize::from(file) % names.len().max(1)) else { return };
    let mut content = disk.content(name).unwrap_or_default();
    change(&mut content);
    disk.set_content(name, &content);
}

fn spoil(disk: &FaultyStorage, change: &Change) {
    match change {
        Change::Cut { file, at } => with_file(disk, *file, |content| content.truncate(usize::from(*at))),
        Change::Put { file, at, bytes } => with_file(disk, *file, |content| {
            let at = usize::from(*at) % content.len().max(1);
            content.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new);
        }),
        Change::Append { file, bytes } => with_file(disk, *file, |content| content.extend(bytes)),
        Change::New { number, bytes } => disk.set_content(&name(*number), bytes),
        Change::Copy { file, number } => {
            let mut copy = Vec::new();
            with_file(disk, *file, |content| copy.clone_from(content));
            disk.set_content(&name(*number), &copy);
        }
        Change::Remove { file } => {
            let names = disk.list().unwrap_or_default();
            let gone = names.get(usize::from(*file) % names.len().max(1));
            let _ = gone.map(|name| disk.remove(name).and_then(|()| disk.sync_dir()));
        }
        Change::Repair { file } => with_file(disk, *file, |content| make_segment(content)),
        Change::Unreadable { file, at, len } => {
            let names = disk.list().unwrap_or_default();
            if let Some(name) = names.get(usize::from(*file) % names.len().max(1)) {
                disk.set_unreadable(name, u64::from(*at)..u64::from(*at) + u64::from(*len));
            }
        }
    }
}

type Content = BTreeMap<(String, u32), Vec<(u64, Vec<u8>)>>;

fn content(store: &Store, may_fail: bool) -> Content {
    let mut all = Content::new();
    for queue in store.queues() {
        let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
        let leased = queue.lease(NOW, usize::MAX, usize::MAX, |leased| {
            assert!(found.last().is_none_or(|(last, _)| *last < leased.seq), "out of order");
            assert!(leased.expires_at > NOW, "delivered after its expiry");
            found.push((leased.seq, leased.payload.to_vec()));
            true
        });
        // Bad sectors of a spill file hold its queue up for a while.
        assert!(leased.map_or(may_fail, |count| count == found.len()));
        assert!(all.insert((queue.endpoint().to_owned(), queue.priority()), found).is_none());
    }
    // A queue without messages may have been known from what is cut off now.
    all.retain(|_, found| !found.is_empty());
    all
}

fuzz_target!(|input: (Vec<Step>, Vec<Change>)| {
    let (steps, changes) = input;
    let disk = FaultyStorage::new();
    work(&disk, &steps);
    let disk = disk.after_power_cut(PowerCut::prefix(usize::MAX, 0));
    changes.iter().take(CHANGES_MAX).for_each(|change| spoil(&disk, change));
    let store = match open(&disk) {
        Ok(store) => store,
        Err(StoreError::NewerFormat { .. } | StoreError::Io { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let unreadable = changes.iter().any(|change| matches!(change, Change::Unreadable { .. }));
    let first = content(&store, unreadable);
    drop(store);
    // The same folder without its bad sectors: they were read as zeros, and may be readable now.
    if unreadable {
        assert!(open(&disk.after_kill()).is_ok());
        return;
    }
    for disk in [disk.after_kill(), disk.after_power_cut(PowerCut::all_lost())] {
        let again = open(&disk);
        assert!(again.is_ok(), "{:?}", again.err());
        assert_eq!(
            again.as_ref().map(|store| content(store, false)).unwrap_or_default(),
            first,
            "another time it is other"
        );
    }
});
