//! Rebuilding the queues from the batches of the log, in order.

use std::collections::HashSet;
use std::sync::Arc;

use crate::batch::QueueId;
use crate::config::{ENDPOINT_BYTES_MAX, QUEUES_MAX};
use crate::format::{BATCH_HEADER_BYTES, BatchView, QueueRow, RecordView};
use crate::index::{Entry, SeqIndex};
use crate::journal::QueueTable;
use crate::queue::QueueInner;

#[derive(Default)]
struct ReplayQueue {
    definition: Option<(Arc<str>, u32)>,
    index: SeqIndex,
    removed: bool,
    /// Numbers that the batch at hand still has to give to this queue, and the next of them.
    left: u32,
    seq: u64,
}

/// The queues as far as the log was read.
#[derive(Default)]
pub(super) struct Replay {
    queues: Vec<ReplayQueue>,
    pub batches: u64,
    pub records: u64,
    /// Messages of queues whose definition is lost.
    pub orphaned: u64,
}

impl Replay {
    fn queue(&mut self, id: u32) -> Option<&mut ReplayQueue> {
        let at = (id as usize).checked_sub(1).filter(|at| *at < QUEUES_MAX)?;
        if at >= self.queues.len() {
            self.queues.resize_with(at + 1, ReplayQueue::default);
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

    /// Takes over the state that a segment header found when it was written.
    pub fn apply_rows(&mut self, rows: &[QueueRow]) {
        for row in rows {
            let Some(queue) = self.queue(row.id) else { continue };
            queue.checkpoint(row.head_seq);
            queue.index.advance_to(row.next_seq);
            if row.removed {
                queue.remove(row.next_seq);
            } else {
                queue.removed = false;
            }
        }
    }

    /// Takes over one batch; false, and nothing changed, when its numbers do not fit.
    pub fn apply(&mut self, batch: &BatchView<'_>) -> bool {
        if !self.expect(batch) {
            self.queues.iter_mut().for_each(|queue| queue.left = 0);
            return false;
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
                    queue.removed = false;
                }
            }
            RecordView::QueueRemoved { id, below } => {
                if let Some(queue) = self.queue(id) {
                    queue.remove(below);
                }
            }
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
            self.orphaned += u64::from(!queue.removed);
        } else {
            queue.index.push(seq, entry);
        }
    }

    /// All that is wanted, queue by queue.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.queues.iter().flat_map(|queue| queue.index.iter())
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
                self.orphaned += queue.index.len() as u64;
                queue.definition = None;
                queue.index.clear();
            }
        }
    }

    /// The queues, ready for use.
    pub fn into_table(self) -> QueueTable {
        let numbered = (1..).zip(self.queues);
        let inner = numbered.map(|(id, queue)| {
            let (endpoint, priority) = queue.definition?;
            Some(Arc::new(QueueInner::new(QueueId(id), endpoint, priority, queue.index, queue.removed)))
        });
        inner.collect()
    }
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
    }

    fn remove(&mut self, below: u64) {
        self.index.clear();
        self.index.advance_to(below);
        self.removed = true;
    }
}
