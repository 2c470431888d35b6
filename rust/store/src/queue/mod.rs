//! The state of one queue: what is leased, what is done, what is ready.
//!
//! `entries[..cursor]` are leased or done, `entries[cursor..]` are ready (or done, when a consumer that went
//! away had acknowledged them out of order). The checkpoint is the number of the first entry.
//!
//! With backlog in spill files there are three parts, by number: what was fetched from there or leased before (`index`),
//! what is in files only, what came later (`cold.back`).

mod cold;
mod count;
mod drops;
mod expiry;
mod oldest;
mod swap;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use edgehub_types::UnixMs;
use parking_lot::Mutex;

use crate::batch::{BatchInner, QueueId, Slot};
use crate::index::{Entry, SeqIndex};
use crate::ledger::{LossCause, LossCounts, Lost};
use crate::segment::{SegmentMeta, SegmentSet};
use cold::Cold;
pub(crate) use cold::{Fetch, SpentFile, SpilledBefore};
pub(crate) use count::Count;
pub(crate) use swap::{SpillStart, Spilled};

/// What happened to a queue and must be told to the rest of the store once its lock is free.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Entries that left the index.
    pub popped: usize,
    /// Messages that the store dropped.
    pub lost: Option<Lost>,
    /// The checkpoint moved and nobody knows yet.
    pub newly_dirty: bool,
    /// Entries that came into the index from spill files.
    pub fetched: usize,
    /// Spill files are done with; [`QueueInner::take_spent`] has them.
    pub spent: bool,
}

#[derive(Debug, Default)]
pub(crate) struct QueueState {
    pub index: SeqIndex,
    pub cursor: usize,
    pub epoch: u32,
    pub removed: bool,
    dirty: bool,
    segment: Option<Arc<SegmentMeta>>,
    cold: Cold,
    /// The last checkpoint that was given away to be written.
    written_head: u64,
}

/// A queue; the handle that others hold is [`crate::Queue`].
#[derive(Debug)]
pub(crate) struct QueueInner {
    pub id: QueueId,
    pub endpoint: Arc<str>,
    pub priority: u32,
    state: Mutex<QueueState>,
    ready: AtomicU64,
    len: AtomicU64,
    /// Of the messages that `len` counts.
    bytes: AtomicU64,
    pub lost: LossCounts,
    leasing: AtomicBool,
    /// Messages below were there when the store was opened: whoever had the queue before may have been sent them.
    recovered_below: u64,
}

/// Entries that are passed over under one lock.
const SKIP_MAX: u64 = 4096;

/// What came of choosing messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    /// Lease epoch.
    pub epoch: u32,
    pub changes: Changes,
    /// So much was passed over that the lock was given back before the limits were reached.
    pub unfinished: bool,
    /// There are more in spill files, which must be fetched.
    pub starved: bool,
}

/// A message chosen for delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub seq: u64,
    pub entry: Entry,
    /// Where its record is in the scratch buffer, if it could be read.
    pub at: Option<u32>,
    /// Whether it came from a file, so that its checksum is still to be checked.
    pub cold: bool,
    /// Bytes at `at`; what the index says of a message in a spill file is not exact.
    pub len: u32,
}

impl Planned {
    pub fn new(seq: u64, entry: Entry) -> Self {
        Self { seq, entry, at: None, cold: false, len: entry.len() }
    }
}

/// How much may be chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub msgs: usize,
    pub bytes: usize,
    /// What one message alone may have, so that a large one does not block the queue.
    pub single: usize,
}

impl QueueInner {
    pub fn new(id: QueueId, endpoint: Arc<str>, priority: u32, index: SeqIndex, removed: bool) -> Self {
        Self::with_spilled(id, endpoint, priority, index, removed, SpilledBefore::default())
    }

