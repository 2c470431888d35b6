//! Files of a folder that this process alone has open.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use edgehub_types::{Storage, StorageFile};

use crate::StoreError;

const LOCK_NAME: &str = "lock";

/// The files of one folder, locked against other processes as long as this value lives.
#[derive(Debug)]
pub struct FileStorage {
    folder: PathBuf,
    handle: File,
    /// Its lock goes when it is closed, also when the process is killed.
    _lock: File,
}

impl FileStorage {
    /// Opens the folder, making it durably (mode 700) when it is missing, and locks it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when it is in use; [`StoreError::Folder`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Folder { folder: folder.to_owned(), source };
        make_folder(folder).map_err(failed)?;
        let handle = File::open(folder).map_err(failed)?;
        let lock = open_file(&folder.join(LOCK_NAME), true).map_err(failed)?;
        match try_lock(&lock) {
            Ok(()) => Ok(Self { folder: folder.to_owned(), handle, _lock: lock }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(StoreError::Locked { folder: folder.to_owned() })
            }
            Err(source) => Err(failed(source)),
        }
    }
}

impl Storage for FileStorage {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(DiskFile { file: open_file(&self.folder.join(name), create)? }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        names(&self.folder)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

#[derive(Debug)]
pub(super) struct DiskFile {
    pub file: File,
}

impl StorageFile for DiskFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len <= now {
            return self.file.set_len(len);
        }
        match allocate(&self.file, now, len - now) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => self.file.set_len(len),
            other => other,
        }
    }
}

/// The names in a folder.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        // What is not UTF-8 is not ours.
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Makes a folder and those it lies in, so that they survive a loss of power.
fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|path| !path.exists()).collect();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn open_file(path: &Path, create: bool) -> io::Result<File> {
    // Never truncated at open: what is there may be a journal.
    OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(path)
}

/// Takes the lock of an open file, or fails with `WouldBlock`.
fn try_lock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the duration of the call, and flock touches no memory of ours.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Allocates space for a range of a file and extends it; reads as zeros.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (to_off64(offset)?, to_off64(len)?);
    loop {
        // SAFETY: the descriptor is open for the duration of the call, and fallocate touches no memory of ours.
        let result = unsafe { libc::fallocate64(file.as_raw_fd(), 0, offset, len) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn to_off64(n: u64) -> io::Result<libc::off64_t> {
    libc::off64_t::try_from(n).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_storage(name: &str, test: impl FnOnce(&FileStorage)) {
        let folder = std::env::temp_dir().join(format!("edgehub-files-{}-{name}", std::process::id()));
        let storage = FileStorage::open(&folder.join("a/b")).unwrap();
        test(&storage);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn files_grow_with_zeros_and_shrink() {
        with_storage("grow", |storage| {
            let file = storage.open("x", true).unwrap();
            file.write_all_at(b"abc", 0).unwrap();
            file.set_len(10).unwrap();
            assert_eq!(file.len().unwrap(), 10);
            let mut bytes = [9; 20];
            assert_eq!(file.read_at(&mut bytes, 1).unwrap(), 9);
            assert_eq!(&bytes[..9], b"bc\0\0\0\0\0\0\0");
            file.set_len(2).unwrap();
            file.sync_data().unwrap();
            assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 2);
            assert_eq!(file.read_at(&mut bytes, 5).unwrap(), 0);
        });
    }

    #[test]
    fn names_come_and_go() {
        with_storage("names", |storage| {
            assert_eq!(
                storage.open("x", false).err().map(|error| error.kind()),
                Some(io::ErrorKind::NotFound)
            );
            drop(storage.open("x", true).unwrap());
            storage.rename("x", "y").unwrap();
            storage.sync_dir().unwrap();
            let mut names = storage.list().unwrap();
            names.sort();
            assert_eq!(names, ["lock", "y"]);
            storage.remove("y").unwrap();
            assert_eq!(storage.list().unwrap(), ["lock"]);
        });
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_named_in_the_error() {
        with_storage("file", |storage| {
            drop(storage.open("x", true).unwrap());
            let error = FileStorage::open(&storage.folder.join("x")).unwrap_err();
            assert!(matches!(error, StoreError::Folder { .. }));
            assert!(error.to_string().contains("/a/b/x"), "{error}");
        });
    }

    #[test]
    fn an_open_file_outlives_its_name() {
        with_storage("unlinked", |storage| {
            let file = storage.open("x", true).unwrap();
            file.write_all_at(b"abc", 0).unwrap();
            storage.remove("x").unwrap();
            let mut bytes = [0; 3];
            file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"abc");
        });
    }
}
