//! What must be done from time to time and may take long: the next segment, spent segments, expired messages, the quota,
//! unused memory, the file of losses.
//!
//! It has a thread of its own, so that commits do not wait for it. One call of [`Shared::run_upkeep_once`] is one
//! round.

mod expiry;
mod idle;
mod quota;
mod reclaim;
mod spare;
mod spent;
mod spill;

use std::sync::Arc;

use edgehub_types::MonoTime;

use crate::StoreError;
use crate::ledger::LossFile;
use crate::segment::Segment;
use crate::shared::Shared;
use quota::QuotaLog;
use spent::Spent;
use spill::PendingSpill;

pub(crate) use idle::release_some;

/// Time between two rounds when nothing is in a hurry.
const REST_MS: u64 = 100;
/// Time between two rounds of a store that takes nothing any more.
const DEAD_MS: u64 = 1000;

/// State between two rounds.
#[derive(Default)]
pub(crate) struct Upkeep {
    /// Segments on the way out that a reader still holds.
    retiring: Vec<Arc<Segment>>,
    /// There is more to do, and this round was long enough.
    more: bool,
    next_sweep: MonoTime,
    idle: idle::Idle,
    spare_retry_at: Option<MonoTime>,
    /// The disk had no space for another segment, and so many had been unlinked by then.
    refused_after: Option<u64>,
    /// Nothing could be dropped; tried again then.
    make_way_at: Option<MonoTime>,
    quota_log: QuotaLog,
    spill: Option<PendingSpill>,
    spill_retry_at: MonoTime,
    /// Since when there has been too much in the journal.
    spill_since: Option<MonoTime>,
    /// Spill files on the way out.
    spent: Vec<Spent>,
    losses: LossFile,
}

impl Upkeep {
    /// With space again, the segment that senders may be waiting for is tried at once.
    fn space_is_back(&mut self, is_back: bool) {
        if is_back && self.refused_after.is_some() {
            self.spare_retry_at = None;
        }
    }
}

impl Shared {
    /// Has the upkeep thread begin its next round now.
    pub fn kick_upkeep(&self) {
        if !std::mem::replace(&mut *self.upkeep_wanted.lock(), true) {
            self.upkeep_waker.notify_one();
        }
    }

    /// One round of upkeep; when the next is due. `None` when another thread is in it.
    pub fn run_upkeep_once(&self) -> Option<MonoTime> {
        let mut upkeep = self.upkeep.try_lock()?;
        let now = self.clock.mono();
        if self.check_open().is_err() {
            return Some(now.plus_ms(DEAD_MS));
        }
        upkeep.more = false;
        // A failure has poisoned the store; the committing thread tells those who wait.
        if self.upkeep_round(&mut upkeep, now).is_err() {
            self.kick();
        }
        let rest = now.plus_ms(REST_MS).min(upkeep.next_sweep);
        Some(if upkeep.more { now } else { rest })
    }

    /// # Errors
    /// The store is poisoned.
    fn upkeep_round(&self, upkeep: &mut Upkeep, now: MonoTime) -> Result<(), StoreError> {
        self.prepare_spare(upkeep, now)?;
        self.spill(upkeep, now)?;
        self.reclaim(upkeep)?;
        self.reclaim_spilled(upkeep);
        // A step of spilling relies on nobody else dropping what it copied.
        if upkeep.spill.is_none() {
            self.sweep(upkeep, now);
            self.keep_quota(upkeep, now)?;
        }
        self.release_unused(upkeep, now);
        self.save_losses_if_due(&mut upkeep.losses, now);
        self.relieve();
        Ok(())
    }
}
