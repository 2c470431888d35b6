//! An eventfd: wakes a foreign event loop, such as Python's.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use edgehub_engine::Waker;

/// Readable while a wake-up is pending.
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// A new descriptor, non-blocking, closed on exec.
    ///
    /// # Errors
    /// The system's error, for instance no free descriptor.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fd is a fresh descriptor that nobody else owns.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The descriptor, to be polled by the foreign loop.
    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Takes the pending wake-up.
    pub fn drain(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the buffer has the eight bytes that eventfd writes; EAGAIN means nothing was pending.
        unsafe { libc::read(self.raw(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl Waker for EventFd {
    fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight readable bytes; the write fails only when the counter is full, and then the
        // descriptor is readable already.
        unsafe { libc::write(self.raw(), one.as_ptr().cast(), one.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(fd: &EventFd) -> bool {
        let mut poll = libc::pollfd { fd: fd.raw(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd, no wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn readable_from_wake_to_drain() {
        let fd = EventFd::new().unwrap();
        assert!(!readable(&fd));
        fd.wake();
        fd.wake();
        assert!(readable(&fd));
        fd.drain();
        assert!(!readable(&fd));
    }
}
