//! Moving old backlog from the journal to spill files.
//!
//! One step copies what is wanted below some address, makes the copies durable, and says so in the journal. When that is
//! durable too, the queues are told, a piece at a time so that nobody waits long for their locks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use super::Upkeep;
use crate::StoreError;
use crate::batch::QueueId;
use crate::config::SyncPolicy;
use crate::format::{RecordView, put_queue_spilled};
use crate::index::Entry;
use crate::queue::{QueueInner, SpentFile, SpillStart, Spilled};
use crate::runs::run;
use crate::shared::Shared;
use crate::spill::{Message, SpillFile, SpillWriter, Target, spill_name};
use crate::stats::add;

/// Messages copied between two looks at a queue.
const COPY_MSGS: usize = 1024;
/// Bytes read from the journal at a time.
const READ_BYTES: u64 = 256 << 10;
/// Messages of one step, about: other upkeep waits for it, and each step costs two syncs.
const STEP_MSGS: usize = 200_000;
/// The same when a limit of memory is near, or when the store is closed.
const HURRIED_STEP_MSGS: usize = 1_000_000;
/// Closing a store moves what is too much for at most so long, and in so many steps.
const CLOSE_MS: u64 = 5000;
const CLOSE_STEPS_MAX: u32 = 50;
/// Numbers taken over under one lock.
const SWAP_MSGS: u64 = 8192;
/// Time until a step is tried again that failed, or that moved nothing.
const RETRY_MS: u64 = 1000;

/// A step that waits until the journal is durable beyond what it says of it.
pub(super) struct PendingSpill {
    moved: Vec<(Arc<QueueInner>, Spilled)>,
    recorded_at: u64,
}

impl Shared {
    /// Begins a step if there is too much backlog in the journal, or goes on with one.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]. What fails otherwise is tried again.
    pub fn spill(&self, upkeep: &mut Upkeep, now: MonoTime) -> Result<(), StoreError> {
        if upkeep.spill.is_none() && now >= upkeep.spill_retry_at {
            self.begin_spill(upkeep, now)?;
        }
        self.go_on_spilling(upkeep);
        Ok(())
    }

    fn begin_spill(&self, upkeep: &mut Upkeep, now: MonoTime) -> Result<(), StoreError> {
        let Some(limit) = self.spill_limit() else {
            upkeep.spill_since = None;
            return Ok(());
        };
        let since = *upkeep.spill_since.get_or_insert(now);
        let hurry = self.is_crowded();
        if now < since.plus_ms(self.config.spill.after_ms) && !hurry {
            return Ok(());
        }
        self.step(upkeep, limit, if hurry { HURRIED_STEP_MSGS } else { STEP_MSGS }, now)
    }

    /// # Errors
    /// As [`Shared::spill`].
    fn step(&self, upkeep: &mut Upkeep, limit: u64, msgs: usize, now: MonoTime) -> Result<(), StoreError> {
        upkeep.spill_retry_at = now.plus_ms(RETRY_MS);
        match self.copy_below(limit, msgs) {
            Ok(moved) if moved.is_empty() => Ok(()),
            Ok(moved) => self.record(upkeep, moved),
            Err(error) if error.is_retryable() => {
                log::warn!("backlog stays in the journal for now: {error}");
                Ok(())
            }
            Err(error @ StoreError::Io { action: "sync", .. }) => Err(self.set_poison(error)),
            Err(error) => {
                log::error!("backlog stays in the journal for now: {error}");
                Ok(())
            }
        }
    }

    /// Moves what is too much before the store is closed, so that it is opened quickly.
    ///
    /// # Errors
    /// As [`Shared::spill`].
    pub fn spill_rest(&self) -> Result<(), StoreError> {
        let mut upkeep = self.upkeep.lock();
        let until = self.clock.mono().plus_ms(CLOSE_MS);
        for _ in 0..CLOSE_STEPS_MAX {
            let before = self.load.index_entries.load(Ordering::Relaxed);
            let now = self.clock.mono();
            if upkeep.spill.is_none() && (before <= self.config.spill.index_entries || now > until) {
                break;
            }
            if upkeep.spill.is_none() {
                let durable = self.journal.lock().durable();
                self.step(&mut upkeep, durable, HURRIED_STEP_MSGS, now)?;
            }
            self.sync(false)?;
            self.go_on_spilling(&mut upkeep);
            if self.load.index_entries.load(Ordering::Relaxed) == before {
                break;
            }
        }
        Ok(())
    }

