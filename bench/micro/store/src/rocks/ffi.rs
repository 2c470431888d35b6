//! The part of `rocksdb/c.h` (`RocksDB` 7 and 8) that is used.

use std::ffi::{c_char, c_int, c_uchar};

macro_rules! opaque {
    ($($name:ident),*) => { $(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        }
    )* };
}

opaque!(Db, Options, WriteOptions, ReadOptions, Family, Iterator, WriteBatch, Slice);

/// `rocksdb_snappy_compression`.
pub const SNAPPY: c_int = 1;
/// Log level above all that there are.
pub const LOG_NOTHING: c_int = 6;

#[link(name = "rocksdb")]
unsafe extern "C" {
    pub fn rocksdb_free(ptr: *mut c_char);

    pub fn rocksdb_options_create() -> *mut Options;
    pub fn rocksdb_options_destroy(options: *mut Options);
    pub fn rocksdb_options_set_create_if_missing(options: *mut Options, on: c_uchar);
    pub fn rocksdb_options_set_create_missing_column_families(options: *mut Options, on: c_uchar);
    pub fn rocksdb_options_set_max_total_wal_size(options: *mut Options, bytes: u64);
    pub fn rocksdb_options_set_max_manifest_file_size(options: *mut Options, bytes: usize);
    pub fn rocksdb_options_set_max_open_files(options: *mut Options, count: c_int);
    pub fn rocksdb_options_set_keep_log_file_num(options: *mut Options, count: usize);
    pub fn rocksdb_options_set_info_log_level(options: *mut Options, level: c_int);
    pub fn rocksdb_options_set_compression(options: *mut Options, kind: c_int);

    pub fn rocksdb_open_column_families(
        options: *const Options,
        path: *const c_char,
        count: c_int,
        names: *const *const c_char,
        family_options: *const *const Options,
        families: *mut *mut Family,
        error: *mut *mut c_char,
    ) -> *mut Db;
    pub fn rocksdb_column_family_handle_destroy(family: *mut Family);
    pub fn rocksdb_close(db: *mut Db);

    pub fn rocksdb_writeoptions_create() -> *mut WriteOptions;
    pub fn rocksdb_writeoptions_destroy(options: *mut WriteOptions);
    pub fn rocksdb_readoptions_create() -> *mut ReadOptions;
    pub fn rocksdb_readoptions_destroy(options: *mut ReadOptions);

    pub fn rocksdb_put_cf(
        db: *mut Db,
        options: *const WriteOptions,
        family: *mut Family,
        key: *const c_char,
        key_bytes: usize,
        value: *const c_char,
        value_bytes: usize,
        error: *mut *mut c_char,
    );
    pub fn rocksdb_delete_cf(
        db: *mut Db,
        options: *const WriteOptions,
        family: *mut Family,
        key: *const c_char,
        key_bytes: usize,
        error: *mut *mut c_char,
    );
    pub fn rocksdb_get_pinned_cf(
        db: *mut Db,
        options: *const ReadOptions,
        family: *mut Family,
        key: *const c_char,
        key_bytes: usize,
        error: *mut *mut c_char,
    ) -> *mut Slice;
    pub fn rocksdb_pinnableslice_value(slice: *const Slice, bytes: *mut usize) -> *const c_char;
    pub fn rocksdb_pinnableslice_destroy(slice: *mut Slice);

    pub fn rocksdb_writebatch_create() -> *mut WriteBatch;
    pub fn rocksdb_writebatch_destroy(batch: *mut WriteBatch);
    pub fn rocksdb_writebatch_clear(batch: *mut WriteBatch);
    pub fn rocksdb_writebatch_put_cf(
        batch: *mut WriteBatch,
        family: *mut Family,
        key: *const c_char,
        key_bytes: usize,
        value: *const c_char,
        value_bytes: usize,
    );
    pub fn rocksdb_writebatch_delete_cf(
        batch: *mut WriteBatch,
        family: *mut Family,
        key: *const c_char,
        key_bytes: usize,
    );
    pub fn rocksdb_write(
        db: *mut Db,
        options: *const WriteOptions,
        batch: *mut WriteBatch,
        error: *mut *mut c_char,
    );

    pub fn rocksdb_create_iterator_cf(
        db: *mut Db,
        options: *const ReadOptions,
        family: *mut Family,
    ) -> *mut Iterator;
    pub fn rocksdb_iter_destroy(iterator: *mut Iterator);
    pub fn rocksdb_iter_valid(iterator: *const Iterator) -> c_uchar;
    pub fn rocksdb_iter_seek(iterator: *mut Iterator, key: *const c_char, key_bytes: usize);
    pub fn rocksdb_iter_next(iterator: *mut Iterator);
    pub fn rocksdb_iter_key(iterator: *const Iterator, bytes: *mut usize) -> *const c_char;
    pub fn rocksdb_iter_value(iterator: *const Iterator, bytes: *mut usize) -> *const c_char;
    pub fn rocksdb_iter_get_error(iterator: *const Iterator, error: *mut *mut c_char);
}
