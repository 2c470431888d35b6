//! The header of a segment with its snapshot of the queue table.

use edgehub_types::UnixMs;

use super::bytes::{Reader, patch_u32};
use super::{FORMAT_VERSION, NUMBER_MAX, align8};
use crate::config::{ENDPOINT_BYTES_MAX, QUEUES_MAX};
use crate::time::Stamp;

const MAGIC: [u8; 8] = *b"EDGEHUBJ";
const FIXED_BYTES: usize = 112;
const ROW_BYTES: usize = 28;
const FLAG_REMOVED: u16 = 1;
const FLAG_SPILLED: u16 = 2;
const FLAG_REUSED: u32 = 1;
/// Bytes that every version has in common, plus the length of the header.
const PREFIX_BYTES: usize = 20;
/// Offset of the segment's number.
pub(crate) const SEGMENT_NUMBER_AT: u64 = 24;
/// No header is longer than this.
pub(crate) const SEGMENT_HEADER_BYTES_MAX: usize =
    FIXED_BYTES + QUEUES_MAX * (ROW_BYTES + ENDPOINT_BYTES_MAX + 8) + 8;

/// Why a segment header is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentHeaderError {
    /// The prefix is whole and names a version that is not known here.
    #[error("format version {found} is newer than {FORMAT_VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// Magic, checksum or lengths are wrong.
    #[error("the segment header is damaged")]
    Damaged,
    /// The header has more bytes than were given.
    #[error("the segment header has {needed} bytes")]
    Short {
        /// Bytes of the whole header.
        needed: usize,
    },
}

/// One queue in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Id, 1 and up.
    pub id: u32,
    /// Priority, 0 is the highest.
    pub priority: u32,
    /// Number that the next message gets.
    pub next_seq: u64,
    /// Every number below is acknowledged.
    pub head_seq: u64,
    /// Whether the endpoint is removed.
    pub removed: bool,
    /// Endpoint.
    pub endpoint: String,
    /// Messages below it are in spill files; 0 when there are none.
    pub spilled_seq: u64,
}

/// Fields of a segment header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Bytes of the header in the file; computed when written.
    pub header_bytes: u32,
    /// Number of the segment, as in its name. Another one: the file was prepared for its next use and holds nothing.
    pub number: u64,
    /// Address of the first byte of the file.
    pub base: u64,
    /// Where the log ended before this segment.
    pub prev_end: u64,
    /// What lay below this address was durable when the header was written.
    pub durable: u64,
    /// Random number of the folder.
    pub salt: u64,
    /// Store time of creation, milliseconds since 1970.
    pub created_ms: u64,
    /// Wall clock minus store time then, milliseconds.
    pub wall_skew_ms: i64,
    /// Boot clock minus store time, milliseconds; the same for as long as one process writes.
    pub boot_skew_ms: i64,
    /// Which start of the machine the boot clock counts from; zeros where nothing tells.
    pub boot_id: [u8; 16],
    /// Whether the file had been another segment: what is behind its last batch may be from then.
    pub reused: bool,
    /// The queues.
    pub queues: Vec<QueueRow>,
}

