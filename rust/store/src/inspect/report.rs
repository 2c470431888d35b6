//! What is told of queues and segments.

use std::sync::Arc;

use edgehub_types::UnixMs;

use super::spilled::SpilledQueue;
use super::times::EnqueueTimes;
use crate::batch::QueueId;
use crate::recovery::{EmptyPart, Examined, Part, ReplayedQueue};
use crate::segment::SegmentMeta;
use crate::time::{LastSeen, plus};

/// One queue as the files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Id.
    pub id: QueueId,
    /// Endpoint.
    pub endpoint: Arc<str>,
    /// Priority, 0 is the highest.
    pub priority: u32,
    /// Whether the endpoint is removed; then it has no messages.
    pub removed: bool,
    /// Messages that are not acknowledged, expired ones included.
    pub messages: u64,
    /// Bytes of their records; of those in spill files, of their entries, uncompressed. A message in several queues counts in
    /// each of them.
    pub bytes: u64,
    /// Those of the messages that are in spill files.
    pub spilled: u64,
    /// Bytes of the queue's spill files on disk, whatever their state.
    pub spill_bytes: u64,
    /// Number of the first message, or of the next one to come when there is none. With messages in spill files it is the
    /// checkpoint: the first message may have a higher number.
    pub head_seq: u64,
    /// Number that the next message gets.
    pub next_seq: u64,
    /// When the first message was written to the journal.
    pub oldest_enqueued: Option<UnixMs>,
    /// When the last one was.
    pub newest_enqueued: Option<UnixMs>,
    /// The first expiry by the wall clock as it stood last, rounded up to a second; `None` when no message expires.
    pub first_expiry: Option<UnixMs>,
    /// The last expiry of those that expire.
    pub last_expiry: Option<UnixMs>,
    /// Messages that never expire.
    pub never_expiring: u64,
}

/// What a recovery would do with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// The last one of the log; in use if somebody has the store open.
    Last,
    /// Complete.
    Full,
    /// Complete, and nothing in it is wanted any more: it will be unlinked.
    Spent,
    /// Not in use yet.
    Prepared,
    /// Behind the torn end of the log: a recovery would remove it.
    Behind,
    /// Nothing in it can be read: a recovery would put it aside.
    Unreadable,
    /// Put aside by an earlier recovery.
    Aside,
}

impl SegmentState {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Full => "full",
            Self::Spent => "spent",
            Self::Prepared => "prepared",
            Self::Behind => "behind",
            Self::Unreadable => "unreadable",
            Self::Aside => "aside",
        }
    }
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Number.
    pub number: u64,
    /// Name of the file.
    pub name: String,
    /// State.
    pub state: SegmentState,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// Bytes up to the end of its last batch.
    pub used_bytes: u64,
    /// Address of its first byte.
    pub base: u64,
    /// When it was begun; `None` without a readable header.
    pub created: Option<UnixMs>,
    /// Messages in it that are wanted, once for each queue.
    pub messages: u64,
    /// The disk could not read all of it; those sectors count as zeros.
    pub unreadable: bool,
}

impl SegmentInfo {
    /// A file that is no part of the log.
    pub(super) fn without_log(number: u64, name: String, bytes: u64, state: SegmentState) -> Self {
        let (used_bytes, base, created, messages, unreadable) = (0, 0, None, 0, false);
        Self { number, name, state, bytes, used_bytes, base, created, messages, unreadable }
    }

    fn of_part(part: &Part, state: SegmentState, messages: u64) -> Self {
        Self {
            number: part.number,
            name: part.name.clone(),
            state,
            bytes: part.len,
            used_bytes: part.end,
            base: part.base,
            created: part.header.as_ref().map(|header| plus(UnixMs(header.created_ms), header.wall_skew_ms)),
            messages,
            unreadable: part.unreadable,
        }
    }
}

/// All segments that were read.
pub(super) fn segments(examined: &Examined, metas: &[Arc<SegmentMeta>]) -> Vec<SegmentInfo> {
    let last = examined.parts.last().map(|part| part.number);
    let log = examined.parts.iter().zip(metas).map(|(part, meta)| {
        let state = match meta.live() {
            _ if Some(part.number) == last => SegmentState::Last,
            0 => SegmentState::Spent,
            _ => SegmentState::Full,
        };
        SegmentInfo::of_part(part, state, meta.live())
    });
    let dropped = examined.dropped.iter().map(|part| SegmentInfo::of_part(part, SegmentState::Behind, 0));
    let empty = examined.empty.iter().map(|EmptyPart { part, bytes, begun }| {
        let state = match (begun, bytes) {
            (true, 0) => SegmentState::Prepared,
            (true, _) => SegmentState::Behind,
            (false, _) => SegmentState::Unreadable,
        };
        SegmentInfo::without_log(part.number, part.name.clone(), part.len, state)
    });
    log.chain(dropped).chain(empty).collect()
}

/// One queue.
pub(super) fn queue(
    queue: &ReplayedQueue,
    spilled: &SpilledQueue,
    times: &EnqueueTimes,
    seen: &LastSeen,
) -> QueueInfo {
    let ReplayedQueue { id, endpoint, priority, index, removed, .. } = queue;
    let entries = || index.iter();
    let wall_of = |at| seen.wall_of(at);
    let expiries = || entries().filter_map(|entry| entry.expires_at()).map(wall_of);
    let in_journal = index.len() as u64;
    let time_at = |at: Option<usize>| times.of(index.get(at?)?.address);
    QueueInfo {
        id: *id,
        endpoint: Arc::clone(endpoint),
        priority: *priority,
        removed: *removed,
        messages: in_journal + spilled.messages,
        bytes: spilled.bytes + entries().map(|entry| u64::from(entry.len())).sum::<u64>(),
        spilled: spilled.messages,
        spill_bytes: spilled.file_bytes,
        head_seq: if spilled.messages > 0 { spilled.head_seq } else { index.head() },
        next_seq: index.next(),
        oldest_enqueued: spilled.oldest_enqueued.or_else(|| time_at(Some(0))),
        newest_enqueued: time_at(index.len().checked_sub(1)).or(spilled.newest_enqueued),
        first_expiry: expiries().chain(spilled.first_expiry.map(wall_of)).min(),
        last_expiry: expiries().chain(spilled.last_expiry.map(wall_of)).max(),
        never_expiring: spilled.never_expiring + in_journal - expiries().count() as u64,
    }
}
