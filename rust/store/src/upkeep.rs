//! What must be done from time to time: checkpoints, syncs, the next segment, spent segments, expired messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use crate::StoreError;
use crate::config::SyncPolicy;
use crate::group::RETRY_MS;
use crate::journal::{Spare, create_segment};
use crate::keeper::{Keeper, later};
use crate::segment::Segment;
use crate::shared::Shared;
use crate::stats::add;

/// Checkpoints reach the journal within this time without other traffic.
pub(crate) const CHECKPOINT_MS: u64 = 100;
/// Under `Group`, checkpoints are synced within this time without other traffic.
const CHECKPOINT_SYNC_MS: u64 = 1000;
/// Time between two searches for expired messages at the front of queues.
const SWEEP_MS: u64 = 1000;
/// Messages dropped per queue in one such search.
const SWEEP_MSGS_MAX: usize = 10_000;
/// Segments unlinked in one round: each takes 10 to 20 ms, during which nothing is committed.
const UNLINK_MAX: usize = 1;

impl Shared {
    /// Writes checkpoints that no batch of messages carried along.
    pub fn checkpoint_if_due(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        if now < keeper.last_checkpoint.plus_ms(CHECKPOINT_MS) {
            return Ok(());
        }
        keeper.last_checkpoint = now;
        later(self.write_checkpoints())
    }

    /// Writes all waiting checkpoints.
    ///
    /// # Errors
    /// Those of a write; with a retryable one they wait on.
    pub fn write_checkpoints(&self) -> Result<(), StoreError> {
        let mut journal = self.journal.lock();
        while !(journal.checkpoints.is_empty() && self.dirty.lock().is_empty()) {
            self.write_control(&mut journal)?;
        }
        Ok(())
    }

    /// Syncs as the policy asks.
    pub fn sync_if_due(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        let sealed_only = self.policy == SyncPolicy::None;
        if !self.journal.lock().has_unsynced(sealed_only) {
            keeper.unsynced_since = None;
            return Ok(());
        }
        let noticed = *keeper.unsynced_since.get_or_insert(now);
        let due = match self.policy {
            SyncPolicy::Group => noticed.plus_ms(CHECKPOINT_SYNC_MS.max(self.config.sync_min_interval_ms)),
            SyncPolicy::Interval { interval_ms } => keeper.last_sync.unwrap_or_default().plus_ms(interval_ms),
            SyncPolicy::None => now,
        };
        let over = self.policy != SyncPolicy::Group
            && self.load.unsynced.load(Ordering::Relaxed) >= self.config.unsynced_bytes_max;
        if now < due && !over {
            return Ok(());
        }
        keeper.last_sync = Some(now);
        keeper.unsynced_since = None;
        self.sync(sealed_only)
    }

    /// Makes the log durable as far as it is written; with `sealed_only`, its full segments.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]: after a failed sync nobody knows what is on disk.
    pub fn sync(&self, sealed_only: bool) -> Result<(), StoreError> {
        let (unsynced, bytes) = {
            let mut journal = self.journal.lock();
            (journal.take_unsynced(sealed_only), self.load.unsynced.load(Ordering::Relaxed))
        };
        if unsynced.folder {
            self.sync_folder()?;
        }
        for segment in &unsynced.segments {
            self.sync_segment(segment)?;
        }
        self.journal.lock().set_synced(&unsynced);
        if matches!(self.policy, SyncPolicy::Interval { .. }) {
            self.load.unsynced.fetch_sub(bytes, Ordering::Relaxed);
            self.relieve();
        }
        Ok(())
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        let synced = self.storage.sync_dir().map_err(StoreError::io("sync", "the folder"));
        synced.map_err(|error| self.set_poison(error))
    }

    fn sync_segment(&self, segment: &Segment) -> Result<(), StoreError> {
        let start = stopwatch();
        let synced = segment.file.sync_data();
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        add(&self.counters.syncs, 1);
        add(&self.counters.sync_ns_total, nanos);
        self.counters.sync_ns_max.fetch_max(nanos, Ordering::Relaxed);
        synced.map_err(|source| self.set_poison(StoreError::io("sync", &segment.name)(source)))
    }

