//! Two kinds of time, kept apart by type.

use std::time::Duration;

/// Wall-clock time in milliseconds since 1970-01-01 UTC. Message expiry uses it, because it must
/// mean the same after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// Later than every real time: "never".
    pub const MAX: Self = Self(u64::MAX);

    /// This time plus `secs` seconds; saturates at [`UnixMs::MAX`].
    #[must_use]
    pub fn plus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(1000)))
    }
}

/// Monotonic time in milliseconds since an arbitrary start. Timers use it, because it never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// This time plus `ms` milliseconds; saturates.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The wait from `now` until this time; zero when it has passed.
    pub fn since(self, now: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(now.0))
    }
}

/// The only source of time for code that runs on a thread of its own.
pub trait Clock: Send + Sync {
    /// Monotonic time, for timers.
    fn mono(&self) -> MonoTime;
    /// Wall-clock time, for expiry and stamps.
    fn unix(&self) -> UnixMs;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_add_and_saturate() {
        assert_eq!(UnixMs(5).plus_secs(2), UnixMs(2005));
        assert_eq!(UnixMs(5).plus_secs(u64::MAX), UnixMs::MAX);
    }

    #[test]
    fn a_passed_deadline_is_no_wait() {
        assert_eq!(MonoTime(5).since(MonoTime(9)), Duration::ZERO);
        assert_eq!(MonoTime(9).since(MonoTime(5)), Duration::from_millis(4));
    }
}
