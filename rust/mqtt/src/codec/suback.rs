//! SUBACK (OASIS MQTT 3.1.1 section 3.9).

use std::iter::FusedIterator;

use super::header::write_header;
use super::read::Reader;
use super::write::put_u16;
use crate::error::{DecodeError, EncodeError};
use crate::packet::{PacketId, PacketType, QoS};

const FAILURE: u8 = 0x80;

/// Answer to SUBSCRIBE: one code for each filter, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The validated codes.
    codes: &'a [u8],
}

/// Return code for one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubAckCode {
    /// Granted with at most this QoS.
    Granted(QoS),
    /// Refused.
    Failure,
}

impl SubAckCode {
    /// The code for the byte, `None` for reserved values.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match (byte, QoS::from_bits(byte)) {
            (_, Some(qos)) => Some(Self::Granted(qos)),
            (FAILURE, None) => Some(Self::Failure),
            _ => None,
        }
    }

    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Granted(qos) => qos.bits(),
            Self::Failure => FAILURE,
        }
    }
}

impl<'a> SubAck<'a> {
    /// The return codes, at least one, in the order of the packet.
    pub fn codes(&self) -> SubAckCodes<'a> {
        SubAckCodes(self.codes.iter())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write_header(out, PacketType::SubAck, 0, 2 + self.codes.len())?;
        put_u16(out, self.packet_id.get());
        out.extend_from_slice(self.codes);
        Ok(())
    }
}

/// Codes of a [`SubAck`].
#[derive(Debug, Clone)]
pub struct SubAckCodes<'a>(std::slice::Iter<'a, u8>);

impl Iterator for SubAckCodes<'_> {
    type Item = SubAckCode;

    fn next(&mut self) -> Option<SubAckCode> {
        SubAckCode::from_byte(*self.0.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for SubAckCodes<'_> {}
impl FusedIterator for SubAckCodes<'_> {}

pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<SubAck<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let codes = reader.bytes(reader.rest().len(), "return codes")?;
    if codes.is_empty() {
        return Err(DecodeError::NoReturnCodes);
    }
    match codes.iter().find(|code| SubAckCode::from_byte(**code).is_none()) {
        Some(code) => Err(DecodeError::SubAckCode { code: *code }),
        None => Ok(SubAck { packet_id, codes }),
    }
}

/// Appends a SUBACK.
///
/// # Errors
/// No code, more than [`REMAINING_LEN_MAX`](crate::REMAINING_LEN_MAX) bytes.
pub fn encode_suback(out: &mut Vec<u8>, id: PacketId, codes: &[SubAckCode]) -> Result<(), EncodeError> {
    if codes.is_empty() {
        return Err(EncodeError::NoEntries { packet: PacketType::SubAck });
    }
    write_header(out, PacketType::SubAck, 0, 2 + codes.len())?;
    put_u16(out, id.get());
    out.extend(codes.iter().map(|code| code.byte()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_their_byte() {
        for byte in 0..=u8::MAX {
            match SubAckCode::from_byte(byte) {
                Some(code) => assert_eq!(code.byte(), byte),
                None => assert!(!matches!(byte, 0..=2 | 0x80)),
            }
        }
    }

    #[test]
    fn at_least_one_code() {
        let none = encode_suback(&mut Vec::new(), PacketId::MIN, &[]);
        assert_eq!(none, Err(EncodeError::NoEntries { packet: PacketType::SubAck }));
    }
}
