//! The index of one queue: where every message that is not done lies in the log, by number.
//!
//! Numbers are almost always contiguous, so a number is found by subtraction. Where a recovery had to skip
//! damaged data there are gaps; they are kept beside, as ranges, because one gap can span millions of numbers.

use std::collections::VecDeque;

use edgehub_types::UnixMs;

const DONE: u32 = 1 << 31;
const RELEASED: u32 = 1 << 30;
const LEN_MASK: u32 = RELEASED - 1;
const NEVER_S: u32 = u32::MAX;
/// An empty index gives memory back when it had room for more entries than this.
const KEEP_ENTRIES: usize = 4096;

/// One message of a queue: 16 bytes, however long the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Address of its record.
    pub address: u64,
    len_flags: u32,
    expiry_s: u32,
}

impl Entry {
    /// `len` is that of the record, below 1 GiB. The index knows expiry in whole seconds, rounded up; the
    /// record has it in milliseconds.
    pub fn new(address: u64, len: u32, expires_at: UnixMs) -> Self {
        let expiry_s = u32::try_from(expires_at.0.div_ceil(1000)).unwrap_or(NEVER_S);
        Self { address, len_flags: len & LEN_MASK, expiry_s }
    }

    pub fn len(self) -> u32 {
        self.len_flags & LEN_MASK
    }

    pub fn is_done(self) -> bool {
        self.len_flags & DONE != 0
    }

    pub fn set_done(&mut self) {
        self.len_flags |= DONE;
    }

    /// Whether it was leased before and came back.
    pub fn is_released(self) -> bool {
        self.len_flags & RELEASED != 0
    }

    pub fn set_released(&mut self) {
        self.len_flags |= RELEASED;
    }

    /// Rounded up to a second; `None` = never.
    pub fn expires_at(self) -> Option<UnixMs> {
        (self.expiry_s != NEVER_S).then(|| UnixMs(u64::from(self.expiry_s) * 1000))
    }

    pub fn is_expired(self, now: UnixMs) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    at: u64,
    count: u64,
}

/// Entries in order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct SeqIndex {
    entries: VecDeque<Entry>,
    head: u64,
    next: u64,
    gaps: VecDeque<Gap>,
}

impl SeqIndex {
    /// Number of the first entry, or of the next one to come when there is none.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Number that the next message gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, at: usize) -> Option<Entry> {
        self.entries.get(at).copied()
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// Appends the entry of number `seq`, which is not below [`SeqIndex::next`].
    pub fn push(&mut self, seq: u64, entry: Entry) {
        self.advance_to(seq);
        self.entries.push_back(entry);
        self.next = seq.saturating_add(1);
    }

    /// Leaves out the numbers up to `seq`.
    pub fn advance_to(&mut self, seq: u64) {
        let Some(count) = seq.checked_sub(self.next).filter(|count| *count > 0) else { return };
        if self.entries.is_empty() {
            self.head = seq;
        } else {
            match self.gaps.back_mut() {
                Some(gap) if gap.at + gap.count == self.next => gap.count += count,
                _ => self.gaps.push_back(Gap { at: self.next, count }),
            }
        }
        self.next = seq;
    }

    /// Position of a number; `None` when it is done and gone, missing, or still to come.
    pub fn position(&self, seq: u64) -> Option<usize> {
        if seq < self.head || seq >= self.next {
            return None;
        }
        let mut missing = 0;
        for gap in self.gaps.iter().take_while(|gap| gap.at <= seq) {
            if seq - gap.at < gap.count {
                return None;
            }
            missing += gap.count;
        }
        usize::try_from(seq - self.head - missing).ok()
    }

    /// Position of the first entry with this number or a higher one.
    pub fn at_or_after(&self, seq: u64) -> usize {
        let before = self.gaps.iter().map(|gap| seq.saturating_sub(gap.at).min(gap.count));
        let missing: u64 = before.sum();
        let at = seq.saturating_sub(self.head).saturating_sub(missing);
        usize::try_from(at).map_or(self.len(), |at| at.min(self.len()))
    }

