//! Messages whose time has passed and that nobody reads.

use edgehub_types::MonoTime;

use super::Upkeep;
use crate::shared::Shared;

/// Time between two searches for expired messages at the front of queues.
const SWEEP_MS: u64 = 1000;
/// Messages dropped per queue in one such search.
const SWEEP_MSGS_MAX: usize = 10_000;

impl Shared {
    /// Drops expired messages that nobody reads, so that their segments can go.
    pub fn sweep(&self, upkeep: &mut Upkeep, now: MonoTime) {
        if now < upkeep.next_sweep {
            return;
        }
        upkeep.next_sweep = now.plus_ms(SWEEP_MS);
        let unix = self.clock.unix();
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        for queue in queues {
            let changes = queue.expire_front(&self.segments, unix, SWEEP_MSGS_MAX);
            if changes.lost.is_some_and(|lost| lost.count as usize >= SWEEP_MSGS_MAX) {
                upkeep.next_sweep = now;
            }
            self.settle(&queue, changes);
        }
        self.expire_files(unix);
        self.blocks.rest();
    }
}
