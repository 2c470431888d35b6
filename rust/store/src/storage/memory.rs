//! Files that are buffers: a journal without persistence, behind the same code as one on disk.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile};
use parking_lot::{Mutex, RwLock};

#[derive(Clone, Default)]
struct MemoryFile {
    bytes: Arc<RwLock<Vec<u8>>>,
}

impl StorageFile for MemoryFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.bytes.write();
        let start = offset as usize;
        let end = start + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.bytes.read();
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.write().resize(len as usize, 0);
        Ok(())
    }
}

/// A folder in memory.
#[derive(Default)]
pub(crate) struct MemoryStorage {
    files: Mutex<HashMap<String, MemoryFile>>,
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for MemoryStorage {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        let mut files = self.files.lock();
        if create {
            return Ok(Box::new(files.entry(name.to_owned()).or_default().clone()));
        }
        files.get(name).map(|file| Box::new(file.clone()) as Box<dyn StorageFile>).ok_or_else(missing)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(missing)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}
