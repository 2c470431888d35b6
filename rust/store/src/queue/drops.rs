//! Making room in one queue.

use std::ops::Range;
use std::sync::Arc;

use super::{Changes, Count, QueueInner, QueueState, release};
use crate::index::SeqIndex;
use crate::ledger::{LossCause, Lost};
use crate::segment::{SegmentMeta, SegmentSet};

/// A message in the journal that is not done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub address: u64,
    pub leased: bool,
}

impl QueueInner {
    /// Shows where in the journal the messages that are not done lie, among `max` entries from the number `from` on: a piece, so
    /// that senders and readers hardly wait. Returns the number to go on with, `None` at the end.
    pub fn survey(&self, from: u64, max: usize, mut visit: impl FnMut(Wanted)) -> Option<u64> {
        let state = self.state.lock();
        let mut seen = 0;
        for (part, cursor) in [(&state.index, state.cursor), (&state.cold.back, 0)] {
            for at in part.lower_bound(from)..part.len() {
                if seen == max {
                    return Some(part.seq_at(at));
                }
                seen += 1;
                let wanted = part.get(at).filter(|entry| !entry.is_done() && !entry.is_spilled());
                if let Some(entry) = wanted {
                    visit(Wanted { address: entry.address, leased: at < cursor });
                }
            }
        }
        None
    }

    /// Drops messages in this part of the journal that nobody leases, at most `max`. None of them is being copied.
    pub fn drop_in(&self, segments: &SegmentSet, part: &Range<u64>, max: u64) -> Changes {
        let mut state = self.state.lock();
        let QueueState { index, cursor, cold, segment, .. } = &mut *state;
        let mut lost = Dropped { segments, part, left: max, first_seq: 0, count: Count::default() };
        lost.drop_in(index, *cursor, segment);
        lost.drop_in(&mut cold.back, 0, segment);
        let (first_seq, count) = (lost.first_seq, lost.count);
        let popped = cold.back.pop_done();
        self.set_ready(|ready| ready - count.msgs);
        self.count_out(count);
        let changes = Self::pop(&mut state);
        let lost = Lost::some(LossCause::Quota, first_seq, count.msgs);
        Changes { lost, popped: changes.popped + popped, ..changes }
    }
}

struct Dropped<'a> {
    segments: &'a SegmentSet,
    part: &'a Range<u64>,
    left: u64,
    first_seq: u64,
    count: Count,
}

impl Dropped<'_> {
    fn drop_in(&mut self, index: &mut SeqIndex, cursor: usize, cache: &mut Option<Arc<SegmentMeta>>) {
        let mut at = index.at_address(self.part.start).max(cursor);
        while self.left > 0 {
            let Some(entry) = index.get(at).filter(|entry| entry.address < self.part.end) else { break };
            if !entry.is_done() {
                self.first_seq = if self.count.msgs == 0 { index.seq_at(at) } else { self.first_seq };
                self.count.add(entry);
                self.left -= 1;
                if let Some(entry) = index.get_mut(at) {
                    entry.set_done();
                }
                release(cache, self.segments, entry);
            }
            at += 1;
        }
    }
}
