//! Dropping expired messages in the middle of a queue, whatever holds its front.

use std::ops::Range;

use edgehub_types::UnixMs;
use parking_lot::MutexGuard;

use super::{Changes, Count, QueueInner, QueueState, release};
use crate::ledger::{LossCause, Lost};
use crate::segment::SegmentSet;

/// Entries looked at under one lock: some ten microseconds.
const LOOK_MAX: usize = 2048;

/// What came of one part of a range.
struct Part {
    changes: Changes,
    /// Nothing in it is wanted any more.
    clean: bool,
    /// Address of the next part.
    next: Option<u64>,
}

impl QueueInner {
    /// Drops the expired messages whose records lie in a range of addresses and that nobody leases. A sender that waits for
    /// the queue gets it after every [`LOOK_MAX`] entries.
    pub fn expire_range(&self, segments: &SegmentSet, range: Range<u64>, now: UnixMs) -> Changes {
        let (mut changes, mut clean) = (Changes::default(), true);
        let Some(range) = self.ready_in(&range) else { return changes };
        let mut from = Some(range.start);
        while let Some(start) = from {
            let part = self.expire_some(segments, start..range.end, now);
            changes.absorb(part.changes);
            clean &= part.clean;
            from = part.next;
        }
        if clean {
            changes.popped += self.cut(&range);
        }
        changes
    }

    /// The part of a range from the first entry that nobody leases to the last one there is now: what is published
    /// meanwhile lies behind. `None` when there is none.
    fn ready_in(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let mut state = self.state.lock();
        let (found, cursor) = state.lying_in(range);
        let first = found.start.max(cursor);
        let last = found.end.checked_sub(1).filter(|last| first <= *last)?;
        let index = state.newest();
        Some(index.get(first)?.address..index.get(last)?.address + 1)
    }

    /// One part. What a lease passed meanwhile is not looked at, and may be wanted.
    fn expire_some(&self, segments: &SegmentSet, range: Range<u64>, now: UnixMs) -> Part {
        let mut state = self.state.lock();
        let (found, cursor) = state.lying_in(&range);
        let from = found.start.max(cursor);
        let stop = found.end.min(from + LOOK_MAX);
        let (mut first, mut count, mut clean) = (0, Count::default(), found.start >= cursor);
        for at in from..stop {
            let index = state.newest();
            let Some(entry) = index.get_mut(at).filter(|entry| !entry.is_done()) else { continue };
            if !entry.is_expired(now) {
                clean = false;
                continue;
            }
            entry.set_done();
            let entry = *entry;
            first = if count.msgs == 0 { index.seq_at(at) } else { first };
            count.add(entry);
            release(&mut state.segment, segments, entry);
        }
        let next = state.newest().get(stop).filter(|_| stop < found.end).map(|entry| entry.address);
        self.set_ready(|ready| ready - count.msgs);
        self.count_out(count);
        let changes = if count.msgs > 0 { Self::pop(&mut state) } else { Changes::default() };
        MutexGuard::unlock_fair(state);
        let changes = Changes { lost: Lost::some(LossCause::Expired, first, count.msgs), ..changes };
        Part { changes, clean, next }
    }

    /// Takes entries out of the index of which none is wanted: behind a front that is held for long it would fill up
    /// with them.
    fn cut(&self, range: &Range<u64>) -> usize {
        let mut state = self.state.lock();
        let (found, cursor) = state.lying_in(range);
        if found.start < cursor {
            return 0;
        }
        if state.cold.left > 0 && found.start == 0 {
            // The front of the queue is elsewhere.
            state.cold.back.drop_front(found.end);
            return found.end;
        }
        state.newest().cut(found)
    }
}

impl QueueState {
    /// Positions in the newest part of the index of the entries whose records lie in a range of the journal, and the first
    /// position that is not leased.
    fn lying_in(&mut self, range: &Range<u64>) -> (Range<usize>, usize) {
        let cursor = if self.cold.left > 0 { 0 } else { self.cursor };
        let limit_seq = self.cold.limit_seq;
        let index = self.newest();
        // What is below points to spill files, or is done.
        let first = index.lower_bound(limit_seq);
        (index.lying_in(first, range), cursor)
    }
}

