//! Received bytes become packets, packets become work.

use edgehub_mqtt::{
    ConnAck, ConnectReturnCode, DecodeError, ErrorKind, Packet, PacketId, Publish, QoS, decode,
    encode_connack, encode_pingresp,
};

use super::Shard;
use super::conn::{Conn, Phase};
use crate::control::{CloseReason, ControlEvent, NoticeKind, SendOutcome};
use crate::grants::{SenderTopic, Topic};
use crate::ids::ConnId;

/// A consumer is prompt when it acknowledged something within this time.
const PROMPT_MS: u64 = 2;

/// What became of a packet.
pub(super) enum Step {
    /// Go on with the next.
    Done,
    /// This packet and all after it wait; it is presented again.
    Wait,
    /// The connection ends.
    Close(CloseReason, String),
}

impl Shard {
    /// Takes in received bytes. All are taken: what makes no packet yet, or must wait, is kept.
    pub fn feed(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conn_mut(id) else { return };
        if conn.is_closing() {
            return;
        }
        if conn.leftover.is_empty() && !conn.pause.any() {
            let used = self.process(id, bytes);
            self.keep(id, bytes.get(used..).unwrap_or_default());
        } else {
            conn.leftover.extend_from_slice(bytes);
            if !conn.pause.any() {
                self.process_leftover(id);
            }
        }
        self.sift(id);
        self.ask_for_room(id);
    }

    /// Works on the bytes that were kept.
    pub(super) fn process_leftover(&mut self, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        let mut bytes = std::mem::take(&mut conn.leftover);
        let used = self.process(id, &bytes);
        if let Some(conn) = self.conn_mut(id) {
            conn.sifted.bytes = conn.sifted.bytes.saturating_sub(used);
        }
        if used >= bytes.len() {
            self.pool.give(bytes);
            return;
        }
        bytes.drain(..used);
        if let Some(conn) = self.conn_mut(id).filter(|conn| !conn.is_closing()) {
            conn.leftover = bytes;
        }
    }

    fn keep(&mut self, id: ConnId, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        let mut buffer = self.pool.take();
        buffer.extend_from_slice(rest);
        match self.conn_mut(id).filter(|conn| !conn.is_closing()) {
            Some(conn) => conn.leftover = buffer,
            None => self.pool.give(buffer),
        }
    }

