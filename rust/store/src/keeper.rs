//! What the store's thread does: commits under `Group`, syncs, checkpoints, segments. One call of
//! [`Shared::run_once`] is one round of it; the thread is a loop around that call.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use crate::StoreError;
use crate::batch::{BatchInner, QueueId};
use crate::commit::CommitWaiter;
use crate::config::SyncPolicy;
use crate::journal::{Content, Journal, Spare, create_segment};
use crate::segment::Segment;
use crate::shared::Shared;
use crate::stats::add;

/// Checkpoints reach the journal within this time without other traffic.
const CHECKPOINT_MS: u64 = 100;
/// Under `Group`, checkpoints are synced within this time without other traffic.
const CHECKPOINT_SYNC_MS: u64 = 1000;
/// Time between two searches for expired messages at the front of queues.
const SWEEP_MS: u64 = 1000;
/// Messages dropped per queue in one such search.
const SWEEP_MSGS_MAX: usize = 10_000;
/// Time until something that failed for want of space is tried again.
const RETRY_MS: u64 = 250;
/// Segments unlinked in one round: each takes 10 to 20 ms, during which nothing is committed.
const UNLINK_MAX: usize = 1;
/// Batches of one round are written together in pieces of about this many bytes.
const WRITE_BYTES: usize = 1 << 20;
/// Empty batches kept for senders, and how large such a buffer may be.
const RECYCLED_MAX: usize = 8;
const RECYCLED_BYTES_MAX: usize = 256 << 10;

/// A batch that waits for its commit.
pub(crate) struct Pending {
    pub batch: BatchInner,
    pub bytes: usize,
    pub waiter: Arc<dyn CommitWaiter>,
    pub ticket: u64,
}

/// Where senders and the store's thread meet. Its lock is held for moments only, never during I/O.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // four independent facts under one lock, not a state machine
pub(crate) struct Gather {
    pub pending: Vec<Pending>,
    pub recycled: Vec<BatchInner>,
    /// Ids up to this one are known.
    pub queues: u32,
    /// The thread sleeps and wants to be woken.
    pub idle: bool,
    /// The thread is to run a round although nothing is pending.
    pub kicked: bool,
    /// The thread is to end.
    pub ending: bool,
    /// Nothing is taken any more.
    pub stopped: bool,
}

impl Gather {
    pub fn unknown_queue(&self, batch: &BatchInner) -> Option<QueueId> {
        batch.slots.iter().map(|slot| slot.queue).find(|queue| queue.0 == 0 || queue.0 > self.queues)
    }
}

/// State of the store's thread between two rounds.
#[derive(Default)]
pub(crate) struct Keeper {
    round: Vec<Pending>,
    addresses: Vec<u64>,
    write_buf: Vec<u8>,
    woken: Vec<QueueId>,
    retiring: Vec<Arc<Segment>>,
    last_sync: Option<MonoTime>,
    unsynced_since: Option<MonoTime>,
    last_checkpoint: MonoTime,
    next_sweep: MonoTime,
    retry_at: Option<MonoTime>,
    spare_retry_at: Option<MonoTime>,
}

/// When the next round is due if nothing happens before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextRound {
    pub at: MonoTime,
    /// Whether it was known that batches wait; if not and there are some, the round is due at once.
    pub gathered: bool,
}

impl Shared {
    /// One round of housekeeping. `None` when another thread is in it.
    pub fn run_once(&self) -> Option<NextRound> {
        let mut keeper = self.keeper.try_lock()?;
        let now = self.clock.mono();
        self.gather.lock().kicked = false;
        if self.check_open().is_err() {
            self.fail_all(&mut keeper);
            return Some(NextRound { at: now.plus_ms(SWEEP_MS), gathered: true });
        }
        if let Err(error) = self.round(&mut keeper, now) {
            log::debug!("store round ended early: {error}");
            if self.poison().is_some() {
                self.fail_all(&mut keeper);
            }
        }
        Some(self.next_round(&keeper, now))
    }

    fn round(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        if self.commit_due(keeper, now) {
            self.commit_round(keeper, now)?;
        }
        self.checkpoint_if_due(keeper, now)?;
        self.sync_if_due(keeper, now)?;
        self.prepare_spare(keeper, now);
        self.reclaim(keeper)?;
        self.sweep(keeper, now);
        Ok(())
    }

    fn next_round(&self, keeper: &Keeper, now: MonoTime) -> NextRound {
        let rest = now.plus_ms(match self.policy {
            SyncPolicy::Interval { interval_ms } => interval_ms.clamp(1, CHECKPOINT_MS),
            _ => CHECKPOINT_MS,
        });
        if !keeper.round.is_empty() {
            return NextRound { at: keeper.retry_at.unwrap_or(now).min(rest), gathered: true };
        }
        let gathered = !self.gather.lock().pending.is_empty();
        let at = if gathered { self.commit_at(keeper).unwrap_or(now).min(rest) } else { rest };
        NextRound { at, gathered }
    }

