//! The segments at hand, by address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use edgehub_types::StorageFile;
use parking_lot::RwLock;

/// What queues need to know of a segment. Apart from the file, so that a queue that remembers it
/// does not keep an unlinked file open.
#[derive(Debug)]
pub(crate) struct SegmentMeta {
    /// First address.
    pub base: u64,
    /// First address that is not its own.
    pub limit: u64,
    /// Bytes written to it, as far as they were published.
    written: AtomicU64,
    live: AtomicU64,
    sealed: AtomicBool,
}

impl SegmentMeta {
    /// A sealed one is full of what was written, another one empty.
    pub fn new(base: u64, limit: u64, live: u64, sealed: bool) -> Arc<Self> {
        let written = AtomicU64::new(if sealed { limit - base } else { 0 });
        let (live, sealed) = (AtomicU64::new(live), AtomicBool::new(sealed));
        Arc::new(Self { base, limit, written, live, sealed })
    }

    pub fn contains(&self, address: u64) -> bool {
        (self.base..self.limit).contains(&address)
    }

    /// Counts messages as wanted. Comes before they can be seen by a reader.
    pub fn add_live(&self, count: u64) {
        self.live.fetch_add(count, Ordering::Relaxed);
    }

    /// Messages that are wanted.
    pub fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Counts messages as done.
    pub fn drop_live(&self, count: u64) {
        self.live.fetch_sub(count, Ordering::Relaxed);
    }

    /// Takes note that it is written up to this address.
    pub fn note_written(&self, end: u64) {
        self.written.fetch_max(end.saturating_sub(self.base), Ordering::Relaxed);
    }

    /// Bytes of it that count: all that was written as long as something in it is wanted.
    pub fn used_bytes(&self) -> u64 {
        if self.live() == 0 { 0 } else { self.written.load(Ordering::Relaxed) }
    }

    /// Nothing is appended to the segment any more.
    pub fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Whether nothing in it is wanted and nothing will be.
    pub fn is_spent(&self) -> bool {
        self.sealed.load(Ordering::Acquire) && self.live() == 0
    }
}

/// A segment with its file.
pub(crate) struct Segment {
    pub meta: Arc<SegmentMeta>,
    pub name: String,
    pub file: Box<dyn StorageFile>,
}

impl Segment {
    /// Offset in the file of an address of this segment.
    pub fn offset(&self, address: u64) -> u64 {
        address.saturating_sub(self.meta.base)
    }
}

/// All segments in order of address.
#[derive(Default)]
pub(crate) struct SegmentSet {
    list: RwLock<Vec<Arc<Segment>>>,
}

impl SegmentSet {
    pub fn new(list: Vec<Arc<Segment>>) -> Self {
        Self { list: RwLock::new(list) }
    }

    /// Adds the newest one.
    pub fn push(&self, segment: Arc<Segment>) {
        self.list.write().push(segment);
    }

    pub fn find(&self, address: u64) -> Option<Arc<Segment>> {
        let list = self.list.read();
        let at = list.partition_point(|segment| segment.meta.base <= address);
        let segment = list.get(at.checked_sub(1)?)?;
        segment.meta.contains(address).then(|| Arc::clone(segment))
    }

    /// Takes out the spent segments that end at or below `address`, at most `max`.
    pub fn take_spent(&self, address: u64, max: usize) -> Vec<Arc<Segment>> {
        let mut list = self.list.write();
        let mut taken = Vec::new();
        list.retain(|segment| {
            let take = taken.len() < max && segment.meta.limit <= address && segment.meta.is_spent();
            if take {
                taken.push(Arc::clone(segment));
            }
            !take
        });
        taken
    }

    /// Where the first spent one ends.
    pub fn first_spent(&self) -> Option<u64> {
        let list = self.list.read();
        list.iter().map(|segment| &segment.meta).find(|meta| meta.is_spent()).map(|meta| meta.limit)
    }

    /// Those in which something is wanted, oldest first.
    pub fn wanted(&self) -> Vec<Arc<SegmentMeta>> {
        let list = self.list.read();
        list.iter().map(|segment| &segment.meta).filter(|meta| meta.live() > 0).cloned().collect()
    }

    /// Bytes of all segments that count.
    pub fn used_bytes(&self) -> u64 {
        self.list.read().iter().map(|segment| segment.meta.used_bytes()).sum()
    }

    /// Number of segments and the bytes of their address ranges.
    pub fn totals(&self) -> (u64, u64) {
        let list = self.list.read();
        (list.len() as u64, list.iter().map(|segment| segment.meta.limit - segment.meta.base).sum())
    }
}
