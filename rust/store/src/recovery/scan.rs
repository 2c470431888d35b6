//! Finding the batches of one segment, whatever is between them.

use std::io;
use std::ops::Range;

use edgehub_types::StorageFile;

use crate::format::{BATCH_HEADER_BYTES, BatchHeader, BatchView};

const WINDOW_BYTES: usize = 1 << 20;
const SECTOR_BYTES: usize = 512;
/// Tries to read a sector before it counts as unreadable: some faults pass.
const SECTOR_TRIES: u32 = 3;
const STEP: usize = 8;
const MAGIC: [u8; 4] = *b"EHB1";

/// A part of a file in memory. Sectors that the disk cannot read are read as zeros, and the error is kept.
pub(super) struct Window<'f> {
    file: &'f dyn StorageFile,
    bytes: Vec<u8>,
    start: u64,
    failed: Option<io::Error>,
    /// From the first to the last offset that cannot be read.
    bad: Range<u64>,
}

impl<'f> Window<'f> {
    pub fn new(file: &'f dyn StorageFile) -> Self {
        Self { file, bytes: Vec::new(), start: 0, failed: None, bad: 0..0 }
    }

    /// Bytes from `offset`; fewer than `len` only at the end of the file.
    pub fn get(&mut self, offset: u64, len: usize) -> &[u8] {
        let loaded = self.start..=self.start + self.bytes.len() as u64;
        if !(loaded.contains(&offset) && loaded.contains(&(offset + len as u64))) {
            self.load(offset, len.max(WINDOW_BYTES));
        }
        let from = (offset - self.start) as usize;
        let to = (from + len).min(self.bytes.len());
        self.bytes.get(from..to).unwrap_or_default()
    }

    fn load(&mut self, offset: u64, len: usize) {
        self.start = offset;
        self.bytes.clear();
        self.bytes.resize(len, 0);
        let got = match self.file.read_at(&mut self.bytes, offset) {
            Ok(got) => got,
            Err(_) => self.load_sectors(offset),
        };
        self.bytes.truncate(got);
    }

    fn load_sectors(&mut self, offset: u64) -> usize {
        let mut at = offset;
        for sector in self.bytes.chunks_mut(SECTOR_BYTES) {
            match read_sector(self.file, sector, at) {
                Ok(got) if got < sector.len() => return (at - offset) as usize + got,
                Ok(_) => {}
                Err(error) => {
                    sector.fill(0);
                    let end = at + sector.len() as u64;
                    let known = !self.bad.is_empty();
                    self.bad = if known { self.bad.start.min(at)..self.bad.end.max(end) } else { at..end };
                    self.failed = Some(error);
                }
            }
            at += sector.len() as u64;
        }
        (at - offset) as usize
    }
}

fn read_sector(file: &dyn StorageFile, sector: &mut [u8], at: u64) -> io::Result<usize> {
    let mut tries = 1;
    loop {
        match file.read_at(sector, at) {
            Err(_) if tries < SECTOR_TRIES => tries += 1,
            other => return other,
        }
    }
}

/// What a scan comes across.
pub(crate) enum Found<'a> {
    /// A whole batch.
    Batch(BatchView<'a>),
    /// Something else, with a batch or an announced length behind it.
    Damaged {
        address: u64,
        bytes: u64,
        /// The batch's header could be read, and said this.
        durable: Option<u64>,
    },
    /// No further batch; so many bytes up to the last one that is not zero, or cannot be read. Where there are leftovers, those
    /// of a damaged header.
    Rest { address: u64, nonzero: u64 },
}

/// Walks over the batches of a segment.
pub(crate) struct Scan<'f> {
    window: Window<'f>,
    base: u64,
    salt: u64,
    offset: u64,
    end: u64,
    leftovers: bool,
}

impl<'f> Scan<'f> {
    /// From `offset` up to `end`, both offsets in the file. `salt` is that of the segment's batches.
    pub fn new(file: &'f dyn StorageFile, base: u64, salt: u64, offset: u64, end: u64) -> Self {
        Self { window: Window::new(file), base, salt, offset, end, leftovers: false }
    }

    /// With `leftovers`, what is behind the last batch may be from an earlier use of the file, and counts as zeros.
    #[must_use]
    pub fn with_leftovers(self, leftovers: bool) -> Self {
        Self { leftovers, ..self }
    }

