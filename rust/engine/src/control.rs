//! Events for the control plane.

use crate::ids::ConnId;

/// The last will of a CONNECT packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WillMessage {
    /// Topic to publish to.
    pub topic: String,
    /// Body.
    pub payload: Vec<u8>,
    /// Quality of service bits.
    pub qos: u8,
    /// Retain flag.
    pub retain: bool,
}

/// What a client asked for in CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Client identifier.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// Clean session flag.
    pub clean_session: bool,
    /// Keep alive in seconds; 0 asks for none.
    pub keep_alive_secs: u16,
    /// Last will.
    pub will: Option<WillMessage>,
    /// Certificates that the client proved to have the key of, DER, its own first. Not verified otherwise.
    pub certificates: Box<[Vec<u8>]>,
}

/// A publish to a control topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPublish {
    /// Packet id; `None` with quality of service 0.
    pub packet_id: Option<u16>,
    /// Topic.
    pub topic: String,
    /// Body.
    pub payload: Vec<u8>,
    /// Retain flag.
    pub retain: bool,
    /// Duplicate flag.
    pub dup: bool,
}

/// Something the control plane must decide or know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlEvent {
    /// A client waits for the verdict on its CONNECT.
    Connect {
        /// The connection.
        conn: ConnId,
        /// Address of the client.
        peer: String,
        /// Listener it came through.
        listener: u32,
        /// The request.
        request: Box<ConnectRequest>,
    },
    /// A client waits for SUBACK.
    Subscribe {
        /// The connection.
        conn: ConnId,
        /// Packet id to answer with.
        packet_id: u16,
        /// Filters and requested quality of service.
        filters: Vec<(String, u8)>,
    },
    /// A client waits for UNSUBACK.
    Unsubscribe {
        /// The connection.
        conn: ConnId,
        /// Packet id to answer with.
        packet_id: u16,
        /// Filters.
        filters: Vec<String>,
    },
    /// A request on a control topic. Answered with `PubAck`, or with `RequestDone` where it has no packet id:
    /// what the client sends behind it waits until then.
    Publish {
        /// The connection.
        conn: ConnId,
        /// The request.
        publish: Box<ControlPublish>,
    },
    /// What became of a [`Command::Send`](crate::Command::Send) with a token. Comes exactly once for each, also
    /// for a connection that is gone.
    SendDone {
        /// The connection.
        conn: ConnId,
        /// As given.
        token: u64,
        /// How it ended.
        outcome: SendOutcome,
    },
    /// Worth a log line, the connection lives.
    Notice {
        /// The connection.
        conn: ConnId,
        /// What kind.
        kind: NoticeKind,
        /// Text for the log.
        detail: String,
    },
    /// A connection ended.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Address of the client.
        peer: String,
        /// Whether its session had been accepted.
        accepted: bool,
        /// Why.
        reason: CloseReason,
        /// Text for the log.
        detail: String,
    },
    /// Messages for the parent hub may wait.
    UpstreamReady,
    /// The store, or a thread of the data plane, failed for good.
    StoreFailed {
        /// The cause.
        detail: String,
    },
}

/// How a publish of the control plane to one client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendOutcome {
    /// The client acknowledged it.
    Acked,
    /// Sent with quality of service 0: nobody acknowledges it.
    Sent,
    /// No filter of the client matches the topic.
    NoSubscription,
    /// Created before the subscription that it would go to (M-053).
    TooOld,
    /// The client does not read or does not acknowledge what it has already.
    Overflow,
    /// Too long for a packet.
    NotEncodable,
    /// The connection ended before the client acknowledged it.
    Closed,
}

impl SendOutcome {
    /// Name for the control plane.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Sent => "sent",
            Self::NoSubscription => "no_subscription",
            Self::TooOld => "too_old",
            Self::Overflow => "overflow",
            Self::NotEncodable => "not_encodable",
            Self::Closed => "closed",
        }
    }
}

/// Kinds of [`ControlEvent::Notice`]; each at most once per connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NoticeKind {
    /// Telemetry under another identity's topic (DEV-6): dropped, acknowledged.
    ForeignTopic = 1,
    /// A topic that means nothing (M-033): dropped, acknowledged.
    UnknownTopic = 2,
    /// A property bag that cannot be read (M-039): dropped, acknowledged.
    BadProperties = 4,
    /// Body and properties above the limit (M-057): dropped, acknowledged.
    MessageTooLarge = 8,
    /// PUBREC or PUBCOMP, though nothing is ever sent with quality of service 2 (M-028): ignored.
    UnexpectedAck = 16,
}

impl NoticeKind {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForeignTopic => "foreign_topic",
            Self::UnknownTopic => "unknown_topic",
            Self::BadProperties => "bad_properties",
            Self::MessageTooLarge => "message_too_large",
            Self::UnexpectedAck => "unexpected_ack",
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
pub enum CloseReason {
    Disconnect,
    Eof,
    Reset,
    ProtocolError,
    PacketTooLarge,
    ConnectTimeout,
    KeepAliveTimeout,
    AckTimeout,
    TlsError,
    Refused,
    UnsupportedProtocolLevel,
    Server,
    StoreError,
    Shutdown,
}

impl CloseReason {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::ProtocolError => "protocol_error",
            Self::PacketTooLarge => "packet_too_large",
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::AckTimeout => "ack_timeout",
            Self::TlsError => "tls_error",
            Self::Refused => "refused",
            Self::UnsupportedProtocolLevel => "unsupported_protocol_level",
            Self::Server => "server",
            Self::StoreError => "store_error",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether the will is published: only when a session ended abnormally by the client's side (M-055).
    pub fn publishes_will(self) -> bool {
        matches!(
            self,
            Self::Eof
                | Self::Reset
                | Self::ProtocolError
                | Self::PacketTooLarge
                | Self::KeepAliveTimeout
                | Self::AckTimeout
                | Self::TlsError
        )
    }
}

impl ControlEvent {
    /// Bytes that the event takes while it waits, to within a few allocations.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.content_bytes()
    }

    fn content_bytes(&self) -> usize {
        match self {
            Self::Connect { peer, request, .. } => size_of::<ConnectRequest>() + peer.len() + request.bytes(),
            Self::Subscribe { filters, .. } => {
                filters.iter().map(|(filter, _)| size_of::<(String, u8)>() + filter.len()).sum()
            }
            Self::Unsubscribe { filters, .. } => {
                filters.iter().map(|filter| size_of::<String>() + filter.len()).sum()
            }
            Self::Publish { publish, .. } => {
                size_of::<ControlPublish>() + publish.topic.len() + publish.payload.len()
            }
            Self::Notice { detail, .. } | Self::StoreFailed { detail } => detail.len(),
            Self::Closed { peer, detail, .. } => peer.len() + detail.len(),
            Self::SendDone { .. } | Self::UpstreamReady => 0,
        }
    }
}

impl ConnectRequest {
    fn bytes(&self) -> usize {
        let texts = self.client_id.len() + self.username.as_ref().map_or(0, String::len);
        let will = self.will.as_ref().map_or(0, WillMessage::bytes);
        let certificates: usize = self.certificates.iter().map(|der| size_of::<Vec<u8>>() + der.len()).sum();
        texts + self.password.as_ref().map_or(0, Vec::len) + will + certificates
    }
}

impl WillMessage {
    fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}
