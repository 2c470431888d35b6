//! Staying within the quota, and on a full disk: dropping messages, where the policy says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use super::Upkeep;
use crate::StoreError;
use crate::ledger::{LossCause, Lost};
use crate::plan::{Holding, Part, victims};
use crate::queue::QueueInner;
use crate::quota::Quota;
use crate::segment::SegmentMeta;
use crate::shared::Shared;
use crate::spill::SpillFile;

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
            let dropped = self.drop_what_is_too_much(upkeep, quota, used)?;
            // When all is leased there is nothing to drop, and to find that out costs time.
            upkeep.make_way_at = (dropped == Some(0)).then(|| now.plus_ms(FRUITLESS_MS));
            upkeep.more |= dropped > Some(0);
            upkeep.quota_log.dropped += dropped.unwrap_or_default();
        }
        upkeep.quota_log.dropped(quota, now);
        Ok(())
    }

    /// How many messages were dropped; `None` = there is enough room.
    fn drop_what_is_too_much(
        &self,
        upkeep: &mut Upkeep,
        quota: Quota,
        used: u64,
    ) -> Result<Option<u64>, StoreError> {
        let over = quota.bytes_to_free(used).max(self.memory_to_free());
        if over > 0 {
            return self.make_way(quota, over, true).map(Some);
        }
        if !self.disk_is_stuck(upkeep) {
            return Ok(None);
        }
        let segment_bytes = self.journal.lock().segment_bytes();
        let dropped = self.make_way(quota, segment_bytes, false)?;
        // Where a file was replaced there is space already.
        (upkeep.refused_after, upkeep.spare_retry_at) = (None, None);
        Ok(Some(dropped))
    }

    /// Memory has a limit anyway. Dropping begins before that one makes senders wait, and goes down to where their waiting
    /// ends.
    fn memory_to_free(&self) -> u64 {
        let max = if self.in_memory { self.config.memory_bytes_max } else { u64::MAX };
        let bytes = self.memory_bytes();
        if bytes > max / 4 * 3 { bytes - max / 8 * 5 } else { 0 }
    }

    /// Whether there is no space for another segment and none is on its way: nothing was unlinked since, or is to be.
    fn disk_is_stuck(&self, upkeep: &Upkeep) -> bool {
        let unlinked = self.counters.unlinked.load(Ordering::Relaxed);
        upkeep.refused_after == Some(unlinked)
            && upkeep.retiring.is_empty()
            && upkeep.spent.is_empty()
            && self.spent_files.lock().is_empty()
            && self.segments.first_spent().is_none()
    }

    /// Drops messages so that files of `to_free` bytes hold nothing that is wanted. Returns how many were dropped.
    ///
    /// The segment in which the log ends gives its space back only when another is begun, so it is spared unless there
    /// is space for that.
    fn make_way(&self, quota: Quota, to_free: u64, with_last: bool) -> Result<u64, StoreError> {
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        let files = survey_files(&queues);
        let segments = self.segments.wanted();
        let holdings: Vec<_> =
            files.iter().map(HeldFile::holding).chain(survey(&segments, &queues)).collect();
        let mut dropped = 0;
        for place in victims(quota.policy, to_free, &holdings) {
            if let Some(HeldFile { queue, file }) = files.get(place) {
                dropped += self.drop_file(queue, file, LossCause::Quota);
                continue;
            }
            let segment = place.checked_sub(files.len()).and_then(|place| segments.get(place));
            let Some((segment, holding)) = segment.zip(holdings.get(place)) else { continue };
            if self.is_closed_for_messages(segment, with_last)? {
                let parts = holding.parts.iter();
                let held = parts.filter_map(|part| queues.iter().find(|queue| queue.id == part.queue));
                dropped += held.map(|queue| self.drop_messages(queue, segment)).sum::<u64>();
            }
        }
        self.measure_usage();
        Ok(dropped)
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
            let changes = queue.drop_in(&self.segments, &part, PIECE_ENTRIES as u64);
            let count = changes.lost.map_or(0, |Lost { count, .. }| count);
            total += count;
            self.settle(queue, changes);
            if count < PIECE_ENTRIES as u64 {
                return total;
            }
        }
    }
}

/// A spill file of which nothing was fetched yet.
struct HeldFile {
    queue: Arc<QueueInner>,
    file: SpillFile,
}

impl HeldFile {
    fn holding(&self) -> Holding {
        let part = Part { queue: self.queue.id, priority: self.queue.priority };
        Holding { bytes: self.file.bytes, pinned: false, parts: vec![part] }
    }
}

/// All of them, oldest first.
fn survey_files(queues: &[Arc<QueueInner>]) -> Vec<HeldFile> {
    let mut files = Vec::new();
    for queue in queues {
        queue.untouched_files(|file| files.push(HeldFile { queue: Arc::clone(queue), file: file.clone() }));
    }
    files.sort_by_key(|held| held.file.number);
    files
}

/// What the segments hold of which queue.
fn survey(segments: &[Arc<SegmentMeta>], queues: &[Arc<QueueInner>]) -> Vec<Holding> {
    let mut holdings: Vec<_> = segments
        .iter()
        .map(|meta| Holding { bytes: meta.used_bytes(), pinned: false, parts: Vec::new() })
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
