//! Events for the control plane and the bounded queue that carries them there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::ids::ConnId;

/// Makes another thread look at its queue: an eventfd, or a flag in tests.
pub trait Waker: Send + Sync {
    /// Wakes the thread; cheap to call twice.
    fn wake(&self);
}

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
    /// A request on a control topic.
    Publish {
        /// The connection.
        conn: ConnId,
        /// The request.
        publish: Box<ControlPublish>,
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
}

impl NoticeKind {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForeignTopic => "foreign_topic",
            Self::UnknownTopic => "unknown_topic",
            Self::BadProperties => "bad_properties",
            Self::MessageTooLarge => "message_too_large",
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

/// Events on their way to the control plane. Bounded: [`ControlQueue::push`] says when it is full.
pub struct ControlQueue {
    events: Mutex<VecDeque<ControlEvent>>,
    events_max: usize,
    waker: Mutex<Option<Arc<dyn Waker>>>,
    signalled: AtomicBool,
    dropped: AtomicU64,
}

impl ControlQueue {
    /// An empty queue.
    pub fn new(events_max: usize) -> Self {
        Self {
            events: Mutex::new(VecDeque::new()),
            events_max,
            waker: Mutex::new(None),
            signalled: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }

    /// Sets who is woken when the queue is no longer empty.
    pub fn set_waker(&self, waker: Arc<dyn Waker>) {
        *self.waker.lock() = Some(waker);
    }

    /// Appends an event.
    ///
    /// # Errors
    /// Gives the event back when the queue is full; the caller waits and tries again.
    pub fn push(&self, event: ControlEvent) -> Result<(), ControlEvent> {
        {
            let mut events = self.events.lock();
            if events.len() >= self.events_max {
                return Err(event);
            }
            events.push_back(event);
        }
        self.signal();
        Ok(())
    }

    /// Appends an event that must arrive whatever the length: the end of a connection that the control
    /// plane knows. There are never more of these than connections.
    pub fn push_always(&self, event: ControlEvent) {
        self.events.lock().push_back(event);
        self.signal();
    }

    /// Appends an event that only informs; dropped and counted when the queue is full.
    pub fn push_or_drop(&self, event: ControlEvent) {
        if self.push(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes up to `events_max` events. When fewer are taken the next push wakes again.
    pub fn take(&self, events_max: usize) -> Vec<ControlEvent> {
        let mut events = self.events.lock();
        let count = events.len().min(events_max);
        let taken: Vec<_> = events.drain(..count).collect();
        if events.is_empty() {
            self.signalled.store(false, Ordering::Release);
        }
        taken
    }

    /// Whether events wait.
    pub fn has_events(&self) -> bool {
        !self.events.lock().is_empty()
    }

    /// Informing events that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Waker for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn one_wake_per_emptying() {
        let queue = ControlQueue::new(10);
        let count = Arc::new(Count::default());
        queue.set_waker(count.clone());
        for _ in 0..3 {
            queue.push(ControlEvent::UpstreamReady).unwrap();
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(queue.take(2).len(), 2);
        assert_eq!(queue.take(2).len(), 1);
        queue.push(ControlEvent::UpstreamReady).unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_full_queue_gives_back_drops_or_makes_room_by_kind() {
        let queue = ControlQueue::new(1);
        queue.push(ControlEvent::UpstreamReady).unwrap();
        assert_eq!(queue.push(ControlEvent::UpstreamReady), Err(ControlEvent::UpstreamReady));
        queue.push_or_drop(ControlEvent::UpstreamReady);
        assert_eq!(queue.dropped(), 1);
        queue.push_always(ControlEvent::UpstreamReady);
        assert_eq!(queue.take(9).len(), 2);
    }
}
