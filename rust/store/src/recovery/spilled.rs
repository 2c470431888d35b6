//! What spill files hold, and which part of it counts.
//!
//! The journal says up to which number messages of a queue are in files. Files are gone through from the newest to the
//! oldest, so that what a step left behind that never came to count is not taken for what a later one wrote.

use std::collections::BTreeMap;

use edgehub_types::{Storage, StorageFile, UnixMs};

use super::replay::Replay;
use crate::StoreError;
use crate::batch::QueueId;
use crate::format::{BlockHeader, FORMAT_VERSION, SPILL_HEADER_BYTES, SegmentHeaderError, SpillEntries};
use crate::index::SPILL_NUMBER_MAX;
use crate::spill::{BlockList, SpillFile, SpillName, read_block, read_blocks, read_header, spill_name};

/// A spill file as read.
pub(crate) struct SpillPart {
    pub queue: QueueId,
    pub number: u64,
    pub name: String,
    pub file: Box<dyn StorageFile>,
    /// Length of the file.
    pub len: u64,
    /// Blocks that count; at first all that can be read.
    pub list: BlockList,
    pub fate: SpillFate,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpillFate {
    /// It stays as it is.
    Keep,
    /// It is cut behind the last block that counts.
    Cut,
    /// Nothing in it counts.
    Remove,
    /// Its header cannot be read, it is of another folder, or of a queue whose definition is lost.
    Aside,
}

/// The spill files of a folder.
#[derive(Default)]
pub(crate) struct SpillParts {
    /// By queue and number.
    pub parts: Vec<SpillPart>,
    /// Half written; to be removed.
    pub half: Vec<String>,
    /// Number for the next file.
    pub next_number: u64,
}

/// Opens all spill files that are there.
///
/// # Errors
/// [`StoreError::NewerFormat`], [`StoreError::Io`].
pub(crate) fn open_spills(storage: &dyn Storage) -> Result<SpillParts, StoreError> {
    let mut found = SpillParts { next_number: 1, ..SpillParts::default() };
    for name in storage.list().map_err(StoreError::io("list", "the folder"))? {
        match SpillName::parse(&name) {
            Some(SpillName::Data { queue, number }) if number < SPILL_NUMBER_MAX => {
                found.next_number = found.next_number.max(number + 1);
                let file = storage.open(&name, false).map_err(StoreError::io("open", &name))?;
                found.parts.push(SpillPart::open(queue, number, name, file)?);
            }
            Some(SpillName::New) => found.half.push(name),
            Some(SpillName::Bad { number }) if number < SPILL_NUMBER_MAX => {
                found.next_number = found.next_number.max(number + 1);
            }
            _ => {}
        }
    }
    found.parts.sort_by_key(|part| (part.queue, part.number));
    Ok(found)
}

impl SpillParts {
    /// Whether some of the messages that count expire, as far as is known without reading them.
    pub fn may_expire(&self) -> bool {
        let kept = self.parts.iter().filter(|part| matches!(part.fate, SpillFate::Keep | SpillFate::Cut));
        let mut blocks = kept.flat_map(|part| &part.list.blocks);
        blocks.any(|block| block.count > 0 && block.first_expiry != UnixMs::MAX)
    }
}

impl SpillPart {
    fn open(
        queue: QueueId,
        number: u64,
        name: String,
        file: Box<dyn StorageFile>,
    ) -> Result<Self, StoreError> {
        let len = file.len().map_err(StoreError::io("measure", &name))?;
        let mut part =
            Self { queue, number, name, file, len, list: BlockList::default(), fate: SpillFate::Aside };
        match read_header(&*part.file).map_err(StoreError::io("read", &part.name))? {
            Ok(header) if header.queue == queue.get() && header.number == number => {
                part.fate = SpillFate::Keep;
                part.list =
                    read_blocks(&*part.file, header.salt).map_err(StoreError::io("read", &part.name))?;
            }
            Err(SegmentHeaderError::Newer { found }) => {
                return Err(StoreError::NewerFormat { file: part.name, found, known: FORMAT_VERSION });
            }
            _ => {}
        }
        Ok(part)
    }

    /// Leaves the blocks that end at or below `limit`.
    fn clip(&mut self, limit: u64) {
        let kept = self.list.blocks.partition_point(|block| block.end_seq <= limit);
        let cut = kept < self.list.blocks.len();
        self.list.blocks.truncate(kept);
        self.list.bytes = self.list.blocks.last().map_or(SPILL_HEADER_BYTES as u64, BlockHeader::end_offset);
        self.list.complete &= !cut;
        if self.list.blocks.is_empty() {
            self.fate = SpillFate::Remove;
        } else if !self.list.complete && self.len > self.list.bytes {
            self.fate = SpillFate::Cut;
        }
    }

