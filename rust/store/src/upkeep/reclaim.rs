//! Giving space back, or using it again.

use std::sync::Arc;

use super::Upkeep;
use crate::StoreError;
use crate::config::SyncPolicy;
use crate::journal::{Spare, remove_leftover, segment_name};
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
        for segment in retiring {
            self.retire(upkeep, segment)?;
        }
        upkeep.space_is_back(upkeep.retiring.len() < held);
        Ok(())
    }

    /// Gives spent segments in memory back. That costs little, so a sender does it before it asks for more.
    pub fn free_memory(&self) {
        for segment in self.segments.take_spent(u64::MAX, usize::MAX) {
            // Also one that is being read: its memory goes with the reader.
            self.remove_file(&segment.name);
            add(&self.counters.unlinked, 1);
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

    /// Gives the segment back, or keeps its file for the next one. Not while a reader holds the file: the last one to
    /// close it would pay for the unlinking, or read what is written to it next.
    fn retire(&self, upkeep: &mut Upkeep, segment: Arc<Segment>) -> Result<(), StoreError> {
        match Arc::try_unwrap(segment) {
            Err(held) => upkeep.retiring.push(held),
            Ok(segment) => match self.number_for_reuse(&segment) {
                Some(number) => return self.reuse(upkeep, segment, number),
                None => self.unlink(segment),
            },
        }
        Ok(())
    }

    /// The number under which a file can be the next segment, if there is none yet and it has the right size.
    fn number_for_reuse(&self, segment: &Segment) -> Option<u64> {
        let mut journal = self.journal.lock();
        let bytes = segment.meta.limit - segment.meta.base;
        let fits = !self.in_memory && journal.spare.is_none() && bytes == journal.segment_bytes();
        fits.then(|| journal.reserve_number())
    }

    /// Makes the next segment of a spent one. A sync of a file that was written before costs about a third less than of
    /// one that was only allocated, of which the file system has to note what is written by now.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`].
    fn reuse(&self, upkeep: &mut Upkeep, segment: Segment, number: u64) -> Result<(), StoreError> {
        let Segment { meta, name: old_name, file } = segment;
        let (name, bytes) = (segment_name(number), meta.limit - meta.base);
        if let Err(error) = self.storage.rename(&old_name, &name) {
            log::warn!("{old_name} cannot be used again, it is removed: {error}");
            drop(file);
            for name in [&old_name, &name] {
                remove_leftover(&*self.storage, name);
            }
            return Ok(());
        }
        add(&self.counters.reused, 1);
        self.offer_spare(upkeep, Spare { name, number, file, bytes, reused: true })
    }

    fn unlink(&self, segment: Segment) {
        let Segment { name, file, .. } = segment;
        drop(file);
        self.remove_file(&name);
        add(&self.counters.unlinked, 1);
    }

    pub(super) fn remove_file(&self, name: &str) {
        if let Err(error) = self.storage.remove(name) {
            log::warn!("cannot remove {name}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Media, StoreConfig};
    use crate::open::open;
    use edgehub_testkit::VirtualClock;
    use edgehub_types::UnixMs;

    #[test]
    fn memory_of_a_spent_segment_goes_although_somebody_reads_it() {
        let clock = Arc::new(VirtualClock::at(UnixMs(1_700_000_000_000)));
        let (shared, _) = open(Media::Memory, StoreConfig::small(), clock).unwrap();
        let first =
            shared.segments.find(shared.journal.lock().active.as_ref().unwrap().position - 1).unwrap();
        shared.begin_segment(&mut shared.journal.lock(), 100).unwrap();
        assert!(first.meta.is_spent());
        shared.free_memory();
        let files = shared.storage.list().unwrap();
        assert_eq!(files.len() as u64, shared.segments.totals().0, "{files:?}");
        assert!(!files.contains(&first.name));
    }
}
