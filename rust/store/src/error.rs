//! What can go wrong in the store.

use std::{io, path::PathBuf, sync::Arc};

use crate::QueueId;

/// Error of the store. [`StoreError::is_retryable`] tells which of them leave everything as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system failed an operation on a file.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Name of the file.
        file: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("store folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder to look at holds no segment of a journal.
    #[error("{} is not a store: there is no file journal-*.seg in it", folder.display())]
    NoStore {
        /// The folder.
        folder: PathBuf,
    },
    /// A message that was there when the folder was read cannot be read now.
    #[error("message {seq} of {queue} cannot be read any more: its checksum is wrong")]
    DamagedMessage {
        /// The queue.
        queue: QueueId,
        /// Number of the message in it.
        seq: u64,
    },
    /// A message that was there when the folder was read is done: the file of its segment has been used again.
    #[error("message {seq} of {queue} was delivered or dropped meanwhile")]
    GoneMessage {
        /// The queue.
        queue: QueueId,
        /// Number of the message in it.
        seq: u64,
    },
    /// A block of a spill file cannot be read.
    #[error("{file}: the block at offset {offset} is damaged; {messages} messages in it cannot be read")]
    DamagedBlock {
        /// Name of the file.
        file: String,
        /// Where in it the block begins.
        offset: u64,
        /// Wanted messages in it.
        messages: u64,
    },
    /// Another process (or another store of this one) has the folder open.
    #[error("store folder {} is in use by another process", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The files were written by a later version of this program.
    #[error("{file}: format version {found} is newer than {known}; use the program that wrote it")]
    NewerFormat {
        /// Name of the file.
        file: String,
        /// Version in the file.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// An earlier write or sync failed. What is on disk is unknown since then, so nothing more is accepted.
    #[error("the store stopped accepting messages: {cause}")]
    Poisoned {
        /// What failed.
        cause: Arc<StoreError>,
    },
    /// The store's thread panicked.
    #[error("the store's thread panicked: {what}")]
    Panicked {
        /// The message of the panic.
        what: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Too many bytes wait for a sync. Nothing was taken; try again when [`crate::Store::pressure`] is off.
    #[error("{unsynced} bytes wait for the disk; at most {max}")]
    Busy {
        /// Bytes that wait.
        unsynced: usize,
        /// The limit.
        max: usize,
    },
    /// The queues hold as many messages as their index may. Nothing was taken; try again after acks.
    #[error("{entries} queued entries would exceed the limit of {max}")]
    IndexFull {
        /// Entries that there would be.
        entries: usize,
        /// The limit.
        max: usize,
    },
    /// The journal in memory is full. Nothing was taken; try again after acks.
    #[error("{bytes} bytes of messages in memory would exceed the limit of {max}")]
    MemoryFull {
        /// Bytes that there would be.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The messages take as much as they may. Nothing was taken; try again when [`crate::Store::pressure`] is off.
    #[error("messages take {used} bytes of the store; its quota is {max}")]
    QuotaFull {
        /// Bytes that they take, as [`crate::StoreStats::used_bytes`].
        used: u64,
        /// The quota.
        max: u64,
    },
    /// No further segment can be allocated. Nothing was written; try again when there is space.
    #[error("no space for {file} of {bytes} bytes: {source}")]
    DiskFull {
        /// Name of the segment.
        file: String,
        /// Its size.
        bytes: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// No further segment can be created for another reason. Nothing was written; try again later.
    #[error("cannot create {file}: {source}")]
    NoSegment {
        /// Name of the segment.
        file: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The batch cannot take this message; append the batch and push again.
    #[error("batch of {bytes} bytes would exceed the limit of {max}")]
    BatchFull {
        /// Bytes that there would be.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The payload is too long for the format.
    #[error("payload of {bytes} bytes; at most {max}")]
    PayloadTooLong {
        /// Bytes of the payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The function that writes the payload removed bytes instead of adding some. The batch is empty now.
    #[error("the payload writer shortened the buffer it was to append to")]
    PayloadWriter,
    /// A message has no target, or too many.
    #[error("{count} targets; 1 to {max} are possible")]
    TargetCount {
        /// Targets given.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A message names a queue twice.
    #[error("{queue} is named twice as target of one message")]
    DuplicateTarget {
        /// The queue.
        queue: QueueId,
    },
    /// The queue is not one of this store.
    #[error("{queue} does not exist in this store")]
    UnknownQueue {
        /// The queue.
        queue: QueueId,
    },
    /// No further queue can be defined.
    #[error("the store has {max} queues, more are not possible")]
    TooManyQueues {
        /// The limit.
        max: usize,
    },
    /// The endpoint's name is empty or too long.
    #[error("endpoint name of {bytes} bytes; 1 to {max} are possible")]
    EndpointLength {
        /// Bytes of the name.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Another lease of the same queue is running.
    #[error("{queue} is being leased by somebody else")]
    LeaseBusy {
        /// The queue.
        queue: QueueId,
    },
}

impl StoreError {
    /// Whether the same call may succeed later. The batch of a refused `append` is unchanged then.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::IndexFull { .. }
                | Self::MemoryFull { .. }
                | Self::QuotaFull { .. }
                | Self::DiskFull { .. }
                | Self::NoSegment { .. }
                | Self::LeaseBusy { .. }
        )
    }

    pub(crate) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, file: file.to_owned(), source }
    }
}
