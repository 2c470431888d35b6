//! Staying within the quota, and on a full disk: dropping messages, where the policy says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use super::Upkeep;
use crate::StoreError;
use crate::ledger::Lost;
use crate::plan::{Holding, Part, victims};
use crate::queue::QueueInner;
use crate::quota::Quota;
use crate::segment::SegmentMeta;
use crate::shared::Shared;

/// Entries looked at, and messages dropped, under one lock.
const PIECE_ENTRIES: usize = 10_000;
/// Time until the next look at messages when nothing could be dropped.
const FRUITLESS_MS: u64 = 1000;
/// Time between two lines of the log on the same matter.
const LOG_EVERY_MS: u64 = 60_000;

/// What the log was told and what it was not yet.
#[derive(Default)]
pub(crate) struct QuotaLog {
    full_next: MonoTime,
    dropped_next: MonoTime,
    dropped: u64,
}

impl Shared {
    /// # Errors
    /// [`StoreError::Poisoned`].
    pub(super) fn keep_quota(&self, upkeep: &mut Upkeep, now: MonoTime) -> Result<(), StoreError> {
        let quota = self.quota.get();
        let used = self.measure_usage().total();
        upkeep.quota_log.used(quota, used, now);
        if quota.policy.drops() && upkeep.make_way_at.is_none_or(|at| at <= now) {
            let over = quota.bytes_to_free(used).max(self.memory_to_free());
            let dropped = match over {
                0 if self.disk_is_stuck(upkeep) => self.make_way(quota, self.segment_bytes(), false)?,
                0 => None,
                over => self.make_way(quota, over, true)?,
            };
            // When all is leased there is nothing to drop, and to find that out costs time.
            upkeep.make_way_at = (dropped == Some(0)).then(|| now.plus_ms(FRUITLESS_MS));
            upkeep.more |= dropped > Some(0);
            upkeep.quota_log.dropped += dropped.unwrap_or_default();
        }
        upkeep.quota_log.dropped(quota, now);
        Ok(())
    }

    /// Memory has a limit anyway. Dropping begins before that one makes senders wait, and goes down to where their waiting
    /// ends.
    fn memory_to_free(&self) -> u64 {
        let max = if self.in_memory { self.config.memory_bytes_max } else { u64::MAX };
        let bytes = self.segments.totals().1;
        if bytes > max / 4 * 3 { bytes - max / 8 * 5 } else { 0 }
    }

    /// Whether there is no space for another segment and none is on its way: nothing was unlinked since, or is to be.
    fn disk_is_stuck(&self, upkeep: &Upkeep) -> bool {
        let unlinked = self.counters.unlinked.load(Ordering::Relaxed);
        upkeep.refused_after == Some(unlinked)
            && upkeep.retiring.is_empty()
            && self.segments.first_spent().is_none()
    }

    fn segment_bytes(&self) -> u64 {
        self.journal.lock().segment_bytes()
    }

    /// Drops messages so that files of `to_free` bytes hold nothing that is wanted. Returns how many were dropped.
    ///
    /// The segment in which the log ends gives its space back only when another is begun, so it is spared unless there
    /// is space for that.
    fn make_way(&self, quota: Quota, to_free: u64, with_last: bool) -> Result<Option<u64>, StoreError> {
        let segments = self.segments.wanted();
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        let holdings = survey(&segments, &queues);
        let mut dropped = 0;
        for place in victims(quota.policy, to_free, &holdings) {
            let (Some(segment), Some(holding)) = (segments.get(place), holdings.get(place)) else { continue };
            if !self.is_closed_for_messages(segment, with_last)? {
                continue;
            }
            for part in &holding.parts {
                let queue = queues.iter().find(|queue| queue.id == part.queue);
                dropped += queue.map_or(0, |queue| self.drop_messages(queue, segment));
            }
        }
        self.measure_usage();
        Ok(Some(dropped))
    }

    /// Whether the log ends elsewhere, in a new segment if need be.
    fn is_closed_for_messages(&self, segment: &SegmentMeta, with_last: bool) -> Result<bool, StoreError> {
        let mut journal = self.journal.lock();
        if !journal.ends_in(segment.base) {
            return Ok(true);
        }
        if !with_last {
            return Ok(false);
        }
        match self.begin_segment(&mut journal, 0) {
            Ok(()) => Ok(true),
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn drop_messages(&self, queue: &Arc<QueueInner>, segment: &SegmentMeta) -> u64 {
        let part = segment.base..segment.limit;
        let mut total = 0;
        loop {
            let changes = queue.drop_in(&self.segments, &part, PIECE_ENTRIES);
            let count = changes.lost.map_or(0, |Lost { count, .. }| count);
            total += count;
            self.settle(queue, changes);
            if (count as usize) < PIECE_ENTRIES {
                return total;
            }
        }
    }
}

/// What the segments hold of which queue.
fn survey(segments: &[Arc<SegmentMeta>], queues: &[Arc<QueueInner>]) -> Vec<Holding> {
    let mut holdings: Vec<_> = segments
        .iter()
        .map(|meta| Holding { age: meta.base, bytes: meta.used_bytes(), pinned: false, parts: Vec::new() })
        .collect();
    for queue in queues.iter().filter(|queue| queue.len() > 0) {
        let part = Part { queue: queue.id, priority: queue.priority };
        let mut from = Some(0);
        while let Some(seq) = from {
            from = queue.survey(seq, PIECE_ENTRIES, |wanted| {
                let place = segments.partition_point(|meta| meta.limit <= wanted.address);
                let Some(holding) = holdings.get_mut(place) else { return };
                holding.pinned |= wanted.leased;
                if !wanted.leased && holding.parts.last() != Some(&part) {
                    holding.parts.push(part);
                }
            });
        }
    }
    holdings
}

impl QuotaLog {
    fn used(&mut self, quota: Quota, used: u64, now: MonoTime) {
        if !quota.is_nearly_full(used) || now < self.full_next {
            return;
        }
        self.full_next = now.plus_ms(LOG_EVERY_MS);
        let percent = u128::from(used) * 100 / u128::from(quota.bytes_max.max(1));
        let policy = quota.policy.name();
        log::warn!("messages take {used} bytes, {percent} % of the quota of {} ({policy})", quota.bytes_max);
    }

    fn dropped(&mut self, quota: Quota, now: MonoTime) {
        if self.dropped == 0 || now < self.dropped_next {
            return;
        }
        self.dropped_next = now.plus_ms(LOG_EVERY_MS);
        let (count, policy) = (std::mem::take(&mut self.dropped), quota.policy.name());
        log::warn!("{count} messages were dropped for want of room ({policy})");
    }
}
