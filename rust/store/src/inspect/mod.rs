//! Looking at a store without opening it: nothing is locked, written, cut or put aside.
//!
//! The folder may be in use or a copy. It is read by the same code as a recovery does it, so what it says is what a
//! store would find that is opened on these files. With a hub at work it is a moment of the past: the last checkpoints
//! may not be written yet, a batch may be half written (a torn end), segments come and go.
//!
//! In memory is the index, 16 bytes for each message and queue in the journal and about 100 for each block of a spill file;
//! payloads are read one by one, or a block of them. Of spill files the headers of blocks are read, and those blocks that
//! it takes to say exactly what is in them; all of them by [`Inspection::verify_folder`].

mod files;
mod messages;
mod report;
mod spilled;
mod times;

use std::path::Path;
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile, UnixMs};

use crate::StoreError;
use crate::batch::QueueId;
use crate::index::SeqIndex;
use crate::ledger::{LossBook, LossBookError, read_book};
use crate::recovery::{Examined, Part, Recovery, ReplayedQueue, SpillFiles, examine, has_number};
pub use crate::recovery::{FINDINGS_MAX, Finding, FindingFile, FindingKind};
use crate::storage::FolderReader;
use crate::time::LastSeen;
use files::{SegmentFiles, open_files};
pub use messages::{Messages, SpillBlock, Stored};
pub use report::{QueueInfo, SegmentInfo, SegmentState};
pub use spilled::{SpillInfo, SpillState};
use spilled::{SpillSource, Spilled, SpilledQueue};

/// Damage that is found in every one of these is there.
const READINGS_MAX: u32 = 3;

/// How much of spill files is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// The headers of their blocks.
    Headers,
    /// Every block.
    Everything,
}

/// A segment of the log, to read messages from.
struct Source {
    base: u64,
    limit: u64,
    name: String,
    file: Box<dyn StorageFile>,
    /// As its header said, if that could be read.
    number: Option<u64>,
}

impl Source {
    fn of(part: Part) -> Self {
        let Part { base, end, name, file, header, .. } = part;
        Self { base, limit: base + end, name, file, number: header.map(|header| header.number) }
    }

    /// Whether the file has not been used again since the folder was read.
    fn is_same(&self) -> std::io::Result<bool> {
        self.number.map_or(Ok(true), |number| has_number(&*self.file, number))
    }
}

/// What the files of a store hold.
pub struct Inspection {
    summary: Recovery,
    queues: Vec<QueueInfo>,
    segments: Vec<SegmentInfo>,
    spill_files: Vec<SpillInfo>,
    spill_damaged_bytes: u64,
    findings: Vec<Finding>,
    findings_more: u64,
    missed: u64,
    /// The time at the end of the log.
    seen: LastSeen,
    /// As `queues`.
    indexes: Vec<SeqIndex>,
    /// In order of address.
    sources: Vec<Source>,
    /// As `queues`.
    spilled: Vec<SpilledQueue>,
    spill_sources: Vec<SpillSource>,
    losses: Result<LossBook, LossBookError>,
}

/// Reads everything; again when something is damaged or missing. Segments that somebody begins and fills while others are
/// read can look like damage, once.
fn read(storage: &dyn Storage) -> Result<(Examined, Vec<SegmentInfo>, u64), StoreError> {
    let mut readings = 1;
    loop {
        // Spill files first: one that goes before it is open was done with, and the journal that is read later says so.
        let mut spills = SpillFiles::default();
        spills.open_new(storage)?;
        let SegmentFiles { files, aside, mut missed } = open_files(storage)?;
        // Those that were made meanwhile must be there: the journal may tell of them by now.
        let mut gone = 0;
        let examined = examine(files, || {
            gone = spills.open_new(storage)?;
            spills.read()
        })?;
        gone += examined.gone + used_again(&examined.parts)?;
        missed += gone;
        let whole = examined.report.quarantined == 0 && examined.replay.losses().is_empty() && gone == 0;
        if whole || readings == READINGS_MAX {
            return Ok((examined, aside, missed));
        }
        readings += 1;
    }
}

