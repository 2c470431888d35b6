//! What the store is told at start.

use std::sync::Arc;

use edgehub_types::Storage;

/// Bytes of the largest payload of one message.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// Bytes of the largest batch, its head and tables included.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Targets of one message.
pub const TARGETS_MAX: usize = 1024;
/// Bytes of an endpoint's name.
pub const ENDPOINT_BYTES_MAX: usize = 1024;
/// Queues of a store, those of removed endpoints included.
pub const QUEUES_MAX: usize = 16_384;

/// When a batch counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After the `fdatasync` that covers it; one sync serves all batches that gathered during the last one.
    Group,
    /// After the write; `fdatasync` follows within the interval.
    Interval {
        /// Milliseconds between two syncs.
        interval_ms: u64,
    },
    /// After the write; only full segments are synced.
    None,
}

/// Where the journal lives.
#[derive(Clone)]
pub enum Media {
    /// In files of a folder.
    Disk(Arc<dyn Storage>),
    /// In memory; lost at the end of the process. The sync policy has no meaning then.
    Memory,
}

/// When old backlog moves to compressed files of its own, and how these are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillConfig {
    /// Complete journal segments that may hold wanted messages; with one more, the oldest is emptied.
    pub after_segments: usize,
    /// Index entries (16 bytes each) of all queues together; with more, what is durable is moved, longest queue first.
    pub index_entries: usize,
    /// There must have been too much for so long, milliseconds: what is fetched soon is not moved. It is moved at
    /// once when half of a limit is reached ([`StoreConfig::index_entries_max`],
    /// [`StoreConfig::memory_bytes_max`]).
    pub after_ms: u64,
    /// A file is complete from this size on, bytes (`4 KiB ..= 1 GiB`). Expired messages give their space back by whole files.
    pub file_bytes: u32,
    /// Messages that are compressed together, bytes (`256 ..= 1 MiB`); a longer message is alone.
    pub block_bytes: u32,
    /// Uncompressed blocks kept for consumers, bytes; one is kept in any case.
    pub cache_bytes: usize,
}

impl Default for SpillConfig {
    fn default() -> Self {
        Self {
            after_segments: 2,
            index_entries: 250_000,
            after_ms: 2000,
            file_bytes: 16 << 20,
            block_bytes: 64 << 10,
            cache_bytes: 1 << 20,
        }
    }
}

/// Settings of a [`crate::Store`].
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// When a batch counts as committed.
    pub sync: SyncPolicy,
    /// Under [`SyncPolicy::Group`], the least time from the start of one sync to the next, milliseconds;
    /// spares flash at the price of latency.
    pub sync_min_interval_ms: u64,
    /// Size of a journal segment, bytes (`4 KiB ..= 1 GiB`; others are brought into that range).
    pub segment_bytes: u32,
    /// How much of the newest part of the log is kept in memory for readers, bytes; 0 keeps none.
    pub tail_cache_bytes: usize,
    /// Index entries (16 bytes each) of all queues together. [`crate::Store::pressure`] is on from 7/8 of
    /// it; when full, `append` refuses with [`crate::StoreError::IndexFull`].
    pub index_entries_max: usize,
    /// Bytes accepted but not yet synced, under `Group` and `Interval`. [`crate::Store::pressure`] is on from
    /// here; from twice as much `append` refuses with [`crate::StoreError::Busy`].
    pub unsynced_bytes_max: usize,
    /// Bytes of segments with [`Media::Memory`]. `Store::pressure` is on from 7/8 of it; when reached, `append`
    /// refuses with [`crate::StoreError::MemoryFull`].
    pub memory_bytes_max: u64,
    /// Buffers of leases kept for the next ones, each of at most 128 KiB.
    pub scratches_max: usize,
    /// Under [`SyncPolicy::Group`], batches are written together in pieces of about this many bytes. The buffer for
    /// it keeps at most twice as much.
    pub write_bytes: usize,
    /// Under [`SyncPolicy::Group`], empty batches kept for senders; further ones are freed.
    pub recycled_batches_max: usize,
    /// Bytes that the buffer of such a batch keeps; what it has beyond is given back.
    pub recycled_batch_bytes_max: usize,
    /// When and how old backlog is moved out of the journal.
    pub spill: SpillConfig,
    /// Whether `open` starts the store's threads. Without it somebody must call [`crate::Store::tick`]:
    /// tests do, to have a store that runs on virtual time alone.
    pub background_thread: bool,
}

impl Default for StoreConfig {
    /// For a gateway with some memory to spend: group commit, 64 MiB segments.
    fn default() -> Self {
        Self {
            sync: SyncPolicy::Group,
            sync_min_interval_ms: 0,
            segment_bytes: 64 << 20,
            tail_cache_bytes: 4 << 20,
            index_entries_max: 8_000_000,
            unsynced_bytes_max: 64 << 20,
            memory_bytes_max: 1 << 30,
            scratches_max: 4,
            write_bytes: 1 << 20,
            recycled_batches_max: 8,
            recycled_batch_bytes_max: 256 << 10,
            spill: SpillConfig::default(),
            background_thread: true,
        }
    }
}

impl StoreConfig {
    /// For a small board: small segments and caches, so that the hub stays within 64 MB.
    pub fn small() -> Self {
        Self {
            segment_bytes: 8 << 20,
            tail_cache_bytes: 256 << 10,
            index_entries_max: 500_000,
            unsynced_bytes_max: 4 << 20,
            memory_bytes_max: 32 << 20,
            scratches_max: 2,
            write_bytes: 256 << 10,
            recycled_batches_max: 4,
            recycled_batch_bytes_max: 128 << 10,
            spill: SpillConfig {
                index_entries: 65_536,
                file_bytes: 4 << 20,
                cache_bytes: 128 << 10,
                ..SpillConfig::default()
            },
            ..Self::default()
        }
    }
}
