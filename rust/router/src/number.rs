//! `as_number`: text to number in every style that .NET's invariant "any" style takes
//! (routing section 5.2).

/// Value of `text`; `None` if it is no number. Overflow gives an infinity.
#[inline]
pub(crate) fn as_number(text: &str) -> Option<f64> {
    short_decimal(text.as_bytes()).or_else(|| any_style(text))
}

/// Digits after the point whose power of ten is exact as a double.
const EXACT_POWERS: [f64; 16] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Value of `[-]digits[.digits]` of at most 15 digits, which most numbers in messages are; `None` for
/// all else. Digits and power of ten are both exact, so that one division rounds correctly.
#[inline]
pub(crate) fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    if text.len() > 16 {
        return None;
    }
    let (number, whole) = digits(text, 0);
    let (number, fraction) = match text.get(whole..)? {
        [] => (number, 0),
        [b'.', rest @ ..] => match digits(rest, number) {
            (number, count) if count == rest.len() && count > 0 => (number, count),
            _ => return None,
        },
        _ => return None,
    };
    if whole == 0 || whole + fraction > 15 {
        return None;
    }
    let value = number as f64 / EXACT_POWERS.get(fraction)?;
    Some(if negative { -value } else { value })
}

/// Appends the leading digits of `text`, at most 16, to `number`; how many there are.
#[inline]
fn digits(text: &[u8], mut number: i64) -> (i64, usize) {
    let mut count = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit >= 10 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
        count += 1;
    }
    (number, count)
}

#[cold]
fn any_style(text: &str) -> Option<f64> {
    plain(text).or_else(|| styled(text)).or_else(|| symbol(text))
}

/// What both sides read alike: sign, digits, point, exponent.
fn plain(text: &str) -> Option<f64> {
    let simple = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if simple { text.parse().ok() } else { None }
}

/// `Infinity` and `NaN`, with or without a sign; the latter is undefined like any failure.
fn symbol(text: &str) -> Option<f64> {
    let text = text.trim();
    let (negative, name) = match text.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let infinite = name.eq_ignore_ascii_case("Infinity");
    infinite.then_some(if negative { f64::NEG_INFINITY } else { f64::INFINITY })
}

/// Longest text taken for a number in styled form; longer ones are undefined.
const STYLED_BYTES_MAX: usize = 4096;

/// Surrounding blanks, a sign on either side, parentheses for negative, thousands commas, and the
/// generic currency sign.
fn styled(text: &str) -> Option<f64> {
    if text.len() > STYLED_BYTES_MAX {
        return None;
    }
    let mut scan = Styled { rest: text, sign: Sign::None, paren: false, currency: false };
    scan.prefix();
    let digits = scan.digits()?;
    scan.suffix();
    let done = !scan.paren && scan.rest.trim_matches('\0').is_empty();
    let value: f64 = done.then(|| digits.parse().ok())??;
    Some(if scan.sign == Sign::Minus { -value } else { value })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    None,
    Plus,
    Minus,
}

struct Styled<'t> {
    rest: &'t str,
    /// An opening parenthesis counts as a minus.
    sign: Sign,
    /// A parenthesis is open.
    paren: bool,
    currency: bool,
}

impl Styled<'_> {
    fn next(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or("");
    }

    /// Takes a currency sign or, unless there was one, a sign.
    fn take_mark(&mut self, c: char) -> bool {
        match c {
            '+' if self.sign == Sign::None => self.sign = Sign::Plus,
            '-' if self.sign == Sign::None => self.sign = Sign::Minus,
            '¤' if !self.currency => self.currency = true,
            _ => return false,
        }
        true
    }

    /// What may stand before the digits. After a sign, blanks are allowed only behind a currency sign.
    fn prefix(&mut self) {
        while let Some(c) = self.next() {
            let blank = is_blank(c) && (self.sign == Sign::None || self.currency);
            if c == '(' && self.sign == Sign::None {
                (self.sign, self.paren) = (Sign::Minus, true);
            } else if !blank && !self.take_mark(c) {
                return;
            }
            self.advance(c);
        }
    }

    /// Digits in the form that `f64` parses; at least one.
    fn digits(&mut self) -> Option<String> {
        let mut digits = String::new();
        let (mut any, mut point) = (false, false);
        while let Some(c) = self.next() {
            match c {
                '0'..='9' => any = true,
                '.' if !point => point = true,
                ',' if any && !point => {
                    self.advance(c);
                    continue;
                }
                _ => break,
            }
            digits.push(c);
            self.advance(c);
        }
        self.exponent(&mut digits);
        any.then_some(digits)
    }

    /// An exponent; an `e` without digits is left alone.
    fn exponent(&mut self, digits: &mut String) {
        let Some(after) = self.rest.strip_prefix(['e', 'E']) else { return };
        let unsigned = after.strip_prefix(['+', '-']).unwrap_or(after);
        let count = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let len = self.rest.len() - unsigned.len() + count;
        if let (true, Some(exponent)) = (count > 0, self.rest.get(..len)) {
            digits.push_str(exponent);
            self.rest = self.rest.get(len..).unwrap_or("");
        }
    }

    fn suffix(&mut self) {
        while let Some(c) = self.next() {
            if c == ')' && self.paren {
                self.paren = false;
            } else if !is_blank(c) && !self.take_mark(c) {
                return;
            }
            self.advance(c);
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles() {
        for (text, value) in [
            ("3", 3.0),
            (" 7 ", 7.0),
            ("1,234", 1234.0),
            ("1,2,3.5", 123.5),
            ("(5)", -5.0),
            ("1e2", 100.0),
            ("-4", -4.0),
            ("4-", -4.0),
            ("+4", 4.0),
            ("4 -", -4.0),
            ("¤5", 5.0),
            ("5¤", 5.0),
            ("-¤ 5", -5.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("10e1000", f64::INFINITY),
            ("Infinity", f64::INFINITY),
            (" -infinity ", f64::NEG_INFINITY),
            ("(1e1)", -10.0),
        ] {
            assert_eq!(as_number(text), Some(value), "{text}");
        }
    }

    #[test]
    fn short_decimals_are_what_the_library_makes_of_them() {
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (whole, fraction) = (seed >> 40, (seed >> 8) & 0xfffff);
            for text in [format!("{whole}.{fraction:06}"), format!("-{whole}"), format!("0.{fraction:014}")] {
                let value: f64 = text.parse().unwrap();
                assert_eq!(short_decimal(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
            }
        }
        for text in ["", "-", ".5", "5.", "1e3", "1 ", "+1", "1.2.3", "1234567890123456", "--1"] {
            assert_eq!(short_decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(short_decimal(b"-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
    }

    #[test]
    fn no_numbers() {
        for text in [
            "", " ", "$5", "0x10", "red", "1 2", "- 5", "(-5)", "(5", "5)", "--5", "-5-", ",5", "1.2.3",
            "e5", "1e", "NaN", "inf", "nan", "1.5,0", "()",
        ] {
            assert_eq!(as_number(text), None, "{text}");
        }
    }
}
