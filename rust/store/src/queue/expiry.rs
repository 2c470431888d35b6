//! Dropping expired messages in the middle of a queue, whatever holds its front.

use std::ops::Range;

use edgehub_types::UnixMs;
use parking_lot::MutexGuard;

use super::{Changes, QueueInner};
use crate::ledger::{LossCause, Lost};
use crate::segment::SegmentSet;

/// Entries looked at under one lock: some ten microseconds.
const LOOK_MAX: usize = 2048;

impl QueueInner {
    /// Drops the expired messages whose records lie in a range of addresses and that nobody leases. A sender that waits for
    /// the queue gets it after every [`LOOK_MAX`] entries.
    pub fn expire_range(&self, segments: &SegmentSet, range: Range<u64>, now: UnixMs) -> Changes {
        let mut changes = Changes::default();
        let mut from = range.start;
        loop {
            let (some, next) = self.expire_some(segments, from..range.end, now);
            changes.absorb(some);
            let Some(next) = next else { return changes };
            from = next;
        }
    }

    /// One part of it, and the address to go on from.
    fn expire_some(&self, segments: &SegmentSet, range: Range<u64>, now: UnixMs) -> (Changes, Option<u64>) {
        let mut state = self.state.lock();
        let from = state.index.first_from(range.start).max(state.cursor);
        let to = state.index.first_from(range.end);
        let stop = to.min(from + LOOK_MAX);
        let (mut first, mut count) = (0, 0);
        for at in from..stop {
            if state.index.get(at).is_some_and(|entry| entry.is_expired(now))
                && Self::set_done(&mut state, segments, at)
            {
                first = if count == 0 { state.index.seq_at(at) } else { first };
                count += 1;
            }
        }
        let next = state.index.get(stop).filter(|_| stop < to).map(|entry| entry.address);
        self.set_ready(|ready| ready - count);
        self.set_len(|len| len - count);
        let popped = if count > 0 { Self::pop(&mut state) } else { Changes::default() };
        MutexGuard::unlock_fair(state);
        (Changes { lost: Lost::some(LossCause::Expired, first, count), ..popped }, next)
    }
}

impl Changes {
    /// Takes in what happened next, of which losses are for the same cause.
    pub fn absorb(&mut self, next: Self) {
        self.popped += next.popped;
        self.newly_dirty |= next.newly_dirty;
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
        let (changes, next) = queue.expire_some(&segments, 0..u64::MAX, UnixMs(1000));
        assert_eq!(next, Some(LOOK_MAX as u64 * 8));
        let lost = changes.lost.unwrap();
        assert_eq!((lost.first_seq, lost.count, changes.popped), (1, LOOK_MAX as u64 - 1, 0));
        let rest = queue.expire_range(&segments, LOOK_MAX as u64 * 8..u64::MAX, UnixMs(1000));
        assert_eq!(rest.lost.map(|lost| lost.count), Some(5000 - LOOK_MAX as u64));
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
    fn a_front_that_is_done_is_passed() {
        let (queue, segments) = (queue(10, &[]), SegmentSet::default());
        queue.expire_range(&segments, 16..80, UnixMs(1000));
        let changes = queue.expire_range(&segments, 0..16, UnixMs(1000));
        assert_eq!((changes.popped, changes.newly_dirty), (10, true));
    }
}
