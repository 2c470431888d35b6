//! Escapes in the strings of a body.

/// Length of the escape that starts `rest`.
pub(crate) fn escape_len(rest: &[u8]) -> Option<usize> {
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