    /// Allocates the file of the next segment before it is needed, so that senders do not wait for it.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]. Want of space is none: it is tried again.
    pub fn prepare_spare(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        if keeper.spare_retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let urgent = self.health.disk_full.load(Ordering::Relaxed);
        let (number, bytes) = {
            let mut journal = self.journal.lock();
            if journal.spare.is_some() && urgent {
                // It was too small for one batch; others may fit, so senders try again.
                keeper.spare_retry_at = Some(now.plus_ms(RETRY_MS));
                self.health.disk_full.store(false, Ordering::Relaxed);
            }
            if !journal.wants_spare(urgent) {
                return Ok(());
            }
            (journal.reserve_number(), journal.segment_bytes())
        };
        let spare = match create_segment(&*self.storage, number, bytes, true) {
            Ok(spare) => spare,
            Err(error) => {
                log::warn!("the next segment cannot be prepared, will try again: {error}");
                keeper.spare_retry_at = Some(now.plus_ms(RETRY_MS));
                return Ok(());
            }
        };
        self.sync_folder()?;
        let unused = self.journal.lock().put_spare(spare);
        self.health.disk_full.store(false, Ordering::Relaxed);
        if let Some(Spare { name, file, .. }) = unused {
            drop(file);
            self.remove_file(&name);
        }
        Ok(())
    }

    /// Unlinks spent segments. Before, it must be durable that the log is durable beyond them: then a later header has
    /// the numbers and checkpoints, and a recovery knows that they are not missing but spent.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`].
    pub fn reclaim(&self, keeper: &mut Keeper) -> Result<(), StoreError> {
        keeper.reclaim_more = false;
        if let Some(limit) = self.segments.first_spent() {
            if self.in_memory {
                self.free_memory();
            } else if self.attest(limit)? {
                keeper.retiring.append(&mut self.segments.take_spent(limit, UNLINK_MAX));
                keeper.reclaim_more = true;
            }
        }
        let retiring = std::mem::take(&mut keeper.retiring);
        keeper.retiring = retiring.into_iter().filter_map(|segment| self.unlink(segment)).collect();
        Ok(())
    }

    /// Gives spent segments in memory back. That costs little, so a sender does it before it asks for more.
    pub fn free_memory(&self) {
        for segment in self.segments.take_spent(u64::MAX, usize::MAX) {
            self.unlink(segment);
        }
    }

    /// Whether it is durable that the log is durable beyond `limit`; works towards it if not.
    fn attest(&self, limit: u64) -> Result<bool, StoreError> {
        // Under the other policies the next sync is not far.
        let hurry = self.policy == SyncPolicy::None;
        if hurry && self.journal.lock().durable() <= limit {
            self.sync(false)?;
        }
        let mut journal = self.journal.lock();
        if journal.durable() > limit && journal.stated() <= limit {
            later(self.write_attest(&mut journal))?;
        }
        if hurry && journal.stated() > limit && journal.attested() <= limit {
            drop(journal);
            self.sync(false)?;
            journal = self.journal.lock();
        }
        Ok(journal.attested() > limit)
    }

    /// Gives the segment back while a reader holds the file: the last one to close it would pay for the unlinking.
    fn unlink(&self, segment: Arc<Segment>) -> Option<Arc<Segment>> {
        let Segment { name, file, .. } = match Arc::try_unwrap(segment) {
            Ok(segment) => segment,
            Err(held) => return Some(held),
        };
        drop(file);
        self.remove_file(&name);
        add(&self.counters.unlinked, 1);
        None
    }

    fn remove_file(&self, name: &str) {
        if let Err(error) = self.storage.remove(name) {
            log::warn!("cannot remove {name}: {error}");
        }
    }

    /// Drops expired messages that nobody reads, so that their segments can go.
    pub fn sweep(&self, keeper: &mut Keeper, now: MonoTime) {
        if now < keeper.next_sweep {
            return;
        }
        keeper.next_sweep = now.plus_ms(SWEEP_MS);
        let unix = self.clock.unix();
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        for queue in queues {
            let changes = queue.expire_front(&self.segments, unix, SWEEP_MSGS_MAX);
            if changes.lost.is_some_and(|lost| lost.count as usize >= SWEEP_MSGS_MAX) {
                keeper.next_sweep = now;
            }
            self.settle(&queue, changes);
        }
    }
}

/// For the duration of a sync in the statistics, which nothing else depends on.
#[allow(clippy::disallowed_methods)]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}
