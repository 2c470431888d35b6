//! What left a queue undelivered, and why.
//!
//! Every such message is counted once, in its queue and by cause. The last losses can be looked at one by one. Both are
//! written to a file from time to time, for [`crate::inspect`] and for the next run.

mod book;
mod file;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edgehub_types::UnixMs;
use parking_lot::Mutex;

use crate::batch::QueueId;
use crate::queue::QueueInner;
use crate::shared::Shared;
use crate::stats::add;
pub use book::{LossBook, LossBookError, LossTotal};
pub(crate) use file::{LossFile, read_book};

/// Losses that are remembered one by one; with one more, the oldest is forgotten. Counters forget nothing.
pub const LOSSES_KEPT: usize = 1000;

/// Why a message left its queue undelivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LossCause {
    /// Its time to live was over.
    Expired,
    /// Its endpoint was removed.
    EndpointRemoved,
    /// It could not be read any more.
    Damaged,
    /// Its consumer will never take it.
    Rejected,
    /// It had to make room for newer or more important ones ([`crate::OverflowPolicy`]).
    Quota,
}

impl LossCause {
    /// All causes.
    pub const ALL: [Self; 5] =
        [Self::Expired, Self::EndpointRemoved, Self::Damaged, Self::Rejected, Self::Quota];

    /// Name for metrics and tools; stays the same in later versions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::EndpointRemoved => "endpoint_removed",
            Self::Damaged => "damaged",
            Self::Rejected => "rejected",
            Self::Quota => "quota",
        }
    }
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Messages that left one queue together for one cause; see [`crate::Store::losses`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Id of the queue.
    pub queue: QueueId,
    /// Its endpoint; empty when its definition is lost.
    pub endpoint: Arc<str>,
    /// Its priority, 0 is the highest.
    pub priority: u32,
    /// Number of the first message. The others have higher numbers, not always adjacent ones.
    pub first_seq: u64,
    /// Messages.
    pub count: u64,
    /// Why.
    pub cause: LossCause,
    /// When the store noticed, by the wall clock.
    pub at: UnixMs,
}

/// A loss as the queue sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub cause: LossCause,
    pub first_seq: u64,
    pub count: u64,
}

impl Lost {
    /// `None` when nothing was lost.
    pub fn some(cause: LossCause, first_seq: u64, count: u64) -> Option<Self> {
        (count > 0).then_some(Self { cause, first_seq, count })
    }
}

/// Lost messages of one queue by cause.
#[derive(Debug, Default)]
pub(crate) struct LossCounts([AtomicU64; LossCause::ALL.len()]);

impl LossCounts {
    pub fn add(&self, cause: LossCause, count: u64) {
        if let Some(counter) = self.0.get(cause as usize) {
            add(counter, count);
        }
    }

