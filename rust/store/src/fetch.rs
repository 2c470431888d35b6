//! Bringing messages back from spill files.

use std::sync::Arc;

use edgehub_types::UnixMs;

use crate::StoreError;
use crate::batch::QueueId;
use crate::format::{BlockHeader, ENTRY_HEAD_BYTES, SpillEntries, SpillEntry};
use crate::index::{Entry, spill_address, spill_place};
use crate::ledger::LossCause;
use crate::queue::{Changes, Fetch, Planned, QueueInner};
use crate::shared::Shared;
use crate::spill::{Block, read_block, read_block_header, read_blocks, spill_name};
use crate::stats::add;

/// Blocks and lists that are read for one lease, if nothing in them is wanted.
const FETCHES_MAX: usize = 64;
/// What the disk cannot read for so long counts as damaged: a fault may pass, but nothing may hold a queue up for ever.
const UNREADABLE_MS: u64 = 60_000;

impl Shared {
    /// Reads the next block of a queue that has nothing to lease before it. False when there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the disk cannot read it; nothing is lost then, unless that has lasted for a minute.
    pub fn fetch(&self, queue: &Arc<QueueInner>, now: UnixMs) -> Result<bool, StoreError> {
        for _ in 0..FETCHES_MAX {
            let next = queue.next_fetch();
            if next == Fetch::Nothing {
                return Ok(queue.has_ready());
            }
            let changes = match self.fetch_next(queue, &next, now) {
                Ok(changes) => {
                    queue.set_failing_since(None);
                    changes
                }
                Err(error) => self.give_up(queue, &next, error)?,
            };
            self.settle(queue, changes);
            if changes.fetched > 0 {
                return Ok(true);
            }
        }
        Ok(true)
    }

    fn fetch_next(&self, queue: &QueueInner, next: &Fetch, now: UnixMs) -> Result<Changes, StoreError> {
        match *next {
            Fetch::Nothing => Ok(Changes::default()),
            Fetch::List { file } => self.fetch_list(queue, file).map(|()| Changes::default()),
            Fetch::Block { file, block } if block.last_expiry <= now => {
                Ok(queue.skip_block(file, &block, LossCause::Expired))
            }
            Fetch::Block { file, block } => self.fetch_block(queue, file, &block),
            Fetch::Short { file } => {
                log::error!("{}: messages in it cannot be found any more", spill_name(queue.id, file));
                Ok(queue.skip_file(file, LossCause::Damaged))
            }
        }
    }

    /// What to do when the disk cannot read: nothing for a while, then to go on without it.
    ///
    /// # Errors
    /// The one that is given, for a while.
    fn give_up(&self, queue: &QueueInner, next: &Fetch, error: StoreError) -> Result<Changes, StoreError> {
        let now = self.clock.mono();
        if now < queue.failing_since(now).plus_ms(UNREADABLE_MS) {
            return Err(error);
        }
        log::error!("{}: given up after {} s: {error}", queue.id, UNREADABLE_MS / 1000);
        queue.set_failing_since(None);
        Ok(match *next {
            Fetch::Block { file, block } => queue.skip_block(file, &block, LossCause::Damaged),
            Fetch::List { file } | Fetch::Short { file } => queue.skip_file(file, LossCause::Damaged),
            Fetch::Nothing => Changes::default(),
        })
    }

    /// Reads which blocks a file has.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn fetch_list(&self, queue: &QueueInner, file: u64) -> Result<(), StoreError> {
        let name = spill_name(queue.id, file);
        let salt = self.journal.lock().salt();
        let opened = self.storage.open(&name, false).map_err(StoreError::io("open", &name))?;
        let list = read_blocks(&*opened, salt).map_err(StoreError::io("read", &name))?;
        queue.put_list(file, list.blocks);
        Ok(())
    }

    /// Reads a block.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn fetch_block(
        &self,
        queue: &QueueInner,
        file: u64,
        header: &BlockHeader,
    ) -> Result<Changes, StoreError> {
        let address = spill_address(file, header.offset);
        let Some(block) = self.block(queue.id, address)? else {
            let name = spill_name(queue.id, file);
            log::error!("{name}: the block at offset {} is damaged and skipped", header.offset);
            return Ok(queue.skip_block(file, header, LossCause::Damaged));
        };
        let entries: Vec<_> = SpillEntries::new(&block.raw)
            .map(|(_, entry)| {
                let len = (ENTRY_HEAD_BYTES + entry.payload.len()) as u32;
                let seq = block.first_seq + u64::from(entry.seq_delta);
                (seq, Entry::new(address, len, entry.expires_at))
            })
            .collect();
        Ok(queue.put_block(file, header, &entries))
    }

    /// A block, from the cache or from its file; `None` when it is damaged.
    fn block(&self, queue: QueueId, address: u64) -> Result<Option<Arc<Block>>, StoreError> {
        if let Some(block) = self.blocks.get(address) {
            return Ok(Some(block));
        }
        let (number, offset) = spill_place(address);
        let name = spill_name(queue, number);
        let file = self.storage.open(&name, false).map_err(StoreError::io("open", &name))?;
        add(&self.counters.reads, 1);
        let header = read_block_header(&*file, offset).map_err(StoreError::io("read", &name))?;
        let Some(header) = header else { return Ok(None) };
        let raw = read_block(&*file, &header).map_err(StoreError::io("read", &name))?;
        Ok(raw.map(|raw| {
            let block = Arc::new(Block { first_seq: header.first_seq, raw });
            self.blocks.put(address, Arc::clone(&block));
            block
        }))
    }

    /// Copies planned messages that are in spill files to `bytes`.
    pub fn load_spilled(
        &self,
        queue: &QueueInner,
        bytes: &mut Vec<u8>,
        mut plan: &mut [Planned],
    ) -> Result<(), StoreError> {
        while let Some(first) = plan.first() {
            let address = first.entry.address;
            let count = plan.iter().take_while(|planned| planned.entry.address == address).count();
            let (now, later) = plan.split_at_mut(count);
            plan = later;
            if let Some(block) = self.block(queue.id, address)? {
                copy_entries(&block, now, bytes);
            }
        }
        Ok(())
    }
}

/// Copies the entries of planned messages, which are in order; one that is not there has no place then.
fn copy_entries(block: &Block, plan: &mut [Planned], bytes: &mut Vec<u8>) {
    let mut entries = SpillEntries::new(&block.raw).peekable();
    for planned in plan {
        let seq = |entry: &SpillEntry<'_>| block.first_seq + u64::from(entry.seq_delta);
        while entries.next_if(|(_, entry)| seq(entry) < planned.seq).is_some() {}
        let Some((offset, entry)) = entries.peek().filter(|(_, entry)| seq(entry) == planned.seq) else {
            continue;
        };
        let len = ENTRY_HEAD_BYTES + entry.payload.len();
        planned.at = Some(bytes.len() as u32);
        planned.len = len as u32;
        bytes.extend_from_slice(block.raw.get(*offset..offset + len).unwrap_or_default());
    }
}
