//! What is in spill files: a list of these, the wanted blocks of each queue, and what of them is damaged.

use std::io;

use edgehub_types::{Storage, StorageFile, UnixMs};

use super::Depth;
use crate::StoreError;
use crate::batch::QueueId;
use crate::format::{BlockHeader, ENTRY_HEAD_BYTES, SPILL_HEADER_BYTES, SpillEntries};
use crate::index::Entry;
use crate::recovery::{
    Finding, FindingFile, FindingKind, Findings, ReplayedQueue, SpillFate, SpillPart, SpillParts, SpillRest,
};
use crate::spill::check_block;

/// What a recovery would do with a spill file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpillState {
    /// It has its footer, and some messages in it are wanted.
    Complete,
    /// Some messages in it are wanted, and more may be appended.
    Open,
    /// Nothing in it is wanted any more: it will be unlinked.
    Spent,
    /// Its header cannot be read, or it is of another folder or an unknown queue: a recovery would put it aside.
    Unreadable,
    /// Put aside by an earlier recovery.
    Aside,
    /// Half written, or the journal does not tell of it yet: a recovery would remove it.
    Behind,
}

impl SpillState {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Open => "open",
            Self::Spent => "spent",
            Self::Unreadable => "unreadable",
            Self::Aside => "aside",
            Self::Behind => "behind",
        }
    }
}

/// One spill file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpillInfo {
    /// Its queue, by name.
    pub queue: QueueId,
    /// Number.
    pub number: u64,
    /// Name of the file.
    pub name: String,
    /// State.
    pub state: SpillState,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// Messages in it that are wanted. Those in damaged blocks are among them.
    pub messages: u64,
    /// Blocks that count.
    pub blocks: u64,
    /// They cover the numbers from here ..
    pub first_seq: u64,
    /// .. up to here, exclusive.
    pub end_seq: u64,
    /// The last expiry by the wall clock as it stood last, rounded up to a second; `None` when some message never expires, or when nothing is wanted.
    pub last_expiry: Option<UnixMs>,
}

impl SpillInfo {
    fn of_part(part: &SpillPart, messages: u64) -> Self {
        let blocks = &part.list.blocks;
        let state = match part.fate {
            SpillFate::Aside if part.len < SPILL_HEADER_BYTES as u64 => SpillState::Behind,
            SpillFate::Aside => SpillState::Unreadable,
            SpillFate::Remove if blocks.is_empty() => SpillState::Behind,
            SpillFate::Remove => SpillState::Spent,
            _ if messages == 0 => SpillState::Spent,
            _ if part.list.complete => SpillState::Complete,
            _ => SpillState::Open,
        };
        let last_expiry = blocks.iter().map(|block| block.last_expiry).max().filter(|_| messages > 0);
        Self {
            state,
            bytes: part.len,
            messages,
            blocks: blocks.len() as u64,
            first_seq: blocks.first().map_or(0, |block| block.first_seq),
            end_seq: blocks.last().map_or(0, |block| block.end_seq),
            last_expiry: last_expiry.and_then(rounded),
            ..Self::without_blocks(part.queue, part.number, part.name.clone(), state)
        }
    }

    fn without_blocks(queue: QueueId, number: u64, name: String, state: SpillState) -> Self {
        let (bytes, messages, blocks, first_seq, end_seq, last_expiry) = (0, 0, 0, 0, 0, None);
        Self { queue, number, name, state, bytes, messages, blocks, first_seq, end_seq, last_expiry }
    }
}

/// A file to read messages from.
pub(super) struct SpillSource {
    pub name: String,
    pub file: Box<dyn StorageFile>,
}

/// A block in which messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WantedBlock {
    /// Place of its file in the list of sources.
    pub source: usize,
    pub header: BlockHeader,
    /// How many.
    pub messages: u64,
}

