//! The committing thread without the thread: one call of [`Shared::run_once`] is one round of what it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use crate::StoreError;
use crate::batch::{BatchInner, QueueId};
use crate::commit::CommitWaiter;
use crate::config::SyncPolicy;
use crate::shared::Shared;
use crate::sync::CHECKPOINT_MS;

/// Time between two rounds of a store that takes nothing any more.
const DEAD_MS: u64 = 1000;

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

/// State of the committing thread between two rounds.
#[derive(Default)]
pub(crate) struct Keeper {
    /// Batches that are being committed, and the addresses of those that are placed.
    pub round: Vec<Pending>,
    pub addresses: Vec<u64>,
    /// How many of the round are in their queues, and whose waiters were told.
    pub published: usize,
    pub told: usize,
    pub write_buf: Vec<u8>,
    pub woken: Vec<QueueId>,
    pub last_sync: Option<MonoTime>,
    pub unsynced_since: Option<MonoTime>,
    /// Bytes of batches since the last sync for which nobody waits.
    pub unawaited_bytes: usize,
    pub last_checkpoint: MonoTime,
    pub retry_at: Option<MonoTime>,
}

impl Keeper {
    /// A sync of all that is written follows.
    pub fn note_sync(&mut self, now: MonoTime) {
        (self.last_sync, self.unsynced_since, self.unawaited_bytes) = (Some(now), None, 0);
    }
}

/// When the next round is due if nothing happens before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextRound {
    pub at: MonoTime,
    /// Whether it was known that batches wait; if not and there are some, the round is due at once.
    pub gathered: bool,
}

impl Shared {
    /// One round of commits, checkpoints and syncs. `None` when another thread is in it.
    pub fn run_once(&self) -> Option<NextRound> {
        let mut keeper = self.keeper.try_lock()?;
        let now = self.clock.mono();
        self.gather.lock().kicked = false;
        if self.check_open().is_err() {
            self.fail_all(&mut keeper);
            return Some(NextRound { at: now.plus_ms(DEAD_MS), gathered: true });
        }
        if self.round(&mut keeper, now).is_err() {
            self.fail_all(&mut keeper);
        }
        Some(self.next_round(&keeper, now))
    }

    /// # Errors
    /// The store is poisoned.
    fn round(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        // First, so that no batch of this round is stamped before the step is noted.
        self.watch_clock()?;
        if self.commit_due(keeper, now) {
            later(self.commit_round(keeper, now))?;
        }
        self.checkpoint_if_due(keeper, now)?;
        self.sync_if_due(keeper, now)?;
        self.relieve();
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

    /// Tells everybody who waits that it will not happen.
    pub fn fail_all(&self, keeper: &mut Keeper) {
        let mut failed = std::mem::take(&mut keeper.round);
        let (published, told) = (std::mem::take(&mut keeper.published), std::mem::take(&mut keeper.told));
        {
            let mut gather = self.gather.lock();
            gather.stopped = true;
            failed.append(&mut gather.pending);
        }
        let error = self.check_open().err().unwrap_or(StoreError::Closed);
        for pending in failed.iter().skip(published) {
            self.load.unsynced.fetch_sub(pending.bytes, Ordering::Relaxed);
            self.load.index_entries.fetch_sub(pending.batch.entries_total(), Ordering::Relaxed);
        }
        for pending in failed.iter().skip(told) {
            pending.waiter.failed(pending.ticket, &error);
        }
    }

    /// Commits, checkpoints and syncs everything, then attests that it is durable.
    ///
    /// # Errors
    /// What kept it from doing so; batches that are not committed have failed.
    pub fn finish(&self) -> Result<(), StoreError> {
        let mut keeper = self.keeper.lock();
        self.gather.lock().stopped = true;
        self.set_closed();
        let finished = self.finish_with(&mut keeper);
        self.fail_all(&mut keeper);
        finished
    }

    fn finish_with(&self, keeper: &mut Keeper) -> Result<(), StoreError> {
        if let Some(cause) = self.poison() {
            return Err(StoreError::Poisoned { cause });
        }
        let committed = self.commit_rest(keeper);
        if self.poison().is_none() {
            // Also on a full disk: there is room kept for checkpoints.
            later(self.write_checkpoints())?;
            self.sync(false)?;
            self.spill_rest()?;
            later(self.write_attest(&mut self.journal.lock()))?;
            self.sync(false)?;
        }
        self.save_losses();
        committed
    }

    fn commit_rest(&self, keeper: &mut Keeper) -> Result<(), StoreError> {
        let now = self.clock.mono();
        while !(keeper.round.is_empty() && self.gather.lock().pending.is_empty()) {
            self.commit_round(keeper, now)?;
        }
        Ok(())
    }
}

/// What can be done later is no error now.
pub(crate) fn later(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(error) if error.is_retryable() => Ok(()),
        other => other,
    }
}