/// What the batches of a segment carry. No two segments have the same, so that nothing that is left from an earlier use of
/// its file is taken for a batch.
pub fn batch_salt(folder_salt: u64, number: u64) -> u64 {
    // Odd, so that every number gives another product.
    folder_salt ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl SegmentHeader {
    /// The times in it.
    pub(crate) fn stamp(&self) -> Stamp {
        let Self { created_ms, wall_skew_ms, boot_skew_ms, boot_id, .. } = *self;
        Stamp { now: UnixMs(created_ms), wall_skew_ms, boot_skew_ms, boot_id }
    }

    /// Appends the header to `out`, padded to a multiple of eight bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        let prefix_crc = crc32fast::hash(out);
        out.extend_from_slice(&prefix_crc.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        for field in [self.number, self.base, self.prev_end, self.durable, self.salt, self.created_ms] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&(self.queues.len() as u32).to_le_bytes());
        out.extend_from_slice(&(if self.reused { FLAG_REUSED } else { 0 }).to_le_bytes());
        out.extend_from_slice(&self.wall_skew_ms.to_le_bytes());
        out.extend_from_slice(&self.boot_skew_ms.to_le_bytes());
        out.extend_from_slice(&self.boot_id);
        self.queues.iter().for_each(|row| put_row(out, row));
        out.resize(align8(out.len() as u64) as usize, 0);
        let len = out.len() as u32;
        patch_u32(out, 16, len);
        let crc = crc32fast::hash(out.get(24..).unwrap_or_default());
        patch_u32(out, 20, crc);
    }

    /// Reads a header from the start of a segment.
    ///
    /// # Errors
    /// [`SegmentHeaderError`]; with `Short`, come back with that many bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let header_bytes = Self::decode_prefix(bytes)?;
        let header = bytes.get(..header_bytes).ok_or(SegmentHeaderError::Short { needed: header_bytes })?;
        Self::decode_body(header).ok_or(SegmentHeaderError::Damaged)
    }

    fn decode_prefix(bytes: &[u8]) -> Result<usize, SegmentHeaderError> {
        let prefix = bytes.get(..PREFIX_BYTES).ok_or(SegmentHeaderError::Damaged)?;
        let mut reader = Reader::new(prefix);
        let magic = reader.take(8);
        let version = reader.u32().unwrap_or_default();
        let crc = reader.u32();
        if magic != Some(&MAGIC[..]) || crc != Some(crc32fast::hash(&prefix[..12])) {
            return Err(SegmentHeaderError::Damaged);
        }
        if version > FORMAT_VERSION {
            return Err(SegmentHeaderError::Newer { found: version });
        }
        let header_bytes = reader.u32().unwrap_or_default() as usize;
        if version == 0 || !(FIXED_BYTES..=SEGMENT_HEADER_BYTES_MAX).contains(&header_bytes) {
            return Err(SegmentHeaderError::Damaged);
        }
        Ok(header_bytes)
    }

    fn decode_body(header: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(header);
        reader.take(PREFIX_BYTES)?;
        (reader.u32()? == crc32fast::hash(header.get(24..)?)).then_some(())?;
        let mut decoded = Self {
            header_bytes: header.len() as u32,
            number: reader.u64()?,
            base: reader.u64()?,
            prev_end: reader.u64()?,
            durable: reader.u64()?,
            salt: reader.u64()?,
            created_ms: reader.u64()?,
            wall_skew_ms: 0,
            boot_skew_ms: 0,
            boot_id: [0; 16],
            reused: false,
            queues: Vec::new(),
        };
        let count = reader.u32()? as usize;
        decoded.reused = reader.u32()? & FLAG_REUSED != 0;
        (decoded.wall_skew_ms, decoded.boot_skew_ms) = (reader.i64()?, reader.i64()?);
        decoded.boot_id = reader.bytes16()?;
        (count <= QUEUES_MAX).then_some(())?;
        for _ in 0..count {
            decoded.queues.push(read_row(&mut reader)?);
        }
        decoded.is_sound().then_some(decoded)
    }

    fn is_sound(&self) -> bool {
        self.base < NUMBER_MAX
            && self.prev_end <= self.base
            && self.durable <= self.base
            && self.queues.iter().all(QueueRow::is_sound)
    }
}

impl QueueRow {
    fn is_sound(&self) -> bool {
        (1..=QUEUES_MAX).contains(&(self.id as usize))
            && self.next_seq < NUMBER_MAX
            && self.head_seq <= self.next_seq
            && self.spilled_seq <= self.next_seq
            && (1..=ENDPOINT_BYTES_MAX).contains(&self.endpoint.len())
    }
}

fn put_row(out: &mut Vec<u8>, row: &QueueRow) {
    out.extend_from_slice(&row.id.to_le_bytes());
    out.extend_from_slice(&row.priority.to_le_bytes());
    out.extend_from_slice(&row.next_seq.to_le_bytes());
    out.extend_from_slice(&row.head_seq.to_le_bytes());
    let spilled = row.spilled_seq > 0;
    let flags = if row.removed { FLAG_REMOVED } else { 0 } | if spilled { FLAG_SPILLED } else { 0 };
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&(row.endpoint.len() as u16).to_le_bytes());
    out.extend_from_slice(row.endpoint.as_bytes());
    if spilled {
        out.extend_from_slice(&row.spilled_seq.to_le_bytes());
    }
}

fn read_row(reader: &mut Reader<'_>) -> Option<QueueRow> {
    let (id, priority) = (reader.u32()?, reader.u32()?);
    let (next_seq, head_seq) = (reader.u64()?, reader.u64()?);
    let flags = reader.u16()?;
    let len = reader.u16()? as usize;
    let endpoint = str::from_utf8(reader.take(len)?).ok()?.to_owned();
    let spilled_seq = if flags & FLAG_SPILLED == 0 { 0 } else { reader.u64()? };
    let removed = flags & FLAG_REMOVED != 0;
    Some(QueueRow { id, priority, next_seq, head_seq, removed, endpoint, spilled_seq })
}
