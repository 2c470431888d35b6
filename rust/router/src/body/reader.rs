//! Reads a body under the lenient rules of routing section 8.1: unquoted names, single quotes,
//! comments, a trailing comma, `NaN` and `Infinity`.
//!
//! Every step takes the offset where it begins and gives the one behind it, so that the offset stays
//! in a register. The usual form of each thing is read on the spot, all others out of line. Where
//! the text is malformed a step gives [`BROKEN`] or `None`.

use crate::body::BODY_DEPTH_MAX;
use crate::body::blanks::{INK, blanks_end, char_at, line_start, spaces_end};
use crate::body::escape::escape_len;
use crate::body::number;
use crate::body::window::Window;

/// Stands for the offset behind something malformed. No source has a byte there, so whatever is
/// read next fails, and a caller need not look.
pub(crate) const BROKEN: usize = usize::MAX;

/// Where the bytes of a name, string or number are, without quotes.
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

/// A body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'s> {
    src: &'s [u8],
}

impl<'s> Reader<'s> {
    /// `None` for a source whose offsets do not fit 32 bits.
    pub(crate) fn new(src: &'s [u8]) -> Option<Self> {
        u32::try_from(src.len()).ok().map(|_| Reader { src })
    }

    /// The bytes of a piece.
    #[inline(always)]
    pub(crate) fn bytes(self, piece: Piece) -> Option<&'s [u8]> {
        self.src.get(piece.start..piece.end)
    }

    /// The next byte that is neither blank nor part of a comment, and its offset. Most often, it is
    /// `likely`.
    #[inline(always)]
    pub(crate) fn next(self, at: usize, likely: u8) -> Option<(usize, u8)> {
        let byte = *self.src.get(at)?;
        if byte == likely || INK[byte as usize] { Some((at, byte)) } else { self.next_far(at) }
    }

    #[cold]
    #[inline(never)]
    fn next_far(self, at: usize) -> Option<(usize, u8)> {
        let behind = line_start(self.src, at);
        match self.src.get(behind) {
            Some(byte) if INK[*byte as usize] => return Some((behind, *byte)),
            _ => {}
        }
        let at = blanks_end(self.src, at)?;
        Some((at, *self.src.get(at)?))
    }

    /// Nothing but blanks and comments may follow the document.
    #[inline]
    pub(crate) fn finish(self, at: usize) -> Option<()> {
        (at == self.src.len() || blanks_end(self.src, at)? == self.src.len()).then_some(())
    }

    /// Behind a value: takes a comma, or stands before the bracket `close`.
    #[inline(always)]
    pub(crate) fn after_value(self, at: usize, close: u8) -> Option<usize> {
        match self.next(at, b',')? {
            (at, b',') => Some(at + 1),
            (at, byte) if byte == close => Some(at),
            _ => None,
        }
    }

    /// The name that begins with the byte `first` at `at`, the offset of what follows its colon, and
    /// the byte there, which may begin a comment or a blank beyond ASCII.
    #[inline(always)]
    pub(crate) fn name(self, window: &mut Window, at: usize, first: u8) -> Option<(Piece, usize, u8)> {
        if first == b'"' {
            let (start, end) = (at + 1, window.stop(self.src, at + 1));
            // Behind the closing quote there are three bytes or more, were it only for `:,}`.
            let [quote, colon, byte, _] = *self.src.get(end..)?.first_chunk()?;
            if [quote, colon] == *b"\":" {
                let (piece, behind) = (Piece { start, end, escaped: false }, end.wrapping_add(2));
                if byte > b' ' {
                    return Some((piece, behind, byte));
                }
                let (at, byte) = self.next_far(behind)?;
                return Some((piece, at, byte));
            }
        }
        self.rare_name(window, at, first)
    }

    /// A name that is not quoted, holds escapes, or has blanks behind it.
    #[cold]
    #[inline(never)]
    fn rare_name(self, window: &mut Window, at: usize, first: u8) -> Option<(Piece, usize, u8)> {
        let (name, at) = match first {
            b'"' | b'\'' => self.string(window, at, first)?,
            _ => self.bare_name(at)?,
        };
        let at = spaces_end(self.src, at);
        let colon = *self.src.get(at)? == b':';
        if colon { Some((name, at + 1, *self.src.get(at + 1)?)) } else { None }
    }

    /// A name without quotes: letters, digits, `_` and `$`.
    fn bare_name(self, start: usize) -> Option<(Piece, usize)> {
        let mut end = start;
        while let Some(c) = char_at(self.src, end).filter(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            end += c.len_utf8();
        }
        (end > start).then_some((Piece { start, end, escaped: false }, end))
    }

    /// The string that begins with `quote` at `at`, and the offset behind it.
    fn string(self, window: &mut Window, at: usize, quote: u8) -> Option<(Piece, usize)> {
        let start = at + 1;
        let (mut end, mut escaped) = (start, false);
        loop {
            end = match quote {
                b'"' => window.stop(self.src, end),
                _ => end + memchr::memchr2(quote, b'\\', self.src.get(end..)?)?,
            };
            if *self.src.get(end)? == quote {
                return Some((Piece { start, end, escaped }, end + 1));
            }
            escaped = true;
            end += escape_len(self.src.get(end..)?)?;
        }
    }

    /// The value that begins with the byte `first` at `at`, and the offset behind it.
    #[inline(always)]
    pub(crate) fn token(self, window: &mut Window, at: usize, first: u8) -> Option<(Token, usize)> {
        match first {
            b'"' | b'\'' => self.string(window, at, first).map(|(piece, end)| (Token::Text(piece), end)),
            b'0'..=b'9' => self.number(at),
            b'{' => Some((Token::Object, at + 1)),
            b'[' => Some((Token::Array, at + 1)),
            _ => self.rare_token(at, first),
        }
    }

    #[inline(never)]
    fn rare_token(self, at: usize, first: u8) -> Option<(Token, usize)> {
        match first {
            b',' => Some((Token::Undefined, at)),
            b'.' => self.number(at),
            b'-' if self.src.get(at + 1) != Some(&b'I') => self.number(at),
            _ => self.word(at, first),
        }
    }

    #[inline(always)]
    fn number(self, at: usize) -> Option<(Token, usize)> {
        let end = number::end(self.src, at);
        (end != BROKEN).then_some((Token::Number(Piece { start: at, end, escaped: false }), end))
    }

    /// The literal at `at`. That it ends there is seen by what follows.
    fn word(self, at: usize, first: u8) -> Option<(Token, usize)> {
        match first {
            b't' => self.literal(at, b"true", Token::Bool(true)),
            b'f' => self.literal(at, b"false", Token::Bool(false)),
            b'n' => self.literal(at, b"null", Token::Null),
            b'u' => self.literal(at, b"undefined", Token::Undefined),
            b'N' => self.literal(at, b"NaN", Token::Undefined),
            b'I' => self.literal(at, b"Infinity", Token::Infinity { negative: false }),
            b'-' => self.literal(at, b"-Infinity", Token::Infinity { negative: true }),
            _ => None,
        }
    }

    #[inline(always)]
    fn literal<const N: usize>(self, at: usize, word: &[u8; N], token: Token) -> Option<(Token, usize)> {
        (self.src.get(at..)?.first_chunk() == Some(word)).then_some((token, at + N))
    }

    /// Offset behind the value, wanted by nobody, inside a container at `depth`. It begins with the
    /// byte `first` at `at`, or with blanks.
    #[inline(always)]
    pub(crate) fn skip(self, window: &mut Window, at: usize, first: u8, depth: u32) -> Option<usize> {
        match first | 0x20 {
            b'{' => self.skip_rest_here(window, at + 1, first == b'{', deeper(depth)?),
            _ => Some(self.skip_scalar(window, at, first, depth)),
        }
    }

    /// The same for what is mostly a scalar.
    #[inline(always)]
    fn skip_scalar(self, window: &mut Window, at: usize, first: u8, depth: u32) -> usize {
        if first == b'"' {
            let end = window.stop(self.src, at + 1);
            if self.src.get(end) == Some(&b'"') {
                return end + 1;
            }
        } else if first.is_ascii_digit() {
            return number::end(self.src, at);
        }
        match self.src.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(b"true" | b"null") => at.wrapping_add(4),
            Some(b"fals") if self.src.get(at.wrapping_add(4)) == Some(&b'e') => at.wrapping_add(5),
            _ => self.skip_rare(window, at, depth).unwrap_or(BROKEN),
        }
    }

    #[cold]
    #[inline(never)]
    fn skip_rare(self, window: &mut Window, at: usize, depth: u32) -> Option<usize> {
        let (at, first) = self.next(at, b't')?;
        match first {
            // Deep as the containers are nested, which has a limit.
            b'{' | b'[' => self.skip_rest(window, at + 1, first == b'{', deeper(depth)?),
            _ => self.token(window, at, first).map(|(_, end)| end),
        }
    }

    /// Offset behind the container at `depth` the rest of whose content is at `at`.
    #[inline(never)]
    pub(crate) fn skip_rest(
        self,
        window: &mut Window,
        at: usize,
        is_object: bool,
        depth: u32,
    ) -> Option<usize> {
        self.skip_rest_here(window, at, is_object, depth)
    }

    /// The same, on the spot. One bit for each container tells the objects, the innermost lowest.
    #[inline(always)]
    fn skip_rest_here(
        self,
        window: &mut Window,
        mut at: usize,
        is_object: bool,
        depth: u32,
    ) -> Option<usize> {
        let (mut objects, mut level) = (u64::from(is_object), depth);
        loop {
            let (here, byte) = self.next(at, b'"')?;
            if byte == close_of(objects) {
                at = here;
            } else {
                let (here, byte) = if objects & 1 == 0 {
                    (here, byte)
                } else {
                    let (_, behind, byte) = self.name(window, here, byte)?;
                    (behind, byte)
                };
                if byte | 0x20 == b'{' {
                    level = deeper(level)?;
                    objects = objects << 1 | u64::from(byte == b'{');
                    at = here + 1;
                    continue;
                }
                at = self.skip_scalar(window, here, byte, level);
            }
            loop {
                let (here, byte) = self.next(at, b',')?;
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
