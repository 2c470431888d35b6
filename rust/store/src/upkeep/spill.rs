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
        let Some(limit) = self.spill_limit() else { return Ok(()) };
        upkeep.spill_retry_at = now.plus_ms(RETRY_MS);
        match self.copy_below(limit) {
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

    /// The address below which everything is to be moved.
    fn spill_limit(&self) -> Option<u64> {
        let durable = self.journal.lock().durable();
        let ends = self.segments.wanted_ends(durable);
        let config = self.config.spill;
        if self.load.index_entries.load(Ordering::Relaxed) > config.index_entries {
            return Some(durable);
        }
        if ends.len() > config.after_segments { ends.first().copied() } else { None }
    }

    /// Copies every queue's messages below `limit`. After an error nothing is left behind.
    fn copy_below(&self, limit: u64) -> Result<Vec<(Arc<QueueInner>, Spilled)>, StoreError> {
        let queues: Vec<_> = self.queues.read().iter().flatten().cloned().collect();
        let mut moved = Vec::new();
        for queue in queues {
            match self.copy_queue(&queue, limit) {
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

    fn copy_queue(&self, queue: &Arc<QueueInner>, limit: u64) -> Result<Option<Spilled>, StoreError> {
        let mut found = Vec::new();
        let mut next = queue.unspilled(0, limit, COPY_MSGS, &mut found);
        if found.is_empty() && next.is_none() {
            return Ok(None);
        }
        let SpillStart { generation, first_seq, last } = queue.spill_start();
        let continued = last.filter(|file| !file.complete);
        let mut writer = SpillWriter::new(self.spill_target(queue.id), continued.clone(), first_seq);
        let mut spilled = Spilled { generation, continued, ..Spilled::default() };
        let copied = loop {
            if let Err(error) = self.copy_some(queue, &found, &mut writer, &mut spilled) {
                break Err(error);
            }
            let upto = found.last().map_or(first_seq, |(seq, _)| seq + 1);
            let Some(from) = next else { break writer.finish(upto, &self.spill_numbers) };
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
        let now_ms = self.clock.unix().0;
        Target { storage: &*self.storage, config: self.config.spill, queue, salt, now_ms }
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
            for (seq, entry) in now {
                let at = (entry.address - start) as usize;
                let record = bytes.get(at..at + entry.len() as usize).and_then(RecordView::decode);
                let Some((expires_at, payload)) = record.and_then(|record| record.message_for(queue.id.0))
                else {
                    continue;
                };
                let written_ms = segment.meta.written_ms(entry.address);
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
        self.spent_files.lock().extend(spent);
    }
}
