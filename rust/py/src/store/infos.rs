//! Queues, segments and damage as Python objects.

use edgehub_store::inspect::{Finding, FindingKind, QueueInfo, SegmentInfo, SpillBlock, SpillInfo};
use edgehub_types::UnixMs;
use pyo3::prelude::*;

/// One queue as the files have it. Times are milliseconds since 1970 UTC.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreQueue {
    id: u32,
    endpoint: String,
    priority: u32,
    removed: bool,
    messages: u64,
    bytes: u64,
    spilled: u64,
    spill_bytes: u64,
    head_seq: u64,
    next_seq: u64,
    oldest_enqueued_ms: Option<u64>,
    newest_enqueued_ms: Option<u64>,
    first_expiry_ms: Option<u64>,
    last_expiry_ms: Option<u64>,
    never_expiring: u64,
}

fn ms(time: Option<UnixMs>) -> Option<u64> {
    time.map(|time| time.0)
}

impl From<&QueueInfo> for StoreQueue {
    fn from(info: &QueueInfo) -> Self {
        Self {
            id: info.id.get(),
            endpoint: info.endpoint.to_string(),
            priority: info.priority,
            removed: info.removed,
            messages: info.messages,
            bytes: info.bytes,
            spilled: info.spilled,
            spill_bytes: info.spill_bytes,
            head_seq: info.head_seq,
            next_seq: info.next_seq,
            oldest_enqueued_ms: ms(info.oldest_enqueued),
            newest_enqueued_ms: ms(info.newest_enqueued),
            first_expiry_ms: ms(info.first_expiry),
            last_expiry_ms: ms(info.last_expiry),
            never_expiring: info.never_expiring,
        }
    }
}

#[pymethods]
impl StoreQueue {
    fn __repr__(&self) -> String {
        let Self { id, endpoint, priority, messages, .. } = self;
        format!("StoreQueue({id}, {endpoint:?}, priority={priority}, messages={messages})")
    }
}

/// One segment file.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreSegment {
    number: u64,
    name: String,
    state: &'static str,
    bytes: u64,
    used_bytes: u64,
    base: u64,
    created_ms: Option<u64>,
    messages: u64,
    unreadable: bool,
}

impl From<&SegmentInfo> for StoreSegment {
    fn from(info: &SegmentInfo) -> Self {
        Self {
            number: info.number,
            name: info.name.clone(),
            state: info.state.name(),
            bytes: info.bytes,
            used_bytes: info.used_bytes,
            base: info.base,
            created_ms: ms(info.created),
            messages: info.messages,
            unreadable: info.unreadable,
        }
    }
}

#[pymethods]
impl StoreSegment {
    fn __repr__(&self) -> String {
        format!("StoreSegment({:?}, {:?}, messages={})", self.name, self.state, self.messages)
    }
}

/// One spill file.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreSpillFile {
    queue: u32,
    number: u64,
    name: String,
    state: &'static str,
    bytes: u64,
    messages: u64,
    blocks: u64,
    first_seq: u64,
    end_seq: u64,
    last_expiry_ms: Option<u64>,
}

impl From<&SpillInfo> for StoreSpillFile {
    fn from(info: &SpillInfo) -> Self {
        Self {
            queue: info.queue.get(),
            number: info.number,
            name: info.name.clone(),
            state: info.state.name(),
            bytes: info.bytes,
            messages: info.messages,
            blocks: info.blocks,
            first_seq: info.first_seq,
            end_seq: info.end_seq,
            last_expiry_ms: ms(info.last_expiry),
        }
    }
}

#[pymethods]
impl StoreSpillFile {
    fn __repr__(&self) -> String {
        format!("StoreSpillFile({:?}, {:?}, messages={})", self.name, self.state, self.messages)
    }
}

/// A block of a spill file in which messages are wanted.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreSpillBlock {
    file: String,
    offset: u64,
    from_seq: u64,
    messages: u64,
}

impl From<SpillBlock> for StoreSpillBlock {
    fn from(block: SpillBlock) -> Self {
        let SpillBlock { file, offset, from_seq, messages, .. } = block;
        Self { file, offset, from_seq, messages }
    }
}

#[pymethods]
impl StoreSpillBlock {
    fn __repr__(&self) -> String {
        let Self { file, offset, messages, .. } = self;
        format!("StoreSpillBlock({file:?}, offset={offset}, messages={messages})")
    }
}

/// Bytes of a file that are not readable.
#[pyclass(frozen, get_all, module = "edgehub._core")]
pub(crate) struct StoreFinding {
    kind: &'static str,
    file: String,
    offset: u64,
    bytes: u64,
}

impl From<&Finding> for StoreFinding {
    fn from(finding: &Finding) -> Self {
        let kind = match finding.kind {
            FindingKind::Torn => "torn",
            _ => "damaged",
        };
        let Finding { file, offset, bytes, .. } = *finding;
        Self { kind, file: file.to_string(), offset, bytes }
    }
}

#[pymethods]
impl StoreFinding {
    fn __repr__(&self) -> String {
        let Self { kind, file, offset, bytes } = self;
        format!("StoreFinding({kind:?}, {file:?}, offset={offset}, bytes={bytes})")
    }
}
