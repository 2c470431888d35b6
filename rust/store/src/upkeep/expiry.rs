//! Messages whose time has passed and that nobody reads.

use std::ops::Range;
use std::sync::Arc;

use edgehub_types::{MonoTime, UnixMs};

use super::Upkeep;
use crate::StoreError;
use crate::ledger::LossCause;
use crate::queue::{Changes, Fetch, QueueInner};
use crate::segment::SegmentMeta;
use crate::shared::Shared;

/// Time between two searches for expired messages.
const SWEEP_MS: u64 = 1000;
/// Messages dropped at the front of one queue in one such search.
const SWEEP_MSGS_MAX: usize = 10_000;
/// Segments that are emptied in one search.
const OVERDUE_MAX: usize = 4;
/// Blocks of spill files that are dropped in one search, per queue.
const BLOCKS_MAX: usize = 1024;
/// A segment in which there was nothing to drop (what is left in it is leased) is looked at again after this.
const REST_MS: u64 = 10_000;

impl Shared {
    /// Drops expired messages that nobody leases, so that their segments can go: those at the front of queues, and all that
    /// lie in segments in which nothing is left that has not expired.
    pub fn sweep(&self, upkeep: &mut Upkeep, now: MonoTime) {
        if now < upkeep.next_sweep {
            return;
        }
        upkeep.next_sweep = now.plus_ms(SWEEP_MS);
        let at = self.time.now();
        let overdue = self.segments.overdue(at, OVERDUE_MAX);
        let before: Vec<u64> = overdue.iter().map(|segment| segment.live()).collect();
        let ranges = merged(&overdue);
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        let mut more = overdue.len() == OVERDUE_MAX;
        // Whole files first: only those give their space back although something is held before them.
        self.expire_files(at);
        for queue in queues.iter().filter(|queue| queue.len() > 0) {
            more |= self.sweep_queue(queue, &ranges, at);
            if let Err(error) = self.expire_blocks(queue, at) {
                log::warn!("{}: expired messages in files stay for now: {error}", queue.id);
            }
        }
        for (segment, before) in overdue.iter().zip(before) {
            if segment.live() == before {
                segment.rest_until(at.0.saturating_add(REST_MS));
            }
        }
        if more {
            upkeep.next_sweep = now;
        }
        self.blocks.rest();
    }

    /// Drops expired messages at the front of what is in spill files, block by block. A block that also holds others is
    /// fetched when nothing is before it; then it is the front.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn expire_blocks(&self, queue: &Arc<QueueInner>, at: UnixMs) -> Result<(), StoreError> {
        for _ in 0..BLOCKS_MAX {
            let Some(is_front) = queue.expired_ahead(at) else { break };
            let changes = match queue.next_fetch() {
                Fetch::List { file } => {
                    self.fetch_list(queue, file)?;
                    continue;
                }
                Fetch::Block { file, block } if block.last_expiry <= at => {
                    queue.skip_block(file, &block, LossCause::Expired)
                }
                Fetch::Block { file, block } if is_front && block.first_expiry <= at => {
                    self.fetch_block(queue, file, &block)?
                }
                _ => break,
            };
            self.settle(queue, changes);
        }
        Ok(())
    }

    /// True when there may be more at the front.
    fn sweep_queue(&self, queue: &Arc<QueueInner>, ranges: &[Range<u64>], at: UnixMs) -> bool {
        let mut changes = Changes::default();
        for range in ranges {
            changes.absorb(queue.expire_range(&self.segments, range.clone(), at));
        }
        let front = queue.expire_front(&self.segments, at, SWEEP_MSGS_MAX);
        changes.absorb(front);
        self.settle(queue, changes);
        front.lost.is_some_and(|lost| lost.count as usize >= SWEEP_MSGS_MAX)
    }
}

/// The addresses of segments that are in order; neighbours are one range.
fn merged(segments: &[Arc<SegmentMeta>]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::with_capacity(segments.len());
    for segment in segments {
        match ranges.last_mut() {
            Some(last) if last.end == segment.base => last.end = segment.limit,
            _ => ranges.push(segment.base..segment.limit),
        }
    }
    ranges
}
