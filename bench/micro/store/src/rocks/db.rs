//! A safe face of the C interface: one database with its column families and one write batch.

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::ffi;
use crate::BenchError;

const MAX_TOTAL_WAL_BYTES: u64 = 512 << 20;
const MAX_MANIFEST_BYTES: usize = 64 << 20;
const OPEN_FILES_MAX: i32 = 5000;

fn failed(action: &'static str, reason: String) -> BenchError {
    BenchError::Contender { contender: "rocksdb", action, reason }
}

/// Collects the error of one call.
struct Outcome(*mut c_char);

impl Outcome {
    fn new() -> Self {
        Self(ptr::null_mut())
    }

    fn result(self, action: &'static str) -> Result<(), BenchError> {
        if self.0.is_null() {
            return Ok(());
        }
        // SAFETY: the library set it to a string that ends in zero and is ours to free.
        let reason = unsafe {
            let reason = CStr::from_ptr(self.0).to_string_lossy().into_owned();
            ffi::rocksdb_free(self.0);
            reason
        };
        Err(failed(action, reason))
    }
}

fn text(bytes: &[u8]) -> *const c_char {
    bytes.as_ptr().cast()
}

/// # Safety
/// `start` is valid for `bytes` bytes for as long as `'a`, or `bytes` is 0.
unsafe fn view<'a>(start: *const c_char, bytes: usize) -> &'a [u8] {
    if bytes == 0 {
        return &[];
    }
    // SAFETY: as the caller promised.
    unsafe { std::slice::from_raw_parts(start.cast(), bytes) }
}

/// Settings as the hub sets them that this project replaces, on a 64-bit machine.
struct Options(*mut ffi::Options);

impl Options {
    fn new() -> Self {
        // SAFETY: a fresh object is given to its own setters.
        unsafe {
            let options = ffi::rocksdb_options_create();
            ffi::rocksdb_options_set_create_if_missing(options, 1);
            ffi::rocksdb_options_set_create_missing_column_families(options, 1);
            ffi::rocksdb_options_set_max_total_wal_size(options, MAX_TOTAL_WAL_BYTES);
            ffi::rocksdb_options_set_max_manifest_file_size(options, MAX_MANIFEST_BYTES);
            ffi::rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
            ffi::rocksdb_options_set_keep_log_file_num(options, 1);
            ffi::rocksdb_options_set_info_log_level(options, ffi::LOG_NOTHING);
            ffi::rocksdb_options_set_compression(options, ffi::SNAPPY);
            Self(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once.
        unsafe { ffi::rocksdb_options_destroy(self.0) }
    }
}

/// A database. Families are named by their place in the list it was opened with.
///
/// Invariant: all pointers were made by the library and are destroyed only in `drop`.
pub struct Db {
    handle: *mut ffi::Db,
    families: Vec<*mut ffi::Family>,
    writing: *mut ffi::WriteOptions,
    reading: *mut ffi::ReadOptions,
    batch: *mut ffi::WriteBatch,
    _options: Options,
}

impl Db {
    /// Opens or makes the database with these families; the first must be `default`.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn open(folder: &Path, names: &[String]) -> Result<Self, BenchError> {
        let no_zero = |_| failed("open", "a name contains a zero".to_owned());
        let path = CString::new(folder.as_os_str().as_bytes()).map_err(no_zero)?;
        let names: Vec<CString> = names
            .iter()
            .map(|name| CString::new(name.as_str()))
            .collect::<Result<_, _>>()
            .map_err(no_zero)?;
        let starts: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let options = Options::new();
        let all_options = vec![options.0.cast_const(); names.len()];
        let mut families = vec![ptr::null_mut(); names.len()];
        let count = c_int::try_from(names.len()).unwrap_or(c_int::MAX);
        let mut outcome = Outcome::new();
        // SAFETY: the three lists have the length that is told, and live through the call with what they point to.
        let handle = unsafe {
            ffi::rocksdb_open_column_families(
                options.0,
                path.as_ptr(),
                count,
                starts.as_ptr(),
                all_options.as_ptr(),
                families.as_mut_ptr(),
                &raw mut outcome.0,
            )
        };
        outcome.result("open")?;
        // SAFETY: constructors without conditions; the library's defaults are what is wanted.
        let (writing, reading, batch) = unsafe {
            (
                ffi::rocksdb_writeoptions_create(),
                ffi::rocksdb_readoptions_create(),
                ffi::rocksdb_writebatch_create(),
            )
        };
        Ok(Self { handle, families, writing, reading, batch, _options: options })
    }

    /// Writes one value at once: to the log, without a sync.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn put(&mut self, family: usize, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        let mut outcome = Outcome::new();
        // SAFETY: see the invariant; key and value live through the call.
        unsafe {
            ffi::rocksdb_put_cf(
                self.handle,
                self.writing,
                self.families[family],
                text(key),
                key.len(),
                text(value),
                value.len(),
                &raw mut outcome.0,
            );
        }
        outcome.result("put")
    }

