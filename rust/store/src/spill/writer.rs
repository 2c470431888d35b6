//! Writing spill files, block by block.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use edgehub_types::{Storage, StorageFile, UnixMs};

use super::{SpillFile, read_blocks, spill_name};
use crate::StoreError;
use crate::batch::QueueId;
use crate::config::SpillConfig;
use crate::format::{
    BlockHeader, FrameMaker, SPILL_HEADER_BYTES, SpillEntry, SpillHeader, put_entry, put_footer,
};

/// Where and for whom files are written.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub storage: &'a dyn Storage,
    pub config: SpillConfig,
    pub queue: QueueId,
    pub salt: u64,
    pub now_ms: u64,
}

/// A message on its way into a spill file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub seq: u64,
    pub written_ms: u64,
    pub expires_at: UnixMs,
    pub payload: &'a [u8],
}

/// Where a block came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrittenBlock {
    pub file: u64,
    pub offset: u64,
    pub first_seq: u64,
    pub end_seq: u64,
}

struct Open {
    file: Box<dyn StorageFile>,
    name: String,
    /// Length that it had before, 0 = it is new.
    bytes_before: u64,
}

/// Appends messages of one queue to its spill files. Nothing counts before [`SpillWriter::finish`] returned.
pub(crate) struct SpillWriter<'a> {
    target: Target<'a>,
    /// Files that were written, the last one is open for more.
    pub files: Vec<SpillFile>,
    pub blocks: Vec<WrittenBlock>,
    open: Vec<Open>,
    raw: Vec<u8>,
    block: Option<BlockHeader>,
    end_seq: u64,
    out: Vec<u8>,
    frames: FrameMaker,
}

impl<'a> SpillWriter<'a> {
    /// Begins where `last` ends if it is not complete, otherwise in a new file. `first_seq` is the first number that
    /// is covered.
    pub fn new(target: Target<'a>, last: Option<SpillFile>, first_seq: u64) -> Self {
        let files = last.filter(|file| !file.complete).into_iter().collect();
        let (open, blocks, raw, out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            target,
            files,
            blocks,
            open,
            raw,
            block: None,
            end_seq: first_seq,
            out,
            frames: FrameMaker::new(),
        }
    }

    /// Adds a message; its number is above those before. `next_number` gives numbers to new files.
    ///
    /// # Errors
    /// Of a write; retryable ones want space.
    pub fn push(&mut self, message: &Message<'_>, next_number: &AtomicU64) -> Result<(), StoreError> {
        let Message { seq, written_ms, expires_at, payload } = *message;
        let first_seq = self.block.map_or(self.end_seq, |block| block.first_seq);
        if seq - first_seq > u64::from(u32::MAX) {
            // A gap that no delta can span gets a block of its own, or goes to the one before.
            self.end_seq = seq;
            self.block.get_or_insert(empty_block(self.target.salt, first_seq));
            self.flush(next_number)?;
        } else if self.raw.len() + payload.len() > self.target.config.block_bytes as usize {
            self.flush(next_number)?;
        }
        let fresh = BlockHeader {
            first_written_ms: written_ms,
            first_expiry: expires_at,
            ..empty_block(self.target.salt, self.end_seq)
        };
        let block = self.block.get_or_insert(fresh);
        let seq_delta = (seq - block.first_seq) as u32;
        let written_delta_ms = written_ms.saturating_sub(block.first_written_ms);
        let written_delta_ms = u32::try_from(written_delta_ms).unwrap_or(u32::MAX);
        block.count += 1;
        block.last_written_ms = block.last_written_ms.max(written_ms);
        block.first_expiry = block.first_expiry.min(expires_at);
        block.last_expiry = block.last_expiry.max(expires_at);
        self.end_seq = seq + 1;
        put_entry(&mut self.raw, &SpillEntry { seq_delta, written_delta_ms, expires_at, payload });
        Ok(())
    }

    /// Writes the block at hand.
    fn flush(&mut self, next_number: &AtomicU64) -> Result<(), StoreError> {
        let Some(mut block) = self.block.take() else { return Ok(()) };
        self.begin_file(block.first_seq, next_number)?;
        let Some((file, open)) = self.files.last_mut().zip(self.open.last()) else { return Ok(()) };
        self.out.clear();
        if block.count > 0 {
            self.frames.compress(&self.raw, &mut self.out);
        }
        block.offset = file.bytes;
        block.end_seq = self.end_seq;
        block.raw_bytes = self.raw.len() as u32;
        block.frame_bytes = self.out.len() as u32;
        block.frame_crc = crc32fast::hash(&self.out);
        self.raw.clear();
        block.encode(&mut self.raw);
        self.raw.append(&mut self.out);
        let written = open.file.write_all_at(&self.raw, block.offset);
        self.raw.clear();
        written.map_err(|source| refused(&open.name, source))?;
        file.add(&block);
        let BlockHeader { offset, first_seq, end_seq, .. } = block;
        self.blocks.push(WrittenBlock { file: file.number, offset, first_seq, end_seq });
        if file.bytes >= u64::from(self.target.config.file_bytes) {
            self.complete()?;
        }
        Ok(())
    }

