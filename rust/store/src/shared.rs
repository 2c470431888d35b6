//! What all handles of one store share.
//!
//! Order of the locks, outermost first: keeper, upkeep, syncing, journal, queue table, dirty list, state of a queue. The gather
//! lock, the tail cache, the segment list, the lists of spill files and the ledger of losses are innermost and never held while another is taken.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use edgehub_types::{Clock, Storage};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use crate::StoreError;
use crate::batch::{BatchInner, CHECKPOINTS_PER_BATCH, QueueId};
use crate::config::{StoreConfig, SyncPolicy};
use crate::format::{Checkpoint, put_queue_defined};
use crate::index::expired_from;
use crate::journal::{Content, Journal, QueueTable};
use crate::keeper::{Gather, Keeper};
use crate::lease::ScratchPool;
use crate::ledger::{Ledger, LossCause, Lost};
use crate::queue::{Changes, QueueInner, SpentFile};
use crate::quota::QuotaCell;
use crate::segment::{SegmentSet, Written};
use crate::spill::BlockCache;
use crate::stats::{Counters, add};
use crate::tail::TailCache;
use crate::time::StoreTime;
use crate::upkeep::Upkeep;

/// Learns what happens in a store. Called without locks, from the thread that appended or from the store's own:
/// implementations must be short and must not block.
pub trait QueueListener: Send + Sync {
    /// Messages were committed to a queue that had nothing to lease before.
    fn ready(&self, queue: QueueId);

    /// [`crate::Store::pressure`] had said true and would say false now.
    fn pressure_ended(&self) {}
}

/// Bytes of the definitions at the beginning of a segment; queues beyond are in its header alone.
const DEFINITIONS_BYTES_MAX: usize = 1 << 20;

/// What a store can run into for good.
#[derive(Default)]
pub(crate) struct Health {
    poison: OnceLock<Arc<StoreError>>,
    closed: AtomicBool,
    /// No further segment could be allocated at the last try.
    pub disk_full: AtomicBool,
    /// And that was for want of space.
    pub no_space: AtomicBool,
    /// A sync is wanted before the policy asks for one.
    pub sync_wanted: AtomicBool,
}

/// Quantities that have a limit.
#[derive(Default)]
pub(crate) struct Load {
    pub index_entries: AtomicUsize,
    pub unsynced: AtomicUsize,
    /// What messages take of journal segments, as last measured, and what was published since.
    pub journal_bytes: AtomicU64,
    /// Bytes of spill files.
    pub spill_bytes: AtomicU64,
    /// Number of spill files.
    pub spill_files: AtomicUsize,
    /// Bytes of those of which nothing is wanted any more.
    pub spent_bytes: AtomicU64,
    pressed: AtomicBool,
}

pub(crate) struct Shared {
    pub config: StoreConfig,
    /// As configured, `None` in memory.
    pub policy: SyncPolicy,
    pub in_memory: bool,
    pub storage: Arc<dyn Storage>,
    /// For timers and stamps. What expires is in [`Shared::time`].
    pub clock: Arc<dyn Clock>,
    pub time: StoreTime,
    pub segments: SegmentSet,
    pub tail: TailCache,
    pub journal: Mutex<Journal>,
    pub queues: RwLock<QueueTable>,
    pub dirty: Mutex<Vec<Arc<QueueInner>>>,
    pub gather: Mutex<Gather>,
    pub gathered: Condvar,
    pub keeper: Mutex<Keeper>,
    pub upkeep: Mutex<Upkeep>,
    /// What the upkeep thread sleeps on; true = a round is wanted.
    pub upkeep_wanted: Mutex<bool>,
    pub upkeep_waker: Condvar,
    /// Held during a sync of the journal.
    pub syncing: Mutex<()>,
    pub health: Health,
    pub load: Load,
    pub quota: QuotaCell,
    pub counters: Counters,
    pub ledger: Ledger,
    pub scratches: ScratchPool,
    /// Blocks of spill files that were read last.
    pub blocks: BlockCache,
    /// Number of the next spill file.
    pub spill_numbers: AtomicU64,
    /// Spill files of which nothing is wanted any more.
    pub spent_files: Mutex<Vec<SpentFile>>,
    pub listener: OnceLock<Arc<dyn QueueListener>>,
}

