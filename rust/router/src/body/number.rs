//! Numbers of a body: those of JSON, and the octal, hexadecimal and sloppy ones that are read too.

use crate::body::reader::BROKEN;
use crate::number::short_decimal;

/// Bytes that belong to a number once it has begun.
fn is_number_byte(b: u8) -> bool {
    b.is_ascii_hexdigit() || matches!(b, b'+' | b'-' | b'.' | b'x' | b'X')
}

/// Value of a run of [`is_number_byte`]s; `None` if it is no number.
pub(crate) fn parse(run: &[u8]) -> Option<f64> {
    if let [b'0', second, ..] = run
        && !matches!(second, b'.' | b'e' | b'E')
    {
        return other_base(run);
    }
    short_decimal(run).or_else(|| std::str::from_utf8(run).ok()?.parse().ok())
}

/// A leading zero makes a number octal, `0x` hexadecimal; both are signed 64-bit.
fn other_base(run: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(run).ok()?;
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 8),
    };
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(|bits| bits.cast_signed() as f64)
}

/// Offset behind the number at `at`, [`BROKEN`] if it is none.
///
/// A plain number that ends within eight bytes is recognised on the spot.
#[inline(always)]
pub(crate) fn end(src: &[u8], at: usize) -> usize {
    match src.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(head) => match short_len(u64::from_le_bytes(*head)) {
            0 => long_end(src, at),
            len => at.wrapping_add(len),
        },
        None => long_end(src, at),
    }
}

/// Length of the plain number without sign that starts `word`; 0 if it does not end there, or not in
/// the usual way.
#[inline(always)]
fn short_len(word: u64) -> usize {
    let others = others(word);
    let whole = others.trailing_zeros() & 0x78;
    if whole > 8 && word as u8 == b'0' {
        return 0;
    }
    let next = word.wrapping_shr(whole) as u8;
    if next != b'.' {
        return if ends(next) && others != 0 { whole as usize / 8 } else { 0 };
    }
    let fraction = (others & others.wrapping_sub(1)).trailing_zeros() & 0x78;
    let found = fraction != whole + 8 && fraction < 64 && ends(word.wrapping_shr(fraction) as u8);
    if found { fraction as usize / 8 } else { 0 }
}

/// Whether a number usually ends before `next`.
#[inline(always)]
fn ends(next: u8) -> bool {
    next == b',' || next | 0x20 == b'}' || next <= b' '
}

/// Offset behind the number at `at`: the general case. What looks as if a plain number went on is
/// parsed to see.
#[inline(never)]
fn long_end(src: &[u8], at: usize) -> usize {
    let rest = src.get(at..).unwrap_or(&[]);
    let len = match plain_len(rest) {
        0 => sloppy_len(rest),
        len if rest.get(len).is_some_and(|next| is_number_byte(*next)) => sloppy_len(rest),
        len => Some(len),
    };
    len.map_or(BROKEN, |len| at + len)
}

/// Length of the number of any form that starts `rest`.
fn sloppy_len(rest: &[u8]) -> Option<usize> {
    let len = rest.iter().take_while(|b| is_number_byte(**b)).count();
    parse(rest.get(..len)?).map(|_| len)
}

/// Length of the plain JSON number, without exponent, that starts `rest`; 0 if there is none.
fn plain_len(rest: &[u8]) -> usize {
    let sign = usize::from(rest.first() == Some(&b'-'));
    let whole = digits(rest, sign);
    if whole == 0 || whole > 1 && rest.get(sign) == Some(&b'0') {
        return 0;
    }
    let end = sign + whole;
    if rest.get(end) != Some(&b'.') {
        return end;
    }
    let fraction = digits(rest, end + 1);
    if fraction == 0 { 0 } else { end + 1 + fraction }
}

/// The highest bit of the first byte that is no digit, and if that is a point, of the second. What
/// stands in later bytes means nothing.
#[inline(always)]
fn others(word: u64) -> u64 {
    let values = word ^ u64::from_le_bytes([b'0'; 8]);
    // A value of ten or more carries into the highest bit. None up to a point carries further.
    (values.wrapping_add(u64::from_le_bytes([0x80 - 10; 8])) | values) & u64::from_le_bytes([0x80; 8])
}

/// Number of digits at `from`, eight at a time.
fn digits(rest: &[u8], from: usize) -> usize {
    let rest = rest.get(from..).unwrap_or(&[]);
    let (words, tail) = rest.as_chunks();
    let mut len = 0;
    for word in words {
        let others = others(u64::from_le_bytes(*word));
        len += (others.trailing_zeros() / 8) as usize;
        if others != 0 {
            return len;
        }
    }
    len + tail.iter().take_while(|b| b.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, value) in [
            ("0", 0.0),
            ("-0.5", -0.5),
            (".5", 0.5),
            ("1.", 1.0),
            ("1e3", 1000.0),
            ("0e1", 0.0),
            ("010", 8.0),
            ("01", 1.0),
            ("0x10", 16.0),
            ("-01", -1.0),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["09", "1-2", "--1", "1e", "-", ".", "0x", "1x", "e1", "1.2.3", "0+7", "0x+1"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn plain_numbers_parse() {
        for (text, len) in [
            ("0", 1),
            ("12,", 2),
            ("-3.25}", 5),
            ("1e3", 1),
            ("01", 0),
            ("-", 0),
            ("1.", 0),
            ("0.0 ", 3),
            ("x", 0),
        ] {
            let plain = text.as_bytes().get(..plain_len(text.as_bytes())).unwrap();
            assert_eq!(plain.len(), len, "{text}");
            assert!(plain.is_empty() || parse(plain).is_some(), "{text}");
        }
        assert_eq!(end(b"[1e3,", 1), 4);
        assert_eq!(end(b"09,", 0), BROKEN);
    }
}
