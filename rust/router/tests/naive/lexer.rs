//! Tokens (routing section 3): the longest match wins, of equally long ones the earlier rule.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Select,
    From,
    Where,
    Into,
    Text,
    UnterminatedText,
    /// A text with a backslash that starts no escape: no token of the language.
    BrokenText,
    Integer,
    Hex,
    Real,
    True,
    False,
    Null,
    Undefined,
    And,
    Or,
    Not,
    /// Operators, brackets and the comma.
    Sign,
    SystemName,
    Name,
    QueryPath,
    Blank,
    Comment,
    Unknown,
}

/// A token and its text.
#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
}

/// How a rule matches.
enum Rule {
    /// The word, in any case.
    AnyCase(&'static str),
    Exactly(&'static str),
    /// Characters matched from the start; 0 where the rule does not apply.
    By(fn(&[char]) -> usize),
}

/// All rules in the order that decides ties.
const RULES: &[(Kind, Rule)] = &[
    (Kind::Select, Rule::AnyCase("SELECT")),
    (Kind::From, Rule::AnyCase("FROM")),
    (Kind::Where, Rule::AnyCase("WHERE")),
    (Kind::Into, Rule::AnyCase("INTO")),
    (Kind::Text, Rule::By(closed_text)),
    (Kind::UnterminatedText, Rule::By(unterminated_text)),
    (Kind::BrokenText, Rule::By(broken_text)),
    (Kind::Integer, Rule::By(integer)),
    (Kind::Hex, Rule::By(hex)),
    (Kind::Real, Rule::By(real)),
    (Kind::True, Rule::Exactly("true")),
    (Kind::False, Rule::Exactly("false")),
    (Kind::Null, Rule::Exactly("null")),
    (Kind::Undefined, Rule::Exactly("undefined")),
    (Kind::Sign, Rule::Exactly("+")),
    (Kind::Sign, Rule::Exactly("-")),
    (Kind::Sign, Rule::Exactly("*")),
    (Kind::Sign, Rule::Exactly("/")),
    (Kind::Sign, Rule::Exactly("%")),
    (Kind::Sign, Rule::Exactly("(")),
    (Kind::Sign, Rule::Exactly(")")),
    (Kind::Sign, Rule::Exactly(",")),
    (Kind::Sign, Rule::Exactly("{")),
    (Kind::Sign, Rule::Exactly("}")),
    (Kind::And, Rule::AnyCase("AND")),
    (Kind::Or, Rule::AnyCase("OR")),
    (Kind::Not, Rule::AnyCase("NOT")),
    (Kind::Sign, Rule::Exactly("=")),
    (Kind::Sign, Rule::Exactly("!=")),
    (Kind::Sign, Rule::Exactly("<>")),
    (Kind::Sign, Rule::Exactly("<")),
    (Kind::Sign, Rule::Exactly("<=")),
    (Kind::Sign, Rule::Exactly(">")),
    (Kind::Sign, Rule::Exactly(">=")),
    (Kind::Sign, Rule::Exactly("||")),
    (Kind::Sign, Rule::Exactly("??")),
    (Kind::SystemName, Rule::By(system_name)),
    (Kind::Name, Rule::By(|text| while_in(text, is_name))),
    (Kind::QueryPath, Rule::By(|text| while_in(text, is_path))),
    (Kind::Blank, Rule::By(|text| while_in(text, is_blank))),
    (Kind::Comment, Rule::By(comment)),
    (Kind::Unknown, Rule::By(|_| 1)),
];

/// All tokens but blanks and comments.
pub fn lex(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (kind, len) = longest(&chars[at..]);
        if kind != Kind::Blank && kind != Kind::Comment {
            tokens.push(Token { kind, text: chars[at..at + len].iter().collect() });
        }
        at += len;
    }
    tokens
}

fn longest(text: &[char]) -> (Kind, usize) {
    let mut best = (Kind::Unknown, 0);
    for (kind, rule) in RULES {
        let len = rule.matched(text);
        if len > best.1 {
            best = (*kind, len);
        }
    }
    best
}

impl Rule {
    fn matched(&self, text: &[char]) -> usize {
        let (word, same): (&str, fn(char, char) -> bool) = match self {
            Rule::By(length) => return length(text),
            Rule::AnyCase(word) => (word, |a, b| a.eq_ignore_ascii_case(&b)),
            Rule::Exactly(word) => (word, |a, b| a == b),
        };
        let len = word.chars().count();
        let equal = text.len() >= len && word.chars().zip(text).all(|(w, c)| same(w, *c));
        if equal { len } else { 0 }
    }
}

/// Characters that the quoted text takes, and whether it is closed. `None`: no quote, or a backslash
/// that starts no escape.
fn quoted(text: &[char]) -> Option<(usize, bool)> {
    let quote = *text.first().filter(|c| matches!(c, '"' | '\''))?;
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            c if c == quote => return Some((at + 1, true)),
            '\\' => at += escape(&text[at..])?,
            _ => at += 1,
        }
    }
    Some((at, false))
}

