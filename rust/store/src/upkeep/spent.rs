//! Unlinking spill files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::UnixMs;

use super::Upkeep;
use crate::batch::QueueId;
use crate::ledger::LossCause;
use crate::queue::{QueueInner, SpentFile};
use crate::shared::Shared;
use crate::spill::{SpillFile, spill_name, write_tombstone};
use crate::stats::add;

/// Files unlinked in one round.
const UNLINK_MAX: usize = 4;

/// A file of which nothing is wanted any more.
pub(super) struct Spent {
    file: SpentFile,
    /// The checkpoint that passed it is in the log before this address.
    written_at: Option<u64>,
}

impl Shared {
    /// Unlinks files whose checkpoint is durable: otherwise a power cut would bring an older checkpoint back, and what
    /// was in them would look lost.
    pub fn reclaim_spilled(&self, upkeep: &mut Upkeep) {
        let fresh = std::mem::take(&mut *self.spent_files.lock());
        upkeep.spent.extend(fresh.into_iter().map(|file| Spent { file, written_at: None }));
        if upkeep.spent.is_empty() {
            return;
        }
        for spent in upkeep.spent.iter_mut().filter(|spent| spent.written_at.is_none()) {
            spent.written_at = self.checkpoint_end(&spent.file);
        }
        let durable = self.journal.lock().durable();
        let (mut unlinked, mut waiting) = (0, false);
        upkeep.spent.retain(|Spent { file, written_at }| {
            let ready = written_at.is_some_and(|at| at <= durable);
            waiting |= written_at.is_some() && !ready;
            let unlink = ready && unlinked < UNLINK_MAX;
            if unlink {
                unlinked += 1;
                self.unlink_spilled(file);
            }
            !unlink
        });
        upkeep.more |= unlinked == UNLINK_MAX;
        upkeep.space_is_back(unlinked > 0);
        if waiting {
            self.want_sync();
        }
    }

    /// Where the log ends if the checkpoint that a file waits for is in it.
    fn checkpoint_end(&self, file: &SpentFile) -> Option<u64> {
        let queue = self.queues.read().get(file.queue.0 as usize - 1).cloned().flatten()?;
        (queue.written_head() >= file.end_seq).then_some(())?;
        let journal = self.journal.lock();
        // What is still in this list was taken from the queue and not written yet.
        journal.checkpoints.is_empty().then(|| journal.log_end())
    }

    fn unlink_spilled(&self, file: &SpentFile) {
        self.remove_file(&spill_name(file.queue, file.number));
        self.load.spill_bytes.fetch_sub(file.bytes, Ordering::Relaxed);
        self.load.spent_bytes.fetch_sub(file.bytes, Ordering::Relaxed);
        self.load.spill_files.fetch_sub(usize::from(file.counted), Ordering::Relaxed);
        add(&self.counters.unlinked, 1);
    }

    /// Gives up spill files of which nothing was fetched yet and in which everything has expired.
    pub fn expire_files(&self, now: UnixMs) {
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        for queue in queues {
            let mut expired = Vec::new();
            queue.untouched_files(|file| {
                if file.last_expiry <= now {
                    expired.push(file.clone());
                }
            });
            for file in expired {
                self.drop_file(&queue, &file, LossCause::Expired);
            }
        }
    }

    /// Gives up all that a file holds of which nothing was fetched yet; returns how many messages that is.
    pub(super) fn drop_file(&self, queue: &Arc<QueueInner>, file: &SpillFile, cause: LossCause) -> u64 {
        let changes = queue.skip_file(file.number, cause);
        self.settle(queue, changes);
        self.bury(queue.id, file, |file, bytes| queue.resize_file(file, bytes));
        changes.lost.map_or(0, |lost| lost.count)
    }

    /// Puts something small in the place of a file, so that its space is back although the checkpoint has not passed it.
    fn bury(&self, queue: QueueId, file: &SpillFile, resize: impl FnOnce(u64, u64) -> u64) {
        match write_tombstone(&self.spill_target(queue), file) {
            Ok(bytes) => {
                let before = resize(file.number, bytes);
                self.load.spill_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.load.spill_bytes.fetch_sub(before, Ordering::Relaxed);
            }
            Err(error) => log::warn!("a file that is not wanted keeps its space for now: {error}"),
        }
    }
}
