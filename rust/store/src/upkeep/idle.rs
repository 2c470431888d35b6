//! Buffers that a burst left behind go back to the system when nobody needs them any more.

use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use super::Upkeep;
use crate::batch::BatchInner;
use crate::keeper::{Keeper, Pending};
use crate::shared::Shared;

/// Time between two steps of giving memory back.
const STEP_MS: u64 = 2000;
/// A step frees half of what is kept, and all when there is no more than this.
const STEP_MIN: usize = 2;

/// Steps without a batch after which the newest part of the log is not kept in memory any more.
const TAIL_STEPS: u32 = 5;

/// What the last step saw.
#[derive(Default)]
pub(super) struct Idle {
    next_step: MonoTime,
    batches: u64,
    /// Steps in a row without a batch.
    unused_steps: u32,
}

/// Frees the older half of a list whose last entry is used first. One that is in use after all is made again.
pub(crate) fn release_some<T>(kept: &mut Vec<T>) {
    let half = kept.len().div_ceil(2).max(STEP_MIN);
    kept.drain(..half.min(kept.len()));
    if kept.is_empty() {
        *kept = Vec::new();
    }
}

impl Shared {
    /// Frees part of what is kept for the next use. Without any use all is gone after [`TAIL_STEPS`].
    pub(super) fn release_unused(&self, upkeep: &mut Upkeep, now: MonoTime) {
        if now < upkeep.idle.next_step {
            return;
        }
        upkeep.idle.next_step = now.plus_ms(STEP_MS);
        self.scratches.release_some();
        let batches = self.counters.batches.load(Ordering::Relaxed);
        let unused = std::mem::replace(&mut upkeep.idle.batches, batches) == batches;
        upkeep.idle.unused_steps = if unused { upkeep.idle.unused_steps.saturating_add(1) } else { 0 };
        if upkeep.idle.unused_steps >= TAIL_STEPS {
            self.tail.release();
        }
        let mut kept = self.tail.kept_bytes() + self.scratches.kept_bytes() + self.release_batches(unused);
        if unused {
            self.storage.release_spares();
            // A round that runs just now needs its buffers.
            if let Some(mut keeper) = self.keeper.try_lock() {
                keeper.release();
                kept += keeper.kept_bytes();
            }
        }
        self.counters.kept_bytes.store(kept as u64, Ordering::Relaxed);
    }

    /// The bytes that are kept.
    fn release_batches(&self, unused: bool) -> usize {
        let mut gather = self.gather.lock();
        release_some(&mut gather.recycled);
        if unused && gather.pending.is_empty() {
            gather.pending = Vec::new();
        }
        let spare = gather.pending.capacity() * size_of::<Pending>();
        spare + gather.recycled.iter().map(BatchInner::kept_bytes).sum::<usize>()
    }
}

impl Keeper {
    fn release(&mut self) {
        if self.round.is_empty() {
            self.round = Vec::new();
            self.addresses = Vec::new();
            self.write_buf = Vec::new();
            self.woken = Vec::new();
        }
    }

    fn kept_bytes(&self) -> usize {
        self.write_buf.capacity() + self.round.capacity() * size_of::<Pending>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_empties_in_steps_from_its_oldest_end() {
        let mut kept: Vec<u8> = (0..9).collect();
        release_some(&mut kept);
        assert_eq!(kept, [5, 6, 7, 8]);
        release_some(&mut kept);
        assert_eq!(kept, [7, 8]);
        release_some(&mut kept);
        assert_eq!(kept.capacity(), 0);
        release_some(&mut kept);
        assert_eq!(kept, []);
    }
}