fn escape(text: &[char]) -> Option<usize> {
    match text.get(1)? {
        '"' | '\'' | '\\' => Some(2),
        'u' if text.len() >= 6 && text[2..6].iter().all(char::is_ascii_hexdigit) => Some(6),
        _ => None,
    }
}

fn closed_text(text: &[char]) -> usize {
    quoted(text).map_or(0, |(len, closed)| if closed { len } else { 0 })
}

fn unterminated_text(text: &[char]) -> usize {
    quoted(text).map_or(0, |(len, closed)| if closed { 0 } else { len })
}

/// Nothing behind it matters: where an operand must be it is an error, elsewhere the condition ends.
fn broken_text(text: &[char]) -> usize {
    let opens = matches!(text.first(), Some('"' | '\''));
    if opens && quoted(text).is_none() { text.len() } else { 0 }
}

fn while_in(text: &[char], wanted: fn(char) -> bool) -> usize {
    text.iter().take_while(|c| wanted(**c)).count()
}

fn digits(text: &[char]) -> usize {
    text.iter().take_while(|c| c.is_ascii_digit()).count()
}

fn minus(text: &[char]) -> usize {
    usize::from(text.first() == Some(&'-'))
}

fn integer(text: &[char]) -> usize {
    let sign = minus(text);
    match digits(&text[sign..]) {
        0 => 0,
        count => sign + count,
    }
}

fn hex(text: &[char]) -> usize {
    if text.len() < 3 || text[0] != '0' || !matches!(text[1], 'x' | 'X') {
        return 0;
    }
    match text[2..].iter().take_while(|c| c.is_ascii_hexdigit()).count() {
        0 => 0,
        count => 2 + count,
    }
}

/// `-?[0-9]*\.[0-9]+(EXPONENT)?` or `-?[0-9]*EXPONENT`.
fn real(text: &[char]) -> usize {
    let whole = minus(text) + digits(&text[minus(text)..]);
    if text.get(whole) != Some(&'.') {
        return match exponent(&text[whole..]) {
            0 => 0,
            count => whole + count,
        };
    }
    match digits(&text[whole + 1..]) {
        0 => 0,
        fraction => whole + 1 + fraction + exponent(&text[whole + 1 + fraction..]),
    }
}

/// `[eE][+-]?[0-9]+`.
fn exponent(text: &[char]) -> usize {
    if !matches!(text.first(), Some('e' | 'E')) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some('+' | '-')));
    match digits(&text[1 + sign..]) {
        0 => 0,
        count => 1 + sign + count,
    }
}

fn system_name(text: &[char]) -> usize {
    match text.first() {
        Some('$') => match while_in(&text[1..], is_path) {
            0 => 0,
            count => 1 + count,
        },
        _ => 0,
    }
}

/// `/* ... */`, up to the first end.
fn comment(text: &[char]) -> usize {
    if !text.starts_with(&['/', '*']) {
        return 0;
    }
    text[2..].windows(2).position(|pair| pair == ['*', '/']).map_or(0, |at| at + 4)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_path(c: char) -> bool {
    !is_blank(c) && !"()<>@,;:\\\"/?={}".contains(c)
}

fn is_name(c: char) -> bool {
    is_path(c) && c != '[' && c != ']'
}