impl Shared {
    /// # Errors
    /// [`StoreError::Poisoned`], [`StoreError::Closed`].
    pub fn check_open(&self) -> Result<(), StoreError> {
        if let Some(cause) = self.poison() {
            return Err(StoreError::Poisoned { cause });
        }
        if self.health.closed.load(Ordering::Acquire) { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub fn poison(&self) -> Option<Arc<StoreError>> {
        self.health.poison.get().cloned()
    }

    /// Refuses everything from now on. Returns what the callers are told.
    pub fn set_poison(&self, error: StoreError) -> StoreError {
        log::error!("the store stops accepting messages: {error}");
        let cause = Arc::clone(self.health.poison.get_or_init(|| Arc::new(error)));
        StoreError::Poisoned { cause }
    }

    pub fn set_closed(&self) {
        self.health.closed.store(true, Ordering::Release);
    }

    pub fn is_closed(&self) -> bool {
        self.health.closed.load(Ordering::Acquire)
    }

    /// Makes room for one batch, in a new segment if need be; `written` bytes are placed but not written yet.
    ///
    /// # Errors
    /// Retryable ones, then nothing changed; others poison the store.
    pub fn make_room(&self, journal: &mut Journal, bytes: usize, content: Content) -> Result<(), StoreError> {
        if journal.fits(bytes, content) {
            return Ok(());
        }
        self.begin_segment(journal, bytes)
    }

    /// Begins another segment, with room for one batch. The queues are defined at its beginning once more: were they in its
    /// header alone, one damaged byte there could cost all of them.
    ///
    /// # Errors
    /// As [`Shared::make_room`].
    pub fn begin_segment(&self, journal: &mut Journal, bytes: usize) -> Result<(), StoreError> {
        let mut definitions = self.definitions();
        let room = bytes + definitions.sealed_bytes_max(0);
        let rolled = journal.roll(room as u64, &self.segments, &self.queues.read(), self.time.stamp());
        self.health.disk_full.store(rolled.is_err(), Ordering::Relaxed);
        let no_space = matches!(rolled, Err(StoreError::DiskFull { .. }));
        self.health.no_space.store(no_space, Ordering::Relaxed);
        rolled.map_err(|error| if error.is_retryable() { error } else { self.set_poison(error) })?;
        if definitions.records_total() == 0 {
            return Ok(());
        }
        let waiting = std::mem::take(&mut journal.checkpoints);
        let address = journal.seal(&mut definitions, 0, self.time.stamp_batch());
        journal.checkpoints = waiting;
        self.write(journal, address, &definitions.buf)
    }

    /// A record for each queue that is there, at most [`DEFINITIONS_BYTES_MAX`] of them.
    fn definitions(&self) -> BatchInner {
        let mut batch = BatchInner::default();
        batch.begin();
        for queue in self.queues.read().iter().flatten().filter(|queue| !queue.is_removed()) {
            if batch.buf.len() + queue.endpoint.len() > DEFINITIONS_BYTES_MAX {
                break;
            }
            put_queue_defined(&mut batch.buf, queue.id.0, queue.priority, &queue.endpoint);
            batch.add_control();
        }
        batch
    }

    /// Writes sealed bytes at the end of the log, and keeps them for readers.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`].
    pub fn write(&self, journal: &mut Journal, address: u64, bytes: &[u8]) -> Result<(), StoreError> {
        journal.write(bytes).map_err(|error| self.set_poison(error))?;
        if let Some(active) = &journal.active {
            let written = Written { wall_ms: self.clock.unix().0, store_ms: self.time.written_at() };
            active.segment.meta.note_time(address, written);
        }
        self.tail.append(address, bytes);
        add(&self.counters.writes, 1);
        add(&self.counters.bytes_written, bytes.len() as u64);
        if journal.wants_spare(false) {
            self.kick_upkeep();
        }
        Ok(())
    }

    /// Moves waiting checkpoints into the journal's list for the next batch, as many as one batch takes.
    pub fn collect_checkpoints(&self, journal: &mut Journal) {
        let room = CHECKPOINTS_PER_BATCH.saturating_sub(journal.checkpoints.len());
        let mut dirty = self.dirty.lock();
        if dirty.is_empty() {
            return;
        }
        let kept = dirty.len().saturating_sub(room);
        add(&self.counters.checkpoints, (dirty.len() - kept) as u64);
        for queue in dirty.drain(kept..) {
            let head_seq = queue.take_checkpoint();
            journal.checkpoints.push(Checkpoint { queue: queue.id.0, head_seq });
        }
    }

    /// Writes a batch without messages: the records in `journal.control` and waiting checkpoints.
    ///
    /// # Errors
    /// As [`Shared::make_room`] and [`Shared::write`].
    pub fn write_control(&self, journal: &mut Journal) -> Result<(), StoreError> {
        self.collect_checkpoints(journal);
        self.write_own(journal, Content::Control)
    }

    /// Writes an empty batch, which states what is durable.
    ///
    /// # Errors
    /// As [`Shared::make_room`] and [`Shared::write`].
    pub fn write_attest(&self, journal: &mut Journal) -> Result<(), StoreError> {
        let waiting = std::mem::take(&mut journal.checkpoints);
        let written = self.write_own(journal, Content::Attest);
        journal.checkpoints = waiting;
        written
    }

    fn write_own(&self, journal: &mut Journal, content: Content) -> Result<(), StoreError> {
        let mut own = std::mem::take(&mut journal.control);
        let room = self.make_room(journal, own.sealed_bytes_max(journal.checkpoints.len()), content);
        let written = room.and_then(|()| {
            let address = journal.seal(&mut own, 0, self.time.stamp_batch());
            self.write(journal, address, &own.buf)
        });
        own.clear();
        journal.control = own;
        written
    }

    /// Puts the entries of a written batch into their queues and notes which became ready.
    pub fn publish(&self, batch: &mut BatchInner, address: u64) {
        let queues = self.queues.read();
        let segment = self.segments.find(address);
        let entries = batch.entries_total() as u64;
        if let Some(segment) = &segment {
            segment.meta.note_expiry(expired_from(batch.latest_expiry));
            segment.meta.add_live(entries);
            segment.meta.note_written(address + batch.buf.len() as u64);
        }
        let mut lost = 0;
        let mut woken = std::mem::take(&mut batch.woken);
        for slot in &batch.slots {
            let Some(Some(queue)) = queues.get(slot.queue.0 as usize - 1) else {
                let all = u64::from(slot.count);
                lost += all;
                if let Some(all) = Lost::some(LossCause::EndpointRemoved, slot.first_seq, all) {
                    self.note_dropped_unknown(slot.queue, all);
                }
                continue;
            };
            let (ready, dropped) = queue.publish(batch, slot, address);
            lost += dropped;
            if let Some(dropped) = Lost::some(LossCause::EndpointRemoved, slot.first_seq, dropped) {
                self.note_dropped(queue, dropped);
            }
            if ready {
                woken.push(slot.queue);
            }
        }
        batch.woken = woken;
        self.count_published(batch, lost);
        if let Some(segment) = segment.filter(|_| lost > 0) {
            segment.meta.drop_live(lost);
        }
    }

    fn count_published(&self, batch: &BatchInner, lost: u64) {
        self.note_published(batch.buf.len());
        add(&self.counters.batches, 1);
        add(&self.counters.appended_msgs, batch.records_total() as u64);
        add(&self.counters.appended_entries, batch.entries_total() as u64);
        if lost > 0 {
            self.load.index_entries.fetch_sub(lost as usize, Ordering::Relaxed);
        }
    }

    /// Tells the listener which queues became ready. No lock is held.
    pub fn wake(&self, queues: &[QueueId]) {
        if let Some(listener) = self.listener.get() {
            for queue in queues {
                listener.ready(*queue);
            }
        }
    }

    /// Takes note of what happened in a queue, after its lock was released.
    pub fn settle(&self, queue: &Arc<QueueInner>, changes: Changes) {
        if let Some(lost) = changes.lost {
            self.note_dropped(queue, lost);
        }
        if changes.newly_dirty {
            self.dirty.lock().push(Arc::clone(queue));
        }
        if changes.spent {
            self.note_spent(queue.take_spent());
        }
        self.load.index_entries.fetch_add(changes.fetched, Ordering::Relaxed);
        if changes.popped > 0 {
            self.load.index_entries.fetch_sub(changes.popped, Ordering::Relaxed);
            self.relieve();
        }
    }

    /// Reserves index entries for a batch.
    ///
    /// # Errors
    /// [`StoreError::IndexFull`].
    pub fn reserve_entries(&self, count: usize) -> Result<(), StoreError> {
        let max = self.config.index_entries_max;
        let entries = self.load.index_entries.fetch_add(count, Ordering::Relaxed) + count;
        if entries > max {
            self.load.index_entries.fetch_sub(count, Ordering::Relaxed);
            return Err(StoreError::IndexFull { entries, max });
        }
        Ok(())
    }

    /// How near its limit the fullest resource is, in percent; from 100 on senders should be held back.
    fn load_percent(&self) -> u64 {
        let percent = |used: u64, limit: u64| used.saturating_mul(100) / limit.max(1);
        let headroom = |max: u64| max - max / 8;
        let index = self.load.index_entries.load(Ordering::Relaxed) as u64;
        let unsynced = self.load.unsynced.load(Ordering::Relaxed) as u64;
        let mut load = percent(index, headroom(self.config.index_entries_max as u64))
            .max(percent(unsynced, self.config.unsynced_bytes_max as u64))
            .max(self.quota_percent());
        if self.in_memory {
            load = load.max(percent(self.memory_bytes(), headroom(self.config.memory_bytes_max)));
        }
        if self.health.disk_full.load(Ordering::Relaxed) { load.max(100) } else { load }
    }

    /// See [`crate::Store::pressure`].
    pub fn pressure(&self) -> bool {
        if self.check_open().is_err() {
            return false;
        }
        if self.quota_percent() >= 100 {
            self.measure_usage();
        }
        if self.load_percent() >= 100 {
            self.load.pressed.store(true, Ordering::Relaxed);
            return true;
        }
        self.relieve();
        self.load.pressed.load(Ordering::Relaxed)
    }

    /// Ends the pressure when the load has fallen to four fifths of the limit.
    pub fn relieve(&self) {
        if self.load.pressed.load(Ordering::Relaxed)
            && self.load_percent() <= 80
            && self.load.pressed.swap(false, Ordering::Relaxed)
            && let Some(listener) = self.listener.get()
        {
            listener.pressure_ended();
        }
    }

    /// The journal, unless the store is closed or poisoned.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`], [`StoreError::Closed`].
    pub fn open_journal(&self) -> Result<MutexGuard<'_, Journal>, StoreError> {
        let journal = self.journal.lock();
        self.check_open()?;
        Ok(journal)
    }
}
