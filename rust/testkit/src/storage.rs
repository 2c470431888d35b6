//! A folder in memory that forgets what was not synced, fills up, and fails on command.
//!
//! It keeps two images: the live one, which the running program sees, and the durable one. Every change that is only
//! in the live one is kept as an operation, in order; `sync_data` and `sync_dir` move operations over. What a loss of
//! power would leave is the durable image and some of the operations, see [`FaultyStorage::after_power_cut`].

use std::io;
use std::ops::Range;
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile};
use parking_lot::Mutex;

use crate::disk::{Disk, FileId, Op, Platter};
use crate::fault::{Call, Fault, FaultPlan};
use crate::history::{History, Moments};
use crate::storage_crash::PowerCut;

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

    /// Files may have so many bytes together; `set_len` and writes beyond it fail as on a full disk.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.disk.lock().bytes_max = bytes_max;
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.disk.lock().live().bytes()
    }

    /// After so many writes, allocations and syncs, all further ones fail in this way. `None` ends it.
    pub fn set_fault(&self, fault: Option<(u64, Fault)>) {
        let calls = [Call::Write, Call::SetLen, Call::SyncData, Call::SyncDir];
        self.plan_fault(fault.map(|(skip, fault)| FaultPlan::new(&calls, skip, u64::MAX, fault)));
    }

    /// Calls that are to fail from now on, instead of those planned before. `None` ends it.
    pub fn plan_fault(&self, plan: Option<FaultPlan>) {
        self.disk.lock().plan = plan;
    }

    /// From now on reads that touch these bytes of a file fail, as those of a bad sector. Unknown names are ignored.
    pub fn set_unreadable(&self, name: &str, bytes: Range<u64>) {
        let mut disk = self.disk.lock();
        if let Some(file) = disk.live().names.get(name).copied() {
            disk.unreadable.push((file, bytes));
        }
    }

    /// Calls of one kind so far.
    pub fn calls(&self, call: Call) -> u64 {
        self.disk.lock().counts.get(call)
    }

    /// The names that files had when a write or sync of them failed as planned.
    pub fn failed_files(&self) -> Vec<String> {
        self.disk.lock().failed.iter().cloned().collect()
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.calls(Call::Write)
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.calls(Call::SyncData)
    }

    /// Operations that a loss of power may undo.
    pub fn unsynced_ops(&self) -> usize {
        self.disk.lock().platter.ops.len()
    }

    /// From now on everything that happens is remembered, for [`FaultyStorage::moments`].
    pub fn record(&self) {
        let mut disk = self.disk.lock();
        disk.history = Some(History { start: disk.platter.clone(), events: Vec::new() });
    }

    /// Changes and syncs since [`FaultyStorage::record`]; 0 without it.
    pub fn moment(&self) -> usize {
        self.disk.lock().history.as_ref().map_or(0, |history| history.events.len())
    }

    /// All moments since [`FaultyStorage::record`]; only the present one without it.
    pub fn moments(&self) -> Moments {
        let disk = self.disk.lock();
        let now = || History { start: disk.platter.clone(), events: Vec::new() };
        Moments::new(disk.history.clone().unwrap_or_else(now))
    }

    /// The folder that the end of the process leaves: everything written is there, and what was not synced can still be
    /// lost with power.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        Self::from_disk(Disk::from_platter(self.disk.lock().platter.clone()))
    }

    /// A folder that a loss of power now would leave.
    #[must_use]
    pub fn after_power_cut(&self, cut: PowerCut) -> Self {
        let disk = self.disk.lock();
        Self::from_disk(Disk::from_image(cut.image(&disk.platter.durable, &disk.platter.ops)))
    }

    /// Content of a file; `None` when there is none of that name.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk.lock();
        let file = disk.live().names.get(name)?;
        Some(disk.live().contents.get(file).cloned().unwrap_or_default())
    }

    /// Replaces the content of a file behind the program's back, durably; makes it when it is missing. It is no part of a
    /// history that is recorded.
    pub fn set_content(&self, name: &str, content: &[u8]) {
        let mut disk = self.disk.lock();
        let known = disk.live().names.get(name).copied();
        let file = known.unwrap_or_else(|| disk.new_file());
        disk.platter.ops.retain(|op| op.file() != Some(file));
        let Platter { live, durable, .. } = &mut disk.platter;
        for image in [live, durable] {
            image.names.insert(name.to_owned(), file);
            image.contents.insert(file, content.to_vec());
        }
    }
}

impl Storage for FaultyStorage {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        let file = self.disk.lock().open(name, create)?;
        Ok(Box::new(FaultyFile { disk: Arc::clone(&self.disk), file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.lock().call(Call::List, |disk| Ok(disk.live().names.keys().cloned().collect()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.lock().change_name(Call::Remove, name, Op::Unlink { name: name.to_owned() })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let op = Op::Rename { from: from.to_owned(), to: to.to_owned() };
        self.disk.lock().change_name(Call::Rename, from, op)
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
        self.disk.lock().read(self.file, buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.lock().sync_data(self.file)
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.lock().call(Call::Len, |disk| {
            Ok(disk.live().contents.get(&self.file).map_or(0, |content| content.len() as u64))
        })
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
    fn after_a_kill_power_still_takes_what_was_not_synced() {
        let storage = FaultyStorage::new();
        let file = storage.open("a", true).unwrap();
        storage.sync_dir().unwrap();
        file.write_all_at(b"xy", 0).unwrap();
        let killed = storage.after_kill();
        assert_eq!(read(&killed.after_power_cut(PowerCut::all_lost()), "a"), Some(Vec::new()));
        killed.open("a", false).unwrap().sync_data().unwrap();
        assert_eq!(read(&killed.after_power_cut(PowerCut::all_lost()), "a"), Some(b"xy".to_vec()));
        assert_eq!(storage.unsynced_ops(), 1, "they are two folders now");
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

    #[test]
    fn one_call_of_a_kind_can_fail() {
        let storage = FaultyStorage::new();
        let file = storage.open("a", true).unwrap();
        storage.plan_fault(Some(FaultPlan::new(&[Call::Write], 1, 1, Fault::Short)));
        file.write_all_at(b"abc", 0).unwrap();
        assert_eq!(file.write_all_at(b"def", 3).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_all_at(b"g", 6).unwrap();
        assert_eq!(read(&storage, "a"), Some(b"abcde\0g".to_vec()));
        assert_eq!((storage.calls(Call::Write), storage.calls(Call::Open)), (3, 1));
        assert_eq!(storage.failed_files(), ["a"]);
    }

    #[test]
    fn what_is_told_too_late_was_done() {
        let storage = FaultyStorage::new();
        let file = storage.open("a", true).unwrap();
        storage.plan_fault(Some(FaultPlan::new(&Call::ALL, 0, u64::MAX, Fault::Late)));
        file.write_all_at(b"x", 0).unwrap_err();
        file.sync_data().unwrap_err();
        storage.sync_dir().unwrap_err();
        assert_eq!(read(&storage.after_power_cut(PowerCut::all_lost()), "a"), Some(b"x".to_vec()));
    }
}
