//! The seam for files. The store writes through it; tests put a disk behind it that loses power.

use std::io;

/// One open file, positioned access only.
pub trait StorageFile: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's error; how much was written is then unknown.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `buf` from `offset`; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// The system's error.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes everything written so far survive a loss of power (`fdatasync`).
    ///
    /// # Errors
    /// The system's error; the state on disk is then unknown and the caller must not acknowledge.
    fn sync_data(&self) -> io::Result<()>;

    /// Current length in bytes.
    ///
    /// # Errors
    /// The system's error.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    ///
    /// # Errors
    /// The system's error.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Sets the length: cuts, or extends with zeros (allocated where the system can do so).
    ///
    /// # Errors
    /// The system's error, for instance a full disk.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// A folder of files with flat names.
pub trait Storage: Send + Sync {
    /// Opens a file for reading and writing; with `create`, makes it when it is missing.
    ///
    /// # Errors
    /// The system's error.
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StorageFile>>;

    /// The names in the folder, in no order.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file within the folder, replacing what had the new name.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes creations, removals and renames survive a loss of power (`fsync` of the folder).
    ///
    /// # Errors
    /// The system's error.
    fn sync_dir(&self) -> io::Result<()>;

    /// Frees part of the memory that is kept for files to come, of which there is none unless files are memory.
    fn release_spares(&self) {}
}
