//! Errors of listeners and certificates.

use std::io;

/// Why networking cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Host and port.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The certificate chain cannot be used.
    #[error("server certificate: {detail}")]
    Certificate {
        /// What is wrong.
        detail: String,
    },
    /// A thread, an event queue or a descriptor cannot be had.
    #[error("cannot start an I/O thread: {0}")]
    Thread(#[from] io::Error),
    /// The threads are stopped.
    #[error("the I/O threads are stopped")]
    Stopped,
}