    /// The address below which everything is to be moved.
    fn spill_limit(&self) -> Option<u64> {
        let durable = self.journal.lock().durable();
        let ends = self.segments.wanted_ends(durable);
        let config = self.config.spill;
        if self.load.index_entries.load(Ordering::Relaxed) > config.index_entries {
            if self.policy == SyncPolicy::None {
                // Otherwise only full segments would ever be durable.
                self.want_sync();
            }
            return Some(durable);
        }
        if ends.len() > config.after_segments { ends.first().copied() } else { None }
    }

    /// Whether a limit of memory or of the disk is near.
    fn is_crowded(&self) -> bool {
        let near = |used: u64, max: u64| used >= max / 2;
        let index = self.load.index_entries.load(Ordering::Relaxed) as u64;
        near(index, self.config.index_entries_max as u64)
            || near(self.estimated_usage(), self.quota.get().bytes_max)
            || (self.in_memory && near(self.segments.totals().1, self.config.memory_bytes_max))
    }

    /// Copies messages below `limit`, longest queue first. After an error nothing is left behind.
    fn copy_below(&self, limit: u64, mut left: usize) -> Result<Vec<(Arc<QueueInner>, Spilled)>, StoreError> {
        let queues = self.queues.read().iter().flatten().cloned().collect::<Vec<_>>();
        let mut queues: Vec<_> = queues.into_iter().map(|queue| (queue.movable(), queue)).collect();
        queues.sort_by_key(|(movable, _)| std::cmp::Reverse(*movable));
        let mut moved = Vec::new();
        for (_, queue) in queues.into_iter().take_while(|(movable, _)| *movable > 0) {
            if left == 0 {
                break;
            }
            match self.copy_queue(&queue, limit, &mut left) {
                Ok(Some(spilled)) => moved.push((queue, spilled)),
                Ok(None) => {}
                Err(error) => {
                    self.give_up_copies(&moved);
                    return Err(error);
                }
            }
        }
        Ok(moved)
    }

    /// Copies messages of one queue, at most `left`.
    fn copy_queue(
        &self,
        queue: &Arc<QueueInner>,
        limit: u64,
        left: &mut usize,
    ) -> Result<Option<Spilled>, StoreError> {
        // Before anything is collected: a consumer may move the front on meanwhile.
        let SpillStart { generation, first_seq, last } = queue.spill_start();
        let mut found = Vec::new();
        let mut next = queue.unspilled(0, limit, COPY_MSGS, &mut found);
        let continued = last.filter(|file| !file.complete);
        let mut writer = SpillWriter::new(self.spill_target(queue.id), continued.clone(), first_seq);
        let mut spilled = Spilled { generation, continued, ..Spilled::default() };
        let copied = loop {
            if let Err(error) = self.copy_some(queue, &found, &mut writer, &mut spilled) {
                break Err(error);
            }
            let upto = found.last().map_or(first_seq, |(seq, _)| seq + 1);
            *left = left.saturating_sub(found.len());
            let Some(from) = next.filter(|_| *left > 0) else {
                break writer.finish(upto, &self.spill_numbers);
            };
            found.clear();
            next = queue.unspilled(from, limit, COPY_MSGS, &mut found);
        };
        if let Err(error) = copied {
            writer.abandon();
            let changes = queue.spill_end();
            self.settle(queue, changes);
            return Err(error);
        }
        (spilled.files, spilled.blocks) = writer.into_parts();
        if spilled.blocks.is_empty() {
            let changes = queue.spill_end();
            self.settle(queue, changes);
            return Ok(None);
        }
        Ok(Some(spilled))
    }

