//! The segment after the active one.

use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use super::Upkeep;
use crate::StoreError;
use crate::group::RETRY_MS;
use crate::journal::{Spare, create_segment};
use crate::shared::Shared;

impl Shared {
    /// Allocates the file of the next segment before it is needed, so that senders do not wait for it.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]. Want of space is none: it is tried again.
    pub fn prepare_spare(&self, upkeep: &mut Upkeep, now: MonoTime) -> Result<(), StoreError> {
        if upkeep.spare_retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let urgent = self.health.disk_full.load(Ordering::Relaxed);
        let (number, bytes) = {
            let mut journal = self.journal.lock();
            if journal.spare.is_some() && urgent {
                // It was too small for one batch; others may fit, so senders try again.
                upkeep.spare_retry_at = Some(now.plus_ms(RETRY_MS));
                self.health.disk_full.store(false, Ordering::Relaxed);
                upkeep.refused_after = self.unlinked_if(self.health.no_space.load(Ordering::Relaxed));
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
                upkeep.refused_after = self.unlinked_if(matches!(error, StoreError::DiskFull { .. }));
                upkeep.spare_retry_at = Some(now.plus_ms(RETRY_MS));
                return Ok(());
            }
        };
        self.offer_spare(upkeep, spare)
    }

    /// Makes a file the next segment; removes it when it comes too late.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`].
    pub(super) fn offer_spare(&self, upkeep: &mut Upkeep, spare: Spare) -> Result<(), StoreError> {
        upkeep.refused_after = None;
        self.sync_folder()?;
        let unused = self.journal.lock().put_spare(spare);
        self.health.disk_full.store(false, Ordering::Relaxed);
        if let Some(Spare { name, file, .. }) = unused {
            drop(file);
            self.remove_file(&name);
        }
        Ok(())
    }

    fn unlinked_if(&self, refused: bool) -> Option<u64> {
        refused.then(|| self.counters.unlinked.load(Ordering::Relaxed))
    }
}