    pub fn get(&self, cause: LossCause) -> u64 {
        self.0.get(cause as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// What was lost in this run and before. Its lock is taken when something is lost, once for all that goes together.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// The last [`LOSSES_KEPT`], oldest first.
    kept: VecDeque<Loss>,
    /// Those of `kept` that are from earlier runs.
    earlier: usize,
    /// Since the folder was made.
    totals: BTreeMap<(QueueId, LossCause), LossTotal>,
    /// There is something that the file does not have.
    changed: bool,
}

impl Ledger {
    /// Goes on where an earlier run ended.
    pub fn carry(&self, book: LossBook) {
        let mut pages = self.pages.lock();
        pages.earlier = book.last.len();
        pages.kept = book.last.into();
        pages.totals = book.totals.into_iter().map(|total| ((total.queue, total.cause), total)).collect();
    }

    pub fn note(&self, loss: Loss) {
        let mut pages = self.pages.lock();
        pages.count(&loss, loss.count);
        pages.keep(loss);
    }

    /// A loss that opening the store found. As long as a damaged segment is needed every run finds it again: then it is no
    /// further loss.
    pub fn note_found(&self, loss: Loss) {
        let mut pages = self.pages.lock();
        let known = pages.forget_found(&loss);
        pages.count(&loss, loss.count.saturating_sub(known));
        pages.keep(loss);
    }

    /// Those of this run, oldest first.
    pub fn list(&self) -> Vec<Loss> {
        let pages = self.pages.lock();
        pages.kept.iter().skip(pages.earlier).cloned().collect()
    }

    /// Whether there is something that [`Ledger::take_book`] has not returned yet.
    pub fn has_changed(&self) -> bool {
        self.pages.lock().changed
    }

    /// All of it.
    pub fn take_book(&self, now: UnixMs) -> LossBook {
        let mut pages = self.pages.lock();
        pages.changed = false;
        let totals = pages.totals.values().cloned().collect();
        LossBook { totals, last: pages.kept.iter().cloned().collect(), written_at: Some(now) }
    }

    /// What was taken could not be written.
    pub fn mark_changed(&self) {
        self.pages.lock().changed = true;
    }
}

impl Pages {
    fn keep(&mut self, loss: Loss) {
        if self.kept.len() >= LOSSES_KEPT {
            self.kept.pop_front();
            self.earlier = self.earlier.saturating_sub(1);
        }
        self.kept.push_back(loss);
        self.changed = true;
    }

    fn count(&mut self, loss: &Loss, count: u64) {
        let Loss { queue, priority, cause, .. } = *loss;
        let fresh = || LossTotal { queue, endpoint: Arc::clone(&loss.endpoint), priority, cause, count: 0 };
        let total = self.totals.entry((queue, cause)).or_insert_with(fresh);
        total.count = total.count.saturating_add(count);
    }

    /// Forgets the same damage as earlier runs noted it; how many messages they counted for it. What lies below the
    /// checkpoint by now is not found again, so that the first number may be higher.
    fn forget_found(&mut self, loss: &Loss) -> u64 {
        let (mut known, mut earlier) = (0_u64, 0);
        let mut place = 0;
        let of_earlier_runs = self.earlier;
        self.kept.retain(|old| {
            let is_earlier = place < of_earlier_runs;
            place += 1;
            let same = is_earlier
                && (old.queue, old.cause) == (loss.queue, loss.cause)
                && (old.first_seq..old.first_seq.saturating_add(old.count)).contains(&loss.first_seq);
            known = if same { known.saturating_add(old.count) } else { known };
            earlier += usize::from(is_earlier && !same);
            !same
        });
        self.earlier = earlier;
        known
    }
}

impl Shared {
    /// Counts and remembers what the store itself dropped.
    pub fn note_dropped(&self, queue: &QueueInner, lost: Lost) {
        self.count_dropped(lost);
        self.note_lost(queue, lost);
    }

    /// The same for a queue that is not there any more.
    pub fn note_dropped_unknown(&self, queue: QueueId, lost: Lost) {
        self.count_dropped(lost);
        self.remember(queue, &Arc::from(""), 0, lost);
    }

    fn count_dropped(&self, lost: Lost) {
        let total = match lost.cause {
            LossCause::Expired => &self.counters.expired,
            LossCause::EndpointRemoved => &self.counters.removed,
            LossCause::Damaged => &self.counters.damaged,
            LossCause::Rejected => &self.counters.given_up,
            LossCause::Quota => &self.counters.quota_dropped,
        };
        add(total, lost.count);
    }

    fn note_lost(&self, queue: &QueueInner, lost: Lost) {
        queue.lost.add(lost.cause, lost.count);
        self.remember(queue.id, &queue.endpoint, queue.priority, lost);
    }

    fn remember(&self, queue: QueueId, endpoint: &Arc<str>, priority: u32, lost: Lost) {
        let Lost { cause, first_seq, count } = lost;
        let endpoint = Arc::clone(endpoint);
        self.ledger.note(Loss { queue, endpoint, priority, first_seq, count, cause, at: self.clock.unix() });
    }

    /// See [`crate::Queue::ack_lost`].
    pub fn ack_lost(&self, queue: &Arc<QueueInner>, seq: u64, epoch: u32, cause: LossCause) -> bool {
        let Some(changes) = queue.finish(&self.segments, seq, epoch) else { return false };
        add(&self.counters.given_up, 1);
        self.note_lost(queue, Lost { cause, first_seq: seq, count: 1 });
        self.settle(queue, changes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_own_counter_and_name() {
        let counts = LossCounts::default();
        for (n, cause) in (1..).zip(LossCause::ALL) {
            counts.add(cause, n);
        }
        assert_eq!(LossCause::ALL.map(|cause| counts.get(cause)), [1, 2, 3, 4, 5]);
        let names = LossCause::ALL.map(|cause| cause.to_string());
        assert_eq!(names, ["expired", "endpoint_removed", "damaged", "rejected", "quota"]);
    }
}