    /// With messages in spill files, which come before those of `index`.
    pub fn with_spilled(
        id: QueueId,
        endpoint: Arc<str>,
        priority: u32,
        index: SeqIndex,
        removed: bool,
        spilled: SpilledBefore,
    ) -> Self {
        let written_head = if spilled.files.is_empty() { index.head() } else { spilled.head_seq };
        let recovered_below = index.next().max(spilled.spilled_seq);
        let (index, cold) = Cold::recovered(index, spilled);
        let len = index.len() as u64 + cold.len();
        let bytes = Count::of_all(&index).bytes + cold.bytes();
        let state = QueueState { index, removed, cold, written_head, ..QueueState::default() };
        Self {
            id,
            endpoint,
            priority,
            state: Mutex::new(state),
            ready: AtomicU64::new(len),
            len: AtomicU64::new(len),
            bytes: AtomicU64::new(bytes),
            lost: LossCounts::default(),
            leasing: AtomicBool::new(false),
            recovered_below,
        }
    }

    /// Whether a message may have been handed out before: in this process, or in one that had the store open.
    pub fn may_repeat(&self, seq: u64, entry: Entry) -> bool {
        entry.is_released() || seq < self.recovered_below
    }

    pub fn has_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) > 0
    }

    pub fn is_removed(&self) -> bool {
        self.state.lock().removed
    }

    pub fn epoch(&self) -> u32 {
        self.state.lock().epoch
    }

    /// Checkpoint, whether the endpoint is removed, and below which number messages are in spill files (0 = none).
    pub fn snapshot(&self) -> (u64, bool, u64) {
        let state = self.state.lock();
        (state.index.head(), state.removed, state.cold.recorded_above(state.index.head()))
    }

    /// The checkpoint, which the caller is about to write.
    pub fn take_checkpoint(&self) -> u64 {
        let mut state = self.state.lock();
        state.dirty = false;
        state.written_head = state.index.head();
        state.written_head
    }

    /// Adds the entries of a committed batch. Returns whether the queue was not ready before and is now, and how
    /// many were dropped because the endpoint is removed.
    pub fn publish(&self, batch: &BatchInner, slot: &Slot, address: u64) -> (bool, u64) {
        let mut state = self.state.lock();
        let removed = state.removed;
        let index = state.newest();
        let (mut dropped, mut added) = (0, Count::default());
        for (seq, entry) in (slot.first_seq..).zip(batch.entries(slot, address)) {
            if removed || seq < index.next() {
                dropped += 1;
            } else {
                index.push(seq, entry);
                added.add(entry);
            }
        }
        index.advance_to(slot.first_seq + u64::from(slot.count));
        self.count_in(added);
        (self.set_ready(|ready| ready + added.msgs) == 0 && added.msgs > 0, dropped)
    }

    /// Marks one leased message as done, unless the lease is over.
    pub fn ack(&self, segments: &SegmentSet, seq: u64, epoch: u32) -> Changes {
        self.finish(segments, seq, epoch).unwrap_or_default()
    }

    /// Like [`QueueInner::ack`]; `None` when the message was not leased any more.
    pub fn finish(&self, segments: &SegmentSet, seq: u64, epoch: u32) -> Option<Changes> {
        let mut state = self.state.lock();
        let done = state.epoch == epoch && self.complete(&mut state, segments, seq);
        done.then(|| Self::pop(&mut state))
    }

    /// Like [`QueueInner::ack`] for many.
    pub fn ack_all(&self, segments: &SegmentSet, seqs: &[u64], epoch: u32) -> Changes {
        let mut state = self.state.lock();
        if state.epoch != epoch {
            return Changes::default();
        }
        for seq in seqs {
            self.complete(&mut state, segments, *seq);
        }
        Self::pop(&mut state)
    }

    /// Marks leased messages that turned out to be expired or unreadable as done, unless they are already.
    pub fn discard(&self, segments: &SegmentSet, planned: &[Planned], cause: LossCause) -> Changes {
        let mut state = self.state.lock();
        let (mut first_seq, mut count) = (0, 0);
        for Planned { seq, .. } in planned {
            if self.complete(&mut state, segments, *seq) {
                first_seq = if count == 0 { *seq } else { first_seq };
                count += 1;
            }
        }
        Changes { lost: Lost::some(cause, first_seq, count), ..Self::pop(&mut state) }
    }

    fn complete(&self, state: &mut QueueState, segments: &SegmentSet, seq: u64) -> bool {
        let Some(at) = state.index.position(seq).filter(|at| *at < state.cursor) else { return false };
        let done = Self::set_done(state, segments, at);
        self.count_out(done);
        done.msgs > 0
    }

    /// Marks an entry and counts it out of its segment; nothing when it was done before.
    fn set_done(state: &mut QueueState, segments: &SegmentSet, at: usize) -> Count {
        let Some(entry) = state.index.get_mut(at).filter(|entry| !entry.is_done()) else {
            return Count::default();
        };
        entry.set_done();
        let entry = *entry;
        release(&mut state.segment, segments, entry);
        Count::of(entry)
    }

    fn pop(state: &mut QueueState) -> Changes {
        let popped = state.index.pop_done();
        if popped == 0 {
            return Changes::default();
        }
        state.cursor = state.cursor.saturating_sub(popped);
        Changes { popped, ..state.moved_on() }
    }

    /// Ends all leases: what is not done is ready again, in order.
    pub fn release_all(&self) {
        let mut state = self.state.lock();
        state.epoch = state.epoch.wrapping_add(1);
        let cursor = std::mem::take(&mut state.cursor);
        let mut back = 0;
        for entry in state.index.iter_mut().take(cursor).filter(|entry| !entry.is_done()) {
            entry.set_released();
            back += 1;
        }
        self.set_ready(|ready| ready + back);
    }

    /// Chooses the next messages, skipping what is done and dropping what is expired.
    pub fn plan(
        &self,
        segments: &SegmentSet,
        now: UnixMs,
        budget: Budget,
        plan: &mut Vec<Planned>,
    ) -> Choice {
        let mut state = self.state.lock();
        let (mut bytes, mut skipped, mut first_expired) = (0, 0, 0);
        let (mut expired, mut starved) = (Count::default(), false);
        while plan.len() < budget.msgs && skipped + expired.msgs < SKIP_MAX {
            let Some(entry) = state.index.get(state.cursor) else {
                starved = state.cold.left > 0;
                break;
            };
            let len = entry.len() as usize;
            if entry.is_done() {
                skipped += 1;
            } else if entry.is_expired(now) {
                let at = state.cursor;
                first_expired = if expired.msgs == 0 { state.index.seq_at(at) } else { first_expired };
                expired += Self::set_done(&mut state, segments, at);
            } else if bytes + len <= budget.bytes || (plan.is_empty() && len <= budget.single) {
                bytes += len;
                plan.push(Planned::new(state.index.seq_at(state.cursor), entry));
            } else {
                break;
            }
            state.cursor += 1;
        }
        let taken = plan.len() as u64 + expired.msgs;
        self.set_ready(|ready| ready - taken);
        self.count_out(expired);
        let changes = if expired.msgs + skipped > 0 { Self::pop(&mut state) } else { Changes::default() };
        let unfinished = skipped + expired.msgs == SKIP_MAX;
        let lost = Lost::some(LossCause::Expired, first_expired, expired.msgs);
        Choice { epoch: state.epoch, changes: Changes { lost, ..changes }, unfinished, starved }
    }

    /// Puts back what was chosen from `seq` on and not delivered, unless all leases ended meanwhile.
    pub fn put_back(&self, seq: u64, epoch: u32) {
        let mut state = self.state.lock();
        if state.epoch != epoch {
            return;
        }
        let cursor = state.cursor;
        let Some(at) = state.index.position(seq).filter(|at| *at < cursor) else { return };
        let back =
            (at..cursor).filter(|at| state.index.get(*at).is_some_and(|entry| !entry.is_done())).count();
        state.cursor = at;
        self.set_ready(|ready| ready + back as u64);
    }

    /// A leased message by number.
    pub fn leased(&self, seq: u64) -> Option<(u32, Entry)> {
        let state = self.state.lock();
        let at = state.index.position(seq).filter(|at| *at < state.cursor)?;
        let entry = state.index.get(at).filter(|entry| !entry.is_done())?;
        Some((state.epoch, entry))
    }

    /// Drops expired messages at the front that nobody leases, at most `max`.
    pub fn expire_front(&self, segments: &SegmentSet, now: UnixMs, max: usize) -> Changes {
        if !self.has_ready() {
            return Changes::default();
        }
        let mut state = self.state.lock();
        if state.cursor > 0 {
            return Changes::default();
        }
        let mut expired = 0;
        while expired < max && state.index.get(expired).is_some_and(|e| e.is_done() || e.is_expired(now)) {
            expired += 1;
        }
        let first = first_wanted(&state.index);
        let mut fresh = Count::default();
        (0..expired).for_each(|at| fresh += Self::set_done(&mut state, segments, at));
        self.set_ready(|ready| ready - fresh.msgs);
        self.count_out(fresh);
        Changes { lost: Lost::some(LossCause::Expired, first, fresh.msgs), ..Self::pop(&mut state) }
    }

    /// Drops all messages below `below`.
    pub fn remove(&self, segments: &SegmentSet, below: u64) -> Changes {
        let mut state = self.state.lock();
        let first = first_wanted(&state.index);
        let back = state.cold.give_up();
        let fetched = state.index.iter().chain(back.iter());
        let entries: Vec<Entry> = fetched.filter(|entry| !entry.is_done()).copied().collect();
        for entry in &entries {
            release(&mut state.segment, segments, *entry);
        }
        let popped = state.index.len() + back.len();
        state.index.clear();
        state.index.advance_to(below);
        state.cursor = 0;
        state.epoch = state.epoch.wrapping_add(1);
        state.removed = true;
        let count = self.len();
        self.count_nothing();
        self.set_ready(|_| 0);
        let lost = Lost::some(LossCause::EndpointRemoved, first, count);
        let spent = state.cold.let_go(u64::MAX);
        Changes { popped, lost, spent, ..Changes::default() }
    }

    /// The endpoint is back.
    pub fn revive(&self) {
        self.state.lock().removed = false;
    }

    /// Only one lease at a time; false when there is one.
    pub fn begin_lease(&self) -> bool {
        !self.leasing.swap(true, Ordering::Acquire)
    }

    pub fn end_lease(&self) {
        self.leasing.store(false, Ordering::Release);
    }

    /// Counters are written under the lock of the state only, so a plain store is enough. Returns the old value.
    fn set_ready(&self, change: impl FnOnce(u64) -> u64) -> u64 {
        let old = self.ready.load(Ordering::Relaxed);
        self.ready.store(change(old), Ordering::Release);
        old
    }
}

