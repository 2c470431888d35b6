//! Everything that ends a run, with who and what.

use std::io;
use std::path::PathBuf;

use edgehub_mqtt::{DecodeError, EncodeError, PacketType};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The command line is not understood.
    #[error("{0} (try --help)")]
    Usage(String),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Reason of the system.
        source: io::Error,
    },
    /// A file has a wrong content.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Its path.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The system refuses something that concerns no single client.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Reason of the system.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// A client has failed.
    #[error("client {client_id}: {source}")]
    Client {
        /// Its identifier.
        client_id: String,
        /// What has happened.
        source: ClientError,
    },
    /// Not all clients were connected and subscribed in time.
    #[error("{waiting} of {clients} clients were not ready after {limit_s} s; the first is {first}")]
    ReadyTimeout {
        /// Clients not ready.
        waiting: usize,
        /// All clients.
        clients: usize,
        /// Time given.
        limit_s: f64,
        /// Identifier of the first of them.
        first: String,
    },
    /// Nothing comes about any more.
    #[error("{connected} connections were made, and then none for {limit_s} s; {waiting} wait")]
    Stalled {
        /// Connections accepted before.
        connected: u64,
        /// Time given.
        limit_s: f64,
        /// Connections under way.
        waiting: usize,
    },
    /// The process may not open as many files as there are to be connections.
    #[error("{connections} connections need {needed} open files; the hard limit of this process is {limit}")]
    OpenFiles {
        /// Connections asked for.
        connections: usize,
        /// Files needed.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// The broker process cannot be observed.
    #[error("broker process {pid}: {source}")]
    BrokerProcess {
        /// Its id.
        pid: u32,
        /// Reason of the system.
        source: io::Error,
    },
}

/// What has happened to one client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Its connection failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The broker closed its connection.
    #[error("the broker closed the connection {0}")]
    Closed(&'static str),
    /// The broker sent something that is not MQTT 3.1.1.
    #[error("the broker sent an invalid packet: {0}")]
    Decode(#[from] DecodeError),
    /// One of its packets cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// CONNECT was refused.
    #[error("the broker refused the connection with code {0}")]
    Refused(u8),
    /// SUBSCRIBE was refused.
    #[error("the broker refused the subscription to {0}")]
    SubscriptionRefused(String),
    /// A packet that has no place at this point.
    #[error("unexpected {packet} while {state}")]
    Unexpected {
        /// Type of the packet.
        packet: PacketType,
        /// What the client was doing.
        state: &'static str,
    },
    /// An acknowledgement for nothing in flight.
    #[error("PUBACK for packet identifier {0}, which is not in flight")]
    UnknownAck(u16),
    /// A message that no publisher of this run has sent.
    #[error("a message on {topic} is not of this run: {reason}")]
    ForeignMessage {
        /// Its topic.
        topic: String,
        /// Why.
        reason: String,
    },
}
