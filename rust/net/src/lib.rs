//! The engine's I/O threads: listeners, sockets, TLS and wake-ups.
//!
//! Each thread drives one [`edgehub_engine::Shard`] with edge-triggered polling. A turn reads every ready
//! socket once, commits what came, and writes every socket that has something once. No thread here ever
//! waits for another, nor for Python.

mod client_certificate;
mod clock;
mod error;
mod eventfd;
mod gate;
mod io_thread;
mod link;
mod listener;
mod log_ring;
mod runtime;
mod slice;
mod stream;
mod tls;
mod trimmer;

pub use clock::SystemClock;
pub use error::NetError;
pub use eventfd::EventFd;
pub use log_ring::{LogLine, LogRing};
pub use runtime::{IoThreads, NetConfig};
pub use tls::{TlsIdentity, TlsOptions, TlsVersions};