/// What of one queue is in spill files.
#[derive(Debug, Default)]
pub(super) struct SpilledQueue {
    /// Messages below are done.
    pub head_seq: u64,
    /// In order of their numbers.
    pub blocks: Vec<WantedBlock>,
    pub messages: u64,
    /// Of their entries, uncompressed.
    pub bytes: u64,
    /// Of its files, whatever their state.
    pub file_bytes: u64,
    /// By the time of the store, rounded up to a second.
    pub first_expiry: Option<UnixMs>,
    pub last_expiry: Option<UnixMs>,
    pub never_expiring: u64,
    pub oldest_enqueued: Option<UnixMs>,
    pub newest_enqueued: Option<UnixMs>,
}

/// As the index of the journal's messages has expiries.
fn rounded(expires_at: UnixMs) -> Option<UnixMs> {
    Entry::new(0, 0, expires_at).expires_at()
}

impl SpilledQueue {
    fn add_part(&mut self, source: usize, part: &SpillPart) {
        let head_seq = self.head_seq;
        for block in part.list.blocks.iter().filter(|block| block.end_seq > head_seq) {
            let messages = part.left_in(block, head_seq);
            if messages > 0 {
                self.add_block(&*part.file, block, messages);
                self.blocks.push(WantedBlock { source, header: *block, messages });
            }
        }
    }

    fn add_block(&mut self, file: &dyn StorageFile, block: &BlockHeader, messages: u64) {
        self.messages += messages;
        let mixed = rounded(block.last_expiry).is_none() && rounded(block.first_expiry).is_some();
        let partly = self.head_seq > block.first_seq;
        let raw = if mixed || partly { check_block(file, block).ok().flatten() } else { None };
        if let Some(raw) = raw {
            self.add_entries(block, &raw);
            return;
        }
        // What the header says is exact for a whole block of one kind, and the best there is for a damaged one.
        self.bytes += u64::from(block.raw_bytes);
        self.note_written(block.first_written_ms);
        self.note_written(block.last_written_ms);
        self.note_expiry(block.first_expiry, 0);
        self.note_expiry(block.last_expiry, messages);
    }

    fn add_entries(&mut self, block: &BlockHeader, raw: &[u8]) {
        for (_, entry) in SpillEntries::new(raw) {
            if block.first_seq + u64::from(entry.seq_delta) < self.head_seq {
                continue;
            }
            self.bytes += (ENTRY_HEAD_BYTES + entry.payload.len()) as u64;
            self.note_written(block.first_written_ms.saturating_add(u64::from(entry.written_delta_ms)));
            self.note_expiry(entry.expires_at, 1);
        }
    }

    fn note_written(&mut self, ms: u64) {
        self.oldest_enqueued.get_or_insert(UnixMs(ms));
        self.newest_enqueued = self.newest_enqueued.max(Some(UnixMs(ms)));
    }

    /// `messages` of them count as never expiring if that is what the expiry says.
    fn note_expiry(&mut self, expires_at: UnixMs, messages: u64) {
        match rounded(expires_at) {
            Some(at) => {
                self.first_expiry = Some(self.first_expiry.map_or(at, |first| first.min(at)));
                self.last_expiry = self.last_expiry.max(Some(at));
            }
            None => self.never_expiring += messages,
        }
    }
}

/// Everything that is told of spill files.
#[derive(Default)]
pub(super) struct Spilled {
    pub files: Vec<SpillInfo>,
    /// One for each of the queues, in their order.
    pub queues: Vec<SpilledQueue>,
    pub sources: Vec<SpillSource>,
    /// Bytes that had been durable and are not readable.
    pub damaged_bytes: u64,
}

