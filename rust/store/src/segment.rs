//! The segments at hand, by address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use edgehub_types::{StorageFile, UnixMs};
use parking_lot::{Mutex, RwLock};

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
    latest_expiry_ms: AtomicU64,
    rest_until_ms: AtomicU64,
    sealed: AtomicBool,
    times: Mutex<WriteTimes>,
}

/// Between two notes of the time there is at least this.
const TIME_STEP_MS: u64 = 1000;
/// Notes of one segment; with more, each second one is forgotten.
const TIMES_MAX: usize = 1024;

/// When something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// By the wall clock of then, milliseconds; 0 = not known.
    pub wall_ms: u64,
    /// In store time, milliseconds; 0 = not known.
    pub store_ms: u64,
}

impl Written {
    fn is_near(self, other: Self) -> bool {
        self.wall_ms.abs_diff(other.wall_ms) < TIME_STEP_MS
            && self.store_ms.abs_diff(other.store_ms) < TIME_STEP_MS
    }
}

/// When a segment was written, by address, about to the second.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteTimes {
    notes: Vec<(u64, Written)>,
}

impl WriteTimes {
    /// What begins at `address` was written then.
    pub fn note(&mut self, address: u64, written: Written) {
        if self.notes.last().is_some_and(|(_, last)| last.is_near(written)) {
            return;
        }
        if self.notes.len() >= TIMES_MAX {
            let mut at = 0;
            self.notes.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
        self.notes.push((address, written));
    }

    /// When what lies at `address` was written, or a little before.
    pub fn at(&self, address: u64) -> Written {
        let behind = self.notes.partition_point(|(from, _)| *from <= address);
        behind.checked_sub(1).and_then(|at| self.notes.get(at)).map_or_else(Written::default, |(_, at)| *at)
    }
}

impl SegmentMeta {
    fn new(base: u64, limit: u64, sealed: bool, times: WriteTimes) -> Arc<Self> {
        Arc::new(Self {
            base,
            limit,
            written: AtomicU64::new(if sealed { limit - base } else { 0 }),
            live: AtomicU64::new(0),
            latest_expiry_ms: AtomicU64::new(0),
            rest_until_ms: AtomicU64::new(0),
            sealed: AtomicBool::new(sealed),
            times: Mutex::new(times),
        })
    }

    /// An empty one that grows.
    pub fn active(base: u64, limit: u64) -> Arc<Self> {
        Self::new(base, limit, false, WriteTimes::default())
    }

    /// One of which nothing is known to be wanted yet, and that does not grow any more.
    pub fn complete(base: u64, limit: u64, times: WriteTimes) -> Arc<Self> {
        Self::new(base, limit, true, times)
    }

    /// Notes when a batch is written.
    pub fn note_time(&self, address: u64, written: Written) {
        self.times.lock().note(address, written);
    }

    /// When what lies at `address` was written.
    pub fn written_at(&self, address: u64) -> Written {
        self.times.lock().at(address)
    }

    /// When it was written, as far as it is.
    pub fn times(&self) -> WriteTimes {
        self.times.lock().clone()
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

    /// There are messages that live until then.
    pub fn note_expiry(&self, latest: UnixMs) {
        self.latest_expiry_ms.fetch_max(latest.0, Ordering::Relaxed);
    }

    /// There is nothing to drop before this store time.
    pub fn rest_until(&self, ms: u64) {
        self.rest_until_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether something in it is wanted of which all has expired.
    pub fn is_overdue(&self, now: UnixMs) -> bool {
        self.live() > 0
            && self.latest_expiry_ms.load(Ordering::Relaxed) <= now.0
            && self.rest_until_ms.load(Ordering::Relaxed) <= now.0
    }

    /// Nothing is appended to the segment any more.
    pub fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Whether nothing is appended any more.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Whether nothing in it is wanted and nothing will be.
    pub fn is_spent(&self) -> bool {
        self.is_sealed() && self.live() == 0
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

    /// The first segments, at most `max`, in which all messages have expired, and some are wanted.
    pub fn overdue(&self, now: UnixMs, max: usize) -> Vec<Arc<SegmentMeta>> {
        let list = self.list.read();
        let metas = list.iter().map(|segment| &segment.meta).filter(|meta| meta.is_overdue(now));
        metas.take(max).map(Arc::clone).collect()
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

    /// Where the complete segments end that lie below `durable` and in which something is wanted; oldest first.
    pub fn wanted_ends(&self, durable: u64) -> Vec<u64> {
        let list = self.list.read();
        let metas = list.iter().map(|segment| &segment.meta);
        let wanted = metas.filter(|meta| meta.limit <= durable && meta.is_sealed() && meta.live() > 0);
        wanted.map(|meta| meta.limit).collect()
    }

    /// Number of segments and the bytes of their address ranges.
    pub fn totals(&self) -> (u64, u64) {
        let list = self.list.read();
        (list.len() as u64, list.iter().map(|segment| segment.meta.limit - segment.meta.base).sum())
    }
}
