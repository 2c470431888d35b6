//! One connection: its phase, its buffers, its session.

use std::num::NonZeroU16;
use std::sync::Arc;

use edgehub_mqtt::{InFlight, QoS, TopicFilter};
use edgehub_store::Queue;
use edgehub_types::MonoTime;

use crate::control::{CloseReason, ControlEvent, NoticeKind, WillMessage};
use crate::endpoint::Endpoint;
use crate::grants::{Grants, SenderTopic};
use crate::ids::ConnId;

use super::requests::Requests;

/// Where a connection is in its life.
pub(super) enum Phase {
    /// Nothing came yet.
    AwaitConnect,
    /// CONNECT is with the control plane.
    AwaitVerdict {
        /// The will to keep for the session.
        will: Option<WillMessage>,
    },
    /// The session is open.
    Active(Box<Session>),
    /// Ended; what is in `out` still goes out.
    Closing,
}

/// Why the bytes of a connection wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent reasons, each set and cleared on its own")]
pub(super) struct Pause {
    /// CONNECT waits for its verdict.
    pub verdict: bool,
    /// A request of the control plane must be answered before the next ordered packet.
    pub control: bool,
    /// The queue of control events was full; the event is kept in the connection.
    pub control_full: bool,
    /// The store takes nothing now.
    pub store: bool,
    /// The client does not read what it gets.
    pub output: bool,
    /// The connection is closed when what it published is acknowledged.
    pub retired: bool,
}

impl Pause {
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether packets that have no order with what waits may be worked on: not before the session is open, and
    /// not while their answers would find no room; and never again when it is about to be closed.
    pub fn allows_sifting(self) -> bool {
        self.any() && !self.verdict && !self.output && !self.retired
    }

    /// Whether the client could not do anything about it.
    fn is_of_server(self) -> bool {
        Self { output: false, ..self }.any()
    }
}

/// Least read of a client whose packets wait: many acknowledgements are not read a few at a time.
const HELD_READ_BYTES_MIN: usize = 4096;

/// How far the bytes that wait were searched for what need not wait.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sifted {
    /// Length of the packets at the start that have to wait.
    pub bytes: usize,
    /// What follows ends the connection when its turn comes: nothing behind it counts.
    pub to_end: bool,
}

/// One connection.
pub(super) struct Conn {
    pub id: ConnId,
    /// Number of the connection for the driver of this shard.
    pub driver_key: usize,
    pub peer: String,
    pub listener: u32,
    /// What the client showed in its TLS handshake, until its CONNECT takes it along.
    pub certificates: Box<[Vec<u8>]>,
    pub phase: Phase,
    pub pause: Pause,
    /// Bytes received that do not make a packet yet, or wait because of `pause`.
    pub leftover: Vec<u8>,
    pub sifted: Sifted,
    /// Bytes to send.
    pub out: Vec<u8>,
    pub dirty: bool,
    pub opened: MonoTime,
    pub last_activity: MonoTime,
    /// Since when the input is read again: what waited unread before was not late.
    pub read_since: MonoTime,
    pub keep_alive_ms: u64,
    /// Counts among those without session.
    pub is_stranger: bool,
    /// Bytes promised to its CONNECT.
    pub promised_bytes: usize,
    /// An event that found the control queue full.
    pub pending_event: Option<ControlEvent>,
    pub close_reason: Option<CloseReason>,
    notices: u8,
}

impl Conn {
    pub fn new(id: ConnId, driver_key: usize, peer: String, listener: u32, now: MonoTime) -> Self {
        Self {
            id,
            driver_key,
            peer,
            listener,
            certificates: Box::default(),
            phase: Phase::AwaitConnect,
            pause: Pause::default(),
            leftover: Vec::new(),
            sifted: Sifted::default(),
            out: Vec::new(),
            dirty: false,
            opened: now,
            last_activity: now,
            read_since: now,
            keep_alive_ms: 0,
            is_stranger: true,
            promised_bytes: 0,
            pending_event: None,
            close_reason: None,
            notices: 0,
        }
    }

    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Active(session) => Some(session),
            _ => None,
        }
    }

    /// How many more bytes may be read although packets wait: none when nothing behind them could be worked on.
    pub fn held_room(&self, held_bytes_max: usize) -> usize {
        let is_sifted = matches!(self.phase, Phase::Active(_)) && self.pause.allows_sifting();
        if !is_sifted || self.sifted.to_end {
            return 0;
        }
        match held_bytes_max.saturating_sub(self.leftover.len()) {
            0 => 0,
            room => room.max(HELD_READ_BYTES_MIN),
        }
    }

    /// From when the time counts in which the client has to send something, `None` while its input waits
    /// unread for the server.
    pub fn listening_since(&self, from: MonoTime, held_bytes_max: usize) -> Option<MonoTime> {
        let is_read = !self.pause.is_of_server() || self.held_room(held_bytes_max) > 0;
        is_read.then(|| from.max(self.read_since))
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// Whether a notice of this kind is the first of the connection.
    pub fn first_notice(&mut self, kind: NoticeKind) -> bool {
        let first = self.notices & kind as u8 == 0;
        self.notices |= kind as u8;
        first
    }
}

