//! Rebuilding the queues from the batches of the log, in order.

use std::collections::HashSet;
use std::sync::Arc;

use edgehub_types::UnixMs;

use super::lost::LostNumbers;
use crate::batch::QueueId;
use crate::config::{ENDPOINT_BYTES_MAX, QUEUES_MAX};
use crate::format::{BATCH_HEADER_BYTES, BatchView, QueueRow, RecordView};
use crate::index::{Entry, SeqIndex};
use crate::journal::QueueTable;
use crate::ledger::{Loss, LossCause};
use crate::queue::{QueueInner, SpilledBefore};
use crate::spill::SpillFile;

#[derive(Default)]
struct ReplayQueue {
    definition: Option<(Arc<str>, u32)>,
    index: SeqIndex,
    removed: bool,
    /// Damage may have taken the record that undoes the removal: what comes now is dropped, but counts as lost.
    removal_in_doubt: bool,
    /// Numbers that the batch at hand still has to give to this queue, and the next of them.
    left: u32,
    seq: u64,
    lost: LostNumbers,
    /// The checkpoint; the index may begin later, because what it had before is in spill files.
    head_seq: u64,
    /// Messages below are in spill files.
    spilled_seq: u64,
    spilled: Vec<SpillFile>,
    /// The segment at hand may follow spent ones, and nothing yet said which numbers they had: those that are missing
    /// before the next one are not known to be lost.
    adrift: bool,
}

/// The queues as far as the log was read.
#[derive(Default)]
pub(crate) struct Replay {
    queues: Vec<ReplayQueue>,
    /// [`ReplayQueue::adrift`] of queues that are not known yet.
    adrift: bool,
    pub batches: u64,
    pub records: u64,
    /// Messages of queues whose definition is lost.
    pub orphaned: u64,
}

impl Replay {
    fn queue(&mut self, id: u32) -> Option<&mut ReplayQueue> {
        let at = (id as usize).checked_sub(1).filter(|at| *at < QUEUES_MAX)?;
        if at >= self.queues.len() {
            let adrift = self.adrift;
            self.queues.resize_with(at + 1, || ReplayQueue { adrift, ..ReplayQueue::default() });
        }
        self.queues.get_mut(at)
    }

    /// Learns the queues of a segment header, without their state.
    pub fn define_all(&mut self, rows: &[QueueRow]) {
        for row in rows {
            self.define(row.id, row.priority, &row.endpoint);
        }
    }

    fn define(&mut self, id: u32, priority: u32, endpoint: &str) {
        if !(1..=ENDPOINT_BYTES_MAX).contains(&endpoint.len()) {
            return;
        }
        if let Some(queue) = self.queue(id) {
            queue.definition.get_or_insert_with(|| (Arc::from(endpoint), priority));
        }
    }

    /// Begins a segment, with the queues in its header if it can be read. `follows` = no spent segment was
    /// between it and the one before: numbers that are missing then are lost.
    pub fn enter(&mut self, rows: Option<&[QueueRow]>, follows: bool) {
        if let Some(rows) = rows {
            self.apply_rows(rows, follows);
            self.set_adrift(false);
        } else if !follows {
            self.set_adrift(true);
        }
    }

    fn set_adrift(&mut self, adrift: bool) {
        self.adrift = adrift;
        self.queues.iter_mut().for_each(|queue| queue.adrift = adrift);
    }

    /// Takes over the state that a segment header found when it was written.
    fn apply_rows(&mut self, rows: &[QueueRow], follows: bool) {
        for row in rows {
            let Some(queue) = self.queue(row.id) else { continue };
            queue.checkpoint(row.head_seq);
            queue.spilled_seq = queue.spilled_seq.max(row.spilled_seq);
            queue.adrift |= !follows;
            queue.skip_to(row.next_seq);
            if row.removed {
                queue.remove(row.next_seq);
            } else {
                queue.revive();
            }
        }
    }

