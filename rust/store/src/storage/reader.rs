//! Files of a folder that somebody else may have open: to look at, never to change.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use edgehub_types::{Storage, StorageFile};

use super::file::{DiskFile, names};

/// The files of one folder. Nothing is locked, and everything that would change something is refused.
#[derive(Debug)]
pub struct FolderReader {
    folder: PathBuf,
}

impl FolderReader {
    /// Does not look at the folder yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for FolderReader {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        if create {
            return refused();
        }
        Ok(Box::new(ReadOnlyFile { file: DiskFile { file: File::open(self.folder.join(name))? } }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        names(&self.folder)
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self) -> io::Result<()> {
        refused()
    }
}

struct ReadOnlyFile {
    file: DiskFile,
}

impl StorageFile for ReadOnlyFile {
    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        refused()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_refused() {
        let folder = std::env::temp_dir().join(format!("edgehub-reader-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("x"), b"abc").unwrap();
        let reader = FolderReader::new(&folder);
        let file = reader.open("x", false).unwrap();
        let mut bytes = [0; 4];
        assert_eq!((file.read_at(&mut bytes, 0).unwrap(), &bytes[..3]), (3, &b"abc"[..]));
        let refusals = [
            file.write_all_at(b"y", 0),
            file.sync_data(),
            file.set_len(1),
            reader.open("y", true).map(drop),
            reader.remove("x"),
            reader.rename("x", "y"),
            reader.sync_dir(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.map_err(|error| error.kind()), Err(io::ErrorKind::ReadOnlyFilesystem));
        }
        assert_eq!(reader.list().unwrap(), ["x"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
