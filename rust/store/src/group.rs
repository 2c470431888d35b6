//! Group commit: everything that gathered during one sync is written and synced together.

use std::sync::atomic::Ordering;

use edgehub_types::MonoTime;

use crate::StoreError;
use crate::journal::{Content, Journal};
use crate::keeper::{Keeper, Pending};
use crate::shared::Shared;

/// Time until something that failed for want of space is tried again.
pub(crate) const RETRY_MS: u64 = 250;

/// What nobody waits for is synced when it is this part of what may be unsynced in all.
const UNAWAITED_PART: usize = 4;

impl Shared {
    /// Writes, syncs if somebody waits for it, and answers what gathered.
    ///
    /// # Errors
    /// After a retryable one, what could not be written waits on; after others nobody was answered.
    pub fn commit_round(&self, keeper: &mut Keeper, now: MonoTime) -> Result<(), StoreError> {
        self.take_gathered(keeper);
        if keeper.round.is_empty() {
            return Ok(());
        }
        keeper.retry_at = None;
        let written = self.write_round(keeper);
        if written.as_ref().is_err_and(|error| !error.is_retryable()) {
            return written;
        }
        let done = keeper.addresses.len();
        if done > 0 {
            self.sync_round(keeper, done, now)?;
            self.answer(keeper, done);
        }
        if written.is_err() {
            keeper.retry_at = Some(now.plus_ms(RETRY_MS));
        }
        written
    }

    /// Syncs the first `done` batches of the round, unless nobody waits for that and not much has gathered since the last
    /// sync.
    fn sync_round(&self, keeper: &mut Keeper, done: usize, now: MonoTime) -> Result<(), StoreError> {
        let round = || keeper.round.iter().take(done);
        keeper.unawaited_bytes += round().map(|pending| pending.bytes).sum::<usize>();
        let awaited = round().any(|pending| pending.batch.awaited);
        if !awaited && keeper.unawaited_bytes < self.config.unsynced_bytes_max / UNAWAITED_PART {
            return Ok(());
        }
        keeper.note_sync(now);
        self.sync(false)
    }

    fn take_gathered(&self, keeper: &mut Keeper) {
        let mut gather = self.gather.lock();
        if keeper.round.is_empty() {
            std::mem::swap(&mut gather.pending, &mut keeper.round);
        }
    }

    /// Writes the round's batches in order. After a retryable error those with an address are written, after
    /// another one that is unknown.
    fn write_round(&self, keeper: &mut Keeper) -> Result<(), StoreError> {
        let Keeper { round, addresses, write_buf, .. } = keeper;
        addresses.clear();
        write_buf.clear();
        let mut journal = self.journal.lock();
        let alone = round.len() == 1;
        for pending in round.iter_mut() {
            self.collect_checkpoints(&mut journal);
            let bytes = pending.batch.sealed_bytes_max(journal.checkpoints.len());
            if !journal.fits(write_buf.len() + bytes, Content::Messages) {
                self.flush(&mut journal, write_buf)?;
                self.make_room(&mut journal, bytes, Content::Messages)?;
            }
            let now_ms = self.time.stamp_batch();
            let address = journal.seal(&mut pending.batch, write_buf.len() as u64, now_ms);
            if alone {
                self.write(&mut journal, address, &pending.batch.buf)?;
            } else {
                write_buf.extend_from_slice(&pending.batch.buf);
            }
            addresses.push(address);
            if write_buf.len() >= self.config.write_bytes {
                self.flush(&mut journal, write_buf)?;
            }
        }
        self.flush(&mut journal, write_buf)
    }

    fn flush(&self, journal: &mut Journal, write_buf: &mut Vec<u8>) -> Result<(), StoreError> {
        let Some(active) = journal.active.as_ref().filter(|_| !write_buf.is_empty()) else { return Ok(()) };
        let address = active.position;
        self.write(journal, address, write_buf)?;
        write_buf.clear();
        if write_buf.capacity() > 2 * self.config.write_bytes {
            write_buf.shrink_to(self.config.write_bytes);
        }
        Ok(())
    }

    /// Publishes the first `done` batches of the round and tells their waiters.
    fn answer(&self, keeper: &mut Keeper, done: usize) {
        keeper.woken.clear();
        let mut bytes = 0;
        for (pending, address) in keeper.round.iter_mut().zip(&keeper.addresses) {
            self.publish(&mut pending.batch, *address);
            keeper.woken.append(&mut pending.batch.woken);
            bytes += pending.bytes;
        }
        keeper.addresses.clear();
        keeper.published = done;
        self.load.unsynced.fetch_sub(bytes, Ordering::Relaxed);
        for pending in keeper.round.iter().take(done) {
            // Counted before, so that a waiter that panics is not told twice.
            keeper.told += 1;
            pending.waiter.committed(pending.ticket);
        }
        self.wake(&keeper.woken);
        self.relieve();
        (keeper.published, keeper.told) = (0, 0);
        self.recycle(keeper.round.drain(..done));
    }

    fn recycle(&self, done: impl Iterator<Item = Pending>) {
        let mut gather = self.gather.lock();
        for mut pending in done {
            if gather.recycled.len() < self.config.recycled_batches_max {
                pending.batch.clear();
                pending.batch.buf.shrink_to(self.config.recycled_batch_bytes_max);
                gather.recycled.push(pending.batch);
            }
        }
    }
}
