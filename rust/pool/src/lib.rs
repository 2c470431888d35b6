//! Pooled byte buffers with a byte cap.
//!
//! One pool belongs to one thread, so taking and giving costs no lock. A connection borrows a buffer
//! only while it has something to send or half a packet to keep; an idle connection holds none.
//! With pooling off every buffer has its exact size and goes back to the system at once
//! (`mqttSettings__UsePooledBuffers=false`, small boards).

/// Capacity of a fresh pooled buffer.
const BUFFER_BYTES: usize = 4096;
/// A buffer that grew beyond this is not kept: one large message must not pin memory for good.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// A free list of byte vectors.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
    free_bytes: usize,
    free_bytes_max: usize,
}

impl BufferPool {
    /// A pool that keeps at most `free_bytes_max` bytes of unused buffers; zero turns pooling off.
    pub fn new(free_bytes_max: usize) -> Self {
        Self { free: Vec::new(), free_bytes: 0, free_bytes_max }
    }

    /// An empty buffer, reused when one is free.
    pub fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.free.pop() else {
            return if self.free_bytes_max == 0 { Vec::new() } else { Vec::with_capacity(BUFFER_BYTES) };
        };
        self.free_bytes -= buffer.capacity();
        buffer
    }

    /// Returns a buffer. It is freed instead when the pool is full or the buffer very large.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > KEPT_BYTES_MAX || self.free_bytes + capacity > self.free_bytes_max {
            return;
        }
        buffer.clear();
        self.free_bytes += capacity;
        self.free.push(buffer);
    }

    /// Bytes of unused buffers kept.
    pub fn free_bytes(&self) -> usize {
        self.free_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn without_pooling_nothing_is_kept_or_reserved() {
        let mut pool = BufferPool::new(0);
        pool.give(Vec::with_capacity(64));
        assert_eq!(pool.free_bytes(), 0);
        assert_eq!(pool.take().capacity(), 0);
    }
}