    /// Works on as many packets as there are; the number of bytes used up.
    fn process(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let now = self.now.mono;
        let packet_bytes_max = self.hub.config.packet_bytes_max;
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let (step, len) = match decode(rest, packet_bytes_max) {
                Ok(Some((packet, len))) => (self.handle(id, packet), len),
                Ok(None) => break,
                // What is broken waits like a packet would: what comes before it is worked on first.
                Err(_) if self.conn(id).is_some_and(|conn| conn.pause.any()) => break,
                Err(error) => (self.refuse_bytes(id, &error), 0),
            };
            match step {
                Step::Done => used += len,
                Step::Wait => break,
                Step::Close(reason, detail) => {
                    self.begin_close(id.slot(), reason, &detail);
                    return bytes.len();
                }
            }
        }
        if used > 0
            && let Some(conn) = self.conn_mut(id)
        {
            conn.last_activity = now;
        }
        used
    }

    /// What cannot be decoded ends the connection; only an unsupported level is answered (M-003).
    fn refuse_bytes(&mut self, id: ConnId, error: &DecodeError) -> Step {
        let fresh = self.conn(id).is_some_and(|conn| matches!(conn.phase, Phase::AwaitConnect));
        let reason = match error.kind() {
            ErrorKind::UnsupportedLevel if fresh => {
                self.write_connack(id, false, ConnectReturnCode::UnacceptableProtocolVersion);
                CloseReason::UnsupportedProtocolLevel
            }
            ErrorKind::TooLarge => CloseReason::PacketTooLarge,
            _ => CloseReason::ProtocolError,
        };
        Step::Close(reason, error.to_string())
    }

    pub(super) fn write_connack(&mut self, id: ConnId, session_present: bool, code: ConnectReturnCode) {
        self.write(id.slot(), |out| {
            // Session-present is only ever set with code 0, so this cannot fail.
            let _ = encode_connack(out, ConnAck { session_present, code });
        });
    }

    fn handle(&mut self, id: ConnId, packet: Packet<'_>) -> Step {
        let Some(conn) = self.conns.get(id.slot()).filter(|conn| conn.id == id) else { return Step::Wait };
        if conn.pause.any() {
            return Step::Wait; // the packet before has to find its place first
        }
        match (&conn.phase, packet) {
            (Phase::AwaitConnect, Packet::Connect(connect)) => self.request_connect(id, &connect),
            (Phase::AwaitConnect, other) => {
                protocol_error(format!("first packet is {}; expected CONNECT", other.packet_type()))
            }
            (Phase::Active(_), packet) => self.handle_active(id, packet),
            (Phase::AwaitVerdict { .. } | Phase::Closing, _) => Step::Wait,
        }
    }

    fn handle_active(&mut self, id: ConnId, packet: Packet<'_>) -> Step {
        match packet {
            Packet::Publish(publish) => self.handle_publish(id, &publish),
            Packet::PubAck(packet_id) => {
                self.client_acked(id, packet_id);
                Step::Done
            }
            Packet::PingReq => {
                self.write(id.slot(), encode_pingresp);
                Step::Done
            }
            Packet::Subscribe(subscribe) => self.request_subscribe(id, &subscribe),
            Packet::Unsubscribe(unsubscribe) => self.request_unsubscribe(id, &unsubscribe),
            Packet::Disconnect => Step::Close(CloseReason::Disconnect, String::new()),
            Packet::PubRec(_) | Packet::PubComp(_) => {
                let detail = format!("{} ignored: nothing is sent with QoS 2", packet.packet_type());
                self.notice(id, NoticeKind::UnexpectedAck, detail);
                Step::Done
            }
            other => protocol_error(format!("unexpected {}", other.packet_type())),
        }
    }

    fn handle_publish(&mut self, id: ConnId, publish: &Publish<'_>) -> Step {
        if publish.qos == QoS::ExactlyOnce {
            return protocol_error("PUBLISH with QoS 2; at most QoS 1 is supported".to_owned());
        }
        let slot = id.slot();
        let Some(conn) = self.conns.get_mut(slot) else { return Step::Wait };
        let Phase::Active(session) = &mut conn.phase else { return Step::Wait };
        let kind = session.grants.classify(publish.topic);
        let waits_for_room_alone = matches!(kind, Topic::Control) && publish.packet_id.is_none();
        if session.requests.any() && !waits_for_room_alone {
            // Publishes of one connection are worked on one after the other (section 1.3).
            conn.pause.control = true;
            return Step::Wait;
        }
        if matches!(kind, Topic::Control) {
            return self.request_publish(id, publish);
        }
        let other = self.named_sender(kind, publish.topic);
        if self.ingress.is_blocked() && (other.is_some() || matches!(kind, Topic::Telemetry { .. })) {
            return self.wait_for_store(slot);
        }
        let notice = self.stage(slot, publish, kind, other.as_ref()).err();
        if let Some((kind, detail)) = notice {
            let reason = format!("{}: {detail}", kind.name());
            self.drop_publish(id, kind, detail);
            if self.hub.config.closes_on_drop {
                return protocol_error(reason);
            }
        }
        if let Some(packet_id) = publish.packet_id {
            self.acks.expect(id, packet_id);
        }
        if self.ingress.is_full() {
            self.commit_batch();
        }
        Step::Done
    }

    /// Whom a topic of another identity names, if that counts (DEV-6).
    pub(super) fn named_sender<'a>(&self, kind: Topic<'_>, topic: &'a str) -> Option<SenderTopic<'a>> {
        let counts = self.hub.config.sender_of_topic && kind == Topic::Foreign;
        if counts { SenderTopic::parse(topic) } else { None }
    }

    fn wait_for_store(&mut self, slot: usize) -> Step {
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.pause.store = true;
            self.waiting.push(slot);
        }
        Step::Wait
    }

    /// Stages telemetry; why anything is dropped.
    fn stage(
        &mut self,
        slot: usize,
        publish: &Publish<'_>,
        kind: Topic<'_>,
        other: Option<&SenderTopic<'_>>,
    ) -> Result<(), (NoticeKind, String)> {
        let Some(session) = self.conns.get_mut(slot).and_then(Conn::session) else { return Ok(()) };
        let (grants, bag) = match (kind, other) {
            (Topic::Telemetry { bag }, _) => (&session.grants, bag),
            (_, Some(sender)) => (session.grants_of(sender), sender.bag),
            (Topic::Foreign, None) => return Err((NoticeKind::ForeignTopic, foreign(publish.topic))),
            _ => return Err((NoticeKind::UnknownTopic, foreign(publish.topic))),
        };
        self.ingress.stage(&self.hub, self.now, grants, publish, bag)
    }

    fn drop_publish(&mut self, id: ConnId, kind: NoticeKind, detail: String) {
        let Some(conn) = self.conns.get_mut(id.slot()) else { return };
        let identity = conn.session().map(|session| session.identity.clone()).unwrap_or_default();
        self.hub.stats.dropped.add(&[kind.name(), &identity, ""], 1);
        self.notice(id, kind, detail);
    }

    /// Tells the first of its kind.
    fn notice(&mut self, id: ConnId, kind: NoticeKind, detail: String) {
        if self.conn_mut(id).is_some_and(|conn| conn.first_notice(kind)) {
            self.hub.control.push_or_drop(ControlEvent::Notice { conn: id, kind, detail });
        }
    }

    pub(super) fn client_acked(&mut self, id: ConnId, packet_id: PacketId) {
        let slot = id.slot();
        let Some(session) = self.conns.get_mut(slot).and_then(|conn| conn.session()) else { return };
        if self.hub.config.abort_on_bad_puback && session.is_out_of_order(packet_id) {
            let detail = format!("PUBACK {packet_id} is not for the message sent first");
            return self.begin_close(slot, CloseReason::ProtocolError, &detail);
        }
        // An unexpected acknowledgement is ignored (section 1.3).
        let Some(delivery) = session.settle(packet_id) else { return };
        session.gave_up = false;
        if let Some(queue) = session.queues.get(usize::from(delivery.queue)) {
            queue.ack(delivery.seq, delivery.epoch);
        }
        session.retries = 0;
        if session.delivery_blocked.is_some() {
            self.behind_until = self.now.mono.plus_ms(PROMPT_MS);
            self.mark_drain(slot);
        }
        self.tell_sent(id, delivery.token(), SendOutcome::Acked);
    }
}

fn protocol_error(detail: String) -> Step {
    Step::Close(CloseReason::ProtocolError, detail)
}

/// A topic for a log line, cut to a length that cannot flood it.
fn foreign(topic: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    topic.chars().take(SHOWN_CHARS).collect()
}
