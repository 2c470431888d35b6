//! The bytes of the journal (segment header, batch, record) and of spill files. No I/O; see `docs/store-format.md`.

mod batch;
mod bytes;
mod record;
mod segment;
mod spill;
#[cfg(test)]
mod spill_tests;
#[cfg(test)]
mod tests;

pub use batch::{BATCH_HEADER_BYTES, BatchHeader, BatchView, Checkpoint, Range};
pub(crate) use batch::{TABLE_ENTRY_BYTES, put_checkpoint, put_range};
pub use record::{
    CLOCK_KIND, MESSAGE_KIND, QUEUE_DEFINED_KIND, QUEUE_REMOVED_KIND, QUEUE_SPILLED_KIND, RecordView, Records,
};
pub(crate) use record::{
    RECORD_HEAD_BYTES, TARGET_BYTES, finish_record, put_clock, put_queue_defined, put_queue_removed,
    put_queue_spilled,
};
pub use segment::{QueueRow, SegmentHeader, SegmentHeaderError, batch_salt};
pub(crate) use segment::{SEGMENT_HEADER_BYTES_MAX, SEGMENT_NUMBER_AT};
pub use spill::{BLOCK_HEADER_BYTES, BlockHeader, SPILL_HEADER_BYTES, SpillEntries, SpillEntry, SpillHeader};
pub(crate) use spill::{
    ENTRY_HEAD_BYTES, FOOTER_TAIL_BYTES, FooterTail, FrameMaker, decompress, put_entry, put_footer,
};

/// The version that this program writes; older ones it reads, newer ones it refuses.
pub const FORMAT_VERSION: u32 = 1;

/// Addresses and message numbers stay below this; a larger one is damage.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// Rounds up to a multiple of eight, the alignment of batches.
pub(crate) const fn align8(n: u64) -> u64 {
    (n + 7) & !7
}
