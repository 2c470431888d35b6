//! Where in the files something is not as it should be.

use std::fmt;

use crate::batch::QueueId;
use crate::spill::spill_name;

/// Findings that are kept; further ones are only counted.
pub const FINDINGS_MAX: usize = 10_000;

/// What is wrong with some bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// They had been durable and are not readable any more. A recovery skips them.
    Damaged,
    /// They were not yet known to be durable and are not whole: the log, or what it tells of a spill file, ends before them.
    /// Normal after a crash, and while somebody writes.
    Torn,
}

/// The file of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingFile {
    /// A segment, by number.
    Segment(u64),
    /// A spill file.
    Spill {
        /// Its queue.
        queue: QueueId,
        /// Its number.
        number: u64,
    },
}

/// Its name.
impl fmt::Display for FindingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Segment(number) => write!(f, "journal-{number:012}.seg"),
            Self::Spill { queue, number } => f.write_str(&spill_name(queue, number)),
        }
    }
}

/// Bytes of a file that are not readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Which file.
    pub file: FindingFile,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Finding {
    /// Whether `next` goes on where this ends.
    fn touches(&self, next: &Self) -> bool {
        let same = self.kind == next.kind && self.file == next.file;
        same && self.offset + self.bytes == next.offset
    }
}

/// Findings in the order of the log, at most [`FINDINGS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    /// How many more there were.
    pub more: u64,
}

impl Findings {
    /// What lies side by side is one finding.
    pub fn add(&mut self, finding: Finding) {
        if let Some(last) = self.list.last_mut()
            && self.more == 0
            && last.touches(&finding)
        {
            last.bytes += finding.bytes;
        } else if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        } else {
            self.more += 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(offset: u64) -> Finding {
        Finding { kind: FindingKind::Damaged, file: FindingFile::Segment(1), offset, bytes: 8 }
    }

    #[test]
    fn neighbours_are_one_finding() {
        let mut findings = Findings::default();
        for offset in [0, 8, 24] {
            findings.add(damage(offset));
        }
        findings.add(Finding { kind: FindingKind::Torn, ..damage(32) });
        let found: Vec<_> = findings.iter().map(|finding| (finding.offset, finding.bytes)).collect();
        assert_eq!(found, [(0, 16), (24, 8), (32, 8)]);
    }

    #[test]
    fn beyond_the_limit_they_are_counted() {
        let mut findings = Findings::default();
        for at in 0..FINDINGS_MAX as u64 + 3 {
            findings.add(damage(at * 16));
        }
        assert_eq!((findings.iter().count(), findings.more), (FINDINGS_MAX, 3));
    }
}
