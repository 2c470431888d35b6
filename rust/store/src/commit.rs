//! From a batch to the log: at once on the caller's thread, or handed to the store's thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::StoreError;
use crate::batch::Batch;
use crate::config::SyncPolicy;
use crate::journal::Content;
use crate::keeper::Pending;
use crate::shared::Shared;

/// What became of an appended batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a pending batch must not be acknowledged yet"]
pub enum Commit {
    /// It is committed as the sync policy asks.
    Done,
    /// The [`CommitWaiter`] will be told.
    Pending,
}

/// Waits for batches under [`SyncPolicy::Group`]. Called from the store's thread (or from whoever calls
/// [`crate::Store::tick`] or `close`), once per batch and in order of appending; must be short, must not block and must not
/// call [`crate::Store::close`].
pub trait CommitWaiter: Send + Sync {
    /// The batch is durable.
    fn committed(&self, ticket: u64);
    /// The batch is not known to be stored. What it held must not be acknowledged.
    fn failed(&self, ticket: u64, error: &StoreError);
}

impl Shared {
    /// See [`crate::Store::append`].
    pub fn append(
        &self,
        batch: &mut Batch,
        waiter: &Arc<dyn CommitWaiter>,
        ticket: u64,
    ) -> Result<Commit, StoreError> {
        if batch.is_empty() {
            return Ok(Commit::Done);
        }
        self.check_open()?;
        self.check_quota()?;
        self.reserve_entries(batch.len_entries())?;
        let appended = match self.policy {
            SyncPolicy::Group => self.append_gathered(batch, waiter, ticket),
            SyncPolicy::Interval { .. } | SyncPolicy::None => self.append_inline(batch),
        };
        if appended.is_err() {
            self.load.index_entries.fetch_sub(batch.len_entries(), Ordering::Relaxed);
        }
        appended
    }

    fn append_inline(&self, batch: &mut Batch) -> Result<Commit, StoreError> {
        self.check_backlog()?;
        let inner = &mut batch.inner;
        let mut journal = self.open_journal()?;
        if let Some(queue) = journal.unknown_queue(inner) {
            return Err(StoreError::UnknownQueue { queue });
        }
        self.collect_checkpoints(&mut journal);
        let bytes = inner.sealed_bytes_max(journal.checkpoints.len());
        if self.in_memory && !journal.fits(bytes, Content::Messages) {
            self.check_memory(journal.segment_bytes().max(bytes as u64))?;
        }
        if self.health.disk_full.load(Ordering::Relaxed) && !journal.fits(bytes, Content::Messages) {
            // The store's thread tries again; a sender that did would spend milliseconds for nothing.
            return Err(journal.no_space());
        }
        self.make_room(&mut journal, bytes, Content::Messages)?;
        let address = journal.seal(inner, 0, self.time.stamp_batch());
        self.write(&mut journal, address, &inner.buf)?;
        self.publish(inner, address);
        let sync_now = self.count_unsynced(inner.buf.len());
        drop(journal);
        self.wake(&inner.woken);
        if sync_now {
            self.kick();
        }
        batch.clear();
        Ok(Commit::Done)
    }

    /// Under `Interval` the store's thread syncs early when the limit is reached; true when that is now.
    fn count_unsynced(&self, bytes: usize) -> bool {
        if !matches!(self.policy, SyncPolicy::Interval { .. }) {
            return false;
        }
        let before = self.load.unsynced.fetch_add(bytes, Ordering::Relaxed);
        let max = self.config.unsynced_bytes_max;
        before < max && before + bytes >= max
    }

    /// # Errors
    /// [`StoreError::Busy`] when twice the limit waits for the disk.
    fn check_backlog(&self) -> Result<(), StoreError> {
        let unsynced = self.load.unsynced.load(Ordering::Relaxed);
        let max = self.config.unsynced_bytes_max.saturating_mul(2);
        if unsynced >= max { Err(StoreError::Busy { unsynced, max }) } else { Ok(()) }
    }

    /// # Errors
    /// [`StoreError::MemoryFull`] when another segment of so many bytes is too much.
    fn check_memory(&self, more: u64) -> Result<(), StoreError> {
        self.free_memory();
        let max = self.config.memory_bytes_max;
        let bytes = self.memory_bytes() + more;
        if bytes <= max {
            return Ok(());
        }
        self.kick_upkeep();
        Err(StoreError::MemoryFull { bytes, max })
    }

    fn append_gathered(
        &self,
        batch: &mut Batch,
        waiter: &Arc<dyn CommitWaiter>,
        ticket: u64,
    ) -> Result<Commit, StoreError> {
        self.check_backlog()?;
        let mut gather = self.gather.lock();
        if gather.stopped {
            drop(gather);
            self.check_open()?;
            return Err(StoreError::Closed);
        }
        if let Some(queue) = gather.unknown_queue(&batch.inner) {
            return Err(StoreError::UnknownQueue { queue });
        }
        let fresh = gather.recycled.pop().unwrap_or_default();
        let full = std::mem::replace(&mut batch.inner, fresh);
        self.load.unsynced.fetch_add(full.buf.len(), Ordering::Relaxed);
        gather.pending.push(Pending {
            bytes: full.buf.len(),
            batch: full,
            waiter: Arc::clone(waiter),
            ticket,
        });
        if std::mem::take(&mut gather.idle) {
            drop(gather);
            self.gathered.notify_one();
        }
        Ok(Commit::Pending)
    }

    /// Wakes the store's thread.
    pub fn kick(&self) {
        let mut gather = self.gather.lock();
        gather.kicked = true;
        gather.idle = false;
        drop(gather);
        self.gathered.notify_one();
    }
}
