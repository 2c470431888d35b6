//! Spill files: LZ4 frames with messages, everything else in skippable frames. See `docs/store-format.md`, section 12.

use std::io::{self, Read, Write};

use edgehub_types::UnixMs;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::bytes::{Reader, patch_u32};
use super::segment::SegmentHeaderError;
use super::{FORMAT_VERSION, NUMBER_MAX};
use crate::config::{PAYLOAD_BYTES_MAX, QUEUES_MAX};

const HEADER_FRAME: u32 = 0x184D_2A50;
const BLOCK_FRAME: u32 = 0x184D_2A51;
const FOOTER_FRAME: u32 = 0x184D_2A52;
/// Magic and length of a skippable frame.
const FRAME_HEAD_BYTES: usize = 8;
const HEADER_CONTENT_BYTES: usize = 48;
const BLOCK_CONTENT_BYTES: usize = 88;
const HEADER_MAGIC: [u8; 8] = *b"EDGEHUBS";
const BLOCK_MAGIC: [u8; 4] = *b"EHS1";
const FOOTER_MAGIC: [u8; 8] = *b"EHSFOOT1";
/// Entries of one block, uncompressed.
const BLOCK_RAW_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (1 << 20);

/// Bytes of the frame at the start of a spill file.
pub const SPILL_HEADER_BYTES: usize = FRAME_HEAD_BYTES + HEADER_CONTENT_BYTES;
/// Bytes of the frame before each block.
pub const BLOCK_HEADER_BYTES: usize = FRAME_HEAD_BYTES + BLOCK_CONTENT_BYTES;
/// Bytes at the end of a complete file that tell of its footer.
pub(crate) const FOOTER_TAIL_BYTES: usize = 16;
/// Bytes of an entry beside its payload.
pub(crate) const ENTRY_HEAD_BYTES: usize = 20;

/// What the first frame of a spill file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillHeader {
    /// Id of the queue.
    pub queue: u32,
    /// Number of the file.
    pub number: u64,
    /// Random number of the folder.
    pub salt: u64,
    /// Time of creation, milliseconds.
    pub created_ms: u64,
}

impl SpillHeader {
    /// Appends the frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_frame_head(out, HEADER_FRAME, HEADER_CONTENT_BYTES);
        let start = out.len();
        out.extend_from_slice(&HEADER_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        let prefix_crc = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&prefix_crc.to_le_bytes());
        let mut body = Vec::with_capacity(28);
        body.extend_from_slice(&self.queue.to_le_bytes());
        for field in [self.number, self.salt, self.created_ms] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        out.extend_from_slice(&body);
    }

    /// Reads the frame at the start of `bytes`.
    ///
    /// # Errors
    /// [`SegmentHeaderError::Newer`], [`SegmentHeaderError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let content = frame_content(bytes, HEADER_FRAME, HEADER_CONTENT_BYTES);
        let content = content.ok_or(SegmentHeaderError::Damaged)?;
        let (prefix, body) = content.split_at(16);
        let mut reader = Reader::new(prefix);
        let magic = reader.take(8);
        let (version, crc) = (reader.u32().unwrap_or_default(), reader.u32());
        if magic != Some(&HEADER_MAGIC[..]) || crc != Some(crc32fast::hash(&prefix[..12])) {
            return Err(SegmentHeaderError::Damaged);
        }
        if version > FORMAT_VERSION {
            return Err(SegmentHeaderError::Newer { found: version });
        }
        Self::decode_body(body).ok_or(SegmentHeaderError::Damaged)
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        (reader.u32()? == crc32fast::hash(body.get(4..)?)).then_some(())?;
        let header = Self {
            queue: reader.u32()?,
            number: reader.u64()?,
            salt: reader.u64()?,
            created_ms: reader.u64()?,
        };
        (1..=QUEUES_MAX).contains(&(header.queue as usize)).then_some(header)
    }
}

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Random number of the folder.
    pub salt: u64,
    /// Where in the file the frame of this header begins.
    pub offset: u64,
    /// The block has what was wanted of the numbers from here ..
    pub first_seq: u64,
    /// .. up to here, exclusive.
    pub end_seq: u64,
    /// Number of messages.
    pub count: u32,
    /// Bytes of the entries.
    pub raw_bytes: u32,
    /// Bytes of the LZ4 frame behind this header.
    pub frame_bytes: u32,
    /// Checksum of that frame.
    pub frame_crc: u32,
    /// When the first message was written to the journal.
    pub first_written_ms: u64,
    /// When the last one was.
    pub last_written_ms: u64,
    /// The first expiry.
    pub first_expiry: UnixMs,
    /// The last one.
    pub last_expiry: UnixMs,
}

