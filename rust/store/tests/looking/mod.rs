//! Looks at the files of a store, and compares with what a store finds that is opened on them.
#![allow(dead_code)] // each test file uses its own part
#![allow(clippy::unwrap_used)] // a test may panic

use std::io;
use std::sync::Arc;

use edgehub_store::inspect::{Finding, FindingFile, FindingKind, Inspection, Messages, QueueInfo};
use edgehub_store::{Queue, Recovery, StoreError, SyncPolicy};
use edgehub_testkit::{FaultyStorage, VirtualClock};
use edgehub_types::{Storage, StorageFile, UnixMs};
use parking_lot::Mutex;

use crate::common::{NEVER, Rig, START, config};

/// A folder in which every change is a failure of the test.
pub struct Sealed {
    pub disk: FaultyStorage,
    /// What `list` answers at first, one answer a call.
    pub stale: Mutex<Vec<Vec<String>>>,
    /// A file of which the first read finds nothing, as if it were written only then.
    pub late: Mutex<Option<String>>,
}

impl Sealed {
    pub fn new(disk: &FaultyStorage) -> Self {
        Self { disk: disk.clone(), stale: Mutex::default(), late: Mutex::default() }
    }
}

struct SealedFile {
    file: Box<dyn StorageFile>,
    late: Mutex<bool>,
}

impl StorageFile for SealedFile {
    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        panic!("written")
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if std::mem::take(&mut *self.late.lock()) {
            buf.fill(0);
            return Ok(buf.len());
        }
        self.file.read_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        panic!("synced")
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        panic!("cut")
    }
}

impl Storage for Sealed {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        assert!(!create, "created {name}");
        let late = self.late.lock().take_if(|late| late == name).is_some();
        Ok(Box::new(SealedFile { file: self.disk.open(name, false)?, late: Mutex::new(late) }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.stale.lock().pop().map_or_else(|| self.disk.list(), Ok)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        panic!("removed {name}")
    }

    fn rename(&self, from: &str, _to: &str) -> io::Result<()> {
        panic!("renamed {from}")
    }

    fn sync_dir(&self) -> io::Result<()> {
        panic!("synced")
    }
}

fn image(disk: &FaultyStorage) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list().unwrap();
    names.sort();
    names.into_iter().map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}

pub fn inspect(disk: &FaultyStorage) -> Arc<Inspection> {
    let (before, ops) = (image(disk), disk.unsynced_ops());
    let inspection = Inspection::of_storage(&Sealed::new(disk)).unwrap();
    assert!(image(disk) == before, "the files are as before");
    assert_eq!(disk.unsynced_ops(), ops);
    inspection
}

