//! Limits of this process.

use std::io;

use crate::error::LoadError;

/// Files beside the connections: standard streams, epoll, what is read of /proc, and some room.
const OTHER_FILES: u64 = 64;

/// Raises the soft limit of open files so that as many connections fit.
///
/// # Errors
/// The hard limit is below what is needed.
pub fn allow_connections(connections: usize) -> Result<(), LoadError> {
    let needed = connections as u64 + OTHER_FILES;
    let failed = |source| LoadError::System { what: "limit of open files", source };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a valid rlimit that lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    if limit.rlim_cur >= needed {
        return Ok(());
    }
    if limit.rlim_max < needed {
        return Err(LoadError::OpenFiles { connections, needed, limit: limit.rlim_max });
    }
    limit.rlim_cur = needed;
    // SAFETY: as above; the call only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_connections_fit_and_too_many_are_refused_with_the_limit() {
        allow_connections(10).unwrap();
        let told = allow_connections(usize::MAX / 2).unwrap_err().to_string();
        assert!(told.contains("the hard limit of this process is"), "{told}");
    }
}