/// How many files were used again while they were read.
fn used_again(parts: &[Part]) -> Result<u64, StoreError> {
    let mut count = 0;
    for part in parts {
        count += u64::from(!part.is_same().map_err(StoreError::io("read", &part.name))?);
    }
    Ok(count)
}

impl Inspection {
    /// Reads the folder of a store.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] when it is none; [`StoreError::NewerFormat`]; [`StoreError::Folder`] when it cannot be
    /// listed; [`StoreError::Io`] when a segment cannot be opened, or its header not be read.
    pub fn of_folder(folder: &Path) -> Result<Arc<Self>, StoreError> {
        Self::look(folder, Depth::Headers)
    }

    /// The same, and reads every block of the spill files.
    ///
    /// # Errors
    /// As [`Inspection::of_folder`].
    pub fn verify_folder(folder: &Path) -> Result<Arc<Self>, StoreError> {
        Self::look(folder, Depth::Everything)
    }

    fn look(folder: &Path, depth: Depth) -> Result<Arc<Self>, StoreError> {
        std::fs::read_dir(folder)
            .map_err(|source| StoreError::Folder { folder: folder.to_owned(), source })?;
        let inspection = Self::read(&FolderReader::new(folder), depth)?;
        if inspection.segments.is_empty() {
            return Err(StoreError::NoStore { folder: folder.to_owned() });
        }
        Ok(inspection)
    }

    /// Reads a store wherever its files are. Of `storage` only `list` and `open` are called, and of files only
    /// `len` and `read_at`.
    ///
    /// # Errors
    /// As [`Inspection::of_folder`]; without segments it is empty.
    pub fn of_storage(storage: &dyn Storage) -> Result<Arc<Self>, StoreError> {
        Self::read(storage, Depth::Headers)
    }

    /// The same, and reads every block of the spill files.
    ///
    /// # Errors
    /// As [`Inspection::of_storage`].
    pub fn verify_storage(storage: &dyn Storage) -> Result<Arc<Self>, StoreError> {
        Self::read(storage, Depth::Everything)
    }

    fn read(storage: &dyn Storage, depth: Depth) -> Result<Arc<Self>, StoreError> {
        let (mut examined, aside, missed) = read(storage)?;
        let losses = read_book(storage, examined.salt);
        let (summary, metas) = examined.count();
        let mut segments = report::segments(&examined, &metas);
        segments.extend(aside);
        segments.sort_by_key(|segment| segment.number);
        let unread = spilled::unread_files(storage, &examined.spills)?;
        let mut inspection = Self::assemble(examined, depth);
        inspection.spill_files.extend(unread);
        inspection.spill_files.sort_by_key(|file| (file.queue, file.number));
        let seen = inspection.seen;
        for file in &mut inspection.spill_files {
            file.last_expiry = file.last_expiry.map(|at| seen.wall_of(at));
        }
        Ok(Arc::new(Self { summary, segments, missed, losses, ..inspection }))
    }

    fn assemble(examined: Examined, depth: Depth) -> Self {
        let Examined { parts, replay, mut findings, salt, seen, spills, .. } = examined;
        let replayed: Vec<ReplayedQueue> = replay.into_queues().flatten().collect();
        let times = times::enqueue_times(&parts, salt, &replayed);
        let found = spilled::spilled(spills.parts, &replayed, &mut findings, depth);
        let Spilled { files, queues: spilled, sources: spill_sources, damaged_bytes } = found;
        let sources = parts.into_iter().map(Source::of);
        let (mut queues, mut indexes) = (Vec::new(), Vec::new());
        for (queue, spilled) in replayed.into_iter().zip(&spilled) {
            queues.push(report::queue(&queue, spilled, &times, &seen));
            indexes.push(queue.index);
        }
        Self {
            summary: Recovery::default(),
            queues,
            segments: Vec::new(),
            spill_files: files,
            spill_damaged_bytes: damaged_bytes,
            findings: findings.iter().copied().collect(),
            findings_more: findings.more,
            missed: 0,
            seen,
            indexes,
            sources: sources.collect(),
            spilled,
            spill_sources,
            losses: Ok(LossBook::default()),
        }
    }

