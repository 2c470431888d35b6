//! What a store promised, by moments of its disk: the table of `docs/store-format.md`, section 8.

use std::collections::BTreeMap;

use edgehub_store::{StoreConfig, SyncPolicy};
use edgehub_types::UnixMs;

use super::START;
use super::script::QUEUES;

/// Acknowledgements reach the journal within this time.
const CHECKPOINT_MS: u64 = 100;
/// Under group commit they are synced within this time then.
const CHECKPOINT_SYNC_MS: u64 = 1000;

/// One message in one queue.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub batch: u64,
    /// The moment before it was sent, and the time.
    pub begun: usize,
    pub at: UnixMs,
    /// Payload bytes sent up to here.
    pub written: u64,
    /// The moment when the sender was answered.
    pub answered: Option<usize>,
    /// The moment and time before it was done: acknowledged or removed. From then on it may be gone.
    pub done: Option<(usize, UnixMs)>,
    pub seq: Option<u64>,
    pub expires_at: UnixMs,
}

impl Sent {
    fn done_by(&self, moment: usize) -> bool {
        self.done.is_some_and(|(done, _)| done <= moment)
    }
}

/// A round of the store's work that is over.
#[derive(Debug, Clone, Copy)]
struct Tick {
    moment: usize,
    time: UnixMs,
    written: u64,
}

/// How power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Kill,
    PowerCut,
}

pub struct Promise {
    sync: SyncPolicy,
    segment_bytes: u64,
    /// By id, which is the order of sending.
    pub queues: [BTreeMap<u64, Sent>; QUEUES.len()],
    /// Payload bytes sent so far.
    pub bytes: u64,
    /// The store stopped: from then on nothing more is promised.
    pub poisoned: bool,
    /// There was no room for checkpoints: they may be late.
    pub crowded: bool,
    times: Vec<(usize, UnixMs)>,
    ticks: Vec<Tick>,
}

impl Promise {
    pub fn new(config: &StoreConfig) -> Self {
        Self {
            sync: config.sync,
            segment_bytes: u64::from(config.segment_bytes),
            queues: [const { BTreeMap::new() }; QUEUES.len()],
            bytes: 0,
            poisoned: false,
            crowded: false,
            times: vec![(0, START)],
            ticks: Vec::new(),
        }
    }

    pub fn time_passes(&mut self, moment: usize, time: UnixMs) {
        self.times.push((moment, time));
    }

    pub fn tick_ends(&mut self, moment: usize, time: UnixMs) {
        self.ticks.push(Tick { moment, time, written: self.bytes });
    }

    /// The time at a moment.
    pub fn time(&self, moment: usize) -> UnixMs {
        let known = self.times.partition_point(|(from, _)| *from <= moment);
        self.times[known - 1].1
    }

    /// Those of the messages that are not expired at a moment.
    pub fn live(
        &self,
        mut found: [Vec<(u64, u64)>; QUEUES.len()],
        moment: usize,
    ) -> [Vec<(u64, u64)>; QUEUES.len()] {
        let now = self.time(moment);
        for (sent, found) in self.queues.iter().zip(&mut found) {
            found.retain(|(id, _)| sent[id].expires_at > now);
        }
        found
    }

    fn ticks_until(&self, moment: usize) -> &[Tick] {
        &self.ticks[..self.ticks.partition_point(|tick| tick.moment <= moment)]
    }

    /// Whether a message had been durable, or at least written.
    fn is_promised(&self, sent: &Sent, moment: usize, end: End) -> bool {
        let answered = sent.answered.is_some_and(|answered| answered <= moment);
        let last = self.ticks_until(moment).last();
        let durable = match self.sync {
            SyncPolicy::Group => true,
            SyncPolicy::Interval { interval_ms } => {
                last.is_some_and(|tick| sent.at.0 + interval_ms <= tick.time.0)
            }
            // Then its segment is full and was synced.
            SyncPolicy::None => {
                last.is_some_and(|tick| sent.written + 2 * self.segment_bytes <= tick.written)
            }
        };
        answered && (durable || end == End::Kill)
    }

    /// Whether what was done at a time has a checkpoint that is durable.
    fn is_settled(&self, done: UnixMs, moment: usize) -> bool {
        let ticks = self.ticks_until(moment);
        let wait = match self.sync {
            SyncPolicy::Group => CHECKPOINT_SYNC_MS,
            SyncPolicy::Interval { interval_ms } => interval_ms,
            SyncPolicy::None => return false,
        };
        let after = |from: u64| ticks.iter().find(|tick| tick.time.0 >= from);
        let written = after(done.0.saturating_add(CHECKPOINT_MS));
        written.is_some_and(|written| after(written.time.0 + wait).is_some())
    }

    /// What came back is what had to, in order, and a prefix of what could. Where the store does not know how much time has
    /// passed, it may have kept what expired meanwhile.
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&self, found: &[Vec<(u64, u64)>; QUEUES.len()], moment: usize, end: End) {
        let batches = self.queues.iter().zip(found);
        let batches = batches.flat_map(|(sent, found)| found.iter().map(|(id, _)| sent[id].batch));
        let last_batch = batches.max().unwrap_or(0);
        for (sent, found) in self.queues.iter().zip(found) {
            assert!(found.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "out of order: {found:?}");
            self.check_queue(sent, &found.iter().copied().collect(), (moment, end), last_batch);
        }
    }

    fn check_queue(
        &self,
        sent: &BTreeMap<u64, Sent>,
        found: &BTreeMap<u64, u64>,
        (moment, end): (usize, End),
        last_batch: u64,
    ) {
        let now = self.time(moment);
        // Done without a gap so far, and since when.
        let mut settled = Some(UnixMs(0));
        for (id, sent) in sent {
            let seq = found.get(id);
            let optional = sent.done_by(moment) || sent.expires_at <= now;
            let must = !optional && (self.is_promised(sent, moment, end) || sent.batch <= last_batch);
            assert!(seq.is_some() || !must, "message {id} is lost: {sent:?}");
            assert!(seq.is_none() || sent.begun <= moment, "message {id} was not sent yet");
            assert!(seq.is_none() || sent.seq.is_none() || seq == sent.seq.as_ref(), "{seq:?}: {sent:?}");
            settled = settled.zip(sent.done).map(|(since, (_, done))| since.max(done));
            let gone = settled.is_some_and(|since| self.is_settled(since, moment));
            assert!(seq.is_none() || !gone || self.crowded, "message {id} came back: {sent:?}");
        }
    }
}
