//! Checkpoints and syncs: what makes durable what is written.

use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use crate::StoreError;
use crate::config::SyncPolicy;
use crate::keeper::{Keeper, later};
use crate::segment::Segment;
use crate::shared::Shared;
use crate::stats::add;

/// Checkpoints reach the journal within this time without other traffic.
pub(crate) const CHECKPOINT_MS: u64 = 100;
/// Under `Group`, checkpoints, and messages whose senders do not wait, are synced within this time without other traffic.
const CHECKPOINT_SYNC_MS: u64 = 1000;

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
        let wanted = self.health.sync_wanted.swap(false, Ordering::Relaxed);
        let sealed_only = self.policy == SyncPolicy::None && !wanted;
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
        if now < due && !over && !wanted {
            return Ok(());
        }
        keeper.note_sync(now);
        self.sync(sealed_only)
    }

    /// Asks for a sync of all that is written, whatever the policy.
    pub fn want_sync(&self) {
        self.health.sync_wanted.store(true, Ordering::Relaxed);
        self.kick();
    }

    /// Makes the log durable as far as it is written; with `sealed_only`, its full segments.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]: after a failed sync nobody knows what is on disk.
    pub fn sync(&self, sealed_only: bool) -> Result<(), StoreError> {
        // Two at a time would each take what the other one syncs for done.
        let _syncing = self.syncing.lock();
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
        self.journal.lock().set_synced(unsynced);
        if matches!(self.policy, SyncPolicy::Interval { .. }) {
            self.load.unsynced.fetch_sub(bytes, Ordering::Relaxed);
            self.relieve();
        }
        Ok(())
    }

    pub fn sync_folder(&self) -> Result<(), StoreError> {
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
}

/// For the duration of a sync in the statistics, which nothing else depends on.
#[allow(clippy::disallowed_methods)]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}
