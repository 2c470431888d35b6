//! What the messages take: the one place that computes it.
//!
//! A file counts with all that was written to it as long as something in it is wanted, and not at all from then on.

use std::sync::atomic::Ordering;

use crate::config::SyncPolicy;
use crate::queue::SpentFile;
use crate::shared::Shared;

/// Bytes that messages take, by kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub journal: u64,
    pub spill: u64,
}

impl Usage {
    pub fn total(self) -> u64 {
        self.journal + self.spill
    }
}

impl Shared {
    /// Looks at all segments.
    pub fn measure_usage(&self) -> Usage {
        let journal = self.segments.used_bytes();
        self.load.journal_bytes.store(journal, Ordering::Relaxed);
        Usage { journal, spill: self.spilled_usage() }
    }

    /// Bytes of spill files in which something is wanted.
    fn spilled_usage(&self) -> u64 {
        let spent = self.load.spent_bytes.load(Ordering::Relaxed);
        self.load.spill_bytes.load(Ordering::Relaxed).saturating_sub(spent)
    }

    /// Nothing is wanted any more of these files, which are to be unlinked.
    pub fn note_spent(&self, files: Vec<SpentFile>) {
        let bytes = files.iter().map(|file| file.bytes).sum();
        self.load.spent_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.spent_files.lock().extend(files);
    }

    /// Bytes of all files of a store in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.segments.totals().1 + self.load.spill_bytes.load(Ordering::Relaxed)
    }

    /// A batch of so many bytes was published.
    pub fn note_published(&self, bytes: usize) {
        self.load.journal_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What messages take, with those that wait for their commit. Too much by what was freed since the last
    /// measurement; costs next to nothing.
    pub fn estimated_usage(&self) -> u64 {
        let gathered = match self.policy {
            SyncPolicy::Group => self.load.unsynced.load(Ordering::Relaxed) as u64,
            SyncPolicy::Interval { .. } | SyncPolicy::None => 0,
        };
        self.load.journal_bytes.load(Ordering::Relaxed) + self.spilled_usage() + gathered
    }
}
