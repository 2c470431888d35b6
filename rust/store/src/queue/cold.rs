//! What of a queue is in spill files, and how it comes back from there.

use std::collections::VecDeque;

use edgehub_types::{MonoTime, UnixMs};

use super::{Changes, Count, QueueInner, QueueState};
use crate::batch::QueueId;
use crate::format::BlockHeader;
use crate::index::{Entry, SeqIndex};
use crate::ledger::{LossCause, Lost};
use crate::spill::SpillFile;

/// The part of a queue that is in spill files only, and what came after it.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// In order of their numbers; also those of which all was fetched, until the checkpoint has passed them.
    pub files: VecDeque<SpillFile>,
    /// Messages that are nowhere else, in files; the sum of theirs.
    pub left: u64,
    /// Nothing below this number is to be fetched any more ..
    pub next_seq: u64,
    /// .. and nothing from this one on yet.
    pub limit_seq: u64,
    /// Since when the disk cannot read what is next.
    failing_since: Option<MonoTime>,
    /// Blocks of the file that is being fetched from.
    pub list: Option<(u64, Vec<BlockHeader>)>,
    /// Messages in the journal that come after those in files; empty when none is left there.
    pub back: SeqIndex,
    /// The journal says that messages below are in files.
    pub recorded_seq: u64,
    spent: Vec<SpillFile>,
    /// Copies are being made, and the last file may be growing: it stays.
    pub growing: bool,
    /// Begins anew when the endpoint is removed.
    pub generation: u32,
}

/// A file of which nothing is wanted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpentFile {
    pub queue: QueueId,
    pub number: u64,
    pub bytes: u64,
    /// It may go when a checkpoint of this number is durable.
    pub end_seq: u64,
    /// It is one of those that the store says it has.
    pub counted: bool,
}

/// What a recovery found of one queue.
#[derive(Debug, Default)]
pub(crate) struct SpilledBefore {
    pub files: Vec<SpillFile>,
    /// The checkpoint.
    pub head_seq: u64,
    /// As the journal says.
    pub spilled_seq: u64,
}

impl SpilledBefore {
    pub fn left(&self) -> u64 {
        self.files.iter().map(|file| file.left).sum()
    }
}

/// What is to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// Nothing is left in files.
    Nothing,
    /// Which blocks a file has.
    List { file: u64 },
    /// A block.
    Block { file: u64, block: BlockHeader },
    /// A file has fewer messages than it should.
    Short { file: u64 },
}

impl Cold {
    /// What a restart begins with: everything in files is still to be fetched, `index` is what the journal has.
    pub fn recovered(index: SeqIndex, spilled: SpilledBefore) -> (SeqIndex, Self) {
        let left = spilled.left();
        let SpilledBefore { files, head_seq, spilled_seq } = spilled;
        let files = files.into();
        if left == 0 {
            return (index, Self { files, recorded_seq: spilled_seq, ..Self::default() });
        }
        let cold = Self {
            files,
            left,
            next_seq: head_seq,
            limit_seq: spilled_seq,
            back: index,
            recorded_seq: spilled_seq,
            ..Self::default()
        };
        (SeqIndex::starting_at(head_seq), cold)
    }

    /// Messages that are not in the index before it.
    pub fn len(&self) -> u64 {
        self.left + self.back.len() as u64
    }

    /// Bytes of those in files and in the index behind them.
    pub fn bytes(&self) -> u64 {
        let in_files: u64 = self.files.iter().map(|file| file.left_bytes).sum();
        in_files + Count::of_all(&self.back).bytes
    }

    /// The number below which messages are in files, unless the checkpoint is beyond it.
    pub fn recorded_above(&self, head_seq: u64) -> u64 {
        if self.recorded_seq > head_seq { self.recorded_seq } else { 0 }
    }

    /// Forgets all messages; gives back the index of those in the journal.
    pub fn give_up(&mut self) -> SeqIndex {
        self.generation = self.generation.wrapping_add(1);
        self.growing = false;
        self.left = 0;
        self.files.iter_mut().for_each(|file| (file.left, file.left_bytes) = (0, 0));
        self.recorded_seq = 0;
        self.list = None;
        std::mem::take(&mut self.back)
    }

