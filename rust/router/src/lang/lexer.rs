//! Tokens (routing section 3): the longest match wins, the earlier rule wins a tie.
//!
//! Names swallow operator characters on purpose (`3+4` is one name): route authors may use
//! properties called `a+b`, and the reference lexes them so.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Select,
    From,
    Where,
    Into,
    Text,
    OpenText,
    Integer,
    Hex,
    Real,
    True,
    False,
    Null,
    Undefined,
    LParen,
    RParen,
    Comma,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Concat,
    Coalesce,
    LBrace,
    RBrace,
    SysProp,
    Id,
    QueryPath,
    Unknown,
    End,
}

/// A token: its kind and its bytes `start..start + len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Token {
    /// The token's text; empty for the end of input.
    pub(crate) fn text<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start..self.start + self.len).unwrap_or("")
    }

    /// Offset after its last byte.
    pub(crate) fn end(&self) -> usize {
        self.start + self.len
    }
}

/// Splits `text` into tokens; the last one is always [`Kind::End`].
pub(crate) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, comment_closes: true };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens.push(Token { kind: Kind::End, start: text.len(), len: 0 });
    tokens
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// False once no `*/` was found ahead, so that many `/*` do not each search the whole text.
    comment_closes: bool,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let rest = self.text.get(self.at..)?;
        let first = rest.chars().next()?;
        let (kind, len) = match first {
            '"' | '\'' => quoted(rest, first),
            c if is_name_char(c) || matches!(c, '[' | ']') => word(rest),
            c => symbol(rest, c),
        };
        let token = Token { kind, start: self.at, len };
        self.at += len;
        Some(token)
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.text.get(self.at..).unwrap_or("");
            let blanks = rest.len() - rest.trim_start_matches(is_blank).len();
            self.at += blanks;
            match self.comment_len(rest.get(blanks..).unwrap_or("")) {
                Some(len) => self.at += len,
                None if blanks == 0 => return,
                None => {}
            }
        }
    }

    fn comment_len(&mut self, rest: &str) -> Option<usize> {
        let inside = rest.strip_prefix("/*").filter(|_| self.comment_closes)?;
        let close = inside.find("*/");
        self.comment_closes = close.is_some();
        close.map(|at| at + 4)
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_name_char(c: char) -> bool {
    !is_blank(c)
        && !matches!(
            c,
            '(' | ')'
                | '<'
                | '>'
                | '@'
                | ','
                | ';'
                | ':'
                | '\\'
                | '"'
                | '/'
                | '['
                | ']'
                | '?'
                | '='
                | '{'
                | '}'
        )
}

/// Length of the longest run that starts `rest`, of name characters, with `[` and `]` if `brackets`.
fn run(rest: &str, brackets: bool) -> usize {
    rest.find(|c| !(is_name_char(c) || brackets && matches!(c, '[' | ']'))).unwrap_or(rest.len())
}

/// A string, an unterminated string, or a longer name that merely begins with a quote.
fn quoted(rest: &str, quote: char) -> (Kind, usize) {
    let (closed, len) = string_len(rest, quote);
    let kind = if closed { Kind::Text } else { Kind::OpenText };
    let (name_kind, name_len) = if quote == '\'' { word(rest) } else { (Kind::Id, 0) };
    if name_len > len { (name_kind, name_len) } else { (kind, len) }
}

/// Whether the string at the start of `rest` is closed, and its length with the quotes. A
/// backslash that starts no escape ends it unclosed.
fn string_len(rest: &str, quote: char) -> (bool, usize) {
    let mut at = 1;
    while let Some(c) = rest.get(at..).and_then(|r| r.chars().next()) {
        match c {
            c if c == quote => return (true, at + 1),
            '\\' => match escape_len(rest.get(at..).unwrap_or("")) {
                Some(len) => at += len,
                None => return (false, at),
            },
            c => at += c.len_utf8(),
        }
    }
    (false, at)
}

/// Length of the escape at the start of `rest`: `\"`, `\'`, `\\` or `\uXXXX`.
fn escape_len(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    match bytes.get(1)? {
        b'"' | b'\'' | b'\\' => Some(2),
        b'u' if bytes.get(2..6)?.iter().all(u8::is_ascii_hexdigit) => Some(6),
        _ => None,
    }
}

/// A token made of name characters: name, keyword, number, word-like operator or path.
fn word(rest: &str) -> (Kind, usize) {
    let id_len = run(rest, false);
    let path_len = run(rest, true);
    if rest.starts_with('$') && path_len > 1 {
        return (Kind::SysProp, path_len);
    }
    if path_len > id_len {
        return (Kind::QueryPath, path_len);
    }
    if id_len == 1 && rest.starts_with("!=") {
        return (Kind::Ne, 2);
    }
    (classify(rest.get(..id_len).unwrap_or("")), id_len)
}

fn classify(word: &str) -> Kind {
    match word {
        "true" => Kind::True,
        "false" => Kind::False,
        "null" => Kind::Null,
        "undefined" => Kind::Undefined,
        "+" => Kind::Plus,
        "-" => Kind::Minus,
        "*" => Kind::Star,
        "%" => Kind::Percent,
        "||" => Kind::Concat,
        _ => keyword(word).or_else(|| number(word)).unwrap_or(Kind::Id),
    }
}

fn keyword(word: &str) -> Option<Kind> {
    const KEYWORDS: [(&str, Kind); 7] = [
        ("select", Kind::Select),
        ("from", Kind::From),
        ("where", Kind::Where),
        ("into", Kind::Into),
        ("and", Kind::And),
        ("or", Kind::Or),
        ("not", Kind::Not),
    ];
    KEYWORDS.iter().find(|(text, _)| word.eq_ignore_ascii_case(text)).map(|(_, kind)| *kind)
}

/// The number token that `word` is as a whole, if any. `e5` is a real (of no value), `1.` is not.
fn number(word: &str) -> Option<Kind> {
    if let Some(hex) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return (!hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(Kind::Hex);
    }
    let (whole, rest) = digits(word.strip_prefix('-').unwrap_or(word));
    if rest.is_empty() {
        return (whole > 0).then_some(Kind::Integer);
    }
    let rest = match rest.strip_prefix('.').map(digits) {
        Some((0, _)) => return None,
        Some((_, "")) => return Some(Kind::Real),
        Some((_, rest)) => rest,
        None => rest,
    };
    let exponent = rest.strip_prefix(['e', 'E'])?;
    let (count, rest) = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    (count > 0 && rest.is_empty()).then_some(Kind::Real)
}

/// Number of leading ASCII digits, and what follows them.
fn digits(text: &str) -> (usize, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (text.len() - rest.len(), rest)
}

fn symbol(rest: &str, first: char) -> (Kind, usize) {
    let second = rest.get(first.len_utf8()..).and_then(|r| r.chars().next());
    match (first, second) {
        ('<', Some('=')) => (Kind::Le, 2),
        ('<', Some('>')) => (Kind::Ne, 2),
        ('>', Some('=')) => (Kind::Ge, 2),
        ('?', Some('?')) => (Kind::Coalesce, 2),
        ('<', _) => (Kind::Lt, 1),
        ('>', _) => (Kind::Gt, 1),
        ('=', _) => (Kind::Eq, 1),
        ('/', _) => (Kind::Slash, 1),
        ('(', _) => (Kind::LParen, 1),
        (')', _) => (Kind::RParen, 1),
        (',', _) => (Kind::Comma, 1),
        ('{', _) => (Kind::LBrace, 1),
        ('}', _) => (Kind::RBrace, 1),
        _ => (Kind::Unknown, first.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        lex(text).iter().map(|t| t.kind).collect()
    }

    #[test]
    fn names_swallow_operators() {
        assert_eq!(kinds("3+4"), [Kind::Id, Kind::End]);
        assert_eq!(kinds("3 + 4"), [Kind::Integer, Kind::Plus, Kind::Integer, Kind::End]);
        assert_eq!(kinds("x!=3"), [Kind::Id, Kind::Eq, Kind::Integer, Kind::End]);
        assert_eq!(kinds("x !=3"), [Kind::Id, Kind::Ne, Kind::Integer, Kind::End]);
        assert_eq!(kinds("'a'||'b'"), [Kind::Id, Kind::End]);
        assert_eq!(kinds("'a b'AND"), [Kind::Text, Kind::And, Kind::End]);
    }

    #[test]
    fn numbers_and_lookalikes() {
        for (text, kind) in [
            ("-12", Kind::Integer),
            ("0100", Kind::Integer),
            ("0xFf", Kind::Hex),
            ("-0x10", Kind::Id),
            (".5", Kind::Real),
            ("-.5e-3", Kind::Real),
            ("1e3", Kind::Real),
            ("e5", Kind::Real),
            ("1.", Kind::Id),
            ("1e", Kind::Id),
            ("0x", Kind::Id),
            ("1a", Kind::Id),
        ] {
            assert_eq!(kinds(text), [kind, Kind::End], "{text}");
        }
    }

    #[test]
    fn brackets_make_a_path() {
        assert_eq!(kinds("[32]"), [Kind::QueryPath, Kind::End]);
        assert_eq!(kinds("$body.a[0][1]"), [Kind::SysProp, Kind::End]);
        assert_eq!(kinds("$"), [Kind::Id, Kind::End]);
    }

    #[test]
    fn strings_and_bad_escapes() {
        assert_eq!(kinds(r#""say \"hi\"""#), [Kind::Text, Kind::End]);
        assert_eq!(kinds(r"'\u0041'"), [Kind::Text, Kind::End]);
        assert_eq!(kinds(r"'\n' = 1")[..2], [Kind::OpenText, Kind::Unknown]);
        assert_eq!(kinds("\"open"), [Kind::OpenText, Kind::End]);
    }

    #[test]
    fn comments_need_a_close() {
        assert_eq!(kinds("/* a */ 1 /**/ 2"), [Kind::Integer, Kind::Integer, Kind::End]);
        assert_eq!(kinds("/* 1"), [Kind::Slash, Kind::Star, Kind::Integer, Kind::End]);
    }
}
