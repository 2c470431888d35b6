//! One record: a message with its targets, or a change to the set of queues.

use edgehub_types::UnixMs;

use super::bytes::{Reader, patch_u32};

/// Kind of a record that carries a message.
pub const MESSAGE_KIND: u8 = 1;
/// Kind of a record that defines a queue.
pub const QUEUE_DEFINED_KIND: u8 = 2;
/// Kind of a record that removes a queue.
pub const QUEUE_REMOVED_KIND: u8 = 3;
/// Kind of a record that moves old messages of a queue to its spill files.
pub const QUEUE_SPILLED_KIND: u8 = 4;
/// Kind of a record that says how far the wall clock is ahead.
pub const CLOCK_KIND: u8 = 5;

pub(crate) const RECORD_HEAD_BYTES: usize = 12;
pub(crate) const TARGET_BYTES: usize = 12;

/// A record read in place; its checksum and inner lengths have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordView<'a> {
    /// A message.
    Message {
        /// Queue id and expiry of every target, still as bytes; see [`RecordView::targets`].
        targets: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// A queue begins, or is back after its removal.
    QueueDefined {
        /// Id of the queue.
        id: u32,
        /// Priority, 0 is the highest.
        priority: u32,
        /// Endpoint.
        endpoint: &'a str,
    },
    /// A queue is removed with its messages below `below`.
    QueueRemoved {
        /// Id of the queue.
        id: u32,
        /// First number that is not affected.
        below: u64,
    },
    /// Messages of a queue below `below` are in its spill files, or done.
    QueueSpilled {
        /// Id of the queue.
        id: u32,
        /// First number that is not affected.
        below: u64,
    },
    /// How the wall clock stands.
    Clock {
        /// Wall clock minus store time from here on, milliseconds.
        wall_skew_ms: i64,
    },
}

impl<'a> RecordView<'a> {
    /// Reads the record that `bytes` consists of and checks its checksum.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (crc, covered) = bytes.split_first_chunk::<4>()?;
        (crc32fast::hash(covered) == u32::from_le_bytes(*crc)).then_some(())?;
        Self::decode_trusted(bytes)
    }

    /// Reads a record whose checksum is known to be right.
    pub(crate) fn decode_trusted(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.u32()?;
        (reader.u32()? as usize == bytes.len()).then_some(())?;
        let (kind, _zero, count) = (reader.u8()?, reader.u8()?, reader.u16()?);
        match kind {
            MESSAGE_KIND => {
                let targets = reader.take(count as usize * TARGET_BYTES)?;
                (count > 0).then(|| Self::Message { targets, payload: reader.rest() })
            }
            QUEUE_DEFINED_KIND => {
                let (id, priority) = (reader.u32()?, reader.u32()?);
                Some(Self::QueueDefined { id, priority, endpoint: str::from_utf8(reader.rest()).ok()? })
            }
            QUEUE_REMOVED_KIND => Some(Self::QueueRemoved { id: reader.u32()?, below: reader.u64()? }),
            CLOCK_KIND => Some(Self::Clock { wall_skew_ms: reader.i64()? }),
            QUEUE_SPILLED_KIND => Some(Self::QueueSpilled { id: reader.u32()?, below: reader.u64()? }),
            _ => None,
        }
    }

    /// Expiry and payload of a message for a queue; `None` when it is not for it.
    pub(crate) fn message_for(&self, queue: u32) -> Option<(UnixMs, &'a [u8])> {
        let (_, expires_at) = self.targets().find(|(id, _)| *id == queue)?;
        match self {
            Self::Message { payload, .. } => Some((expires_at, payload)),
            _ => None,
        }
    }

    /// Queue id and expiry of every target of a message; nothing for other kinds.
    pub fn targets(&self) -> impl Iterator<Item = (u32, UnixMs)> + use<'a> {
        let bytes = match self {
            Self::Message { targets, .. } => targets,
            _ => &[][..],
        };
        bytes.as_chunks::<TARGET_BYTES>().0.iter().map(|target| {
            let [q0, q1, q2, q3, expiry @ ..] = *target;
            (u32::from_le_bytes([q0, q1, q2, q3]), UnixMs(u64::from_le_bytes(expiry)))
        })
    }
}

/// Iterator over the records of a batch: offset, bytes and content. Ends early at a damaged record,
/// [`Records::is_exhausted`] tells.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    offset: usize,
    trusted: bool,
}

impl<'a> Records<'a> {
    /// Records that are packed in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, trusted: false }
    }

    /// Records whose checksums have been checked before.
    pub(crate) fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, trusted: true }
    }

    /// Whether all bytes were read as records.
    pub fn is_exhausted(&self) -> bool {
        self.offset == self.bytes.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, &'a [u8], RecordView<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let len = self.bytes.get(offset + 4..)?.first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let record = self.bytes.get(offset..)?.get(..len)?;
        let view =
            if self.trusted { RecordView::decode_trusted(record) } else { RecordView::decode(record) }?;
        self.offset += len;
        Some((offset, record, view))
    }
}

/// Completes the record that begins at `start` and ends with the buffer: length, kind, targets, checksum.
pub(crate) fn finish_record(buf: &mut [u8], start: usize, kind: u8, targets: u16) {
    let len = (buf.len() - start) as u32;
    patch_u32(buf, start + 4, len);
    patch_u32(buf, start + 8, u32::from(kind) | u32::from(targets) << 16);
    let crc = crc32fast::hash(buf.get(start + 4..).unwrap_or_default());
    patch_u32(buf, start, crc);
}

/// Appends a record that defines a queue.
pub(crate) fn put_queue_defined(buf: &mut Vec<u8>, id: u32, priority: u32, endpoint: &str) {
    let start = buf.len();
    buf.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    buf.extend_from_slice(&id.to_le_bytes());
    buf.extend_from_slice(&priority.to_le_bytes());
    buf.extend_from_slice(endpoint.as_bytes());
    finish_record(buf, start, QUEUE_DEFINED_KIND, 0);
}

/// Appends a record that removes a queue.
pub(crate) fn put_queue_removed(buf: &mut Vec<u8>, id: u32, below: u64) {
    put_limit(buf, QUEUE_REMOVED_KIND, id, below);
}

/// Appends a record that moves what a queue has below a number to its spill files.
pub(crate) fn put_queue_spilled(buf: &mut Vec<u8>, id: u32, below: u64) {
    put_limit(buf, QUEUE_SPILLED_KIND, id, below);
}

fn put_limit(buf: &mut Vec<u8>, kind: u8, id: u32, below: u64) {
    let start = buf.len();
    buf.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    buf.extend_from_slice(&id.to_le_bytes());
    buf.extend_from_slice(&below.to_le_bytes());
    finish_record(buf, start, kind, 0);
}

/// Appends a record that says how far the wall clock is ahead of store time.
pub(crate) fn put_clock(buf: &mut Vec<u8>, wall_skew_ms: i64) {
    let start = buf.len();
    buf.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    buf.extend_from_slice(&wall_skew_ms.to_le_bytes());
    finish_record(buf, start, CLOCK_KIND, 0);
}
