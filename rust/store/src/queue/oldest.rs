//! Since when the first message of a queue has waited. Looked up when somebody asks, so that no message costs anything
//! for it: the journal notes about once a second which address was written when, and blocks of spill files say it.

use edgehub_types::UnixMs;

use super::cold::Cold;
use super::{QueueInner, QueueState};
use crate::index::spill_place;
use crate::shared::Shared;
use crate::spill::SpillFile;

/// Where it is told when a message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At this address of the journal.
    Journal { address: u64 },
    /// In a spill file, whose part was begun then by the wall clock; 0 = not known.
    Spilled { written_ms: u64 },
}

impl QueueInner {
    /// Of the first message that is not done; `None` when there is none.
    fn oldest(&self) -> Option<Place> {
        self.state.lock().oldest()
    }
}

impl QueueState {
    fn oldest(&self) -> Option<Place> {
        let Some(first) = self.index.iter().find(|entry| !entry.is_done()) else {
            return self.cold.oldest();
        };
        if !first.is_spilled() {
            return Some(Place::Journal { address: first.address });
        }
        let (number, offset) = spill_place(first.address);
        let file = self.cold.files.iter().find(|file| file.number == number)?;
        Some(self.cold.place(file, |block_offset, _| block_offset == offset))
    }
}

impl Cold {
    /// Of what is in files only.
    fn oldest(&self) -> Option<Place> {
        let file = self.files.iter().find(|file| file.left > 0)?;
        Some(self.place(file, |_, end_seq| end_seq > self.next_seq))
    }

    /// As far as is known without reading: of the block if the list of blocks is at hand, otherwise of the file.
    fn place(&self, file: &SpillFile, is_it: impl Fn(u64, u64) -> bool) -> Place {
        let list = self.list.as_ref().filter(|(number, _)| *number == file.number);
        let mut blocks = list.into_iter().flat_map(|(_, blocks)| blocks);
        let block = blocks.find(|block| block.count > 0 && is_it(block.offset, block.end_seq));
        let written_ms = block.map_or(file.first_written_ms, |block| block.first_written_ms);
        Place::Spilled { written_ms }
    }
}

impl Shared {
    /// See [`crate::Queue::oldest_ms`].
    pub fn oldest_ms(&self, queue: &QueueInner) -> Option<u64> {
        let since = |from_ms: u64, now: UnixMs| if from_ms == 0 { 0 } else { now.0.saturating_sub(from_ms) };
        Some(match queue.oldest()? {
            // A segment that is gone meanwhile had nothing that waits.
            Place::Journal { address } => {
                let segment = self.segments.find(address)?;
                since(segment.meta.written_at(address).store_ms, self.time.now())
            }
            Place::Spilled { written_ms } => since(written_ms, self.clock.unix()),
        })
    }
}
