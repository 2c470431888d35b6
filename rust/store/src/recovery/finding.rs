//! Where in the files something is not as it should be.

/// Findings that are kept; further ones are only counted.
pub const FINDINGS_MAX: usize = 10_000;

/// What is wrong with some bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// They had been durable and are not readable any more. A recovery skips them.
    Damaged,
    /// They were not yet known to be durable and are not whole: the log ends before them. Normal after a crash, and while
    /// somebody writes.
    Torn,
}

/// Bytes of a segment that are not readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Number of the segment.
    pub segment: u64,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Finding {
    /// Whether `next` goes on where this ends.
    fn touches(&self, next: &Self) -> bool {
        let same = self.kind == next.kind && self.segment == next.segment;
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
        Finding { kind: FindingKind::Damaged, segment: 1, offset, bytes: 8 }
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
