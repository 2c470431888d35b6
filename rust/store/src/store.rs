//! The store as others see it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::{Clock, UnixMs};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::batch::{Batch, QueueId};
use crate::commit::{Commit, CommitWaiter};
use crate::config::{ENDPOINT_BYTES_MAX, Media, QUEUES_MAX, StoreConfig, SyncPolicy};
use crate::error::StoreError;
use crate::format::{put_queue_defined, put_queue_removed};
use crate::index::SeqIndex;
use crate::journal::{Content, Journal, QueueTable};
use crate::keeper::{Gather, Keeper};
use crate::lease::{Leased, ScratchPool};
use crate::queue::QueueInner;
use crate::recovery::{Recovery, recover};
use crate::segment::SegmentSet;
use crate::shared::{Health, Load, QueueListener, Shared};
use crate::stats::{Counters, StoreStats, add};
use crate::storage::MemoryStorage;
use crate::tail::TailCache;
use crate::thread::ThreadGuard;

const SEGMENT_BYTES_MIN: u32 = 4 << 10;
const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// Segments in memory are small: what is acknowledged is given back in such pieces.
const MEMORY_SEGMENT_BYTES: u32 = 1 << 20;

/// Persistent queues over one journal. A cheap handle; the last one to go ends the store's thread without a
/// final sync, which [`Store::close`] does.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    thread: Arc<ThreadGuard>,
}

