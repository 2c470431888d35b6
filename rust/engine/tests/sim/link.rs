//! One connection as the network sees it: what the client wrote and the hub did not get yet, what the hub wrote and the
//! client did not get yet, and what each side may therefore do next.

use std::collections::{BTreeMap, HashMap, VecDeque};

use edgehub_engine::ConnId;
use edgehub_mqtt::{Packet, decode};

use crate::book::{Line, Tx};

/// What ends at a place in the stream of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Publish { tx: Tx, packet: Option<u16> },
    Request { packet: u16 },
    Ack { packet: u16 },
    Ping,
    Other,
}

/// A message as the consumer gets it.
#[derive(Debug, Clone)]
pub struct Message {
    pub topic: String,
    pub body: Vec<u8>,
    pub dup: bool,
    pub packet: Option<u16>,
}

/// What the hub sends.
#[derive(Debug, Clone)]
pub enum Answer {
    ConnAck { accepted: bool, session_present: bool },
    PubAck(u16),
    SubAck,
    UnsubAck,
    Pong,
    Message(Message),
}

/// A delivery without its acknowledgement.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    input: usize,
    tx: Tx,
    sent_ms: u64,
}

pub struct Link {
    pub key: usize,
    pub client: usize,
    pub id: ConnId,
    /// Written by the client and still on its way.
    pub up: Vec<u8>,
    /// Bytes of `shard.out` that were looked at.
    pub seen: usize,
    /// Bytes that the client got and that make no packet yet.
    pub inbox: Vec<u8>,
    /// Pings that arrived and are not answered.
    pub pings: usize,
    written: u64,
    fed: u64,
    marks: VecDeque<(u64, Mark)>,
    /// Publishes that arrived and are not acknowledged, in order.
    awaiting: VecDeque<(u16, Option<Tx>)>,
    in_flight: BTreeMap<u16, InFlight>,
    /// Rank of the last message in this run of deliveries.
    last: HashMap<Line, usize>,
    /// A new run may begin: an acknowledgement is late, or the subscription ended.
    may_repeat: bool,
}

impl Link {
    pub fn new(key: usize, client: usize, id: ConnId) -> Self {
        Self {
            key,
            client,
            id,
            up: Vec::new(),
            seen: 0,
            inbox: Vec::new(),
            pings: 0,
            written: 0,
            fed: 0,
            marks: VecDeque::new(),
            awaiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            last: HashMap::new(),
            may_repeat: false,
        }
    }

    /// The client writes a packet.
    pub fn write(&mut self, bytes: &[u8], mark: Mark) {
        self.up.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        self.marks.push_back((self.written, mark));
    }

    /// The next bytes for the hub, and what is complete with them.
    pub fn carry(&mut self, bytes_max: usize) -> (Vec<u8>, Vec<Mark>) {
        let bytes: Vec<u8> = self.up.drain(..bytes_max.min(self.up.len())).collect();
        self.fed += bytes.len() as u64;
        let mut arrived = Vec::new();
        while let Some((end, mark)) = self.marks.front().copied()
            && end <= self.fed
        {
            self.marks.pop_front();
            arrived.push(mark);
        }
        (bytes, arrived)
    }

    /// A publish is with the hub, which has to acknowledge it.
    pub fn awaits(&mut self, packet: u16, tx: Option<Tx>) {
        self.awaiting.push_back((packet, tx));
    }

    /// The hub acknowledges; which message that was, if one.
    pub fn acknowledged(&mut self, packet: u16) -> Option<Tx> {
        let first = self.awaiting.pop_front();
        let first = first.unwrap_or_else(|| panic!("PUBACK {packet} for nothing"));
        assert_eq!(first.0, packet, "PUBACKs come in the order of the publishes");
        first.1
    }

    /// Whether publishes wait for their acknowledgement.
    pub fn is_owed(&self) -> bool {
        !self.awaiting.is_empty() || self.pings > 0
    }

    /// The hub sends a message; checks window, packet ids and, by its rank, the order of what is sent again.
    pub fn sends(&mut self, tx: Tx, line: Line, rank: Option<usize>, packet: u16, now_ms: u64, window: u16) {
        if let Some(rank) = rank {
            if self.last.get(&line).is_some_and(|last| *last >= rank) {
                let last = self.last[&line];
                assert!(self.may_repeat, "{tx} is number {rank} of {line:?}, after {last} in one run");
                self.last.clear();
                self.in_flight.clear();
                self.may_repeat = false;
            }
            self.last.insert(line, rank);
        }
        let input = line.0;
        let before = self.in_flight.insert(packet, InFlight { input, tx, sent_ms: now_ms });
        assert!(before.is_none() || self.may_repeat, "packet id {packet} is in use");
        let in_flight = self.in_flight.len();
        assert!(in_flight <= usize::from(window) || self.may_repeat, "{in_flight} in flight");
    }

    /// The consumer's acknowledgement is with the hub: for which message at which input, unless the hub has given up to
    /// wait for it.
    pub fn consumed(&mut self, packet: u16) -> Option<(usize, Tx)> {
        let delivery = self.in_flight.remove(&packet)?;
        (!self.may_repeat).then_some((delivery.input, delivery.tx))
    }

    /// The hub may send again what it sent: its consumer stopped to be one, or is late.
    pub fn may_repeat(&mut self) {
        self.may_repeat = true;
    }

    /// Notes whether an acknowledgement is late.
    pub fn look_for_late(&mut self, now_ms: u64, ack_timeout_ms: u64) {
        self.may_repeat |= self.in_flight.values().any(|sent| now_ms >= sent.sent_ms + ack_timeout_ms);
    }
}

/// The packets at the front of `bytes`, and how many bytes these are.
pub fn answers(bytes: &[u8]) -> (Vec<Answer>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((packet, used)) = decode(&bytes[at..], usize::MAX).expect("the hub writes valid packets") {
        at += used;
        found.push(match packet {
            Packet::ConnAck(ack) => {
                Answer::ConnAck { accepted: ack.code.byte() == 0, session_present: ack.session_present }
            }
            Packet::PubAck(id) => Answer::PubAck(id.get()),
            Packet::SubAck(_) => Answer::SubAck,
            Packet::UnsubAck(_) => Answer::UnsubAck,
            Packet::PingResp => Answer::Pong,
            Packet::Publish(publish) => Answer::Message(Message {
                topic: publish.topic.to_owned(),
                body: publish.payload.to_vec(),
                dup: publish.dup,
                packet: publish.packet_id.map(std::num::NonZero::get),
            }),
            other => panic!("a hub never sends {other:?}"),
        });
    }
    (found, at)
}
