//! Kinds of time, kept apart by type.

use std::time::Duration;

/// A time in milliseconds since 1970-01-01 UTC: of the wall clock, or of the store, which keeps its own time so that
/// steps of the wall clock neither lose messages nor keep dead ones.
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

/// Time since the machine was started, and which start that was. Goes on while the machine sleeps, never jumps, and is the
/// same for all processes of one start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootTime {
    /// Which start of the machine; [`BootTime::UNKNOWN`] where nothing tells.
    pub id: [u8; 16],
    /// Milliseconds since then.
    pub ms: u64,
}

impl BootTime {
    /// The id of a start that cannot be told from others.
    pub const UNKNOWN: [u8; 16] = [0; 16];

    /// Whether this is the start of the machine with that id.
    pub fn is_of(&self, id: [u8; 16]) -> bool {
        id == self.id && id != Self::UNKNOWN
    }
}

/// The only source of time for code that runs on a thread of its own.
pub trait Clock: Send + Sync {
    /// Monotonic time, for timers.
    fn mono(&self) -> MonoTime;
    /// Wall-clock time, for stamps. It may be stepped in both directions at any time.
    fn unix(&self) -> UnixMs;
    /// Time since the machine was started. Within one process the id never changes and the time never goes back; a clock that
    /// does not know when the machine was started gives [`BootTime::UNKNOWN`] and its monotonic time.
    fn boot(&self) -> BootTime {
        BootTime { id: BootTime::UNKNOWN, ms: self.mono().0 }
    }
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
    fn an_unknown_start_is_never_the_same() {
        assert!(!BootTime::default().is_of(BootTime::UNKNOWN));
        assert!(BootTime { id: [1; 16], ms: 0 }.is_of([1; 16]));
        assert!(!BootTime { id: [1; 16], ms: 0 }.is_of([2; 16]));
    }

    #[test]
    fn a_passed_deadline_is_no_wait() {
        assert_eq!(MonoTime(5).since(MonoTime(9)), Duration::ZERO);
        assert_eq!(MonoTime(9).since(MonoTime(5)), Duration::from_millis(4));
    }
}
