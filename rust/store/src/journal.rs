//! The place where the log grows: the active segment, numbers, addresses.

use std::io;
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile};

use crate::StoreError;
use crate::batch::{BatchInner, Placement, QueueId};
use crate::format::{Checkpoint, QueueRow, SegmentHeader, batch_salt};
use crate::queue::QueueInner;
use crate::segment::{Segment, SegmentMeta, SegmentSet};
use crate::time::Stamp;

/// What messages leave free at the end of a segment.
const RESERVE_BYTES_MAX: u64 = 64 << 10;
const RESERVE_BYTES_MIN: u64 = 512;

/// Queues by id; the place of id `n` is `n - 1`.
pub(crate) type QueueTable = Vec<Option<Arc<QueueInner>>>;

/// The segment that is appended to.
pub(crate) struct Active {
    pub segment: Arc<Segment>,
    /// Address of the next batch.
    pub position: u64,
    /// Messages go no further than this; the segment may be longer, if its file was prepared for another size.
    pub messages_end: u64,
}

/// A prepared file for the segment after the active one.
pub(crate) struct Spare {
    pub name: String,
    pub number: u64,
    pub file: Box<dyn StorageFile>,
    pub bytes: u64,
    /// It had been another segment.
    pub reused: bool,
}

/// What a sync has to cover.
pub(crate) struct Unsynced {
    pub segments: Vec<Arc<Segment>>,
    /// The log is durable below this when all of them are synced.
    pub upto: u64,
    /// A batch or header below it states this.
    pub stated: u64,
    /// The folder has names that are not durable.
    pub folder: bool,
}

/// What is to be written. When no further segment can be allocated, the less there is to it the longer it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Messages,
    /// Checkpoints and definitions.
    Control,
    /// A statement of what is durable, without which no segment is unlinked and no space comes back.
    Attest,
}

/// State of the log's end. Guarded by one lock, taken once per batch.
pub(crate) struct Journal {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    preallocate: bool,
    salt: u64,
    /// What batches of the active segment carry.
    batch_salt: u64,
    /// Next number of every queue, by `id - 1`.
    pub seqs: Vec<u64>,
    pub active: Option<Active>,
    pub spare: Option<Spare>,
    next_number: u64,
    next_base: u64,
    log_end: u64,
    durable: u64,
    /// The newest `durable` that was written somewhere, and the newest that is itself durable.
    stated: u64,
    attested: u64,
    sealed_unsynced: Vec<Arc<Segment>>,
    /// The memory of an earlier list.
    spare_list: Vec<Arc<Segment>>,
    active_unsynced: bool,
    folder_unsynced: bool,
    header: Vec<u8>,
    /// Buffers for batches of the store's own.
    pub control: BatchInner,
    pub checkpoints: Vec<Checkpoint>,
}

/// Where a recovered log goes on.
#[derive(Debug, Default)]
pub(crate) struct LogEnd {
    pub salt: u64,
    pub seqs: Vec<u64>,
    pub next_number: u64,
    pub next_base: u64,
    pub end: u64,
}

impl Journal {
    pub fn new(storage: Arc<dyn Storage>, segment_bytes: u64, preallocate: bool, end: LogEnd) -> Self {
        Self {
            storage,
            segment_bytes,
            preallocate,
            salt: end.salt,
            batch_salt: end.salt,
            seqs: end.seqs,
            active: None,
            spare: None,
            next_number: end.next_number,
            next_base: end.next_base,
            log_end: end.end,
            durable: end.next_base,
            stated: 0,
            attested: 0,
            sealed_unsynced: Vec::new(),
            spare_list: Vec::new(),
            active_unsynced: false,
            folder_unsynced: false,
            header: Vec::new(),
            control: BatchInner::default(),
            checkpoints: Vec::new(),
        }
    }

    /// Random number of the folder.
    pub fn salt(&self) -> u64 {
        self.salt
    }

    /// Where the log ends.
    pub fn log_end(&self) -> u64 {
        self.log_end
    }

    /// The log is durable below this.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// A batch or header says that the log is durable below this.
    pub fn stated(&self) -> u64 {
        self.stated
    }

    /// A durable batch or header says that the log is durable below this.
    pub fn attested(&self) -> u64 {
        self.attested
    }

    /// A sync ended well.
    pub fn set_synced(&mut self, mut synced: Unsynced) {
        self.durable = self.durable.max(synced.upto);
        self.attested = self.attested.max(synced.stated);
        synced.segments.clear();
        self.spare_list = synced.segments;
    }

    /// Whether written bytes wait for a sync; with `sealed_only`, those of full segments.
    pub fn has_unsynced(&self, sealed_only: bool) -> bool {
        !self.sealed_unsynced.is_empty() || (!sealed_only && self.active_unsynced)
    }

