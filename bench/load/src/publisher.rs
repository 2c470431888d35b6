//! A publisher without its socket: keeps its window full as far as it is allowed to send.

use std::num::NonZeroU16;

use edgehub_mqtt::{EncodeError, InFlight, PacketId, Publish, QoS, encode_publish};

use crate::error::ClientError;
use crate::payload::{STAMP_BYTES, Stamp};
use crate::tally::Tally;

/// Times at which the messages of an open loop are to be sent: message `k` of the whole run at `start + k / rate`, by
/// publisher `k mod publishers`.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Time of the first message.
    pub start_ns: u64,
    /// Messages per second in all.
    pub rate_per_s: f64,
    /// Number of publishers.
    pub publishers: u64,
}

impl Schedule {
    /// When message `k` of the run is due.
    pub fn due_ns(&self, k: u64) -> u64 {
        self.start_ns + (k as f64 * 1e9 / self.rate_per_s) as u64
    }
}

/// State of one publisher.
#[derive(Debug)]
pub struct Publisher {
    index: u32,
    /// A whole PUBLISH with its identifier and head still to be filled in: what differs from message to message is
    /// little, so a copy is cheaper than to encode each.
    template: Vec<u8>,
    /// Where the payload starts in it; the identifier, if there is one, is before it.
    payload_at: usize,
    qos: QoS,
    window: u16,
    in_flight: InFlight<()>,
    schedule: Option<Schedule>,
    sent: u64,
    allowed: u64,
}

impl Publisher {
    /// A publisher that may not send yet.
    ///
    /// # Errors
    /// The topic is not a topic name, or the message is too long.
    pub fn new(
        index: u32,
        topic: &str,
        qos: QoS,
        window: NonZeroU16,
        payload_bytes: usize,
    ) -> Result<Self, EncodeError> {
        let mut payload = Vec::new();
        Stamp { publisher: index, sequence: 0, sent_ns: 0 }.put(&mut payload, payload_bytes);
        let packet_id = (qos != QoS::AtMostOnce).then_some(PacketId::MIN);
        let mut template = Vec::new();
        encode_publish(&mut template, &Publish { packet_id, ..Publish::new(topic, qos, &payload) })?;
        Ok(Self {
            index,
            payload_at: template.len() - payload.len(),
            template,
            qos,
            window: window.get(),
            in_flight: InFlight::new(window),
            schedule: None,
            sent: 0,
            allowed: 0,
        })
    }

    /// From now on messages are stamped with the time at which they are due.
    pub const fn follow(&mut self, schedule: Schedule) {
        self.schedule = Some(schedule);
    }

    /// Allows this many more messages than have been allowed, or sent without limit before.
    pub fn allow(&mut self, more: u64) {
        self.allowed = self.allowed.saturating_add(more);
    }

    /// Takes back what is allowed and not sent.
    pub const fn pause(&mut self) {
        self.allowed = self.sent;
    }

    /// Whether more is allowed than is sent.
    pub const fn has_to_send(&self) -> bool {
        self.sent < self.allowed
    }

    /// Takes the acknowledgement of a message.
    ///
    /// # Errors
    /// Nothing with this identifier is in flight.
    pub fn on_ack(&mut self, id: PacketId, tally: &mut Tally) -> Result<(), ClientError> {
        self.in_flight.ack(id).ok_or(ClientError::UnknownAck(id.get()))?;
        tally.acked += 1;
        Ok(())
    }

    /// Appends messages while the window has room and more are allowed.
    pub fn fill(&mut self, now_ns: u64, out: &mut Vec<u8>, tally: &mut Tally) {
        let count = self.room(tally).min(self.allowed - self.sent);
        for _ in 0..count {
            let sent_ns = self.stamp_ns(now_ns, tally);
            self.put(sent_ns, out);
        }
        tally.published += count;
    }

    /// Messages that the window admits now.
    fn room(&self, tally: &Tally) -> u64 {
        match self.qos {
            QoS::AtMostOnce => {
                let reached = tally.reached.get(self.index as usize).copied().unwrap_or_default();
                u64::from(self.window).saturating_sub(self.sent.saturating_sub(reached))
            }
            _ => self.in_flight.room() as u64,
        }
    }

    fn stamp_ns(&self, now_ns: u64, tally: &mut Tally) -> u64 {
        let Some(schedule) = self.schedule else { return now_ns };
        let due_ns = schedule.due_ns(self.sent * schedule.publishers + u64::from(self.index));
        tally.lateness.record(now_ns.saturating_sub(due_ns));
        due_ns
    }