    /// Where spill files of a queue are written.
    pub fn spill_target(&self, queue: QueueId) -> Target<'_> {
        let salt = self.journal.lock().salt();
        let now_ms = self.time.now().0;
        let config = self.quota.get().spill_config(self.config.spill);
        Target { storage: &*self.storage, config, queue, salt, now_ms }
    }

    /// Copies some messages, in runs that lie close together. What cannot be read is left out; it is lost when the others are
    /// taken over.
    fn copy_some(
        &self,
        queue: &QueueInner,
        mut entries: &[(u64, Entry)],
        writer: &mut SpillWriter<'_>,
        spilled: &mut Spilled,
    ) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        while let Some((_, first)) = entries.first() {
            let start = first.address;
            let Some(segment) = self.segments.find(start) else {
                entries = entries.get(1..).unwrap_or_default();
                continue;
            };
            let records = entries.iter().map(|(_, entry)| (entry.address, entry.len()));
            let (count, end) = run(records, segment.meta.limit, READ_BYTES);
            let (now, later) = entries.split_at(count);
            entries = later;
            bytes.resize((end - start) as usize, 0);
            let got = self.read_segment(&segment, start, &mut bytes)?;
            bytes.truncate(got);
            let times = segment.meta.times();
            for (seq, entry) in now {
                let at = (entry.address - start) as usize;
                let record = bytes.get(at..at + entry.len() as usize).and_then(RecordView::decode);
                let Some((expires_at, payload)) = record.and_then(|record| record.message_for(queue.id.0))
                else {
                    continue;
                };
                let written_ms = times.at(entry.address).wall_ms;
                let message = Message { seq: *seq, written_ms, expires_at, payload };
                writer.push(&message, &self.spill_numbers)?;
                spilled.written.push(*seq);
            }
        }
        Ok(())
    }

    /// Says in the journal what was copied, and asks for a sync.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]. Without room for the record the copies are given up.
    fn record(&self, upkeep: &mut Upkeep, moved: Vec<(Arc<QueueInner>, Spilled)>) -> Result<(), StoreError> {
        let mut journal = self.journal.lock();
        journal.control.begin();
        for (queue, spilled) in &moved {
            put_queue_spilled(&mut journal.control.buf, queue.id.0, spilled.end_seq());
            journal.control.add_control();
        }
        // A segment that begins with this batch has the old state in its header, and the record behind it.
        if let Err(error) = self.write_control(&mut journal) {
            drop(journal);
            if !error.is_retryable() {
                // The record may be in the journal all the same: then the copies are all there is.
                return Err(error);
            }
            self.give_up_copies(&moved);
            return Ok(());
        }
        for (queue, spilled) in &moved {
            queue.set_recorded(spilled.end_seq(), spilled.generation);
        }
        let recorded_at = journal.log_end();
        drop(journal);
        upkeep.spill = Some(PendingSpill { moved, recorded_at });
        self.want_sync();
        Ok(())
    }

    /// Removes copies that nothing in the journal tells of.
    fn give_up_copies(&self, moved: &[(Arc<QueueInner>, Spilled)]) {
        for (queue, spilled) in moved {
            for file in &spilled.files {
                let name = spill_name(queue.id, file.number);
                match spilled.continued.as_ref().filter(|before| before.number == file.number) {
                    Some(before) => self.cut_file(&name, before.bytes),
                    None => self.remove_file(&name),
                }
            }
            let changes = queue.spill_end();
            self.settle(queue, changes);
        }
    }

    fn cut_file(&self, name: &str, bytes: u64) {
        if let Err(error) = self.storage.open(name, false).and_then(|file| file.set_len(bytes)) {
            log::warn!("{name}: what was not needed stays for now: {error}");
        }
    }

    /// Tells the queues of a step once it is durable.
    fn go_on_spilling(&self, upkeep: &mut Upkeep) {
        let Some(mut pending) = upkeep.spill.take() else { return };
        if self.journal.lock().durable() < pending.recorded_at {
            self.want_sync();
            upkeep.spill = Some(pending);
            return;
        }
        for (queue, spilled) in &mut pending.moved {
            self.take_over(queue, spilled);
        }
        upkeep.spill_retry_at = MonoTime::default();
        upkeep.more = true;
    }

    fn take_over(&self, queue: &Arc<QueueInner>, spilled: &mut Spilled) {
        let mut more = true;
        while more {
            let changes;
            (changes, more) = queue.swap(&self.segments, spilled, SWAP_MSGS);
            add(&self.counters.spilled, changes.popped as u64);
            self.settle(queue, changes);
        }
        self.load.spill_files.fetch_add(spilled.files_added, Ordering::Relaxed);
        self.load.spill_bytes.fetch_add(spilled.bytes_added, Ordering::Relaxed);
        // All of it may have been done meanwhile.
        let changes = queue.spill_end();
        self.settle(queue, changes);
        // The endpoint was removed meanwhile: what it had before is on its way out already.
        let continued = spilled.continued.as_ref().map(|file| file.number);
        let orphans = spilled.files.drain(..).filter(|file| Some(file.number) != continued);
        let spent = orphans.map(|SpillFile { number, .. }| SpentFile {
            queue: queue.id,
            number,
            bytes: 0,
            end_seq: 0,
            counted: false,
        });
        self.note_spent(spent.collect());
    }
}
