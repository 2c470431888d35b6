//! PUBLISH (OASIS MQTT 3.1.1 section 3.3).

use super::header::{publish_flags, write_header};
use super::read::Reader;
use super::write::{check_topic_field, put_u16};
use crate::error::{DecodeError, EncodeError};
use crate::packet::{PacketId, PacketType, QoS};
use crate::topic::TOPIC_BYTES_MAX;

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Sent before; never set with QoS 0.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To be kept for, or kept from before, new subscribers.
    pub retain: bool,
    /// Topic name, valid by section 4.7.
    pub topic: &'a str,
    /// Present exactly with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Application message.
    pub payload: &'a [u8],
}

/// What [`encode_publish`] writes: the same fields that decoding gives.
pub type PublishParams<'a> = Publish<'a>;

impl<'a> Publish<'a> {
    /// A message that is neither a duplicate nor retained and has no packet identifier yet.
    pub const fn new(topic: &'a str, qos: QoS, payload: &'a [u8]) -> Self {
        Self { dup: false, qos, retain: false, topic, packet_id: None, payload }
    }

    /// The same message with a packet identifier.
    ///
    /// # Errors
    /// [`EncodeError::PacketIdZero`].
    pub fn with_id(self, id: u16) -> Result<Self, EncodeError> {
        Ok(Self { packet_id: Some(PacketId::new(id).ok_or(EncodeError::PacketIdZero)?), ..self })
    }
}

/// `flags` has passed the check of the fixed header.
#[inline]
pub(crate) fn read<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<Publish<'a>, DecodeError> {
    let qos = QoS::from_bits(flags >> 1 & 0b11).ok_or(DecodeError::PublishQos3)?;
    let topic = reader.topic("topic name")?;
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
    Ok(Publish {
        dup: flags & 0b1000 != 0,
        qos,
        retain: flags & 0b0001 != 0,
        topic,
        packet_id,
        payload: reader.rest(),
    })
}