impl BlockHeader {
    /// Appends the frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_frame_head(out, BLOCK_FRAME, BLOCK_CONTENT_BYTES);
        self.put_content(out);
    }

    fn put_content(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&BLOCK_MAGIC);
        out.extend_from_slice(&[0; 4]);
        for field in [self.salt, self.offset, self.first_seq, self.end_seq] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.count, self.raw_bytes, self.frame_bytes, self.frame_crc] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let (first, last) = (self.first_expiry.0, self.last_expiry.0);
        for field in [self.first_written_ms, self.last_written_ms, first, last] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(out.get(start + 8..).unwrap_or_default());
        patch_u32(out, start + 4, crc);
    }

    /// Reads the frame at the start of `bytes`; `None` unless magic, checksum and numbers are right.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode_content(frame_content(bytes, BLOCK_FRAME, BLOCK_CONTENT_BYTES)?)
    }

    fn decode_content(content: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(content);
        (reader.take(4)? == &BLOCK_MAGIC[..]).then_some(())?;
        (reader.u32()? == crc32fast::hash(content.get(8..)?)).then_some(())?;
        let header = Self {
            salt: reader.u64()?,
            offset: reader.u64()?,
            first_seq: reader.u64()?,
            end_seq: reader.u64()?,
            count: reader.u32()?,
            raw_bytes: reader.u32()?,
            frame_bytes: reader.u32()?,
            frame_crc: reader.u32()?,
            first_written_ms: reader.u64()?,
            last_written_ms: reader.u64()?,
            first_expiry: UnixMs(reader.u64()?),
            last_expiry: UnixMs(reader.u64()?),
        };
        header.is_sound().then_some(header)
    }

    fn is_sound(&self) -> bool {
        self.first_seq <= self.end_seq
            && self.end_seq < NUMBER_MAX
            && u64::from(self.count) <= self.end_seq - self.first_seq
            && self.raw_bytes as usize <= BLOCK_RAW_BYTES_MAX
            && self.frame_bytes as usize <= BLOCK_RAW_BYTES_MAX * 2
            && (self.count == 0) == (self.frame_bytes == 0)
    }

    /// Where the LZ4 frame begins.
    pub fn frame_offset(&self) -> u64 {
        self.offset + BLOCK_HEADER_BYTES as u64
    }

    /// Where the block ends.
    pub fn end_offset(&self) -> u64 {
        self.frame_offset() + u64::from(self.frame_bytes)
    }
}

/// The end of a complete file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FooterTail {
    blocks: u32,
    crc: u32,
}

impl FooterTail {
    /// Reads the last bytes of a file; `None` when it has no footer.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let tail = Self { blocks: reader.u32()?, crc: reader.u32()? };
        (reader.rest() == FOOTER_MAGIC).then_some(tail)
    }

    /// Bytes of the block headers in the footer, which lie right before the tail.
    pub fn headers_bytes(self) -> u64 {
        u64::from(self.blocks) * BLOCK_CONTENT_BYTES as u64
    }

    /// The block headers, from [`FooterTail::headers_bytes`] bytes.
    pub fn headers(self, bytes: &[u8]) -> Option<Vec<BlockHeader>> {
        (crc32fast::hash(bytes) == self.crc).then_some(())?;
        bytes
            .as_chunks::<BLOCK_CONTENT_BYTES>()
            .0
            .iter()
            .map(|one| BlockHeader::decode_content(one))
            .collect()
    }
}

