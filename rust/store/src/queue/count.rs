//! How much waits in a queue.

use std::ops::AddAssign;
use std::sync::atomic::Ordering;

use super::QueueInner;
use crate::index::{Entry, SeqIndex};

/// Messages and what they take: the bytes of their records, in a spill file those of their entries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub msgs: u64,
    pub bytes: u64,
}

impl Count {
    pub fn of(entry: Entry) -> Self {
        Self { msgs: 1, bytes: u64::from(entry.len()) }
    }

    /// All that is not done.
    pub fn of_all(index: &SeqIndex) -> Self {
        let mut all = Self::default();
        index.iter().filter(|entry| !entry.is_done()).for_each(|entry| all.add(*entry));
        all
    }

    pub fn add(&mut self, entry: Entry) {
        *self += Self::of(entry);
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, more: Self) {
        self.msgs += more.msgs;
        self.bytes += more.bytes;
    }
}

/// Counters are written under the lock of the state only, so plain stores are enough.
impl QueueInner {
    /// Messages that are neither acknowledged nor known to be expired.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// What they take.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Messages came.
    pub(super) fn count_in(&self, more: Count) {
        self.set(self.len() + more.msgs, self.bytes() + more.bytes);
    }

    /// Messages left for good. Bytes in spill files are known for a file as a whole, so those of one message may be a
    /// little off until the file is done.
    pub(super) fn count_out(&self, less: Count) {
        self.set(self.len() - less.msgs, self.bytes().saturating_sub(less.bytes));
    }

    /// The same messages are in another place, where they take so many bytes.
    pub(super) fn count_moved(&self, from_bytes: u64, to_bytes: u64) {
        self.set(self.len(), (self.bytes() + to_bytes).saturating_sub(from_bytes));
    }

    /// Everything left.
    pub(super) fn count_nothing(&self) {
        self.set(0, 0);
    }

    fn set(&self, msgs: u64, bytes: u64) {
        self.len.store(msgs, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}