    /// Position of the first entry at this address or behind it. Addresses rise with numbers.
    pub fn at_address(&self, address: u64) -> usize {
        self.entries.partition_point(|entry| entry.address < address)
    }

    /// Number of the entry at a position.
    pub fn seq_at(&self, at: usize) -> u64 {
        let mut seq = self.head + at as u64;
        for gap in &self.gaps {
            if gap.at > seq {
                break;
            }
            seq += gap.count;
        }
        seq
    }

    /// Removes the entries at the front that are done; returns how many.
    pub fn pop_done(&mut self) -> usize {
        let mut popped = 0;
        while self.entries.front().is_some_and(|entry| entry.is_done()) {
            self.entries.pop_front();
            self.head += 1;
            popped += 1;
            if let Some(gap) = self.gaps.front().copied().filter(|gap| gap.at == self.head) {
                self.head += gap.count;
                self.gaps.pop_front();
            }
        }
        if popped > 0 && self.entries.is_empty() {
            self.clear();
        }
        popped
    }

    /// Removes everything; numbering goes on.
    pub fn clear(&mut self) {
        self.head = self.next;
        self.gaps.clear();
        if self.entries.capacity() > KEEP_ENTRIES {
            self.entries = VecDeque::new();
        } else {
            self.entries.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn entry(address: u64) -> Entry {
        Entry::new(address, 1, UnixMs::MAX)
    }

    #[test]
    fn expiry_is_rounded_up_to_a_second() {
        let entry = Entry::new(0, 1, UnixMs(1_500));
        assert!(!entry.is_expired(UnixMs(1_999)));
        assert!(entry.is_expired(UnixMs(2_000)));
        assert!(!Entry::new(0, 1, UnixMs::MAX).is_expired(UnixMs(u64::MAX)));
        assert!(Entry::new(0, 1, UnixMs(0)).is_expired(UnixMs(0)));
    }

    #[test]
    fn flags_leave_the_length_alone() {
        let mut entry = Entry::new(0, LEN_MASK, UnixMs::MAX);
        entry.set_done();
        entry.set_released();
        assert_eq!(entry.len(), LEN_MASK);
        assert!(entry.is_done() && entry.is_released());
    }

    #[test]
    fn a_gap_behind_the_last_entry_goes_with_it() {
        let mut index = SeqIndex::default();
        index.advance_to(5);
        index.push(5, entry(0));
        index.advance_to(9);
        index.get_mut(0).unwrap().set_done();
        assert_eq!(index.pop_done(), 1);
        assert_eq!((index.head(), index.next()), (9, 9));
    }

    proptest! {
        /// Against a map from number to entry.
        #[test]
        fn positions_agree_with_a_map(steps in prop::collection::vec((0u64..4, 0usize..6, any::<bool>()), 1..80)) {
            let mut index = SeqIndex::default();
            let mut map: BTreeMap<u64, bool> = BTreeMap::new();
            for (gap, pick, push) in steps {
                if push {
                    let seq = index.next() + gap;
                    index.push(seq, entry(seq));
                    map.insert(seq, false);
                } else if let Some((seq, done)) = map.iter_mut().nth(pick) {
                    let at = index.position(*seq).unwrap();
                    index.get_mut(at).unwrap().set_done();
                    *done = true;
                    index.pop_done();
                    while map.first_key_value().is_some_and(|(_, done)| *done) {
                        map.pop_first();
                    }
                }
                prop_assert_eq!(index.len(), map.len());
                prop_assert_eq!(index.head(), map.keys().next().copied().unwrap_or(index.next()));
                for (at, seq) in map.keys().enumerate() {
                    prop_assert_eq!(index.position(*seq), Some(at));
                    prop_assert_eq!(index.seq_at(at), *seq);
                    prop_assert_eq!(index.get(at).unwrap().address, *seq);
                }
                for seq in 0..index.next() + 2 {
                    let at = map.range(..seq).count();
                    prop_assert_eq!((index.at_or_after(seq), index.at_address(seq)), (at, at));
                }
                for seq in index.head()..index.next() + 2 {
                    prop_assert_eq!(index.position(seq).is_some(), map.contains_key(&seq));
                }
            }
        }
    }
}
