//! What spill files hold, and which part of it counts.
//!
//! The journal says up to which number messages of a queue are in files. Files are gone through from the newest to the
//! oldest, so that what a step left behind that never came to count is not taken for what a later one wrote.

use std::collections::BTreeMap;
use std::io;

use edgehub_types::{Storage, StorageFile, UnixMs};

use super::replay::Replay;
use crate::StoreError;
use crate::batch::QueueId;
use crate::format::{
    BlockHeader, FORMAT_VERSION, SPILL_HEADER_BYTES, SegmentHeaderError, SpillEntries, put_footer,
};
use crate::index::SPILL_NUMBER_MAX;
use crate::spill::{
    BlockList, SpillFile, SpillKind, SpillName, read_block, read_blocks, read_header, spill_name,
};

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
    pub half: Vec<SpillRest>,
    /// Put aside by an earlier recovery.
    pub aside: Vec<SpillRest>,
    /// Number for the next file.
    pub next_number: u64,
}

/// A file that is never read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpillRest {
    pub queue: QueueId,
    pub number: u64,
    pub name: String,
}

/// The spill files of a folder, open and not yet read.
#[derive(Default)]
pub(crate) struct SpillFiles {
    open: BTreeMap<(QueueId, u64), (String, Box<dyn StorageFile>)>,
    half: Vec<SpillRest>,
    aside: Vec<SpillRest>,
    next_number: u64,
}

impl SpillFiles {
    /// Opens all that are there and not open yet. Returns how many went before they were.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open_new(&mut self, storage: &dyn Storage) -> Result<u64, StoreError> {
        let mut gone = 0;
        self.half.clear();
        self.aside.clear();
        for name in storage.list().map_err(StoreError::io("list", "the folder"))? {
            let Some(SpillName { queue, number, kind }) = SpillName::parse(&name) else { continue };
            if number >= SPILL_NUMBER_MAX {
                continue;
            }
            match kind {
                SpillKind::New => self.half.push(SpillRest { queue, number, name }),
                SpillKind::Bad => self.aside.push(SpillRest { queue, number, name }),
                SpillKind::Data if self.open.contains_key(&(queue, number)) => continue,
                SpillKind::Data => match storage.open(&name, false) {
                    Ok(file) => drop(self.open.insert((queue, number), (name, file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => gone += 1,
                    Err(error) => return Err(StoreError::io("open", &name)(error)),
                },
            }
            if kind != SpillKind::New {
                self.next_number = self.next_number.max(number + 1);
            }
        }
        Ok(gone)
    }

    /// Reads which blocks there are.
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`], [`StoreError::Io`].
    pub fn read(self) -> Result<SpillParts, StoreError> {
        let Self { open, half, aside, next_number } = self;
        let parts = open.into_iter();
        let parts = parts.map(|((queue, number), (name, file))| SpillPart::open(queue, number, name, file));
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(SpillParts { parts, half, aside, next_number: next_number.max(1) })
    }
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
        let surplus = !self.list.complete && self.len > self.list.bytes;
        if self.list.blocks.is_empty() {
            self.fate = SpillFate::Remove;
        } else if cut || surplus {
            self.fate = SpillFate::Cut;
        }
    }

    /// Messages with numbers from `head` on.
    fn left(&self, head: u64) -> u64 {
        let wanted = self.list.blocks.iter().filter(|block| block.end_seq > head);
        wanted.map(|block| self.left_in(block, head)).sum()
    }

    /// About what they take: a block that is begun counts by its average.
    fn left_bytes(&self, head: u64, left: u64) -> u64 {
        let wanted = self.list.blocks.iter().filter(|block| block.end_seq > head);
        let (count, bytes) = wanted.fold((0, 0), |(count, bytes), block| {
            (count + u64::from(block.count), bytes + u64::from(block.raw_bytes))
        });
        let share = u128::from(bytes) * u128::from(left) / u128::from(u64::max(count, 1));
        u64::try_from(share).unwrap_or(bytes)
    }

    /// Of one block.
    pub fn left_in(&self, block: &BlockHeader, head: u64) -> u64 {
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
        file.left_bytes = self.left_bytes(head, file.left);
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

/// A complete file gets a new footer: the old one told of blocks whose own headers may be damaged. It is written first, so
/// that at every moment there is one at the end.
fn cut_file(part: &SpillPart) -> io::Result<()> {
    let mut footer = Vec::new();
    if part.list.complete {
        put_footer(&mut footer, &part.list.blocks);
        part.file.write_all_at(&footer, part.list.bytes)?;
    }
    part.file.set_len(part.list.bytes + footer.len() as u64)?;
    part.file.sync_data()
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
    for SpillRest { name, .. } in &spills.half {
        storage.remove(name).map_err(StoreError::io("remove", name))?;
    }
    for part in &spills.parts {
        let name = &part.name;
        match part.fate {
            SpillFate::Keep => {}
            SpillFate::Cut => {
                cut_file(part).map_err(StoreError::io("cut", name))?;
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
