//! Numbers of a body: those of JSON, and the octal, hexadecimal and sloppy ones that are read too.

/// Bytes that belong to a number once it has begun.
#[inline]
pub(crate) fn is_number_byte(b: u8) -> bool {
    b.is_ascii_hexdigit() || matches!(b, b'+' | b'-' | b'.' | b'x' | b'X')
}

/// Value of a run of [`is_number_byte`]s; `None` if it is no number.
pub(crate) fn parse(run: &[u8]) -> Option<f64> {
    if let [b'0', second, ..] = run
        && !matches!(second, b'.' | b'e' | b'E')
    {
        return other_base(run);
    }
    std::str::from_utf8(run).ok()?.parse().ok()
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

/// Length of the plain JSON number, without exponent, that starts `rest`; 0 if there is none.
#[inline]
pub(crate) fn plain_len(rest: &[u8]) -> usize {
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

#[inline]
fn digits(rest: &[u8], from: usize) -> usize {
    rest.get(from..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count())
}

/// Length of the number of any other form that starts `rest`.
pub(crate) fn sloppy_len(rest: &[u8]) -> Option<usize> {
    let len = rest.iter().take_while(|b| is_number_byte(**b)).count();
    parse(rest.get(..len)?).map(|_| len)
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
        assert_eq!(sloppy_len(b"1e3,"), Some(3));
        assert_eq!(sloppy_len(b"09,"), None);
    }
}
