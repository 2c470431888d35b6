//! Moving entries from the journal to spill files, after the messages were copied there.

use super::{Changes, Count, QueueInner, QueueState, release};
use crate::index::{Entry, spill_address};
use crate::ledger::{LossCause, Lost};
use crate::segment::SegmentSet;
use crate::spill::{SpillFile, WrittenBlock};

/// Numbers, almost all of them in a row.
#[derive(Debug, Default)]
pub(crate) struct SeqRanges(Vec<(u64, u64)>);

impl SeqRanges {
    /// Adds a number above those before.
    pub fn push(&mut self, seq: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end == seq => *end += 1,
            _ => self.0.push((seq, seq + 1)),
        }
    }

    pub fn contains(&self, seq: u64) -> bool {
        let at = self.0.partition_point(|(_, end)| *end <= seq);
        self.0.get(at).is_some_and(|(first, _)| *first <= seq)
    }
}

/// Messages of one queue that were copied to spill files.
#[derive(Debug, Default)]
pub(crate) struct Spilled {
    /// Files that were begun or continued; taken over with the first step.
    pub files: Vec<SpillFile>,
    pub blocks: Vec<WrittenBlock>,
    /// Blocks that are taken over.
    pub done: usize,
    /// The numbers that are in the blocks.
    pub written: SeqRanges,
    /// [`QueueInner::spill_start`] said so.
    pub generation: u32,
    /// The file that was continued, as it was before.
    pub continued: Option<SpillFile>,
    /// What the queue took over.
    pub files_added: usize,
    pub bytes_added: u64,
}

/// Where a queue's next spill file begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpillStart {
    pub generation: u32,
    /// First number to be covered.
    pub first_seq: u64,
    /// The last file, which may be continued.
    pub last: Option<SpillFile>,
}

impl QueueInner {
    /// Messages that could be moved, about.
    pub fn movable(&self) -> usize {
        self.state.lock().newest().len()
    }

    /// See [`SpillStart`].
    pub fn spill_start(&self) -> SpillStart {
        let mut state = self.state.lock();
        state.cold.growing = true;
        let last = state.cold.files.back().cloned();
        let first_seq = last.as_ref().map_or(state.index.head(), |file| file.end_seq);
        SpillStart { generation: state.cold.generation, first_seq, last }
    }

    /// Nothing is copied any more.
    pub fn spill_end(&self) -> Changes {
        let mut state = self.state.lock();
        let head = state.index.head();
        state.cold.growing = false;
        let spent = state.cold.let_go(head);
        Changes { spent, ..Changes::default() }
    }

    /// Collects messages from number `from` on that lie in the journal below `limit`, at most `max`. Returns the
    /// number to go on with; `None` when there are no more.
    pub fn unspilled(&self, from: u64, limit: u64, max: usize, out: &mut Vec<(u64, Entry)>) -> Option<u64> {
        let mut state = self.state.lock();
        let index = state.newest();
        for at in index.lower_bound(from)..index.len() {
            let entry = index.get(at).filter(|entry| entry.is_spilled() || entry.address < limit)?;
            let seq = index.seq_at(at);
            if out.len() == max {
                return Some(seq);
            }
            if !entry.is_spilled() && !entry.is_done() {
                out.push((seq, entry));
            }
        }
        None
    }

    /// The journal is about to say that messages below `seq` are in files.
    pub fn set_recorded(&self, seq: u64, generation: u32) {
        let cold = &mut self.state.lock().cold;
        if cold.generation == generation {
            cold.recorded_seq = seq;
        }
    }

    /// Takes over copied messages, about `max` at a time: those that are leased stay in the index and point to the
    /// files, the others are in the files only. False when that was all.
    pub fn swap(&self, segments: &SegmentSet, spilled: &mut Spilled, max: u64) -> (Changes, bool) {
        let mut state = self.state.lock();
        if state.cold.generation != spilled.generation {
            return (Changes::default(), false);
        }
        let (files, bytes) = state.cold.adopt(&mut spilled.files);
        spilled.files_added += files;
        spilled.bytes_added += bytes;
        let in_back = state.cold.left > 0;
        // Nobody can lease what comes after messages in files.
        let keep = if in_back { 0 } else { state.kept(spilled) };
        let limit = spilled.take_blocks(max, keep);
        let index = state.newest();
        let (keep, end) = (index.lower_bound(keep), index.lower_bound(limit));
        if !in_back {
            state.point_to_files(segments, keep, spilled);
        }
        let moved = state.release_range(segments, keep..end, spilled);
        let popped = end.saturating_sub(keep);
        state.cut(keep, end, in_back, limit);
        self.count_out(moved.lost);
        self.set_ready(|ready| ready - moved.lost.msgs);
        let lost = Lost::some(LossCause::Damaged, moved.first_lost, moved.lost.msgs);
        let more = spilled.done < spilled.blocks.len();
        (Changes { popped, lost, ..Changes::default() }, more)
    }
}

