//! What left a queue undelivered, and why.
//!
//! Every such message is counted once, in its queue and by cause. The last losses can be looked at one by one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edgehub_types::UnixMs;
use parking_lot::Mutex;

use crate::batch::QueueId;
use crate::queue::QueueInner;
use crate::shared::Shared;
use crate::stats::add;

/// Losses that [`crate::Store::losses`] remembers; with one more, the oldest is forgotten. Counters forget nothing.
pub const LOSSES_KEPT: usize = 1000;

/// Why a message left its queue undelivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// The last [`LOSSES_KEPT`] losses. Its lock is taken when something is lost, once for all that goes together.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    kept: Mutex<VecDeque<Loss>>,
}

impl Ledger {
    pub fn note(&self, loss: Loss) {
        let mut kept = self.kept.lock();
        if kept.len() >= LOSSES_KEPT {
            kept.pop_front();
        }
        kept.push_back(loss);
    }

    /// Oldest first.
    pub fn list(&self) -> Vec<Loss> {
        self.kept.lock().iter().cloned().collect()
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
