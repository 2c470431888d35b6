//! A clock that moves only when told to.

use std::sync::atomic::{AtomicU64, Ordering};

use edgehub_types::{BootTime, Clock, MonoTime, UnixMs};

/// Starts of virtual machines so far: each has its own id.
static BOOTS: AtomicU64 = AtomicU64::new(0);

/// Virtual time: monotonic, boot and wall time advance together; wall time can also be set apart.
#[derive(Debug)]
pub struct VirtualClock {
    mono_ms: AtomicU64,
    unix_ms: AtomicU64,
    boot_ms: AtomicU64,
    boot: AtomicU64,
}

impl VirtualClock {
    /// The clock of a machine that was just started, at the given wall time.
    pub fn at(unix: UnixMs) -> Self {
        let boot = AtomicU64::new(next_boot());
        let [mono_ms, boot_ms] = [AtomicU64::new(0), AtomicU64::new(0)];
        Self { mono_ms, unix_ms: AtomicU64::new(unix.0), boot_ms, boot }
    }

    /// Lets time pass.
    pub fn advance_ms(&self, ms: u64) {
        self.mono_ms.fetch_add(ms, Ordering::SeqCst);
        self.boot_ms.fetch_add(ms, Ordering::SeqCst);
        self.unix_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock as an administrator or a time server would; monotonic time goes on.
    pub fn step_unix(&self, to: UnixMs) {
        self.unix_ms.store(to.0, Ordering::SeqCst);
    }

    /// Starts the machine anew, at once. No process may go on using the clock meanwhile: monotonic time does not go back,
    /// but that of a real one would.
    pub fn reboot(&self) {
        self.reboot_after(0);
    }

    /// Starts the machine anew after it was off for so long. The wall clock has a battery: it went on; where it has none,
    /// set it apart.
    pub fn reboot_after(&self, off_ms: u64) {
        self.unix_ms.fetch_add(off_ms, Ordering::SeqCst);
        self.boot_ms.store(0, Ordering::SeqCst);
        self.boot.store(next_boot(), Ordering::SeqCst);
    }
}

fn next_boot() -> u64 {
    BOOTS.fetch_add(1, Ordering::Relaxed) + 1
}

impl Clock for VirtualClock {
    fn mono(&self) -> MonoTime {
        MonoTime(self.mono_ms.load(Ordering::SeqCst))
    }

    fn unix(&self) -> UnixMs {
        UnixMs(self.unix_ms.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootTime {
        let id = u128::from(self.boot.load(Ordering::SeqCst)).to_le_bytes();
        BootTime { id, ms: self.boot_ms.load(Ordering::SeqCst) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_the_machine_begins_boot_time_anew() {
        let clock = VirtualClock::at(UnixMs(1000));
        clock.advance_ms(50);
        let before = clock.boot();
        assert_eq!((before.ms, clock.unix()), (50, UnixMs(1050)));
        clock.reboot_after(200);
        let after = clock.boot();
        assert_eq!((after.ms, clock.unix(), clock.mono()), (0, UnixMs(1250), MonoTime(50)));
        assert!(before.is_of(before.id) && !after.is_of(before.id));
    }

    #[test]
    fn two_machines_are_never_the_same_start() {
        let [one, other] = [VirtualClock::at(UnixMs(0)), VirtualClock::at(UnixMs(0))];
        assert!(!one.boot().is_of(other.boot().id));
    }
}