    /// Some part of the log is skipped.
    pub fn skip_damage(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.removal_in_doubt = queue.removed);
    }

    /// Takes over one batch; false, and nothing changed, when its numbers do not fit.
    pub fn apply(&mut self, batch: &BatchView<'_>) -> bool {
        if !self.expect(batch) {
            self.queues.iter_mut().for_each(|queue| queue.left = 0);
            return false;
        }
        for range in batch.ranges() {
            if let Some(queue) = self.queue(range.queue) {
                queue.skip_to(range.first_seq);
            }
        }
        let start = batch.header.address + BATCH_HEADER_BYTES as u64;
        for (offset, bytes, record) in batch.records() {
            self.apply_record(start + offset as u64, bytes.len() as u32, &record);
        }
        for checkpoint in batch.checkpoints() {
            if let Some(queue) = self.queue(checkpoint.queue) {
                queue.checkpoint(checkpoint.head_seq);
            }
        }
        self.batches += 1;
        self.records += u64::from(batch.header.records);
        true
    }

    /// Whether the ranges continue their queues and say as much as the records do.
    fn expect(&mut self, batch: &BatchView<'_>) -> bool {
        for range in batch.ranges() {
            let Some(queue) = self.queue(range.queue) else { return false };
            if queue.left > 0 || range.count == 0 || range.first_seq < queue.index.next() {
                return false;
            }
            (queue.left, queue.seq) = (range.count, range.first_seq);
        }
        let counted = batch.records().all(|(_, _, record)| {
            record.targets().all(|(id, _)| match self.queue(id) {
                Some(queue) if queue.left > 0 => {
                    queue.left -= 1;
                    true
                }
                _ => false,
            })
        });
        counted && batch.ranges().all(|range| self.queue(range.queue).is_some_and(|queue| queue.left == 0))
    }

    fn apply_record(&mut self, address: u64, len: u32, record: &RecordView<'_>) {
        match *record {
            RecordView::QueueDefined { id, priority, endpoint } => {
                self.define(id, priority, endpoint);
                if let Some(queue) = self.queue(id) {
                    queue.revive();
                }
            }
            RecordView::QueueRemoved { id, below } => {
                if let Some(queue) = self.queue(id) {
                    queue.remove(below);
                }
            }
            RecordView::QueueSpilled { id, below } => {
                if let Some(queue) = self.queue(id) {
                    queue.spilled_seq = queue.spilled_seq.max(below);
                }
            }
            RecordView::Clock { .. } => {}
            RecordView::Message { .. } => {
                for (id, expires_at) in record.targets() {
                    self.apply_target(id, Entry::new(address, len, expires_at));
                }
            }
        }
    }

    fn apply_target(&mut self, id: u32, entry: Entry) {
        let Some(queue) = self.queue(id) else { return };
        let seq = queue.seq;
        queue.seq += 1;
        if queue.removed || queue.definition.is_none() {
            queue.index.advance_to(seq + 1);
            if queue.removed && !queue.removal_in_doubt {
                // Dropped on purpose: neither the journal nor a spill file has to have it.
                queue.head_seq = queue.head_seq.max(seq + 1);
            } else {
                queue.lost.note(seq, seq + 1, 1);
            }
            self.orphaned += u64::from(!queue.removed);
        } else {
            queue.index.push(seq, entry);
        }
    }

    /// All that is wanted, queue by queue.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.queues.iter().flat_map(|queue| queue.index.iter())
    }

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

    /// Also for queues without files: what the journal says is in some is lost then.
    pub fn settle_spilled(&mut self, but: &[QueueId]) {
        for (id, queue) in (1..).zip(&mut self.queues) {
            if !but.contains(&QueueId(id)) {
                queue.settle(&[]);
            }
        }
    }

    /// Messages in spill files.
    pub fn spilled_msgs(&self) -> u64 {
        self.queues.iter().map(|queue| queue.spilled.iter().map(|file| file.left).sum::<u64>()).sum()
    }

    /// Queues that are defined and not removed.
    pub fn present(&self) -> usize {
        self.queues.iter().filter(|queue| queue.definition.is_some() && !queue.removed).count()
    }

    /// Next number of every queue.
    pub fn seqs(&self) -> Vec<u64> {
        self.queues.iter().map(|queue| queue.index.next()).collect()
    }

    /// Drops queues that nobody could reach: without definition, or with that of another one.
    pub fn drop_unreachable(&mut self) {
        let mut seen = HashSet::new();
        for queue in &mut self.queues {
            let known = queue.definition.as_ref().is_some_and(|key| seen.insert(key.clone()));
            if !known {
                let orphans = queue.index.len() as u64;
                self.orphaned += orphans;
                queue.lost.note(queue.index.head(), queue.index.next(), orphans);
                queue.definition = None;
                queue.spilled_seq = 0;
                queue.index.clear();
            }
        }
    }

    /// What damage took, queue by queue. The time is for others to fill in.
    pub fn losses(&self) -> Vec<Loss> {
        (1..).zip(&self.queues).flat_map(|(id, queue)| queue.losses(QueueId(id))).collect()
    }

    /// The queues by id, ready for use.
    pub fn into_table(self) -> QueueTable {
        let queues = self.into_queues().map(|queue| {
            let ReplayedQueue { id, endpoint, priority, index, removed, lost, spilled } = queue?;
            let inner = QueueInner::with_spilled(id, endpoint, priority, index, removed, spilled);
            inner.lost.add(LossCause::Damaged, lost);
            Some(Arc::new(inner))
        });
        queues.collect()
    }

    /// The queues by id; `None` for an id without definition.
    pub fn into_queues(self) -> impl Iterator<Item = Option<ReplayedQueue>> {
        (1..).zip(self.queues).map(|(id, queue)| {
            let ReplayQueue { definition, index, removed, lost, head_seq, spilled_seq, spilled, .. } = queue;
            let (endpoint, priority) = definition?;
            let spilled = SpilledBefore { files: spilled, head_seq, spilled_seq };
            let (id, lost) = (QueueId(id), lost.total());
            Some(ReplayedQueue { id, endpoint, priority, index, removed, lost, spilled })
        })
    }
}

