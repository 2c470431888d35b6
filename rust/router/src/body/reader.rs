//! Reads a body byte by byte under the lenient rules of routing section 8.1: unquoted names, single
//! quotes, comments, a trailing comma, `NaN` and `Infinity`. `None` means: malformed.

use crate::body::{BODY_DEPTH_MAX, number};

/// Bytes of a name, string or number, without quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    start: u32,
    end: u32,
    /// Whether it holds escapes.
    pub(crate) escaped: bool,
}

impl Piece {
    #[inline]
    fn new(start: usize, end: usize, escaped: bool) -> Piece {
        Piece { start: start as u32, end: end as u32, escaped }
    }
}

/// How a value begins. A scalar is taken as a whole, a container up to its opening bracket.
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

/// Bytes of a string looked at one by one before the search for its end is worth a call.
const SHORT_STRING_BYTES: usize = 24;

/// A body and how far it is read.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    src: &'s [u8],
    at: usize,
    depth: u32,
}

impl<'s> Reader<'s> {
    /// `None` for a source whose offsets do not fit 32 bits.
    pub(crate) fn new(src: &'s [u8]) -> Option<Self> {
        u32::try_from(src.len()).ok().map(|_| Reader { src, at: 0, depth: 0 })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.src.get(self.at).copied()
    }

    fn rest(&self) -> &'s [u8] {
        self.src.get(self.at..).unwrap_or(&[])
    }

    /// The bytes of a piece.
    #[inline]
    pub(crate) fn bytes(&self, piece: Piece) -> &'s [u8] {
        self.src.get(piece.start as usize..piece.end as usize).unwrap_or(&[])
    }

    /// Opens the document, which must be an object.
    pub(crate) fn open(&mut self) -> Option<()> {
        matches!(self.token()?, Token::Object).then_some(())
    }

    /// Nothing but blanks and comments may follow the document.
    pub(crate) fn finish(&mut self) -> Option<()> {
        self.blanks()?;
        self.peek().is_none().then_some(())
    }

    /// Whether the open object (or array) ends here; takes the closing bracket.
    #[inline]
    pub(crate) fn closes(&mut self, in_object: bool) -> Option<bool> {
        let closes = self.next_byte()? == close_of(in_object);
        if closes {
            self.at += 1;
            self.depth -= 1;
        }
        Some(closes)
    }

    /// The name of the next member, up to and with its colon.
    #[inline]
    pub(crate) fn name(&mut self) -> Option<Piece> {
        let name = match self.next_byte()? {
            quote @ (b'"' | b'\'') => self.quoted(quote)?,
            _ => self.bare_name()?,
        };
        if self.peek()? != b':' {
            self.spaces();
        }
        (self.peek()? == b':').then(|| {
            self.at += 1;
            name
        })
    }

    /// The next value.
    #[inline]
    pub(crate) fn token(&mut self) -> Option<Token> {
        match self.next_byte()? {
            quote @ (b'"' | b'\'') => self.quoted(quote).map(Token::Text),
            b'0'..=b'9' => self.number(),
            b'{' => self.enter(Token::Object),
            b'[' => self.enter(Token::Array),
            b',' => Some(Token::Undefined),
            first => self.rare_token(first),
        }
    }

    /// After a value: takes a comma, or stands before the closing bracket.
    #[inline]
    pub(crate) fn after_value(&mut self, in_object: bool) -> Option<()> {
        match self.next_byte()? {
            b',' => self.at += 1,
            b if b == close_of(in_object) => {}
            _ => return None,
        }
        Some(())
    }

    /// Reads to the end of a value that nobody wants. Depth fits a word: one bit per container.
    pub(crate) fn skip(&mut self, token: Token) -> Option<()> {
        let mut objects: u64 = match token {
            Token::Object => 1,
            Token::Array => 0,
            _ => return Some(()),
        };
        let outside = self.depth - 1;
        loop {
            let in_object = objects & 1 == 1;
            if self.closes(in_object)? {
                if self.depth == outside {
                    return Some(());
                }
                objects >>= 1;
                self.after_value(objects & 1 == 1)?;
                continue;
            }
            if in_object {
                self.name()?;
            }
            match self.token()? {
                Token::Object => objects = objects << 1 | 1,
                Token::Array => objects <<= 1,
                _ => self.after_value(in_object)?,
            }
        }
    }

    /// The next byte that is neither blank nor comment; not taken.
    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        if byte > b' ' && byte.is_ascii() && byte != b'/' {
            return Some(byte);
        }
        self.blanks()?;
        self.peek()
    }

    fn rare_token(&mut self, first: u8) -> Option<Token> {
        match first {
            b'-' if self.rest().starts_with(b"-I") => {
                self.word("-Infinity", Token::Infinity { negative: true })
            }
            b'-' | b'.' => self.number(),
            b't' => self.word("true", Token::Bool(true)),
            b'f' => self.word("false", Token::Bool(false)),
            b'n' => self.word("null", Token::Null),
            b'u' => self.word("undefined", Token::Undefined),
            b'N' => self.word("NaN", Token::Undefined),
            b'I' => self.word("Infinity", Token::Infinity { negative: false }),
            _ => None,
        }
    }

    #[inline]
    fn enter(&mut self, token: Token) -> Option<Token> {
        self.at += 1;
        self.depth += 1;
        (self.depth <= BODY_DEPTH_MAX).then_some(token)
    }

    fn word(&mut self, word: &str, token: Token) -> Option<Token> {
        if !self.rest().starts_with(word.as_bytes()) {
            return None;
        }
        self.at += word.len();
        self.ends_value().then_some(token)
    }

    /// Whether a literal or number may end here.
    #[inline]
    fn ends_value(&self) -> bool {
        match self.peek() {
            None | Some(b',' | b'}' | b']' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => true,
            Some(b) if b.is_ascii() => false,
            Some(_) => self.char().is_some_and(char::is_whitespace),
        }
    }

    /// A number; plain JSON ones are recognised on the way, others parsed to see if they are any.
    #[inline]
    fn number(&mut self) -> Option<Token> {
        let start = self.at;
        let plain = number::plain_len(self.rest());
        self.at += plain;
        if plain == 0 || !self.ends_value() {
            self.at = start + number::sloppy_len(self.src.get(start..)?)?;
            if !self.ends_value() {
                return None;
            }
        }
        Some(Token::Number(Piece::new(start, self.at, false)))
    }

    #[inline]
    fn quoted(&mut self, quote: u8) -> Option<Piece> {
        let start = self.at + 1;
        let rest = self.src.get(start..)?;
        let short = rest.get(..SHORT_STRING_BYTES).unwrap_or(rest);
        let stop = short.iter().position(|b| *b == quote || *b == b'\\');
        self.at = start + stop.unwrap_or(short.len());
        if stop.is_some() && self.peek() == Some(quote) {
            self.at += 1;
            return Some(Piece::new(start, self.at - 1, false));
        }
        self.quoted_end(start, quote)
    }

    /// The rest of a string that is long or holds escapes.
    fn quoted_end(&mut self, start: usize, quote: u8) -> Option<Piece> {
        let mut escaped = false;
        loop {
            self.at += memchr::memchr2(quote, b'\\', self.rest())?;
            if self.peek()? == quote {
                self.at += 1;
                return Some(Piece::new(start, self.at - 1, escaped));
            }
            escaped = true;
            self.at += escape_len(self.rest())?;
        }
    }

    /// A name without quotes: letters, digits, `_` and `$`.
    fn bare_name(&mut self) -> Option<Piece> {
        let start = self.at;
        while let Some(c) = self.char().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            self.at += c.len_utf8();
        }
        (self.at > start).then(|| Piece::new(start, self.at, false))
    }

    /// The character here, if the bytes are one.
    fn char(&self) -> Option<char> {
        let head = self.rest();
        let head = head.get(..4).unwrap_or(head);
        let valid = match std::str::from_utf8(head) {
            Ok(text) => text,
            Err(e) => std::str::from_utf8(head.get(..e.valid_up_to())?).ok()?,
        };
        valid.chars().next()
    }

    fn spaces(&mut self) {
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c => self.at += 1,
                b if b.is_ascii() => return,
                _ => match self.char().filter(|c| c.is_whitespace()) {
                    Some(c) => self.at += c.len_utf8(),
                    None => return,
                },
            }
        }
    }

    #[inline(never)]
    fn blanks(&mut self) -> Option<()> {
        self.spaces();
        while self.peek() == Some(b'/') {
            self.comment()?;
            self.spaces();
        }
        Some(())
    }

    fn comment(&mut self) -> Option<()> {
        let rest = self.rest();
        match rest.get(1)? {
            b'*' => self.at += memchr::memmem::find(rest.get(2..)?, b"*/")? + 4,
            b'/' => self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()),
            _ => return None,
        }
        Some(())
    }
}

