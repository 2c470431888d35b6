//! The index of one queue: where every message that is not done lies in the log, by number.
//!
//! Numbers are almost always contiguous, so a number is found by subtraction. Where a recovery had to skip damaged data,
//! and where messages in the middle expired, there are gaps; they are kept beside, as ranges, because one gap can span
//! millions of numbers.

use std::collections::VecDeque;
use std::ops::Range;

use edgehub_types::UnixMs;

const DONE: u32 = 1 << 31;
const RELEASED: u32 = 1 << 30;
const LEN_MASK: u32 = RELEASED - 1;
const NEVER_S: u32 = u32::MAX;
/// Set in addresses of messages in spill files; addresses of the journal stay below.
const SPILLED: u64 = 1 << 63;
/// Numbers of spill files stay below this.
pub(crate) const SPILL_NUMBER_MAX: u64 = 1 << 31;
/// An empty index gives memory back when it had room for more entries than this.
const KEEP_ENTRIES: usize = 4096;
/// Looking up a number passes all gaps before it, so no more than these are made on purpose.
const GAPS_MAX: usize = 1024;
/// Entries that may have to be moved for one gap: 16 MiB, one or two milliseconds.
const MOVE_MAX: usize = 1 << 20;

/// Address of everything in one block of a spill file.
pub(crate) fn spill_address(file: u64, block_offset: u64) -> u64 {
    SPILLED | (file % SPILL_NUMBER_MAX) << 32 | block_offset & u64::from(u32::MAX)
}

/// Number of the file and offset of the block that [`spill_address`] made an address of.
pub(crate) fn spill_place(address: u64) -> (u64, u64) {
    ((address & !SPILLED) >> 32, address & u64::from(u32::MAX))
}

