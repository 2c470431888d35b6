//! A folder in memory that forgets what was not synced, fills up, and fails on command.
//!
//! It keeps two images: the live one, which the running program sees, and the durable one. Every change that is only
//! in the live one is kept as an operation, in order; `sync_data` and `sync_dir` move operations over. What a loss of
//! power would leave is the durable image and some of the operations, see [`FaultyStorage::after_power_cut`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile};
use parking_lot::Mutex;

use crate::storage_crash::PowerCut;

/// Number of a file's content; names point to it.
pub(crate) type FileId = u64;

/// A change that is not durable yet.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write { file: FileId, offset: u64, bytes: Vec<u8> },
    SetLen { file: FileId, len: u64 },
    Link { name: String, file: FileId },
    Unlink { name: String },
    Rename { from: String, to: String },
}

impl Op {
    fn file(&self) -> Option<FileId> {
        match self {
            Self::Write { file, .. } | Self::SetLen { file, .. } => Some(*file),
            _ => None,
        }
    }
}

/// Names and contents at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub names: BTreeMap<String, FileId>,
    pub contents: HashMap<FileId, Vec<u8>>,
}

impl Image {
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { file, offset, bytes } => {
                let content = self.contents.entry(*file).or_default();
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
            Op::SetLen { file, len } => self.contents.entry(*file).or_default().resize(*len as usize, 0),
            Op::Link { name, file } => {
                self.names.insert(name.clone(), *file);
            }
            Op::Unlink { name } => {
                self.names.remove(name);
            }
            Op::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
        }
    }

    /// Bytes of all files that have a name.
    pub fn bytes(&self) -> u64 {
        self.names
            .values()
            .filter_map(|file| self.contents.get(file))
            .map(|content| content.len() as u64)
            .sum()
    }
}

/// What an operation that is made to fail does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Fails; a write leaves some of its bytes.
    Error,
    /// Fails for want of space; nothing is written.
    NoSpace,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub live: Image,
    pub durable: Image,
    pub ops: Vec<Op>,
    next_file: FileId,
    bytes_max: Option<u64>,
    /// Changing operations until the fault, and what it does.
    fault: Option<(u64, Fault)>,
    /// Bytes of files that cannot be read.
    unreadable: Vec<(FileId, Range<u64>)>,
    writes: u64,
    syncs: u64,
}

impl Disk {
    pub fn from_image(image: Image) -> Self {
        let next_file = image.contents.keys().max().map_or(1, |last| last + 1);
        Self { live: image.clone(), durable: image, next_file, ..Self::default() }
    }

    fn change(&mut self, op: Op) {
        self.live.apply(&op);
        self.ops.push(op);
    }

    /// Counts an operation towards the planned fault, and says which happens now.
    fn fault_now(&mut self) -> Option<Fault> {
        let (left, fault) = self.fault.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        Some(*fault)
    }

    fn write(&mut self, file: FileId, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writes += 1;
        match self.fault_now() {
            None => {
                self.change(Op::Write { file, offset, bytes: bytes.to_vec() });
                Ok(())
            }
            Some(Fault::Error) => {
                let part = bytes[..bytes.len() / 2].to_vec();
                self.change(Op::Write { file, offset, bytes: part });
                Err(io::Error::other("planned fault of a write"))
            }
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        let now = self.live.contents.get(&file).map_or(0, |content| content.len() as u64);
        let grown = self.live.bytes() + len.saturating_sub(now);
        if len > now && self.bytes_max.is_some_and(|max| grown > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match self.fault_now() {
            None => {
                self.change(Op::SetLen { file, len });
                Ok(())
            }
            Some(Fault::Error) => Err(io::Error::other("planned fault of an allocation")),
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn sync_data(&mut self, file: FileId) -> io::Result<()> {
        self.syncs += 1;
        let failed = self.fault_now().is_some();
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ops).into_iter().partition(|op| op.file() == Some(file));
        self.ops = others;
        if failed {
            // As Linux does: what could not be written is forgotten, the next sync succeeds without it.
            return Err(io::Error::other("planned fault of a sync"));
        }
        for op in &own {
            self.durable.apply(op);
        }
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if self.fault_now().is_some() {
            return Err(io::Error::other("planned fault of a folder sync"));
        }
        let (files, names): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ops).into_iter().partition(|op| op.file().is_some());
        self.ops = files;
        for op in &names {
            self.durable.apply(op);
        }
        Ok(())
    }
}

/// A folder that can lose power. Clones are the same folder.
#[derive(Debug, Clone, Default)]
pub struct FaultyStorage {
    disk: Arc<Mutex<Disk>>,
}

impl FaultyStorage {
    /// An empty folder without limit.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn from_disk(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Files may have so many bytes together; `set_len` beyond it fails as on a full disk.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.disk.lock().bytes_max = bytes_max;
    }

    /// After so many writes, allocations and syncs, all further ones fail in this way. `None` ends it.
    pub fn set_fault(&self, fault: Option<(u64, Fault)>) {
        self.disk.lock().fault = fault;
    }

    /// From now on reads that touch these bytes of a file fail, as those of a bad sector. Unknown names are ignored.
    pub fn set_unreadable(&self, name: &str, bytes: Range<u64>) {
        let mut disk = self.disk.lock();
        if let Some(file) = disk.live.names.get(name).copied() {
            disk.unreadable.push((file, bytes));
        }
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.disk.lock().writes
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    /// Operations that a loss of power may undo.
    pub fn unsynced_ops(&self) -> usize {
        self.disk.lock().ops.len()
    }

    /// The folder that the end of the process leaves: everything written is there.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        Self::from_disk(Disk::from_image(self.disk.lock().live.clone()))
    }

    /// A folder that a loss of power now would leave.
    #[must_use]
    pub fn after_power_cut(&self, cut: PowerCut) -> Self {
        let disk = self.disk.lock();
        Self::from_disk(Disk::from_image(cut.image(&disk.durable, &disk.ops)))
    }

    /// Content of a file; `None` when there is none of that name.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk.lock();
        let file = disk.live.names.get(name)?;
        Some(disk.live.contents.get(file).cloned().unwrap_or_default())
    }

