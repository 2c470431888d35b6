//! The blocks of spill files that were read last, uncompressed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// An uncompressed block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Number that its entries count from.
    pub first_seq: u64,
    /// The entries.
    pub raw: Vec<u8>,
}

/// Blocks by address, the one that was used last at the end. When full, the first one goes.
#[derive(Debug, Default)]
pub(crate) struct BlockCache {
    bytes_max: usize,
    used: AtomicBool,
    blocks: Mutex<Vec<(u64, Arc<Block>)>>,
}

impl BlockCache {
    /// A cache of so many bytes, and of one block whatever its size.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    pub fn get(&self, address: u64) -> Option<Arc<Block>> {
        self.used.store(true, Ordering::Relaxed);
        let mut blocks = self.blocks.lock();
        let at = blocks.iter().position(|(own, _)| *own == address)?;
        let block = blocks.remove(at);
        blocks.push(block);
        blocks.last().map(|(_, block)| Arc::clone(block))
    }

    pub fn put(&self, address: u64, block: Arc<Block>) {
        let mut blocks = self.blocks.lock();
        blocks.push((address, block));
        let mut held: usize = blocks.iter().map(|(_, block)| block.raw.len()).sum();
        let mut surplus = 0;
        while held > self.bytes_max && surplus + 1 < blocks.len() {
            held -= blocks.get(surplus).map_or(0, |(_, block)| block.raw.len());
            surplus += 1;
        }
        blocks.drain(..surplus);
    }

    /// To be called now and then: gives the memory back when nothing was looked for since the last time.
    pub fn rest(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            *self.blocks.lock() = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let cache = BlockCache::new(10);
        let block = |len: usize| Arc::new(Block { first_seq: 0, raw: vec![0; len] });
        cache.put(1, block(4));
        cache.put(2, block(4));
        assert!(cache.get(1).is_some());
        cache.put(3, block(4));
        assert!(cache.get(2).is_none() && cache.get(1).is_some() && cache.get(3).is_some());
        cache.put(4, block(100));
        assert!(cache.get(4).is_some() && cache.get(3).is_none());
        cache.rest();
        assert!(cache.get(4).is_some(), "it was used");
        cache.rest();
        cache.rest();
        assert!(cache.get(4).is_none());
    }
}
