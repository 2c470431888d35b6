//! Making room in one queue.

use std::ops::Range;

use crate::ledger::{LossCause, Lost};
use crate::queue::{Changes, QueueInner};
use crate::segment::SegmentSet;

/// A message that is not done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub address: u64,
    pub leased: bool,
}

impl QueueInner {
    /// Shows where the messages that are not done lie, among `max` entries from the number `from` on: a piece, so that senders
    /// and readers hardly wait. Returns the number to go on with, `None` at the end.
    pub fn survey(&self, from: u64, max: usize, mut visit: impl FnMut(Wanted)) -> Option<u64> {
        let state = self.state.lock();
        let start = state.index.at_or_after(from);
        for (at, entry) in state.index.iter().enumerate().skip(start).take(max) {
            if !entry.is_done() {
                visit(Wanted { address: entry.address, leased: at < state.cursor });
            }
        }
        let next = start + max;
        (next < state.index.len()).then(|| state.index.seq_at(next))
    }

    /// Drops messages in this part of the log that nobody leases, at most `max`.
    pub fn drop_in(&self, segments: &SegmentSet, part: &Range<u64>, max: usize) -> Changes {
        let mut state = self.state.lock();
        let mut at = state.index.at_address(part.start).max(state.cursor);
        let (mut first_seq, mut count) = (0, 0);
        while (count as usize) < max {
            let Some(entry) = state.index.get(at).filter(|entry| entry.address < part.end) else { break };
            if !entry.is_done() {
                first_seq = if count == 0 { state.index.seq_at(at) } else { first_seq };
                Self::set_done(&mut state, segments, at);
                count += 1;
            }
            at += 1;
        }
        self.set_ready(|ready| ready - count);
        self.set_len(|len| len - count);
        Changes { lost: Lost::some(LossCause::Quota, first_seq, count), ..Self::pop(&mut state) }
    }
}
