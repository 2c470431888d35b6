//! The files of segments and their headers.

use std::io;

use edgehub_types::{Storage, StorageFile};

use crate::StoreError;
use crate::format::{
    SEGMENT_HEADER_BYTES_MAX, SEGMENT_NUMBER_AT, SegmentHeader, SegmentHeaderError, batch_salt,
};
use crate::recovery::scan::{Scan, nonzero_bytes};
use crate::segment::WriteTimes;

const HEADER_READ_BYTES: usize = 4096;

/// A file that a segment should be in.
pub(crate) struct SegmentFile {
    pub number: u64,
    pub name: String,
    pub file: Box<dyn StorageFile>,
}

/// A segment as read.
pub(crate) struct Part {
    pub number: u64,
    pub name: String,
    pub file: Box<dyn StorageFile>,
    pub len: u64,
    pub base: u64,
    pub header: Option<SegmentHeader>,
    /// The file was made ready for its next use and holds nothing.
    pub prepared: bool,
    /// Offset behind the last good batch.
    pub end: u64,
    /// The disk could not read all of it; then nothing is cut off.
    pub unreadable: bool,
    /// When its batches were written.
    pub times: WriteTimes,
}

impl Part {
    /// What its batches carry.
    pub fn batch_salt(&self, folder_salt: u64) -> u64 {
        batch_salt(folder_salt, self.number)
    }

    /// Whether what is behind the last batch tells nothing, as it may be from an earlier use of the file.
    pub fn has_leftovers(&self) -> bool {
        self.header.as_ref().is_none_or(|header| header.reused)
    }

    /// Walks over its batches from one offset to another.
    pub fn scan(&self, folder_salt: u64, from: u64, to: u64) -> Scan<'_> {
        let salt = self.batch_salt(folder_salt);
        Scan::new(&*self.file, self.base, salt, from, to).with_leftovers(self.has_leftovers())
    }

    /// Bytes up to the last one that is not zero, in a file of which nothing else is known.
    ///
    /// # Errors
    /// The disk's.
    pub fn unknown_bytes(&self) -> io::Result<u64> {
        let reused = self.prepared || self.header.as_ref().is_some_and(|header| header.reused);
        if reused { Ok(0) } else { nonzero_bytes(&*self.file, self.len) }
    }

    /// Whether the file has not been used again since its header was read. Whoever does so writes the header first.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_same(&self) -> io::Result<bool> {
        self.header.as_ref().map_or(Ok(true), |header| has_number(&*self.file, header.number))
    }

    pub fn data_start(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| u64::from(header.header_bytes))
    }
}

/// Whether a segment file still has this number.
///
/// # Errors
/// The disk's.
pub(crate) fn has_number(file: &dyn StorageFile, number: u64) -> io::Result<bool> {
    let mut now = [0; 8];
    file.read_at(&mut now, SEGMENT_NUMBER_AT)?;
    Ok(u64::from_le_bytes(now) == number)
}

/// Opens all segments. Also says which number is free.
pub(super) fn open_segments(storage: &dyn Storage) -> Result<(Vec<SegmentFile>, u64), StoreError> {
    let (mut files, mut next_number) = (Vec::new(), 1);
    for name in storage.list().map_err(StoreError::io("list", "the folder"))? {
        let Some((number, readable)) = segment_number(&name) else { continue };
        next_number = next_number.max(number + 1);
        if readable {
            let file = storage.open(&name, false).map_err(StoreError::io("open", &name))?;
            files.push(SegmentFile { number, name, file });
        }
    }
    Ok((files, next_number))
}

/// Reads the headers. Returns also how many of the files were used again since the folder was listed, which only somebody
/// can come across who does not hold its lock.
pub(super) fn read_parts(files: Vec<SegmentFile>) -> Result<(Vec<Part>, u64), StoreError> {
    let (mut parts, mut gone) = (Vec::with_capacity(files.len()), 0);
    for SegmentFile { number, name, file } in files {
        let len = file.len().map_err(StoreError::io("measure", &name))?;
        let header = read_header(&*file, &name, len)?;
        if header.as_ref().is_some_and(|header| header.number > number) {
            gone += 1;
            continue;
        }
        let prepared = header.as_ref().is_some_and(|header| header.number < number);
        let header = header.filter(|_| !prepared);
        let base = header.as_ref().map_or(0, |header| header.base);
        parts.push(Part {
            number,
            name,
            file,
            len,
            base,
            header,
            prepared,
            end: 0,
            unreadable: false,
            times: WriteTimes::default(),
        });
    }
    parts.sort_by_key(|part| part.number);
    Ok((parts, gone))
}

/// Number of a segment, and whether it is one to read.
pub(crate) fn segment_number(name: &str) -> Option<(u64, bool)> {
    let (digits, kind) = name.strip_prefix("journal-")?.split_once('.')?;
    let readable = match kind {
        "seg" => true,
        "bad" => false,
        _ => return None,
    };
    let right = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| right)?, readable))
}

/// The header of a segment; `None` when it is damaged.
///
/// # Errors
/// [`StoreError::NewerFormat`]; [`StoreError::Io`] when the disk cannot read it, which is no reason to take it for
/// damaged: the fault may pass.
pub(super) fn read_header(
    file: &dyn StorageFile,
    name: &str,
    len: u64,
) -> Result<Option<SegmentHeader>, StoreError> {
    let read = |bytes: usize| {
        let mut header = vec![0; bytes];
        let got = file.read_at(&mut header, 0).map_err(StoreError::io("read", name))?;
        header.truncate(got);
        Ok::<_, StoreError>(SegmentHeader::decode(&header))
    };
    let mut decoded = read(HEADER_READ_BYTES.min(len as usize))?;
    if let Err(SegmentHeaderError::Short { needed }) = decoded
        && needed as u64 <= len
    {
        decoded = read(needed.min(SEGMENT_HEADER_BYTES_MAX))?;
    }
    match decoded {
        Ok(header) => Ok(Some(header)),
        Err(SegmentHeaderError::Newer { found }) => Err(StoreError::NewerFormat {
            file: name.to_owned(),
            found,
            known: crate::format::FORMAT_VERSION,
        }),
        Err(_) => Ok(None),
    }
}
