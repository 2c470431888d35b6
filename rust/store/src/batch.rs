//! The buffer that a sender fills and appends.

use std::fmt;

use edgehub_types::UnixMs;

use crate::StoreError;
use crate::config::{BATCH_BYTES_MAX, PAYLOAD_BYTES_MAX, TARGETS_MAX};
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, Checkpoint, MESSAGE_KIND, RECORD_HEAD_BYTES, Range, TABLE_ENTRY_BYTES,
    TARGET_BYTES, align8, finish_record, put_checkpoint, put_range,
};
use crate::index::Entry;

/// Id of a queue within its store; the same for ever, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub(crate) u32);

impl QueueId {
    /// The number, 1 and up.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {}", self.0)
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: QueueId,
    /// When it must no longer be delivered, in the time of the store ([`crate::Store::now`]); [`UnixMs::MAX`] = never.
    pub expires_at: UnixMs,
}

const NO_ENTRY: u32 = u32::MAX;
/// An empty batch keeps a buffer of this size; what a burst of large messages needed beyond it is given back.
const KEEP_BYTES: usize = 1 << 20;

/// One target of one record, chained to the next one for the same queue.
#[derive(Debug, Clone, Copy)]
struct Link {
    offset: u32,
    len: u32,
    expires_at: UnixMs,
    next: u32,
}

/// What the batch holds for one queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub queue: QueueId,
    pub count: u32,
    pub first_seq: u64,
    first: u32,
    last: u32,
    record: u32,
}

/// The content of a [`Batch`], which changes hands under group commit.
#[derive(Debug, Default)]
pub(crate) struct BatchInner {
    /// Header, records and, once sealed, tables.
    pub buf: Vec<u8>,
    pub slots: Vec<Slot>,
    links: Vec<Link>,
    slot_of: Vec<(u32, u32)>,
    stamp: u32,
    records: u32,
    /// Whether somebody waits until it is durable.
    pub awaited: bool,
    /// The latest expiry of all targets.
    pub latest_expiry: UnixMs,
    /// Queues that this batch made ready.
    pub woken: Vec<QueueId>,
}

/// Messages to be stored together; reusable, without allocation once it has grown.
///
/// A batch that was appended is empty again. After a retryable error it is as it was.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) inner: BatchInner,
}

impl Batch {
    /// An empty batch. Its buffers grow with use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message whose sender waits until it is stored. `write` appends the payload to the buffer it is given and must not touch what is there.
    ///
    /// `payload_len_hint` bytes are reserved before; a wrong hint costs time, nothing else.
    ///
    /// # Errors
    /// [`StoreError::TargetCount`], [`StoreError::DuplicateTarget`], [`StoreError::PayloadTooLong`]: the message
    /// cannot be stored. [`StoreError::BatchFull`]: append the batch first. The batch is as before then;
    /// after [`StoreError::PayloadWriter`] it is empty.
    pub fn push(
        &mut self,
        targets: &[Target],
        payload_len_hint: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), StoreError> {
        self.inner.push(targets, payload_len_hint, write)?;
        self.inner.awaited = true;
        Ok(())
    }

    /// [`Batch::push`] of a message whose sender waits for nothing: it keeps its place among the others, but needs no sync
    /// before it is delivered. Under [`crate::SyncPolicy::Group`] a batch of such messages alone is committed when it is
    /// written, and durable with the next sync, at most about a second later.
    ///
    /// # Errors
    /// Those of [`Batch::push`].
    pub fn push_unawaited(
        &mut self,
        targets: &[Target],
        payload_len_hint: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), StoreError> {
        self.inner.push(targets, payload_len_hint, write)
    }

    /// Number of messages.
    pub fn len_msgs(&self) -> usize {
        self.inner.records as usize
    }

    /// Bytes that the journal will get, tables not included; 0 for an empty batch.
    pub fn len_bytes(&self) -> usize {
        self.inner.buf.len()
    }

    /// Entries in queues that the batch will make: messages times targets.
    pub fn len_entries(&self) -> usize {
        self.inner.links.len()
    }

    /// Whether it holds no message.
    pub fn is_empty(&self) -> bool {
        self.inner.records == 0
    }

    /// Drops the messages, keeps the memory.
    pub fn clear(&mut self) {
        self.inner.clear();
    }

    /// Bytes of its buffers, filled or not.
    pub fn kept_bytes(&self) -> usize {
        self.inner.kept_bytes()
    }

