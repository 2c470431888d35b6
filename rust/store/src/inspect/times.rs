//! When the first and the last message of each queue were written, by the wall clock of then: batches say it, the
//! index does not.

use std::collections::BTreeMap;

use edgehub_types::UnixMs;

use crate::format::SegmentHeader;
use crate::recovery::{Found, Part, ReplayedQueue};
use crate::time::LastSeen;

/// Time of writing by the address of a record.
pub(super) struct EnqueueTimes {
    by_address: BTreeMap<u64, Option<UnixMs>>,
}

impl EnqueueTimes {
    /// `None` for a record that was not asked for.
    pub fn of(&self, address: u64) -> Option<UnixMs> {
        self.by_address.get(&address).copied().flatten()
    }

    fn fill(&mut self, from: u64, to: u64, written: UnixMs) {
        for (_, time) in self.by_address.range_mut(from..to) {
            *time = Some(written);
        }
    }
}

/// Reads the segments again in which a queue begins or ends.
pub(super) fn enqueue_times(parts: &[Part], salt: u64, queues: &[ReplayedQueue]) -> EnqueueTimes {
    let ends = queues.iter().flat_map(|queue| {
        let last = queue.index.len().checked_sub(1);
        [Some(0), last].into_iter().filter_map(|at| queue.index.get(at?))
    });
    let mut times = EnqueueTimes { by_address: ends.map(|entry| (entry.address, None)).collect() };
    for part in parts {
        let (from, to) = (part.base, part.base + part.end);
        if times.by_address.range(from..to).next().is_some() {
            fill_from(&mut times, part, salt);
        }
    }
    times
}

fn fill_from(times: &mut EnqueueTimes, part: &Part, salt: u64) {
    let mut seen = LastSeen::default();
    seen.enter(part.header.as_ref().map(SegmentHeader::stamp));
    let mut scan = part.scan(salt, part.data_start(), part.end);
    while let Some(found) = scan.next() {
        if let Found::Batch(batch) = found {
            seen.pass(&batch);
            let header = batch.header;
            let end = header.address + u64::from(header.bytes);
            times.fill(header.address, end, seen.wall_of(UnixMs(header.written_ms)));
        }
    }
}
