//! Overflow policies with the store's own threads, on real files and on a file system that is really full.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test may panic, and this one needs real time
#![allow(clippy::print_stderr)] // says why it does not run

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::{NEVER, Tickets, drain};
use edgehub_store::{
    Batch, CommitWaiter, FileStorage, LossCause, Media, OverflowPolicy, Queue, Quota, Store, StoreConfig,
    StoreError, SyncPolicy, Target,
};
use edgehub_testkit::Dice;
use edgehub_types::{Clock, MonoTime, UnixMs};

const SEGMENT_BYTES: u32 = 256 << 10;
const BODY_BYTES: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(60);

struct RealClock(Instant);

impl Clock for RealClock {
    fn mono(&self) -> MonoTime {
        MonoTime(self.0.elapsed().as_millis() as u64)
    }

    fn unix(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        UnixMs(since.as_millis() as u64)
    }
}

/// A folder of its own; a file system of so many bytes is mounted there if wanted.
struct Folder {
    path: PathBuf,
    mounted: bool,
}

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("edgehub-quota-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self { path, mounted: false }
    }

    /// `None` where this process may not mount anything.
    fn small(name: &str, bytes: u64) -> Option<Self> {
        let mut folder = Self::new(name);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(&folder.path);
        match mount.output() {
            Ok(done) if done.status.success() => folder.mounted = true,
            Ok(done) => eprintln!("not run: {}", String::from_utf8_lossy(&done.stderr).trim()),
            Err(error) => eprintln!("not run: cannot start mount: {error}"),
        }
        folder.mounted.then_some(folder)
    }

    fn open(&self, sync: SyncPolicy) -> Store {
        let config = StoreConfig { sync, segment_bytes: SEGMENT_BYTES, ..StoreConfig::small() };
        let media = Media::Disk(Arc::new(FileStorage::open(&self.path.join("store")).unwrap()));
        Store::open(media, config, Arc::new(RealClock(Instant::now()))).unwrap().0
    }

    fn bytes(&self) -> u64 {
        bytes_of(&self.path.join("store"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.mounted {
            assert!(Command::new("umount").arg(&self.path).status().unwrap().success());
        }
        std::fs::remove_dir_all(&self.path).unwrap();
    }
}

fn bytes_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.filter_map(|file| file.unwrap().metadata().ok()).map(|meta| meta.len()).sum()
}

/// Sends messages one by one, waiting whenever the store has no room. Returns how often it had none.
fn send(store: &Store, queue: &Queue, numbers: std::ops::Range<u32>) -> u32 {
    let waiter: Arc<dyn CommitWaiter> = Arc::new(Tickets::default());
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let mut refused = 0;
    for number in numbers {
        let mut batch = Batch::new();
        batch.push(&target, BODY_BYTES, |out| out.extend(body(number))).unwrap();
        let begun = Instant::now();
        while let Err(error) = store.append(&mut batch, &waiter, u64::from(number)) {
            assert!(error.is_retryable(), "{error}");
            assert!(begun.elapsed() < PATIENCE, "no room for {number}: {error}");
            refused += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    refused
}

/// Nothing that could be compressed: then more would have room.
fn body(number: u32) -> impl Iterator<Item = u8> {
    let mut dice = Dice::new(u64::from(number));
    (0..BODY_BYTES).map(move |_| dice.below(256) as u8)
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "not reached: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything that was sent is in the queue or counted as lost, and what is left is the newest.
fn check_newest(store: &Store, queue: &Queue, sent: u64) {
    wait_until("all committed", || store.stats().appended_msgs == sent);
    wait_until("nothing to drop", || !store.pressure());
    // Dropping goes on for a moment after the pressure has ended, and its round with it.
    store.set_quota(None);
    std::thread::sleep(Duration::from_millis(300));
    wait_until("all counted", || queue.len() + queue.lost(LossCause::Quota) == sent);
    let lost = queue.lost(LossCause::Quota);
    let kept = drain(queue, UnixMs(0));
    assert!(lost > sent / 4, "{lost}");
    assert_eq!(kept.len() as u64 + lost, sent);
    assert!(kept.iter().all(|got| got.payload.iter().copied().eq(body(got.seq as u32))));
    let seqs: Vec<_> = kept.iter().map(|got| got.seq).collect();
    let gaps: Vec<_> = seqs.windows(2).filter(|pair| pair[0] + 1 != pair[1]).collect();
    assert!(gaps.is_empty() && seqs.first().is_none_or(|first| *first == lost), "{lost} lost: {gaps:?}");
}

#[test]
fn dropping_keeps_pace_with_a_fast_sender() {
    for sync in [SyncPolicy::Group, SyncPolicy::None] {
        let folder = Folder::new(if sync == SyncPolicy::None { "none" } else { "group" });
        let store = folder.open(sync);
        let quota = Quota { bytes_max: 2 << 20, policy: OverflowPolicy::DropOldest };
        store.set_quota(Some(quota));
        let queue = store.open_queue("e", 0).unwrap();
        let refused = send(&store, &queue, 0..4000);
        assert!(refused < 2000, "{refused}");
        assert!(store.stats().used_bytes <= quota.bytes_max);
        // Beside what counts: two segments that are prepared or on the way out, at most some more for a moment.
        wait_until("spent segments are gone", || {
            folder.bytes() <= quota.bytes_max + 3 * u64::from(SEGMENT_BYTES)
        });
        check_newest(&store, &queue, 4000);
        store.close().unwrap();
    }
}

#[test]
fn a_really_full_disk_is_survived_by_dropping() {
    let Some(folder) = Folder::small("drop", 3 << 20) else { return };
    let store = folder.open(SyncPolicy::Group);
    store.set_quota(Some(Quota { bytes_max: u64::MAX, policy: OverflowPolicy::DropOldest }));
    let queue = store.open_queue("e", 0).unwrap();
    send(&store, &queue, 0..5000);
    check_newest(&store, &queue, 5000);
    store.close().unwrap();
}

#[test]
fn a_really_full_disk_refuses_and_recovers() {
    let Some(folder) = Folder::small("refuse", 3 << 20) else { return };
    let store = folder.open(SyncPolicy::None);
    let queue = store.open_queue("e", 0).unwrap();
    let waiter: Arc<dyn CommitWaiter> = Arc::new(Tickets::default());
    let target = [Target { queue: queue.id(), expires_at: NEVER }];
    let mut batch = Batch::new();
    let error = loop {
        batch.push(&target, BODY_BYTES, |out| out.extend(body(0))).unwrap();
        match store.append(&mut batch, &waiter, 0) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert!(store.pressure() && queue.len() > 1000);
    assert_eq!(drain(&queue, UnixMs(0)).len() as u64, store.stats().appended_msgs);
    wait_until("space again", || !store.pressure());
    send(&store, &queue, 0..1000);
    assert_eq!(drain(&queue, UnixMs(0)).len(), 1000);
    assert_eq!(queue.lost(LossCause::Quota), 0);
    store.close().unwrap();
}
