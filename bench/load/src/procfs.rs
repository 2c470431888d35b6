//! What Linux tells about a process and about the machine.

use std::{fs, io};

use serde_json::{Value, json};

/// CPU time and memory of one process, all its threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessSample {
    /// User and system time since its start, in seconds.
    pub cpu_s: f64,
    /// Resident memory in KiB (`VmRSS`).
    pub rss_kib: u64,
    /// Highest resident memory since its start in KiB (`VmHWM`).
    pub peak_rss_kib: u64,
}

impl ProcessSample {
    /// Reads `/proc/<pid>/stat` and `/proc/<pid>/status`.
    ///
    /// # Errors
    /// The process is gone, or the files have another form than proc(5) says.
    pub fn read(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}: unexpected form"));
        let ticks = cpu_ticks(&stat).ok_or_else(invalid)?;
        let kib = |key| status_kib(&status, key).ok_or_else(invalid);
        Ok(Self {
            cpu_s: ticks as f64 / ticks_per_second(),
            rss_kib: kib("VmRSS")?,
            peak_rss_kib: kib("VmHWM")?,
        })
    }
}

/// Fields 14 and 15 of `stat`. The command in field 2 may contain blanks and brackets, so counting starts after the last `)`.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

fn status_field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim())
}

fn status_kib(status: &str, key: &str) -> Option<u64> {
    status_field(status, key)?.strip_suffix("kB")?.trim().parse().ok()
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf has no memory arguments.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// The cores that a process may run on, as in `Cpus_allowed_list`, for example `0-3`.
pub fn cpus_allowed(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status_field(&status, "Cpus_allowed_list").unwrap_or("unknown").to_owned()
}

/// Facts about the machine that a reader of the numbers needs.
pub fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let meminfo = read("/proc/meminfo");
    json!({
        "cpu_model": cpu_model(&cpuinfo),
        "cores": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "architecture": std::env::consts::ARCH,
        "memory_kib": status_kib(&meminfo, "MemTotal"),
    })
}

/// `model name` on x86; ARM boards have it under `Model` or not at all.
fn cpu_model(cpuinfo: &str) -> &str {
    ["model name", "Model"]
        .iter()
        .find_map(|key| {
            cpuinfo.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == *key).then(|| value.trim())
            })
        })
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_command() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("42 (x) S 1"), None);
    }

    #[test]
    fn memory_fields_are_found_by_name() {
        let status = "Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t     99 kB\nCpus_allowed_list:\t0,2-3\n";
        assert_eq!(status_kib(status, "VmRSS"), Some(99));
        assert_eq!(status_kib(status, "VmHWM"), Some(1234));
        assert_eq!(status_kib(status, "VmSwap"), None);
        assert_eq!(status_field(status, "Cpus_allowed_list"), Some("0,2-3"));
    }

    #[test]
    fn cpu_model_on_x86_and_on_a_board() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Some CPU 3000\n"), "Some CPU 3000");
        assert_eq!(cpu_model("processor\t: 0\n\nModel\t\t: Some Board 4\n"), "Some Board 4");
        assert_eq!(cpu_model(""), "unknown");
    }

    #[test]
    fn this_process_can_be_sampled() {
        let sample = ProcessSample::read(std::process::id()).unwrap();
        assert!(sample.rss_kib > 0 && sample.peak_rss_kib >= sample.rss_kib);
        assert!(ProcessSample::read(u32::MAX).is_err());
    }
}