impl super::cold::Cold {
    /// Takes over new files and the growth of the last one. Returns how many files and bytes that is.
    fn adopt(&mut self, files: &mut Vec<SpillFile>) -> (usize, u64) {
        let (mut added, mut bytes) = (0, 0);
        if !files.is_empty() {
            // The last file may have more blocks now.
            self.list = None;
        }
        for file in files.drain(..) {
            if let Some(last) = self.files.back_mut().filter(|last| last.number == file.number) {
                bytes += file.bytes - last.bytes;
                *last = SpillFile { left: last.left, left_bytes: last.left_bytes, ..file };
            } else {
                (added, bytes) = (added + 1, bytes + file.bytes);
                self.files.push_back(SpillFile { left: 0, left_bytes: 0, ..file });
            }
        }
        (added, bytes)
    }
}

impl Spilled {
    /// Everything below was copied.
    pub fn end_seq(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.end_seq)
    }

    /// Chooses the next blocks, with at least `max` numbers and beyond `keep`. Returns the number where they end.
    fn take_blocks(&mut self, max: u64, keep: u64) -> u64 {
        let rest = self.blocks.get(self.done..).unwrap_or_default();
        let first = rest.first().map_or(0, |block| block.first_seq);
        let enough = |block: &WrittenBlock| block.end_seq - first >= max && block.end_seq >= keep;
        let count = rest.iter().position(enough).map_or(rest.len(), |last| last + 1);
        self.done += count;
        rest.get(count.wrapping_sub(1)).map_or(0, |last| last.end_seq)
    }

    /// The block that a number is in.
    fn block_of(&self, seq: u64) -> Option<&WrittenBlock> {
        let at = self.blocks.partition_point(|block| block.end_seq <= seq);
        self.blocks.get(at).filter(|block| block.first_seq <= seq)
    }
}

#[derive(Default)]
struct Moved {
    lost: Count,
    first_lost: u64,
}

impl QueueState {
    /// The number up to which entries stay in the index: those that were fetched from files, those that are leased or were,
    /// which only the index remembers, and those that were done after they had been copied, which must not come back.
    fn kept(&self, spilled: &Spilled) -> u64 {
        let (index, cursor) = (&self.index, self.cursor);
        let upto = spilled.blocks.last().map_or(0, |block| block.end_seq);
        let end = index.lower_bound(upto);
        let mut kept = cursor.min(end);
        for at in cursor..end {
            let Some(entry) = index.get(at) else { break };
            let done = entry.is_done() && !entry.is_spilled() && spilled.written.contains(index.seq_at(at));
            if done || entry.is_released() || entry.is_spilled() {
                kept = at + 1;
            }
        }
        kept.checked_sub(1).map_or(0, |last| index.seq_at(last) + 1)
    }

    /// Entries before `keep` that are still in the journal are in files now; also those that are done, so that later
    /// steps keep them, too: what a file has must not be fetched again.
    fn point_to_files(&mut self, segments: &SegmentSet, keep: usize, spilled: &Spilled) {
        for at in 0..keep {
            let seq = self.index.seq_at(at);
            let Some(entry) = self.index.get_mut(at).filter(|entry| !entry.is_spilled()) else { continue };
            let old = *entry;
            if let Some(block) = spilled.block_of(seq) {
                *entry = entry.moved_to(spill_address(block.file, block.offset));
            }
            if !old.is_done() {
                release(&mut self.segment, segments, old);
            }
        }
    }

    /// Counts entries out of the journal and into their files. What was not written could not be read.
    fn release_range(
        &mut self,
        segments: &SegmentSet,
        range: std::ops::Range<usize>,
        spilled: &Spilled,
    ) -> Moved {
        let mut moved = Moved::default();
        for at in range {
            let index = if self.cold.left > 0 { &self.cold.back } else { &self.index };
            let Some(entry) = index.get(at).filter(|entry| !entry.is_done()) else { continue };
            let seq = index.seq_at(at);
            release(&mut self.segment, segments, entry);
            let file =
                spilled.block_of(seq).filter(|_| spilled.written.contains(seq)).map(|block| block.file);
            let file =
                file.and_then(|number| self.cold.files.iter_mut().rev().find(|own| own.number == number));
            if let Some(file) = file {
                file.left += 1;
                file.left_bytes += u64::from(entry.len());
            } else {
                moved.first_lost = if moved.lost.msgs == 0 { seq } else { moved.first_lost };
                moved.lost.add(entry);
            }
        }
        moved
    }

    /// Takes the entries of a range out of the index. What is behind it follows what is in files.
    fn cut(&mut self, keep: usize, end: usize, in_back: bool, limit: u64) {
        let left = self.cold.files.iter().map(|file| file.left).sum();
        self.cold.limit_seq = self.cold.limit_seq.max(limit);
        if in_back {
            self.cold.left = left;
            self.cold.back.drop_front(end);
            return;
        }
        let first = if keep < end { self.index.seq_at(keep) } else { limit };
        let mut back = self.index.split_off(keep);
        back.drop_front(end.saturating_sub(keep));
        self.cold.left = left;
        if left > 0 {
            self.cold.skip_to(first);
            self.cold.back = back;
        } else {
            // All of it is in the index: what is done there must not come back from the file.
            self.cold.skip_to(limit);
            self.index.append(back);
        }
    }
}