/// A queue as the log left it.
pub(crate) struct ReplayedQueue {
    pub id: QueueId,
    pub endpoint: Arc<str>,
    pub priority: u32,
    pub index: SeqIndex,
    pub removed: bool,
    /// Messages that damage took.
    pub lost: u64,
    /// What comes before the index.
    pub spilled: SpilledBefore,
}

/// Which numbers of a queue spill files can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpillLimits {
    /// The checkpoint.
    pub head_seq: u64,
    /// Blocks that go beyond do not count.
    pub limit: u64,
}

impl ReplayQueue {
    fn checkpoint(&mut self, head_seq: u64) {
        while self.index.len() > 0 && self.index.head() < head_seq {
            if let Some(entry) = self.index.get_mut(0) {
                entry.set_done();
            }
            self.index.pop_done();
        }
        self.index.advance_to(head_seq);
        self.lost.forget_below(head_seq);
        self.head_seq = self.head_seq.max(head_seq);
    }

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

    /// Leaves out the numbers up to `seq`, which are lost unless they may have been in a spent segment.
    fn skip_to(&mut self, seq: u64) {
        let next = self.index.next();
        let known = !std::mem::take(&mut self.adrift) && !self.removed;
        if known && seq > next {
            self.lost.note(next, seq, seq - next);
        }
        self.index.advance_to(seq);
    }

    fn losses(&self, queue: QueueId) -> impl Iterator<Item = Loss> {
        let (endpoint, priority) = self.definition.clone().unwrap_or_else(|| (Arc::from(""), 0));
        self.lost.ranges().iter().map(move |range| Loss {
            queue,
            endpoint: Arc::clone(&endpoint),
            priority,
            first_seq: range.first,
            count: range.count,
            cause: LossCause::Damaged,
            at: UnixMs(0),
        })
    }

    fn remove(&mut self, below: u64) {
        self.index.clear();
        self.index.advance_to(below);
        self.lost.forget_below(below);
        self.head_seq = self.head_seq.max(below);
        (self.removed, self.removal_in_doubt) = (true, false);
    }

    fn revive(&mut self) {
        (self.removed, self.removal_in_doubt) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Placement, Target};
    use crate::format::{BatchHeader, put_queue_defined, put_queue_removed};

