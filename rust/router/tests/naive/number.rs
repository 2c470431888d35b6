//! Numbers out of texts (routing sections 3 and 5.2).

/// Value of an INTEGER or REAL token; none if it is no number after all (`e5`).
pub fn decimal(token: &str) -> Option<f64> {
    let without_sign = token.trim_start_matches('-');
    if without_sign.starts_with(['e', 'E']) { None } else { token.parse().ok() }
}

/// Value of a HEX token: a signed 64-bit number; none beyond 16 significant digits.
pub fn hex(token: &str) -> Option<f64> {
    let digits = token[2..].trim_start_matches('0');
    let value = if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 16) };
    value.ok().map(|value| value.cast_signed() as f64)
}

/// What `as_number` makes of a text: "any" style of the invariant culture.
pub fn parse(text: &str) -> f64 {
    let mut reader = Reader { text: text.chars().collect(), at: 0, ..Reader::default() };
    reader.head();
    match reader.digits() {
        Some(number) if reader.tail() => {
            let value = number.parse().unwrap_or(f64::NAN);
            if matches!(reader.sign, Some('-' | '(')) { -value } else { value }
        }
        _ => symbol(text),
    }
}

/// `Infinity` with or without a sign; `NaN` is undefined like anything else.
fn symbol(text: &str) -> f64 {
    match text.trim_matches(is_white).to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" => f64::INFINITY,
        "-infinity" => f64::NEG_INFINITY,
        _ => f64::NAN,
    }
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Reads a number in three parts; each thing may come once.
#[derive(Default)]
struct Reader {
    text: Vec<char>,
    at: usize,
    /// `+`, `-` or `(`.
    sign: Option<char>,
    /// Whether a `)` is still to come.
    open: bool,
    currency: bool,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    /// Blanks, a sign or `(`, and `¤`. Behind a sign blanks need a `¤` first.
    fn head(&mut self) {
        while let Some(c) = self.peek() {
            match c {
                c if is_white(c) && (self.sign.is_none() || self.currency) => {}
                '+' | '-' | '(' if self.sign.is_none() => {
                    self.sign = Some(c);
                    self.open = c == '(';
                }
                '¤' if !self.currency => self.currency = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// Digits with commas, a point, more digits, an exponent: as a text that Rust parses.
    fn digits(&mut self) -> Option<String> {
        let mut number = String::new();
        let mut point = false;
        let mut any = false;
        while let Some(c) = self.peek() {
            match c {
                '0'..='9' => {
                    any = true;
                    number.push(c);
                }
                '.' if !point => {
                    point = true;
                    number.push(c);
                }
                ',' if any && !point => {}
                _ => break,
            }
            self.at += 1;
        }
        any.then(|| number + &self.exponent())
    }

    fn exponent(&mut self) -> String {
        let rest = &self.text[self.at..];
        if !matches!(rest.first(), Some('e' | 'E')) {
            return String::new();
        }
        let sign = usize::from(matches!(rest.get(1), Some('+' | '-')));
        let count = rest.iter().skip(1 + sign).take_while(|c| c.is_ascii_digit()).count();
        if count == 0 {
            return String::new();
        }
        let exponent = rest[..1 + sign + count].iter().collect();
        self.at += 1 + sign + count;
        exponent
    }

    /// Blanks, a sign, `)` and `¤` in any order; then nothing, and no `(` left open.
    fn tail(&mut self) -> bool {
        while let Some(c) = self.peek() {
            match c {
                c if is_white(c) => {}
                '+' | '-' if self.sign.is_none() => self.sign = Some(c),
                ')' if self.open => self.open = false,
                '¤' if !self.currency => self.currency = true,
                _ => return false,
            }
            self.at += 1;
        }
        !self.open
    }
}
