//! Totals since the store was opened.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals and current values; see [`crate::Store::stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Messages written.
    pub appended_msgs: u64,
    /// Entries made in queues: messages times targets.
    pub appended_entries: u64,
    /// Batches of messages written.
    pub batches: u64,
    /// Bytes written to the journal.
    pub bytes_written: u64,
    /// Write calls on the journal.
    pub writes: u64,
    /// Read calls on the journal, for messages that were not in the tail cache.
    pub reads: u64,
    /// `fdatasync` calls.
    pub syncs: u64,
    /// Time spent in them, nanoseconds.
    pub sync_ns_total: u64,
    /// The longest of them, nanoseconds.
    pub sync_ns_max: u64,
    /// Segments now.
    pub segments: u64,
    /// Bytes that they may fill.
    pub disk_bytes: u64,
    /// Segments that were unlinked.
    pub unlinked: u64,
    /// Segments whose file became the next one.
    pub reused: u64,
    /// Messages now in queues, counted once per queue.
    pub live_messages: u64,
    /// Index entries now.
    pub index_entries: u64,
    /// Bytes accepted and not yet synced.
    pub unsynced_bytes: u64,
    /// Entries that the store dropped because their time had passed.
    pub expired: u64,
    /// Entries dropped because their endpoint was removed.
    pub removed: u64,
    /// Entries whose record could not be read any more; what a recovery found is in [`crate::Recovery`].
    pub damaged: u64,
    /// Entries that consumers gave up, for whatever cause ([`crate::Queue::ack_lost`]).
    pub given_up: u64,
    /// Bytes that the messages take and that the quota counts: those of all files in which something is wanted, without
    /// what is prepared and not yet written.
    pub used_bytes: u64,
    /// The quota in force for them; `u64::MAX` = none.
    pub quota_bytes: u64,
    /// Batches refused because the quota was used up.
    pub quota_refused: u64,
    /// Entries dropped to make room ([`crate::OverflowPolicy`]).
    pub quota_dropped: u64,
    /// Entries found at start.
    pub recovered: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Bytes of memory kept for later use (empty buffers, the newest part of the log), as of the last step of upkeep,
    /// at most two seconds ago.
    pub kept_bytes: u64,
    /// Steps of the wall clock.
    pub clock_steps: u64,
    /// Entries moved to spill files.
    pub spilled: u64,
    /// Spill files now.
    pub spill_files: u64,
    /// Their bytes.
    pub spill_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub appended_msgs: AtomicU64,
    pub appended_entries: AtomicU64,
    pub batches: AtomicU64,
    pub bytes_written: AtomicU64,
    pub writes: AtomicU64,
    pub reads: AtomicU64,
    pub syncs: AtomicU64,
    pub sync_ns_total: AtomicU64,
    pub sync_ns_max: AtomicU64,
    pub unlinked: AtomicU64,
    pub reused: AtomicU64,
    pub expired: AtomicU64,
    pub removed: AtomicU64,
    pub damaged: AtomicU64,
    pub given_up: AtomicU64,
    pub quota_refused: AtomicU64,
    pub quota_dropped: AtomicU64,
    pub recovered: AtomicU64,
    pub checkpoints: AtomicU64,
    pub kept_bytes: AtomicU64,
    pub clock_steps: AtomicU64,
    pub spilled: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> StoreStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            appended_msgs: get(&self.appended_msgs),
            appended_entries: get(&self.appended_entries),
            batches: get(&self.batches),
            bytes_written: get(&self.bytes_written),
            writes: get(&self.writes),
            reads: get(&self.reads),
            syncs: get(&self.syncs),
            sync_ns_total: get(&self.sync_ns_total),
            sync_ns_max: get(&self.sync_ns_max),
            unlinked: get(&self.unlinked),
            reused: get(&self.reused),
            expired: get(&self.expired),
            removed: get(&self.removed),
            damaged: get(&self.damaged),
            given_up: get(&self.given_up),
            quota_refused: get(&self.quota_refused),
            quota_dropped: get(&self.quota_dropped),
            recovered: get(&self.recovered),
            checkpoints: get(&self.checkpoints),
            kept_bytes: get(&self.kept_bytes),
            clock_steps: get(&self.clock_steps),
            spilled: get(&self.spilled),
            ..StoreStats::default()
        }
    }
}

/// Adds to a counter that many threads share.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