    /// Takes the list of what a sync has to cover.
    pub fn take_unsynced(&mut self, sealed_only: bool) -> Unsynced {
        let spare = std::mem::take(&mut self.spare_list);
        let mut segments = std::mem::replace(&mut self.sealed_unsynced, spare);
        let mut upto = self.active.as_ref().map_or(self.log_end, |active| active.segment.meta.base);
        let mut stated = 0;
        if let Some(active) = self.active.as_ref().filter(|_| !sealed_only) {
            (upto, stated) = (active.position, self.stated);
            if std::mem::take(&mut self.active_unsynced) {
                segments.push(Arc::clone(&active.segment));
            }
        }
        Unsynced { segments, upto, stated, folder: std::mem::take(&mut self.folder_unsynced) }
    }

    /// Whether `bytes` fit into the active segment.
    pub fn fits(&self, bytes: usize, content: Content) -> bool {
        let Some(active) = &self.active else { return false };
        let limit = active.segment.meta.limit;
        let (reserve, end) = match content {
            Content::Messages => (self.reserve(), active.messages_end),
            Content::Control => (self.reserve() / 4, limit),
            Content::Attest => (0, limit),
        };
        active.position + bytes as u64 + reserve <= end
    }

    fn reserve(&self) -> u64 {
        (self.segment_bytes / 16).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX)
    }

    /// Begins another segment, with room for `bytes`.
    ///
    /// # Errors
    /// A retryable one: nothing was written. Others are of a write.
    pub fn roll(
        &mut self,
        bytes: u64,
        segments: &SegmentSet,
        queues: &QueueTable,
        stamp: Stamp,
    ) -> Result<(), StoreError> {
        let mut header = self.next_header(queues, stamp);
        header.encode(&mut self.header);
        let capacity = self.segment_bytes.max(self.header.len() as u64 + bytes + self.reserve());
        let spare = self.take_file(capacity)?;
        let stated = header.durable;
        (header.number, header.reused) = (spare.number, spare.reused);
        header.encode(&mut self.header);
        spare.file.write_all_at(&self.header, 0).map_err(StoreError::io("write", &spare.name))?;
        self.seal_active();
        self.batch_salt = batch_salt(self.salt, header.number);
        let meta = SegmentMeta::active(self.next_base, self.next_base + spare.bytes);
        let segment = Arc::new(Segment { meta, name: spare.name, file: spare.file });
        segments.push(Arc::clone(&segment));
        let position = self.next_base + self.header.len() as u64;
        let messages_end = self.next_base + capacity;
        self.next_base = segment.meta.limit;
        self.log_end = position;
        self.active = Some(Active { segment, position, messages_end });
        self.active_unsynced = true;
        self.stated = stated;
        Ok(())
    }

    fn next_header(&self, queues: &QueueTable, stamp: Stamp) -> SegmentHeader {
        SegmentHeader {
            header_bytes: 0,
            number: 0,
            base: self.next_base,
            prev_end: self.log_end,
            durable: self.durable,
            salt: self.salt,
            created_ms: stamp.now.0,
            wall_skew_ms: stamp.wall_skew_ms,
            boot_skew_ms: stamp.boot_skew_ms,
            boot_id: stamp.boot_id,
            reused: false,
            queues: queues.iter().flatten().map(|queue| self.row(queue)).collect(),
        }
    }

    fn row(&self, queue: &QueueInner) -> QueueRow {
        let (head_seq, removed, spilled_seq) = queue.snapshot();
        let next_seq = self.next_seq(queue.id);
        let endpoint = queue.endpoint.to_string();
        QueueRow {
            id: queue.id.0,
            priority: queue.priority,
            next_seq,
            head_seq,
            removed,
            endpoint,
            spilled_seq,
        }
    }

    /// Number that the next message of a queue gets.
    pub fn next_seq(&self, queue: QueueId) -> u64 {
        self.seqs.get(queue.0 as usize - 1).copied().unwrap_or_default()
    }

    fn take_file(&mut self, bytes: u64) -> Result<Spare, StoreError> {
        if let Some(mut spare) = self.spare.take() {
            // The prepared file is used in any case: numbers rise with addresses.
            if spare.bytes >= bytes {
                return Ok(spare);
            }
            let extended = spare.file.set_len(bytes);
            if let Err(source) = extended {
                let error = refused(&spare.name, bytes, source);
                self.spare = Some(spare);
                return Err(error);
            }
            spare.bytes = bytes;
            return Ok(spare);
        }
        let number = self.reserve_number();
        let spare = create_segment(&*self.storage, number, bytes, self.preallocate)?;
        self.folder_unsynced = true;
        Ok(spare)
    }

    /// Number for a new file.
    pub fn reserve_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Takes a prepared file; gives it back when another segment was begun meanwhile.
    pub fn put_spare(&mut self, spare: Spare) -> Option<Spare> {
        if spare.number + 1 == self.next_number { self.spare.replace(spare) } else { Some(spare) }
    }

    /// Whether a file for the next segment should be prepared now; `urgent` when one was wanted and not to be had.
    pub fn wants_spare(&self, urgent: bool) -> bool {
        let late = self.active.as_ref().is_none_or(|active| {
            let base = active.segment.meta.base;
            active.position - base > active.messages_end.saturating_sub(base) / 2
        });
        self.preallocate && self.spare.is_none() && (late || urgent)
    }

    /// What a sender is told while no segment can be allocated.
    pub fn no_space(&self) -> StoreError {
        refused(&segment_name(self.next_number), self.segment_bytes, io::ErrorKind::StorageFull.into())
    }

    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Size of segments from the next on. When it shrinks, messages leave what is more of the active one unused.
    pub fn set_segment_bytes(&mut self, bytes: u64) {
        self.segment_bytes = bytes;
        if let Some(active) = &mut self.active {
            let meta = &active.segment.meta;
            active.messages_end = meta.limit.min(meta.base + bytes);
        }
    }

    /// Whether the log ends in the segment that begins at `base`.
    pub fn ends_in(&self, base: u64) -> bool {
        self.active.as_ref().is_some_and(|active| active.segment.meta.base == base)
    }

    fn seal_active(&mut self) {
        let Some(active) = self.active.take() else { return };
        active.segment.meta.seal();
        if std::mem::take(&mut self.active_unsynced) {
            self.sealed_unsynced.push(active.segment);
        }
    }

    /// Gives numbers to the messages of a batch and completes its bytes. The batch fits into the active segment.
    pub fn seal(&mut self, batch: &mut BatchInner, offset: u64, written_ms: u64) -> u64 {
        let address = self.log_end + offset;
        for slot in &mut batch.slots {
            if let Some(next) = self.seqs.get_mut(slot.queue.0 as usize - 1) {
                slot.first_seq = *next;
                *next += u64::from(slot.count);
            }
        }
        let place = Placement { salt: self.batch_salt, address, durable: self.durable, written_ms };
        self.stated = self.durable;
        batch.seal(&place, &self.checkpoints);
        self.checkpoints.clear();
        address
    }

    /// Writes sealed bytes at the end of the log.
    ///
    /// # Errors
    /// The system's; what was written is unknown then, and the store must take no more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(active) = &mut self.active else {
            return Err(StoreError::io("write", "journal")(io::ErrorKind::NotFound.into()));
        };
        let segment = &active.segment;
        let offset = segment.offset(active.position);
        segment.file.write_all_at(bytes, offset).map_err(StoreError::io("write", &segment.name))?;
        active.position += bytes.len() as u64;
        self.log_end = active.position;
        self.active_unsynced = true;
        Ok(())
    }

    /// The first queue of a batch that this store does not have.
    pub fn unknown_queue(&self, batch: &BatchInner) -> Option<QueueId> {
        let max = self.seqs.len() as u32;
        batch.slots.iter().map(|slot| slot.queue).find(|queue| queue.0 == 0 || queue.0 > max)
    }
}

