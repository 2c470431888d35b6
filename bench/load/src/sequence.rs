//! Order, loss and duplicates of one stream: what one subscriber gets from one publisher.

use std::ops::Range;

/// Gaps remembered for each stream, so that a late message can be told from a duplicate. Beyond it the oldest gap is
/// forgotten, and what still comes for it counts as a duplicate.
pub const GAPS_MAX: usize = 256;

/// What a message is in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one.
    InOrder,
    /// A later one: this many before it have not come.
    AfterGap(u64),
    /// One that a later message has overtaken.
    Late,
    /// One that has come before.
    Duplicate,
}

/// Counts over any number of streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Different messages.
    pub unique: u64,
    /// Messages skipped by a later one, whether they came later or not.
    pub skipped: u64,
    /// Messages that came after a later one.
    pub late: u64,
    /// Messages that had come before.
    pub duplicates: u64,
}

impl StreamCounts {
    /// Counts one message.
    pub fn add(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::InOrder => self.unique += 1,
            Arrival::AfterGap(skipped) => {
                self.unique += 1;
                self.skipped += skipped;
            }
            Arrival::Late => {
                self.unique += 1;
                self.late += 1;
            }
            Arrival::Duplicate => self.duplicates += 1,
        }
    }
}

/// Checks the sequence numbers of one stream, which begin at 0.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// The lowest number above all that have come.
    next: u64,
    /// What is missing below `next`, oldest first.
    gaps: Vec<Range<u64>>,
}

impl Stream {
    /// Takes the number of the next message that came.
    #[inline]
    pub fn arrive(&mut self, sequence: u64) -> Arrival {
        if sequence == self.next {
            self.next += 1;
            return Arrival::InOrder;
        }
        if sequence > self.next {
            return self.open_gap(sequence);
        }
        self.fill(sequence)
    }

    #[cold]
    fn open_gap(&mut self, sequence: u64) -> Arrival {
        let gap = self.next..sequence;
        let skipped = sequence - self.next;
        self.next = sequence.saturating_add(1);
        if self.gaps.len() == GAPS_MAX {
            self.gaps.remove(0);
        }
        self.gaps.push(gap);
        Arrival::AfterGap(skipped)
    }

    /// Takes a number below `next`: it is late when it lies in a gap, which it then splits.
    #[cold]
    fn fill(&mut self, sequence: u64) -> Arrival {
        let Some(at) = self.gaps.iter().position(|gap| gap.contains(&sequence)) else {
            return Arrival::Duplicate;
        };
        let gap = self.gaps.remove(at);
        for half in [sequence + 1..gap.end, gap.start..sequence] {
            if !half.is_empty() {
                self.gaps.insert(at, half);
            }
        }
        if self.gaps.len() > GAPS_MAX {
            self.gaps.remove(0);
        }
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(numbers: impl IntoIterator<Item = u64>) -> (Vec<Arrival>, StreamCounts) {
        let mut stream = Stream::default();
        let mut counts = StreamCounts::default();
        let seen: Vec<_> = numbers.into_iter().map(|number| stream.arrive(number)).collect();
        for arrival in &seen {
            counts.add(*arrival);
        }
        (seen, counts)
    }

    #[test]
    fn in_order() {
        let (_, counts) = arrivals(0..100);
        assert_eq!(counts, StreamCounts { unique: 100, ..StreamCounts::default() });
    }

    #[test]
    fn a_gap_is_counted_once_and_late_messages_fill_it() {
        use Arrival::{AfterGap, Duplicate, InOrder, Late};
        let (seen, counts) = arrivals([0, 4, 5, 2, 1, 2, 3, 3, 6]);
        assert_eq!(seen, [InOrder, AfterGap(3), InOrder, Late, Late, Duplicate, Late, Duplicate, InOrder]);
        assert_eq!(counts, StreamCounts { unique: 7, skipped: 3, late: 3, duplicates: 2 });
    }

    #[test]
    fn loss_at_the_start_is_a_gap() {
        assert_eq!(arrivals([2]).0, [Arrival::AfterGap(2)]);
    }

    #[test]
    fn gaps_are_bounded_and_the_oldest_is_forgotten() {
        let odd = (0..=GAPS_MAX as u64).map(|n| 2 * n + 1);
        let mut stream = Stream::default();
        odd.for_each(|number| assert_eq!(stream.arrive(number), Arrival::AfterGap(1)));
        assert_eq!(stream.gaps.len(), GAPS_MAX);
        assert_eq!(stream.arrive(0), Arrival::Duplicate, "its gap is forgotten");
        assert_eq!(stream.arrive(2), Arrival::Late);
    }

    /// Against a plain set of what has come, for every order of five messages with one repeated.
    #[test]
    fn agrees_with_a_set() {
        for code in 0..5_u64.pow(6) {
            let numbers: Vec<u64> = (0..6).map(|digit| code / 5_u64.pow(digit) % 5).collect();
            let mut came = std::collections::BTreeSet::new();
            let mut stream = Stream::default();
            for number in numbers {
                let highest = came.last().copied();
                let expected = match highest {
                    _ if !came.insert(number) => Arrival::Duplicate,
                    Some(highest) if number < highest => Arrival::Late,
                    highest => match number - highest.map_or(0, |highest| highest + 1) {
                        0 => Arrival::InOrder,
                        skipped => Arrival::AfterGap(skipped),
                    },
                };
                assert_eq!(stream.arrive(number), expected, "{code}");
            }
        }
    }
}
