//! Where strings may end, found for 64 bytes at a time.
//!
//! A string ends at a quote or goes on behind a backslash. Both are marked as bits of one word, so
//! that the end of the next string costs a shift and a count of zeros, whatever its length.

/// Bytes of the source that a window shows.
const WINDOW_BYTES: usize = 64;

/// The double quotes and backslashes among [`WINDOW_BYTES`] bytes of a source.
#[derive(Debug)]
pub(crate) struct Window {
    /// Offset of the first byte shown.
    base: usize,
    /// Bit `i` is set if byte `base + i` is a double quote or a backslash.
    stops: u64,
}

impl Window {
    /// The first bytes of `src`; all other searches must be in the same source.
    pub(crate) fn new(src: &[u8]) -> Self {
        if let Some(block) = src.first_chunk() {
            return Window { base: 0, stops: stops(block) };
        }
        let mut block = [0; WINDOW_BYTES];
        block.iter_mut().zip(src).for_each(|(to, from)| *to = *from);
        Window { base: 0, stops: stops(&block) }
    }

    /// Offset of the first double quote or backslash at `at` or later, or of the end of `src`.
    #[inline(always)]
    pub(crate) fn stop(&mut self, src: &[u8], at: usize) -> usize {
        let shift = at.wrapping_sub(self.base);
        if shift < WINDOW_BYTES {
            let ahead = self.stops >> shift;
            if ahead != 0 {
                return at.wrapping_add(ahead.trailing_zeros() as usize);
            }
        }
        self.stop_beyond(src, at)
    }

    /// Moves the window to `at`, or to the last bytes of the source, and looks there.
    #[cold]
    #[inline(never)]
    fn stop_beyond(&mut self, src: &[u8], at: usize) -> usize {
        self.base = at.min(src.len().saturating_sub(WINDOW_BYTES));
        let Some(block) = src.get(self.base..).and_then(|rest| rest.first_chunk()) else {
            return src.len();
        };
        self.stops = stops(block);
        let ahead = self.stops.checked_shr((at - self.base) as u32).unwrap_or(0);
        if ahead != 0 {
            return at + ahead.trailing_zeros() as usize;
        }
        // A long string: its end is worth a search by wide vectors.
        let rest = src.get(at..).unwrap_or(&[]);
        memchr::memchr2(b'"', b'\\', rest).map_or(src.len(), |ahead| at + ahead)
    }
}

/// Marks the double quotes and backslashes of a block.
#[inline(always)]
fn stops(block: &[u8; WINDOW_BYTES]) -> u64 {
    let marks = block.map(|byte| u8::from(byte == b'"') | u8::from(byte == b'\\'));
    let (words, _) = marks.as_chunks();
    words.iter().rev().fold(0, |bits, word| bits << 8 | gather(u64::from_le_bytes(*word)))
}

/// The lowest bits of eight bytes, side by side. The product moves bit `8 * i` to `56 + i`; no two
/// of its terms meet in one bit, so nothing carries.
#[inline]
fn gather(word: u64) -> u64 {
    word.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gathers_every_byte() {
        for bits in 0..=255_u64 {
            let word = (0..8).fold(0, |word, i| word | (bits >> i & 1) << (8 * i));
            assert_eq!(gather(word), bits);
        }
    }

    proptest! {
        #[test]
        fn finds_each_stop(src in prop::collection::vec(prop::sample::select(b"aaaaaaaaaaaaaaaa\"\\".to_vec()), 0..300)) {
            let mut window = Window::new(&src);
            for at in 0..=src.len() {
                let ahead = src[at..].iter().position(|b| matches!(b, b'"' | b'\\'));
                prop_assert_eq!(window.stop(&src, at), ahead.map_or(src.len(), |n| at + n));
            }
        }

        #[test]
        fn looks_back(src in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
            let mut window = Window::new(&src);
            window.stop(&src, src.len());
            let at = at.index(src.len() + 1);
            let ahead = src[at..].iter().position(|b| matches!(b, b'"' | b'\\'));
            prop_assert_eq!(window.stop(&src, at), ahead.map_or(src.len(), |n| at + n));
        }
    }
}