    fn commit_at(&self, keeper: &Keeper) -> Option<MonoTime> {
        keeper.last_sync.map(|last| last.plus_ms(self.config.sync_min_interval_ms))
    }

    fn commit_due(&self, keeper: &Keeper, now: MonoTime) -> bool {
        keeper.retry_at.is_none_or(|at| at <= now) && self.commit_at(keeper).is_none_or(|at| at <= now)
    }

    /// Writes, syncs and answers what gathered.
    pub fn commit_round(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        self.take_gathered(keeper);
        if keeper.round.is_empty() {
            return Ok(());
        }
        keeper.retry_at = None;
        let written = self.write_round(keeper);
        let done = keeper.addresses.len();
        if done > 0 {
            keeper.last_sync = Some(now);
            keeper.unsynced_since = None;
            self.sync(false)?;
            self.answer(keeper, done);
        }
        if written.is_err() {
            keeper.retry_at = Some(now.plus_ms(RETRY_MS));
        }
        written
    }

    fn take_gathered(&self, keeper: &mut Keeper) {
        let mut gather = self.gather.lock();
        if keeper.round.is_empty() {
            std::mem::swap(&mut gather.pending, &mut keeper.round);
        }
    }

    /// Writes the round's batches in order. After a retryable error, those before are written.
    fn write_round(&self, keeper: &mut Keeper) -> Result<(), StoreError> {
        let Keeper { round, addresses, write_buf, .. } = keeper;
        addresses.clear();
        write_buf.clear();
        let mut journal = self.journal.lock();
        let alone = round.len() == 1;
        for pending in round.iter_mut() {
            self.collect_checkpoints(&mut journal);
            let bytes = pending.batch.sealed_bytes_max(journal.checkpoints.len());
            if !journal.fits(write_buf.len() + bytes, Content::Messages) {
                self.flush(&mut journal, write_buf)?;
                self.make_room(&mut journal, bytes, Content::Messages)?;
            }
            let now_ms = self.clock.unix().0;
            let address = journal.seal(&mut pending.batch, write_buf.len() as u64, now_ms);
            if alone {
                self.write(&mut journal, address, &pending.batch.buf)?;
            } else {
                write_buf.extend_from_slice(&pending.batch.buf);
            }
            addresses.push(address);
            if write_buf.len() >= WRITE_BYTES {
                self.flush(&mut journal, write_buf)?;
            }
        }
        self.flush(&mut journal, write_buf)
    }

    fn flush(&self, journal: &mut Journal, write_buf: &mut Vec<u8>) -> Result<(), StoreError> {
        let Some(active) = journal.active.as_ref().filter(|_| !write_buf.is_empty()) else { return Ok(()) };
        let address = active.position;
        self.write(journal, address, write_buf)?;
        write_buf.clear();
        Ok(())
    }

    /// Publishes the first `done` batches of the round and tells their waiters.
    fn answer(&self, keeper: &mut Keeper, done: usize) {
        keeper.woken.clear();
        let mut bytes = 0;
        for (pending, address) in keeper.round.iter_mut().zip(&keeper.addresses) {
            self.publish(&mut pending.batch, *address);
            keeper.woken.append(&mut pending.batch.woken);
            bytes += pending.bytes;
        }
        keeper.addresses.clear();
        self.load.unsynced.fetch_sub(bytes, Ordering::Relaxed);
        keeper.round.iter().take(done).for_each(|pending| pending.waiter.committed(pending.ticket));
        self.wake(&keeper.woken);
        self.relieve();
        self.recycle(keeper.round.drain(..done));
    }

    fn recycle(&self, done: impl Iterator<Item = Pending>) {
        let mut gather = self.gather.lock();
        for mut pending in done {
            if gather.recycled.len() < RECYCLED_MAX {
                pending.batch.clear();
                pending.batch.buf.shrink_to(RECYCLED_BYTES_MAX);
                gather.recycled.push(pending.batch);
            }
        }
    }

    /// Tells everybody who waits that it will not happen.
    pub fn fail_all(&self, keeper: &mut Keeper) {
        let mut failed = std::mem::take(&mut keeper.round);
        {
            let mut gather = self.gather.lock();
            gather.stopped = true;
            failed.append(&mut gather.pending);
        }
        let error = self.check_open().err().unwrap_or(StoreError::Closed);
        for pending in failed {
            self.load.unsynced.fetch_sub(pending.bytes, Ordering::Relaxed);
            self.load.index_entries.fetch_sub(pending.batch.entries_total(), Ordering::Relaxed);
            pending.waiter.failed(pending.ticket, &error);
        }
    }

