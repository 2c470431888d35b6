//! The newest part of the log in memory, for readers that keep up.

use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Ring {
    bytes: Vec<u8>,
    start: u64,
    end: u64,
}

/// A ring of the last bytes of the log, found by address.
#[derive(Debug)]
pub(crate) struct TailCache {
    ring: Mutex<Ring>,
    bytes: usize,
}

impl TailCache {
    /// A cache of so many bytes; zero keeps nothing.
    pub fn new(bytes: usize) -> Self {
        Self { ring: Mutex::default(), bytes }
    }

    /// Forgets everything and frees the memory until the next append.
    pub fn release(&self) {
        *self.ring.lock() = Ring::default();
    }

    /// Bytes of memory held.
    pub fn kept_bytes(&self) -> usize {
        self.ring.lock().bytes.len()
    }

    /// Adds what was just written at `address`, which is behind all that came before.
    pub fn append(&self, address: u64, bytes: &[u8]) {
        let capacity = self.bytes;
        if capacity == 0 {
            return;
        }
        let mut ring = self.ring.lock();
        if ring.bytes.is_empty() {
            ring.bytes = vec![0; capacity];
        }
        let end = address + bytes.len() as u64;
        let kept = bytes.get(bytes.len().saturating_sub(capacity)..).unwrap_or_default();
        let at = ((end - kept.len() as u64) % capacity as u64) as usize;
        let (first, second) = kept.split_at(kept.len().min(capacity - at));
        ring.bytes[at..at + first.len()].copy_from_slice(first);
        ring.bytes[..second.len()].copy_from_slice(second);
        if ring.end == 0 {
            ring.start = address;
        }
        ring.start = ring.start.max(end.saturating_sub(capacity as u64));
        ring.end = end;
    }

    /// Appends to `out` the ranges that are at hand, asking `ranges` for each index in order until one says
    /// `None`. Answers are given to `found` as index and offset in `out`; a range that is not at hand is skipped.
    pub fn copy(
        &self,
        out: &mut Vec<u8>,
        mut ranges: impl FnMut(usize) -> Option<(u64, usize)>,
        mut found: impl FnMut(usize, usize),
    ) {
        let ring = self.ring.lock();
        let mut index = 0;
        while let Some((address, len)) = ranges(index) {
            if let Some((first, second)) = ring.slices(address, len) {
                found(index, out.len());
                out.extend_from_slice(first);
                out.extend_from_slice(second);
            }
            index += 1;
        }
    }
}

impl Ring {
    fn slices(&self, address: u64, len: usize) -> Option<(&[u8], &[u8])> {
        if address < self.start || address + len as u64 > self.end {
            return None;
        }
        let at = (address % self.bytes.len() as u64) as usize;
        let first = len.min(self.bytes.len() - at);
        Some((self.bytes.get(at..at + first)?, self.bytes.get(..len - first)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(cache: &TailCache, address: u64, len: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut hit = false;
        cache.copy(&mut out, |index| (index == 0).then_some((address, len)), |_, _| hit = true);
        hit.then_some(out)
    }

    #[test]
    fn without_memory_nothing_is_found() {
        let cache = TailCache::new(0);
        cache.append(100, b"abc");
        assert_eq!(read(&cache, 100, 3), None);
    }

    #[test]
    fn released_memory_is_had_again_and_old_pieces_are_not_found() {
        let cache = TailCache::new(8);
        assert_eq!(cache.kept_bytes(), 0);
        cache.append(100, b"abcd");
        assert_eq!(cache.kept_bytes(), 8);
        cache.release();
        assert_eq!((cache.kept_bytes(), read(&cache, 100, 4)), (0, None));
        cache.append(104, b"ef");
        assert_eq!(read(&cache, 104, 2).as_deref(), Some(&b"ef"[..]));
        assert_eq!(read(&cache, 102, 4), None);
    }

    #[test]
    fn a_piece_larger_than_the_ring_leaves_its_end() {
        let cache = TailCache::new(4);
        cache.append(10, b"abcdefgh");
        assert_eq!(read(&cache, 14, 4).as_deref(), Some(&b"efgh"[..]));
        assert_eq!(read(&cache, 13, 4), None);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_written(
            capacity in 1usize..40,
            pieces in prop::collection::vec((0u64..50, prop::collection::vec(any::<u8>(), 1..30)), 1..20),
        ) {
            let cache = TailCache::new(capacity);
            let mut address = 7;
            for (skip, piece) in pieces {
                address += skip;
                cache.append(address, &piece);
                let end = address + piece.len() as u64;
                for start in 0..piece.len() {
                    let want = &piece[start..];
                    let got = read(&cache, address + start as u64, want.len());
                    prop_assert_eq!(got.is_some(), want.len() <= capacity);
                    prop_assert!(got.is_none_or(|got| got == want));
                }
                prop_assert_eq!(read(&cache, end, 1), None);
                address = end;
            }
        }
    }
}
