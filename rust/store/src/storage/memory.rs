//! Files that are buffers: a journal without persistence, behind the same code as one on disk.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile};
use parking_lot::{Mutex, RwLock};

use crate::upkeep::release_some;

/// Buffers of removed files that the next ones use again.
const SPARES_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = 2 << 20;

#[derive(Default)]
struct Buffer {
    bytes: RwLock<Vec<u8>>,
}

#[derive(Clone, Default)]
struct MemoryFile {
    buffer: Arc<Buffer>,
}

impl StorageFile for MemoryFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.buffer.bytes.write();
        let start = offset as usize;
        let end = start + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.buffer.bytes.read();
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.buffer.bytes.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.buffer.bytes.write().resize(len as usize, 0);
        Ok(())
    }
}

/// A folder in memory.
#[derive(Default)]
pub(crate) struct MemoryStorage {
    files: Mutex<HashMap<String, MemoryFile>>,
    spares: Mutex<Vec<Vec<u8>>>,
}

impl MemoryStorage {
    fn create(&self) -> MemoryFile {
        let bytes = self.spares.lock().pop().unwrap_or_default();
        MemoryFile { buffer: Arc::new(Buffer { bytes: RwLock::new(bytes) }) }
    }

    /// Keeps the memory of a file that nobody has open.
    fn recycle(&self, file: MemoryFile) {
        let Some(buffer) = Arc::into_inner(file.buffer) else { return };
        let mut bytes = buffer.bytes.into_inner();
        let mut spares = self.spares.lock();
        if spares.len() < SPARES_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            spares.push(bytes);
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for MemoryStorage {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>> {
        let mut files = self.files.lock();
        if create {
            return Ok(Box::new(files.entry(name.to_owned()).or_insert_with(|| self.create()).clone()));
        }
        files.get(name).map(|file| Box::new(file.clone()) as Box<dyn StorageFile>).ok_or_else(missing)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let file = self.files.lock().remove(name).ok_or_else(missing)?;
        self.recycle(file);
        Ok(())
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

    fn release_spares(&self) {
        release_some(&mut self.spares.lock());
    }
}