    fn put(&mut self, sent_ns: u64, out: &mut Vec<u8>) {
        let payload_at = out.len() + self.payload_at;
        out.extend_from_slice(&self.template);
        if self.qos != QoS::AtMostOnce {
            // There is room: `fill` has counted it.
            let id = self.in_flight.insert(()).map_or(0, PacketId::get);
            out[payload_at - 2..payload_at].copy_from_slice(&id.to_be_bytes());
        }
        let stamp = Stamp { publisher: self.index, sequence: self.sent, sent_ns };
        out[payload_at..payload_at + STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
        self.sent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgehub_mqtt::{Packet, decode};

    fn publisher(qos: QoS, window: u16) -> (Publisher, Tally) {
        let window = NonZeroU16::new(window).unwrap();
        let publisher = Publisher::new(1, "a/b", qos, window, 64).unwrap();
        (publisher, Tally::new(2, 0).unwrap())
    }

    /// Sequence number, time stamp and packet identifier of the messages in `wire`.
    fn sent(mut wire: &[u8]) -> Vec<(u64, u64, Option<u16>)> {
        let mut seen = Vec::new();
        while let Some((Packet::Publish(publish), used)) = decode(wire, 1000).unwrap() {
            assert_eq!((publish.topic, publish.payload.len()), ("a/b", 64));
            let stamp = Stamp::read(publish.payload).unwrap();
            assert_eq!(stamp.publisher, 1);
            seen.push((stamp.sequence, stamp.sent_ns, publish.packet_id.map(u16::from)));
            wire = &wire[used..];
        }
        seen
    }

    #[test]
    fn the_window_is_kept_full_and_not_overrun() {
        let (mut publisher, mut tally) = publisher(QoS::AtLeastOnce, 2);
        let mut out = Vec::new();
        publisher.fill(5, &mut out, &mut tally);
        assert!(out.is_empty(), "nothing is allowed yet");
        publisher.allow(u64::MAX);
        publisher.fill(6, &mut out, &mut tally);
        publisher.fill(7, &mut out, &mut tally);
        assert_eq!(sent(&out), [(0, 6, Some(1)), (1, 6, Some(2))]);
        publisher.on_ack(PacketId::new(1).unwrap(), &mut tally).unwrap();
        out.clear();
        publisher.fill(8, &mut out, &mut tally);
        assert_eq!(sent(&out), [(2, 8, Some(3))]);
        assert_eq!((tally.published, tally.acked), (3, 1));
    }

    #[test]
    fn a_foreign_ack_is_an_error() {
        let (mut publisher, mut tally) = publisher(QoS::AtLeastOnce, 2);
        let err = publisher.on_ack(PacketId::new(9).unwrap(), &mut tally).unwrap_err();
        assert!(matches!(err, ClientError::UnknownAck(9)));
    }

    #[test]
    fn qos_0_waits_for_delivery() {
        let (mut publisher, mut tally) = publisher(QoS::AtMostOnce, 3);
        let mut out = Vec::new();
        publisher.allow(u64::MAX);
        publisher.fill(1, &mut out, &mut tally);
        assert_eq!(sent(&out), [(0, 1, None), (1, 1, None), (2, 1, None)]);
        tally.note_reached(1, 2);
        out.clear();
        publisher.fill(2, &mut out, &mut tally);
        assert_eq!(sent(&out), [(3, 2, None), (4, 2, None)]);
    }

    #[test]
    fn pause_takes_back_what_is_not_sent() {
        let (mut publisher, mut tally) = publisher(QoS::AtLeastOnce, 2);
        let mut out = Vec::new();
        publisher.allow(u64::MAX);
        publisher.fill(1, &mut out, &mut tally);
        publisher.pause();
        publisher.on_ack(PacketId::MIN, &mut tally).unwrap();
        publisher.allow(1);
        publisher.on_ack(PacketId::new(2).unwrap(), &mut tally).unwrap();
        publisher.fill(1, &mut out, &mut tally);
        assert_eq!(tally.published, 3);
    }

    #[test]
    fn in_an_open_loop_the_stamp_is_the_time_due() {
        let (mut publisher, mut tally) = publisher(QoS::AtLeastOnce, 10);
        publisher.follow(Schedule { start_ns: 1000, rate_per_s: 1e6, publishers: 2 });
        publisher.allow(3);
        let mut out = Vec::new();
        publisher.fill(9000, &mut out, &mut tally);
        // Messages 1, 3 and 5 of the run are those of publisher 1 of 2; one is due each microsecond.
        let stamps: Vec<_> = sent(&out).into_iter().map(|(_, sent_ns, _)| sent_ns).collect();
        assert_eq!(stamps, [2000, 4000, 6000]);
        let late = tally.lateness.summary().unwrap();
        assert_eq!(late.count, 3);
        assert!((late.max_us - 7.0).abs() < 0.01);
    }
}
