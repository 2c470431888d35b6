//! The system's clocks; the only place that reads them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use edgehub_types::{BootTime, Clock, MonoTime, UnixMs};

const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Monotonic time since the clock was made, time since the machine was started, and wall-clock time.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
    boot_id: [u8; 16],
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the seam
    fn default() -> Self {
        Self { start: Instant::now(), boot_id: boot_id() }
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

    fn boot(&self) -> BootTime {
        let unknown = || BootTime { id: BootTime::UNKNOWN, ms: self.mono().0 };
        boot_ms().map_or_else(unknown, |ms| BootTime { id: self.boot_id, ms })
    }
}

/// Random number that the kernel took when it started; unknown where it does not tell.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
    parse_boot_id(&text).unwrap_or(BootTime::UNKNOWN)
}

/// The bytes of a UUID in text.
fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|char| *char != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| number.to_be_bytes())
}

/// Time since the machine was started, sleep included. A system that has this clock has it always.
#[cfg(target_os = "linux")]
fn boot_ms() -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` that lives until the call returns.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    (status == 0).then(|| time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
}

#[cfg(not(target_os = "linux"))]
fn boot_ms() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_read_as_the_kernel_writes_it() {
        let id = parse_boot_id("0011aabb-ccdd-eeff-0123-456789abcdef\n").unwrap();
        assert_eq!(id[..6], [0x00, 0x11, 0xaa, 0xbb, 0xcc, 0xdd]);
        for text in ["", "0011", "zz11aabb-ccdd-eeff-0123-456789abcdef"] {
            assert_eq!(parse_boot_id(text), None, "{text:?}");
        }
    }

    #[test]
    fn boot_time_is_that_of_the_machine_and_does_not_go_back() {
        let (one, other) = (SystemClock::default().boot(), SystemClock::default().boot());
        assert!(other.id == one.id && other.ms >= one.ms);
        #[cfg(target_os = "linux")]
        assert!(other.is_of(one.id) && one.ms > 0);
    }
}
