//! From a folder (or none) to a store that can be used.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use edgehub_types::{Clock, Storage};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::StoreError;
use crate::config::{Media, StoreConfig, SyncPolicy};
use crate::journal::{Content, Journal};
use crate::keeper::Gather;
use crate::lease::ScratchPool;
use crate::ledger::{Ledger, Loss};
use crate::quota::QuotaCell;
use crate::recovery::{Recovered, Recovery, recover};
use crate::segment::SegmentSet;
use crate::shared::{Health, Load, Shared};
use crate::spill::BlockCache;
use crate::stats::{Counters, add};
use crate::storage::MemoryStorage;
use crate::tail::TailCache;
use crate::time::{StoreTime, resume};

const SEGMENT_BYTES_MIN: u32 = 4 << 10;
const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// Segments in memory are small: what is acknowledged is given back in such pieces.
const MEMORY_SEGMENT_BYTES: u32 = 1 << 20;

/// Recovers what is there and begins a segment.
///
/// # Errors
/// As [`crate::Store::open`].
pub(crate) fn open(
    media: Media,
    mut config: StoreConfig,
    clock: Arc<dyn Clock>,
) -> Result<(Shared, Recovery), StoreError> {
    config.segment_bytes = config.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    let in_memory = matches!(media, Media::Memory);
    let storage: Arc<dyn Storage> = match media {
        Media::Disk(storage) => storage,
        Media::Memory => {
            config.segment_bytes = config.segment_bytes.min(MEMORY_SEGMENT_BYTES);
            config.tail_cache_bytes = 0;
            Arc::new(MemoryStorage::default())
        }
    };
    let found = recover(&*storage)?;
    let report = found.report;
    let shared = assemble(storage, in_memory, config, clock, found);
    begin_first_segment(&shared)?;
    let queues: Vec<_> = shared.queues.read().iter().flatten().cloned().collect();
    for queue in &queues {
        shared.settle(queue, queue.tidy());
    }
    Ok((shared, report))
}

fn assemble(
    storage: Arc<dyn Storage>,
    in_memory: bool,
    config: StoreConfig,
    clock: Arc<dyn Clock>,
    found: Recovered,
) -> Shared {
    let segment_bytes = u64::from(config.segment_bytes);
    let now = resume(&found.seen, found.expiring, clock.unix(), clock.boot());
    let gather = Gather { queues: found.queues.len() as u32, ..Gather::default() };
    let shared = Shared {
        policy: if in_memory { SyncPolicy::None } else { config.sync },
        in_memory,
        journal: Mutex::new(Journal::new(Arc::clone(&storage), segment_bytes, !in_memory, found.end)),
        storage,
        time: StoreTime::starting_at(now, Arc::clone(&clock)),
        clock,
        segments: SegmentSet::new(found.segments),
        tail: TailCache::new(config.tail_cache_bytes),
        queues: RwLock::new(found.queues),
        dirty: Mutex::default(),
        gather: Mutex::new(gather),
        gathered: Condvar::new(),
        keeper: Mutex::default(),
        upkeep: Mutex::default(),
        upkeep_wanted: Mutex::default(),
        upkeep_waker: Condvar::new(),
        syncing: Mutex::default(),
        health: Health::default(),
        load: Load::default(),
        quota: QuotaCell::default(),
        counters: Counters::default(),
        ledger: Ledger::default(),
        scratches: ScratchPool::default(),
        blocks: BlockCache::new(config.spill.cache_bytes),
        spill_numbers: AtomicU64::new(found.spill_number),
        spent_files: Mutex::default(),
        listener: OnceLock::new(),
        config,
    };
    shared.load.index_entries.store(found.entries, Ordering::Relaxed);
    shared.load.spill_files.store(found.spill_files, Ordering::Relaxed);
    shared.load.spill_bytes.store(found.spill_bytes, Ordering::Relaxed);
    shared.measure_usage();
    add(&shared.counters.recovered, found.report.entries);
    let at = shared.clock.unix();
    shared.carry_losses();
    found.losses.into_iter().for_each(|loss| shared.ledger.note_found(Loss { at, ..loss }));
    shared
}

/// The log never goes on in an old segment.
fn begin_first_segment(shared: &Shared) -> Result<(), StoreError> {
    let mut journal = shared.journal.lock();
    match shared.make_room(&mut journal, 0, Content::Control) {
        Err(error) if error.is_retryable() => {
            log::error!("nothing can be stored for now: {error}");
            Ok(())
        }
        other => other,
    }
}
