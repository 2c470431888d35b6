//! Reads a body under the lenient rules of routing section 8.1: unquoted names, single quotes,
//! comments, a trailing comma, `NaN` and `Infinity`. `None` means: malformed.
//!
//! Every step takes the offset where it begins and gives the one where it ends, so that the offset
//! stays in a register. The usual form of each thing is read on the spot, all others out of line.

use crate::body::BODY_DEPTH_MAX;
use crate::body::escape::escape_len;
use crate::body::number;
use crate::body::window::Window;

/// Bytes of a name, string or number, without quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether it holds escapes.
    pub(crate) escaped: bool,
}

/// A value: a scalar as a whole, a container by its opening bracket.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token {
    Object,
    Array,
    Text(Piece),
    Number(Piece),
    Infinity {
        negative: bool,
    },
    Bool(bool),
    Null,
    /// `undefined`, `NaN`, or nothing between two commas.
    Undefined,
}

/// Whether a byte is neither a blank nor the start of one or of a comment.
static INK: [bool; 256] = {
    let mut ink = [false; 256];
    let mut byte = b' ' as usize + 1;
    while byte < 0x80 {
        ink[byte] = byte != b'/' as usize;
        byte += 1;
    }
    ink
};

/// A body.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    src: &'s [u8],
    window: Window,
}

impl<'s> Reader<'s> {
    /// `None` for a source whose offsets do not fit 32 bits.
    pub(crate) fn new(src: &'s [u8]) -> Option<Self> {
        u32::try_from(src.len()).ok().map(|_| Reader { src, window: Window::new(src) })
    }

    /// The bytes of a piece.
    #[inline(always)]
    pub(crate) fn bytes(&self, piece: Piece) -> &'s [u8] {
        self.src.get(piece.start..piece.end).unwrap_or(&[])
    }

    /// The next byte that is neither blank nor part of a comment, and its offset.
    #[inline(always)]
    pub(crate) fn next(&self, at: usize) -> Option<(usize, u8)> {
        let byte = *self.src.get(at)?;
        if INK[byte as usize] {
            return Some((at, byte));
        }
        let at = blanks_end(self.src, at)?;
        Some((at, *self.src.get(at)?))
    }

    /// Nothing but blanks and comments may follow the document.
    pub(crate) fn finish(&self, at: usize) -> Option<()> {
        (blanks_end(self.src, at)? == self.src.len()).then_some(())
    }

    /// Behind a value: takes a comma, or stands before the bracket `close`.
    #[inline(always)]
    pub(crate) fn after_value(&self, at: usize, close: u8) -> Option<usize> {
        match self.next(at)? {
            (at, b',') => Some(at + 1),
            (at, byte) if byte == close => Some(at),
            _ => None,
        }
    }

    /// The name that begins with the byte `first` at `at`, and the offset behind its colon.
    #[inline(always)]
    pub(crate) fn name(&mut self, at: usize, first: u8) -> Option<(Piece, usize)> {
        if first == b'"' {
            let end = self.window.stop(self.src, at + 1);
            if self.src.get(end..)?.first_chunk() == Some(b"\":") {
                return Some((Piece { start: at + 1, end, escaped: false }, end + 2));
            }
        }
        self.rare_name(at, first)
    }

    /// A name that is not quoted, holds escapes, or has blanks behind it.
    #[inline(never)]
    fn rare_name(&mut self, at: usize, first: u8) -> Option<(Piece, usize)> {
        let (name, at) = match first {
            b'"' | b'\'' => self.string(at, first)?,
            _ => bare_name(self.src, at)?,
        };
        let at = spaces(self.src, at);
        (*self.src.get(at)? == b':').then_some((name, at + 1))
    }

    /// The string that begins with the quote at `at`, and the offset behind it.
    #[inline(always)]
    fn string(&mut self, at: usize, quote: u8) -> Option<(Piece, usize)> {
        let start = at + 1;
        let (end, escaped) = self.string_end(start, quote)?;
        Some((Piece { start, end, escaped }, end + 1))
    }

    /// Offset of the closing quote of the string that starts at `at`, and whether it holds escapes.
    #[inline(always)]
    fn string_end(&mut self, at: usize, quote: u8) -> Option<(usize, bool)> {
        if quote == b'"' {
            let end = self.window.stop(self.src, at);
            if self.src.get(end) == Some(&b'"') {
                return Some((end, false));
            }
        }
        self.rare_string_end(at, quote)
    }

    #[inline(never)]
    fn rare_string_end(&mut self, mut at: usize, quote: u8) -> Option<(usize, bool)> {
        let mut escaped = false;
        loop {
            at = match quote {
                b'"' => self.window.stop(self.src, at),
                _ => at + memchr::memchr2(quote, b'\\', self.src.get(at..)?)?,
            };
            if self.src.get(at) == Some(&quote) {
                return Some((at, escaped));
            }
            escaped = true;
            at += escape_len(self.src.get(at..)?)?;
        }
    }

    /// The value that begins with the byte `first` at `at`, and the offset behind it.
    #[inline]
    pub(crate) fn token(&mut self, at: usize, first: u8) -> Option<(Token, usize)> {
        match first {
            b'"' | b'\'' => self.string(at, first).map(|(piece, at)| (Token::Text(piece), at)),
            b'0'..=b'9' | b'-' | b'.' if !self.src.get(at..)?.starts_with(b"-I") => {
                let end = number::end(self.src, at)?;
                Some((Token::Number(Piece { start: at, end, escaped: false }), end))
            }
            b'{' => Some((Token::Object, at + 1)),
            b'[' => Some((Token::Array, at + 1)),
            _ => rare_token(self.src, at, first),
        }
    }

    /// Offset behind the value, wanted by nobody, that begins with the byte `first` at `at` inside
    /// a container at `depth`.
    #[inline(always)]
    pub(crate) fn skip(&mut self, at: usize, first: u8, depth: u32) -> Option<usize> {
        match first {
            b'{' | b'[' => self.skip_rest(at + 1, first == b'{', deeper(depth)?),
            _ => self.skip_scalar(at, first),
        }
    }

    #[inline(always)]
    fn skip_scalar(&mut self, at: usize, first: u8) -> Option<usize> {
        match first {
            b'"' => self.string_end(at + 1, b'"').map(|(end, _)| end + 1),
            b'0'..=b'9' => number::end(self.src, at),
            b'-' if self.src.get(at + 1) != Some(&b'I') => number::end(self.src, at),
            _ => self.skip_rare(at, first),
        }
    }

    #[inline(never)]
    fn skip_rare(&mut self, at: usize, first: u8) -> Option<usize> {
        self.token(at, first).map(|(_, at)| at)
    }

    /// Offset behind the container at `depth` whose content starts at `at`. One bit for each
    /// container tells the objects, the innermost lowest.
    #[inline(never)]
    pub(crate) fn skip_rest(&mut self, mut at: usize, is_object: bool, depth: u32) -> Option<usize> {
        let (mut objects, mut level) = (u64::from(is_object), depth);
        loop {
            let (here, byte) = self.next(at)?;
            if byte == close_of(objects) {
                at = here;
            } else {
                let (here, byte) = match objects & 1 {
                    0 => (here, byte),
                    _ => {
                        let (_, behind) = self.name(here, byte)?;
                        self.next(behind)?
                    }
                };
                if matches!(byte, b'{' | b'[') {
                    level = deeper(level)?;
                    objects = objects << 1 | u64::from(byte == b'{');
                    at = here + 1;
                    continue;
                }
                at = self.skip_scalar(here, byte)?;
            }
            loop {
                let (here, byte) = self.next(at)?;
                at = here + 1;
                if byte == b',' {
                    break;
                }
                if byte != close_of(objects) {
                    return None;
                }
                if level == depth {
                    return Some(at);
                }
                level -= 1;
                objects >>= 1;
            }
        }
    }
}

