//! The system's clocks; the only place that reads them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use edgehub_types::{Clock, MonoTime, UnixMs};

/// Monotonic time since the clock was made, and wall-clock time.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the seam
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn mono(&self) -> MonoTime {
        MonoTime(self.start.elapsed().as_millis() as u64)
    }

    #[allow(clippy::disallowed_methods)] // this is the seam
    fn unix(&self) -> UnixMs {
        // A clock before 1970 counts as 1970: boards without a battery start there.
        UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
    }
}