    /// What a recovery would report.
    pub fn summary(&self) -> Recovery {
        self.summary
    }

    /// The queues by id, those of removed endpoints too.
    pub fn queues(&self) -> &[QueueInfo] {
        &self.queues
    }

    /// The segments by number.
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// The spill files by queue and number.
    pub fn spill_files(&self) -> &[SpillInfo] {
        &self.spill_files
    }

    /// Bytes that had been durable and are not readable, in segments and in spill files.
    pub fn damaged_bytes(&self) -> u64 {
        self.summary.quarantined_bytes + self.spill_damaged_bytes
    }

    /// What is damaged or torn, in the order of the log, then in spill files; at most [`FINDINGS_MAX`].
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Findings beyond [`FINDINGS_MAX`].
    pub fn findings_more(&self) -> u64 {
        self.findings_more
    }

    /// Files that came or went while the folder was read, at every attempt. More than 0 means that somebody
    /// makes and removes files faster than they can be opened, and that messages may be missing here.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Whether everything that had been durable can be read, as far as it was. A torn end is no damage.
    pub fn is_sound(&self) -> bool {
        let readable = self.segments.iter().all(|segment| !segment.unreadable);
        let Recovery { quarantined, orphaned, lost, .. } = self.summary;
        quarantined == 0 && orphaned == 0 && lost == 0 && self.spill_damaged_bytes == 0 && readable
    }

    /// What left the queues undelivered, as the file of losses has it, which is some time behind a store at work.
    ///
    /// # Errors
    /// What is wrong with that file; the messages are not concerned.
    pub fn losses(&self) -> Result<&LossBook, &LossBookError> {
        self.losses.as_ref()
    }

    /// The messages of a queue in order; `None` when there is no such queue.
    pub fn messages(self: &Arc<Self>, queue: QueueId) -> Option<Messages> {
        Some(Messages::new(Arc::clone(self), self.place(queue)?))
    }

    /// The same without those in spill files, which come before them: for those who read [`Inspection::spill_blocks`]
    /// themselves.
    pub fn journal_messages(self: &Arc<Self>, queue: QueueId) -> Option<Messages> {
        Some(Messages::of_journal(Arc::clone(self), self.place(queue)?))
    }

    /// The blocks of spill files in which messages of a queue are wanted, in order; `None` when there is no such queue.
    pub fn spill_blocks(&self, queue: QueueId) -> Option<Vec<SpillBlock>> {
        let SpilledQueue { head_seq, blocks, .. } = self.spilled.get(self.place(queue)?)?;
        let blocks = blocks.iter().filter_map(|block| {
            let file = self.spill_sources.get(block.source)?.name.clone();
            let (offset, from_seq) = (block.header.offset, *head_seq);
            Some(SpillBlock { file, offset, from_seq, messages: block.messages })
        });
        Some(blocks.collect())
    }

    fn place(&self, queue: QueueId) -> Option<usize> {
        self.queues.iter().position(|info| info.id == queue)
    }

    /// How much the wall clock is ahead of the time of the store, in which expiries are stored, as it stood last,
    /// milliseconds.
    pub fn wall_skew_ms(&self) -> i64 {
        self.seen.wall_skew_ms.unwrap_or(0)
    }

    /// The wall clock, as it stood last, at a time of the store.
    fn wall_of(&self, at: UnixMs) -> UnixMs {
        self.seen.wall_of(at)
    }

    fn source(&self, address: u64) -> Option<&Source> {
        let at = self.sources.partition_point(|source| source.base <= address);
        self.sources.get(at.checked_sub(1)?).filter(|source| address < source.limit)
    }
}
