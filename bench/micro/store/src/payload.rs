//! Message bodies: each tells its number, and can be checked without having been kept.

/// Bytes of text that bodies are cut from.
const POOL_BYTES: usize = 1 << 20;
const NUMBER_BYTES: usize = 8;
/// Distance between the cuts of two successive messages; prime, so that cuts do not soon repeat.
const STRIDE: u64 = 10_007;

/// The bodies of a run, all of one length.
///
/// They are hexadecimal digits drawn at random: a compressor halves them, which is about what it does to telemetry.
#[derive(Debug)]
pub struct Payloads {
    pool: Vec<u8>,
    bytes: usize,
}

impl Payloads {
    /// Bodies of `bytes` bytes, at least 8 and at most half a MiB (others are brought into that range).
    pub fn new(bytes: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let digit = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"0123456789abcdef"[(state >> 60) as usize]
        };
        let pool = (0..POOL_BYTES).map(digit).collect();
        Self { pool, bytes: bytes.clamp(NUMBER_BYTES, POOL_BYTES / 2) }
    }

    /// Bytes of each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the body of message `number`.
    #[inline]
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(self.text(number));
    }

    /// Whether this is the body of message `number`.
    #[inline]
    pub fn is(&self, number: u64, body: &[u8]) -> bool {
        body.split_first_chunk::<NUMBER_BYTES>()
            .is_some_and(|(head, text)| *head == number.to_le_bytes() && text == self.text(number))
    }

    fn text(&self, number: u64) -> &[u8] {
        let cut = (number.wrapping_mul(STRIDE) % (POOL_BYTES as u64 / 2)) as usize;
        &self.pool[cut..cut + self.bytes - NUMBER_BYTES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_recognised_and_no_other() {
        let payloads = Payloads::new(100);
        let mut body = Vec::new();
        payloads.write(7, &mut body);
        assert_eq!(body.len(), 100);
        assert!(payloads.is(7, &body));
        assert!(!payloads.is(8, &body));
        body[99] ^= 1;
        assert!(!payloads.is(7, &body));
        assert!(!payloads.is(7, &body[..7]));
    }

    #[test]
    fn lengths_are_brought_into_range() {
        assert_eq!(Payloads::new(0).bytes(), 8);
        assert_eq!(Payloads::new(usize::MAX).bytes(), POOL_BYTES / 2);
    }
}
