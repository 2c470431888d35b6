//! Head of every message that the generator sends, all numbers big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | index of the publisher |
//! | 4..12 | sequence number, from 0, one more for each message of this publisher |
//! | 12..20 | time of sending in ns of the monotonic clock; in an open loop the time at which it was to be sent |
//! | 20.. | filler |

/// Bytes of the head, and so of the shortest message.
pub const STAMP_BYTES: usize = 20;

const FILLER: u8 = b'.';

/// What stands in the head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the publisher.
    pub publisher: u32,
    /// Sequence number.
    pub sequence: u64,
    /// Time of sending, ns of the monotonic clock.
    pub sent_ns: u64,
}

impl Stamp {
    /// The head as bytes.
    #[inline]
    pub fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..4].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[12..].copy_from_slice(&self.sent_ns.to_be_bytes());
        bytes
    }

    /// Appends the head and filler up to `payload_bytes`, which is at least [`STAMP_BYTES`].
    pub fn put(self, out: &mut Vec<u8>, payload_bytes: usize) {
        let end = out.len() + payload_bytes.max(STAMP_BYTES);
        out.extend_from_slice(&self.to_bytes());
        out.resize(end, FILLER);
    }

    /// Reads the head; `None` when the message is too short for one.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (publisher, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let sent_ns = rest.first_chunk()?;
        Some(Self {
            publisher: u32::from_be_bytes(*publisher),
            sequence: u64::from_be_bytes(*sequence),
            sent_ns: u64::from_be_bytes(*sent_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_the_message_has_its_length() {
        let stamp = Stamp { publisher: 7, sequence: u64::MAX - 1, sent_ns: 1 << 40 };
        for payload_bytes in [STAMP_BYTES, 21, 256] {
            let mut out = vec![9];
            stamp.put(&mut out, payload_bytes);
            assert_eq!(out.len(), 1 + payload_bytes);
            assert_eq!(Stamp::read(&out[1..]), Some(stamp));
        }
    }

    #[test]
    fn too_short_a_message_has_no_stamp() {
        assert_eq!(Stamp::read(&[0; STAMP_BYTES - 1]), None);
        assert_eq!(Stamp::read(&[]), None);
    }
}
