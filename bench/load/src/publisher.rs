//! A publisher without its socket: keeps its window full as far as it is allowed to send.

use std::num::NonZeroU16;

use edgehub_mqtt::{EncodeError, InFlight, PacketId, QoS, encode_publish_header};

use crate::error::ClientError;
use crate::payload::Stamp;
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
    topic: String,
    qos: QoS,
    window: u16,
    payload_bytes: usize,
    in_flight: InFlight<()>,
    schedule: Option<Schedule>,
    sent: u64,
    allowed: u64,
}

impl Publisher {
    /// A publisher that may not send yet.
    pub const fn new(index: u32, topic: String, qos: QoS, window: NonZeroU16, payload_bytes: usize) -> Self {
        Self {
            index,
            topic,
            qos,
            window: window.get(),
            payload_bytes,
            in_flight: InFlight::new(window),
            schedule: None,
            sent: 0,
            allowed: 0,
        }
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
    ///
    /// # Errors
    /// The topic or the message cannot be written.
    pub fn fill(&mut self, now_ns: u64, out: &mut Vec<u8>, tally: &mut Tally) -> Result<(), EncodeError> {
        let count = self.room(tally).min(self.allowed - self.sent);
        for _ in 0..count {
            let sent_ns = self.stamp_ns(now_ns, tally);
            self.put(sent_ns, out)?;
        }
        tally.published += count;
        Ok(())
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

    fn put(&mut self, sent_ns: u64, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let id = match self.qos {
            QoS::AtMostOnce => None,
            // There is room: `fill` has counted it.
            _ => self.in_flight.insert(()).ok(),
        };
        encode_publish_header(out, false, self.qos, false, &[self.topic.as_bytes()], id, self.payload_bytes)?;
        Stamp { publisher: self.index, sequence: self.sent, sent_ns }.put(out, self.payload_bytes);
        self.sent += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgehub_mqtt::{Packet, decode};

    fn publisher(qos: QoS, window: u16) -> (Publisher, Tally) {
        let window = NonZeroU16::new(window).unwrap();
        let publisher = Publisher::new(1, "a/b".to_owned(), qos, window, 64);
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
        publisher.fill(5, &mut out, &mut tally).unwrap();
        assert!(out.is_empty(), "nothing is allowed yet");
        publisher.allow(u64::MAX);
        publisher.fill(6, &mut out, &mut tally).unwrap();
        publisher.fill(7, &mut out, &mut tally).unwrap();
        assert_eq!(sent(&out), [(0, 6, Some(1)), (1, 6, Some(2))]);
        publisher.on_ack(PacketId::new(1).unwrap(), &mut tally).unwrap();
        out.clear();
        publisher.fill(8, &mut out, &mut tally).unwrap();
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
        publisher.fill(1, &mut out, &mut tally).unwrap();
        assert_eq!(sent(&out), [(0, 1, None), (1, 1, None), (2, 1, None)]);
        tally.note_reached(1, 2);
        out.clear();
        publisher.fill(2, &mut out, &mut tally).unwrap();
        assert_eq!(sent(&out), [(3, 2, None), (4, 2, None)]);
    }

    #[test]
    fn pause_takes_back_what_is_not_sent() {
        let (mut publisher, mut tally) = publisher(QoS::AtLeastOnce, 2);
        let mut out = Vec::new();
        publisher.allow(u64::MAX);
        publisher.fill(1, &mut out, &mut tally).unwrap();
        publisher.pause();
        publisher.on_ack(PacketId::MIN, &mut tally).unwrap();
        publisher.allow(1);
        publisher.on_ack(PacketId::new(2).unwrap(), &mut tally).unwrap();
        publisher.fill(1, &mut out, &mut tally).unwrap();
        assert_eq!(tally.published, 3);
    }

    #[test]
    fn in_an_open_loop_the_stamp_is_the_time_due() {
        let (mut publisher, mut tally) = publisher(QoS::AtLeastOnce, 10);
        publisher.follow(Schedule { start_ns: 1000, rate_per_s: 1e6, publishers: 2 });
        publisher.allow(3);
        let mut out = Vec::new();
        publisher.fill(9000, &mut out, &mut tally).unwrap();
        // Messages 1, 3 and 5 of the run are those of publisher 1 of 2; one is due each microsecond.
        let stamps: Vec<_> = sent(&out).into_iter().map(|(_, sent_ns, _)| sent_ns).collect();
        assert_eq!(stamps, [2000, 4000, 6000]);
        let late = tally.lateness.summary().unwrap();
        assert_eq!(late.count, 3);
        assert!((late.max_us - 7.0).abs() < 0.01);
    }
}