    /// A sealed batch with one message per number, all for queue 1.
    fn batch(first_seq: u64, count: u32) -> Vec<u8> {
        let mut batch = Batch::new();
        for _ in 0..count {
            let target = Target { queue: QueueId(1), expires_at: UnixMs::MAX };
            batch.push(&[target], 1, |out| out.push(1)).unwrap();
        }
        batch.inner.slots[0].first_seq = first_seq;
        seal(&mut batch)
    }

    fn control(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut batch = Batch::new();
        batch.inner.begin();
        put(&mut batch.inner.buf);
        batch.inner.add_control();
        seal(&mut batch)
    }

    fn seal(batch: &mut Batch) -> Vec<u8> {
        batch.inner.seal(&Placement { salt: 1, address: 8, durable: 0, written_ms: 0 }, &[]);
        std::mem::take(&mut batch.inner.buf)
    }

    fn apply(replay: &mut Replay, bytes: &[u8]) -> bool {
        let header = BatchHeader::decode(bytes).unwrap();
        replay.apply(&BatchView::decode(header, bytes).unwrap())
    }

    fn defined() -> Replay {
        let mut replay = Replay::default();
        assert!(apply(&mut replay, &control(|buf| put_queue_defined(buf, 1, 0, "e"))));
        replay
    }

    #[test]
    fn numbers_that_were_given_before_are_refused() {
        let mut replay = defined();
        assert!(apply(&mut replay, &batch(0, 3)));
        assert!(!apply(&mut replay, &batch(2, 2)));
        assert!(apply(&mut replay, &batch(3, 1)));
        assert_eq!((replay.seqs(), replay.entries().count()), (vec![4], 4));
    }

    #[test]
    fn a_range_that_says_other_than_its_records_is_refused() {
        let mut replay = defined();
        let mut bytes = batch(0, 2);
        let table = bytes.len() - 24;
        let range = [1_u32, 3, 0, 0].map(u32::to_le_bytes).concat();
        let at = bytes[table..].windows(4).position(|four| four == [1, 0, 0, 0]).unwrap() + table;
        bytes[at..at + 16].copy_from_slice(&range);
        let tables_crc = crc32fast::hash(&range);
        let header = BatchHeader { tables_crc, ..BatchHeader::decode(&bytes).unwrap() };
        header.write_to(&mut bytes);
        assert!(!apply(&mut replay, &bytes));
        assert!(apply(&mut replay, &batch(0, 2)), "and leaves no trace");
    }

    #[test]
    fn messages_of_a_removed_queue_only_count() {
        let mut replay = defined();
        assert!(apply(&mut replay, &batch(0, 2)));
        assert!(apply(&mut replay, &control(|buf| put_queue_removed(buf, 1, 2))));
        assert!(apply(&mut replay, &batch(2, 2)));
        assert_eq!((replay.entries().count(), replay.orphaned), (0, 0));
        assert!(apply(&mut replay, &control(|buf| put_queue_defined(buf, 1, 0, "e"))));
        assert!(apply(&mut replay, &batch(4, 1)));
        assert_eq!((replay.seqs(), replay.entries().count()), (vec![5], 1));
    }

    #[test]
    fn messages_without_a_known_queue_are_orphans() {
        let mut replay = Replay::default();
        assert!(apply(&mut replay, &batch(0, 2)));
        assert_eq!(replay.orphaned, 2);
        let losses = replay.losses();
        let told: Vec<_> = losses.iter().map(|loss| (&*loss.endpoint, loss.first_seq, loss.count)).collect();
        assert_eq!(told, [("", 0, 2)]);
        replay.drop_unreachable();
        assert!(replay.into_table().iter().all(Option::is_none));
    }

    #[test]
    fn two_ids_for_one_queue_leave_the_first() {
        let mut replay = defined();
        assert!(apply(&mut replay, &control(|buf| put_queue_defined(buf, 2, 0, "e"))));
        replay.drop_unreachable();
        let table = replay.into_table();
        assert_eq!(table.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    }
}
