//! Reads any bytes as a record, a batch, a segment header, and as the segments of a folder.
//!
//! Checksums would keep a fuzzer at the door, so by the first byte some inputs get right ones, and some are changes to
//! segments that a store wrote: what is behind must hold against fields that no honest writer writes.
#![no_main]

mod repair;

use std::sync::{Arc, OnceLock};

use edgehub_store::format::{BatchHeader, BatchView, RecordView, Records, SegmentHeader};
use edgehub_store::{Batch, CommitWaiter, Media, Store, StoreConfig, StoreError, SyncPolicy, Target};
use edgehub_testkit::{FaultyStorage, VirtualClock};
use edgehub_types::UnixMs;
use libfuzzer_sys::fuzz_target;
use repair::make_segment;

fn read_formats(bytes: &[u8]) {
    if let Some(record) = RecordView::decode(bytes) {
        let _ = record.targets().count();
    }
    let mut records = Records::new(bytes);
    let _ = records.by_ref().count();
    let _ = records.is_exhausted();
    let _ = SegmentHeader::decode(bytes);
    if let Some(batch) = BatchHeader::decode(bytes).and_then(|header| BatchView::decode(header, bytes)) {
        let _ = batch.records().count() + batch.ranges().count() + batch.checkpoints().count();
    }
}

fn config() -> StoreConfig {
    StoreConfig {
        sync: SyncPolicy::Group,
        segment_bytes: 4096,
        tail_cache_bytes: 0,
        background_thread: false,
        ..StoreConfig::small()
    }
}

/// Opens a folder with up to two segments, takes out what is there, and opens it again.
fn open_folder(first: &[u8], second: &[u8]) {
    let disk = FaultyStorage::new();
    disk.set_content("journal-000000000001.seg", first);
    disk.set_content("journal-000000000002.seg", second);
    for _ in 0..2 {
        let clock = Arc::new(VirtualClock::at(UnixMs(1)));
        let Ok((store, _)) = Store::open(Media::Disk(Arc::new(disk.clone())), config(), clock) else {
            return;
        };
        for queue in store.queues() {
            let mut last = None;
            let leased = queue.lease(UnixMs(0), 1000, usize::MAX, |leased| {
                assert!(last.is_none_or(|last| last < leased.seq));
                last = Some(leased.seq);
                true
            });
            assert!(leased.is_ok());
        }
        store.tick();
    }
}

/// Two segments that a store wrote, with messages, checkpoints and a removed queue.
fn honest() -> &'static [Vec<u8>; 2] {
    static SEGMENTS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    SEGMENTS.get_or_init(|| {
        let disk = FaultyStorage::new();
        let media = Media::Disk(Arc::new(disk.clone()));
        let Ok((store, _)) = Store::open(media, config(), Arc::new(VirtualClock::at(UnixMs(1)))) else {
            return Default::default();
        };
        let queues = ["a", "b", "c"].map(|endpoint| store.open_queue(endpoint, 1));
        let targets: Vec<_> =
            queues.iter().flatten().map(|q| Target { queue: q.id(), expires_at: UnixMs::MAX }).collect();
        let (mut batch, waiter) = (Batch::new(), Arc::new(Nobody) as Arc<dyn CommitWaiter>);
        for round in 0..12 {
            for n in 0..3 {
                let _ = batch.push(&targets[..1 + n % targets.len().max(1)], 100, |out| out.extend([7; 100]));
            }
            let _ = store.append(&mut batch, &waiter, 0);
            store.tick();
            if let Some(Ok(queue)) = queues.first().filter(|_| round % 3 == 0) {
                let mut seqs = Vec::new();
                let _ = queue.lease(UnixMs(0), 2, 1000, |leased| {
                    seqs.push(leased.seq);
                    true
                });
                queue.ack_all(&seqs, queue.epoch());
            }
        }
        let _ = store.remove_endpoint("c");
        let _ = store.close();
        [1, 2].map(|n| disk.content(&format!("journal-{n:012}.seg")).unwrap_or_default())
    })
}

struct Nobody;

impl CommitWaiter for Nobody {
    fn committed(&self, _ticket: u64) {}
    fn failed(&self, _ticket: u64, _error: &StoreError) {}
}

/// The honest segments with some bytes changed: two bytes for the place, one for the value.
fn changed(changes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let [mut first, mut second] = honest().clone();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let all = first.len() + second.len();
        let place = first.iter_mut().chain(second.iter_mut()).nth(at % all.max(1));
        if let Some(byte) = place {
            *byte = change[2];
        }
    }
    (first, second)
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    read_formats(bytes);
    let split = bytes.len() * usize::from(mode >> 2) / 64;
    let (mut first, mut second) = if mode & 2 == 0 {
        let (first, second) = bytes.split_at(split.min(bytes.len()));
        (first.to_vec(), second.to_vec())
    } else {
        changed(bytes)
    };
    if mode & 1 == 1 {
        for segment in [&mut first, &mut second] {
            make_segment(segment);
        }
        read_formats(&first);
        read_formats(&second);
    }
    open_folder(&first, &second);
});
