//! Numbers of a body: those of JSON, and the octal, hexadecimal and sloppy ones that are read too.

/// Bytes that belong to a number once it has begun.
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

/// Whether the run is a plain JSON number, which needs no further look.
pub(crate) fn is_plain(run: &[u8]) -> bool {
    let run = run.strip_prefix(b"-").unwrap_or(run);
    let whole = run.iter().take_while(|b| b.is_ascii_digit()).count();
    if whole == 0 || whole > 1 && run.first() == Some(&b'0') {
        return false;
    }
    match run.get(whole..) {
        Some([]) => true,
        Some([b'.', fraction @ ..]) => !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit),
        _ => false,
    }
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
        for text in ["0", "12", "-3.25", "1e3", "01", "-", "1.", "0.0"] {
            let run = text.as_bytes();
            assert!(!is_plain(run) || parse(run).is_some(), "{text}");
        }
        assert!(is_plain(b"12.5") && !is_plain(b"012") && !is_plain(b"1e5"));
    }
}
