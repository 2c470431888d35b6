//! The store as others see it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::{Clock, UnixMs};

use crate::batch::{Batch, QueueId};
use crate::commit::{Commit, CommitWaiter};
use crate::config::{ENDPOINT_BYTES_MAX, Media, QUEUES_MAX, StoreConfig};
use crate::error::StoreError;
use crate::format::{put_queue_defined, put_queue_removed};
use crate::handle::Queue;
use crate::index::SeqIndex;
use crate::journal::Journal;
use crate::ledger::Loss;
use crate::open::open;
use crate::queue::QueueInner;
use crate::quota::Quota;
use crate::recovery::Recovery;
use crate::shared::{QueueListener, Shared};
use crate::stats::StoreStats;
use crate::thread::ThreadGuard;

/// Persistent queues over one journal. A cheap handle; the last one to go ends the store's thread without a
/// final sync, which [`Store::close`] does.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    thread: Arc<ThreadGuard>,
}

impl Store {
    /// Opens the store and brings back what it held. With a full disk it opens too: what is there can be
    /// delivered, and appending waits for space.
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`] (nothing was changed), [`StoreError::Io`].
    pub fn open(
        media: Media,
        config: StoreConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), StoreError> {
        let (shared, report) = open(media, config, clock)?;
        let shared = Arc::new(shared);
        let thread = if shared.config.background_thread {
            ThreadGuard::start(&shared)?
        } else {
            ThreadGuard::default()
        };
        Ok((Self { shared, thread: Arc::new(thread) }, report))
    }

    fn handle(&self, inner: &Arc<QueueInner>) -> Queue {
        Queue::new(Arc::clone(inner), Arc::clone(&self.shared))
    }

    /// The queue of an endpoint and priority (0 is the highest); made when there is none. Its definition is in the log
    /// before anything that is appended to it.
    ///
    /// Blocks for one write. Not for the hot path: keep the handle.
    ///
    /// # Errors
    /// [`StoreError::EndpointLength`], [`StoreError::TooManyQueues`], and those of [`Store::append`].
    pub fn open_queue(&self, endpoint: &str, priority: u32) -> Result<Queue, StoreError> {
        if endpoint.is_empty() || endpoint.len() > ENDPOINT_BYTES_MAX {
            return Err(StoreError::EndpointLength { bytes: endpoint.len(), max: ENDPOINT_BYTES_MAX });
        }
        let shared = &*self.shared;
        let mut journal = shared.open_journal()?;
        let known = shared.find_queue(endpoint, priority);
        if let Some(queue) = known.as_ref().filter(|queue| !queue.is_removed()) {
            return Ok(self.handle(queue));
        }
        let id = known.as_ref().map_or(journal.seqs.len() as u32 + 1, |queue| queue.id.0);
        if id as usize > QUEUES_MAX {
            return Err(StoreError::TooManyQueues { max: QUEUES_MAX });
        }
        journal.control.begin();
        put_queue_defined(&mut journal.control.buf, id, priority, endpoint);
        journal.control.add_control();
        shared.write_control(&mut journal)?;
        let queue = known.unwrap_or_else(|| shared.add_queue(&mut journal, id, endpoint, priority));
        queue.revive();
        Ok(self.handle(&queue))
    }

    /// The queues, those of removed endpoints not included.
    pub fn queues(&self) -> Vec<Queue> {
        let queues = self.shared.queues.read();
        queues.iter().flatten().filter(|queue| !queue.is_removed()).map(|queue| self.handle(queue)).collect()
    }

    /// Drops all queues of an endpoint with their messages (spec 1.7). Their numbering goes on should the endpoint
    /// return. Returns how many messages were dropped, counted once per queue.
    ///
    /// Survives a power cut from the next sync on, at most a second later under [`crate::SyncPolicy::Group`].
    ///
    /// # Errors
    /// Those of [`Store::append`]; nothing is dropped then.
    pub fn remove_endpoint(&self, endpoint: &str) -> Result<u64, StoreError> {
        let shared = &*self.shared;
        let mut journal = shared.open_journal()?;
        let queues: Vec<_> = shared.queues.read().iter().flatten().cloned().collect();
        let doomed: Vec<_> =
            queues.into_iter().filter(|queue| &*queue.endpoint == endpoint && !queue.is_removed()).collect();
        if doomed.is_empty() {
            return Ok(0);
        }
        journal.control.begin();
        for queue in &doomed {
            let below = journal.next_seq(queue.id);
            put_queue_removed(&mut journal.control.buf, queue.id.0, below);
            journal.control.add_control();
        }
        shared.write_control(&mut journal)?;
        Ok(doomed.iter().map(|queue| shared.drop_queue(queue, journal.next_seq(queue.id))).sum())
    }

    /// Stores a batch, which is empty afterwards.
    ///
    /// With [`Commit::Done`] it is committed and its messages can be leased. With [`Commit::Pending`], under
    /// [`crate::SyncPolicy::Group`] on disk, `waiter` gets `ticket` later, exactly once; nothing was written on this thread.
    ///
    /// # Errors
    /// Retryable ([`StoreError::is_retryable`]): nothing happened, the batch is unchanged; stop reading from senders until
    /// [`Store::pressure`] is off. [`StoreError::UnknownQueue`]: nothing happened, the batch is of another store.
    /// [`StoreError::Poisoned`], [`StoreError::Closed`]: nothing of the batch may be acknowledged, nor will anything be stored again.
    pub fn append(
        &self,
        batch: &mut Batch,
        waiter: &Arc<dyn CommitWaiter>,
        ticket: u64,
    ) -> Result<Commit, StoreError> {
        self.shared.append(batch, waiter, ticket)
    }

    /// The store's own time, in which expiries are given and compared. It is near the wall clock as long as that is not
    /// stepped, and goes on steadily if it is. Free of locks.
    pub fn now(&self) -> UnixMs {
        self.shared.time.now()
    }

    /// What a wall clock shows at a time of the store, as far as is known now; for what goes to others.
    /// [`UnixMs::MAX`] stays what it is.
    pub fn wall_of(&self, at: UnixMs) -> UnixMs {
        self.shared.time.wall_of(at)
    }

    /// Whether senders should be held back: bytes that wait for a sync, queued entries or memory near their limit,
    /// the quota used up, or no space for another segment. Ends at four fifths of the limit (of a quota, at 95 percent); [`QueueListener::pressure_ended`] tells.
    /// Never on when the store failed or is closed: `append` says so.
    pub fn pressure(&self) -> bool {
        self.shared.pressure()
    }

    /// Limits what messages may take and says what happens when they take it all; takes effect at once. `None`: no limit
    /// but the disk's, and new messages are refused when that is full.
    ///
    /// Checked before a batch is written, so one batch for every sender at that moment may go beyond it. Checkpoints and what
    /// makes space come back are never refused. Segments begun from now on are no larger than an eighth of it, but 256
    /// KiB at least. With [`Media::Memory`] a policy that drops also begins to at three quarters of
    /// [`StoreConfig::memory_bytes_max`].
    pub fn set_quota(&self, quota: Option<Quota>) {
        self.shared.set_quota(quota);
    }

    /// What [`Store::set_quota`] set.
    pub fn quota(&self) -> Option<Quota> {
        Some(self.shared.quota.get()).filter(|quota| *quota != Quota::NONE)
    }

    /// Writes all checkpoints that moved. Not needed in normal operation: [`Store::append`] carries them along, and the
    /// store's thread writes them within 100 ms.
    ///
    /// # Errors
    /// Those of [`Store::append`].
    pub fn checkpoint_dirty(&self) -> Result<(), StoreError> {
        self.shared.check_open()?;
        self.shared.write_checkpoints()
    }

    /// Does the housekeeping that is due, unless another thread is at it. The store's thread calls it; without
    /// one ([`StoreConfig::background_thread`]), somebody else must.
    pub fn tick(&self) {
        self.shared.run_once();
        self.shared.run_upkeep_once();
    }

    /// Who is told when queues become ready; can be set once, later calls are ignored.
    pub fn set_listener(&self, listener: Arc<dyn QueueListener>) {
        if self.shared.listener.set(listener).is_err() {
            log::warn!("the store has a listener already, another one is ignored");
        }
    }

    /// What made the store refuse everything, if something did.
    pub fn is_poisoned(&self) -> Option<Arc<StoreError>> {
        self.shared.poison()
    }

    /// Totals and current values.
    pub fn stats(&self) -> StoreStats {
        let shared = &self.shared;
        let (segments, disk_bytes) = shared.segments.totals();
        let live_messages = shared.queues.read().iter().flatten().map(|queue| queue.len()).sum();
        StoreStats {
            segments,
            disk_bytes,
            live_messages,
            used_bytes: shared.measure_usage().total(),
            quota_bytes: shared.quota.get().bytes_max,
            index_entries: shared.load.index_entries.load(Ordering::Relaxed) as u64,
            spill_files: shared.load.spill_files.load(Ordering::Relaxed) as u64,
            spill_bytes: shared.load.spill_bytes.load(Ordering::Relaxed),
            unsynced_bytes: shared.load.unsynced.load(Ordering::Relaxed) as u64,
            ..shared.counters.read()
        }
    }

    /// The last [`crate::LOSSES_KEPT`] losses since the store was opened, oldest first, with those that opening it
    /// found. Messages that one step of the store dropped from one queue are one loss.
    pub fn losses(&self) -> Vec<Loss> {
        self.shared.ledger.list()
    }

    /// Commits what gathered, writes the checkpoints, syncs, and ends the store's thread. Later calls that would
    /// write fail with [`StoreError::Closed`]. A second call does nothing.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]; retryable errors when there is no space. Batches that could not be committed
    /// have failed.
    pub fn close(&self) -> Result<(), StoreError> {
        if self.shared.is_closed() {
            return Ok(());
        }
        self.shared.gather.lock().stopped = true;
        self.thread.stop();
        self.shared.finish()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Shared {
    fn find_queue(&self, endpoint: &str, priority: u32) -> Option<Arc<QueueInner>> {
        let queues = self.queues.read();
        let mut all = queues.iter().flatten();
        all.find(|queue| queue.priority == priority && &*queue.endpoint == endpoint).cloned()
    }

    fn add_queue(&self, journal: &mut Journal, id: u32, endpoint: &str, priority: u32) -> Arc<QueueInner> {
        let queue =
            Arc::new(QueueInner::new(QueueId(id), Arc::from(endpoint), priority, SeqIndex::default(), false));
        journal.seqs.push(0);
        self.queues.write().push(Some(Arc::clone(&queue)));
        self.gather.lock().queues = id;
        queue
    }

    fn drop_queue(&self, queue: &Arc<QueueInner>, below: u64) -> u64 {
        let changes = queue.remove(&self.segments, below);
        self.settle(queue, changes);
        changes.lost.map_or(0, |lost| lost.count)
    }
}
