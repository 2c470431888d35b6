//! How long a thread runs before others get their turn.
//!
//! Where the whole process has one core, a thread that wakes waits until the one that runs has had its time slice, about 3 ms.
//! Since Linux 6.12 a thread may ask for a shorter slice, and then comes before those with a longer one when it
//! wakes; what it may use over time stays the same. It needs no right (sched(7), `sched_setattr(2)`).

/// Slice of an I/O thread, nanoseconds: the least that the kernel gives.
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 100_000;

/// Asks for short slices for the calling thread. Its policy and nice value stay; older kernels ignore it.
///
/// # Errors
/// The system's, where calls for this are not allowed; then everything stays.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for_short_slices() -> std::io::Result<()> {
    let mut attributes = read()?;
    // Real-time policies have no slices of this kind.
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the pointer is to a `sched_attr` that lives until the call returns, and tells its size.
    let status = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw mut attributes, 0) };
    if status == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for_short_slices() -> std::io::Result<()> {
    Ok(())
}

/// How the calling thread is scheduled.
#[cfg(target_os = "linux")]
fn read() -> std::io::Result<libc::sched_attr> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(u32::MAX);
    let mut attributes = libc::sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the pointer is to a `sched_attr` of the size that is told, and lives until the call returns.
    let status = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if status == 0 { Ok(attributes) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_slice_is_short_and_nothing_else_changes() {
        let thread = std::thread::spawn(|| {
            let before = read().unwrap();
            ask_for_short_slices().unwrap();
            (before, read().unwrap())
        });
        let (before, after) = thread.join().unwrap();
        assert_eq!(
            (before.sched_policy, before.sched_nice, before.sched_priority),
            (after.sched_policy, after.sched_nice, after.sched_priority)
        );
        // Kernels before 6.12 tell no slice and take none.
        let expected = if before.sched_runtime == 0 { 0 } else { SLICE_NS };
        assert_eq!(after.sched_runtime, expected);
    }
}
