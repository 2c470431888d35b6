//! The fixed header: where a packet ends, and whether its body is worth waiting for (OASIS MQTT 3.1.1 section 2.2).

use crate::error::{DecodeError, EncodeError};
use crate::packet::{PacketType, QoS};

/// Largest remaining length that four bytes can say (section 2.2.3).
pub const REMAINING_LEN_MAX: usize = 268_435_455;

/// Longest fixed header: the first byte and four bytes of remaining length.
pub const HEADER_BYTES_MAX: usize = 5;

const LEN_BYTES_MAX: usize = HEADER_BYTES_MAX - 1;

/// A validated fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedHeader {
    /// Type of the packet.
    pub packet_type: PacketType,
    /// Lower four bits of the first byte; for PUBLISH they carry DUP, QoS and RETAIN.
    pub flags: u8,
    /// Bytes of the fixed header itself, 2 to [`HEADER_BYTES_MAX`].
    pub header_len: usize,
    /// Bytes that follow the fixed header.
    pub remaining_len: usize,
}

/// What stands at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// More bytes are needed.
    Incomplete {
        /// Bytes that the buffer must hold, counted from the start of the packet, before another try can tell more.
        /// The whole packet once its length is known.
        at_least: usize,
    },
    /// A whole packet is there; its body has not been looked at.
    Complete {
        /// The fixed header.
        header: FixedHeader,
        /// Bytes of the whole packet, fixed header included.
        total: usize,
    },
}

/// Finds the end of the packet at the start of `buf`.
///
/// `packet_bytes_max` limits the remaining length. What can be refused from the fixed header alone is refused as soon as
/// the bytes that show it are there, before the body has come.
///
/// # Errors
/// A reserved type, wrong flags, a remaining length of more than four bytes, above the limit, or other than the one
/// length that the type has.
#[inline]
pub fn frame(buf: &[u8], packet_bytes_max: usize) -> Result<Frame, DecodeError> {
    let Some((&first, rest)) = buf.split_first() else {
        return Ok(Frame::Incomplete { at_least: 2 });
    };
    let (packet_type, flags) = read_first_byte(first)?;
    let Some((remaining_len, len_bytes)) = read_remaining_len(packet_type, rest)? else {
        return Ok(Frame::Incomplete { at_least: buf.len() + 1 });
    };
    check_remaining_len(packet_type, remaining_len, packet_bytes_max)?;
    let header = FixedHeader { packet_type, flags, header_len: 1 + len_bytes, remaining_len };
    let total = header.header_len + remaining_len;
    if buf.len() < total {
        return Ok(Frame::Incomplete { at_least: total });
    }
    Ok(Frame::Complete { header, total })
}

#[inline]
fn read_first_byte(first: u8) -> Result<(PacketType, u8), DecodeError> {
    let flags = first & 0x0f;
    let Some(packet) = PacketType::from_bits(first >> 4) else {
        return Err(DecodeError::ReservedPacketType { value: first >> 4 });
    };
    match packet.required_flags() {
        Some(expected) if flags != expected => Err(DecodeError::FixedFlags { packet, flags, expected }),
        None if flags & 0b0110 == 0b0110 => Err(DecodeError::PublishQos3),
        None if flags & 0b1110 == 0b1000 => Err(DecodeError::DupOnQos0),
        _ => Ok((packet, flags)),
    }
}

/// The remaining length and the bytes that it takes; `None` when its last byte has not come.
#[inline]
fn read_remaining_len(packet: PacketType, bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut len = 0_usize;
    for (at, byte) in bytes.iter().take(LEN_BYTES_MAX).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((len, at + 1)));
        }
    }
    if bytes.len() >= LEN_BYTES_MAX {
        return Err(DecodeError::RemainingLengthTooLong { packet });
    }
    Ok(None)
}

#[inline]
fn check_remaining_len(packet: PacketType, len: usize, max: usize) -> Result<(), DecodeError> {
    match packet.fixed_body_len() {
        Some(expected) if len != expected => Err(DecodeError::BodyLength { packet, len, expected }),
        _ if len > max => Err(DecodeError::PacketTooLarge { packet, len, max }),
        _ => Ok(()),
    }
}

