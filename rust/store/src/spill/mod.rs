//! Files with the old backlog of one queue, in LZ4 frames. See `docs/store-format.md`, section 12.

mod cache;
mod reader;
mod writer;

use edgehub_types::UnixMs;

pub(crate) use cache::{Block, BlockCache};
pub(crate) use reader::{BlockList, check_block, read_block, read_block_header, read_blocks, read_header};
pub(crate) use writer::{Message, SpillWriter, Target, WrittenBlock, write_tombstone};

use crate::batch::QueueId;
use crate::format::BlockHeader;
use crate::queue::Count;

/// What the store remembers of a spill file: memory of the backlog is this, not something for each message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpillFile {
    pub number: u64,
    /// Numbers that it covers.
    pub first_seq: u64,
    pub end_seq: u64,
    /// Messages that were not fetched yet.
    pub left: u64,
    /// About so many bytes.
    pub left_bytes: u64,
    /// Bytes of the file up to the end of the last block.
    pub bytes: u64,
    /// Of its messages that expire first and last.
    pub first_expiry: UnixMs,
    pub last_expiry: UnixMs,
    /// Nothing is appended to it any more.
    pub complete: bool,
    /// When the first message was written to the journal, by the wall clock of then; 0 = not known.
    pub first_written_ms: u64,
}

impl SpillFile {
    /// An empty one that begins with `first_seq`.
    pub fn new(number: u64, first_seq: u64, bytes: u64) -> Self {
        Self {
            number,
            first_seq,
            end_seq: first_seq,
            left: 0,
            left_bytes: 0,
            first_written_ms: 0,
            bytes,
            first_expiry: UnixMs::MAX,
            last_expiry: UnixMs(0),
            complete: false,
        }
    }

    /// Takes note of one more block.
    pub fn add(&mut self, block: &BlockHeader) {
        self.end_seq = block.end_seq;
        self.bytes = block.end_offset();
        if block.count > 0 {
            if self.first_written_ms == 0 {
                self.first_written_ms = block.first_written_ms;
            }
            self.first_expiry = self.first_expiry.min(block.first_expiry);
        }
        self.last_expiry = self.last_expiry.max(block.last_expiry);
    }

    /// Counts messages out, at most those that are left; each has the average of bytes.
    pub fn take(&mut self, count: u64) -> Count {
        let msgs = count.min(self.left);
        let share = u128::from(self.left_bytes) * u128::from(msgs) / u128::from(self.left.max(1));
        let bytes = u64::try_from(share).unwrap_or(self.left_bytes);
        self.left -= msgs;
        self.left_bytes -= bytes;
        Count { msgs, bytes }
    }
}

/// Name of a spill file.
pub(crate) fn spill_name(queue: QueueId, number: u64) -> String {
    format!("spill-{:05}-{number:012}.lz4", queue.0)
}

/// What a name in the folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpillName {
    pub queue: QueueId,
    pub number: u64,
    pub kind: SpillKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpillKind {
    /// A file to read.
    Data,
    /// Half written.
    New,
    /// Put aside.
    Bad,
}

impl SpillName {
    /// `None` when it is no spill file's.
    pub fn parse(name: &str) -> Option<Self> {
        let (numbers, kind) = name.strip_prefix("spill-")?.split_once('.')?;
        let (queue, number) = numbers.split_once('-')?;
        let digits = |text: &str, len: usize| {
            let right = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| right)
        };
        let (queue, number) = (QueueId(u32::try_from(digits(queue, 5)?).ok()?), digits(number, 12)?);
        let kind = match kind {
            "lz4" => SpillKind::Data,
            "new" => SpillKind::New,
            "bad" => SpillKind::Bad,
            _ => return None,
        };
        Some(Self { queue, number, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = spill_name(QueueId(7), 12);
        assert_eq!(name, "spill-00007-000000000012.lz4");
        for (ending, kind) in [("lz4", SpillKind::Data), ("new", SpillKind::New), ("bad", SpillKind::Bad)] {
            let wanted = SpillName { queue: QueueId(7), number: 12, kind };
            assert_eq!(SpillName::parse(&name.replace("lz4", ending)), Some(wanted));
        }
        for other in [
            "spill-7-12.lz4",
            "spill-000007-000000000012.lz4",
            "spill-00007-00000000001x.lz4",
            "spill-00007.lz4",
            "journal-1.seg",
            "x",
        ] {
            assert_eq!(SpillName::parse(other), None, "{other}");
        }
    }
}
