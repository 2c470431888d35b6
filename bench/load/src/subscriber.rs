//! A subscriber without its socket: checks and counts what comes, acknowledges it.

use edgehub_mqtt::{Publish, encode_puback};

use crate::error::ClientError;
use crate::payload::Stamp;
use crate::sequence::{Stream, StreamCounts};
use crate::tally::Tally;

/// State of one subscriber.
#[derive(Debug)]
pub struct Subscriber {
    /// One stream for each publisher.
    streams: Vec<Stream>,
    counts: StreamCounts,
    payload_bytes: usize,
}

impl Subscriber {
    /// A subscriber that has received nothing.
    pub fn new(publishers: usize, payload_bytes: usize) -> Self {
        let streams = vec![Stream::default(); publishers];
        Self { streams, counts: StreamCounts::default(), payload_bytes }
    }

    /// What it has received, over all its streams.
    pub const fn counts(&self) -> StreamCounts {
        self.counts
    }

    /// Takes a message; with QoS 1 its acknowledgement is appended.
    ///
    /// # Errors
    /// The message is not one of this run: no stamp, an unknown publisher, or another size than all are sent with.
    pub fn on_publish(
        &mut self,
        publish: &Publish<'_>,
        now_ns: u64,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<(), ClientError> {
        if let Some(id) = publish.packet_id {
            encode_puback(out, id);
        }
        let stamp = Stamp::read(publish.payload).ok_or_else(|| foreign(publish, "no stamp"))?;
        if stamp.sent_ns < tally.run_start_ns {
            tally.stale += 1;
            return Ok(());
        }
        if publish.payload.len() != self.payload_bytes {
            return Err(foreign(publish, "its size is another"));
        }
        let stream = self
            .streams
            .get_mut(stamp.publisher as usize)
            .ok_or_else(|| foreign(publish, "its publisher is unknown"))?;
        let arrival = stream.arrive(stamp.sequence);
        self.counts.add(arrival);
        tally.streams.add(arrival);
        if publish.packet_id.is_none() {
            tally.note_reached(stamp.publisher, stamp.sequence + 1);
        }
        if stamp.sent_ns >= tally.measure_from_ns {
            tally.latencies.record(now_ns.saturating_sub(stamp.sent_ns));
        }
        Ok(())
    }
}

#[cold]
fn foreign(publish: &Publish<'_>, reason: &str) -> ClientError {
    let reason = format!("{reason} ({} bytes)", publish.payload.len());
    ClientError::ForeignMessage { topic: publish.topic.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgehub_mqtt::{Packet, QoS, decode};

    fn message(publisher: u32, sequence: u64, sent_ns: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        Stamp { publisher, sequence, sent_ns }.put(&mut payload, 32);
        payload
    }

    fn receive(
        subscriber: &mut Subscriber,
        tally: &mut Tally,
        payload: &[u8],
    ) -> Result<Vec<u8>, ClientError> {
        let publish = Publish::new("t", QoS::AtLeastOnce, payload).with_id(3)?;
        let mut out = Vec::new();
        subscriber.on_publish(&publish, 5000, &mut out, tally)?;
        Ok(out)
    }

    #[test]
    fn messages_are_counted_measured_and_acknowledged() {
        let (mut subscriber, mut tally) = (Subscriber::new(2, 32), Tally::new(2, 10).unwrap());
        tally.start_measuring(2000);
        for (publisher, sequence, sent_ns) in [(0, 0, 1000), (1, 0, 2000), (0, 2, 3000), (0, 2, 3000)] {
            let payload = message(publisher, sequence, sent_ns);
            let out = receive(&mut subscriber, &mut tally, &payload).unwrap();
            assert!(matches!(decode(&out, 10), Ok(Some((Packet::PubAck(id), 4))) if id.get() == 3));
        }
        let counts = tally.streams;
        assert_eq!((counts.unique, counts.skipped, counts.duplicates), (3, 1, 1));
        assert_eq!(subscriber.counts(), counts, "it alone has received");
        assert_eq!(tally.latencies.summary().unwrap().count, 3, "the warm-up message has no latency");
    }

    #[test]
    fn qos_0_is_not_acknowledged_and_moves_the_window() {
        let (mut subscriber, mut tally) = (Subscriber::new(1, 32), Tally::new(1, 0).unwrap());
        let payload = message(0, 4, 1);
        let mut out = Vec::new();
        let publish = Publish::new("t", QoS::AtMostOnce, &payload);
        subscriber.on_publish(&publish, 9, &mut out, &mut tally).unwrap();
        assert!(out.is_empty());
        assert_eq!((tally.reached, tally.moved), (vec![5], vec![0]));
    }

    #[test]
    fn a_message_of_an_earlier_run_counts_for_nothing_else() {
        let (mut subscriber, mut tally) = (Subscriber::new(1, 32), Tally::new(1, 100).unwrap());
        receive(&mut subscriber, &mut tally, &message(7, 0, 99)).unwrap();
        assert_eq!((tally.stale, tally.streams), (1, StreamCounts::default()));
    }

    #[test]
    fn a_foreign_message_is_an_error() {
        let (mut subscriber, mut tally) = (Subscriber::new(1, 32), Tally::new(1, 0).unwrap());
        for (payload, part) in [
            (b"short".to_vec(), "no stamp (5 bytes)"),
            (message(1, 0, 1), "publisher is unknown"),
            (message(0, 0, 1)[..31].to_vec(), "size is another (31 bytes)"),
        ] {
            let err = receive(&mut subscriber, &mut tally, &payload).unwrap_err().to_string();
            assert!(err.contains(part), "{err}");
        }
    }
}