    /// Takes out the files that the checkpoint has passed; whether there are any for [`QueueInner::take_spent`].
    pub fn let_go(&mut self, head_seq: u64) -> bool {
        let may_go = |file: &SpillFile| file.end_seq <= head_seq && file.left == 0;
        while self.files.front().is_some_and(may_go) && !(self.growing && self.files.len() == 1) {
            self.spent.extend(self.files.pop_front());
        }
        !self.spent.is_empty()
    }

    /// Nothing below `seq` is to be fetched any more.
    pub fn skip_to(&mut self, seq: u64) {
        self.next_seq = self.next_seq.max(seq);
    }

    /// Counts messages as fetched, or as lost.
    fn take(&mut self, file: u64, count: u64) -> Count {
        let Some(file) = self.files.iter_mut().find(|own| own.number == file) else {
            return Count::default();
        };
        let taken = file.take(count);
        self.left -= taken.msgs;
        taken
    }

    /// Messages of a file that are left in a block and before it, going by what is in the blocks behind it.
    fn left_up_to(&self, file: u64, block: &BlockHeader) -> u64 {
        let Some(own) = self.files.iter().find(|own| own.number == file) else { return 0 };
        let Some((_, blocks)) = self.list.as_ref().filter(|(number, _)| *number == file) else {
            return own.left;
        };
        let behind =
            |other: &&BlockHeader| other.first_seq >= block.end_seq && other.end_seq <= self.limit_seq;
        let after: u64 = blocks.iter().filter(behind).map(|other| u64::from(other.count)).sum();
        own.left.saturating_sub(after)
    }

    fn next_fetch(&self) -> Fetch {
        let Some(file) = self.files.iter().find(|file| file.left > 0) else { return Fetch::Nothing };
        let number = file.number;
        let Some((_, blocks)) = self.list.as_ref().filter(|(own, _)| *own == number) else {
            return Fetch::List { file: number };
        };
        let done = blocks.partition_point(|block| block.end_seq <= self.next_seq);
        let mut blocks = blocks.iter().skip(done).take_while(|block| block.end_seq <= self.limit_seq);
        match blocks.find(|block| block.count > 0) {
            Some(block) => Fetch::Block { file: number, block: *block },
            None => Fetch::Short { file: number },
        }
    }
}

impl QueueInner {
    /// What a consumer that wants more must read.
    pub fn next_fetch(&self) -> Fetch {
        self.state.lock().cold.next_fetch()
    }

    /// The disk cannot read what is next; since when, at the latest since `now`.
    pub fn failing_since(&self, now: MonoTime) -> MonoTime {
        *self.state.lock().cold.failing_since.get_or_insert(now)
    }

    /// It can, or what is next is another matter.
    pub fn set_failing_since(&self, since: Option<MonoTime>) {
        self.state.lock().cold.failing_since = since;
    }

    /// Whether something at the front of what is in files may have expired, and whether nothing was fetched that is still
    /// wanted.
    pub fn expired_ahead(&self, now: UnixMs) -> Option<bool> {
        let state = self.state.lock();
        let next = state.cold.files.iter().find(|file| file.left > 0)?;
        (next.first_expiry <= now).then(|| state.index.len() == 0)
    }

    /// Takes the blocks of a file.
    pub fn put_list(&self, file: u64, blocks: Vec<BlockHeader>) {
        self.state.lock().cold.list = Some((file, blocks));
    }

    /// Takes the messages of a block, unless they were given up meanwhile.
    pub fn put_block(&self, file: u64, block: &BlockHeader, entries: &[(u64, Entry)]) -> Changes {
        let mut state = self.state.lock();
        let state = &mut *state;
        let from = state.cold.next_seq;
        if state.cold.left == 0 || from >= block.end_seq {
            return Changes::default();
        }
        state.index.advance_to(block.first_seq);
        let (first, mut fetched) = (from.max(state.index.next()), Count::default());
        for (seq, entry) in entries.iter().filter(|(seq, _)| *seq >= first) {
            state.index.push(*seq, *entry);
            fetched.add(*entry);
        }
        let taken = state.cold.take(file, fetched.msgs);
        self.count_moved(taken.bytes, fetched.bytes);
        let changes = state.pass(block.end_seq);
        Changes { fetched: fetched.msgs as usize, ..changes }
    }

