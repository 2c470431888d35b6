//! What all clients of a run have counted together.

use crate::latency::Latencies;
use crate::sequence::StreamCounts;

/// Counters of one run.
#[derive(Debug)]
pub struct Tally {
    /// Messages sent, by the publishers together.
    pub published: u64,
    /// Messages acknowledged to the publishers.
    pub acked: u64,
    /// Messages that came to the subscribers.
    pub streams: StreamCounts,
    /// Messages of an earlier run, which count for nothing else.
    pub stale: u64,
    /// From sending, or from the time at which it was to be sent, to the subscriber.
    pub latencies: Latencies,
    /// Open loop: from the time at which a message was to be sent to its sending.
    pub lateness: Latencies,
    /// A message stamped before this is of an earlier run.
    pub run_start_ns: u64,
    /// A message stamped before this is of the warm-up: it counts, but its latency does not.
    pub measure_from_ns: u64,
    /// How far each publisher's messages have come to any subscriber: one above the highest sequence number.
    pub reached: Vec<u64>,
    /// Publishers whose `reached` has moved since the list was last emptied. May name one twice.
    pub moved: Vec<u32>,
}

impl Tally {
    /// Counters at zero.
    ///
    /// # Errors
    /// Never in practice, see [`Latencies::new`].
    pub fn new(publishers: usize, run_start_ns: u64) -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            published: 0,
            acked: 0,
            streams: StreamCounts::default(),
            stale: 0,
            latencies: Latencies::new()?,
            lateness: Latencies::new()?,
            run_start_ns,
            measure_from_ns: 0,
            reached: vec![0; publishers],
            moved: Vec::new(),
        })
    }

    /// Ends the warm-up: latencies begin anew, counters go on.
    pub fn start_measuring(&mut self, now_ns: u64) {
        self.measure_from_ns = now_ns;
        self.latencies.clear();
        self.lateness.clear();
    }

    /// Notes how far a publisher's messages have come.
    pub fn note_reached(&mut self, publisher: u32, next: u64) {
        let Some(reached) = self.reached.get_mut(publisher as usize).filter(|reached| **reached < next)
        else {
            return;
        };
        *reached = next;
        if self.moved.last() != Some(&publisher) {
            self.moved.push(publisher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reached_only_goes_up() {
        let mut tally = Tally::new(2, 0).unwrap();
        tally.note_reached(1, 5);
        tally.note_reached(1, 6);
        tally.note_reached(1, 3);
        tally.note_reached(9, 3);
        assert_eq!((tally.reached, tally.moved), (vec![0, 6], vec![1]));
    }

    #[test]
    fn the_end_of_the_warm_up_keeps_the_counters() {
        let mut tally = Tally::new(1, 0).unwrap();
        tally.published = 3;
        tally.latencies.record(5);
        tally.start_measuring(77);
        assert_eq!((tally.published, tally.measure_from_ns), (3, 77));
        assert_eq!(tally.latencies.summary(), None);
    }
}
