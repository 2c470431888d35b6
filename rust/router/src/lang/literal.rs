//! Values of literal tokens (routing sections 3 and 5.2).

/// Decodes what stands between the quotes: `\"`, `\'`, `\\` and `\uXXXX`. A surrogate without its
/// partner becomes U+FFFD.
pub(crate) fn unescape(inside: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(c) = rest.chars().next() {
        let (taken, unit) = match escape(rest) {
            Some((taken, unit)) => (taken, Some(unit)),
            None => (c.len_utf8(), None),
        };
        match unit {
            Some(unit) => units.push(unit),
            None => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
        }
        rest = rest.get(taken..).unwrap_or("");
    }
    String::from_utf16_lossy(&units)
}

fn escape(rest: &str) -> Option<(usize, u16)> {
    let after = rest.strip_prefix('\\')?;
    match after.chars().next()? {
        c @ ('"' | '\'' | '\\') => Some((2, c as u16)),
        'u' => Some((6, u16::from_str_radix(after.get(1..5)?, 16).ok()?)),
        _ => None,
    }
}

/// Value of an integer or real token; `None` for one without a value, such as `e5`.
pub(crate) fn decimal(token: &str) -> Option<f64> {
    token.parse().ok()
}

/// Value of a hex token, read as a signed 64-bit number; `None` beyond 16 significant digits.
pub(crate) fn hex(token: &str) -> Option<f64> {
    let digits = token.get(2..)?.trim_start_matches('0');
    let bits = if digits.is_empty() { 0 } else { u64::from_str_radix(digits, 16).ok()? };
    Some(bits.cast_signed() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_signed() {
        assert_eq!(hex("0xFF"), Some(255.0));
        assert_eq!(hex("0xFFFFFFFFFFFFFFFF"), Some(-1.0));
        assert_eq!(hex("0x00FFFFFFFFFFFFFFFF"), Some(-1.0));
        assert_eq!(hex("0x1FFFFFFFFFFFFFFFF"), None);
        assert_eq!(hex("0x0"), Some(0.0));
    }

    #[test]
    fn decimals_overflow_to_infinity() {
        assert_eq!(decimal("10e1000"), Some(f64::INFINITY));
        assert_eq!(decimal("e5"), None);
        assert_eq!(decimal("-.5"), Some(-0.5));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r#"say \"hi\" it\'s \\ \u0041"#), "say \"hi\" it's \\ A");
        assert_eq!(unescape(r"\uD83D\uDE00"), "😀");
        assert_eq!(unescape(r"\uD83D"), "\u{fffd}");
    }
}
