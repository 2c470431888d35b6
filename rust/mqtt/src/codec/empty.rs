//! The packets without a body: PINGREQ, PINGRESP, DISCONNECT (OASIS MQTT 3.1.1 sections 3.12 to 3.14).

use crate::packet::PacketType;

/// Appends a PINGREQ.
pub fn encode_pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
}

/// Appends a PINGRESP.
pub fn encode_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::PingResp.first_byte(), 0]);
}

/// Appends a DISCONNECT.
pub fn encode_disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PacketType::Disconnect.first_byte(), 0]);
}