/// Number, expiry and payload of every message of a queue, and how many are in damaged blocks of spill files.
fn walk(mut walk: Messages) -> (Vec<(u64, UnixMs, Vec<u8>)>, u64) {
    let (mut found, mut damaged) = (Vec::new(), 0);
    loop {
        match walk.read_next() {
            Ok(Some(stored)) => found.push((stored.seq, stored.expires_at, stored.payload.to_vec())),
            Ok(None) => break,
            Err(StoreError::DamagedBlock { messages, .. }) => damaged += messages,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(walk.left(), 0);
    (found, damaged)
}

pub fn messages(inspection: &Arc<Inspection>, queue: &QueueInfo) -> (Vec<(u64, UnixMs, Vec<u8>)>, u64) {
    let all = inspection.messages(queue.id).unwrap();
    assert_eq!(all.left() as u64, queue.messages);
    let (found, damaged) = walk(all);
    assert_eq!(found.len() as u64 + damaged, queue.messages);
    let (in_journal, _) = walk(inspection.journal_messages(queue.id).unwrap());
    assert!(found.ends_with(&in_journal));
    let blocks = inspection.spill_blocks(queue.id).unwrap();
    let spilled: u64 = blocks.iter().map(|block| block.messages).sum();
    assert_eq!((spilled, queue.messages - spilled), (queue.spilled, in_journal.len() as u64));
    (found, damaged)
}

/// The same of a store, nothing of which counts as expired.
fn stored(queue: &Queue) -> Vec<(u64, UnixMs, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let more = queue.lease(UnixMs(0), usize::MAX, usize::MAX, |leased| {
            found.push((leased.seq, leased.expires_at, leased.payload.to_vec()));
            true
        });
        if more.unwrap() == 0 && !queue.has_ready() {
            return found;
        }
    }
}

/// Looks at the folder, then opens a store on it, and compares. Returns whether all of it is sound.
pub fn assert_agrees(disk: &FaultyStorage) -> bool {
    let inspection = inspect(disk);
    let verified = Inspection::verify_storage(&Sealed::new(disk)).unwrap();
    assert_eq!((verified.summary(), verified.queues()), (inspection.summary(), inspection.queues()));
    assert!(inspection.is_sound() || !verified.is_sound());
    let rig = Rig::on(disk.after_kill(), config(SyncPolicy::Group), Arc::new(VirtualClock::at(START)));
    assert_eq!(inspection.summary(), rig.report);
    let mut queues = rig.store.queues();
    queues.sort_by_key(Queue::id);
    let present: Vec<_> = inspection.queues().iter().filter(|queue| !queue.removed).collect();
    assert_eq!(present.len(), queues.len());
    for (info, queue) in present.iter().zip(&queues) {
        assert_eq!((info.id, &*info.endpoint), (queue.id(), queue.endpoint()));
        assert_eq!((info.priority, info.messages), (queue.priority(), queue.len()));
        let (found, damaged) = messages(&inspection, info);
        assert!(damaged == 0 || !verified.is_sound());
        let own = stored(queue);
        assert_eq!(numbers(&found), numbers(&own), "{damaged} damaged");
        assert!(found == own, "other contents");
        if damaged == 0 {
            check_info(info, &found);
        }
        let files = inspection.spill_files().iter().filter(|file| file.queue == info.id);
        let in_files = files.map(|file| file.messages).sum();
        assert_eq!(info.spilled, in_files);
    }
    let in_segments: u64 = inspection.segments().iter().map(|segment| segment.messages).sum();
    let Recovery { entries, spilled, .. } = inspection.summary();
    assert_eq!(in_segments, entries - spilled);
    assert_eq!(spilled, present.iter().map(|queue| queue.spilled).sum());
    let in_log = |finding: &&Finding| matches!(finding.file, FindingFile::Segment(_));
    let damaged = inspection.findings().iter().filter(in_log);
    let damaged = damaged.filter(|finding| finding.kind == FindingKind::Damaged);
    let damaged_bytes: u64 = damaged.map(|finding| finding.bytes).sum();
    assert_eq!(damaged_bytes, rig.report.quarantined_bytes);
    verified.is_sound()
}

fn numbers(found: &[(u64, UnixMs, Vec<u8>)]) -> Vec<u64> {
    found.iter().map(|(seq, ..)| *seq).collect()
}

fn check_info(info: &QueueInfo, found: &[(u64, UnixMs, Vec<u8>)]) {
    let seq = |at: Option<&(u64, UnixMs, Vec<u8>)>| at.map(|message| message.0);
    let first = seq(found.first()).unwrap_or(info.next_seq);
    assert!(first == info.head_seq || (info.spilled > 0 && first > info.head_seq));
    assert!(seq(found.last()).is_none_or(|last| last < info.next_seq));
    let rounded = |(_, at, _): &(u64, UnixMs, Vec<u8>)| (*at != NEVER).then(|| at.0.div_ceil(1000) * 1000);
    let expiries = || found.iter().filter_map(rounded).map(UnixMs);
    assert_eq!((info.first_expiry, info.last_expiry), (expiries().min(), expiries().max()));
    assert_eq!(info.never_expiring, (found.len() - expiries().count()) as u64);
    assert_eq!(info.oldest_enqueued.is_some(), !found.is_empty());
    assert!(info.oldest_enqueued <= info.newest_enqueued);
    let payload_bytes: u64 = found.iter().map(|(_, _, payload)| payload.len() as u64).sum();
    assert!(info.bytes >= payload_bytes);
}