    /// Leaves out a block that is expired or damaged.
    pub fn skip_block(&self, file: u64, block: &BlockHeader, cause: LossCause) -> Changes {
        let mut state = self.state.lock();
        let from = state.cold.next_seq;
        if state.cold.left == 0 || from >= block.end_seq {
            return Changes::default();
        }
        let first = from.max(block.first_seq);
        let count = u64::from(block.count).min(block.end_seq - first);
        // Of a block that is begun, its header does not tell how many are left; the blocks behind it do.
        let count = count.min(state.cold.left_up_to(file, block));
        let lost = state.cold.take(file, count);
        let changes = state.pass(block.end_seq);
        self.set_ready(|ready| ready - lost.msgs);
        self.count_out(lost);
        Changes { lost: Lost::some(cause, first, lost.msgs), ..changes }
    }

    /// Gives up what a file still has.
    pub fn skip_file(&self, file: u64, cause: LossCause) -> Changes {
        let mut state = self.state.lock();
        let Some(found) = state.cold.files.iter().find(|own| own.number == file) else {
            return Changes::default();
        };
        let (first, end, all) = (found.first_seq, found.end_seq, found.left);
        let is_next = state.cold.files.iter().find(|own| own.left > 0).is_some_and(|own| own.number == file);
        let first = if is_next { first.max(state.cold.next_seq) } else { first };
        let lost = state.cold.take(file, all);
        let changes = if is_next || state.cold.left == 0 { state.pass(end) } else { Changes::default() };
        self.set_ready(|ready| ready - lost.msgs);
        self.count_out(lost);
        Changes { lost: Lost::some(cause, first, lost.msgs), ..changes }
    }

    /// Files of which nothing was fetched, with their queue's order kept.
    pub fn untouched_files(&self, mut visit: impl FnMut(&SpillFile)) {
        let state = self.state.lock();
        let untouched = |file: &&SpillFile| file.left > 0 && file.first_seq >= state.cold.next_seq;
        state.cold.files.iter().filter(untouched).for_each(&mut visit);
    }

    /// A file was replaced by one of so many bytes; returns how many it had before. A short file may have grown.
    pub fn resize_file(&self, file: u64, bytes: u64) -> u64 {
        let mut state = self.state.lock();
        let Some(file) = state.cold.files.iter_mut().find(|own| own.number == file) else { return bytes };
        file.complete = true;
        std::mem::replace(&mut file.bytes, bytes)
    }

    /// Files that may go once their checkpoint is durable.
    pub fn take_spent(&self) -> Vec<SpentFile> {
        let mut state = self.state.lock();
        let removed = state.removed;
        let spent = state.cold.spent.drain(..);
        let queue = self.id;
        spent
            .map(|SpillFile { number, bytes, end_seq, .. }| SpentFile {
                queue,
                number,
                bytes,
                end_seq: if removed { 0 } else { end_seq },
                counted: true,
            })
            .collect()
    }

    /// To be called once after a recovery: files may have been done with already.
    pub fn tidy(&self) -> Changes {
        let mut state = self.state.lock();
        let head = state.index.head();
        if state.cold.let_go(head) { state.moved_on() } else { Changes::default() }
    }

    /// The last checkpoint that was given away to be written.
    pub fn written_head(&self) -> u64 {
        self.state.lock().written_head
    }
}

impl QueueState {
    /// Everything up to `seq` was fetched or lost. When that was all, what comes after follows directly.
    fn pass(&mut self, seq: u64) -> Changes {
        let before = self.index.head();
        self.cold.skip_to(seq);
        self.index.advance_to(seq);
        let mut popped = 0;
        if self.cold.left == 0 {
            self.index.append(std::mem::take(&mut self.cold.back));
            self.cold.list = None;
            // What was dropped there may be at the front now.
            popped = self.index.pop_done();
            self.cursor = self.cursor.saturating_sub(popped);
        }
        let changes = if self.index.head() == before { Changes::default() } else { self.moved_on() };
        Changes { popped, ..changes }
    }
}