/// Appends the footer of a complete file.
pub(crate) fn put_footer(out: &mut Vec<u8>, blocks: &[BlockHeader]) {
    let bytes = blocks.len() * BLOCK_CONTENT_BYTES;
    put_frame_head(out, FOOTER_FRAME, bytes + FOOTER_TAIL_BYTES);
    let start = out.len();
    for block in blocks {
        block.put_content(out);
    }
    let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&FOOTER_MAGIC);
}

/// A message in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillEntry<'a> {
    /// Its number, less the first one of the block.
    pub seq_delta: u32,
    /// When it was written to the journal, less the first such time of the block, milliseconds.
    pub written_delta_ms: u32,
    /// When it must no longer be delivered.
    pub expires_at: UnixMs,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> SpillEntry<'a> {
    /// Reads the entry at the start of `bytes`; also says how long it is.
    pub fn decode(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut reader = Reader::new(bytes);
        let len = reader.u32()? as usize;
        let (seq_delta, written_delta_ms) = (reader.u32()?, reader.u32()?);
        let expires_at = UnixMs(reader.u64()?);
        let payload = reader.take(len)?;
        Some((Self { seq_delta, written_delta_ms, expires_at, payload }, ENTRY_HEAD_BYTES + len))
    }
}

/// Appends an entry.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &SpillEntry<'_>) {
    out.extend_from_slice(&(entry.payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&entry.seq_delta.to_le_bytes());
    out.extend_from_slice(&entry.written_delta_ms.to_le_bytes());
    out.extend_from_slice(&entry.expires_at.0.to_le_bytes());
    out.extend_from_slice(entry.payload);
}

/// The entries of a block with their offsets; ends at the first that is not whole.
#[derive(Debug, Clone)]
pub struct SpillEntries<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> SpillEntries<'a> {
    /// Entries that are packed in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl<'a> Iterator for SpillEntries<'a> {
    type Item = (usize, SpillEntry<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let (entry, len) = SpillEntry::decode(self.bytes.get(offset..)?)?;
        self.offset += len;
        Some((offset, entry))
    }
}

/// Makes LZ4 frames; its tables and buffers serve one after the other.
pub(crate) struct FrameMaker {
    encoder: FrameEncoder<Vec<u8>>,
}

impl FrameMaker {
    pub fn new() -> Self {
        let info = FrameInfo::new()
            .block_size(BlockSize::Max64KB)
            .block_mode(BlockMode::Independent)
            .content_checksum(true);
        Self { encoder: FrameEncoder::with_frame_info(info, Vec::new()) }
    }

    /// Appends a frame that holds `raw` to `out`.
    pub fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        std::mem::swap(self.encoder.get_mut(), out);
        // Writing to a vector does not fail.
        let written = self.encoder.write_all(raw);
        let finished = self.encoder.try_finish();
        debug_assert!(written.is_ok() && finished.is_ok());
        std::mem::swap(self.encoder.get_mut(), out);
    }
}

/// The entries of a block from its LZ4 frame; `None` unless checksum, length and content are right.
pub(crate) fn decompress(header: &BlockHeader, frame: &[u8]) -> Option<Vec<u8>> {
    (crc32fast::hash(frame) == header.frame_crc).then_some(())?;
    let mut raw = vec![0; header.raw_bytes as usize];
    read_frame(frame, &mut raw).ok()?;
    Some(raw)
}

fn read_frame(frame: &[u8], raw: &mut [u8]) -> io::Result<()> {
    let mut decoder = FrameDecoder::new(frame);
    decoder.read_exact(raw)?;
    let more = decoder.read(&mut [0])?;
    if more == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn put_frame_head(out: &mut Vec<u8>, magic: u32, content_bytes: usize) {
    out.extend_from_slice(&magic.to_le_bytes());
    out.extend_from_slice(&(content_bytes as u32).to_le_bytes());
}

fn frame_content(bytes: &[u8], magic: u32, content_bytes: usize) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let right = reader.u32()? == magic && reader.u32()? as usize == content_bytes;
    right.then_some(())?;
    reader.take(content_bytes)
}
