//! The engine's I/O threads: listeners, sockets, TLS and wake-ups.