    /// Deletes one value at once.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn delete(&mut self, family: usize, key: &[u8]) -> Result<(), BenchError> {
        let mut outcome = Outcome::new();
        let family = self.families[family];
        // SAFETY: see the invariant; the key lives through the call.
        unsafe {
            ffi::rocksdb_delete_cf(
                self.handle,
                self.writing,
                family,
                text(key),
                key.len(),
                &raw mut outcome.0,
            );
        }
        outcome.result("delete")
    }

    /// Adds a value to the batch.
    pub fn batch_put(&mut self, family: usize, key: &[u8], value: &[u8]) {
        let family = self.families[family];
        // SAFETY: see the invariant; the library copies key and value.
        unsafe {
            ffi::rocksdb_writebatch_put_cf(
                self.batch,
                family,
                text(key),
                key.len(),
                text(value),
                value.len(),
            );
        }
    }

    /// Adds a deletion to the batch.
    pub fn batch_delete(&mut self, family: usize, key: &[u8]) {
        // SAFETY: see the invariant; the library copies the key.
        unsafe { ffi::rocksdb_writebatch_delete_cf(self.batch, self.families[family], text(key), key.len()) };
    }

    /// Writes the batch, which is empty afterwards.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn batch_write(&mut self) -> Result<(), BenchError> {
        let mut outcome = Outcome::new();
        // SAFETY: see the invariant.
        unsafe {
            ffi::rocksdb_write(self.handle, self.writing, self.batch, &raw mut outcome.0);
            ffi::rocksdb_writebatch_clear(self.batch);
        }
        outcome.result("write a batch")
    }

    /// Hands a value to `receive`; false if there is none.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn get(&self, family: usize, key: &[u8], receive: impl FnOnce(&[u8])) -> Result<bool, BenchError> {
        let (mut outcome, mut bytes) = (Outcome::new(), 0);
        let family = self.families[family];
        // SAFETY: see the invariant; the key lives through the call.
        let slice = unsafe {
            ffi::rocksdb_get_pinned_cf(
                self.handle,
                self.reading,
                family,
                text(key),
                key.len(),
                &raw mut outcome.0,
            )
        };
        outcome.result("get")?;
        if slice.is_null() {
            return Ok(false);
        }
        // SAFETY: the slice holds its value until it is destroyed, which is after its last use here.
        unsafe {
            receive(view(ffi::rocksdb_pinnableslice_value(slice, &raw mut bytes), bytes));
            ffi::rocksdb_pinnableslice_destroy(slice);
        }
        Ok(true)
    }

    /// Hands entries of a family to `receive`, in order of their keys from `from` on, until it returns false.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn scan(
        &self,
        family: usize,
        from: &[u8],
        mut receive: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), BenchError> {
        let mut outcome = Outcome::new();
        // SAFETY: see the invariant; key and value are valid until the iterator moves, which is after their last use.
        unsafe {
            let iterator = ffi::rocksdb_create_iterator_cf(self.handle, self.reading, self.families[family]);
            ffi::rocksdb_iter_seek(iterator, text(from), from.len());
            while ffi::rocksdb_iter_valid(iterator) != 0 {
                let (mut key_bytes, mut value_bytes) = (0, 0);
                let key = ffi::rocksdb_iter_key(iterator, &raw mut key_bytes);
                let value = ffi::rocksdb_iter_value(iterator, &raw mut value_bytes);
                if !receive(view(key, key_bytes), view(value, value_bytes)) {
                    break;
                }
                ffi::rocksdb_iter_next(iterator);
            }
            ffi::rocksdb_iter_get_error(iterator, &raw mut outcome.0);
            ffi::rocksdb_iter_destroy(iterator);
        }
        outcome.result("scan")
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // SAFETY: see the invariant; families go before their database.
        unsafe {
            ffi::rocksdb_writebatch_destroy(self.batch);
            ffi::rocksdb_writeoptions_destroy(self.writing);
            ffi::rocksdb_readoptions_destroy(self.reading);
            for family in &self.families {
                ffi::rocksdb_column_family_handle_destroy(*family);
            }
            ffi::rocksdb_close(self.handle);
        }
    }
}