/// The depth inside a container at `depth`; `None` if it is too deep.
#[inline(always)]
pub(crate) fn deeper(depth: u32) -> Option<u32> {
    (depth < BODY_DEPTH_MAX).then_some(depth + 1)
}

/// The bracket that closes the innermost container. The two differ in one bit.
#[inline(always)]
fn close_of(objects: u64) -> u8 {
    b']' | ((objects & 1) as u8) << 5
}

#[inline(never)]
fn rare_token(src: &[u8], at: usize, first: u8) -> Option<(Token, usize)> {
    let rest = src.get(at..)?;
    let word = |word: &str, token| rest.starts_with(word.as_bytes()).then_some((token, at + word.len()));
    match first {
        b'-' => word("-Infinity", Token::Infinity { negative: true }),
        b't' => word("true", Token::Bool(true)),
        b'f' => word("false", Token::Bool(false)),
        b'n' => word("null", Token::Null),
        b'u' => word("undefined", Token::Undefined),
        b'N' => word("NaN", Token::Undefined),
        b'I' => word("Infinity", Token::Infinity { negative: false }),
        b',' => Some((Token::Undefined, at)),
        _ => None,
    }
}

/// A name without quotes: letters, digits, `_` and `$`.
fn bare_name(src: &[u8], start: usize) -> Option<(Piece, usize)> {
    let mut at = start;
    while let Some(c) = char_at(src, at).filter(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
        at += c.len_utf8();
    }
    (at > start).then_some((Piece { start, end: at, escaped: false }, at))
}

/// The character at `at`, if the bytes are one.
fn char_at(src: &[u8], at: usize) -> Option<char> {
    let head = src.get(at..)?;
    let head = head.get(..4).unwrap_or(head);
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(head.get(..e.valid_up_to())?).ok()?,
    };
    valid.chars().next()
}

/// Offset behind the blanks and comments at `at`.
#[inline(never)]
fn blanks_end(src: &[u8], at: usize) -> Option<usize> {
    let mut at = spaces(src, at);
    while src.get(at) == Some(&b'/') {
        at = spaces(src, comment_end(src, at)?);
    }
    Some(at)
}

/// Offset behind the blanks at `at`.
fn spaces(src: &[u8], mut at: usize) -> usize {
    while let Some(byte) = src.get(at) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c => at = indent_end(src, at + 1),
            byte if byte.is_ascii() => return at,
            _ => match char_at(src, at).filter(|c| c.is_whitespace()) {
                Some(c) => at += c.len_utf8(),
                None => return at,
            },
        }
    }
    at
}

/// Offset behind the spaces at `at`, eight at a time, as indented text has many.
fn indent_end(src: &[u8], mut at: usize) -> usize {
    while let Some(word) = src.get(at..).and_then(|rest| rest.first_chunk()) {
        let others = u64::from_le_bytes(*word) ^ u64::from_le_bytes([b' '; 8]);
        at += others.trailing_zeros() as usize / 8;
        if others != 0 {
            break;
        }
    }
    at
}

/// Offset behind the comment at `at`.
fn comment_end(src: &[u8], at: usize) -> Option<usize> {
    let rest = src.get(at..)?;
    match rest.get(1)? {
        b'*' => memchr::memmem::find(rest.get(2..)?, b"*/").map(|inside| at + inside + 4),
        b'/' => Some(memchr::memchr2(b'\n', b'\r', rest).map_or(src.len(), |line| at + line)),
        _ => None,
    }
}