    /// Gives back what the payload buffer has beyond `bytes` and needs not.
    pub fn shrink_to(&mut self, bytes: usize) {
        if self.inner.buf.capacity() > bytes {
            self.inner.buf.shrink_to(bytes);
        }
    }
}

impl BatchInner {
    fn push(
        &mut self,
        targets: &[Target],
        hint: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), StoreError> {
        if targets.is_empty() || targets.len() > TARGETS_MAX {
            return Err(StoreError::TargetCount { count: targets.len(), max: TARGETS_MAX });
        }
        let start = self.begin_record(RECORD_HEAD_BYTES + targets.len() * TARGET_BYTES + hint);
        for target in targets {
            self.buf.extend_from_slice(&target.queue.0.to_le_bytes());
            self.buf.extend_from_slice(&target.expires_at.0.to_le_bytes());
        }
        let payload_start = self.buf.len();
        write(&mut self.buf);
        if let Err(error) = self.check_payload(payload_start, targets.len()) {
            self.buf.truncate(start);
            if matches!(error, StoreError::PayloadWriter) {
                self.clear();
            }
            return Err(error);
        }
        finish_record(&mut self.buf, start, MESSAGE_KIND, targets.len() as u16);
        self.link_all(targets, start)
    }

    /// Starts a record; returns where.
    fn begin_record(&mut self, hint: usize) -> usize {
        if self.buf.is_empty() {
            self.buf.resize(BATCH_HEADER_BYTES, 0);
        }
        self.buf.reserve(hint.min(PAYLOAD_BYTES_MAX));
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        start
    }