/// One message of a queue: 16 bytes, however long the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Address of its record, or of the block of a spill file that it is in.
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

    /// Of the record; in a spill file about so many bytes.
    pub fn len(self) -> u32 {
        self.len_flags & LEN_MASK
    }

    /// Whether the message is in a spill file.
    pub fn is_spilled(self) -> bool {
        self.address & SPILLED != 0
    }

    /// The same message in another place.
    pub fn moved_to(self, address: u64) -> Self {
        Self { address, ..self }
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

/// From when on an entry with that expiry is expired: the index knows seconds.
pub(crate) fn expired_from(expires_at: UnixMs) -> UnixMs {
    Entry::new(0, 0, expires_at).expires_at().unwrap_or(UnixMs::MAX)
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
    /// Without entries; the first number to come is `seq`.
    pub fn starting_at(seq: u64) -> Self {
        Self { head: seq, next: seq, ..Self::default() }
    }

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

    /// Positions from `first` on of the entries whose records lie in a range of addresses. The entries from there on are in
    /// order of address.
    pub fn lying_in(&self, first: usize, range: &Range<u64>) -> Range<usize> {
        let start = self.first_at(first, range.start);
        start..self.first_at(start, range.end)
    }

    fn first_at(&self, first: usize, address: u64) -> usize {
        let (mut low, mut high) = (first.min(self.len()), self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.entries.get(middle) {
                Some(entry) if entry.address < address => low = middle + 1,
                _ => high = middle,
            }
        }
        low
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

    /// Position of the first entry at this address of the journal or behind it. What is in spill files comes before, and
    /// addresses rise with numbers.
    pub fn at_address(&self, address: u64) -> usize {
        self.entries.partition_point(|entry| entry.is_spilled() || entry.address < address)
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

    /// Position of the first entry whose number is not below `seq`.
    pub fn lower_bound(&self, seq: u64) -> usize {
        if seq <= self.head {
            return 0;
        }
        let missing: u64 =
            self.gaps.iter().take_while(|gap| gap.at < seq).map(|gap| gap.count.min(seq - gap.at)).sum();
        self.len().min((seq - self.head - missing) as usize)
    }

    /// Removes the entries at the front that are done; returns how many.
    pub fn pop_done(&mut self) -> usize {
        let mut popped = 0;
        while self.entries.front().is_some_and(|entry| entry.is_done()) {
            self.pop_front();
            popped += 1;
        }
        if popped > 0 && self.entries.is_empty() {
            self.clear();
        }
        popped
    }

    /// Removes entries that are all done, and leaves a gap. Returns how many; none when they begin at the front, or when it
    /// would cost too much ([`GAPS_MAX`], [`MOVE_MAX`]).
    pub fn cut(&mut self, run: Range<usize>) -> usize {
        let Range { start, end } = run;
        let moved = start.min(self.entries.len().saturating_sub(end));
        let cheap = moved <= MOVE_MAX && self.gaps.len() < GAPS_MAX;
        if start == 0 || run.is_empty() || !cheap {
            return 0;
        }
        let from = self.seq_at(start - 1) + 1;
        let to = if end < self.entries.len() { self.seq_at(end) } else { self.next };
        let first = self.gaps.partition_point(|gap| gap.at < from);
        let last = self.gaps.partition_point(|gap| gap.at < to);
        self.gaps.drain(first..last);
        self.gaps.insert(first, Gap { at: from, count: to - from });
        self.entries.drain(run);
        self.give_memory_back();
        end - start
    }

    /// When little is left of much.
    fn give_memory_back(&mut self) {
        let len = self.entries.len();
        if len <= MOVE_MAX && self.entries.capacity() > KEEP_ENTRIES.max(8 * len) {
            self.entries.shrink_to(2 * len);
        }
    }

    fn pop_front(&mut self) {
        self.entries.pop_front();
        self.head += 1;
        if let Some(gap) = self.gaps.front().copied().filter(|gap| gap.at == self.head) {
            self.head += gap.count;
            self.gaps.pop_front();
        }
    }

    /// Removes the first `count` entries, done or not. Memory that is not needed any more is given back.
    pub fn drop_front(&mut self, count: usize) {
        for _ in 0..count.min(self.len()) {
            self.pop_front();
        }
        if self.entries.is_empty() {
            return self.clear();
        }
        let capacity = self.entries.capacity();
        if capacity > KEEP_ENTRIES && self.len() < capacity / 4 {
            self.entries.shrink_to(self.len() * 2);
        }
    }

    /// Takes out the entries from a position on, as an index of its own. This one ends behind its last entry, and gives
    /// its memory to the other one: it is the front that is small.
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.len());
        let head = if at == self.len() { self.next } else { self.seq_at(at) };
        let end = at.checked_sub(1).map_or(self.head, |last| self.seq_at(last) + 1);
        let first_gap = self.gaps.partition_point(|gap| gap.at < head);
        let gaps = self.gaps.split_off(first_gap);
        while self.gaps.back().is_some_and(|gap| gap.at >= end) {
            self.gaps.pop_back();
        }
        let mut entries = std::mem::take(&mut self.entries);
        self.entries = entries.drain(..at).collect();
        let next = std::mem::replace(&mut self.next, end);
        Self { entries, head, next, gaps }
    }

    /// Adds all of another index, whose numbers are not below [`SeqIndex::next`].
    pub fn append(&mut self, mut other: Self) {
        self.advance_to(other.head);
        if self.entries.is_empty() {
            *self = other;
            return;
        }
        self.entries.append(&mut other.entries);
        self.gaps.append(&mut other.gaps);
        self.next = self.next.max(other.next);
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

    #[test]
    fn what_is_cut_out_leaves_one_gap() {
        let mut index = SeqIndex::default();
        (0..6).for_each(|seq| index.push(seq, entry(seq)));
        assert_eq!((index.cut(0..2), index.cut(1..1)), (0, 0), "the front goes by itself");
        assert_eq!((index.cut(3..5), index.cut(1..3)), (2, 2));
        assert_eq!((index.len(), index.position(5), index.seq_at(1), index.gaps.len()), (2, Some(1), 5, 1));
    }

    #[test]
    fn a_cut_that_costs_too_much_is_not_made() {
        let mut index = SeqIndex::default();
        let entries = 2 * MOVE_MAX + 3;
        (0..entries as u64).for_each(|seq| index.push(seq, entry(seq)));
        assert_eq!(index.cut(MOVE_MAX + 1..MOVE_MAX + 2), 0);
        // Where it is cheap all goes, and its memory too.
        assert_eq!(index.cut(1..entries - 1), entries - 2);
        assert!(index.entries.capacity() <= KEEP_ENTRIES, "{}", index.entries.capacity());
        let mut many = SeqIndex::default();
        (0..=GAPS_MAX as u64).for_each(|at| many.push(2 * at, entry(at)));
        assert_eq!(many.cut(5..6), 0);
    }

    proptest! {
        #[test]
        fn an_index_can_be_cut_anywhere_and_put_together(
            gaps in prop::collection::vec(0_u64..3, 0..20), tail in 0_u64..3, at in 0_usize..25, dropped in 0_usize..25,
        ) {
            let make = || {
                let mut index = SeqIndex::starting_at(3);
                for gap in &gaps {
                    let seq = index.next() + gap;
                    index.push(seq, entry(seq));
                }
                index.advance_to(index.next() + tail);
                index
            };
            let whole = make();
            let seqs = |index: &SeqIndex| (0..index.len()).map(|at| index.seq_at(at)).collect::<Vec<_>>();
            let mut front = make();
            let back = front.split_off(at);
            let cut = at.min(whole.len());
            prop_assert_eq!(seqs(&front), &seqs(&whole)[..cut]);
            prop_assert_eq!(seqs(&back), &seqs(&whole)[cut..]);
            prop_assert_eq!(back.next(), whole.next());
            prop_assert!(front.next() <= back.head());
            front.append(back);
            prop_assert_eq!(seqs(&front), seqs(&whole));
            prop_assert_eq!((front.head(), front.next()), (whole.head(), whole.next()));
            for seq in 0..whole.next() + 2 {
                prop_assert_eq!(front.position(seq), whole.position(seq));
                let wanted = seqs(&whole).iter().filter(|one| **one < seq).count();
                prop_assert_eq!(whole.lower_bound(seq), wanted);
            }
            front.drop_front(dropped);
            prop_assert_eq!(seqs(&front), &seqs(&whole)[dropped.min(whole.len())..]);
            prop_assert_eq!(front.next(), whole.next());
        }

        /// Against a map from number to entry; 0 = push, 1 = done, 2 = cut out what is done.
        #[test]
        fn positions_agree_with_a_map(steps in prop::collection::vec((0u64..4, 0usize..9, 0..3), 1..80)) {
            let mut index = SeqIndex::default();
            let mut map: BTreeMap<u64, bool> = BTreeMap::new();
            for (gap, pick, kind) in steps {
                if kind == 2 {
                    let run = pick..pick + gap as usize;
                    let seqs: Vec<u64> = map.keys().skip(pick).take(gap as usize).copied().collect();
                    if seqs.len() == gap as usize && seqs.iter().all(|seq| map[seq]) {
                        let wanted = if pick > 0 { seqs.len() } else { 0 };
                        prop_assert_eq!(index.cut(run), wanted);
                        map.retain(|seq, _| !seqs.contains(seq));
                    }
                } else if kind == 0 {
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
                    prop_assert_eq!(index.lying_in(at / 2, &(*seq..*seq + 1)), at..at + 1);
                }
                for seq in 0..index.next() + 2 {
                    let at = map.range(..seq).count();
                    prop_assert_eq!((index.lower_bound(seq), index.at_address(seq)), (at, at));
                }
                for seq in index.head()..index.next() + 2 {
                    prop_assert_eq!(index.position(seq).is_some(), map.contains_key(&seq));
                }
            }
        }
    }
}
