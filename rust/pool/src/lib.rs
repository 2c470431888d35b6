//! Pooled byte buffers with a byte cap, given back to the system when nobody uses them.
//!
//! One pool belongs to one thread, so taking and giving costs no lock. A connection borrows a buffer
//! only while it has something to send or half a packet to keep; an idle connection holds none.
//! With pooling off every buffer has its exact size and goes back to the system at once
//! (`mqttSettings__UsePooledBuffers=false`, small boards).
//!
//! The latest buffer given is the next one taken, so those that a burst needed and nobody needs now lie at
//! the bottom. [`BufferPool::trim`] frees them in steps, down to none.

use edgehub_types::MonoTime;

/// Capacity of a fresh pooled buffer.
pub const BUFFER_BYTES: usize = 4096;
/// A buffer that grew beyond this is not kept: one large message must not pin memory for good.
pub const KEPT_BYTES_MAX: usize = 256 * 1024;
/// Nor one that grew beyond this part of a pool: a small pool keeps many small buffers.
const KEPT_POOL_PART: usize = 8;
/// Time between two steps of [`BufferPool::trim`]; a buffer that was not used for so long may be freed.
pub const TRIM_STEP_MS: u64 = 2000;
/// A step frees half of the unused buffers, and all when there are no more than this.
const STEP_BUFFERS_MIN: usize = 32;

/// A free list of byte vectors.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
    free_bytes: usize,
    free_bytes_max: usize,
    kept_bytes_max: usize,
    /// Fewest buffers that were free since the last step: so many at the bottom were not used.
    unused: usize,
    next_step: MonoTime,
}

impl BufferPool {
    /// A pool that keeps at most `free_bytes_max` bytes of unused buffers; zero turns pooling off.
    pub fn new(free_bytes_max: usize) -> Self {
        Self {
            free: Vec::new(),
            free_bytes: 0,
            free_bytes_max,
            kept_bytes_max: KEPT_BYTES_MAX.min((free_bytes_max / KEPT_POOL_PART).max(BUFFER_BYTES)),
            unused: 0,
            next_step: MonoTime(0),
        }
    }

    /// An empty buffer, reused when one is free.
    pub fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.free.pop() else {
            return if self.free_bytes_max == 0 { Vec::new() } else { Vec::with_capacity(BUFFER_BYTES) };
        };
        self.free_bytes -= buffer.capacity();
        self.unused = self.unused.min(self.free.len());
        buffer
    }

    /// Returns a buffer. It is freed instead when the pool is full or the buffer very large.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let full = self.free_bytes + capacity > self.free_bytes_max;
        if capacity == 0 || capacity > self.kept_bytes_max || full {
            return;
        }
        buffer.clear();
        self.free_bytes += capacity;
        self.free.push(buffer);
    }

    /// Frees part of the buffers that were not used since the last step, when the next one is due; the bytes freed.
    ///
    /// Called every [`TRIM_STEP_MS`] or more often while the pool holds something.
    pub fn trim(&mut self, now: MonoTime) -> usize {
        if now < self.next_step {
            return 0;
        }
        self.next_step = now.plus_ms(TRIM_STEP_MS);
        let half = self.unused.div_ceil(2).max(STEP_BUFFERS_MIN);
        let freed = self.free.drain(..half.min(self.unused)).map(|buffer| buffer.capacity()).sum();
        self.free_bytes -= freed;
        self.unused = self.free.len();
        if self.free.is_empty() {
            self.free = Vec::new(); // the list has a capacity as well
        }
        freed
    }

    /// Bytes of unused buffers kept.
    pub fn free_bytes(&self) -> usize {
        self.free_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool_with(buffers: usize) -> BufferPool {
        let mut pool = BufferPool::new(1 << 20);
        let taken: Vec<_> = (0..buffers).map(|_| pool.take()).collect();
        for buffer in taken {
            pool.give(buffer);
        }
        pool
    }

    #[test]
    fn a_given_buffer_is_taken_again_empty() {
        let mut pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"left over");
        let address = buffer.as_ptr();
        pool.give(buffer);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), address);
        assert_eq!(pool.free_bytes(), 0);
    }

    #[test]
    fn the_cap_holds_and_huge_buffers_are_freed() {
        let mut pool = BufferPool::new(2 * BUFFER_BYTES);
        for _ in 0..3 {
            pool.give(Vec::with_capacity(BUFFER_BYTES));
        }
        assert_eq!(pool.free_bytes(), 2 * BUFFER_BYTES);
        let mut large = BufferPool::new(usize::MAX / 2);
        large.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(large.free_bytes(), 0);
    }

    #[test]
    fn a_small_pool_is_not_filled_by_a_few_large_buffers() {
        let mut pool = BufferPool::new(512 << 10);
        pool.give(Vec::with_capacity(128 << 10));
        assert_eq!(pool.free_bytes(), 0);
        pool.give(Vec::with_capacity(64 << 10));
        assert_eq!(pool.free_bytes(), 64 << 10);
    }

    #[test]
    fn without_pooling_nothing_is_kept_or_reserved() {
        let mut pool = BufferPool::new(0);
        pool.give(Vec::with_capacity(64));
        assert_eq!(pool.free_bytes(), 0);
        assert_eq!(pool.take().capacity(), 0);
    }

    #[test]
    fn an_idle_pool_empties_in_steps() {
        let mut pool = pool_with(200);
        let mut now = MonoTime(10_000);
        // The buffers were used since the last step, which is none yet.
        assert_eq!(pool.trim(now), 0);
        let mut left = vec![pool.free_bytes() / BUFFER_BYTES];
        while pool.free_bytes() > 0 {
            now = now.plus_ms(TRIM_STEP_MS);
            let before = pool.free_bytes();
            assert_eq!(pool.trim(now), before - pool.free_bytes());
            left.push(pool.free_bytes() / BUFFER_BYTES);
        }
        assert_eq!(left, [200, 100, 50, 18, 0]);
        assert_eq!(pool.free.capacity(), 0);
    }

    #[test]
    fn between_two_steps_nothing_is_freed() {
        let mut pool = pool_with(10);
        pool.trim(MonoTime(500));
        assert_eq!(pool.trim(MonoTime(500 + TRIM_STEP_MS - 1)), 0);
        assert_eq!(pool.trim(MonoTime(500 + TRIM_STEP_MS)), 10 * BUFFER_BYTES);
    }

    #[test]
    fn buffers_in_use_stay() {
        let mut pool = pool_with(100);
        let mut now = MonoTime(0);
        for _ in 0..20 {
            pool.trim(now);
            let taken: Vec<_> = (0..40).map(|_| pool.take()).collect();
            for buffer in taken {
                pool.give(buffer);
            }
            now = now.plus_ms(TRIM_STEP_MS);
        }
        assert_eq!(pool.free_bytes(), 40 * BUFFER_BYTES);
    }
}
