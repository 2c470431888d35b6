//! Message bodies: each tells its number, and can be checked without having been kept.

use std::io::Write as _;

/// Bytes of text that bodies are cut from.
const POOL_BYTES: usize = 1 << 20;
const NUMBER_BYTES: usize = 8;
/// Room for all fields of telemetry.
pub const TELEMETRY_BYTES_MIN: usize = 200;
/// Distance between the cuts of two successive messages; prime, so that cuts do not soon repeat.
const STRIDE: u64 = 10_007;

/// What the bodies are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Hexadecimal digits drawn at random, behind the number of the message: hard to compress.
    Digits,
    /// The JSON of a machine with some sensors, whose readings wander about.
    Telemetry,
}

/// The bodies of a run, all of one length.
#[derive(Debug)]
pub struct Payloads {
    pool: Vec<u8>,
    bytes: usize,
    text: Text,
}

impl Payloads {
    /// Bodies of `bytes` bytes, at least 8 and at most half a MiB (others are brought into that range).
    pub fn new(bytes: usize) -> Self {
        Self::of(bytes, Text::Digits)
    }

    /// Bodies of this kind. Telemetry has at least [`TELEMETRY_BYTES_MIN`] bytes.
    pub fn of(bytes: usize, text: Text) -> Self {
        let least = if text == Text::Telemetry { TELEMETRY_BYTES_MIN } else { NUMBER_BYTES };
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let digit = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"0123456789abcdef"[(state >> 60) as usize]
        };
        let pool = (0..POOL_BYTES).map(digit).collect();
        Self { pool, bytes: bytes.clamp(least, POOL_BYTES / 2), text }
    }

    /// Bytes of each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the body of message `number`.
    #[inline]
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        if self.text == Text::Telemetry {
            return self.write_telemetry(number, out);
        }
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(self.text(number));
    }

    /// Whether this is the body of message `number`.
    #[inline]
    pub fn is(&self, number: u64, body: &[u8]) -> bool {
        if self.text == Text::Telemetry {
            let mut wanted = Vec::with_capacity(self.bytes);
            self.write_telemetry(number, &mut wanted);
            return wanted == body;
        }
        body.split_first_chunk::<NUMBER_BYTES>()
            .is_some_and(|(head, text)| *head == number.to_le_bytes() && text == self.text(number))
    }

    /// A reading each second of one of twelve machines; what is left is a note of digits.
    fn write_telemetry(&self, number: u64, out: &mut Vec<u8>) {
        let (start, machine) = (out.len(), number % 12);
        let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let (day, second) = (1 + number / 86_400 % 28, number % 86_400);
        let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
        let celsius = 2000 + 40 * machine + hash % 150;
        let (bar, percent, rpm) = (10_130 + hash / 150 % 200, 35 + hash / 30_000 % 20, 1480 + hash % 41);
        // Writing to a vector does not fail.
        let written = write!(
            out,
            "{{\"machine\":\"press-{machine:02}\",\"n\":{number},\"time\":\"2026-03-{day:02}T{hours:02}:{minutes:02}:\
             {seconds:02}Z\",\"temperature\":{}.{:02},\"pressure\":{}.{},\"humidity\":{percent},\"rpm\":{rpm},\
             \"state\":\"running\",\"alarm\":false,\"note\":\"",
            celsius / 100,
            celsius % 100,
            bar / 10,
            bar % 10,
        );
        debug_assert!(written.is_ok());
        let note = self.bytes.saturating_sub(out.len() - start + 2);
        out.extend_from_slice(self.pool.get(..note).unwrap_or_default());
        out.extend_from_slice(b"\"}");
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
    fn telemetry_is_json_of_the_right_length() {
        let payloads = Payloads::of(200, Text::Telemetry);
        for number in [0, 7, 123_456_789, 999_999_999] {
            let mut body = Vec::new();
            payloads.write(number, &mut body);
            assert_eq!(body.len(), 200, "{}", String::from_utf8_lossy(&body));
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["n"], number);
            assert!(payloads.is(number, &body) && !payloads.is(number + 1, &body));
        }
    }

    #[test]
    fn lengths_are_brought_into_range() {
        assert_eq!(Payloads::new(0).bytes(), 8);
        assert_eq!(Payloads::new(usize::MAX).bytes(), POOL_BYTES / 2);
    }
}