    fn check_payload(&self, payload_start: usize, targets: usize) -> Result<(), StoreError> {
        let bytes = self.buf.len().checked_sub(payload_start).ok_or(StoreError::PayloadWriter)?;
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(StoreError::PayloadTooLong { bytes, max: PAYLOAD_BYTES_MAX });
        }
        let bytes = self.buf.len() + self.tables_bytes_max(targets + CHECKPOINTS_PER_BATCH);
        if bytes > BATCH_BYTES_MAX {
            return Err(StoreError::BatchFull { bytes, max: BATCH_BYTES_MAX });
        }
        Ok(())
    }

    /// Room that tables and padding may need with so many more entries.
    fn tables_bytes_max(&self, more: usize) -> usize {
        (self.slots.len() + more) * TABLE_ENTRY_BYTES + 8
    }

    fn link_all(&mut self, targets: &[Target], start: usize) -> Result<(), StoreError> {
        let len = (self.buf.len() - start) as u32;
        for (done, target) in targets.iter().enumerate() {
            if !self.link(*target, start as u32, len) {
                self.unlink(targets.get(..done).unwrap_or_default());
                self.buf.truncate(start);
                return Err(StoreError::DuplicateTarget { queue: target.queue });
            }
        }
        self.records += 1;
        let latest = targets.iter().map(|target| target.expires_at).max().unwrap_or_default();
        self.latest_expiry = self.latest_expiry.max(latest);
        Ok(())
    }

    /// False when this record is in the queue's chain already.
    fn link(&mut self, target: Target, offset: u32, len: u32) -> bool {
        let at = self.slot(target.queue);
        let index = self.links.len() as u32;
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if slot.record == self.records {
            return false;
        }
        slot.record = self.records;
        slot.count += 1;
        let last = std::mem::replace(&mut slot.last, index);
        if slot.first == NO_ENTRY {
            slot.first = index;
        }
        if let Some(link) = self.links.get_mut(last as usize) {
            link.next = index;
        }
        self.links.push(Link { offset, len, expires_at: target.expires_at, next: NO_ENTRY });
        true
    }

    /// Takes back the links of the record that is refused. They are the last of their chains.
    fn unlink(&mut self, targets: &[Target]) {
        let kept = self.links.len() - targets.len();
        self.links.truncate(kept);
        for target in targets {
            let at = self.slot(target.queue);
            let last = self.last_link_before(at, kept);
            let Some(slot) = self.slots.get_mut(at) else { continue };
            slot.count -= 1;
            slot.record = NO_ENTRY;
            slot.last = last;
            if last == NO_ENTRY {
                slot.first = NO_ENTRY;
            }
            if let Some(link) = self.links.get_mut(last as usize) {
                link.next = NO_ENTRY;
            }
        }
    }

    fn last_link_before(&self, slot: usize, kept: usize) -> u32 {
        let mut at = self.slots.get(slot).map_or(NO_ENTRY, |slot| slot.first);
        let mut last = NO_ENTRY;
        while (at as usize) < kept {
            last = at;
            at = self.links.get(at as usize).map_or(NO_ENTRY, |link| link.next);
        }
        last
    }

    /// Index of the slot of a queue; made when it is the first message for it.
    fn slot(&mut self, queue: QueueId) -> usize {
        let at = queue.0 as usize;
        if at >= self.slot_of.len() {
            self.slot_of.resize(at + 1, (0, 0));
        }
        if self.stamp == 0 {
            self.stamp = 1;
        }
        let stamp = self.stamp;
        let Some(place) = self.slot_of.get_mut(at) else { return usize::MAX };
        if place.0 != stamp {
            *place = (stamp, self.slots.len() as u32);
            self.slots.push(Slot {
                queue,
                count: 0,
                first_seq: 0,
                first: NO_ENTRY,
                last: NO_ENTRY,
                record: NO_ENTRY,
            });
        }
        place.1 as usize
    }

    pub fn clear(&mut self) {
        self.buf.clear();
        if self.buf.capacity() > KEEP_BYTES {
            self.buf.shrink_to(KEEP_BYTES);
        }
        self.slots.clear();
        self.links.clear();
        self.woken.clear();
        self.records = 0;
        self.awaited = false;
        self.latest_expiry = UnixMs(0);
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.slot_of.clear();
        }
    }

    pub fn kept_bytes(&self) -> usize {
        self.buf.capacity()
            + self.slots.capacity() * size_of::<Slot>()
            + self.links.capacity() * size_of::<Link>()
            + self.slot_of.capacity() * size_of::<(u32, u32)>()
            + self.woken.capacity() * size_of::<QueueId>()
    }

    /// Starts a batch whose records the store itself appends to the buffer.
    pub fn begin(&mut self) {
        self.clear();
        self.buf.resize(BATCH_HEADER_BYTES, 0);
    }

    /// Counts a record that was appended to the buffer directly.
    pub fn add_control(&mut self) {
        self.records += 1;
    }

    pub fn entries_total(&self) -> usize {
        self.links.len()
    }

    pub fn records_total(&self) -> usize {
        self.records as usize
    }

    /// Upper bound of the sealed batch with so many checkpoints.
    pub fn sealed_bytes_max(&self, checkpoints: usize) -> usize {
        self.buf.len().max(BATCH_HEADER_BYTES) + self.tables_bytes_max(checkpoints)
    }

    /// The entries of a slot, in order, for a batch that lies at `address`.
    pub fn entries(&self, slot: &Slot, address: u64) -> impl Iterator<Item = Entry> {
        let mut at = slot.first;
        std::iter::from_fn(move || {
            let link = self.links.get(at as usize)?;
            at = link.next;
            Some(Entry::new(address + u64::from(link.offset), link.len, link.expires_at))
        })
    }

    /// Writes tables, padding and header. The slots have their numbers.
    pub fn seal(&mut self, place: &Placement, checkpoints: &[Checkpoint]) {
        if self.buf.is_empty() {
            self.buf.resize(BATCH_HEADER_BYTES, 0);
        }
        let tables_start = self.buf.len();
        let mut ranges = 0;
        for slot in self.slots.iter().filter(|slot| slot.count > 0) {
            let Slot { queue, count, first_seq, .. } = *slot;
            put_range(&mut self.buf, Range { queue: queue.0, count, first_seq });
            ranges += 1;
        }
        for checkpoint in checkpoints {
            put_checkpoint(&mut self.buf, *checkpoint);
        }
        let tables_crc = crc32fast::hash(self.buf.get(tables_start..).unwrap_or_default());
        self.buf.resize(align8(self.buf.len() as u64) as usize, 0);
        let header = BatchHeader {
            salt: place.salt,
            address: place.address,
            durable: place.durable,
            bytes: self.buf.len() as u32,
            records: self.records,
            records_bytes: (tables_start - BATCH_HEADER_BYTES) as u32,
            tables_crc,
            ranges,
            checkpoints: checkpoints.len() as u32,
            written_ms: place.written_ms,
        };
        header.write_to(&mut self.buf);
    }
}

/// Checkpoints that one batch carries along.
pub(crate) const CHECKPOINTS_PER_BATCH: usize = 256;

/// Where and when a batch is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    pub salt: u64,
    pub address: u64,
    pub durable: u64,
    pub written_ms: u64,
}