    /// Replaces the content of a file behind the program's back, durably; makes it when it is missing.
    pub fn set_content(&self, name: &str, content: &[u8]) {
        let mut disk = self.disk.lock();
        let file = disk.live.names.get(name).copied().unwrap_or(disk.next_file);
        disk.next_file = disk.next_file.max(file + 1);
        disk.ops.retain(|op| op.file() != Some(file));
        let Disk { live, durable, .. } = &mut *disk;
        for image in [live, durable] {
            image.names.insert(name.to_owned(), file);
            image.contents.insert(file, content.to_vec());
        }
    }
}

impl Storage for FaultyStorage {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        let file = match disk.live.names.get(name) {
            Some(file) => *file,
            None if create => {
                let file = disk.next_file;
                disk.next_file += 1;
                disk.change(Op::Link { name: name.to_owned(), file });
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(FaultyFile { disk: Arc::clone(&self.disk), file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.lock().live.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if !disk.live.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change(Op::Unlink { name: name.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if !disk.live.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change(Op::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.lock().sync_names()
    }
}

struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    file: FileId,
}

impl StorageFile for FaultyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.lock().write(self.file, bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.lock();
        let end = offset + buf.len() as u64;
        if disk.unreadable.iter().any(|(file, bad)| *file == self.file && bad.start < end && offset < bad.end)
        {
            return Err(io::Error::other("planned fault of a read"));
        }
        let content = disk.live.contents.get(&self.file).map(Vec::as_slice).unwrap_or_default();
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.lock().sync_data(self.file)
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        Ok(disk.live.contents.get(&self.file).map_or(0, |content| content.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.lock().set_len(self.file, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(storage: &FaultyStorage, name: &str) -> Option<Vec<u8>> {
        storage.content(name)
    }

    #[test]
    fn a_kill_keeps_what_was_written() {
        let storage = FaultyStorage::new();
        storage.open("a", true).unwrap().write_all_at(b"xy", 1).unwrap();
        assert_eq!(read(&storage.after_kill(), "a"), Some(b"\0xy".to_vec()));
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced() {
        let storage = FaultyStorage::new();
        let file = storage.open("a", true).unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(
            read(&storage.after_power_cut(PowerCut::all_lost()), "a"),
            None,
            "its name was not synced"
        );
        storage.sync_dir().unwrap();
        file.write_all_at(b"lost", 4).unwrap();
        assert_eq!(read(&storage.after_power_cut(PowerCut::all_lost()), "a"), Some(b"kept".to_vec()));
    }

    #[test]
    fn a_failed_sync_never_makes_its_data_durable() {
        let storage = FaultyStorage::new();
        let file = storage.open("a", true).unwrap();
        storage.sync_dir().unwrap();
        file.write_all_at(b"x", 0).unwrap();
        storage.set_fault(Some((0, Fault::Error)));
        file.sync_data().unwrap_err();
        storage.set_fault(None);
        file.sync_data().unwrap();
        assert_eq!(read(&storage.after_power_cut(PowerCut::all_lost()), "a"), Some(Vec::new()));
    }

    #[test]
    fn a_full_disk_refuses_to_allocate() {
        let storage = FaultyStorage::new();
        storage.set_bytes_max(Some(10));
        let file = storage.open("a", true).unwrap();
        file.set_len(10).unwrap();
        assert_eq!(file.set_len(11).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