    /// Sees to it that there is a file to append to.
    fn begin_file(&mut self, first_seq: u64, next_number: &AtomicU64) -> Result<(), StoreError> {
        let Target { storage, queue, salt, now_ms, .. } = self.target;
        match self.files.last() {
            Some(file) if !file.complete && self.open.is_empty() => {
                let name = spill_name(queue, file.number);
                let opened = storage.open(&name, false).map_err(|source| refused(&name, source))?;
                self.open.push(Open { file: opened, name, bytes_before: file.bytes });
            }
            Some(file) if !file.complete => {}
            _ => {
                let number = next_number.fetch_add(1, Ordering::Relaxed);
                let name = spill_name(queue, number);
                let file = storage.open(&name, true).map_err(|source| refused(&name, source))?;
                self.open.push(Open { file, name, bytes_before: 0 });
                self.files.push(SpillFile::new(number, first_seq, SPILL_HEADER_BYTES as u64));
                self.out.clear();
                SpillHeader { queue: queue.0, number, salt, created_ms: now_ms }.encode(&mut self.out);
                self.write_last(0)?;
            }
        }
        Ok(())
    }

    /// Writes `out` to the file at hand.
    fn write_last(&mut self, offset: u64) -> Result<(), StoreError> {
        let Some(open) = self.open.last() else { return Ok(()) };
        open.file.write_all_at(&self.out, offset).map_err(|source| refused(&open.name, source))
    }

    /// Writes the footer.
    fn complete(&mut self) -> Result<(), StoreError> {
        let Some((file, open)) = self.files.last_mut().zip(self.open.last()) else { return Ok(()) };
        let list = read_blocks(&*open.file, self.target.salt).map_err(StoreError::io("read", &open.name))?;
        file.complete = true;
        let at = file.bytes;
        self.out.clear();
        put_footer(&mut self.out, &list.blocks);
        self.write_last(at)
    }

    /// Writes what is left, so that everything below `upto` is covered, and makes all of it durable.
    ///
    /// # Errors
    /// Of a write or sync; the latter are for the caller to poison with.
    pub fn finish(&mut self, upto: u64, next_number: &AtomicU64) -> Result<(), StoreError> {
        self.end_seq = self.end_seq.max(upto);
        self.flush(next_number)?;
        for open in &self.open {
            open.file.sync_data().map_err(StoreError::io("sync", &open.name))?;
        }
        if self.open.iter().any(|open| open.bytes_before == 0) {
            self.target.storage.sync_dir().map_err(StoreError::io("sync", "the folder"))?;
        }
        Ok(())
    }

    /// Files and blocks that were written.
    pub fn into_parts(self) -> (Vec<SpillFile>, Vec<WrittenBlock>) {
        let Self { mut files, blocks, open, .. } = self;
        files.retain(|_| !open.is_empty());
        (files, blocks)
    }

    /// Takes back what was written.
    pub fn abandon(self) {
        for Open { file, name, bytes_before } in self.open {
            let undone = if bytes_before > 0 {
                file.set_len(bytes_before)
            } else {
                drop(file);
                self.target.storage.remove(&name)
            };
            if let Err(error) = undone {
                log::warn!("{name}: what was not needed stays for now: {error}");
            }
        }
    }
}

/// Puts a file without messages in the place of one that is not wanted any more, which covers the same numbers.
///
/// # Errors
/// Of the system; the old file is there then.
pub(crate) fn write_tombstone(target: &Target<'_>, file: &SpillFile) -> Result<u64, StoreError> {
    let Target { storage, queue, salt, now_ms, .. } = *target;
    let SpillFile { number, first_seq, end_seq, .. } = *file;
    let mut bytes = Vec::new();
    SpillHeader { queue: queue.0, number, salt, created_ms: now_ms }.encode(&mut bytes);
    let block = BlockHeader { offset: bytes.len() as u64, end_seq, ..empty_block(salt, first_seq) };
    block.encode(&mut bytes);
    put_footer(&mut bytes, &[block]);
    let name = spill_name(queue, number);
    let new = name.replace(".lz4", ".new");
    let made = storage.open(&new, true).map_err(|source| refused(&new, source))?;
    made.set_len(0).and_then(|()| made.write_all_at(&bytes, 0)).map_err(|source| refused(&new, source))?;
    made.sync_data().map_err(StoreError::io("sync", &new))?;
    storage.rename(&new, &name).map_err(StoreError::io("rename", &new))?;
    Ok(bytes.len() as u64)
}

fn empty_block(salt: u64, first_seq: u64) -> BlockHeader {
    BlockHeader {
        salt,
        offset: 0,
        first_seq,
        end_seq: first_seq,
        count: 0,
        raw_bytes: 0,
        frame_bytes: 0,
        frame_crc: 0,
        first_written_ms: 0,
        last_written_ms: 0,
        first_expiry: UnixMs(0),
        last_expiry: UnixMs(0),
    }
}

fn refused(name: &str, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::DiskFull { file: name.to_owned(), bytes: 0, source }
        }
        _ => StoreError::NoSegment { file: name.to_owned(), source },
    }
}
