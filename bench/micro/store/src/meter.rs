//! What the process used: time, CPU time of all its threads, memory, bytes written.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::BenchError;

fn read_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Monotonic time, ns.
pub fn now_ns() -> u64 {
    read_ns(ClockId::Monotonic)
}

/// Wall-clock time, ms since 1970 UTC.
pub fn unix_ms() -> u64 {
    read_ns(ClockId::Realtime) / 1_000_000
}

/// A line `name: value` of a file in `/proc/self`; the number that the value begins with.
fn proc_number(file: &str, name: &'static str) -> Result<u64, BenchError> {
    let path = Path::new("/proc/self").join(file);
    let text = fs::read_to_string(&path).map_err(BenchError::file(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.ok_or(BenchError::Fact { name })
}

/// Resident memory now, bytes.
pub fn resident_bytes() -> Result<u64, BenchError> {
    Ok(proc_number("status", "VmRSS")? * 1024)
}

/// The most resident memory since the start of the program or [`forget_peak`], bytes.
pub fn peak_bytes() -> Result<u64, BenchError> {
    Ok(proc_number("status", "VmHWM")? * 1024)
}

/// Begins a new peak at what is resident now.
pub fn forget_peak() -> Result<(), BenchError> {
    let path = Path::new("/proc/self/clear_refs");
    fs::write(path, "5").map_err(BenchError::file(path))
}

/// Bytes that the files of a folder and its subfolders occupy.
pub fn disk_bytes(folder: &Path) -> Result<u64, BenchError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(BenchError::file(folder))? {
        let path = entry.map_err(BenchError::file(folder))?.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => bytes += disk_bytes(&path)?,
            Ok(found) => bytes += found.blocks() * 512,
            // A background thread may have removed it meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(BenchError::file(&path)(error)),
        }
    }
    Ok(bytes)
}

/// What was used between two points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time that passed, ns.
    pub elapsed_ns: u64,
    /// CPU time of all threads and of the kernel on their behalf, ns.
    pub cpu_ns: u64,
    /// Bytes handed to `write` calls.
    pub written_bytes: u64,
}

/// Measures from its start on.
#[derive(Debug)]
pub struct Meter {
    start: Usage,
}

impl Meter {
    /// Starts now.
    pub fn start() -> Result<Self, BenchError> {
        Ok(Self { start: Self::read()? })
    }

    fn read() -> Result<Usage, BenchError> {
        let written_bytes = proc_number("io", "wchar")?;
        let cpu_ns = read_ns(ClockId::ProcessCPUTime);
        Ok(Usage { elapsed_ns: now_ns(), cpu_ns, written_bytes })
    }

    /// What was used since the start.
    pub fn stop(&self) -> Result<Usage, BenchError> {
        let end = Self::read()?;
        Ok(Usage {
            elapsed_ns: end.elapsed_ns - self.start.elapsed_ns,
            cpu_ns: end.cpu_ns - self.start.cpu_ns,
            written_bytes: end.written_bytes - self.start.written_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_is_asked() {
        let meter = Meter::start().unwrap();
        forget_peak().unwrap();
        assert!(peak_bytes().unwrap() > 0 && resident_bytes().unwrap() > 0 && unix_ms() > 0);
        assert!(meter.stop().unwrap().elapsed_ns > 0);
        assert!(matches!(proc_number("io", "nothing"), Err(BenchError::Fact { .. })));
    }
}
