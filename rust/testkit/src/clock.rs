//! A clock that moves only when told to.

use std::sync::atomic::{AtomicU64, Ordering};

use edgehub_types::{Clock, MonoTime, UnixMs};

/// Virtual time: monotonic and wall time advance together; wall time can also be set apart.
#[derive(Debug)]
pub struct VirtualClock {
    mono_ms: AtomicU64,
    unix_ms: AtomicU64,
}

impl VirtualClock {
    /// A clock at monotonic zero and the given wall time.
    pub fn at(unix: UnixMs) -> Self {
        Self { mono_ms: AtomicU64::new(0), unix_ms: AtomicU64::new(unix.0) }
    }

    /// Lets time pass.
    pub fn advance_ms(&self, ms: u64) {
        self.mono_ms.fetch_add(ms, Ordering::SeqCst);
        self.unix_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock as an administrator or a time server would; monotonic time goes on.
    pub fn step_unix(&self, to: UnixMs) {
        self.unix_ms.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn mono(&self) -> MonoTime {
        MonoTime(self.mono_ms.load(Ordering::SeqCst))
    }

    fn unix(&self) -> UnixMs {
        UnixMs(self.unix_ms.load(Ordering::SeqCst))
    }
}
