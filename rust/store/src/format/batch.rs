//! One batch: header, records, range table, checkpoint table.

use super::NUMBER_MAX;
use super::bytes::{Reader, patch_u32};
use super::record::Records;
use crate::config::BATCH_BYTES_MAX;

/// Bytes of a batch header.
pub const BATCH_HEADER_BYTES: usize = 64;
/// Bytes of an entry of either table.
pub(crate) const TABLE_ENTRY_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"EHB1";

/// Fields of a batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Random number of the folder.
    pub salt: u64,
    /// Address of the batch.
    pub address: u64,
    /// What lay below this address was durable when the batch was written.
    pub durable: u64,
    /// Bytes of the whole batch.
    pub bytes: u32,
    /// Number of records.
    pub records: u32,
    /// Bytes of the records.
    pub records_bytes: u32,
    /// Checksum of the two tables.
    pub tables_crc: u32,
    /// Entries of the range table.
    pub ranges: u32,
    /// Entries of the checkpoint table.
    pub checkpoints: u32,
    /// Store time of writing, milliseconds since 1970.
    pub written_ms: u64,
}

impl BatchHeader {
    /// Reads a header; `None` unless magic, checksum and lengths agree.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        let (head, covered) = bytes.split_first_chunk::<8>()?;
        let [m0, m1, m2, m3, crc @ ..] = *head;
        ([m0, m1, m2, m3] == MAGIC && crc32fast::hash(covered) == u32::from_le_bytes(crc)).then_some(())?;
        let mut reader = Reader::new(covered);
        let header = Self {
            salt: reader.u64()?,
            address: reader.u64()?,
            durable: reader.u64()?,
            bytes: reader.u32()?,
            records: reader.u32()?,
            records_bytes: reader.u32()?,
            tables_crc: reader.u32()?,
            ranges: reader.u32()?,
            checkpoints: reader.u32()?,
            written_ms: reader.u64()?,
        };
        header.is_sound().then_some(header)
    }

    fn is_sound(&self) -> bool {
        let tables = (u64::from(self.ranges) + u64::from(self.checkpoints)) * TABLE_ENTRY_BYTES as u64;
        let content = BATCH_HEADER_BYTES as u64 + u64::from(self.records_bytes) + tables;
        u64::from(self.bytes) == super::align8(content)
            && self.bytes as usize <= BATCH_BYTES_MAX
            && self.address < NUMBER_MAX
            && self.durable <= self.address
    }

    /// Writes the header over the first bytes of `batch`.
    pub(crate) fn write_to(&self, batch: &mut [u8]) {
        let Some(place) = batch.first_chunk_mut::<BATCH_HEADER_BYTES>() else { return };
        place[0..4].copy_from_slice(&MAGIC);
        place[8..16].copy_from_slice(&self.salt.to_le_bytes());
        place[16..24].copy_from_slice(&self.address.to_le_bytes());
        place[24..32].copy_from_slice(&self.durable.to_le_bytes());
        place[32..36].copy_from_slice(&self.bytes.to_le_bytes());
        place[36..40].copy_from_slice(&self.records.to_le_bytes());
        place[40..44].copy_from_slice(&self.records_bytes.to_le_bytes());
        place[44..48].copy_from_slice(&self.tables_crc.to_le_bytes());
        place[48..52].copy_from_slice(&self.ranges.to_le_bytes());
        place[52..56].copy_from_slice(&self.checkpoints.to_le_bytes());
        place[56..64].copy_from_slice(&self.written_ms.to_le_bytes());
        let crc = crc32fast::hash(&place[8..]);
        patch_u32(place, 4, crc);
    }
}

/// Numbers that a batch gives to the messages of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Id of the queue.
    pub queue: u32,
    /// Messages for it in the batch.
    pub count: u32,
    /// Number of the first.
    pub first_seq: u64,
}

/// What is done of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Id of the queue.
    pub queue: u32,
    /// Every number below is acknowledged.
    pub head_seq: u64,
}

/// Appends an entry of the range table.
pub(crate) fn put_range(buf: &mut Vec<u8>, range: Range) {
    buf.extend_from_slice(&range.queue.to_le_bytes());
    buf.extend_from_slice(&range.count.to_le_bytes());
    buf.extend_from_slice(&range.first_seq.to_le_bytes());
}

/// Appends an entry of the checkpoint table.
pub(crate) fn put_checkpoint(buf: &mut Vec<u8>, checkpoint: Checkpoint) {
    buf.extend_from_slice(&checkpoint.queue.to_le_bytes());
    buf.extend_from_slice(&[0; 4]);
    buf.extend_from_slice(&checkpoint.head_seq.to_le_bytes());
}

/// A whole batch whose every checksum has been checked.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    /// The header.
    pub header: BatchHeader,
    records: &'a [u8],
    ranges: &'a [u8],
    checkpoints: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Reads a batch whose header was read before; `bytes` has the length that the header states.
    pub fn decode(header: BatchHeader, bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.take(BATCH_HEADER_BYTES)?;
        let records = reader.take(header.records_bytes as usize)?;
        let tables_bytes = (header.ranges as usize + header.checkpoints as usize) * TABLE_ENTRY_BYTES;
        let tables = reader.take(tables_bytes)?;
        (crc32fast::hash(tables) == header.tables_crc).then_some(())?;
        let mut numbers = entries(tables).map(|(_, _, number)| number);
        numbers.all(|number| number < NUMBER_MAX).then_some(())?;
        let (ranges, checkpoints) = tables.split_at_checked(header.ranges as usize * TABLE_ENTRY_BYTES)?;
        let mut walk = Records::new(records);
        let found = walk.by_ref().count();
        (found == header.records as usize && walk.is_exhausted()).then_some(Self {
            header,
            records,
            ranges,
            checkpoints,
        })
    }

    /// The records with their offset from the start of the batch.
    pub fn records(&self) -> Records<'a> {
        Records::trusted(self.records)
    }

    /// The range table.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + use<'a> {
        entries(self.ranges).map(|(queue, count, first_seq)| Range { queue, count, first_seq })
    }

    /// The checkpoint table.
    pub fn checkpoints(&self) -> impl Iterator<Item = Checkpoint> + use<'a> {
        entries(self.checkpoints).map(|(queue, _, head_seq)| Checkpoint { queue, head_seq })
    }
}

fn entries(table: &[u8]) -> impl Iterator<Item = (u32, u32, u64)> + use<'_> {
    table.as_chunks::<TABLE_ENTRY_BYTES>().0.iter().map(|entry| {
        let [q0, q1, q2, q3, n0, n1, n2, n3, seq @ ..] = *entry;
        let (queue, count) = (u32::from_le_bytes([q0, q1, q2, q3]), u32::from_le_bytes([n0, n1, n2, n3]));
        (queue, count, u64::from_le_bytes(seq))
    })
}