impl Changes {
    /// Takes in what happened next, of which losses are for the same cause.
    pub fn absorb(&mut self, next: Self) {
        self.popped += next.popped;
        self.newly_dirty |= next.newly_dirty;
        self.fetched += next.fetched;
        self.spent |= next.spent;
        self.lost = match (self.lost, next.lost) {
            (Some(lost), Some(more)) => {
                let first_seq = lost.first_seq.min(more.first_seq);
                Some(Lost { first_seq, count: lost.count + more.count, ..lost })
            }
            (lost, more) => lost.or(more),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::QueueId;
    use crate::index::{Entry, SeqIndex};
    use crate::queue::Budget;

    /// A queue with an entry at every eighth address; those of `live` do not expire.
    fn queue(entries: u64, live: &[u64]) -> QueueInner {
        let mut index = SeqIndex::default();
        for seq in 0..entries {
            let expires_at = if live.contains(&seq) { UnixMs::MAX } else { UnixMs(1000) };
            index.push(seq, Entry::new(seq * 8, 8, expires_at));
        }
        QueueInner::new(QueueId(1), Arc::from("e"), 0, index, false)
    }

    #[test]
    fn the_lock_is_given_back_after_so_many_entries() {
        let (queue, segments) = (queue(5000, &[0]), SegmentSet::default());
        let Part { changes, clean, next } = queue.expire_some(&segments, 0..u64::MAX, UnixMs(1000));
        assert_eq!((clean, next), (false, Some(LOOK_MAX as u64 * 8)));
        let lost = changes.lost.unwrap();
        assert_eq!((lost.first_seq, lost.count, changes.popped), (1, LOOK_MAX as u64 - 1, 0));
        let rest = queue.expire_range(&segments, LOOK_MAX as u64 * 8..u64::MAX, UnixMs(1000));
        let more = 5000 - LOOK_MAX as u64;
        assert_eq!((rest.lost.map(|lost| lost.count), rest.popped as u64), (Some(more), more));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn only_the_range_is_touched() {
        let (queue, segments) = (queue(100, &[12]), SegmentSet::default());
        let changes = queue.expire_range(&segments, 80..160, UnixMs(1000));
        assert_eq!(changes.lost.map(|lost| (lost.first_seq, lost.count)), Some((10, 9)));
        assert_eq!(queue.expire_range(&segments, 80..160, UnixMs(1000)), Changes::default());
        assert_eq!(queue.expire_range(&segments, 0..800, UnixMs(999)), Changes::default(), "not yet");
        assert_eq!(queue.len(), 91);
    }

    #[test]
    fn a_range_ends_with_the_last_entry_of_now() {
        let (queue, segments) = (queue(10, &[]), SegmentSet::default());
        assert_eq!(queue.ready_in(&(12..u64::MAX)), Some(16..73));
        assert_eq!(queue.ready_in(&(80..u64::MAX)), None);
        let budget = Budget { msgs: 4, bytes: 100, single: 100 };
        queue.plan(&segments, UnixMs(0), budget, &mut Vec::new());
        assert_eq!(queue.ready_in(&(0..800)), Some(32..73), "what is leased is left out");
        assert_eq!(queue.ready_in(&(0..32)), None);
        assert_eq!(queue.expire_range(&segments, 0..800, UnixMs(1000)).popped, 6);
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn a_front_that_is_done_is_passed() {
        let (queue, segments) = (queue(10, &[]), SegmentSet::default());
        queue.expire_range(&segments, 16..80, UnixMs(1000));
        let changes = queue.expire_range(&segments, 0..16, UnixMs(1000));
        assert_eq!((changes.popped, changes.newly_dirty), (2, true), "the others went before");
    }
}