/// Appends a PUBLISH.
///
/// # Errors
/// A topic that is not a topic name, a packet identifier that is missing or must not be there, DUP on QoS 0, more than
/// [`REMAINING_LEN_MAX`](crate::REMAINING_LEN_MAX) bytes.
pub fn encode_publish(out: &mut Vec<u8>, publish: &PublishParams<'_>) -> Result<(), EncodeError> {
    let Publish { dup, qos, retain, topic, packet_id, payload } = *publish;
    check_topic_field(PacketType::Publish, "topic name", topic)?;
    encode_publish_header(out, dup, qos, retain, &[topic.as_bytes()], packet_id, payload.len())?;
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends a PUBLISH up to its payload; the caller appends exactly `payload_len` bytes after it.
///
/// The topic is the concatenation of its parts, so that a prefix made once and the property bag of a message are written
/// without a string between them. The caller answers for its being a valid topic name; only its length is checked.
///
/// # Errors
/// A topic of 0 or more than 65535 bytes, a packet identifier that is missing or must not be there, DUP on QoS 0, more than
/// [`REMAINING_LEN_MAX`](crate::REMAINING_LEN_MAX) bytes.
#[inline]
pub fn encode_publish_header(
    out: &mut Vec<u8>,
    dup: bool,
    qos: QoS,
    retain: bool,
    topic_parts: &[&[u8]],
    id: Option<PacketId>,
    payload_len: usize,
) -> Result<(), EncodeError> {
    let topic_len = check_topic_len(topic_parts)?;
    check_qos(dup, qos, id.is_some())?;
    let id_len = if id.is_some() { 2 } else { 0 };
    let remaining_len = (2 + topic_len + id_len).saturating_add(payload_len);
    write_header(out, PacketType::Publish, publish_flags(dup, qos, retain), remaining_len)?;
    put_u16(out, topic_len as u16);
    for part in topic_parts {
        out.extend_from_slice(part);
    }
    if let Some(id) = id {
        put_u16(out, id.get());
    }
    Ok(())
}

#[inline]
fn check_topic_len(topic_parts: &[&[u8]]) -> Result<usize, EncodeError> {
    let (packet, what) = (PacketType::Publish, "topic name");
    match topic_parts.iter().map(|part| part.len()).sum() {
        0 => Err(EncodeError::Topic { packet, what, source: crate::TopicError::Empty }),
        len if len > TOPIC_BYTES_MAX => Err(EncodeError::FieldTooLong { packet, what, len }),
        len => Ok(len),
    }
}

#[inline]
const fn check_qos(dup: bool, qos: QoS, has_id: bool) -> Result<(), EncodeError> {
    let at_most_once = matches!(qos, QoS::AtMostOnce);
    if at_most_once == has_id {
        return Err(EncodeError::PacketId { qos, has_id });
    }
    if at_most_once && dup {
        return Err(EncodeError::DupOnQos0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packet, REMAINING_LEN_MAX, TopicError, decode};

    #[test]
    fn topic_in_parts_is_the_topic() {
        let mut whole = Vec::new();
        let message =
            Publish::new("devices/d/messages/events/a=1", QoS::AtLeastOnce, b"xyz").with_id(9).unwrap();
        encode_publish(&mut whole, &message).unwrap();
        let mut parts = Vec::new();
        let topic: [&[u8]; 3] = [b"devices/d/messages/events/", b"", b"a=1"];
        encode_publish_header(&mut parts, false, QoS::AtLeastOnce, false, &topic, message.packet_id, 3)
            .unwrap();
        parts.extend_from_slice(b"xyz");
        assert_eq!(parts, whole);
    }

    #[test]
    fn what_cannot_be_said_is_refused_and_nothing_is_written() {
        let qos0 = Publish::new("t", QoS::AtMostOnce, b"");
        let qos1 = Publish::new("t", QoS::AtLeastOnce, b"");
        let mut out = vec![1];
        for (bad, text) in [
            (qos1, "PUBLISH: QoS 1 needs a packet identifier"),
            (qos0.with_id(1).unwrap(), "PUBLISH: QoS 0 must not have a packet identifier"),
            (Publish { dup: true, ..qos0 }, "PUBLISH: DUP must not be set on a QoS 0 message"),
            (
                Publish { topic: "a/+", ..qos0 },
                "PUBLISH: topic name: a topic name cannot contain the wildcard '+' (at byte 2)",
            ),
            (
                Publish { topic: "", ..qos0 },
                "PUBLISH: topic name: it is empty; expected at least one character",
            ),
        ] {
            assert_eq!(encode_publish(&mut out, &bad).unwrap_err().to_string(), text);
            assert_eq!(out, [1]);
        }
        assert_eq!(qos1.with_id(0), Err(EncodeError::PacketIdZero));
    }

    #[test]
    fn limits_of_topic_and_payload() {
        let part = vec![b'a'; 40_000];
        let mut out = Vec::new();
        let err = encode_publish_header(&mut out, false, QoS::AtMostOnce, false, &[&part, &part], None, 0);
        assert!(matches!(err, Err(EncodeError::FieldTooLong { len: 80_000, .. })));
        let err = encode_publish_header(&mut out, false, QoS::AtMostOnce, false, &[], None, 0);
        assert!(matches!(err, Err(EncodeError::Topic { source: TopicError::Empty, .. })));
        for payload_len in [REMAINING_LEN_MAX - 2, usize::MAX] {
            let err =
                encode_publish_header(&mut out, false, QoS::AtMostOnce, false, &[b"t"], None, payload_len);
            assert!(matches!(err, Err(EncodeError::RemainingLength { .. })), "{payload_len}");
        }
        assert!(out.is_empty());
    }

    #[test]
    fn flags_are_read_back() {
        for (byte, dup, qos, retain) in [
            (0x30, false, QoS::AtMostOnce, false),
            (0x31, false, QoS::AtMostOnce, true),
            (0x3a, true, QoS::AtLeastOnce, false),
            (0x3d, true, QoS::ExactlyOnce, true),
        ] {
            let bytes = [byte, 6, 0, 1, b't', 0, 5, b'x'];
            let Ok(Some((Packet::Publish(got), 8))) = decode(&bytes, 100) else { panic!("{byte:#x}") };
            assert_eq!((got.dup, got.qos, got.retain), (dup, qos, retain));
        }
    }
}
