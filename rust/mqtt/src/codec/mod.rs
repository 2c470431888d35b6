//! One file per packet family: the struct, its reader, its writer.

pub(crate) mod ack;
pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod empty;
pub(crate) mod header;
pub(crate) mod publish;
mod read;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsubscribe;
mod write;

use crate::error::{DecodeError, EncodeError};
use crate::packet::{Packet, PacketType};
use header::{FixedHeader, Frame, frame};
use read::Reader;

/// Decodes the packet at the start of `buf`; with it comes the number of bytes that it takes.
///
/// `Ok(None)` means that the packet is not complete yet. `packet_bytes_max` limits the remaining length.
///
/// # Errors
/// The first rule that the packet breaks. Rules of the fixed header are checked before the body has come.
#[inline]
pub fn decode(buf: &[u8], packet_bytes_max: usize) -> Result<Option<(Packet<'_>, usize)>, DecodeError> {
    let Frame::Complete { header, total } = frame(buf, packet_bytes_max)? else {
        return Ok(None);
    };
    let body = buf.get(header.header_len..total).unwrap_or_default();
    Ok(Some((decode_body(header, body)?, total)))
}

/// Decodes the body of a packet whose frame [`frame`] has found: `buf[header.header_len..total]`.
///
/// # Errors
/// The first rule that the body breaks.
#[inline]
pub fn decode_body(header: FixedHeader, body: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let mut reader = Reader::new(header.packet_type, body);
    let packet = match header.packet_type {
        // A PUBLISH has no last field to check: its payload is the rest.
        PacketType::Publish => return Ok(Packet::Publish(publish::read(header.flags, &mut reader)?)),
        PacketType::PubAck => Packet::PubAck(reader.packet_id()?),
        PacketType::PubRec => Packet::PubRec(reader.packet_id()?),
        PacketType::PubRel => Packet::PubRel(reader.packet_id()?),
        PacketType::PubComp => Packet::PubComp(reader.packet_id()?),
        PacketType::UnsubAck => Packet::UnsubAck(reader.packet_id()?),
        PacketType::Connect => Packet::Connect(connect::read(&mut reader)?),
        PacketType::ConnAck => Packet::ConnAck(connack::read(&mut reader)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe::read(&mut reader)?),
        PacketType::SubAck => Packet::SubAck(suback::read(&mut reader)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe::read(&mut reader)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect,
    };
    reader.finish()?;
    Ok(packet)
}

/// Appends any packet.
///
/// # Errors
/// As the `encode_*` function of the packet; nothing is appended then. A packet that [`decode`] gave can always be written.
pub fn encode(out: &mut Vec<u8>, packet: &Packet<'_>) -> Result<(), EncodeError> {
    match packet {
        Packet::Connect(connect) => connect::encode_connect(out, connect)?,
        Packet::ConnAck(connack) => connack::encode_connack(out, *connack)?,
        Packet::Publish(publish) => publish::encode_publish(out, publish)?,
        Packet::PubAck(id) => ack::encode_puback(out, *id),
        Packet::PubRec(id) => ack::encode_pubrec(out, *id),
        Packet::PubRel(id) => ack::encode_pubrel(out, *id),
        Packet::PubComp(id) => ack::encode_pubcomp(out, *id),
        Packet::Subscribe(subscribe) => subscribe.encode(out)?,
        Packet::SubAck(suback) => suback.encode(out)?,
        Packet::Unsubscribe(unsubscribe) => unsubscribe.encode(out)?,
        Packet::UnsubAck(id) => ack::encode_unsuback(out, *id),
        Packet::PingReq => empty::encode_pingreq(out),
        Packet::PingResp => empty::encode_pingresp(out),
        Packet::Disconnect => empty::encode_disconnect(out),
    }
    Ok(())
}