/// Packet ids of a session that deliveries leave to the control plane, and how many messages with a token may be in
/// flight. Without an id, or with that many tokens open, further messages are dropped and counted.
pub(super) const CONTROL_IDS: u16 = 64;
/// In place of a queue: the message came from the control plane.
const NO_QUEUE: u16 = u16::MAX;

/// A message that was sent to the client and waits for its PUBACK.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    /// Index into [`Session::queues`].
    pub queue: u16,
    pub seq: u64,
    pub epoch: u32,
    pub sent: MonoTime,
}

impl Delivery {
    /// Sent once only: it is not kept for another attempt.
    pub fn of_control_plane(sent: MonoTime, token: Option<u64>) -> Self {
        // In place of number and epoch, which only messages of queues have.
        Self { queue: NO_QUEUE, seq: token.unwrap_or(0), epoch: token.is_some().into(), sent }
    }

    pub fn is_of_control_plane(&self) -> bool {
        self.queue == NO_QUEUE
    }

    /// Under which the control plane wants to know what became of it.
    pub fn token(&self) -> Option<u64> {
        (self.is_of_control_plane() && self.epoch != 0).then_some(self.seq)
    }
}

/// What stopped deliveries although messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// The window is full: an acknowledgement makes room.
    Window,
    /// The out-buffer is full: a write makes room.
    Out,
}

/// A module input that the session consumes.
pub(super) struct InputBinding {
    pub endpoint: Arc<Endpoint>,
    /// `devices/{d}/modules/{m}/inputs/{input}/`, spelled as a filter of the client has it.
    pub topic_prefix: Vec<u8>,
    /// Granted quality of service; `None` when no filter matches: messages are then rejected (section 1.5).
    pub qos: Option<QoS>,
}

/// A subscription.
pub(super) struct Filter {
    pub topics: TopicFilter<'static>,
    /// Granted quality of service.
    pub qos: QoS,
    /// Wall-clock time of the first SUBSCRIBE in milliseconds.
    pub created_ms: u64,
}

/// The state of an accepted client.
pub(super) struct Session {
    pub grants: Grants,
    pub identity: String,
    /// Of the sender that the latest telemetry topic named, where that may be another (DEV-6).
    other: Option<Box<Grants>>,
    pub will: Option<WillMessage>,
    pub filters: Vec<Filter>,
    pub inputs_active: bool,
    pub bindings: Vec<InputBinding>,
    /// Binding that is served first next time, the one behind the last that was: a busy input leaves room
    /// for the others.
    pub next_binding: usize,
    /// Queues of the bindings; grows only, so that an index stays valid.
    pub queues: Vec<Queue>,
    pub in_flight: InFlight<Delivery>,
    /// How many of these have a token.
    pub tokens_in_flight: u16,
    pub requests: Requests,
    /// The limit of this connection at which deliveries stopped; `None` when the queues were empty.
    pub delivery_blocked: Option<Blocked>,
    /// After a missed acknowledgement: no delivery before this time.
    pub retry_at: Option<MonoTime>,
    pub retries: u32,
    /// Something in flight was given up: its acknowledgement may still come, and is then nobody's fault.
    pub gave_up: bool,
}

impl Session {
    pub fn new(grants: Grants, will: Option<WillMessage>, packet_ids: NonZeroU16) -> Self {
        Self {
            identity: grants.identity(),
            other: None,
            grants,
            will,
            filters: Vec::new(),
            inputs_active: false,
            bindings: Vec::new(),
            next_binding: 0,
            queues: Vec::new(),
            in_flight: InFlight::new(packet_ids),
            tokens_in_flight: 0,
            requests: Requests::default(),
            delivery_blocked: None,
            retry_at: None,
            retries: 0,
            gave_up: false,
        }
    }

    /// Rights as if the session were the sender's that a topic names.
    pub fn grants_of(&mut self, topic: &SenderTopic<'_>) -> &Grants {
        let other = self.other.get_or_insert_default();
        if (other.device_id.as_str(), other.module_id.as_str()) != (topic.device, topic.module) {
            **other = topic.grants();
        }
        other
    }

    /// How many more messages of queues may be sent.
    pub fn delivery_room(&self) -> usize {
        let kept = CONTROL_IDS.saturating_sub(self.tokens_in_flight);
        self.in_flight.room().saturating_sub(usize::from(kept))
    }

    /// The index of a queue, which is remembered.
    pub fn queue_index(&mut self, queue: &Queue) -> u16 {
        if let Some(index) = self.queues.iter().position(|known| known.id() == queue.id()) {
            return index as u16;
        }
        self.queues.push(queue.clone());
        (self.queues.len() - 1) as u16
    }
}
