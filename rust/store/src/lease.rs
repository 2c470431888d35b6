//! Reading messages for delivery.

use std::sync::Arc;

use edgehub_types::UnixMs;
use parking_lot::Mutex;

use crate::StoreError;
use crate::format::{RecordView, SpillEntry};
use crate::ledger::LossCause;
use crate::queue::{Budget, Choice, Planned, QueueInner};
use crate::runs::run;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::stats::add;
use crate::upkeep::release_some;

/// Records are read from a file in runs of about this many bytes.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// Messages chosen under one lock.
const PLAN_MAX: usize = 256;
/// How large a buffer may be that is kept for the next lease.
const SCRATCH_BYTES_MAX: usize = 2 * READ_AHEAD_BYTES;

/// A message handed out for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased<'a> {
    /// Number of the message in its queue.
    pub seq: u64,
    /// Lease epoch; give it back with the acknowledgement.
    pub epoch: u32,
    /// When it must no longer be delivered, in the time of the store.
    pub expires_at: UnixMs,
    /// Whether it may have been leased before: in this process, or, for what was there when the store was opened, in
    /// an earlier one.
    pub redelivered: bool,
    /// The payload.
    pub payload: &'a [u8],
}

#[derive(Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    plan: Vec<Planned>,
}

/// Buffers for leases that are running: none is held by an idle queue.
#[derive(Default)]
pub(crate) struct ScratchPool {
    free: Mutex<Vec<Scratch>>,
}

impl ScratchPool {
    fn take(&self) -> Scratch {
        self.free.lock().pop().unwrap_or_default()
    }

    fn give(&self, mut scratch: Scratch, scratches_max: usize) {
        scratch.bytes.clear();
        scratch.bytes.shrink_to(SCRATCH_BYTES_MAX);
        scratch.plan.clear();
        let mut free = self.free.lock();
        if free.len() < scratches_max {
            free.push(scratch);
        }
    }

    /// Frees some that were not used lately.
    pub fn release_some(&self) {
        release_some(&mut self.free.lock());
    }

    /// Bytes of the buffers kept.
    pub fn kept_bytes(&self) -> usize {
        self.free.lock().iter().map(Scratch::kept_bytes).sum()
    }
}

impl Scratch {
    fn kept_bytes(&self) -> usize {
        self.bytes.capacity() + self.plan.capacity() * size_of::<Planned>()
    }
}

/// Ends the lease of a queue also when the receiver panics.
struct LeaseGuard<'a>(&'a QueueInner);

impl Drop for LeaseGuard<'_> {
    fn drop(&mut self) {
        self.0.end_lease();
    }
}

/// Limits that are left during one lease.
struct Left {
    msgs: usize,
    bytes: usize,
    plan_max: usize,
    done: usize,
}

