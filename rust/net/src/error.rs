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
    /// There is no such listener, or it has no TLS.
    #[error("listener {listener} does not exist or has no TLS")]
    NoTlsListener {
        /// Its number.
        listener: u32,
    },
    /// A thread, an event queue or a descriptor cannot be had.
    #[error("cannot start an I/O thread: {0}")]
    Thread(#[from] io::Error),
    /// The descriptor is no end of a connected socket.
    #[error("cannot take over the socket: {0}")]
    Adopt(io::Error),
    /// The threads are stopped.
    #[error("the I/O threads are stopped")]
    Stopped,
}
