//! Numbers of one queue that damage took.

/// Ranges kept apart; with more, the newest grow together, and a checkpoint inside of them is counted less exactly.
const RANGES_MAX: usize = 1024;

/// `count` numbers in `first..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub first: u64,
    pub end: u64,
    pub count: u64,
}

/// What is missing in a queue, in order.
#[derive(Debug, Default)]
pub(super) struct LostNumbers {
    ranges: Vec<Range>,
}

impl LostNumbers {
    /// Notes `count` numbers in `first..end`, which are not below those noted before.
    pub fn note(&mut self, first: u64, end: u64, count: u64) {
        if count == 0 {
            return;
        }
        let full = self.ranges.len() >= RANGES_MAX;
        match self.ranges.last_mut() {
            Some(last) if full || last.end == first => {
                last.end = end;
                last.count = last.count.saturating_add(count);
            }
            _ => self.ranges.push(Range { first, end, count }),
        }
    }

    /// The numbers below `head` were done before the damage, or dropped on purpose.
    pub fn forget_below(&mut self, head: u64) {
        self.ranges.retain(|range| range.end > head);
        for range in self.ranges.iter_mut().take_while(|range| range.first < head) {
            range.first = head;
            range.count = range.count.min(range.end - head);
        }
    }

    /// Adds those of another, which are not below these.
    pub fn append(&mut self, other: &Self) {
        other.ranges.iter().for_each(|range| self.note(range.first, range.end, range.count));
    }

    pub fn total(&self) -> u64 {
        self.ranges.iter().fold(0, |total, range| range.count.saturating_add(total))
    }

    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_cuts_what_is_below_it() {
        let mut lost = LostNumbers::default();
        lost.note(2, 5, 3);
        lost.note(5, 6, 1);
        lost.note(9, 9, 0);
        lost.note(10, 20, 10);
        assert_eq!(lost.total(), 14);
        lost.forget_below(4);
        assert_eq!(
            lost.ranges(),
            [Range { first: 4, end: 6, count: 2 }, Range { first: 10, end: 20, count: 10 }]
        );
        lost.forget_below(15);
        assert_eq!(lost.ranges(), [Range { first: 15, end: 20, count: 5 }]);
        lost.forget_below(20);
        assert_eq!(lost.total(), 0);
    }

    #[test]
    fn the_number_of_ranges_is_limited_and_the_total_right() {
        let mut lost = LostNumbers::default();
        let all = RANGES_MAX as u64 + 50;
        for n in 0..all {
            lost.note(n * 10, n * 10 + 3, 3);
        }
        assert_eq!((lost.ranges().len(), lost.total()), (RANGES_MAX, all * 3));
    }
}