    /// What the disk could not read so far.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.window.failed.take()
    }

    /// Where the unreadable part of so many bytes from an address ends, if there is one. What lies between two unreadable
    /// sectors counts as unreadable.
    pub fn unreadable_end(&self, address: u64, bytes: u64) -> Option<u64> {
        let (start, bad) = (address - self.base, &self.window.bad);
        let touched = bad.start < start + bytes && start < bad.end;
        touched.then(|| self.base + bad.end.min(start + bytes))
    }

    /// The next find, in order; `None` at the end.
    pub fn next(&mut self) -> Option<Found<'_>> {
        if self.offset >= self.end {
            return None;
        }
        let start = self.offset;
        let address = self.base + start;
        let Some(header) = self.header_at(start) else { return Some(self.skip(start)) };
        let bytes = u64::from(header.bytes).min(self.end - start);
        self.offset = start + bytes;
        let damaged = Found::Damaged { address, bytes, durable: Some(header.durable) };
        let batch = BatchView::decode(header, self.window.get(start, header.bytes as usize));
        Some(batch.filter(|_| bytes == u64::from(header.bytes)).map_or(damaged, Found::Batch))
    }

    fn skip(&mut self, start: u64) -> Found<'static> {
        let address = self.base + start;
        let mut nonzero = 0;
        let mut at = start;
        while at < self.end {
            let len = ((self.end - at) as usize).min(WINDOW_BYTES);
            let (candidate, last) = search(self.window.get(at, len), at == start);
            if let Some(offset) = candidate.map(|offset| at + offset as u64) {
                if self.header_at(offset).is_some() {
                    self.offset = offset;
                    return Found::Damaged { address, bytes: offset - start, durable: None };
                }
                nonzero = offset + STEP as u64 - start;
                at = offset + STEP as u64;
                continue;
            }
            if let Some(last) = last {
                nonzero = at + last as u64 - start;
            }
            at += len as u64;
        }
        self.offset = self.end;
        let nonzero = if self.leftovers { self.own_header_bytes(start) } else { nonzero };
        // What cannot be read is not known to be zero.
        let unreadable = self.unreadable_end(address, self.end - start).map_or(0, |end| end - address);
        Found::Rest { address, nonzero: nonzero.max(unreadable).min(self.end - start) }
    }

    /// Bytes of a damaged batch header of this segment, told from leftovers by its salt or its address.
    fn own_header_bytes(&mut self, offset: u64) -> u64 {
        let (salt, address) = (self.salt.to_le_bytes(), (self.base + offset).to_le_bytes());
        let bytes = self.window.get(offset, BATCH_HEADER_BYTES);
        let own = bytes.get(8..16) == Some(&salt) || bytes.get(16..24) == Some(&address);
        if own { bytes.len() as u64 } else { 0 }
    }

    fn header_at(&mut self, offset: u64) -> Option<BatchHeader> {
        let (salt, address) = (self.salt, self.base + offset);
        let header = BatchHeader::decode(self.window.get(offset, BATCH_HEADER_BYTES))?;
        (header.salt == salt && header.address == address).then_some(header)
    }
}

/// Offset of the next thing that looks like a batch (not at zero when `skip_first`), and the end of the last
/// step before it that is not zero.
fn search(bytes: &[u8], skip_first: bool) -> (Option<usize>, Option<usize>) {
    let mut last = None;
    for (index, step) in bytes.chunks(STEP).enumerate() {
        let at = index * STEP;
        if step.starts_with(&MAGIC) && !(skip_first && at == 0) {
            return (Some(at), last);
        }
        if step.iter().any(|byte| *byte != 0) {
            last = Some(at + step.len());
        }
    }
    (None, last)
}

/// Salt and base address of a segment whose header is damaged, from the first batch in it. A known salt must
/// match: what a message carries is no evidence.
///
/// # Errors
/// The disk's: what cannot be read is not known to be empty.
pub(super) fn find_origin(
    file: &dyn StorageFile,
    len: u64,
    salt: Option<u64>,
) -> io::Result<Option<(u64, u64)>> {
    let mut window = Window::new(file);
    let mut at = 0;
    while at < len {
        let (candidate, _) = search(window.get(at, WINDOW_BYTES), false);
        if let Some(error) = window.failed.take() {
            return Err(error);
        }
        let Some(offset) = candidate.map(|offset| at + offset as u64) else {
            at += WINDOW_BYTES as u64;
            continue;
        };
        let header = BatchHeader::decode(window.get(offset, BATCH_HEADER_BYTES));
        let known = header.filter(|header| salt.is_none_or(|salt| salt == header.salt));
        if let Some((salt, base)) = known.and_then(|h| Some((h.salt, h.address.checked_sub(offset)?))) {
            return Ok(Some((salt, base)));
        }
        at = offset + STEP as u64;
    }
    Ok(None)
}

/// Bytes of a file up to its last one that is not zero.
///
/// # Errors
/// The disk's.
pub(super) fn nonzero_bytes(file: &dyn StorageFile, len: u64) -> io::Result<u64> {
    let mut window = Window::new(file);
    let (mut at, mut nonzero) = (0, 0);
    while at < len {
        let bytes = window.get(at, WINDOW_BYTES);
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            nonzero = at + last as u64 + 1;
        }
        if let Some(error) = window.failed.take() {
            return Err(error);
        }
        at += WINDOW_BYTES as u64;
    }
    Ok(nonzero)
}