/// One queue of a store; a cheap handle.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<QueueInner>,
    shared: Arc<Shared>,
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
        let (shared, report) = open_shared(media, config, clock)?;
        begin_first_segment(&shared)?;
        let shared = Arc::new(shared);
        let thread = if shared.config.background_thread {
            ThreadGuard::start(&shared)?
        } else {
            ThreadGuard::default()
        };
        Ok((Self { shared, thread: Arc::new(thread) }, report))
    }

    fn handle(&self, inner: &Arc<QueueInner>) -> Queue {
        Queue { inner: Arc::clone(inner), shared: Arc::clone(&self.shared) }
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
    /// Survives a power cut from the next sync on, at most a second later under [`SyncPolicy::Group`].
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
    /// [`SyncPolicy::Group`] on disk, `waiter` gets `ticket` later, exactly once; nothing was written on this thread.
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

    /// Whether senders should be held back: bytes that wait for a sync, queued entries or memory near their limit,
    /// or no space for another segment. Ends at four fifths of the limit; [`QueueListener::pressure_ended`] tells.
    pub fn pressure(&self) -> bool {
        self.shared.pressure()
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
            index_entries: shared.load.index_entries.load(Ordering::Relaxed) as u64,
            unsynced_bytes: shared.load.unsynced.load(Ordering::Relaxed) as u64,
            ..shared.counters.read()
        }
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

impl Queue {
    /// Id, for [`crate::Target`].
    pub fn id(&self) -> QueueId {
        self.inner.id
    }

    /// Endpoint.
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
    }

    /// Priority, 0 is the highest.
    pub fn priority(&self) -> u32 {
        self.inner.priority
    }

    /// Messages that are neither acknowledged nor known to be expired.
    pub fn len(&self) -> u64 {
        self.inner.len()
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages dropped since the store was opened because their time had passed.
    pub fn expired(&self) -> u64 {
        self.inner.expired()
    }

    /// Whether there are messages that nobody leases (they may turn out to be expired). One atomic read.
    pub fn has_ready(&self) -> bool {
        self.inner.has_ready()
    }

    /// The lease epoch: [`Queue::release_all`] begins another one.
    pub fn epoch(&self) -> u32 {
        self.inner.epoch()
    }

    /// Hands out the next messages in order, at most `msgs_max` and about `bytes_max` bytes of them (with 24 bytes and more
    /// for each beside its payload; one message is handed out however long it is). Returns how many.
    ///
    /// `deliver` is called without locks of the store, may call other methods of this queue but not `lease`, and
    /// returns false to stop before taking the message it was given. What is expired at `now` is dropped.
    ///
    /// # Errors
    /// [`StoreError::LeaseBusy`] while another lease of this queue runs. [`StoreError::Io`] when the journal cannot be
    /// read; what was not delivered is ready again.
    pub fn lease(
        &self,
        now: UnixMs,
        msgs_max: usize,
        bytes_max: usize,
        deliver: impl FnMut(Leased<'_>) -> bool,
    ) -> Result<usize, StoreError> {
        self.shared.lease(&self.inner, now, msgs_max, bytes_max, deliver)
    }

    /// Marks a leased message as done, in any order. Ignored when it is done already, was never leased, or `epoch` is not
    /// the current one.
    pub fn ack(&self, seq: u64, epoch: u32) {
        let changes = self.inner.ack(&self.shared.segments, seq, epoch);
        self.shared.settle(&self.inner, changes);
    }

    /// [`Queue::ack`] for many under one lock.
    pub fn ack_all(&self, seqs: &[u64], epoch: u32) {
        let changes = self.inner.ack_all(&self.shared.segments, seqs, epoch);
        self.shared.settle(&self.inner, changes);
    }

    /// The consumer went away: what it leased and did not acknowledge is ready again, in order, and
    /// acknowledgements with its epoch are ignored from now on. The listener is not called.
    pub fn release_all(&self) {
        self.inner.release_all();
    }

    /// Reads a leased message again, for another attempt to deliver it; false when it is not leased (any more). Expiry
    /// is not checked: [`Leased::expires_at`] tells.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn read(&self, seq: u64, receive: impl FnOnce(Leased<'_>)) -> Result<bool, StoreError> {
        self.shared.read(&self.inner, seq, receive)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueInner { id, endpoint, priority, .. } = &*self.inner;
        write!(f, "{id} ({endpoint}, priority {priority})")
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

    fn drop_queue(&self, queue: &QueueInner, below: u64) -> u64 {
        let (dropped, popped) = queue.remove(&self.segments, below);
        add(&self.counters.removed, dropped);
        self.load.index_entries.fetch_sub(popped, Ordering::Relaxed);
        dropped
    }
}

fn open_shared(
    media: Media,
    mut config: StoreConfig,
    clock: Arc<dyn Clock>,
) -> Result<(Shared, Recovery), StoreError> {
    config.segment_bytes = config.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    let mut policy = config.sync;
    let in_memory = matches!(media, Media::Memory);
    let storage = match media {
        Media::Disk(storage) => storage,
        Media::Memory => {
            config.segment_bytes = config.segment_bytes.min(MEMORY_SEGMENT_BYTES);
            config.tail_cache_bytes = 0;
            policy = SyncPolicy::None;
            Arc::new(MemoryStorage::default())
        }
    };
    let found = recover(&*storage)?;
    let segment_bytes = u64::from(config.segment_bytes);
    let gather = Gather { queues: found.queues.len() as u32, ..Gather::default() };
    let shared = Shared {
        policy,
        in_memory,
        journal: Mutex::new(Journal::new(Arc::clone(&storage), segment_bytes, !in_memory, found.end)),
        storage,
        clock,
        segments: SegmentSet::new(found.segments),
        tail: TailCache::new(config.tail_cache_bytes),
        queues: RwLock::new(found.queues as QueueTable),
        dirty: Mutex::default(),
        gather: Mutex::new(gather),
        gathered: Condvar::new(),
        keeper: Mutex::new(Keeper::default()),
        health: Health::default(),
        load: Load::default(),
        counters: Counters::default(),
        scratches: ScratchPool::default(),
        listener: std::sync::OnceLock::new(),
        config,
    };
    shared.load.index_entries.store(found.entries, Ordering::Relaxed);
    add(&shared.counters.recovered, found.entries as u64);
    Ok((shared, found.report))
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
