//! What the queues have in spill files, beside what the log gave them.

use super::{Replay, ReplayQueue};
use crate::batch::QueueId;
use crate::recovery::lost::LostNumbers;
use crate::spill::SpillFile;

/// Which numbers of a queue spill files can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpillLimits {
    /// The checkpoint.
    pub head_seq: u64,
    /// Blocks that go beyond do not count.
    pub limit: u64,
}

impl Replay {
    /// What the journal says of a queue's spill files; `None` when there is no such queue, or none that can be reached.
    pub fn spill_state(&self, queue: QueueId) -> Option<SpillLimits> {
        let queue = self.queues.get((queue.0 as usize).checked_sub(1)?)?;
        (queue.definition.is_some() && !queue.removed).then_some(())?;
        let first = queue.index.lower_bound(queue.spilled_seq);
        // Where the journal was damaged it may not say all that was moved. What it does not have itself was.
        let limit = if first < queue.index.len() { queue.index.seq_at(first) } else { queue.index.next() };
        Some(SpillLimits { head_seq: queue.head_seq, limit: limit.max(queue.spilled_seq) })
    }

    /// Whether the log says that a queue is removed, and of which.
    pub fn is_removed(&self, queue: QueueId) -> bool {
        let queue = (queue.0 as usize).checked_sub(1).and_then(|at| self.queues.get(at));
        queue.is_some_and(|queue| queue.definition.is_some() && queue.removed)
    }

    /// Counts messages in spill files of a queue whose definition is lost: first number, the one behind the last, and how
    /// many, in order.
    pub fn lose_spilled(&mut self, queue: QueueId, ranges: impl Iterator<Item = (u64, u64, u64)>) {
        let (mut lost, mut last) = (LostNumbers::default(), 0);
        for (first, end, count) in ranges.filter(|(first, end, _)| first <= end) {
            lost.note(first.max(last), end.max(last), count);
            last = last.max(end);
        }
        let Some(queue) = self.queue(queue.0) else { return };
        let orphaned = lost.total();
        queue.lost.forget_below(last);
        lost.append(&queue.lost);
        queue.lost = lost;
        self.orphaned = self.orphaned.saturating_add(orphaned);
    }

    /// Takes the files that count, and the numbers that they cover in order.
    pub fn take_spilled(&mut self, queue: QueueId, files: Vec<SpillFile>, ranges: &[(u64, u64)]) {
        let Some(queue) = self.queue(queue.0) else { return };
        queue.spilled = files;
        queue.settle(ranges);
    }

    /// For queues without files, all but those in `but`, which is in order: what the journal says is in some is lost then.
    pub fn settle_spilled(&mut self, but: &[QueueId]) {
        for (id, queue) in (1..).zip(&mut self.queues) {
            if but.binary_search(&QueueId(id)).is_err() {
                queue.settle(&[]);
            }
        }
    }

    /// Messages in spill files.
    pub fn spilled_msgs(&self) -> u64 {
        self.queues.iter().map(|queue| queue.spilled.iter().map(|file| file.left).sum::<u64>()).sum()
    }
}

impl ReplayQueue {
    /// Drops what spill files have from the index, and finds out which numbers neither has.
    fn settle(&mut self, ranges: &[(u64, u64)]) {
        let covered = ranges.last().map_or(0, |(_, end)| *end);
        let spilled = self.spilled_seq.max(covered);
        if spilled <= self.head_seq || self.removed {
            return;
        }
        self.spilled_seq = spilled;
        self.index.drop_front(self.index.lower_bound(spilled));
        self.index.advance_to(spilled);
        let mut holes = LostNumbers::default();
        let mut next = self.head_seq;
        for (first, end) in ranges.iter().copied().chain([(spilled, spilled)]) {
            holes.note(next, first.max(next), first.saturating_sub(next));
            next = next.max(end);
        }
        self.lost.forget_below(spilled);
        holes.append(&self.lost);
        self.lost = holes;
    }
}