/// Sorts out what a recovery found of `queues`, which are in order of their ids.
pub(super) fn spilled(
    parts: Vec<SpillPart>,
    queues: &[ReplayedQueue],
    findings: &mut Findings,
    depth: Depth,
) -> Spilled {
    let begun =
        |queue: &ReplayedQueue| SpilledQueue { head_seq: queue.spilled.head_seq, ..Default::default() };
    let mut found = Spilled { queues: queues.iter().map(begun).collect(), ..Spilled::default() };
    let kept = |part: &SpillPart| matches!(part.fate, SpillFate::Keep | SpillFate::Cut);
    for (at, part) in parts.iter().enumerate() {
        let place = queues.binary_search_by_key(&part.queue, |queue| queue.id).ok();
        let place = place.and_then(|at| found.queues.get_mut(at).zip(queues.get(at)));
        let Some((queue, replayed)) = place else {
            found.files.push(SpillInfo::of_part(part, 0));
            continue;
        };
        queue.file_bytes += part.len;
        if !kept(part) {
            found.files.push(SpillInfo::of_part(part, 0));
            continue;
        }
        let before = queue.messages;
        queue.add_part(at, part);
        found.files.push(SpillInfo::of_part(part, queue.messages - before));
        let later = parts.iter().skip(at + 1).take_while(|later| later.queue == part.queue);
        let mut later = later.filter(|later| kept(later));
        let next = later.find_map(|later| later.list.blocks.first()).map(|block| block.first_seq);
        found.damaged_bytes += check_rest(part, next.unwrap_or(replayed.spilled.spilled_seq), findings);
        if depth == Depth::Everything {
            found.damaged_bytes += check_blocks(part, findings);
        }
    }
    found.sources =
        parts.into_iter().map(|SpillPart { name, file, .. }| SpillSource { name, file }).collect();
    found
}

/// Looks behind the last block that counts. What comes after the file in its queue begins with the number `next_seq`: if that
/// is not where the file ends, the rest of it is damaged. Returns damaged bytes.
fn check_rest(part: &SpillPart, next_seq: u64, findings: &mut Findings) -> u64 {
    let end_seq = part.list.blocks.last().map_or(next_seq, |block| block.end_seq);
    let bytes = part.len.saturating_sub(part.list.bytes);
    if part.fate != SpillFate::Cut || bytes == 0 {
        return 0;
    }
    let damaged = end_seq < next_seq;
    let kind = if damaged { FindingKind::Damaged } else { FindingKind::Torn };
    findings.add(Finding { kind, file: file_of(part), offset: part.list.bytes, bytes });
    if damaged { bytes } else { 0 }
}

/// Reads every block that counts. Returns damaged bytes.
fn check_blocks(part: &SpillPart, findings: &mut Findings) -> u64 {
    let mut damaged_bytes = 0;
    for block in &part.list.blocks {
        let checked = check_block(&*part.file, block);
        if let Err(error) = &checked {
            log::error!("{}: the block at offset {} cannot be read: {error}", part.name, block.offset);
        }
        if !matches!(checked, Ok(Some(_))) {
            let (file, offset, bytes) = (file_of(part), block.offset, block.end_offset() - block.offset);
            findings.add(Finding { kind: FindingKind::Damaged, file, offset, bytes });
            damaged_bytes += bytes;
        }
    }
    damaged_bytes
}

fn file_of(part: &SpillPart) -> FindingFile {
    FindingFile::Spill { queue: part.queue, number: part.number }
}

/// Files that are not read.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn unread_files(storage: &dyn Storage, spills: &SpillParts) -> Result<Vec<SpillInfo>, StoreError> {
    let half = spills.half.iter().map(|rest| (rest, SpillState::Behind));
    let aside = spills.aside.iter().map(|rest| (rest, SpillState::Aside));
    let mut files = Vec::new();
    for (SpillRest { queue, number, name }, state) in half.chain(aside) {
        match storage.open(name, false) {
            Ok(file) => {
                let bytes = file.len().map_err(StoreError::io("measure", name))?;
                let info = SpillInfo::without_blocks(*queue, *number, name.clone(), state);
                files.push(SpillInfo { bytes, ..info });
            }
            // It has its proper name by now, or was of no use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("open", name)(error)),
        }
    }
    Ok(files)
}
