//! Giving space back.

use std::sync::Arc;

use super::Upkeep;
use crate::StoreError;
use crate::config::SyncPolicy;
use crate::keeper::later;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::stats::add;

/// Segments unlinked in one round: each takes 10 to 20 ms.
const UNLINK_MAX: usize = 1;

impl Shared {
    /// Unlinks spent segments. Before, it must be durable that the log is durable beyond them: then a later header has
    /// the numbers and checkpoints, and a recovery knows that they are not missing but spent.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`].
    pub fn reclaim(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        if let Some(limit) = self.segments.first_spent() {
            if self.in_memory {
                self.free_memory();
            } else if self.attest(limit)? {
                upkeep.retiring.append(&mut self.segments.take_spent(limit, UNLINK_MAX));
                upkeep.more = true;
            }
        }
        let retiring = std::mem::take(&mut upkeep.retiring);
        let held = retiring.len();
        upkeep.retiring = retiring.into_iter().filter_map(|segment| self.unlink(segment)).collect();
        upkeep.space_is_back(upkeep.retiring.len() < held);
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

    pub(super) fn remove_file(&self, name: &str) {
        if let Err(error) = self.storage.remove(name) {
            log::warn!("cannot remove {name}: {error}");
        }
    }
}