    /// Messages with numbers from `head` on.
    fn left(&self, head: u64) -> u64 {
        let wanted = self.list.blocks.iter().filter(|block| block.end_seq > head);
        wanted.map(|block| self.left_in(block, head)).sum()
    }

    fn left_in(&self, block: &BlockHeader, head: u64) -> u64 {
        let (count, numbers) = (u64::from(block.count), block.end_seq - block.first_seq);
        if head <= block.first_seq {
            count
        } else if count == numbers {
            block.end_seq - head
        } else {
            let raw = read_block(&*self.file, block).ok().flatten();
            let entries = raw.as_deref().map(SpillEntries::new).into_iter().flatten();
            let seqs = entries.map(|(_, entry)| block.first_seq + u64::from(entry.seq_delta));
            // A damaged one says at most so many; it is found out when it is fetched.
            if raw.is_some() {
                seqs.filter(|seq| *seq >= head).count() as u64
            } else {
                count.min(block.end_seq - head)
            }
        }
    }

    fn summary(&self, head: u64) -> SpillFile {
        let first_seq = self.list.blocks.first().map_or(0, |block| block.first_seq);
        let mut file = SpillFile::new(self.number, first_seq, self.list.bytes);
        self.list.blocks.iter().for_each(|block| file.add(block));
        file.left = self.left(head);
        file.complete = self.list.complete;
        file
    }
}

/// Decides which blocks count and gives them to their queues.
pub(super) fn overlay(spills: &mut SpillParts, replay: &mut Replay, salt: u64) {
    let mut queues: BTreeMap<QueueId, Vec<&mut SpillPart>> = BTreeMap::new();
    for part in &mut spills.parts {
        if part.list.blocks.first().is_some_and(|block| block.salt != salt) {
            part.fate = SpillFate::Aside;
        }
        if part.fate != SpillFate::Aside {
            queues.entry(part.queue).or_default().push(part);
        }
    }
    for (queue, parts) in &mut queues {
        let Some(state) = replay.spill_state(*queue) else {
            give_up(*queue, parts, replay);
            continue;
        };
        let mut limit = state.limit;
        for part in parts.iter_mut().rev() {
            part.clip(limit);
            limit = part.list.blocks.first().map_or(limit, |block| block.first_seq);
            if part.list.blocks.last().is_some_and(|last| last.end_seq <= state.head_seq) {
                part.fate = SpillFate::Remove;
            }
        }
        let kept = parts.iter().filter(|part| part.fate != SpillFate::Remove);
        let ranges =
            kept.clone().flat_map(|part| &part.list.blocks).map(|block| (block.first_seq, block.end_seq));
        let ranges: Vec<_> = ranges.collect();
        let files = kept.map(|part| part.summary(state.head_seq)).collect();
        replay.take_spilled(*queue, files, &ranges);
    }
    replay.settle_spilled(&queues.into_keys().collect::<Vec<_>>());
}

/// Files of a queue that is removed go; those of one whose definition is lost are put aside and counted.
fn give_up(queue: QueueId, parts: &mut [&mut SpillPart], replay: &mut Replay) {
    let removed = replay.is_removed(queue);
    for part in parts.iter_mut() {
        part.fate = if removed { SpillFate::Remove } else { SpillFate::Aside };
    }
    if !removed {
        let blocks = parts.iter().flat_map(|part| &part.list.blocks);
        replay.lose_spilled(
            queue,
            blocks.map(|block| (block.first_seq, block.end_seq, u64::from(block.count))),
        );
    }
}

/// Carries out what was decided.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn repair_spills(storage: &dyn Storage, spills: &SpillParts) -> Result<(), StoreError> {
    for name in &spills.half {
        storage.remove(name).map_err(StoreError::io("remove", name))?;
    }
    for part in &spills.parts {
        let name = &part.name;
        match part.fate {
            SpillFate::Keep => {}
            SpillFate::Cut => {
                let cut = part.file.set_len(part.list.bytes).and_then(|()| part.file.sync_data());
                cut.map_err(StoreError::io("cut", name))?;
            }
            SpillFate::Remove => storage.remove(name).map_err(StoreError::io("remove", name))?,
            SpillFate::Aside => {
                log::error!(
                    "{name}: its header or that of its queue is damaged, or it is of another folder; put aside"
                );
                let aside = spill_name(part.queue, part.number).replace(".lz4", ".bad");
                storage.rename(name, &aside).map_err(StoreError::io("rename", name))?;
            }
        }
    }
    Ok(())
}