    fn checkpoint_if_due(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        if now < keeper.last_checkpoint.plus_ms(CHECKPOINT_MS) {
            return Ok(());
        }
        keeper.last_checkpoint = now;
        match self.write_checkpoints() {
            Err(error) if error.is_retryable() => Ok(()),
            other => other,
        }
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

    fn sync_if_due(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
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
            let synced = self.storage.sync_dir();
            synced.map_err(|source| self.set_poison(StoreError::io("sync", "the folder")(source)))?;
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
    fn prepare_spare(&self, keeper: &mut Keeper, now: MonoTime) {
        if keeper.spare_retry_at.is_some_and(|at| now < at) {
            return;
        }
        let (number, bytes) = {
            let mut journal = self.journal.lock();
            if !journal.wants_spare() {
                return;
            }
            (journal.reserve_number(), journal.segment_bytes())
        };
        match self.create_spare(number, bytes) {
            Ok(spare) => {
                let unused = self.journal.lock().put_spare(spare);
                if let Some(unused) = unused {
                    self.remove_file(&unused.name);
                }
                self.health.disk_full.store(false, Ordering::Relaxed);
                self.relieve();
            }
            Err(error) => {
                log::warn!("the next segment cannot be prepared, will try again: {error}");
                keeper.spare_retry_at = Some(now.plus_ms(RETRY_MS));
            }
        }
    }

    fn create_spare(&self, number: u64, bytes: u64) -> Result<Spare, StoreError> {
        let spare = create_segment(&*self.storage, number, bytes, true)?;
        self.storage.sync_dir().map_err(StoreError::io("sync", "the folder"))?;
        Ok(spare)
    }

    /// Unlinks spent segments. Before, it must be durable that the log is durable beyond them: then a later header has
    /// the numbers and checkpoints, and a recovery knows that they are not missing but spent.
    fn reclaim(&self, keeper: &mut Keeper) -> Result<(), StoreError> {
        if let Some(limit) = self.segments.first_spent() {
            if self.in_memory {
                keeper.retiring.append(&mut self.segments.take_spent(u64::MAX, UNLINK_MAX));
            } else if self.attest(limit)? {
                keeper.retiring.append(&mut self.segments.take_spent(limit, UNLINK_MAX));
            }
        }
        keeper.retiring.retain(|segment| !self.unlink(segment));
        Ok(())
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
            match self.write_attest(&mut journal) {
                Err(error) if !error.is_retryable() => return Err(error),
                _ => {}
            }
        }
        if hurry && journal.stated() > limit && journal.attested() <= limit {
            drop(journal);
            self.sync(false)?;
            journal = self.journal.lock();
        }
        Ok(journal.attested() > limit)
    }

    /// False while a reader holds the file: the last one to close it would pay for the unlinking.
    fn unlink(&self, segment: &Arc<Segment>) -> bool {
        if Arc::strong_count(segment) > 1 {
            return false;
        }
        self.remove_file(&segment.name);
        add(&self.counters.unlinked, 1);
        self.relieve();
        true
    }

    fn remove_file(&self, name: &str) {
        if let Err(error) = self.storage.remove(name) {
            log::warn!("cannot remove {name}: {error}");
        }
    }

    /// Drops expired messages that nobody reads, so that their segments can go.
    fn sweep(&self, keeper: &mut Keeper, now: MonoTime) {
        if now < keeper.next_sweep {
            return;
        }
        keeper.next_sweep = now.plus_ms(SWEEP_MS);
        let unix = self.clock.unix();
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        for queue in queues {
            let changes = queue.expire_front(&self.segments, unix, SWEEP_MSGS_MAX);
            if changes.expired as usize >= SWEEP_MSGS_MAX {
                keeper.next_sweep = now;
            }
            self.settle(&queue, changes);
        }
    }

    /// Commits, checkpoints and syncs everything, then attests that it is durable.
    pub fn finish(&self) -> Result<(), StoreError> {
        let mut keeper = self.keeper.lock();
        self.gather.lock().stopped = true;
        self.set_closed();
        let now = self.clock.mono();
        let finished = self.finish_with(&mut keeper, now);
        self.fail_all(&mut keeper);
        finished
    }

    fn finish_with(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        if let Some(cause) = self.poison() {
            return Err(StoreError::Poisoned { cause });
        }
        while !(keeper.round.is_empty() && self.gather.lock().pending.is_empty()) {
            self.commit_round(keeper, now)?;
        }
        self.write_checkpoints()?;
        self.sync(false)?;
        self.write_attest(&mut self.journal.lock())?;
        self.sync(false)
    }
}

/// For the duration of a sync in the statistics, which nothing else depends on.
#[allow(clippy::disallowed_methods)]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}
