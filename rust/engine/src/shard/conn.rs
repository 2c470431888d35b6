//! One connection: its phase, its buffers, its session.

use std::num::NonZeroU16;
use std::sync::Arc;

use edgehub_mqtt::{InFlight, PacketId, QoS, TopicFilter};
use edgehub_store::Queue;
use edgehub_types::MonoTime;

use crate::control::{CloseReason, ControlEvent, NoticeKind, WillMessage};
use crate::endpoint::Endpoint;
use crate::grants::Grants;
use crate::ids::ConnId;

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
}

impl Pause {
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether nothing but the store is in the way.
    pub fn is_of_store_alone(self) -> bool {
        self == Self { store: true, ..Self::default() }
    }

    /// Whether the client could not do anything about it.
    fn is_of_server(self) -> bool {
        Self { output: false, ..self }.any()
    }
}

/// One connection.
pub(super) struct Conn {
    pub id: ConnId,
    /// Number of the connection for the driver of this shard.
    pub driver_key: usize,
    pub peer: String,
    pub listener: u32,
    pub phase: Phase,
    pub pause: Pause,
    /// Bytes received that do not make a packet yet, or wait because of `pause`.
    pub leftover: Vec<u8>,
    /// Bytes to send.
    pub out: Vec<u8>,
    pub dirty: bool,
    pub opened: MonoTime,
    pub last_activity: MonoTime,
    /// Since when the input is read again: what waited unread before was not late.
    pub read_since: MonoTime,
    pub keep_alive_ms: u64,
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
            phase: Phase::AwaitConnect,
            pause: Pause::default(),
            leftover: Vec::new(),
            out: Vec::new(),
            dirty: false,
            opened: now,
            last_activity: now,
            read_since: now,
            keep_alive_ms: 0,
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

    /// From when the time counts in which the client has to send something, `None` while its input waits
    /// for the server.
    pub fn listening_since(&self, from: MonoTime) -> Option<MonoTime> {
        (!self.pause.is_of_server()).then(|| from.max(self.read_since))
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

/// Packet ids of a session that are kept for answers of the control plane. When a client has that many
/// unacknowledged, further ones are dropped and counted.
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
    pub fn of_control_plane(sent: MonoTime) -> Self {
        Self { queue: NO_QUEUE, seq: 0, epoch: 0, sent }
    }

    /// Sent once only: it is not kept for another attempt.
    pub fn is_of_control_plane(&self) -> bool {
        self.queue == NO_QUEUE
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

/// The state of an accepted client.
pub(super) struct Session {
    pub grants: Grants,
    pub identity: String,
    pub will: Option<WillMessage>,
    pub filters: Vec<(TopicFilter<'static>, QoS)>,
    pub inputs_active: bool,
    pub bindings: Vec<InputBinding>,
    /// Binding that is served first next time, the one behind the last that was: a busy input leaves room
    /// for the others.
    pub next_binding: usize,
    /// Queues of the bindings; grows only, so that an index stays valid.
    pub queues: Vec<Queue>,
    pub in_flight: InFlight<Delivery>,
    /// Requests that the control plane has not answered.
    pub control_pending: u32,
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
            grants,
            will,
            filters: Vec::new(),
            inputs_active: false,
            bindings: Vec::new(),
            next_binding: 0,
            queues: Vec::new(),
            in_flight: InFlight::new(packet_ids),
            control_pending: 0,
            delivery_blocked: None,
            retry_at: None,
            retries: 0,
            gave_up: false,
        }
    }

    /// Whether a message has waited for its acknowledgement for `ack_ms`. Answers of the control plane are given up then,
    /// they are not sent again.
    pub fn has_overdue(&mut self, now: MonoTime, ack_ms: u64) -> bool {
        while let Some((id, delivery)) =
            self.in_flight.oldest().filter(|(_, d)| now >= d.sent.plus_ms(ack_ms))
        {
            if !delivery.is_of_control_plane() {
                return true;
            }
            self.in_flight.ack(id);
            self.gave_up = true;
        }
        false
    }

    /// Takes everything out of flight; what comes for it later is ignored.
    pub fn give_up_in_flight(&mut self) {
        self.gave_up |= !self.in_flight.is_empty();
        self.in_flight.drain();
    }

    /// Whether a PUBACK is not for the message that has been in flight longest, nor for one that was given up.
    pub fn is_out_of_order(&self, packet_id: PacketId) -> bool {
        let is_unknown = self.in_flight.get(packet_id).is_none();
        let is_next = self.in_flight.oldest().is_some_and(|(id, _)| id == packet_id);
        !(is_next || is_unknown && self.gave_up)
    }

    /// How many more messages of queues may be sent.
    pub fn delivery_room(&self) -> usize {
        self.in_flight.room().saturating_sub(usize::from(CONTROL_IDS))
    }

    /// Adds or changes filters; one that cannot be parsed was refused by the codec before.
    pub fn add_filters(&mut self, added: &[(String, u8)]) {
        for (text, qos) in added {
            let qos = if *qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            match self.filters.iter_mut().find(|(filter, _)| filter.as_str() == text) {
                Some(entry) => entry.1 = qos,
                None => {
                    if let Ok(filter) = TopicFilter::parse(text) {
                        self.filters.push((filter.into_owned(), qos));
                    }
                }
            }
        }
    }

    pub fn remove_filters(&mut self, removed: &[String]) {
        self.filters.retain(|(filter, _)| !removed.iter().any(|text| text == filter.as_str()));
    }

    /// The quality of service of the best matching filter.
    pub fn granted(&self, topic: &str) -> Option<QoS> {
        self.filters.iter().filter(|(filter, _)| filter.matches(topic)).map(|(_, qos)| *qos).max()
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