#[inline]
fn close_of(in_object: bool) -> u8 {
    if in_object { b'}' } else { b']' }
}

/// Length of the escape that starts `rest`.
fn escape_len(rest: &[u8]) -> Option<usize> {
    match rest.get(1)? {
        b'b' | b't' | b'n' | b'f' | b'r' | b'\\' | b'"' | b'\'' | b'/' => Some(2),
        b'u' => rest.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// Decodes the escapes of a text the reader has accepted; a surrogate without its partner becomes
/// U+FFFD.
pub(crate) fn unescape(text: &str, into: &mut String) {
    into.clear();
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        into.push_str(rest.get(..at).unwrap_or(""));
        let escape = rest.get(at..).unwrap_or("");
        let (c, len) = escaped_char(escape);
        into.push(c);
        rest = escape.get(len..).unwrap_or("");
    }
    into.push_str(rest);
}

fn escaped_char(escape: &str) -> (char, usize) {
    let c = match escape.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b't') => '\t',
        Some(b'n') => '\n',
        Some(b'f') => '\u{c}',
        Some(b'r') => '\r',
        Some(b'u') => return unicode_escape(escape),
        Some(b) => char::from(*b),
        None => char::REPLACEMENT_CHARACTER,
    };
    (c, 2)
}

fn unicode_escape(escape: &str) -> (char, usize) {
    let first = unit(escape).unwrap_or(0xfffd);
    let second = escape.get(6..).and_then(unit).filter(|_| (0xd800..0xdc00).contains(&first));
    let pair = [first, second.unwrap_or(0)];
    let taken = if second.is_some_and(|s| (0xdc00..0xe000).contains(&s)) { 2 } else { 1 };
    let c = char::decode_utf16(pair).next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER);
    (c, taken * 6)
}

/// Value of the `\uXXXX` that starts `text`.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}
