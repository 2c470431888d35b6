//! Rebuilding the queues from the batches of the log, in order.

mod spilled;
#[cfg(test)]
mod tests;

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
