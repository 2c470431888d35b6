//! What the shards keep for later use, and whom to tell when they give some of it back.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::control_queue::Waker;

/// Kept and freed bytes of all shards. A shard tells at its own steps, every two seconds at most.
#[derive(Default)]
pub struct Reclaim {
    /// One for each shard, as of its last step.
    kept: Vec<AtomicUsize>,
    freed_bytes: AtomicU64,
    trims: AtomicU64,
    waker: OnceLock<Arc<dyn Waker>>,
}

impl Reclaim {
    pub(crate) fn new(shards: usize) -> Self {
        Self { kept: (0..shards).map(|_| AtomicUsize::default()).collect(), ..Self::default() }
    }

    /// Sets who is woken when a shard freed something. Later calls are ignored: there is one such thread.
    pub fn set_waker(&self, waker: Arc<dyn Waker>) {
        if self.waker.set(waker).is_err() {
            log::warn!("somebody trims the memory already, another one is ignored");
        }
    }

    pub(crate) fn tell(&self, shard: usize, kept_bytes: usize, freed_bytes: usize) {
        if let Some(kept) = self.kept.get(shard) {
            kept.store(kept_bytes, Ordering::Relaxed);
        }
        if freed_bytes == 0 {
            return;
        }
        self.freed_bytes.fetch_add(freed_bytes as u64, Ordering::Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// The allocator was told to give free memory back to the system.
    pub fn count_trim(&self) {
        self.trims.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of empty buffers that the shards keep, at most two seconds old.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|kept| kept.load(Ordering::Relaxed)).sum()
    }

    /// Bytes of unused buffers that the shards freed since the start.
    pub fn freed_bytes(&self) -> u64 {
        self.freed_bytes.load(Ordering::Relaxed)
    }

    /// How often free memory went back to the system.
    pub fn trims(&self) -> u64 {
        self.trims.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Waker for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_kept_is_the_latest_what_is_freed_adds_up_and_only_that_wakes() {
        let reclaim = Reclaim::new(2);
        let count = Arc::new(Count::default());
        reclaim.set_waker(count.clone());
        reclaim.tell(0, 100, 0);
        reclaim.tell(1, 30, 0);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        reclaim.tell(0, 40, 60);
        reclaim.tell(0, 0, 40);
        assert_eq!((reclaim.kept_bytes(), reclaim.freed_bytes()), (30, 100));
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
