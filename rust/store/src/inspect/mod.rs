//! Looking at a store without opening it: nothing is locked, written, cut or put aside.
//!
//! The folder may be in use or a copy. It is read by the same code as a recovery does it, so what it says is what a
//! store would find that is opened on these files. With a hub at work it is a moment of the past: the last checkpoints
//! may not be written yet, a batch may be half written (a torn end), segments come and go.
//!
//! In memory is the index, 16 bytes for each message and queue, as in a store that is open; payloads are read one by one.

mod files;
mod messages;
mod report;
mod times;

use std::path::Path;
use std::sync::Arc;

use edgehub_types::{Storage, StorageFile, UnixMs};

use crate::StoreError;
use crate::batch::QueueId;
use crate::index::SeqIndex;
use crate::recovery::{Examined, Recovery, ReplayedQueue, examine, open_spills};
pub use crate::recovery::{FINDINGS_MAX, Finding, FindingKind};
use crate::storage::FolderReader;
use crate::time::LastSeen;
use files::{SegmentFiles, open_files};
pub use messages::{Messages, Stored};
pub use report::{QueueInfo, SegmentInfo, SegmentState};

/// Damage that is found in every one of these is there.
const READINGS_MAX: u32 = 3;

/// A segment of the log, to read messages from.
struct Source {
    base: u64,
    limit: u64,
    name: String,
    file: Box<dyn StorageFile>,
}

/// What the files of a store hold.
pub struct Inspection {
    summary: Recovery,
    queues: Vec<QueueInfo>,
    segments: Vec<SegmentInfo>,
    findings: Vec<Finding>,
    findings_more: u64,
    missed: u64,
    /// The time at the end of the log.
    seen: LastSeen,
    /// As `queues`.
    indexes: Vec<SeqIndex>,
    /// In order of address.
    sources: Vec<Source>,
}

/// Reads everything; again when something is damaged. Segments that somebody begins and fills while others are
/// read can look like damage, once.
fn read(storage: &dyn Storage) -> Result<(Examined, Vec<SegmentInfo>, u64), StoreError> {
    let mut readings = 1;
    loop {
        let SegmentFiles { files, aside, missed } = open_files(storage)?;
        let examined = examine(files, open_spills(storage)?)?;
        if examined.report.quarantined == 0 || readings == READINGS_MAX {
            return Ok((examined, aside, missed));
        }
        readings += 1;
    }
}

impl Inspection {
    /// Reads the folder of a store.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] when it is none; [`StoreError::NewerFormat`]; [`StoreError::Folder`] when it cannot be
    /// listed; [`StoreError::Io`] when a segment cannot be opened, or its header not be read.
    pub fn of_folder(folder: &Path) -> Result<Arc<Self>, StoreError> {
        std::fs::read_dir(folder)
            .map_err(|source| StoreError::Folder { folder: folder.to_owned(), source })?;
        let inspection = Self::of_storage(&FolderReader::new(folder))?;
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
        let (mut examined, aside, missed) = read(storage)?;
        let (summary, metas) = examined.count();
        let mut segments = report::segments(&examined, &metas);
        segments.extend(aside);
        segments.sort_by_key(|segment| segment.number);
        Ok(Arc::new(Self::assemble(examined, summary, segments, missed)))
    }

    fn assemble(examined: Examined, summary: Recovery, segments: Vec<SegmentInfo>, missed: u64) -> Self {
        let Examined { parts, replay, findings, salt, seen, .. } = examined;
        let replayed: Vec<ReplayedQueue> = replay.into_queues().flatten().collect();
        let times = times::enqueue_times(&parts, salt, &replayed);
        let sources = parts.into_iter().map(|part| Source {
            base: part.base,
            limit: part.base + part.end,
            name: part.name,
            file: part.file,
        });
        let (mut queues, mut indexes) = (Vec::new(), Vec::new());
        for queue in replayed {
            queues.push(report::queue(&queue, &times, &seen));
            indexes.push(queue.index);
        }
        Self {
            summary,
            queues,
            segments,
            findings: findings.iter().copied().collect(),
            findings_more: findings.more,
            missed,
            seen,
            indexes,
            sources: sources.collect(),
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

    /// What is damaged or torn, in the order of the log; at most [`FINDINGS_MAX`].
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Findings beyond [`FINDINGS_MAX`].
    pub fn findings_more(&self) -> u64 {
        self.findings_more
    }

    /// Segments that came or went while the folder was read, at every attempt. More than 0 means that somebody
    /// makes and removes segments faster than they can be opened, and that messages may be missing here.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Whether everything that had been durable can be read. A torn end is no damage.
    pub fn is_sound(&self) -> bool {
        let readable = self.segments.iter().all(|segment| !segment.unreadable);
        self.summary.quarantined == 0 && self.summary.orphaned == 0 && readable
    }

    /// The messages of a queue in order; `None` when there is no such queue.
    pub fn messages(self: &Arc<Self>, queue: QueueId) -> Option<Messages> {
        let at = self.queues.iter().position(|info| info.id == queue)?;
        Some(Messages::new(Arc::clone(self), at))
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