impl Shared {
    /// See [`crate::Queue::lease`].
    pub fn lease(
        &self,
        queue: &Arc<QueueInner>,
        now: UnixMs,
        msgs_max: usize,
        bytes_max: usize,
        mut deliver: impl FnMut(Leased<'_>) -> bool,
    ) -> Result<usize, StoreError> {
        if !queue.has_ready() || msgs_max == 0 {
            return Ok(0);
        }
        if !queue.begin_lease() {
            return Err(StoreError::LeaseBusy { queue: queue.id });
        }
        let _guard = LeaseGuard(queue);
        let mut scratch = self.scratches.take();
        let mut left = Left { msgs: msgs_max, bytes: bytes_max, plan_max: PLAN_MAX, done: 0 };
        let ended = loop {
            match self.lease_some(queue, now, &mut scratch, &mut left, &mut deliver) {
                Ok(true) if left.msgs > 0 => {}
                // A run of records may touch a bad sector that none of them lies in.
                Err(_) if left.plan_max > 1 => left.plan_max = 1,
                // What was delivered counts; the next lease will say what is wrong.
                Err(error) if left.done == 0 => break Err(error),
                _ => break Ok(left.done),
            }
        };
        self.scratches.give(scratch, self.config.scratches_max);
        ended
    }

    /// Chooses, reads and hands out some messages; false when there are no more, or the receiver has enough.
    fn lease_some(
        &self,
        queue: &Arc<QueueInner>,
        now: UnixMs,
        scratch: &mut Scratch,
        left: &mut Left,
        deliver: &mut impl FnMut(Leased<'_>) -> bool,
    ) -> Result<bool, StoreError> {
        scratch.plan.clear();
        let Choice { epoch, unfinished, starved, .. } = self.plan(queue, now, left, &mut scratch.plan);
        if scratch.plan.is_empty() {
            return if starved { self.fetch(queue, now) } else { Ok(unfinished) };
        }
        let loaded = self.load(queue, scratch);
        let refused = match &loaded {
            Ok(()) => self.deliver(queue, now, epoch, scratch, left, deliver),
            Err(_) => scratch.plan.first(),
        };
        if let Some(refused) = refused {
            queue.put_back(refused.seq, epoch);
        }
        loaded.map(|()| refused.is_none())
    }

    fn plan(&self, queue: &Arc<QueueInner>, now: UnixMs, left: &Left, plan: &mut Vec<Planned>) -> Choice {
        let budget = Budget {
            msgs: left.msgs.min(left.plan_max),
            bytes: left.bytes.min(READ_AHEAD_BYTES),
            single: if left.done == 0 { usize::MAX } else { left.bytes },
        };
        let choice = queue.plan(&self.segments, now, budget, plan);
        self.settle(queue, choice.changes);
        choice
    }

    /// Fills the scratch buffer with the planned records.
    fn load(&self, queue: &QueueInner, scratch: &mut Scratch) -> Result<(), StoreError> {
        let Scratch { bytes, plan } = scratch;
        bytes.clear();
        let spilled = plan.iter().take_while(|planned| planned.entry.is_spilled()).count();
        let (spilled, plan) = plan.split_at_mut(spilled);
        self.load_spilled(queue, bytes, spilled)?;
        let ranges: &[Planned] = plan;
        let mut hits = HitList::default();
        self.tail.copy(
            bytes,
            |index| ranges.get(index).map(|p| (p.entry.address, p.entry.len() as usize)),
            |index, at| hits.note(index, at),
        );
        // The tail is the newest part, so what it has is the end of the plan.
        let cold = hits.first.unwrap_or(plan.len());
        let mut at = hits.at;
        for planned in plan.get_mut(cold..).unwrap_or_default() {
            planned.at = Some(at);
            at += planned.entry.len();
        }
        self.load_cold(bytes, plan.get_mut(..cold).unwrap_or_default())
    }

    fn load_cold(&self, bytes: &mut Vec<u8>, mut plan: &mut [Planned]) -> Result<(), StoreError> {
        while let Some(first) = plan.first() {
            let start = first.entry.address;
            let segment = self.segments.find(start);
            let limit = segment.as_ref().map_or(start, |segment| segment.meta.limit);
            let records = plan.iter().map(|planned| (planned.entry.address, planned.entry.len()));
            let (count, end) = run(records, limit, READ_AHEAD_BYTES as u64);
            let (now, later) = plan.split_at_mut(count);
            plan = later;
            let base = bytes.len();
            bytes.resize(base + (end - start) as usize, 0);
            let got = match &segment {
                Some(segment) => {
                    self.read_segment(segment, start, bytes.get_mut(base..).unwrap_or_default())?
                }
                None => 0,
            };
            for planned in now {
                let offset = (planned.entry.address - start) as usize;
                planned.cold = true;
                planned.at = (offset + planned.entry.len() as usize <= got).then_some((base + offset) as u32);
            }
        }
        Ok(())
    }

    pub fn read_segment(&self, segment: &Segment, address: u64, buf: &mut [u8]) -> Result<usize, StoreError> {
        add(&self.counters.reads, 1);
        segment.file.read_at(buf, segment.offset(address)).map_err(StoreError::io("read", &segment.name))
    }

    /// Hands out what was loaded. Returns the first that was not taken.
    fn deliver<'s>(
        &self,
        queue: &Arc<QueueInner>,
        now: UnixMs,
        epoch: u32,
        scratch: &'s Scratch,
        left: &mut Left,
        deliver: &mut impl FnMut(Leased<'_>) -> bool,
    ) -> Option<&'s Planned> {
        let fate = |planned: &Planned| scratch.fate(planned, queue.id.0, now);
        let mut rest = scratch.plan.as_slice();
        while let Some((planned, later)) = rest.split_first() {
            let (expires_at, payload) = match fate(planned) {
                Ok(message) => message,
                Err(cause) => {
                    // What goes for the same cause goes under one lock.
                    let more = later.iter().take_while(|other| fate(other).err() == Some(cause)).count();
                    let (lost, kept) = rest.split_at(1 + more);
                    self.discard(queue, lost, cause);
                    rest = kept;
                    continue;
                }
            };
            let redelivered = queue.may_repeat(planned.seq, planned.entry);
            if !deliver(Leased { seq: planned.seq, epoch, expires_at, redelivered, payload }) {
                return Some(planned);
            }
            left.done += 1;
            left.msgs -= 1;
            left.bytes = left.bytes.saturating_sub(planned.entry.len() as usize);
            rest = later;
        }
        None
    }

    /// Nothing to be done when it was acknowledged or removed meanwhile: then its segment may be gone.
    fn discard(&self, queue: &Arc<QueueInner>, planned: &[Planned], cause: LossCause) {
        let changes = queue.discard(&self.segments, planned, cause);
        if let Some(lost) = changes.lost.filter(|lost| lost.cause == LossCause::Damaged) {
            let (id, count, first) = (queue.id, lost.count, lost.first_seq);
            log::error!("{id}: {count} messages from {first} on cannot be read any more, they are skipped");
        }
        self.settle(queue, changes);
    }

    /// See [`crate::Queue::read`].
    pub fn read(
        &self,
        queue: &Arc<QueueInner>,
        seq: u64,
        receive: impl FnOnce(Leased<'_>),
    ) -> Result<bool, StoreError> {
        let Some((epoch, entry)) = queue.leased(seq) else { return Ok(false) };
        let mut scratch = self.scratches.take();
        scratch.plan.push(Planned::new(seq, entry));
        let loaded = self.load(queue, &mut scratch);
        let planned = scratch.plan.first();
        let message = planned.and_then(|planned| scratch.message(planned, queue.id.0));
        let found = loaded.is_ok() && message.is_some();
        if let Some((expires_at, payload)) = message.filter(|_| found) {
            receive(Leased { seq, epoch, expires_at, redelivered: true, payload });
        }
        self.scratches.give(scratch, self.config.scratches_max);
        loaded.map(|()| found)
    }
}

impl Scratch {
    /// The message, or why it cannot be handed out.
    fn fate(&self, planned: &Planned, queue: u32, now: UnixMs) -> Result<(UnixMs, &[u8]), LossCause> {
        let message = self.message(planned, queue).ok_or(LossCause::Damaged)?;
        if message.0 <= now { Err(LossCause::Expired) } else { Ok(message) }
    }

    /// Expiry for this queue and payload of a loaded record; `None` when it is damaged.
    fn message(&self, planned: &Planned, queue: u32) -> Option<(UnixMs, &[u8])> {
        let at = planned.at? as usize;
        let record = self.bytes.get(at..at + planned.len as usize)?;
        if planned.entry.is_spilled() {
            let (entry, _) = SpillEntry::decode(record)?;
            return Some((entry.expires_at, entry.payload));
        }
        let view =
            if planned.cold { RecordView::decode(record) } else { RecordView::decode_trusted(record) }?;
        view.message_for(queue)
    }
}

#[derive(Default)]
struct HitList {
    first: Option<usize>,
    at: u32,
}

impl HitList {
    fn note(&mut self, index: usize, at: usize) {
        if self.first.is_none() {
            (self.first, self.at) = (Some(index), at as u32);
        }
    }
}
