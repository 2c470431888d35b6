//! What the control plane publishes to one client, and what is in flight to it.

use edgehub_mqtt::{PacketId, QoS, encode_publish_header};
use edgehub_types::MonoTime;

use super::Shard;
use super::conn::{CONTROL_IDS, Conn, Delivery, Session};
use crate::control::{ControlEvent, SendOutcome};
use crate::ids::ConnId;

/// A message of the control plane.
pub(super) struct Send {
    pub topic: String,
    pub payload: Vec<u8>,
    /// Quality of service bits.
    pub qos: u8,
    pub token: Option<u64>,
    pub created_ms: Option<u64>,
}

impl Send {
    /// The quality of service to send with, or why it cannot be sent.
    fn admit(&self, conn: &mut Conn) -> Result<QoS, SendOutcome> {
        let unread = conn.pause.output;
        let Some(session) = conn.session() else { return Err(SendOutcome::Closed) };
        let granted = match self.created_ms {
            None => session.granted(&self.topic).ok_or(SendOutcome::NoSubscription)?,
            Some(at) => {
                session.granted_at(&self.topic, at).ok_or_else(|| match session.granted(&self.topic) {
                    None => SendOutcome::NoSubscription,
                    Some(_) => SendOutcome::TooOld,
                })?
            }
        };
        let qos = if self.qos == 0 { QoS::AtMostOnce } else { granted };
        let needs_place = qos != QoS::AtMostOnce && self.token.is_some();
        if unread || (needs_place && session.tokens_in_flight >= CONTROL_IDS) {
            Err(SendOutcome::Overflow)
        } else {
            Ok(qos)
        }
    }

    fn encode(&self, out: &mut Vec<u8>, qos: QoS, packet_id: Option<PacketId>) -> Result<(), SendOutcome> {
        let topic = [self.topic.as_bytes()];
        encode_publish_header(out, false, qos, false, &topic, packet_id, self.payload.len())
            .map_err(|_| SendOutcome::NotEncodable)?;
        out.extend_from_slice(&self.payload);
        Ok(())
    }
}

impl Session {
    /// Takes a message of the control plane into the window.
    fn send(&mut self, now: MonoTime, token: Option<u64>) -> Result<PacketId, SendOutcome> {
        let delivery = Delivery::of_control_plane(now, token);
        let id = self.in_flight.insert(delivery).map_err(|_| SendOutcome::Overflow)?;
        self.tokens_in_flight += u16::from(token.is_some());
        Ok(id)
    }

    /// Takes what is in flight under this id out of the window.
    pub fn settle(&mut self, id: PacketId) -> Option<Delivery> {
        let delivery = self.in_flight.ack(id)?;
        self.tokens_in_flight -= u16::from(delivery.token().is_some());
        Some(delivery)
    }

    /// Takes the messages of queues out of the window. What the control plane sent still waits for its
    /// acknowledgement.
    pub fn release_deliveries(&mut self) {
        let of_queues: Vec<PacketId> =
            self.in_flight.iter().filter(|(_, d)| !d.is_of_control_plane()).map(|(id, _)| id).collect();
        self.gave_up |= !of_queues.is_empty();
        for id in of_queues {
            self.in_flight.ack(id);
        }
    }

    /// Whether a PUBACK is not for the message that has been in flight longest, nor for one that was given up.
    pub fn is_out_of_order(&self, packet_id: PacketId) -> bool {
        let is_unknown = self.in_flight.get(packet_id).is_none();
        let is_next = self.in_flight.oldest().is_some_and(|(id, _)| id == packet_id);
        !(is_next || is_unknown && self.gave_up)
    }

    /// What has waited longest among what does not wait for ever.
    pub fn oldest_timed(&self) -> Option<(PacketId, Delivery)> {
        let timed = self.in_flight.iter().find(|(_, delivery)| delivery.token().is_none());
        timed.map(|(id, delivery)| (id, *delivery))
    }

    /// Whether a message has waited for its acknowledgement for `ack_ms`. Answers of the control plane are given
    /// up then, they are not sent again.
    pub fn has_overdue(&mut self, now: MonoTime, ack_ms: u64) -> bool {
        while let Some((id, delivery)) = self.oldest_timed().filter(|(_, d)| now >= d.sent.plus_ms(ack_ms)) {
            if !delivery.is_of_control_plane() {
                return true;
            }
            self.settle(id);
            self.gave_up = true;
        }
        false
    }

    /// Tokens in flight, in order of sending.
    pub fn tokens(&self) -> impl Iterator<Item = u64> {
        self.in_flight.iter().filter_map(|(_, delivery)| delivery.token())
    }
}

impl Shard {
    /// Messages of the control plane are not stored: they are sent once, to a filter that matches.
    pub(super) fn control_send(&mut self, id: ConnId, send: &Send) {
        match self.try_send(id, send) {
            Ok(QoS::AtMostOnce) => self.tell_sent(id, send.token, SendOutcome::Sent),
            Ok(_) => {} // until it is acknowledged
            Err(outcome) => {
                self.count_unsent(outcome, &send.topic);
                self.tell_sent(id, send.token, outcome);
            }
        }
    }

    fn try_send(&mut self, id: ConnId, send: &Send) -> Result<QoS, SendOutcome> {
        let now = self.now.mono;
        let conn = self.conn_mut(id).ok_or(SendOutcome::Closed)?;
        let qos = send.admit(conn)?;
        let session = conn.session().ok_or(SendOutcome::Closed)?;
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            _ => Some(session.send(now, send.token)?),
        };
        let mut result = Ok(());
        self.write(id.slot(), |out| result = send.encode(out, qos, packet_id));
        self.note_sent(id.slot());
        if result.is_err()
            && let Some(session) = self.conn_mut(id).and_then(|conn| conn.session())
        {
            packet_id.and_then(|packet_id| session.settle(packet_id));
        }
        self.note_deadline(id.slot());
        result.map(|()| qos)
    }

    /// Counts as a sign of life of the client where the hub is told so (DEV-20).
    pub(super) fn note_sent(&mut self, slot: usize) {
        if self.hub.config.sent_renews_keep_alive
            && let Some(conn) = self.conns.get_mut(slot)
        {
            conn.last_activity = self.now.mono;
        }
    }

    fn count_unsent(&self, outcome: SendOutcome, topic: &str) {
        let reason = match outcome {
            SendOutcome::Overflow => "client_does_not_keep_up",
            SendOutcome::NotEncodable => {
                log::error!("a publish to a topic of {} bytes cannot be written", topic.len());
                outcome.name()
            }
            SendOutcome::Closed => return, // the answer to one that left
            _ => outcome.name(),
        };
        self.hub.stats.dropped.add(&[reason, "", ""], 1);
    }

    pub(super) fn tell_sent(&self, conn: ConnId, token: Option<u64>, outcome: SendOutcome) {
        if let Some(token) = token {
            self.hub.control.push_always(ControlEvent::SendDone { conn, token, outcome });
        }
    }
}