impl QueueState {
    /// Where new messages go.
    fn newest(&mut self) -> &mut SeqIndex {
        if self.cold.left > 0 { &mut self.cold.back } else { &mut self.index }
    }

    /// The checkpoint may have moved.
    fn moved_on(&mut self) -> Changes {
        let newly_dirty = !std::mem::replace(&mut self.dirty, true);
        let spent = self.cold.let_go(self.index.head());
        Changes { newly_dirty, spent, ..Changes::default() }
    }
}

/// Number of the first message that is not done; 0 when all are.
fn first_wanted(index: &SeqIndex) -> u64 {
    let at = index.iter().position(|entry| !entry.is_done());
    at.map_or(0, |at| index.seq_at(at))
}

/// Counts one message out of the segment it lies in. Neighbours mostly share one, so the last is remembered.
fn release(cache: &mut Option<Arc<SegmentMeta>>, segments: &SegmentSet, entry: Entry) {
    let address = entry.address;
    if entry.is_spilled() {
        // Its file goes when the checkpoint has passed it.
    } else if let Some(segment) = cache.as_ref().filter(|segment| segment.contains(address)) {
        segment.drop_live(1);
    } else if let Some(segment) = segments.find(address) {
        segment.meta.drop_live(1);
        *cache = Some(Arc::clone(&segment.meta));
    }
}