/// Name of a segment.
pub(crate) fn segment_name(number: u64) -> String {
    format!("journal-{number:012}.seg")
}

/// Makes a file for a segment and allocates its space.
///
/// # Errors
/// [`StoreError::DiskFull`], [`StoreError::NoSegment`]; the file is gone then.
pub(crate) fn create_segment(
    storage: &dyn Storage,
    number: u64,
    bytes: u64,
    preallocate: bool,
) -> Result<Spare, StoreError> {
    let name = segment_name(number);
    let file = storage.open(&name, true).map_err(|source| {
        remove_leftover(storage, &name);
        refused(&name, bytes, source)
    })?;
    if preallocate && let Err(source) = file.set_len(bytes) {
        drop(file);
        remove_leftover(storage, &name);
        return Err(refused(&name, bytes, source));
    }
    Ok(Spare { name, number, file, bytes, reused: false })
}

/// Removes the file of a segment that could not be made ready: between others it would look like a lost one.
pub(crate) fn remove_leftover(storage: &dyn Storage, name: &str) {
    match storage.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("cannot remove {name}, which could not be made ready: {error}");
        }
        _ => {}
    }
}

fn refused(name: &str, bytes: u64, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::DiskFull { file: name.to_owned(), bytes, source }
        }
        _ => StoreError::NoSegment { file: name.to_owned(), source },
    }
}
