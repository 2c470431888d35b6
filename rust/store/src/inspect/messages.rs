//! The messages of one queue, read one by one.

use std::fmt;
use std::sync::Arc;

use edgehub_types::UnixMs;

use super::Inspection;
use super::spilled::WantedBlock;
use crate::StoreError;
use crate::format::{RecordView, SpillEntries, SpillEntry};
use crate::index::Entry;
use crate::spill::check_block;

/// A message as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Number in its queue.
    pub seq: u64,
    /// When it must no longer be delivered, by the wall clock as it stood last; [`UnixMs::MAX`] = never.
    pub expires_at: UnixMs,
    /// The payload.
    pub payload: &'a [u8],
}

/// A block of a spill file, for those who read such files themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpillBlock {
    /// Name of the file.
    pub file: String,
    /// Where in it the frame of the block's header begins.
    pub offset: u64,
    /// Messages of the block below this number are done.
    pub from_seq: u64,
    /// Messages that are not.
    pub messages: u64,
}

/// Walks over the messages of a queue: those in spill files, then those in the journal. One payload is in memory at a time,
/// or one block of a spill file.
pub struct Messages {
    inspection: Arc<Inspection>,
    queue: usize,
    /// Next block of spill files, and what is left of the one before it.
    block: usize,
    entries: BlockWalk,
    /// Messages in blocks that were not reached yet.
    blocks_left: u64,
    at: usize,
    buffer: Vec<u8>,
}

/// A block on its way out.
#[derive(Default)]
struct BlockWalk {
    raw: Vec<u8>,
    offset: usize,
    first_seq: u64,
    left: u64,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("left", &self.left()).finish_non_exhaustive()
    }
}

impl Messages {
    pub(super) fn new(inspection: Arc<Inspection>, queue: usize) -> Self {
        let blocks_left = inspection.spilled.get(queue).map_or(0, |spilled| spilled.messages);
        let (block, entries, at, buffer) = (0, BlockWalk::default(), 0, Vec::new());
        Self { inspection, queue, block, entries, blocks_left, at, buffer }
    }

    /// Leaves out those in spill files.
    pub(super) fn of_journal(inspection: Arc<Inspection>, queue: usize) -> Self {
        Self { block: usize::MAX, blocks_left: 0, ..Self::new(inspection, queue) }
    }

    /// Messages still to come.
    pub fn left(&self) -> usize {
        let index = self.inspection.indexes.get(self.queue);
        let in_journal = index.map_or(0, |index| index.len().saturating_sub(self.at));
        in_journal + (self.blocks_left + self.entries.left) as usize
    }

    /// The next message; `None` at the end. After an error the walk goes on behind the message in question, or behind the
    /// block of a spill file.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::DamagedMessage`]: the message was whole when the folder was read;
    /// [`StoreError::GoneMessage`]; [`StoreError::DamagedBlock`].
    pub fn read_next(&mut self) -> Result<Option<Stored<'_>>, StoreError> {
        while self.entries.left == 0
            && let Some(block) = self.next_block()
        {
            self.open_block(&block)?;
        }
        if self.entries.left == 0 {
            return self.next_of_journal();
        }
        let inspection = &self.inspection;
        let stored = self.entries.next();
        Ok(stored.map(|stored| Stored { expires_at: inspection.wall_of(stored.expires_at), ..stored }))
    }

    fn next_block(&mut self) -> Option<WantedBlock> {
        let block = *self.inspection.spilled.get(self.queue)?.blocks.get(self.block)?;
        self.block += 1;
        self.blocks_left -= block.messages;
        Some(block)
    }

    fn open_block(&mut self, block: &WantedBlock) -> Result<(), StoreError> {
        let WantedBlock { source, header, messages } = block;
        let Some(source) = self.inspection.spill_sources.get(*source) else { return Ok(()) };
        let raw = check_block(&*source.file, header).map_err(StoreError::io("read", &source.name))?;
        let damaged = || StoreError::DamagedBlock {
            file: source.name.clone(),
            offset: header.offset,
            messages: *messages,
        };
        let raw = raw.ok_or_else(damaged)?;
        let head = self.inspection.spilled.get(self.queue).map_or(0, |spilled| spilled.head_seq);
        self.entries = BlockWalk::from(raw, header.first_seq, head);
        Ok(())
    }

    fn next_of_journal(&mut self) -> Result<Option<Stored<'_>>, StoreError> {
        let Self { inspection, queue, at, buffer, .. } = self;
        let (Some(index), Some(info)) = (inspection.indexes.get(*queue), inspection.queues.get(*queue))
        else {
            return Ok(None);
        };
        let Some(entry) = index.get(*at) else { return Ok(None) };
        let seq = index.seq_at(*at);
        *at += 1;
        if !load(inspection, entry, buffer)? {
            return Err(StoreError::GoneMessage { queue: info.id, seq });
        }
        let message = RecordView::decode(buffer).and_then(|view| view.message_for(info.id.get()));
        let stored = message.map(|(expires_at, payload)| {
            let expires_at = inspection.wall_of(expires_at);
            Stored { seq, expires_at, payload }
        });
        stored.map(Some).ok_or(StoreError::DamagedMessage { queue: info.id, seq })
    }
}

impl BlockWalk {
    /// The messages from number `head` on.
    fn from(raw: Vec<u8>, first_seq: u64, head: u64) -> Self {
        let done = |entry: &SpillEntry<'_>| first_seq + u64::from(entry.seq_delta) < head;
        let mut wanted = SpillEntries::new(&raw).skip_while(|(_, entry)| done(entry)).peekable();
        let offset = wanted.peek().map_or(raw.len(), |(offset, _)| *offset);
        let left = wanted.count() as u64;
        Self { raw, offset, first_seq, left }
    }

    fn next(&mut self) -> Option<Stored<'_>> {
        let (entry, len) = SpillEntry::decode(self.raw.get(self.offset..)?)?;
        self.offset += len;
        self.left -= 1;
        let seq = self.first_seq + u64::from(entry.seq_delta);
        Some(Stored { seq, expires_at: entry.expires_at, payload: entry.payload })
    }
}

/// Whether the file is still that of the segment. Whoever uses it again writes the header before anything else, so it is
/// looked at last.
fn load(inspection: &Inspection, entry: Entry, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
    buffer.clear();
    let Some(source) = inspection.source(entry.address) else { return Ok(true) };
    buffer.resize(entry.len() as usize, 0);
    let got = source.file.read_at(buffer, entry.address - source.base);
    let got = got.map_err(StoreError::io("read", &source.name))?;
    buffer.truncate(got);
    source.is_same().map_err(StoreError::io("read", &source.name))
}