/// Appends a fixed header and makes room for the body.
#[inline]
pub(crate) fn write_header(
    out: &mut Vec<u8>,
    packet: PacketType,
    flags: u8,
    remaining_len: usize,
) -> Result<(), EncodeError> {
    if remaining_len > REMAINING_LEN_MAX {
        return Err(EncodeError::RemainingLength { packet, len: remaining_len, max: REMAINING_LEN_MAX });
    }
    out.reserve(HEADER_BYTES_MAX + remaining_len);
    out.push(packet.first_byte() | flags);
    let mut left = remaining_len;
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    Ok(())
}

/// The lower four bits of a PUBLISH.
#[inline]
pub(crate) const fn publish_flags(dup: bool, qos: QoS, retain: bool) -> u8 {
    (dup as u8) << 3 | qos.bits() << 1 | retain as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 262_144;

    #[test]
    fn lengths_at_every_width() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, REMAINING_LEN_MAX] {
            let mut out = Vec::new();
            // Only the header is built: the room for the largest body is reserved, not touched.
            write_header(&mut out, PacketType::Publish, 0, len).unwrap();
            let total = out.len() + len;
            let expected = if len == 0 {
                let header = FixedHeader {
                    packet_type: PacketType::Publish,
                    flags: 0,
                    header_len: 2,
                    remaining_len: 0,
                };
                Frame::Complete { header, total }
            } else {
                Frame::Incomplete { at_least: total }
            };
            assert_eq!(frame(&out, REMAINING_LEN_MAX), Ok(expected), "{len}");
        }
    }

    #[test]
    fn a_length_beyond_four_bytes_is_refused_on_both_sides() {
        let err = write_header(&mut Vec::new(), PacketType::Publish, 0, REMAINING_LEN_MAX + 1);
        assert!(matches!(err, Err(EncodeError::RemainingLength { len: 268_435_456, .. })));
        let refused = Err(DecodeError::RemainingLengthTooLong { packet: PacketType::Publish });
        assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff, 0xff], LIMIT), refused, "before the fifth byte has come");
        assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff], LIMIT), Ok(Frame::Incomplete { at_least: 5 }));
    }

    #[test]
    fn the_limit_holds_for_the_remaining_length_before_the_body() {
        let mut out = Vec::new();
        write_header(&mut out, PacketType::Publish, 0, LIMIT).unwrap();
        assert_eq!(frame(&out, LIMIT), Ok(Frame::Incomplete { at_least: LIMIT + 4 }));
        out.clear();
        write_header(&mut out, PacketType::Publish, 0, LIMIT + 1).unwrap();
        let refused = DecodeError::PacketTooLarge { packet: PacketType::Publish, len: LIMIT + 1, max: LIMIT };
        assert_eq!(frame(&out, LIMIT), Err(refused));
    }

    #[test]
    fn other_protocols_are_refused_at_the_first_byte() {
        let tls_hello = DecodeError::FixedFlags { packet: PacketType::Connect, flags: 6, expected: 0 };
        assert_eq!(frame(&[0x16], LIMIT), Err(tls_hello));
        assert!(matches!(frame(b"GET / HTTP/1.1", LIMIT), Err(DecodeError::FixedFlags { .. })));
        assert_eq!(frame(&[0xf0], LIMIT), Err(DecodeError::ReservedPacketType { value: 15 }));
        assert_eq!(frame(&[0x00], LIMIT), Err(DecodeError::ReservedPacketType { value: 0 }));
    }

    #[test]
    fn incomplete_says_how_much_is_needed() {
        assert_eq!(frame(&[], LIMIT), Ok(Frame::Incomplete { at_least: 2 }));
        assert_eq!(frame(&[0x40], LIMIT), Ok(Frame::Incomplete { at_least: 2 }));
        assert_eq!(frame(&[0x40, 2, 0], LIMIT), Ok(Frame::Incomplete { at_least: 4 }));
        assert_eq!(frame(&[0x30, 0x80], LIMIT), Ok(Frame::Incomplete { at_least: 3 }));
    }
}
