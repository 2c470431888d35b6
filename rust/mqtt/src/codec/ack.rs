//! The packets that are a packet identifier and nothing else: PUBACK, PUBREC, PUBREL, PUBCOMP (OASIS MQTT 3.1.1 sections
//! 3.4 to 3.7) and UNSUBACK (section 3.11).

use crate::packet::{PacketId, PacketType};

#[inline]
fn put(out: &mut Vec<u8>, packet: PacketType, id: PacketId) {
    let [high, low] = id.get().to_be_bytes();
    out.extend_from_slice(&[packet.first_byte(), 2, high, low]);
}

/// Appends a PUBACK: the QoS 1 message with this identifier is accepted.
#[inline]
pub fn encode_puback(out: &mut Vec<u8>, id: PacketId) {
    put(out, PacketType::PubAck, id);
}

/// Appends a PUBREC: the QoS 2 message has been received.
pub fn encode_pubrec(out: &mut Vec<u8>, id: PacketId) {
    put(out, PacketType::PubRec, id);
}

/// Appends a PUBREL: the QoS 2 message may be released.
pub fn encode_pubrel(out: &mut Vec<u8>, id: PacketId) {
    put(out, PacketType::PubRel, id);
}

/// Appends a PUBCOMP: the QoS 2 exchange is complete.
pub fn encode_pubcomp(out: &mut Vec<u8>, id: PacketId) {
    put(out, PacketType::PubComp, id);
}

/// Appends an UNSUBACK.
pub fn encode_unsuback(out: &mut Vec<u8>, id: PacketId) {
    put(out, PacketType::UnsubAck, id);
}
